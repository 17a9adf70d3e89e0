/* See usb_bus.h. Times on the wire are kept in nanoseconds, so that rounding does not add up. */
#include "usb_bus.h"

#include <string.h>

enum {
    NS = 1000, /* in a microsecond */
    TO_HOST = 0x80,
    PACKET_MAX = 1024,
    HURRY_MAX = 64, /* steps in which neither time passes nor a packet moves */
};

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void schedule(const struct usb_bus *bus, struct bus_transfer *transfer, uint64_t from)
{
    transfer->due = usb_due(bus, transfer, from);
    transfer->waiting = false;
}

/* Something happened in the device at `from`: what it was not ready for may go on. */
static void wake(struct usb_bus *bus, uint64_t from)
{
    for (size_t i = 0; i < BUS_ENDPOINTS && !bus->silent; i++)
        if (bus->queues[i] && bus->queues[i]->waiting)
            schedule(bus, bus->queues[i], later(from, bus->queues[i]->due));
}

/* ---- the end of a transfer ---- */

static void end(struct usb_bus *bus, struct bus_transfer *transfer, enum bus_end how)
{
    struct bus_transfer **queue = &bus->queues[usb_endpoint_index(transfer->endpoint)];
    bool first = *queue == transfer;
    while (*queue != transfer)
        queue = &(*queue)->next;
    *queue = transfer->next;
    transfer->end = how;
    if (first && *queue)
        schedule(bus, *queue, how == BUS_CANCELLED ? bus->v.now * NS : transfer->due);
}

static void go_down(struct usb_bus *bus)
{
    bus->up = false;
    bus->lost++;
    bus->configuration = 0;
    bus->in_message = false;
    for (size_t i = 0; i < BUS_ENDPOINTS; i++) {
        for (struct bus_transfer *at = bus->queues[i]; at; at = at->next)
            at->end = BUS_GONE;
        bus->queues[i] = NULL;
    }
}

static void halt(struct usb_bus *bus, struct bus_transfer *transfer)
{
    if (transfer->endpoint)
        bus->halted[usb_endpoint_index(transfer->endpoint)] = true;
    end(bus, transfer, BUS_STALL);
}

/* The host's message is with the device: some links do not live longer. */
static bool message_over(struct usb_bus *bus)
{
    bool power = bus->messages == bus->faults.power;
    if (bus->messages == 0 || (!power && bus->messages != bus->faults.cut))
        return false;
    *(power ? &bus->faults.power : &bus->faults.cut) = 0;
    if (power)
        usb_bus_reset(bus, VRESET_POWER);
    else
        go_down(bus);
    return true;
}

/* Counts a message of the host. False: nobody hears it any more. */
static bool heard(struct usb_bus *bus, struct bus_transfer *transfer)
{
    bool message =
        transfer->endpoint ? !(transfer->endpoint & TO_HOST) : usb_is_message(&transfer->setup);
    if (message && !transfer->counted) {
        transfer->counted = bus->in_message = true;
        bus->messages++;
        bus->silent |= bus->messages == bus->faults.stall;
    }
    transfer->waiting = bus->silent;
    return !bus->silent;
}

/* The first data of a reply is where faults happen. Returns how many bytes are left of it. */
static size_t reply_fault(struct usb_bus *bus, uint8_t *bytes, size_t length)
{
    if (!bus->in_message || !length)
        return length;
    bus->in_message = false;
    if (bus->messages == bus->faults.corrupt)
        bytes[0] ^= 0x40;
    return length - (bus->messages == bus->faults.drop);
}

/* ---- exchanges with the device ---- */

static void control(struct usb_bus *bus, struct bus_transfer *transfer)
{
    bool in = transfer->setup.type & TO_HOST;
    size_t length = transfer->length;
    if (in && transfer->setup.length < length)
        length = transfer->setup.length;
    size_t room = length;
    enum vusb_answer answer = usb_request(bus, &transfer->setup, transfer->bytes, &length);
    if (transfer->end != BUS_PENDING) /* it left the bus meanwhile */
        return;
    transfer->waiting = answer == VUSB_NAK;
    if (answer == VUSB_NAK)
        return;
    wake(bus, transfer->due);
    if (transfer->counted && message_over(bus))
        return;
    if (answer == VUSB_STALL || length > room) {
        end(bus, transfer, answer == VUSB_STALL ? BUS_STALL : BUS_BABBLE);
        return;
    }
    if (in && usb_is_message(&transfer->setup))
        length = reply_fault(bus, transfer->bytes, length);
    transfer->actual = length;
    transfer->passed = true;
    transfer->due = usb_control_end(bus, transfer);
}

