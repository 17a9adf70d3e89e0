/*
 * The wire of a CAN bus: see can_bus.h. Times inside are nanoseconds, because a bit at 1 Mbit/s is
 * a microsecond and a frame's end falls between two.
 *
 * A frame begins when the wire is free, and of those that wait then the lowest identifier wins.
 * Everything that is due at a moment happens before the next frame begins, so that nodes which
 * answer at the same moment compete, whatever order they are looked at.
 */
#include "can_bus.h"

#include <linux/can/error.h>
#include <stdlib.h>
#include <string.h>

#include "can_queue.h"
#include "can_station.h"

enum {
    NS = 1000,
    INTERMISSION_BITS = 3,
    ERROR_FRAME_BITS = 20, /* flag 6 to 12, delimiter 8 */
};

static uint64_t bit_times(const struct can_bus *bus, uint64_t bits)
{
    return bits * 1000000000 / bus->bitrate;
}

static uint64_t to_microseconds(uint64_t ns)
{
    return ns == UINT64_MAX ? ns : ns / NS + (ns % NS != 0);
}

/* ---- who is there ---- */

/* Its controller takes part: it acknowledges and may send. */
bool station_takes_part(const struct can_station *station)
{
    if (station->node)
        return !station->node->deaf && station->bus->power_at == 0;
    return !station->gone && station->restart_at == 0;
}

static bool has_company(const struct can_station *sender)
{
    for (const struct can_station *other = sender->bus->stations; other; other = other->next)
        if (other != sender && station_takes_part(other))
            return true;
    return false;
}

static struct can_station *station_of(struct can_bus *bus, const struct vcan *node)
{
    struct can_station *station = bus->stations;
    while (station && station->node != node)
        station = station->next;
    return station;
}

struct can_station *station_join(struct can_bus *bus, struct vcan *node)
{
    struct can_station **end = &bus->stations;
    struct can_station *station = calloc(1, sizeof *station);
    if (!station)
        return NULL;
    station->bus = bus;
    station->node = node;
    while (*end)
        end = &(*end)->next;
    *end = station;
    return station;
}

/* What it has on the wire ends there: an error frame, that is, and nobody gets anything. */
void station_silence(struct can_station *station)
{
    struct can_bus *bus = station->bus;
    can_queue_clear(&station->out);
    if (bus->sender != station)
        return;
    bus->sender = NULL;
    bus->free_at = bus->v.now * NS + (bus->v.paced ? bit_times(bus, ERROR_FRAME_BITS) : 0);
}

/* ---- what nodes do ---- */

static void node_send(struct vcan_bus *v, struct vcan *node, const struct can_frame *frame)
{
    struct can_bus *bus = (struct can_bus *)v;
    struct can_station *station = station_of(bus, node);
    if (station && !bus->stalled && station_takes_part(station))
        (void)can_queue_push(&station->out, frame, v->now * NS);
}

static void node_abort(struct vcan_bus *v, struct vcan *node)
{
    struct can_station *station = station_of((struct can_bus *)v, node);
    if (station)
        station_silence(station);
}

/* ---- a frame's way ---- */

/* The frame that begins first: of a wire that is free, so that all which wait at that moment
 * compete. Nobody's acknowledgement is waited for in vain: who has failed often enough goes on when
 * somebody joins. */
static bool may_send(const struct can_station *station)
{
    return station->out.count && station_takes_part(station) &&
           (station->tx_errors < TX_ERRORS_PASSIVE || has_company(station));
}

static uint64_t next_start(const struct can_bus *bus)
{
    uint64_t first = UINT64_MAX;
    for (const struct can_station *station = bus->stations; station; station = station->next)
        if (may_send(station) && can_queue_head(&station->out)->at < first)
            first = can_queue_head(&station->out)->at;
    return first == UINT64_MAX || first > bus->free_at ? first : bus->free_at;
}

/* Order of arbitration: bits of the identifier, a dominant 0 wins; a standard frame before an
 * extended one that begins alike, data before remote. Alike to the end, the data decide: on silicon
 * that is a bit error and another try. */
