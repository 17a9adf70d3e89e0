/*
 * Time. Every deadline of every link goes through a clock, so that a test can run a method against
 * an in-process device on virtual time. Unit: microseconds since some fixed moment, never
 * backwards.
 */
#ifndef MFLASH_CLOCK_H
#define MFLASH_CLOCK_H

#include <stdint.h>

enum { MILLISECOND = 1000, SECOND = 1000000 }; /* in microseconds */

struct clock {
    uint64_t (*now)(struct clock *clock);
    /* Returns when clock->now() >= moment. On virtual time the device's own life goes on meanwhile.
     */
    void (*sleep_until)(struct clock *clock, uint64_t moment);
};

/* CLOCK_MONOTONIC. Has no state: one instance serves all threads. */
struct clock *clock_monotonic(void);

static inline uint64_t clock_now(struct clock *clock)
{
    return clock->now(clock);
}

/* The moment `microseconds` from now: a deadline. */
static inline uint64_t clock_in(struct clock *clock, uint64_t microseconds)
{
    return clock->now(clock) + microseconds;
}

#endif
