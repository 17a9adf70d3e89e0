/*
 * The libusb-1.0 backend, for the devices of this machine. The node is found in sysfs, opened and
 * locked here (so that two mflash never share a device, and a refusal names node, group and
 * remedy), and handed to libusb. Every device has a context of its own: it may live in any thread.
 *
 * Documents: libusb-1.0 API, Linux Documentation/driver-api/usb/usb.rst (usbfs).
 */
#include <errno.h>
#include <fcntl.h>
#include <libusb-1.0/libusb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "link/host.h"
#include "link/usb_backend.h"

enum {
    CANCEL_DEADLINE = 2 * SECOND,
    CONTROL_DATA_MAX = 4096, /* usbfs takes no more */
    LENGTH_MAX = 1024 * 1024,
    NODE_MAX = 64,
};

struct handle {
    struct usb usb; /* first */
    libusb_context *context;
    libusb_device_handle *device;
    int fd;
    char node[NODE_MAX];
    size_t open;       /* transfers that libusb has not given back */
    uint32_t detached; /* interfaces whose kernel driver had to go */
};

/* A transfer that libusb knows of. Its bytes are copied, because libusb may hold on to them longer
 * than its owner waits. */
struct urb {
    struct handle *handle;
    struct usb_transfer *transfer; /* NULL: its owner has it back */
    struct libusb_transfer *libusb;
    int completed;
    uint64_t give_up; /* once it is cancelled, else 0 */
    uint8_t bytes[];
};

/* ---- what libusb says ---- */

static int failed(const struct usb *usb, const char *doing, int code, struct error *err)
{
    char label[USB_LABEL_MAX];
    usb_label(usb, label);
    if (code == LIBUSB_ERROR_NO_DEVICE || code == LIBUSB_ERROR_NOT_FOUND)
        return usb_gone(usb, doing, err);
    if (code == LIBUSB_ERROR_NO_MEM)
        return error_memory(err);
    if (code == LIBUSB_ERROR_PIPE) {
        error_set(err, ERR_STALL, "%s of %s: the device refused it (stall)", doing, label);
        error_hint(err, "unplug the board, start its bootloader again, and try once more");
        return ERR_STALL;
    }
    error_set(err, ERR_FAILED, "%s of %s: %s", doing, label, libusb_error_name(code));
    error_hint(err, "unplug the board and plug it in again; `sudo dmesg | tail` shows what "
                    "the kernel saw");
    return ERR_FAILED;
}

static enum usb_end end_of(enum libusb_transfer_status status)
{
    switch (status) {
    case LIBUSB_TRANSFER_COMPLETED:
        return USB_DONE;
    case LIBUSB_TRANSFER_STALL:
        return USB_STALL;
    case LIBUSB_TRANSFER_CANCELLED:
    case LIBUSB_TRANSFER_TIMED_OUT:
        return USB_CANCELLED;
    case LIBUSB_TRANSFER_OVERFLOW:
        return USB_BABBLE;
    case LIBUSB_TRANSFER_NO_DEVICE:
        return USB_GONE;
    default:
        return USB_FAILED;
    }
}

/* ---- transfers ---- */

static void give_back(struct urb *urb, enum usb_end end, size_t actual)
{
    struct usb_transfer *transfer = urb->transfer;
    if (!transfer)
        return;
    bool control = transfer->endpoint == 0;
    bool in = (control ? transfer->setup.type : transfer->endpoint) & USB_DIRECTION_IN;
    if (actual > transfer->length)
        actual = transfer->length;
    if (in && actual > 0)
        memcpy(transfer->bytes, urb->bytes + (control ? LIBUSB_CONTROL_SETUP_SIZE : 0), actual);
    transfer->actual = actual;
    transfer->end = end;
    transfer->backend = NULL;
    urb->transfer = NULL;
}

static void LIBUSB_CALL completed(struct libusb_transfer *libusb)
{
    struct urb *urb = libusb->user_data;
    int actual = libusb->actual_length;
    give_back(urb, end_of(libusb->status), actual > 0 ? (size_t)actual : 0);
    urb->handle->open--;
    free(urb);
    libusb_free_transfer(libusb);
}

