/*
 * The USB link, the part that all backends share: transfers with deadlines, what their ends mean,
 * claims, tracing. See usb.h.
 */
#include "link/usb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "link/usb_backend.h"

enum {
    CANCEL_GRACE = 3 * SECOND,     /* backends give a transfer up before that */
    REQUEST_DEADLINE = 5 * SECOND, /* for standard requests that a device acts upon */
    BUSY_PATIENCE = 500 * MILLISECOND,
    REQUEST_SET_CONFIGURATION = 9,
    REQUEST_SET_INTERFACE = 11,
    REQUEST_CLEAR_FEATURE = 1,
    FEATURE_ENDPOINT_HALT = 0,
    TO_DEVICE = 0x00,
    TO_INTERFACE = 0x01,
    TO_ENDPOINT = 0x02,
};

struct usb *usb_allocate(size_t size, const struct usb_ops *ops, const char *name)
{
    struct usb *usb = calloc(1, size);
    if (!usb)
        return NULL;
    usb->ops = ops;
    usb->clock = clock_monotonic();
    usb->trace_port = -1;
    (void)snprintf(usb->name, sizeof usb->name, "%s", name);
    return usb;
}

int usb_open(struct usb **usb, const char *name, struct trace *trace, struct error *err)
{
    *usb = NULL;
    struct usb *made = NULL;
    if (strlen(name) >= sizeof made->name)
        return error_set(err, ERR_USAGE, "the device name is longer than %zu bytes",
                         sizeof made->name - 1);
    int rc = usbip_is_name(name) ? usb_usbip_open(&made, name, BUSY_PATIENCE, err)
                                 : usb_libusb_open(&made, name, err);
    if (rc != OK || !made)
        return rc;
    rc = usb_begin(made, trace, err);
    if (rc != OK) {
        error_context(err, "opening %s", name);
        usb_close(made);
        return rc;
    }
    *usb = made;
    return OK;
}

void usb_close(struct usb *usb)
{
    if (!usb)
        return;
    for (unsigned number = 0; number <= USB_INTERFACE_NUMBER_MAX; number++)
        usb_release(usb, (uint8_t)number);
    usb->ops->close(usb);
}

/* ---- tracing ---- */

static enum trace_usb_kind kind_of(const struct usb *usb, uint8_t endpoint)
{
    enum { TYPE_MASK = 3, TYPE_INTERRUPT = 3 };
    if (endpoint == 0)
        return TRACE_USB_CONTROL;
    const uint8_t *descriptor = usb_endpoint(usb, endpoint);
    return descriptor && (descriptor[3] & TYPE_MASK) == TYPE_INTERRUPT ? TRACE_USB_INTERRUPT
                                                                       : TRACE_USB_BULK;
}

static struct trace_usb event_of(const struct usb *usb, const struct usb_transfer *transfer)
{
    uint8_t endpoint = transfer->endpoint ? transfer->endpoint
                                          : (uint8_t)(transfer->setup.type & USB_DIRECTION_IN);
    return (struct trace_usb){.id = transfer->id,
                              .kind = kind_of(usb, transfer->endpoint),
                              .endpoint = endpoint,
                              .bus = (uint16_t)usb->device.bus,
                              .address = (uint8_t)usb->device.address,
                              .bytes = transfer->bytes};
}

static void trace_begin(struct usb *usb, struct usb_transfer *transfer)
{
    uint8_t setup[8] = {transfer->setup.type, transfer->setup.request};
    transfer->id = ++usb->transfers;
    if (!usb->trace)
        return;
    put_le16(setup + 2, transfer->setup.value);
    put_le16(setup + 4, transfer->setup.index);
    put_le16(setup + 6, transfer->setup.length);
    struct trace_usb event = event_of(usb, transfer);
    event.setup = transfer->endpoint == 0 ? setup : NULL;
    event.status = -EINPROGRESS;
    event.length = transfer->length;
    trace_usb(usb->trace, usb->trace_port, &event);
}

static void trace_end(const struct usb *usb, struct usb_transfer *transfer)
{
    static const int status[] = {
        [USB_STALL] = -EPIPE,    [USB_CANCELLED] = -ENOENT, [USB_BABBLE] = -EOVERFLOW,
        [USB_GONE] = -ESHUTDOWN, [USB_FAILED] = -EPROTO,
    };
    if (transfer->actual > transfer->length)
        transfer->actual = transfer->length; /* no backend gets away with that */
    if (transfer->id != 0 && usb->trace) {
        struct trace_usb event = event_of(usb, transfer);
        event.ended = true;
        event.status = status[transfer->end];
        event.length = transfer->actual;
        trace_usb(usb->trace, usb->trace_port, &event);
    }
    transfer->id = 0;
}

/* ---- transfers ---- */

int usb_submit(struct usb *usb, struct usb_transfer *transfer, struct error *err)
{
    transfer->actual = 0;
    transfer->end = USB_PENDING;
    transfer->backend = NULL;
    if (transfer->endpoint == 0 && transfer->length != transfer->setup.length)
        return error_set(err, ERR_USAGE, "%s: a data stage of %u bytes has %zu", usb->name,
                         transfer->setup.length, transfer->length);
    trace_begin(usb, transfer);
    int rc = usb->ops->submit(usb, transfer, err);
    if (rc == OK)
        return OK;
    transfer->end = rc == ERR_GONE ? USB_GONE : USB_FAILED;
    trace_end(usb, transfer);
    return rc;
}

int usb_await(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline, struct error *err)
{
    int rc = OK;
    if (transfer->end == USB_PENDING)
        rc = usb->ops->await(usb, transfer, deadline, err);
    if (rc != OK && transfer->end == USB_PENDING)
        transfer->end = USB_GONE;
    if (transfer->end == USB_PENDING)
        return usb_ended(usb, transfer, err);
    trace_end(usb, transfer);
    return rc;
}