static int arbitrate(const struct can_frame *a, const struct can_frame *b)
{
    const struct can_frame *frames[] = {a, b};
    uint64_t order[2];
    for (int i = 0; i < 2; i++) {
        canid_t id = frames[i]->can_id;
        bool extended = (id & CAN_EFF_FLAG) != 0, remote = (id & CAN_RTR_FLAG) != 0;
        order[i] = extended ? (uint64_t)((id & CAN_EFF_MASK) >> 18) << 21 | 3u << 19 |
                                  (uint64_t)(id & 0x3ffff) << 1 | remote
                            : (uint64_t)(id & CAN_SFF_MASK) << 21 | (uint64_t)remote << 20;
    }
    if (order[0] != order[1])
        return order[0] < order[1] ? -1 : 1;
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(a->data, b->data, sizeof a->data);
}

static void start_frame(struct can_bus *bus)
{
    uint64_t start = next_start(bus);
    struct can_station *winner = NULL;
    for (struct can_station *station = bus->stations; station; station = station->next) {
        const struct can_waiting *mine = can_queue_head(&station->out);
        if (may_send(station) && mine->at <= start &&
            (!winner || arbitrate(&mine->frame, &can_queue_head(&winner->out)->frame) < 0))
            winner = station;
    }
    if (!winner)
        return;
    if (start / NS + 1 < bus->v.now) /* it has waited for company */
        start = bus->v.now * NS;
    unsigned bits = can_frame_bits(&can_queue_head(&winner->out)->frame);
    bool timed = bus->v.paced || winner->tx_errors; /* trying again takes time in any case */
    bus->sender = winner;
    bus->ends = start + (timed ? bit_times(bus, bits - INTERMISSION_BITS) : 0);
    bus->free_at = start + (timed ? bit_times(bus, bits) : 0);
    bus->bits += bits;
}

static void report(struct can_bus *bus, const struct can_station *from,
                   const struct can_frame *frame, const char *fate)
{
    if (bus->watch)
        bus->watch(bus->watch_context, from, frame, fate);
}

/* It stays at the head of its queue and is sent again. */
static void destroy_frame(struct can_bus *bus, struct can_station *sender, canid_t class,
                          const char *fate)
{
    report(bus, sender, &can_queue_head(&sender->out)->frame, fate);
    bus->free_at += bus->v.paced ? bit_times(bus, ERROR_FRAME_BITS) : 0;
    bus->bits += ERROR_FRAME_BITS;
    station_count_error(sender, class);
}

static void deliver(struct can_bus *bus, const struct can_station *sender,
                    const struct can_frame *frame)
{
    for (struct can_station *station = bus->stations; station; station = station->next) {
        if (station == sender || !station_takes_part(station))
            continue;
        if (!station->node)
            host_hear(station, frame);
        else if (!bus->stalled)
            station->node->ops->receive(station->node, frame);
    }
}

static void lose_power(struct can_bus *bus)
{
    for (struct can_station *station = bus->stations; station; station = station->next)
        if (station->node)
            station_silence(station);
    bus->power_at = bus->v.now + CAN_REPLUG_TIME;
}

static void leave_wire(struct can_bus *bus, struct can_station *sender)
{
    struct can_frame frame = can_queue_pop(&sender->out);
    unsigned number = ++bus->frames;
    bool lost = number == bus->faults.drop;
    sender->tx_errors -= sender->tx_errors > 0;
    report(bus, sender, &frame, lost ? "lost" : "");
    if (number == bus->faults.stall)
        bus->stalled = true;
    if (!lost)
        deliver(bus, sender, &frame);
    if (sender->node && sender->node->ops->sent)
        sender->node->ops->sent(sender->node);
    if (number == bus->faults.cut)
        hosts_unplug(bus);
    if (number == bus->faults.power)
        lose_power(bus);
}

