/*
 * A serial line whose device says what a fuzzer's input says, on virtual time: each write of the
 * host releases the next portion. A portion is a kind, two bytes of length (little end first), and
 * so many bytes; what a kind makes of them is the fuzzing program's business.
 */
#ifndef FUZZ_REPLIES_H
#define FUZZ_REPLIES_H

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "link/serial.h"

enum { REPLY_MAX = 8192, REPLIES_SECONDS_MAX = 3600, PORTION_HEAD = 3 };

struct replies {
    struct serial serial; /* first */
    struct clock clock;
    uint64_t now;
    const uint8_t *bytes; /* of the input */
    size_t left;
    uint8_t reply[REPLY_MAX]; /* what may be read now */
    size_t begin, end;
    /* Turns a portion into a reply to what the host sent; returns its length, at most REPLY_MAX. */
    size_t (*make)(uint8_t *reply, uint8_t kind, const uint8_t *portion, size_t length,
                   const uint8_t *sent, size_t sent_length);
};

static struct replies *replies_of_clock(struct clock *clock)
{
    return (struct replies *)((char *)clock - offsetof(struct replies, clock));
}

static uint64_t replies_now(struct clock *clock)
{
    return replies_of_clock(clock)->now;
}

static void replies_sleep_until(struct clock *clock, uint64_t moment)
{
    if (replies_of_clock(clock)->now < moment)
        replies_of_clock(clock)->now = moment;
}

static int replies_configure(struct serial *serial, const struct serial_settings *settings,
                             struct error *err)
{
    (void)err;
    serial->settings = *settings;
    return OK;
}

static ssize_t replies_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                            struct error *err)
{
    (void)err;
    struct replies *r = (struct replies *)serial;
    size_t n = r->end - r->begin < max ? r->end - r->begin : max;
    if (n == 0)
        replies_sleep_until(&r->clock, deadline);
    memcpy(bytes, r->reply + r->begin, n);
    r->begin += n;
    return (ssize_t)n;
}

static int replies_write(struct serial *serial, const uint8_t *bytes, size_t length,
                         uint64_t deadline, struct error *err)
{
    (void)deadline, (void)err;
    struct replies *r = (struct replies *)serial;
    r->now += length * 40; /* microseconds a byte takes at 250000 baud */
    if (r->now > (uint64_t)REPLIES_SECONDS_MAX * SECOND)
        abort(); /* a wait without an end */
    if (r->begin < r->end || r->left < PORTION_HEAD)
        return OK;
    size_t portion = get_le16(r->bytes + 1), room = r->left - PORTION_HEAD;
    portion = portion < room ? portion : room;
    r->begin = 0;
    r->end = r->make(r->reply, r->bytes[0], r->bytes + PORTION_HEAD, portion, bytes, length);
    r->bytes += PORTION_HEAD + portion;
    r->left -= PORTION_HEAD + portion;
    return OK;
}

static void replies_drop_input(struct serial *serial)
{
    struct replies *r = (struct replies *)serial;
    r->begin = r->end;
}

static const struct serial_ops replies_ops = {
    .name = "replies",
    .configure = replies_configure,
    .read = replies_read,
    .write = replies_write,
    .drop_input = replies_drop_input,
};

static void replies_begin(struct replies *r, const uint8_t *bytes, size_t length)
{
    r->clock = (struct clock){replies_now, replies_sleep_until};
    r->bytes = bytes;
    r->left = length;
    r->serial = (struct serial){.ops = &replies_ops,
                                .clock = &r->clock,
                                .settings = {.baud = 250000, .stop_bits = 1},
                                .name = "replies"};
}

#endif
