/* See virtual_can.h. One lock; waiting is letting the bus live up to a moment. */
#include "virtual_can.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    STUCK_SECONDS = 10,
    CLOSE_GRACE = 100 * MILLISECOND, /* for what was sent before the close */
};

_Static_assert((int)CAN_HOST_IDS >= (int)CAN_LISTEN_MAX, "a host takes all ids of a conversation");

/* A thread that has to do with the bus, while it has. */
struct member {
    struct member *next;
    struct virtual_bus *bus;
    pthread_cond_t moved;   /* it may be its turn */
    unsigned conversations; /* that it owns */
    bool waiting, ended;
    uint64_t until;            /* waiting: the latest moment it wakes */
    struct can_station *hears; /* waiting for a frame of it; NULL: just sleeping */
};

struct virtual_bus {
    struct can_bus wire;
    struct clock clock;
    pthread_mutex_t lock;
    pthread_key_t self; /* the calling thread's struct member */
    struct member *members;
    unsigned expected; /* members that must be there before time begins; 0 = it has begun */
    uint64_t moves;    /* how often time went on: two different ones are progress */
};

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

static void lock(struct virtual_bus *bus)
{
    (void)pthread_mutex_lock(&bus->lock);
}

static void unlock(struct virtual_bus *bus)
{
    (void)pthread_mutex_unlock(&bus->lock);
}

/* ---- members ---- */

static struct member *find_self(struct virtual_bus *bus)
{
    return pthread_getspecific(bus->self);
}

/* Somebody has gone, or does not work any more: one who waits looks whether time can go on. */
static void nudge(struct virtual_bus *bus)
{
    struct member *member = bus->members;
    while (member && (!member->waiting || member->ended))
        member = member->next;
    if (member)
        (void)pthread_cond_signal(&member->moved);
}

static void dispose(struct member *member)
{
    (void)pthread_cond_destroy(&member->moved);
    free(member);
}

static void forget(struct member *member)
{
    struct virtual_bus *bus = member->bus;
    struct member **link = &bus->members;
    while (*link != member)
        link = &(*link)->next;
    *link = member->next;
    dispose(member);
    nudge(bus);
}

/* On the clock that wait_for_others() looks at. */
static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

static struct member *become_member(struct virtual_bus *bus)
{
    struct member *member = find_self(bus);
    if (member)
        return member;
    member = calloc(1, sizeof *member);
    if (!member)
        abort();
    init_condition(&member->moved);
    member->bus = bus;
    member->next = bus->members;
    bus->members = member;
    (void)pthread_setspecific(bus->self, member);
    return member;
}

/* With its last conversation the calling thread leaves; another one only loses it, and is forgotten
 * when it has no more. Its own key still points to it then, so the struct stays until it ends. */
static void let_go(struct member *member)
{
    if (member && member->conversations > 0)
        member->conversations--;
}

static void leave_if_idle(struct virtual_bus *bus)
{
    struct member *member = find_self(bus);
    if (!member || member->conversations > 0)
        return;
    (void)pthread_setspecific(bus->self, NULL);
    forget(member);
}

/* The conversation belongs to whoever uses it. */
static void take_over(struct virtual_conversation *conversation)
{
    struct member *self = become_member(conversation->bus);
    if (conversation->owner == self)
        return;
    let_go(conversation->owner);
    conversation->owner = self;
    self->conversations++;
}

/* Runs in a thread that ends: its conversations have nobody until another thread uses them. */
static void thread_ends(void *self)
{
    struct member *member = self;
    struct virtual_bus *bus = member->bus;
    lock(bus);
    member->conversations = 0;
    member->ended = true;
    nudge(bus);
    unlock(bus);
}

/* ---- time ---- */

/* Does it work, or has it something to work on? Who owns nothing and does not wait counts for
 * nothing. */
static bool is_awake(const struct virtual_bus *bus, const struct member *member)
{
    if (!member->waiting)
        return member->conversations > 0;
    return bus->wire.v.now >= member->until || (member->hears && member->hears->gone) ||
           (member->hears && member->hears->arrived.count > 0);
}

static bool all_wait(struct virtual_bus *bus)
{
    unsigned count = 0;
    for (const struct member *member = bus->members; member; member = member->next) {
        if (is_awake(bus, member))
            return false;
        count++;
    }
    if (count < bus->expected)
        return false;
    bus->expected = 0;
    return true;
}

/* To the next thing that happens, or that somebody waits for. */
static void move_on(struct virtual_bus *bus)
{
    uint64_t next = can_bus_next(&bus->wire);
    for (const struct member *member = bus->members; member; member = member->next)
        if (member->waiting && member->until < next)
            next = member->until;
    if (next == UINT64_MAX)
        return;
    can_bus_advance(&bus->wire, next);
    bus->moves++;
    for (struct member *member = bus->members; member; member = member->next)
        if (member->waiting && is_awake(bus, member))
            (void)pthread_cond_signal(&member->moved);
}

