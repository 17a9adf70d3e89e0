/* How long things take on a bus: USB 2.0 chapter 5. See usb_bus.h. */
#include "usb_bus.h"

enum { TO_HOST = 0x80, INTERRUPT = 3, CONTROL_PACKET = 64 };

/* What a packet of `payload` bytes costs, with the protocol's overhead of `overhead` bytes. */
struct wire {
    uint64_t frame;             /* nanoseconds: 1 ms, or a microframe */
    uint64_t bulk, control;     /* of a whole packet */
    uint64_t payload, overhead; /* bytes of that */
};

static const struct wire *wire_of(const struct usb_bus *bus)
{
    /* USB 2.0 tables 5-2, 5-3, 5-9, 5-10: 19 bulk packets of 64 bytes in a frame, 13 of 512 bytes
     * in a microframe; of control about 14. */
    static const struct wire full = {1000000, 52632, 71429, 64, 13};
    static const struct wire high = {125000, 9616, 9616, 512, 55};
    return bus->device->identity->high_speed ? &high : &full;
}

uint64_t usb_packet_time(const struct usb_bus *bus, size_t length)
{
    const struct wire *wire = wire_of(bus);
    return bus->v.paced ? wire->bulk * (wire->overhead + length) / (wire->overhead + wire->payload)
                        : 0;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t round_up(uint64_t moment, uint64_t step)
{
    return (moment + step - 1) / step * step;
}

/* Table 9-13: frames at full speed, an exponent of microframes at high speed. */
static uint64_t poll_interval(const struct usb_bus *bus, const struct bus_endpoint *endpoint)
{
    unsigned interval = endpoint->interval ? endpoint->interval : 1;
    if (!bus->device->identity->high_speed)
        return interval * wire_of(bus)->frame;
    return wire_of(bus)->frame << ((interval > 16 ? 16 : interval) - 1);
}

/* Of a control transfer's data stage. */
static uint64_t data_time(const struct usb_bus *bus, size_t length)
{
    return wire_of(bus)->control * (length + CONTROL_PACKET - 1) / CONTROL_PACKET;
}

/* Every stage begins with a frame: SETUP, data, status. OUT data is judged with the status stage,
 * IN data is asked for with the data stage. */
static uint64_t control_due(const struct usb_bus *bus, const struct bus_transfer *transfer,
                            uint64_t from)
{
    if (!bus->v.paced || transfer->waiting)
        return from;
    const struct wire *wire = wire_of(bus);
    uint64_t at = round_up(from, wire->frame) + wire->control;
    if (transfer->setup.length && !(transfer->setup.type & TO_HOST))
        at = round_up(at, wire->frame) + data_time(bus, transfer->length);
    return round_up(at, wire->frame);
}

/* OUT: the end of its next packet. IN: the beginning. */
static uint64_t packet_due(const struct usb_bus *bus, const struct bus_transfer *transfer,
                           uint64_t from)
{
    struct bus_endpoint endpoint = {0};
    if (!bus->v.paced || !usb_find_endpoint(bus, transfer->endpoint, &endpoint))
        return from;
    size_t left = transfer->length - transfer->actual;
    bool in = transfer->endpoint & TO_HOST;
    from = later(from, bus->wire_free);
    if (endpoint.type == INTERRUPT)
        from = round_up(from, poll_interval(bus, &endpoint));
    return in ? from : from + usb_packet_time(bus, left < endpoint.packet ? left : endpoint.packet);
}

uint64_t usb_due(const struct usb_bus *bus, const struct bus_transfer *transfer, uint64_t from)
{
    return transfer->endpoint ? packet_due(bus, transfer, from) : control_due(bus, transfer, from);
}

uint64_t usb_control_end(const struct usb_bus *bus, const struct bus_transfer *transfer)
{
    const struct wire *wire = wire_of(bus);
    uint64_t at = transfer->due;
    if (!bus->v.paced)
        return at;
    if (transfer->setup.type & TO_HOST)
        at = round_up(at + data_time(bus, transfer->actual), wire->frame);
    return at + wire->control;
}
