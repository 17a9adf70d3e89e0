/* The threads on a virtual CAN bus, and the time they share: see virtual_members.h. */
#include "virtual_members.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { STUCK_SECONDS = 10 };

/* ---- members ---- */

void members_lock(struct virtual_bus *bus)
{
    (void)pthread_mutex_lock(&bus->lock);
}

void members_unlock(struct virtual_bus *bus)
{
    (void)pthread_mutex_unlock(&bus->lock);
}

static struct member *find_self(struct virtual_bus *bus)
{
    return pthread_getspecific(bus->self);
}

void members_nudge(struct virtual_bus *bus)
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
    members_nudge(bus);
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

struct member *members_join(struct virtual_bus *bus)
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

void members_let_go(struct member *member)
{
    if (member && member->conversations > 0)
        member->conversations--;
}

void members_leave_if_idle(struct virtual_bus *bus)
{
    struct member *member = find_self(bus);
    if (!member || member->conversations > 0)
        return;
    (void)pthread_setspecific(bus->self, NULL);
    forget(member);
}

/* Runs in a thread that ends: its conversations have nobody until another thread uses them. */
static void thread_ends(void *self)
{
    struct member *member = self;
    struct virtual_bus *bus = member->bus;
    members_lock(bus);
    member->conversations = 0;
    member->ended = true;
    members_nudge(bus);
    members_unlock(bus);
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

void members_wait_until(struct virtual_bus *bus, uint64_t until, struct can_station *hears)
{
    struct member *self = members_join(bus);
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

bool members_init(struct virtual_bus *bus)
{
    return pthread_key_create(&bus->self, thread_ends) == 0 &&
           pthread_mutex_init(&bus->lock, NULL) == 0;
}

void members_free(struct virtual_bus *bus)
{
    (void)pthread_key_delete(bus->self);
    while (bus->members) {
        struct member *member = bus->members;
        bus->members = member->next;
        dispose(member);
    }
    (void)pthread_mutex_destroy(&bus->lock);
}