static void wait_for_others(struct virtual_bus *bus, struct member *self)
{
    struct timespec end;
    uint64_t moves = bus->moves;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += STUCK_SECONDS;
    if (pthread_cond_timedwait(&self->moved, &bus->lock, &end) == 0 || bus->moves != moves)
        return;
    fprintf(stderr, "virtual CAN bus: a thread that has an open conversation does not use it and "
                    "stops the time of the others\n");
    abort();
}

/* Lives until `until`, or until `hears` has a frame. The caller holds the lock. */
static void wait_until(struct virtual_bus *bus, uint64_t until, struct can_station *hears)
{
    struct member *self = become_member(bus);
    self->waiting = true;
    self->until = until;
    self->hears = hears;
    while (!is_awake(bus, self)) {
        if (all_wait(bus))
            move_on(bus);
        else
            wait_for_others(bus, self);
    }
    self->waiting = false;
    self->hears = NULL;
}

static uint64_t virtual_now(struct clock *clock)
{
    struct virtual_bus *bus = bus_of(clock);
    lock(bus);
    uint64_t now = bus->wire.v.now;
    unlock(bus);
    return now;
}

static void virtual_sleep_until(struct clock *clock, uint64_t moment)
{
    struct virtual_bus *bus = bus_of(clock);
    lock(bus);
    wait_until(bus, moment, NULL);
    leave_if_idle(bus);
    unlock(bus);
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
    lock(conversation->bus);
    take_over(conversation);
    can_bus_listen(conversation->station, ids, count);
    unlock(conversation->bus);
    return OK;
}

static int virtual_send(struct can *can, const struct can_frame *frame, struct error *err)
{
    struct virtual_conversation *conversation = of(can);
    lock(conversation->bus);
    take_over(conversation);
    bool lost = conversation->station->gone;
    bool taken = can_bus_put(conversation->station, frame);
    unlock(conversation->bus);
    return lost ? gone(can, err) : taken;
}

static int virtual_receive(struct can *can, struct can_frame *frame, uint64_t deadline,
                           struct error *err)
{
    struct virtual_conversation *conversation = of(can);
    struct can_station *station = conversation->station;
    lock(conversation->bus);
    take_over(conversation);
    wait_until(conversation->bus, deadline, station);
    bool taken = can_bus_take(station, frame), lost = station->gone;
    can->trouble.overflow |= station->lost > 0;
    unlock(conversation->bus);
    return taken ? 1 : lost ? gone(can, err) : 0;
}

static void virtual_close(struct can *can)
{
    struct virtual_conversation *conversation = of(can);
    struct virtual_bus *bus = conversation->bus;
    lock(bus);
    /* What was sent goes out, as from the queue of a real interface. */
    take_over(conversation);
    uint64_t end = bus->wire.v.now + CLOSE_GRACE;
    while (conversation->station->out.count && bus->wire.v.now < end) {
        uint64_t next = can_bus_next(&bus->wire), soon = bus->wire.v.now + 1;
        /* What is due now happens only when time goes on. */
        wait_until(bus, next > end ? end : next > soon ? next : soon, NULL);
    }
    can_bus_unplug(conversation->station);
    let_go(conversation->owner);
    leave_if_idle(bus);
    nudge(bus);
    unlock(bus);
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
    (void)snprintf(conversation->can.name, sizeof conversation->can.name, "virtual");
    lock(bus);
    take_over(conversation);
    if (bus->wire.plug_at > bus->wire.v.now)
        wait_until(bus, bus->wire.plug_at, NULL);
    conversation->station = can_bus_plug(&bus->wire);
    unlock(bus);
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
    if (pthread_key_create(&bus->self, thread_ends) != 0) {
        free(bus);
        return NULL;
    }
    can_bus_init(&bus->wire, bitrate, true, faults);
    bus->clock = (struct clock){virtual_now, virtual_sleep_until};
    (void)pthread_mutex_init(&bus->lock, NULL);
    return bus;
}

void virtual_bus_free(struct virtual_bus *bus)
{
    if (!bus)
        return;
    can_bus_free(&bus->wire);
    (void)pthread_key_delete(bus->self);
    while (bus->members) {
        struct member *member = bus->members;
        bus->members = member->next;
        dispose(member);
    }
    (void)pthread_mutex_destroy(&bus->lock);
    free(bus);
}

bool virtual_bus_add(struct virtual_bus *bus, struct vcan *node)
{
    lock(bus);
    bool added = can_bus_add(&bus->wire, node);
    unlock(bus);
    return added;
}

void virtual_bus_expect(struct virtual_bus *bus, unsigned threads)
{
    lock(bus);
    bus->expected = threads;
    unlock(bus);
}

void virtual_bus_elapse(struct virtual_bus *bus, uint64_t microseconds)
{
    bus->clock.sleep_until(&bus->clock, clock_in(&bus->clock, microseconds));
}

void virtual_bus_reset(struct virtual_bus *bus, struct vcan *node, enum vreset cause)
{
    lock(bus);
    can_bus_reset(&bus->wire, node, cause);
    unlock(bus);
}

struct clock *virtual_bus_clock(struct virtual_bus *bus)
{
    return &bus->clock;
}

struct can_bus *virtual_bus_wire(struct virtual_bus *bus)
{
    return &bus->wire;
}
