/* See virtual_serial.h. Nothing here sleeps: waiting is letting the line live up to a moment. */
#include "virtual_serial.h"

#include <stdio.h>
#include <stdlib.h>

struct virtual_port {
    struct serial serial; /* first: the two addresses are one */
    struct clock clock;
    struct line line;
    unsigned lost; /* line.lost when the port was opened */
};

static struct virtual_port *port_of(struct serial *serial)
{
    return (struct virtual_port *)serial;
}

static struct virtual_port *port_of_clock(struct clock *clock)
{
    return (struct virtual_port *)((char *)clock - offsetof(struct virtual_port, clock));
}

static uint64_t virtual_now(struct clock *clock)
{
    return port_of_clock(clock)->line.v.now;
}

static void virtual_sleep_until(struct clock *clock, uint64_t moment)
{
    line_advance(&port_of_clock(clock)->line, moment);
}

/* Once the link went away this descriptor is dead, even if the device is back. */
static bool is_gone(const struct virtual_port *port)
{
    return port->line.lost != port->lost;
}

static int gone(const struct virtual_port *port, struct error *err)
{
    return error_set(err, ERR_GONE, "%s: the device went away", port->serial.name);
}

static enum vparity seen_parity(enum parity parity)
{
    static const enum vparity seen[] = {
        [PARITY_NONE] = VPARITY_NONE, [PARITY_EVEN] = VPARITY_EVEN, [PARITY_ODD] = VPARITY_ODD};
    return seen[parity];
}

static int virtual_configure(struct serial *serial, const struct serial_settings *settings,
                             struct error *err)
{
    struct virtual_port *port = port_of(serial);
    if (is_gone(port))
        return gone(port, err);
    serial->settings = *settings;
    port->line.bits = 9u + (settings->parity != PARITY_NONE) + settings->stop_bits;
    port->line.v.parity = seen_parity(settings->parity);
    line_set(&port->line, port->line.dtr, port->line.rts, settings->baud);
    return OK;
}

static ssize_t virtual_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                            struct error *err)
{
    struct virtual_port *port = port_of(serial);
    struct line *line = &port->line;
    line_advance(line, line->v.now);
    for (;;) {
        size_t count = line_take(line, bytes, max);
        if (count)
            return (ssize_t)count;
        if (is_gone(port))
            return gone(port, err);
        uint64_t next = line_next(line);
        if (next > deadline) {
            line_advance(line, deadline);
            return 0;
        }
        line_advance(line, next);
    }
}

static int virtual_write(struct serial *serial, const uint8_t *bytes, size_t length,
                         uint64_t deadline, struct error *err)
{
    (void)deadline; /* the driver's buffer takes it at once */
    struct virtual_port *port = port_of(serial);
    if (is_gone(port))
        return gone(port, err);
    line_write(&port->line, bytes, length);
    return OK;
}

static int virtual_set_lines(struct serial *serial, bool dtr, bool rts, struct error *err)
{
    struct virtual_port *port = port_of(serial);
    if (is_gone(port))
        return gone(port, err);
    line_set(&port->line, dtr, rts, port->line.baud);
    serial->dtr = dtr;
    serial->rts = rts;
    return OK;
}

static void virtual_drop_input(struct serial *serial)
{
    struct line *line = &port_of(serial)->line;
    uint8_t bytes[64];
    line_advance(line, line->v.now);
    while (line_take(line, bytes, sizeof bytes))
        continue;
}

static void virtual_close(struct serial *serial)
{
    struct virtual_port *port = port_of(serial);
    line_advance(&port->line, port->line.v.now);
    if (!is_gone(port))
        line_set(&port->line, false, false, port->line.baud);
    line_free(&port->line);
    free(port);
}

static const struct serial_ops virtual_ops = {
    .name = "virtual",
    .configure = virtual_configure,
    .read = virtual_read,
    .write = virtual_write,
    .set_lines = virtual_set_lines,
    .drop_input = virtual_drop_input,
    .close = virtual_close,
};

struct serial *virtual_serial(struct vserial *device, const struct line_faults *faults)
{
    struct virtual_port *port = calloc(1, sizeof *port);
    if (!port)
        return NULL;
    line_init(&port->line, device, true, faults);
    port->clock = (struct clock){virtual_now, virtual_sleep_until};
    port->serial = (struct serial){
        .ops = &virtual_ops,
        .clock = &port->clock,
        .settings = {.baud = port->line.baud, .parity = PARITY_NONE, .stop_bits = 1},
        .dtr = true,
        .rts = true,
    };
    snprintf(port->serial.name, sizeof port->serial.name, "virtual");
    if (device->back_at > port->line.v.now)
        line_advance(&port->line, device->back_at);
    port->lost = port->line.lost;
    port->line.v.parity = VPARITY_NONE;
    line_set(&port->line, true, true, port->line.baud);
    return &port->serial;
}

struct line *virtual_line(struct serial *serial)
{
    return &port_of(serial)->line;
}

void virtual_elapse(struct vserial *device, uint64_t microseconds)
{
    struct line line;
    line_init(&line, device, true, NULL);
    line_advance(&line, line.v.now + microseconds);
    line_free(&line);
}

void virtual_reset(struct vserial *device, enum vreset cause)
{
    if (device->line) {
        line_reset((struct line *)device->line, cause);
        return;
    }
    struct line line;
    line_init(&line, device, true, NULL);
    line_reset(&line, cause);
    line_free(&line);
}
