/* See virtual_usb.h. Nothing here sleeps: waiting is letting the bus live up to a moment. */
#include "virtual_usb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/usb_backend.h"

enum {
    ENUMERATION = 5 * SECOND, /* USB 2.0 chapter 9.2.6.4: the longest a standard request takes */
    GET_DESCRIPTOR = 6,
    SET_CONFIGURATION = 9,
    SET_INTERFACE = 11,
    CLEAR_FEATURE = 1,
};

struct virtual_transfer {
    struct bus_transfer bus; /* first: the two addresses are one */
    struct usb_transfer *host;
    struct virtual_transfer *next;
};

struct virtual_device {
    struct usb usb; /* first: the two addresses are one */
    struct clock clock;
    struct usb_bus bus;
    unsigned lost; /* bus.lost when the device was opened */
    struct virtual_transfer *under_way;
};

static struct virtual_device *device_of(struct usb *usb)
{
    return (struct virtual_device *)usb;
}

static struct virtual_device *device_of_clock(struct clock *clock)
{
    return (struct virtual_device *)((char *)clock - offsetof(struct virtual_device, clock));
}

/* ---- transfers ---- */

static enum usb_end host_end(enum bus_end end)
{
    static const enum usb_end ends[] = {
        [BUS_PENDING] = USB_PENDING,     [BUS_DONE] = USB_DONE,     [BUS_STALL] = USB_STALL,
        [BUS_CANCELLED] = USB_CANCELLED, [BUS_BABBLE] = USB_BABBLE, [BUS_GONE] = USB_GONE,
    };
    return ends[end];
}

/* Gives back to the host what has ended. */
static void collect(struct virtual_device *device)
{
    struct virtual_transfer **at = &device->under_way, *transfer;
    while ((transfer = *at)) {
        if (transfer->bus.end == BUS_PENDING) {
            at = &transfer->next;
            continue;
        }
        *at = transfer->next;
        transfer->host->actual = transfer->bus.actual;
        transfer->host->end = host_end(transfer->bus.end);
        transfer->host->backend = NULL;
        free(transfer);
    }
}

static void advance(struct virtual_device *device, uint64_t moment)
{
    usb_bus_advance(&device->bus, moment);
    collect(device);
}

static uint64_t virtual_now(struct clock *clock)
{
    return device_of_clock(clock)->bus.v.now;
}

static void virtual_sleep_until(struct clock *clock, uint64_t moment)
{
    advance(device_of_clock(clock), moment);
}

/* Once the device left, this handle is dead, even if the device is back. */
static bool is_gone(const struct virtual_device *device)
{
    return device->bus.lost != device->lost;
}

static int gone(const struct usb *usb, struct error *err)
{
    return error_set(err, ERR_GONE, "%s: the device left the bus", usb->name);
}

static int virtual_submit(struct usb *usb, struct usb_transfer *host, struct error *err)
{
    struct virtual_device *device = device_of(usb);
    struct virtual_transfer *transfer;
    if (is_gone(device))
        return gone(usb, err);
    if (!(transfer = calloc(1, sizeof *transfer)))
        return error_memory(err);
    const struct usb_setup *setup = &host->setup;
    transfer->bus = (struct bus_transfer){
        .endpoint = host->endpoint,
        .setup = {setup->type, setup->request, setup->value, setup->index, setup->length},
        .bytes = host->bytes,
        .length = host->length,
    };
    transfer->host = host;
    transfer->next = device->under_way;
    device->under_way = transfer;
    host->backend = transfer;
    host->actual = 0;
    host->end = USB_PENDING;
    usb_bus_submit(&device->bus, &transfer->bus);
    return OK;
}

static int virtual_await(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline,
                         struct error *err)
{
    (void)err;
    struct virtual_device *device = device_of(usb);
    advance(device, device->bus.v.now);
    while (transfer->end == USB_PENDING) {
        uint64_t next = usb_bus_next(&device->bus);
        advance(device, next > deadline ? deadline : next);
        if (next > deadline)
            break;
    }
    return OK;
}

static void virtual_cancel(struct usb *usb, struct usb_transfer *host)
{
    struct virtual_device *device = device_of(usb);
    struct virtual_transfer *transfer = host->backend;
    if (transfer)
        usb_bus_cancel(&device->bus, &transfer->bus);
    collect(device);
}

/* ---- what a host does through requests of its own ---- */

