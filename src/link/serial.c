/*
 * The serial link, the part that all backends share: deadlines, reset pulse, wire time, tracing,
 * counting. See serial.h.
 */
#include "link/serial.h"

#include <stdio.h>
#include <string.h>

#include "link/backend.h"

enum {
    WRITE_GRACE = 2 * SECOND, /* over the wire time */
    DROP_MAX = 1024 * 1024,   /* a device that floods the line is not read empty for ever */
};

static unsigned lines_of(const struct serial *serial)
{
    return (serial->dtr ? 1u : 0u) | (serial->rts ? 2u : 0u);
}

static void trace(const struct serial *serial, enum trace_event event, const uint8_t *bytes,
                  size_t length)
{
    trace_serial(serial->trace, serial->trace_port, event, lines_of(serial), bytes, length);
}

void serial_close(struct serial *serial)
{
    if (serial)
        serial->ops->close(serial);
}

int serial_configure(struct serial *serial, const struct serial_settings *settings,
                     struct error *err)
{
    if (settings->baud == 0 || settings->stop_bits < 1 || settings->stop_bits > 2)
        return error_set(err, ERR_USAGE, "%s: %u baud with %u stop bits is no serial line",
                         serial->name, (unsigned)settings->baud, (unsigned)settings->stop_bits);
    int rc = serial->ops->configure(serial, settings, err);
    if (rc == OK)
        serial->settings = *settings;
    return rc;
}

int serial_set_baud(struct serial *serial, uint32_t baud, struct error *err)
{
    struct serial_settings settings = serial->settings;
    settings.baud = baud;
    return serial_configure(serial, &settings, err);
}

ssize_t serial_read_some(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                         struct error *err)
{
    ssize_t got = serial->ops->read(serial, bytes, max, deadline, err);
    if (got > 0) {
        serial->received += (uint64_t)got;
        trace(serial, TRACE_RECEIVED, bytes, (size_t)got);
    }
    return got;
}

/* "no answer", or how much of one, and how it begins. */
static int too_short(const struct serial *serial, const uint8_t *bytes, size_t got, size_t length,
                     struct error *err)
{
    char text[16 * 3 + 1] = "";
    size_t shown = got < 16 ? got : 16;
    for (size_t i = 0; i < shown; i++)
        (void)snprintf(text + 3 * i, 4, " %02x", bytes[i]);
    if (got == 0)
        return error_set(err, ERR_NO_ANSWER, "reading from %s: no answer (0 of %zu bytes came)",
                         serial->name, length);
    return error_set(err, ERR_NO_ANSWER,
                     "reading from %s: the answer stopped after %zu of %zu bytes:%s%s",
                     serial->name, got, length, text, shown < got ? " ..." : "");
}

int serial_read(struct serial *serial, uint8_t *bytes, size_t length, uint64_t deadline,
                struct error *err)
{
    size_t got = 0;
    while (got < length) {
        ssize_t part = serial_read_some(serial, bytes + got, length - got, deadline, err);
        if (part < 0)
            return (int)part;
        if (part == 0)
            return too_short(serial, bytes, got, length, err);
        got += (size_t)part;
    }
    return OK;
}

int serial_write(struct serial *serial, const uint8_t *bytes, size_t length, struct error *err)
{
    uint64_t deadline = clock_in(serial->clock, serial_wire_time(serial, length) + WRITE_GRACE);
    trace(serial, TRACE_SENT, bytes, length);
    return serial->ops->write(serial, bytes, length, deadline, err);
}

void serial_drop_input(struct serial *serial)
{
    uint8_t bytes[1024];
    struct error ignored;
    size_t dropped = 0;
    ssize_t got;
    /* Read, not just flushed: what was thrown away belongs into the trace as well. */
    do {
        got = serial_read_some(serial, bytes, sizeof bytes, clock_now(serial->clock), &ignored);
        dropped += got > 0 ? (size_t)got : 0;
    } while (got > 0 && dropped < DROP_MAX);
    serial->ops->drop_input(serial);
    serial->received = 0;
}

ssize_t serial_drain(struct serial *serial, uint64_t silence, uint64_t limit, struct error *err)
{
    uint8_t bytes[1024];
    size_t dropped = 0;
    uint64_t end = clock_in(serial->clock, limit);
    for (;;) {
        uint64_t quiet = clock_in(serial->clock, silence);
        ssize_t got = serial_read_some(serial, bytes, sizeof bytes, quiet < end ? quiet : end, err);
        if (got < 0)
            return got;
        dropped += (size_t)got;
        if (got == 0 || clock_now(serial->clock) >= end)
            return (ssize_t)dropped;
    }
}

int serial_set_lines(struct serial *serial, bool dtr, bool rts, struct error *err)
{
    if (!serial->ops->set_lines)
        return error_set(err, ERR_NOT_POSSIBLE, "%s: a %s line has no DTR and RTS", serial->name,
                         serial->ops->name);
    int rc = serial->ops->set_lines(serial, dtr, rts, err);
    if (rc != OK)
        return rc;
    serial->dtr = dtr;
    serial->rts = rts;
    trace(serial, TRACE_LINES, NULL, 0);
    return OK;
}

int serial_pulse_reset(struct serial *serial, uint64_t off, struct error *err)
{
    int rc = OK;
    if (serial->ops->set_lines) {
        rc = serial_set_lines(serial, false, false, err);
        if (rc == OK) {
            serial->clock->sleep_until(serial->clock, clock_in(serial->clock, off));
            rc = serial_set_lines(serial, true, true, err);
        }
    } else if (serial->ops->reopen) {
        rc = serial->ops->reopen(serial, err);
        trace(serial, TRACE_LINES, NULL, 0);
    }
    if (rc != OK) {
        error_context(err, "resetting the board");
        return rc;
    }
    serial_drop_input(serial);
    return OK;
}

uint64_t serial_wire_time(const struct serial *serial, size_t bytes)
{
    const struct serial_settings *settings = &serial->settings;
    if (settings->baud == 0)
        return 0;
    uint64_t bits = 1u + 8u + (settings->parity != PARITY_NONE ? 1u : 0u) + settings->stop_bits;
    return (bytes * bits * SECOND + settings->baud - 1) / settings->baud;
}

int serial_touch_1200(const char *device, struct trace *trace, struct error *err)
{
    const struct serial_settings settings = {1200, PARITY_NONE, 1};
    struct serial *serial;
    int rc = serial_open(&serial, device, &settings, trace, err);
    if (rc == ERR_GONE)
        return OK; /* it was opened, and has left already: that is what the touch is for */
    if (rc != OK)
        return rc;
    struct error ignored;
    if (serial->ops->set_lines)
        (void)serial_set_lines(serial, false, serial->rts, &ignored);
    serial_close(serial);
    return OK;
}
