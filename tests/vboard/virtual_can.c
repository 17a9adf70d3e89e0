/* See virtual_can.h. Waiting is letting the bus live up to a moment (virtual_members.c). */
#include "virtual_can.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "virtual_members.h"

enum { CLOSE_GRACE = 100 * MILLISECOND /* for what was sent before the close */ };

_Static_assert((int)CAN_HOST_IDS >= (int)CAN_LISTEN_MAX, "a host takes all ids of a conversation");

struct virtual_conversation {
    struct can can; /* first: the two addresses are one */
    struct virtual_bus *bus;
    struct can_station *station;
    struct member *owner;
};

static struct virtual_conversation *of(struct can *can)
{
    return (struct virtual_conversation *)can;
}

static struct virtual_bus *bus_of(struct clock *clock)
{
    return (struct virtual_bus *)((char *)clock - offsetof(struct virtual_bus, clock));
}

/* The conversation belongs to whoever uses it. */
static void take_over(struct virtual_conversation *conversation)
{
    struct member *self = members_join(conversation->bus);
    if (conversation->owner == self)
        return;
    members_let_go(conversation->owner);
    conversation->owner = self;
    self->conversations++;
}

static uint64_t virtual_now(struct clock *clock)
{
    struct virtual_bus *bus = bus_of(clock);
    members_lock(bus);
    uint64_t now = bus->wire.v.now;
    members_unlock(bus);
    return now;
}

static void virtual_sleep_until(struct clock *clock, uint64_t moment)
{
    struct virtual_bus *bus = bus_of(clock);
    members_lock(bus);
    members_wait_until(bus, moment, NULL);
    members_leave_if_idle(bus);
    members_unlock(bus);
}

/* ---- conversations ---- */

static int gone(const struct can *can, struct error *err)
{
    return error_set(err, ERR_GONE, "%s: the bus is gone", can->name);
}

static int virtual_listen(struct can *can, const uint16_t *ids, size_t count, struct error *err)
{
    struct virtual_conversation *conversation = of(can);
    (void)err;
    members_lock(conversation->bus);
    take_over(conversation);
    can_bus_listen(conversation->station, ids, count);
    members_unlock(conversation->bus);
    return OK;
}

static int virtual_send(struct can *can, const struct can_frame *frame, struct error *err)
{
    struct virtual_conversation *conversation = of(can);
    members_lock(conversation->bus);
    take_over(conversation);
    bool lost = conversation->station->gone;
    bool taken = can_bus_put(conversation->station, frame);
    members_unlock(conversation->bus);
    return lost ? gone(can, err) : taken;
}

static int virtual_receive(struct can *can, struct can_frame *frame, uint64_t deadline,
                           struct error *err)
{
    struct virtual_conversation *conversation = of(can);
    struct can_station *station = conversation->station;
    members_lock(conversation->bus);
    take_over(conversation);
    members_wait_until(conversation->bus, deadline, station);
    bool taken = can_bus_take(station, frame), lost = station->gone;
    can->trouble.overflow |= station->lost > 0;
    members_unlock(conversation->bus);
    return taken ? 1 : lost ? gone(can, err) : 0;
}

static void virtual_close(struct can *can)
{
    struct virtual_conversation *conversation = of(can);
    struct virtual_bus *bus = conversation->bus;
    members_lock(bus);
    /* What was sent goes out, as from the queue of a real interface. */
    take_over(conversation);
    uint64_t end = bus->wire.v.now + CLOSE_GRACE;
    while (conversation->station->out.count && bus->wire.v.now < end) {
        uint64_t next = can_bus_next(&bus->wire), soon = bus->wire.v.now + 1;
        /* What is due now happens only when time goes on. */
        members_wait_until(bus, next > end ? end : next > soon ? next : soon, NULL);
    }
    can_bus_unplug(conversation->station);
    members_let_go(conversation->owner);
    members_leave_if_idle(bus);
    members_nudge(bus);
    members_unlock(bus);
    free(conversation);
}

static const struct can_ops virtual_ops = {
    .name = "virtual",
    .listen = virtual_listen,
    .send = virtual_send,
    .receive = virtual_receive,
    .close = virtual_close,
};

struct can *virtual_can(struct virtual_bus *bus)
{
    struct virtual_conversation *conversation = calloc(1, sizeof *conversation);
    if (!conversation)
        return NULL;
    conversation->bus = bus;
    conversation->can.ops = &virtual_ops;
    conversation->can.clock = &bus->clock;
    conversation->can.trace_port = -1;
    /* Node ids are claimed machine-wide by the name of the bus: each program has its own. */
    (void)snprintf(conversation->can.name, sizeof conversation->can.name, "virtual.%ld",
                   (long)getpid());
    members_lock(bus);
    take_over(conversation);
    if (bus->wire.plug_at > bus->wire.v.now)
        members_wait_until(bus, bus->wire.plug_at, NULL);
    conversation->station = can_bus_plug(&bus->wire);
    members_unlock(bus);
    if (conversation->station)
        return &conversation->can;
    free(conversation);
    return NULL;
}

/* ---- the bus ---- */

struct virtual_bus *virtual_bus_new(uint32_t bitrate, const struct can_bus_faults *faults)
{
    struct virtual_bus *bus = calloc(1, sizeof *bus);
    if (!bus)
        return NULL;
    if (!members_init(bus)) {
        free(bus);
        return NULL;
    }
    can_bus_init(&bus->wire, bitrate, true, faults);
    bus->clock = (struct clock){virtual_now, virtual_sleep_until};
    return bus;
}

void virtual_bus_free(struct virtual_bus *bus)
{
    if (!bus)
        return;
    can_bus_free(&bus->wire);
    members_free(bus);
    free(bus);
}

bool virtual_bus_add(struct virtual_bus *bus, struct vcan *node)
{
    members_lock(bus);
    bool added = can_bus_add(&bus->wire, node);
    members_unlock(bus);
    return added;
}

void virtual_bus_expect(struct virtual_bus *bus, unsigned threads)
{
    members_lock(bus);
    bus->expected = threads;
    members_unlock(bus);
}

void virtual_bus_elapse(struct virtual_bus *bus, uint64_t microseconds)
{
    bus->clock.sleep_until(&bus->clock, clock_in(&bus->clock, microseconds));
}

void virtual_bus_reset(struct virtual_bus *bus, struct vcan *node, enum vreset cause)
{
    members_lock(bus);
    can_bus_reset(&bus->wire, node, cause);
    members_unlock(bus);
}

struct clock *virtual_bus_clock(struct virtual_bus *bus)
{
    return &bus->clock;
}

struct can_bus *virtual_bus_wire(struct virtual_bus *bus)
{
    return &bus->wire;
}
