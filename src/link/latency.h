/*
 * The latency timer of FTDI's USB bridges (FTDI AN232B-04): it holds short answers back for 16 ms
 * unless told otherwise, which makes every request and reply of a bootloader cost that much.
 */
#ifndef MFLASH_LATENCY_H
#define MFLASH_LATENCY_H

#include "link/host.h"

struct latency {
    char path[HOST_PATH_MAX]; /* of the sysfs file that was written; "" if none was */
    unsigned long before;     /* milliseconds */
    bool flag_set;            /* ASYNC_LOW_LATENCY was set by TIOCSSERIAL instead */
};

/* Sets the timer of an open port to 1 ms, if it has one and may be changed. `tty`: "ttyUSB0". */
void latency_lower(struct latency *latency, const struct host *host, const char *tty, int fd);

/* Puts back what latency_lower() found. */
void latency_restore(const struct latency *latency, int fd);

#endif