static bool is_interrupt(const struct usb *usb, uint8_t endpoint)
{
    const uint8_t *descriptor = usb_endpoint(usb, endpoint);
    return descriptor &&
           (descriptor[3] & LIBUSB_TRANSFER_TYPE_MASK) == LIBUSB_TRANSFER_TYPE_INTERRUPT;
}

static void fill(struct urb *urb, const struct usb_transfer *transfer)
{
    const struct handle *handle = urb->handle;
    const struct usb_setup *setup = &transfer->setup;
    bool control = transfer->endpoint == 0;
    bool out = !((control ? setup->type : transfer->endpoint) & USB_DIRECTION_IN);
    uint8_t *payload = urb->bytes + (control ? LIBUSB_CONTROL_SETUP_SIZE : 0);
    if (out && transfer->length > 0)
        memcpy(payload, transfer->bytes, transfer->length);
    if (control) {
        libusb_fill_control_setup(urb->bytes, setup->type, setup->request, setup->value,
                                  setup->index, setup->length);
        libusb_fill_control_transfer(urb->libusb, handle->device, urb->bytes, completed, urb, 0);
        return;
    }
    libusb_fill_bulk_transfer(urb->libusb, handle->device, transfer->endpoint, urb->bytes,
                              (int)transfer->length, completed, urb, 0);
    if (is_interrupt(&handle->usb, transfer->endpoint))
        urb->libusb->type = LIBUSB_TRANSFER_TYPE_INTERRUPT;
}

static int handle_submit(struct usb *usb, struct usb_transfer *transfer, struct error *err)
{
    struct handle *handle = (struct handle *)usb;
    if (transfer->length > (transfer->endpoint == 0 ? CONTROL_DATA_MAX : LENGTH_MAX))
        return error_set(err, ERR_FAILED, "%s: %zu bytes are too much for one transfer", usb->name,
                         transfer->length);
    struct urb *urb = calloc(1, sizeof *urb + LIBUSB_CONTROL_SETUP_SIZE + transfer->length);
    struct libusb_transfer *libusb = urb ? libusb_alloc_transfer(0) : NULL;
    if (!libusb) {
        free(urb);
        return error_memory(err);
    }
    urb->handle = handle;
    urb->transfer = transfer;
    urb->libusb = libusb;
    fill(urb, transfer);
    int code = libusb_submit_transfer(libusb);
    if (code != 0) {
        libusb_free_transfer(libusb);
        free(urb);
        return failed(usb, "a transfer", code, err);
    }
    transfer->backend = urb;
    handle->open++;
    return OK;
}

static void handle_cancel(struct usb *usb, struct usb_transfer *transfer)
{
    struct urb *urb = transfer->backend;
    if (!urb || urb->give_up != 0)
        return;
    urb->give_up = clock_in(usb->clock, CANCEL_DEADLINE);
    (void)libusb_cancel_transfer(urb->libusb); /* NOT_FOUND: it ends by itself just now */
}

/* Lets libusb work until something has happened or the moment comes. */
static int live_until(struct handle *handle, uint64_t moment)
{
    uint64_t now = clock_now(handle->usb.clock);
    uint64_t left = now < moment ? moment - now : 0;
    struct timeval time = {.tv_sec = (time_t)(left / SECOND),
                           .tv_usec = (suseconds_t)(left % SECOND)};
    return libusb_handle_events_timeout_completed(handle->context, &time, NULL);
}

static int handle_await(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline,
                        struct error *err)
{
    struct handle *handle = (struct handle *)usb;
    while (transfer->end == USB_PENDING) {
        struct urb *urb = transfer->backend;
        bool cancelled = urb->give_up != 0;
        int code =
            live_until(handle, cancelled && urb->give_up < deadline ? urb->give_up : deadline);
        uint64_t now = clock_now(usb->clock);
        if (transfer->end != USB_PENDING)
            break;
        if (code != 0 && code != LIBUSB_ERROR_INTERRUPTED) {
            give_back(urb, USB_FAILED, 0);
            return failed(usb, "waiting for a transfer", code, err);
        }
        if (cancelled && now >= urb->give_up)
            give_back(urb, USB_FAILED, 0); /* the kernel does not let go of it */
        else if (now >= deadline)
            return OK;
    }
    return OK;
}

