/*
 * A serial line whose device says what a fuzzer's input says, on virtual time: the input is
 * portions of two bytes of length, little end first, and so many bytes. Each write of the host
 * releases the next one, once the last has been read.
 */
#ifndef FUZZ_PORTIONS_H
#define FUZZ_PORTIONS_H

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "link/serial.h"

/* The device: `released` bytes of the portion at `bytes` may be read. */
struct portions {
    struct serial serial; /* first */
    struct clock clock;
    uint64_t now;
    const uint8_t *bytes;
    size_t left, released;
};

enum {
    PORTIONS_BYTE_US = 87,
    PORTIONS_SECONDS_MAX = 3600
}; /* 115200 baud; a wait without an end */

static struct portions *portions_of_clock(struct clock *clock)
{
    return (struct portions *)((char *)clock - offsetof(struct portions, clock));
}

static uint64_t portions_now(struct clock *clock)
{
    return portions_of_clock(clock)->now;
}

static void portions_sleep_until(struct clock *clock, uint64_t moment)
{
    if (portions_of_clock(clock)->now < moment)
        portions_of_clock(clock)->now = moment;
}

static int portions_configure(struct serial *serial, const struct serial_settings *settings,
                              struct error *err)
{
    (void)err;
    serial->settings = *settings;
    return OK;
}

static ssize_t portions_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                             struct error *err)
{
    (void)err;
    struct portions *r = (struct portions *)serial;
    size_t n = r->released < max ? r->released : max;
    if (n == 0)
        portions_sleep_until(&r->clock, deadline);
    memcpy(bytes, r->bytes, n);
    r->bytes += n;
    r->left -= n;
    r->released -= n;
    return (ssize_t)n;
}

/* Releases the next portion, if the host has read all of the last. */
static int portions_write(struct serial *serial, const uint8_t *bytes, size_t length,
                          uint64_t deadline, struct error *err)
{
    (void)bytes, (void)deadline, (void)err;
    struct portions *r = (struct portions *)serial;
    r->now += length * PORTIONS_BYTE_US;
    if (r->now > (uint64_t)PORTIONS_SECONDS_MAX * SECOND)
        abort(); /* a wait without an end */
    if (r->released > 0 || r->left < 2)
        return OK;
    size_t portion = get_le16(r->bytes);
    r->bytes += 2;
    r->left -= 2;
    r->released = portion < r->left ? portion : r->left;
    return OK;
}

static int portions_set_lines(struct serial *serial, bool dtr, bool rts, struct error *err)
{
    (void)err;
    serial->dtr = dtr;
    serial->rts = rts;
    return OK;
}

static void portions_drop_input(struct serial *serial)
{
    struct portions *r = (struct portions *)serial;
    r->bytes += r->released;
    r->left -= r->released;
    r->released = 0;
}

static void portions_close(struct serial *serial)
{
    (void)serial;
}

static const struct serial_ops portions_ops = {
    .name = "portions",
    .configure = portions_configure,
    .read = portions_read,
    .write = portions_write,
    .set_lines = portions_set_lines,
    .drop_input = portions_drop_input,
    .close = portions_close,
};

static void portions_begin(struct portions *portions, const uint8_t *bytes, size_t length)
{
    *portions = (struct portions){.clock = {portions_now, portions_sleep_until},
                                  .bytes = bytes,
                                  .left = length,
                                  .serial = {.ops = &portions_ops,
                                             .clock = &portions->clock,
                                             .settings = {.baud = 115200, .stop_bits = 1},
                                             .name = "portions"}};
}

#endif