void usb_cancel(struct usb *usb, struct usb_transfer *transfer)
{
    struct error ignored;
    if (transfer->end != USB_PENDING)
        return;
    usb->ops->cancel(usb, transfer);
    (void)usb->ops->await(usb, transfer, clock_in(usb->clock, CANCEL_GRACE), &ignored);
    if (transfer->end == USB_PENDING)
        transfer->end = USB_FAILED;
    trace_end(usb, transfer);
}

/* From the start to the end or to the deadline, when it is cancelled. */
static int run(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline, struct error *err)
{
    int rc = usb_submit(usb, transfer, err);
    if (rc == OK)
        rc = usb_await(usb, transfer, deadline, err);
    if (transfer->end == USB_PENDING) {
        usb_cancel(usb, transfer);
        rc = OK; /* it may have come to its end just before */
    }
    usb->last = transfer->end;
    return rc != OK ? rc : usb_ended(usb, transfer, err);
}

ssize_t usb_control(struct usb *usb, const struct usb_setup *setup, uint8_t *bytes,
                    uint64_t deadline, struct error *err)
{
    struct usb_transfer transfer = {.setup = *setup, .bytes = bytes, .length = setup->length};
    int rc = run(usb, &transfer, deadline, err);
    return rc != OK ? rc : (ssize_t)transfer.actual;
}

ssize_t usb_in(struct usb *usb, uint8_t endpoint, uint8_t *bytes, size_t max, uint64_t deadline,
               struct error *err)
{
    struct usb_transfer transfer = {.endpoint = endpoint | USB_DIRECTION_IN, .bytes = bytes};
    transfer.length = max;
    int rc = run(usb, &transfer, deadline, err);
    return rc != OK ? rc : (ssize_t)transfer.actual;
}

int usb_out(struct usb *usb, uint8_t endpoint, const uint8_t *bytes, size_t length,
            uint64_t deadline, struct error *err)
{
    /* An OUT transfer only reads its bytes. */
    struct usb_transfer transfer = {.endpoint = endpoint & 0x0f, .bytes = (uint8_t *)bytes};
    transfer.length = length;
    int rc = run(usb, &transfer, deadline, err);
    if (rc != OK || transfer.actual == length)
        return rc;
    usb->last = transfer.end = USB_FAILED;
    return usb_ended(usb, &transfer, err);
}

/* A standard request without data. */
static int request(struct usb *usb, uint8_t type, uint8_t number, uint16_t value, uint16_t index,
                   struct error *err)
{
    const struct usb_setup setup = {type, number, value, index, 0};
    ssize_t rc = usb_control(usb, &setup, NULL, clock_in(usb->clock, REQUEST_DEADLINE), err);
    return rc < 0 ? (int)rc : OK;
}

int usb_configure(struct usb *usb, uint8_t configuration, struct error *err)
{
    int rc = usb->ops->configure
                 ? usb->ops->configure(usb, configuration, err)
                 : request(usb, TO_DEVICE, REQUEST_SET_CONFIGURATION, configuration, 0, err);
    if (rc == OK)
        usb->configured = configuration;
    else
        error_context(err, "choosing configuration %u", configuration);
    return rc;
}

int usb_clear_halt(struct usb *usb, uint8_t endpoint, struct error *err)
{
    int rc = usb->ops->clear_halt ? usb->ops->clear_halt(usb, endpoint, err)
                                  : request(usb, TO_ENDPOINT, REQUEST_CLEAR_FEATURE,
                                            FEATURE_ENDPOINT_HALT, endpoint, err);
    if (rc != OK)
        error_context(err, "clearing the halt of endpoint 0x%02x", endpoint);
    return rc;
}

int usb_reset(struct usb *usb, struct error *err)
{
    if (usb->ops->reset)
        return usb->ops->reset(usb, err);
    return error_set(err, ERR_NOT_POSSIBLE, "%s: a %s link has no bus reset", usb->name,
                     usb->ops->name);
}

/* ---- interfaces ---- */

static bool has_interface(const struct usb *usb, uint8_t number)
{
    for (size_t i = 0; i < usb->device.interface_count; i++)
        if (usb->device.interfaces[i].number == number)
            return true;
    return usb->configuration_length == 0; /* nothing is known of it */
}

int usb_claim(struct usb *usb, uint8_t interface, struct error *err)
{
    char label[USB_LABEL_MAX];
    usb_label(usb, label);
    if (interface > USB_INTERFACE_NUMBER_MAX || !has_interface(usb, interface))
        return error_set(err, ERR_NO_DEVICE,
                         "claiming interface %u of %s: it has no such interface", interface, label);
    if (usb->claimed & UINT32_C(1) << interface)
        return OK;
    int rc = usb->ops->claim ? usb->ops->claim(usb, interface, err) : OK;
    if (rc == OK)
        usb->claimed |= UINT32_C(1) << interface;
    return rc;
}

void usb_release(struct usb *usb, uint8_t interface)
{
    if (interface > USB_INTERFACE_NUMBER_MAX || !(usb->claimed & UINT32_C(1) << interface))
        return;
    usb->claimed &= ~(UINT32_C(1) << interface);
    if (usb->ops->release)
        usb->ops->release(usb, interface);
}

int usb_set_alternate(struct usb *usb, uint8_t interface, uint8_t alternate, struct error *err)
{
    int rc = usb->ops->set_alternate
                 ? usb->ops->set_alternate(usb, interface, alternate, err)
                 : request(usb, TO_INTERFACE, REQUEST_SET_INTERFACE, alternate, interface, err);
    if (rc != OK)
        error_context(err, "choosing alternate setting %u of interface %u", alternate, interface);
    return rc;
}