static void packet_out(struct usb_bus *bus, struct bus_transfer *transfer, size_t packet)
{
    struct vusb *device = bus->device;
    size_t left = transfer->length - transfer->actual, count = left < packet ? left : packet;
    enum vusb_answer answer = device->ops->out
                                  ? device->ops->out(device, transfer->endpoint,
                                                     transfer->bytes + transfer->actual, count)
                                  : VUSB_STALL;
    if (transfer->end != BUS_PENDING)
        return;
    transfer->waiting = answer == VUSB_NAK;
    if (answer == VUSB_NAK)
        return;
    bus->wire_free = transfer->due;
    wake(bus, transfer->due);
    if (answer == VUSB_STALL) {
        halt(bus, transfer);
        return;
    }
    transfer->actual += count;
    bool last = count < packet || (count == left && !transfer->zero_packet);
    if (!last)
        schedule(bus, transfer, transfer->due);
    else if (!message_over(bus))
        end(bus, transfer, BUS_DONE);
}

static void packet_in(struct usb_bus *bus, struct bus_transfer *transfer, size_t packet)
{
    struct vusb *device = bus->device;
    uint8_t bytes[PACKET_MAX];
    size_t left = transfer->length - transfer->actual, count = packet;
    enum vusb_answer answer =
        device->ops->in ? device->ops->in(device, transfer->endpoint, bytes, &count) : VUSB_STALL;
    if (transfer->end != BUS_PENDING)
        return;
    transfer->waiting = answer == VUSB_NAK;
    if (answer == VUSB_NAK)
        return;
    wake(bus, transfer->due);
    if (answer == VUSB_STALL) {
        halt(bus, transfer);
        return;
    }
    if (count > packet || count > left) {
        end(bus, transfer, BUS_BABBLE);
        return;
    }
    bus->wire_free = transfer->due + usb_packet_time(bus, count);
    count = reply_fault(bus, bytes, count);
    if (count)
        memcpy(transfer->bytes + transfer->actual, bytes, count);
    transfer->actual += count;
    transfer->passed = count < packet || count == left;
    if (transfer->passed)
        transfer->due = bus->wire_free;
    else
        schedule(bus, transfer, bus->wire_free);
}

static void exchange(struct usb_bus *bus, struct bus_transfer *transfer)
{
    struct bus_endpoint endpoint;
    if (transfer->passed) {
        end(bus, transfer, BUS_DONE);
        return;
    }
    if (!transfer->endpoint) {
        if (heard(bus, transfer))
            control(bus, transfer);
        return;
    }
    if (!usb_find_endpoint(bus, transfer->endpoint, &endpoint) || !endpoint.packet ||
        endpoint.packet > PACKET_MAX || bus->halted[usb_endpoint_index(transfer->endpoint)]) {
        end(bus, transfer, BUS_STALL);
        return;
    }
    uint64_t due = usb_due(bus, transfer, transfer->endpoint & TO_HOST ? transfer->due : 0);
    if (due > transfer->due) /* another endpoint had the wire */
        transfer->due = due;
    else if (heard(bus, transfer))
        (transfer->endpoint & TO_HOST ? packet_in : packet_out)(bus, transfer, endpoint.packet);
}

/* ---- time ---- */

static struct bus_transfer *first_due(const struct usb_bus *bus)
{
    struct bus_transfer *first = NULL;
    for (size_t i = 0; i < BUS_ENDPOINTS; i++) {
        struct bus_transfer *head = bus->queues[i];
        if (head && !head->waiting && (!first || head->due < first->due))
            first = head;
    }
    return first;
}