static int request(struct usb *usb, const struct usb_setup *setup, uint8_t *bytes, size_t *actual,
                   struct error *err)
{
    struct usb_transfer transfer = {.setup = *setup, .bytes = bytes, .length = setup->length};
    int status = virtual_submit(usb, &transfer, err);
    if (status == OK)
        status = virtual_await(usb, &transfer, clock_in(usb->clock, ENUMERATION), err);
    if (status != OK)
        return status;
    if (transfer.end == USB_PENDING)
        virtual_cancel(usb, &transfer);
    if (actual)
        *actual = transfer.actual;
    if (transfer.end == USB_GONE)
        return gone(usb, err);
    if (transfer.end == USB_STALL)
        return error_set(err, ERR_STALL, "%s: refused request %02x", usb->name, setup->request);
    if (transfer.end != USB_DONE)
        return error_set(err, ERR_NO_ANSWER, "%s: no answer to request %02x", usb->name,
                         setup->request);
    return OK;
}

static int virtual_claim(struct usb *usb, uint8_t interface, struct error *err)
{
    (void)interface; /* no driver is bound to it */
    return is_gone(device_of(usb)) ? gone(usb, err) : OK;
}

static void virtual_release(struct usb *usb, uint8_t interface)
{
    (void)usb;
    (void)interface;
}

static int virtual_set_alternate(struct usb *usb, uint8_t interface, uint8_t alternate,
                                 struct error *err)
{
    return request(usb, &(struct usb_setup){0x01, SET_INTERFACE, alternate, interface, 0}, NULL,
                   NULL, err);
}

static int virtual_clear_halt(struct usb *usb, uint8_t endpoint, struct error *err)
{
    return request(usb, &(struct usb_setup){0x02, CLEAR_FEATURE, 0, endpoint, 0}, NULL, NULL, err);
}

static int configure(struct usb *usb, struct error *err)
{
    return request(usb, &(struct usb_setup){0x00, SET_CONFIGURATION, usb->configuration[5], 0, 0},
                   NULL, NULL, err);
}

static int get_descriptor(struct usb *usb, uint8_t type, uint8_t *bytes, uint16_t length,
                          size_t *actual, struct error *err)
{
    const struct usb_setup setup = {0x80, GET_DESCRIPTOR, (uint16_t)(type << 8), 0, length};
    return request(usb, &setup, bytes, actual, err);
}

/* A hub's port reset, and what the host makes of what it then finds (Linux usb_reset_device). */
static int virtual_reset(struct usb *usb, struct error *err)
{
    struct virtual_device *device = device_of(usb);
    uint8_t found[sizeof usb->device_descriptor];
    if (is_gone(device))
        return gone(usb, err);
    usb_bus_host_reset(&device->bus);
    advance(device, device->bus.v.now + 50 * MILLISECOND); /* USB 2.0 table 7-14: T_DRSTR */
    int status = get_descriptor(usb, USB_DT_DEVICE, found, sizeof found, NULL, err);
    if (status != OK)
        return status;
    if (memcmp(found, usb->device_descriptor, sizeof found) != 0)
        return gone(usb, err);
    return configure(usb, err);
}

static void virtual_close(struct usb *usb)
{
    struct virtual_device *device = device_of(usb);
    usb_bus_free(&device->bus);
    collect(device);
    free(device);
}

static const struct usb_ops virtual_ops = {
    .name = "virtual",
    .submit = virtual_submit,
    .await = virtual_await,
    .cancel = virtual_cancel,
    .claim = virtual_claim,
    .release = virtual_release,
    .set_alternate = virtual_set_alternate,
    .clear_halt = virtual_clear_halt,
    .reset = virtual_reset,
    .close = virtual_close,
};

/* ---- opening ---- */

struct usb *virtual_usb(struct vusb *vusb, const struct line_faults *faults)
{
    struct virtual_device *device = calloc(1, sizeof *device);
    struct error err;
    if (!device)
        return NULL;
    usb_bus_init(&device->bus, vusb, true, faults);
    device->clock = (struct clock){virtual_now, virtual_sleep_until};
    device->usb.ops = &virtual_ops;
    device->usb.clock = &device->clock;
    snprintf(device->usb.name, sizeof device->usb.name, "virtual");
    while (!device->bus.up && vusb->back_at != UINT64_MAX)
        usb_bus_advance(&device->bus, vusb->back_at);
    device->lost = device->bus.lost;
    if (device->bus.up && usb_begin(&device->usb, NULL, &err) == OK)
        return &device->usb;
    virtual_close(&device->usb);
    return NULL;
}

struct usb_bus *virtual_usb_bus(struct usb *usb)
{
    return &device_of(usb)->bus;
}

void virtual_usb_elapse(struct vusb *device, uint64_t microseconds)
{
    struct usb_bus bus;
    usb_bus_init(&bus, device, true, NULL);
    usb_bus_advance(&bus, bus.v.now + microseconds);
    usb_bus_free(&bus);
}

void virtual_usb_reset(struct vusb *device, enum vreset cause)
{
    if (device->bus) {
        usb_bus_reset((struct usb_bus *)device->bus, cause);
        return;
    }
    struct usb_bus bus;
    usb_bus_init(&bus, device, true, NULL);
    usb_bus_reset(&bus, cause);
    usb_bus_free(&bus);
}
