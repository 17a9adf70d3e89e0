/*
 * The threads on a virtual CAN bus, and the time they share, for virtual_can.c alone. One lock;
 * time goes on when every member waits, to the next event of the wire or the earliest moment that
 * one waits for.
 */
#ifndef VIRTUAL_MEMBERS_H
#define VIRTUAL_MEMBERS_H

#include <pthread.h>

#include "can_bus.h"
#include "base/clock.h"

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

bool members_init(struct virtual_bus *bus);
void members_free(struct virtual_bus *bus);

/* All below, and all that looks at the wire, holds the lock. */
void members_lock(struct virtual_bus *bus);
void members_unlock(struct virtual_bus *bus);

/* The calling thread's. */
struct member *members_join(struct virtual_bus *bus);

/* One conversation less. The calling thread leaves with its last one, by members_leave_if_idle();
 * another's struct stays until that thread ends, because its own key points to it. */
void members_let_go(struct member *member);
void members_leave_if_idle(struct virtual_bus *bus);

/* Somebody has gone, or does not work any more: one who waits looks whether time can go on. */
void members_nudge(struct virtual_bus *bus);

/* Lives until `until`, or until `hears` has a frame or is gone. NULL: just sleeps. */
void members_wait_until(struct virtual_bus *bus, uint64_t until, struct can_station *hears);

#endif