static uint64_t transfers_due(const struct usb_bus *bus)
{
    const struct bus_transfer *first = first_due(bus);
    return first ? (first->due + NS - 1) / NS : UINT64_MAX;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t usb_bus_next(const struct usb_bus *bus)
{
    const struct vusb *device = bus->device;
    uint64_t next = transfers_due(bus);
    if (!bus->up && device->back_at)
        next = earlier(next, device->back_at);
    return earlier(next, device->ops->next ? device->ops->next(device) : UINT64_MAX);
}

/* Everything due at v.now, but only one packet: it may change what the next one meets. */
static void step(struct usb_bus *bus)
{
    struct vusb *device = bus->device;
    if (!bus->up && device->back_at && bus->v.now >= device->back_at)
        usb_bus_restore(bus);
    if (device->ops->next && device->ops->next(device) <= bus->v.now) {
        device->ops->tick(device);
        wake(bus, bus->v.now * NS);
    }
    if (transfers_due(bus) <= bus->v.now)
        exchange(bus, first_due(bus));
}

void usb_bus_advance(struct usb_bus *bus, uint64_t now)
{
    unsigned hurry = 0;
    for (uint64_t next; (next = usb_bus_next(bus)) <= now && hurry < HURRY_MAX;) {
        hurry = next > bus->v.now || transfers_due(bus) <= next ? 0 : hurry + 1;
        if (next > bus->v.now)
            bus->v.now = next;
        step(bus);
    }
    if (bus->v.now < now)
        bus->v.now = now;
}

void usb_bus_submit(struct usb_bus *bus, struct bus_transfer *transfer)
{
    transfer->end = bus->up ? BUS_PENDING : BUS_GONE;
    transfer->actual = 0;
    transfer->next = NULL;
    transfer->counted = transfer->waiting = transfer->passed = false;
    if (!bus->up)
        return;
    struct bus_transfer **queue = &bus->queues[usb_endpoint_index(transfer->endpoint)];
    bool first = !*queue;
    while (*queue)
        queue = &(*queue)->next;
    *queue = transfer;
    if (first)
        schedule(bus, transfer, bus->v.now * NS);
}

void usb_bus_cancel(struct usb_bus *bus, struct bus_transfer *transfer)
{
    if (transfer->end != BUS_PENDING)
        return;
    end(bus, transfer, BUS_CANCELLED);
}

/* ---- life ---- */

void usb_bus_host_reset(struct usb_bus *bus)
{
    if (!bus->up)
        return;
    for (size_t i = 0; i < BUS_ENDPOINTS; i++)
        while (bus->queues[i])
            usb_bus_cancel(bus, bus->queues[i]);
    bus->configuration = 0;
    memset(bus->alternates, 0, sizeof bus->alternates);
    memset(bus->halted, 0, sizeof bus->halted);
    if (bus->device->ops->bus_reset)
        bus->device->ops->bus_reset(bus->device);
}

void usb_bus_reset(struct usb_bus *bus, enum vreset cause)
{
    bus->silent = false;
    if (bus->up)
        go_down(bus);
    bus->device->back_at = UINT64_MAX;
    bus->device->ops->reset(bus->device, cause);
}

void usb_bus_restore(struct usb_bus *bus)
{
    bus->up = true;
    bus->device->back_at = 0;
    bus->configuration = 0;
    memset(bus->alternates, 0, sizeof bus->alternates);
    memset(bus->halted, 0, sizeof bus->halted);
}

static void detach(struct vusb_bus *v, uint64_t back_at)
{
    struct usb_bus *bus = (struct usb_bus *)v;
    bus->device->back_at = back_at;
    if (bus->up)
        go_down(bus);
}

void usb_bus_init(struct usb_bus *bus, struct vusb *device, bool paced,
                  const struct line_faults *faults)
{
    *bus = (struct usb_bus){
        .v = {.now = device->parked, .paced = paced, .detach = detach},
        .device = device,
        .up = device->back_at <= device->parked,
    };
    if (faults)
        bus->faults = *faults;
    if (bus->up)
        device->back_at = 0;
    device->bus = &bus->v;
}

void usb_bus_free(struct usb_bus *bus)
{
    if (bus->up)
        go_down(bus);
    bus->device->parked = bus->v.now;
    bus->device->bus = NULL;
}
