/* See loop_usb.h. */
#include "loop_usb.h"

#include <string.h>

static const uint8_t device_before[] = {18,   1,    0,    2, 0, 0, 0, 64, 0x50,
                                        0x1d, 0x4e, 0x61, 0, 1, 1, 2, 3,  1};
static const uint8_t device_after[] = {18,   1,    0,    2, 0, 0, 0, 64, 0x50,
                                       0x1d, 0x77, 0x61, 0, 1, 1, 2, 3,  1};

static const uint8_t configuration[] = {
    9, 2, 64,   0, 2,  1,    0,  0xc0, 50, /* configuration 1: self-powered */
    9, 4, 0,    0, 3,  0xff, 0,  0,    0,  /* interface 0 */
    7, 5, 0x01, 2, 64, 0,    0,            /* bulk OUT */
    7, 5, 0x81, 2, 64, 0,    0,            /* bulk IN */
    7, 5, 0x82, 3, 8,  0,    10,           /* interrupt IN, every 10 ms */
    9, 4, 1,    0, 0,  0xfe, 1,  2,    0,  /* interface 1, two alternates */
    9, 4, 1,    1, 0,  0xfe, 1,  2,    0,  7, 0x21, 1, 0xff, 0, 0, 1, /* a class descriptor */
};

static const char *const strings[] = {"mflash", "Loop", "\x01\x06\x06\x03\x41\0\x42\0", NULL};

static const struct vusb_identity before = {.device = device_before,
                                            .configuration = configuration,
                                            .configuration_length = sizeof configuration,
                                            .strings = strings,
                                            .string_count = 4};
static const struct vusb_identity after = {.device = device_after,
                                           .configuration = configuration,
                                           .configuration_length = sizeof configuration,
                                           .strings = strings,
                                           .string_count = 4};

static struct loop_usb *loop_of(struct vusb *dev)
{
    return (struct loop_usb *)dev;
}

static bool busy(const struct loop_usb *loop)
{
    return loop->busy_until > loop->usb.bus->now;
}

static void loop_reset(struct vusb *dev, enum vreset cause)
{
    struct loop_usb *loop = loop_of(dev);
    loop->resets++;
    loop->cause = cause;
    loop->count = 0;
    loop->busy_until = 0;
    dev->bus->detach(dev->bus, dev->bus->now + 300 * MILLISECOND);
}

static void loop_bus_reset(struct vusb *dev)
{
    loop_of(dev)->bus_resets++;
}

static void loop_configured(struct vusb *dev, uint8_t value)
{
    loop_of(dev)->configuration = value;
}

static void loop_alternate(struct vusb *dev, uint8_t interface, uint8_t alternate)
{
    if (interface == 1)
        loop_of(dev)->alternate = alternate;
}

static enum vusb_answer loop_control(struct vusb *dev, const struct vusb_setup *setup,
                                     uint8_t *data, size_t *length)
{
    struct loop_usb *loop = loop_of(dev);
    if (busy(loop))
        return VUSB_NAK;
    loop->controls++;
    loop->heard_at = dev->bus->now;
    if (setup->type == LOOP_VENDOR_OUT && setup->request == LOOP_STORE &&
        *length <= sizeof loop->stored) {
        memcpy(loop->stored, data, *length);
        loop->stored_length = *length;
        return VUSB_ACK;
    }
    if (setup->type == LOOP_VENDOR_IN && setup->request == LOOP_STORE) {
        *length = *length < loop->stored_length ? *length : loop->stored_length;
        memcpy(data, loop->stored, *length);
        return VUSB_ACK;
    }
    if (setup->type == LOOP_VENDOR_OUT && setup->request == LOOP_LEAVE) {
        loop->leave_at = dev->bus->now + 5 * MILLISECOND;
        return VUSB_ACK;
    }
    return setup->type == 0x21 ? VUSB_ACK : VUSB_STALL;
}

static enum vusb_answer loop_out(struct vusb *dev, uint8_t endpoint, const uint8_t *packet,
                                 size_t length)
{
    struct loop_usb *loop = loop_of(dev);
    if (endpoint != 0x01 || (length == 4 && memcmp(packet, "HALT", 4) == 0))
        return VUSB_STALL;
    if (busy(loop) || loop->count == LOOP_PACKETS)
        return VUSB_NAK;
    size_t at = (loop->head + loop->count++) % LOOP_PACKETS;
    memcpy(loop->packets[at], packet, length);
    loop->lengths[at] = length;
    loop->outs++;
    loop->heard_at = dev->bus->now;
    return VUSB_ACK;
}

static enum vusb_answer loop_in(struct vusb *dev, uint8_t endpoint, uint8_t *packet, size_t *length)
{
    struct loop_usb *loop = loop_of(dev);
    if (endpoint == 0x82 || busy(loop) || !loop->count)
        return VUSB_NAK;
    *length = loop->lengths[loop->head];
    memcpy(packet, loop->packets[loop->head], *length);
    loop->head = (loop->head + 1) % LOOP_PACKETS;
    loop->count--;
    return VUSB_ACK;
}

static uint64_t loop_next(const struct vusb *dev)
{
    const struct loop_usb *loop = (const struct loop_usb *)dev;
    uint64_t busy_until = loop->busy_until ? loop->busy_until : UINT64_MAX;
    return loop->leave_at < busy_until ? loop->leave_at : busy_until;
}

static void loop_tick(struct vusb *dev)
{
    struct loop_usb *loop = loop_of(dev);
    loop->ticks++;
    if (loop->busy_until <= dev->bus->now)
        loop->busy_until = 0;
    if (loop->leave_at > dev->bus->now)
        return;
    loop->leave_at = UINT64_MAX;
    dev->identity = &after;
    dev->bus->detach(dev->bus, dev->bus->now + 300 * MILLISECOND);
}

static const struct vusb_ops loop_ops = {
    .reset = loop_reset,
    .bus_reset = loop_bus_reset,
    .configured = loop_configured,
    .alternate = loop_alternate,
    .control = loop_control,
    .out = loop_out,
    .in = loop_in,
    .next = loop_next,
    .tick = loop_tick,
};

void loop_usb_init(struct loop_usb *loop)
{
    *loop = (struct loop_usb){
        .usb = {.ops = &loop_ops, .identity = &before},
        .leave_at = UINT64_MAX,
    };
}
