/*
 * The pty server: whether a host has the port open, what it wrote, and its line rate. A pty has no
 * event for "rate changed", so it looks once a millisecond: shorter than any reset pulse or boot
 * window.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "line.h"
#include "pty.h"
#include "server.h"

enum {
    LOOK_EVERY = 1 * MILLISECOND,
    OUTPUT_MAX = 4096,
};

struct pty_server {
    struct server *server;
    struct vserial *device;
    struct line line;
    struct pty pty;
    uint64_t replug_at;         /* a cut cable, or lost power: when it is over; 0 = neither */
    uint8_t output[OUTPUT_MAX]; /* on its way to the host */
    size_t pending;
};

/* ---- what the host does ---- */

static void note(struct pty_server *port, const char *what)
{
    journal_note(&port->server->journal, port->line.v.now, "%s", what);
}

static void host_opened(struct pty_server *port)
{
    note(port, port->device->reset_on_dtr ? "opened: reset by DTR" : "opened");
    line_set(&port->line, true, true, port->line.baud);
}

static void host_closed(struct pty_server *port)
{
    note(port, "closed");
    pty_forget_unread(&port->pty);
    line_set(&port->line, false, false, port->line.baud);
}

static void look_at_rate(struct pty_server *port)
{
    struct line *line = &port->line;
    uint32_t baud = pty_rate(&port->pty);

    if (baud == 0 || baud == line->baud)
        return;
    journal_note(&port->server->journal, line->v.now, "%u baud", (unsigned)baud);
    line_set(line, line->dtr, line->rts, baud);
}

static void read_host(struct pty_server *port)
{
    uint8_t bytes[4096];
    size_t length;

    while ((length = pty_read(&port->pty, bytes, sizeof bytes)) > 0) {
        look_at_rate(port);
        journal_bytes(&port->server->journal, port->line.v.now, '>', bytes, length);
        line_write(&port->line, bytes, length);
    }
}

/* The rate is taken before a close is told: a 1200-baud touch is both. */
static void look_at_port(struct pty_server *port)
{
    if (port->pty.master < 0)
        return;
    enum pty_change change = pty_look(&port->pty);

    if (change == PTY_REOPENED)
        host_closed(port);
    if (change == PTY_OPENED || change == PTY_REOPENED || change == PTY_TOUCHED)
        host_opened(port);
    look_at_rate(port);
    read_host(port);
    if (change == PTY_CLOSED || change == PTY_TOUCHED)
        host_closed(port);
}

/* With nobody there, bytes are lost as on a wire; with a slow reader, they wait. */
static void give_to_host(struct pty_server *port)
{
    do {
        if (port->pending == 0) {
            port->pending = line_take(&port->line, port->output, OUTPUT_MAX);
            journal_bytes(&port->server->journal, port->line.v.now, '<', port->output,
                          port->pending);
        }
        size_t given = port->pending;
        if (port->pty.opened)
            given = pty_write(&port->pty, port->output, port->pending);
        port->pending -= given;
        if (port->pending)
            memmove(port->output, port->output + given, port->pending);
        else if (given == 0)
            return;
    } while (port->pending == 0);
}

/* ---- a port that leaves and comes back ---- */

static void follow_link(struct pty_server *port)
{
    struct line *line = &port->line;

    if (!line->up && port->pty.master >= 0) {
        note(port, "port gone");
        pty_detach(&port->pty);
        /* A device that left the bus by itself also comes back by itself. */
        port->replug_at = port->device->back_at ? 0 : line->v.now + REPLUG_TIME;
    }
    if (!line->up && port->replug_at && line->v.now >= port->replug_at)
        line_restore(line);
    if (line->up && port->pty.master < 0) {
        note(port, "port back");
        port->replug_at = 0;
        port->server->end = !pty_attach(&port->pty);
    }
}

static void take_signals(struct pty_server *port)
{
    enum vreset cause;

    while (server_reset_wanted(port->server, port->line.v.now, &cause))
        line_reset(&port->line, cause);
}

/* ---- the loop ---- */

static void wait_for_something(struct pty_server *port)
{
    struct pollfd look[] = {
        {.fd = port->pty.master >= 0 ? port->pty.watch : -1, .events = POLLIN},
        /* While nobody has it open, POLLHUP would end every wait at once. */
        {.fd = port->pty.opened ? port->pty.master : -1,
         .events = (short)(port->pending ? POLLIN | POLLOUT : POLLIN)},
    };

    server_wait(port->server, line_next(&port->line), LOOK_EVERY, look, 2);
}

static void run(struct pty_server *port)
{
    struct line *line = &port->line;

    while (!port->server->end) {
        take_signals(port);
        line_advance(line, server_live_until(port->server, line->v.now, line_next(line)));
        give_to_host(port);
        look_at_port(port);
        follow_link(port);
        wait_for_something(port);
    }
}

static bool make_device(struct pty_server *port)
{
    const struct options *options = port->server->options;

    port->device = options->model->create(&port->server->config);
    if (!port->device)
        return false;
    line_init(&port->line, port->device, options->paced, &options->line_faults);
    line_watch_flash(&port->line, &port->server->config.flash);
    port->line.stream = true;
    return true;
}

int serve_pty(struct server *server)
{
    struct pty_server *port = calloc(1, sizeof *port);
    int status = 1;

    if (!port)
        return status;
    port->server = server;
    port->pty = (struct pty){.master = -1, .link = server->options->link};
    if (!make_device(port)) {
        free(port);
        return 2;
    }
    if (pty_attach(&port->pty)) {
        printf("ready %s%s\n", server->options->ready, server->options->link);
        fflush(stdout);
        run(port);
        status = 0;
    }
    pty_detach(&port->pty);
    line_free(&port->line);
    port->device->ops->destroy(port->device);
    free(port);
    return status;
}
