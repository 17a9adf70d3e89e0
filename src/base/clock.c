/* The real clock: see clock.h. */
#include "base/clock.h"

#include <errno.h>
#include <time.h>

static uint64_t monotonic_now(struct clock *clock)
{
    (void)clock;
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec / 1000;
}

static void monotonic_sleep_until(struct clock *clock, uint64_t moment)
{
    (void)clock;
    struct timespec t = {.tv_sec = (time_t)(moment / SECOND),
                         .tv_nsec = (long)(moment % SECOND) * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        continue;
}

struct clock *clock_monotonic(void)
{
    static struct clock monotonic = {monotonic_now, monotonic_sleep_until};
    return &monotonic;
}