static void end_frame(struct can_bus *bus)
{
    struct can_station *sender = bus->sender;
    bus->sender = NULL;
    if (bus->frames + 1 == bus->faults.corrupt) {
        bus->faults.corrupt = 0;
        destroy_frame(bus, sender, 0, "destroyed");
    } else if (bus->frames + 1 == bus->faults.bus_off) {
        bus->faults.bus_off = 0;
        destroy_frame(bus, sender, 0, "destroyed");
        hosts_go_bus_off(bus);
    } else if (!has_company(sender)) {
        destroy_frame(bus, sender, CAN_ERR_ACK, "not acknowledged");
    } else {
        leave_wire(bus, sender);
    }
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When a station will do something of its own. */
static uint64_t station_due(const struct can_station *station)
{
    if (!station->node)
        return station->restart_at ? station->restart_at : UINT64_MAX;
    return station->bus->power_at ? UINT64_MAX : station->node->ops->next(station->node);
}

uint64_t can_bus_next(const struct can_bus *bus)
{
    uint64_t wire = bus->sender ? bus->ends : next_start(bus);
    uint64_t next = to_microseconds(wire);
    if (bus->power_at)
        next = earlier(next, bus->power_at);
    for (const struct can_station *station = bus->stations; station; station = station->next)
        next = earlier(next, station_due(station));
    return next > bus->v.now ? next : bus->v.now;
}

static void return_power(struct can_bus *bus)
{
    bus->power_at = 0;
    can_bus_reset(bus, NULL, VRESET_POWER);
}

/* Everything due at v.now; then, if the wire is free, the next frame begins. */
static void step(struct can_bus *bus)
{
    uint64_t now = bus->v.now;
    if (bus->sender && to_microseconds(bus->ends) <= now)
        end_frame(bus);
    if (bus->power_at && bus->power_at <= now)
        return_power(bus);
    bool again = false;
    for (struct can_station *station = bus->stations; station; station = station->next) {
        if (station_due(station) > now)
            continue;
        if (station->node)
            station->node->ops->tick(station->node);
        else
            host_restart(station);
        again |= station_due(station) <= now;
    }
    if (!again && !bus->sender && to_microseconds(next_start(bus)) <= now)
        start_frame(bus);
}

void can_bus_advance(struct can_bus *bus, uint64_t now)
{
    for (uint64_t next; (next = can_bus_next(bus)) <= now;) {
        bus->v.now = next;
        step(bus);
    }
    if (bus->v.now < now)
        bus->v.now = now;
}

/* ---- life ---- */

void can_bus_init(struct can_bus *bus, uint32_t bitrate, bool paced,
                  const struct can_bus_faults *faults)
{
    *bus = (struct can_bus){
        .v = {.paced = paced, .send = node_send, .abort = node_abort},
        .bitrate = bitrate ? bitrate : CAN_BUS_BITRATE,
    };
    if (faults)
        bus->faults = *faults;
}

void station_leave(struct can_station *station)
{
    struct can_station **link = &station->bus->stations;
    station_silence(station);
    while (*link != station)
        link = &(*link)->next;
    *link = station->next;
    if (station->node) {
        station->node->parked = station->bus->v.now;
        station->node->bus = NULL;
    }
    can_queue_free(&station->out);
    can_queue_free(&station->arrived);
    free(station);
}

void can_bus_free(struct can_bus *bus)
{
    while (bus->stations)
        station_leave(bus->stations);
}

bool can_bus_add(struct can_bus *bus, struct vcan *node)
{
    if (!station_join(bus, node))
        return false;
    if (bus->v.now < node->parked)
        bus->v.now = node->parked;
    node->bus = &bus->v;
    return true;
}

void can_bus_reset(struct can_bus *bus, struct vcan *node, enum vreset cause)
{
    bus->stalled = false;
    for (struct can_station *station = bus->stations; station; station = station->next) {
        if (!station->node || (node && station->node != node))
            continue;
        station_silence(station);
        station->tx_errors = 0;
        station->node->ops->reset(station->node, cause);
    }
}