/* ---- interfaces ---- */

/* Another process that has the node open, and its text or "". */
static struct held find_holder(const char *path, char text[USB_TEXT_MAX])
{
    const struct held node = host_holder(host_here(), path);
    text[0] = '\0';
    if (node.pid != 0)
        host_holder_text(&node, text, USB_TEXT_MAX);
    return node;
}

static int claimed_by_another(struct handle *handle, uint8_t interface, struct error *err)
{
    char label[USB_LABEL_MAX], holder[USB_TEXT_MAX];
    const struct held node = find_holder(handle->node, holder);
    usb_label(&handle->usb, label);
    error_set(err, ERR_BUSY, "claiming interface %u of %s: %s has it", interface, label,
              holder[0] ? holder : "another program or kernel driver");
    if (node.unit[0])
        error_hint(err, "stop it while you flash: `sudo systemctl stop %s`", node.unit);
    else
        error_hint(err, "close that program; `sudo fuser -v %s` names it", handle->node);
    return ERR_BUSY;
}

/* Drivers come back once nothing is claimed any more: cdc_acm, for one, wants both its interfaces
 * or none. */
static void attach_drivers(struct handle *handle)
{
    for (int n = 0; n <= USB_INTERFACE_NUMBER_MAX; n++)
        if (handle->detached & UINT32_C(1) << n)
            (void)libusb_attach_kernel_driver(handle->device, n);
    handle->detached = 0;
}

static int handle_claim(struct usb *usb, uint8_t interface, struct error *err)
{
    struct handle *handle = (struct handle *)usb;
    if (libusb_detach_kernel_driver(handle->device, interface) == 0)
        handle->detached |= UINT32_C(1) << interface;
    int code = libusb_claim_interface(handle->device, interface);
    if (code == 0)
        return OK;
    if (usb->claimed == 0)
        attach_drivers(handle);
    return code == LIBUSB_ERROR_BUSY ? claimed_by_another(handle, interface, err)
                                     : failed(usb, "claiming an interface", code, err);
}

static void handle_release(struct usb *usb, uint8_t interface)
{
    struct handle *handle = (struct handle *)usb;
    (void)libusb_release_interface(handle->device, interface);
    if (usb->claimed == 0)
        attach_drivers(handle);
}

static int handle_configure(struct usb *usb, uint8_t configuration, struct error *err)
{
    int code = libusb_set_configuration(((struct handle *)usb)->device, configuration);
    return code == 0 ? OK : failed(usb, "the configuration", code, err);
}

static int handle_set_alternate(struct usb *usb, uint8_t interface, uint8_t alternate,
                                struct error *err)
{
    int code =
        libusb_set_interface_alt_setting(((struct handle *)usb)->device, interface, alternate);
    return code == 0 ? OK : failed(usb, "the alternate setting", code, err);
}

static int handle_clear_halt(struct usb *usb, uint8_t endpoint, struct error *err)
{
    int code = libusb_clear_halt(((struct handle *)usb)->device, endpoint);
    return code == 0 ? OK : failed(usb, "an endpoint", code, err);
}

static int handle_reset(struct usb *usb, struct error *err)
{
    int code = libusb_reset_device(((struct handle *)usb)->device);
    return code == 0 ? OK : failed(usb, "resetting it", code, err);
}

/* ---- opening and closing ---- */

static void handle_close(struct usb *usb)
{
    struct handle *handle = (struct handle *)usb;
    uint64_t deadline = clock_in(usb->clock, CANCEL_DEADLINE);
    /* Whatever is still under way was cancelled by its owner: libusb must see its end. */
    while (handle->open > 0 && clock_now(usb->clock) < deadline)
        if (live_until(handle, deadline) != 0)
            break;
    if (handle->open > 0)
        return; /* leaked, for the kernel still writes into it */
    if (handle->device)
        libusb_close(handle->device);
    if (handle->context)
        libusb_exit(handle->context);
    if (handle->fd >= 0)
        (void)close(handle->fd);
    free(handle);
}

