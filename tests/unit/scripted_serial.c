/* See scripted_serial.h. */
#include "scripted_serial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWERS_MAX = 4096, TURN_MAX = 512 };

struct scripted {
    struct serial serial; /* first */
    struct clock clock;
    uint64_t now;
    const struct script_turn *turn;
    size_t at; /* bytes of the turn's host part that came */
    bool failed;
    uint8_t answers[ANSWERS_MAX];
    size_t begin, end;
};

static struct scripted *of_clock(struct clock *clock)
{
    return (struct scripted *)((char *)clock - offsetof(struct scripted, clock));
}

static uint64_t scripted_now(struct clock *clock)
{
    return of_clock(clock)->now;
}

static void scripted_sleep_until(struct clock *clock, uint64_t moment)
{
    if (of_clock(clock)->now < moment)
        of_clock(clock)->now = moment;
}

static size_t from_hex(const char *hex, uint8_t *bytes, size_t max)
{
    size_t n = 0;
    unsigned value;
    int used;
    while (hex && n < max && sscanf(hex, "%2x%n", &value, &used) == 1) {
        bytes[n++] = (uint8_t)value;
        hex += used;
    }
    return n;
}

static bool over(const struct script_turn *turn)
{
    return !turn->host && !turn->device;
}

static void answer(struct scripted *s)
{
    s->end += from_hex(s->turn->device, s->answers + s->end, ANSWERS_MAX - s->end);
    s->turn++;
    s->at = 0;
}

static void hear(struct scripted *s, uint8_t byte)
{
    uint8_t expected[TURN_MAX];
    if (!over(s->turn) && !s->turn->host) {
        answer(s);
        return;
    }
    size_t length = from_hex(s->turn->host, expected, sizeof expected);
    s->failed = over(s->turn) || s->at >= length || expected[s->at] != byte;
    if (s->failed && !over(s->turn))
        print_error("byte %zu of the host's turn \"%s\" is %02x\n", s->at, s->turn->host, byte);
    if (s->failed)
        return;
    if (++s->at == length)
        answer(s);
}

static int scripted_write(struct serial *serial, const uint8_t *bytes, size_t length,
                          uint64_t deadline, struct error *err)
{
    (void)deadline, (void)err;
    struct scripted *s = (struct scripted *)serial;
    bool any = !over(s->turn) && !s->turn->host; /* one write is one turn */
    for (size_t i = 0; i < (any ? 1 : length) && !s->failed; i++)
        hear(s, bytes[i]);
    return OK;
}

static ssize_t scripted_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                             struct error *err)
{
    (void)err;
    struct scripted *s = (struct scripted *)serial;
    size_t n = s->end - s->begin < max ? s->end - s->begin : max;
    if (n == 0)
        scripted_sleep_until(&s->clock, deadline);
    memcpy(bytes, s->answers + s->begin, n);
    s->begin += n;
    return (ssize_t)n;
}

static int scripted_configure(struct serial *serial, const struct serial_settings *settings,
                              struct error *err)
{
    (void)err;
    serial->settings = *settings;
    return OK;
}

static int scripted_set_lines(struct serial *serial, bool dtr, bool rts, struct error *err)
{
    (void)err;
    serial->dtr = dtr;
    serial->rts = rts;
    return OK;
}

static void scripted_drop_input(struct serial *serial)
{
    struct scripted *s = (struct scripted *)serial;
    s->begin = s->end;
}

static void scripted_close(struct serial *serial)
{
    free(serial);
}

static const struct serial_ops scripted_ops = {
    .name = "scripted",
    .configure = scripted_configure,
    .read = scripted_read,
    .write = scripted_write,
    .set_lines = scripted_set_lines,
    .drop_input = scripted_drop_input,
    .close = scripted_close,
};

struct serial *scripted_serial(const struct script_turn *turns)
{
    struct scripted *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->clock = (struct clock){scripted_now, scripted_sleep_until};
    s->turn = turns;
    s->serial = (struct serial){.ops = &scripted_ops,
                                .clock = &s->clock,
                                .settings = {.baud = 115200, .stop_bits = 1},
                                .name = "scripted"};
    return &s->serial;
}

bool scripted_serial_done(const struct serial *serial)
{
    const struct scripted *s = (const struct scripted *)serial;
    return over(s->turn) && !s->failed;
}