static const struct usb_ops libusb_ops = {
    .name = "libusb",
    .submit = handle_submit,
    .await = handle_await,
    .cancel = handle_cancel,
    .claim = handle_claim,
    .release = handle_release,
    .configure = handle_configure,
    .set_alternate = handle_set_alternate,
    .clear_halt = handle_clear_halt,
    .reset = handle_reset,
    .close = handle_close,
};

static int open_failed(const struct usb_device *device, const char *node, int number,
                       struct error *err)
{
    struct stat is = {.st_mode = 0};
    char holder[USB_TEXT_MAX];
    switch (number) {
    case EACCES:
    case EPERM:
        (void)stat(node, &is);
        return usb_no_permission(device, node, &is, err);
    case ENOENT:
    case ENODEV:
    case ENXIO:
        error_set(err, ERR_NO_DEVICE, "opening %s: it has just left (%s: %s)", device->name, node,
                  strerror(number));
        error_hint(err, "in a container, /dev/bus/usb must be handed in; else try again");
        return ERR_NO_DEVICE;
    case EWOULDBLOCK:
        (void)find_holder(node, holder);
        error_set(err, ERR_BUSY, "opening %s: %s has locked %s", device->name,
                  holder[0] ? holder : "another mflash", node);
        error_hint(err, "wait for it to end; `sudo fuser -v %s` names it", node);
        return ERR_BUSY;
    default:
        return error_set(err, ERR_FAILED, "opening %s: %s: %s", device->name, node,
                         strerror(number));
    }
}

/* Opens and locks the node. Returns the descriptor or a negative code. */
static int open_node(const struct usb_device *device, const char *node, struct error *err)
{
    int fd = open(node, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return open_failed(device, node, errno, err);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    int number = errno;
    (void)close(fd);
    return open_failed(device, node, number, err);
}

/* One device by its bus path. */
static int find(const char *name, struct usb_device *found, struct error *err)
{
    struct usb_device *devices;
    size_t count;
    int rc = usb_devices(&devices, &count, host_here(), err);
    if (rc != OK)
        return rc;
    rc = ERR_NO_DEVICE;
    for (size_t i = 0; i < count && rc != OK; i++)
        if (strcmp(devices[i].name, name) == 0) {
            *found = devices[i];
            rc = OK;
        }
    if (rc != OK)
        rc = usb_no_device(name, devices, count, err);
    free(devices);
    return rc;
}

/* libusb keeps this option for all contexts to come; each of ours wants it, as it finds nothing
 * itself. It must be set before there is any. */
static void find_nothing(void)
{
    (void)libusb_set_option(NULL, LIBUSB_OPTION_NO_DEVICE_DISCOVERY);
}

static int hand_to_libusb(struct handle *handle, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, find_nothing);
    int code = libusb_init(&handle->context);
    if (code == 0)
        code = libusb_wrap_sys_device(handle->context, (intptr_t)handle->fd, &handle->device);
    int configuration = 0;
    if (code == 0)
        code = libusb_get_configuration(handle->device, &configuration);
    if (code != 0)
        return failed(&handle->usb, "opening it", code, err);
    handle->usb.configured = (uint8_t)configuration;
    return OK;
}

int usb_libusb_open(struct usb **usb, const char *name, struct error *err)
{
    struct usb_device device = {.name = ""};
    char node[NODE_MAX];
    int rc = find(name, &device, err);
    if (rc != OK)
        return rc;
    (void)snprintf(node, sizeof node, "/dev/bus/usb/%03u/%03u", device.bus, device.address);
    int fd = open_node(&device, node, err);
    if (fd < 0)
        return fd;
    struct handle *handle = (struct handle *)usb_allocate(sizeof *handle, &libusb_ops, name);
    if (!handle) {
        (void)close(fd);
        return error_memory(err);
    }
    handle->usb.device = device;
    handle->fd = fd;
    memcpy(handle->node, node, sizeof node);
    rc = hand_to_libusb(handle, err);
    if (rc != OK) {
        handle_close(&handle->usb);
        return rc;
    }
    *usb = &handle->usb;
    return OK;
}
