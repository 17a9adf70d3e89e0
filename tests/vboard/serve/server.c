/*
 * The pty server: one loop that looks at signals, at whether a host has the port open, at what it
 * wrote and at its line rate, and lets the line and the model live up to the present.
 *
 *   SIGHUP   the reset button          SIGUSR1  power off and on
 *   SIGTERM, SIGINT  write the memories and end
 *
 * A pty has no event for "rate changed", so it looks once a millisecond: shorter than any reset
 * pulse or boot window.
 */
#include "server.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "journal.h"
#include "line.h"
#include "memories.h"
#include "pty.h"
#include "signals.h"

enum {
    LOOK_EVERY = 1 * MILLISECOND,
    REPLUG_TIME = 1 * SECOND, /* a cut cable is put back after this */
    /* Unpaced, the board's time waits for a host computer that is slow to simulate it. */
    LATE_AT_MOST = 5 * MILLISECOND,
    OUTPUT_MAX = 4096,
};

struct server {
    const struct options *options;
    uint64_t started; /* the line's time 0 on the monotonic clock; moves when time is forgiven */
    struct vconfig config;
    struct vserial *device;
    struct line line;
    struct pty pty;
    struct journal journal;
    uint64_t replug_at; /* a cut cable, or lost power: when it is over; 0 = neither */
    int signals;
    bool end;
    uint8_t output[OUTPUT_MAX]; /* on its way to the host */
    size_t pending;
};

/* The board's time, microseconds since it started. */
static uint64_t present(const struct server *server)
{
    return clock_now(clock_monotonic()) - server->started;
}

/* ---- what the host does ---- */

static void note(struct server *server, const char *what)
{
    journal_note(&server->journal, server->line.v.now, "%s", what);
}

static void host_opened(struct server *server)
{
    note(server, server->device->reset_on_dtr ? "opened: reset by DTR" : "opened");
    line_set(&server->line, true, true, server->line.baud);
}

static void host_closed(struct server *server)
{
    note(server, "closed");
    pty_forget_unread(&server->pty);
    line_set(&server->line, false, false, server->line.baud);
}

static void look_at_rate(struct server *server)
{
    struct line *line = &server->line;
    uint32_t baud = pty_rate(&server->pty);

    if (baud == 0 || baud == line->baud)
        return;
    journal_note(&server->journal, line->v.now, "%u baud", (unsigned)baud);
    line_set(line, line->dtr, line->rts, baud);
}

static void read_host(struct server *server)
{
    uint8_t bytes[4096];
    size_t length;

    while ((length = pty_read(&server->pty, bytes, sizeof bytes)) > 0) {
        look_at_rate(server);
        journal_bytes(&server->journal, server->line.v.now, '>', bytes, length);
        line_write(&server->line, bytes, length);
    }
}

/* The rate is taken before a close is told: a 1200-baud touch is both. */
static void look_at_port(struct server *server)
{
    if (server->pty.master < 0)
        return;
    enum pty_change change = pty_look(&server->pty);

    if (change == PTY_REOPENED)
        host_closed(server);
    if (change == PTY_OPENED || change == PTY_REOPENED || change == PTY_TOUCHED)
        host_opened(server);
    look_at_rate(server);
    read_host(server);
    if (change == PTY_CLOSED || change == PTY_TOUCHED)
        host_closed(server);
}

/* With nobody there, bytes are lost as on a wire; with a slow reader, they wait. */
static void give_to_host(struct server *server)
{
    do {
        if (server->pending == 0) {
            server->pending = line_take(&server->line, server->output, OUTPUT_MAX);
            journal_bytes(&server->journal, server->line.v.now, '<', server->output,
                          server->pending);
        }
        size_t given = server->pending;
        if (server->pty.opened)
            given = pty_write(&server->pty, server->output, server->pending);
        server->pending -= given;
        if (server->pending)
            memmove(server->output, server->output + given, server->pending);
        else if (given == 0)
            return;
    } while (server->pending == 0);
}

/* ---- a port that leaves and comes back ---- */

static void follow_link(struct server *server)
{
    struct line *line = &server->line;

    if (!line->up && server->pty.master >= 0) {
        note(server, "port gone");
        pty_detach(&server->pty);
        /* A device that left the bus by itself also comes back by itself. */
        server->replug_at = server->device->back_at ? 0 : line->v.now + REPLUG_TIME;
    }
    if (!line->up && server->replug_at && line->v.now >= server->replug_at)
        line_restore(line);
    if (line->up && server->pty.master < 0) {
        note(server, "port back");
        server->replug_at = 0;
        server->end = !pty_attach(&server->pty);
    }
}

static void take_signals(struct server *server)
{
    for (int number; (number = signals_next(server->signals)) != 0;) {
        if (number == SIGHUP) {
            note(server, "reset button");
            line_reset(&server->line, VRESET_PIN);
        } else if (number == SIGUSR1) {
            note(server, "power cycle");
            line_reset(&server->line, VRESET_POWER);
        } else {
            server->end = true;
        }
    }
}

/* ---- the loop ---- */

/* Paced, everything up to the present. Unpaced, one event at a time, so that the host is looked at
 * between two, and a delay of this machine does not eat up a boot window. */
static void live(struct server *server)
{
    struct line *line = &server->line;
    uint64_t now = present(server), next = line_next(line);

    if (!line->v.paced && next < now) {
        now = next > line->v.now ? next : line->v.now;
        uint64_t late = present(server) - now;
        if (late > LATE_AT_MOST)
            server->started += late - LATE_AT_MOST;
    }
    line_advance(line, now);
}

static void wait_for_something(struct server *server)
{
    uint64_t now = present(server), next = line_next(&server->line);
    uint64_t wait = next <= now ? 0 : next - now;
    struct timespec timeout = {0};
    struct pollfd look[3] = {
        {.fd = server->signals, .events = POLLIN},
        {.fd = server->pty.master >= 0 ? server->pty.watch : -1, .events = POLLIN},
        /* While nobody has it open, POLLHUP would end every wait at once. */
        {.fd = server->pty.opened ? server->pty.master : -1,
         .events = (short)(server->pending ? POLLIN | POLLOUT : POLLIN)},
    };

    if (wait > LOOK_EVERY)
        wait = LOOK_EVERY;
    timeout.tv_nsec = (long)wait * 1000;
    ppoll(look, 3, &timeout, NULL);
}

static void run(struct server *server)
{
    while (!server->end) {
        take_signals(server);
        live(server);
        give_to_host(server);
        look_at_port(server);
        follow_link(server);
        wait_for_something(server);
    }
}

static bool make_device(struct server *server)
{
    const struct options *options = server->options;

    server->config.chip = options->chip;
    server->config.faults = options->faults;
    server->config.fresh = options->fresh;
    server->config.app = options->app;
    server->config.variant = options->variant;
    server->device = options->model->create(&server->config);
    if (!server->device)
        return false;
    line_init(&server->line, server->device, options->paced, &options->line_faults);
    server->line.stream = true;
    return true;
}

int serve(const struct options *options)
{
    struct server *server = calloc(1, sizeof *server);
    int status = 1;

    if (!server)
        return status;
    server->options = options;
    server->started = clock_now(clock_monotonic());
    server->pty = (struct pty){.master = -1, .link = options->link};
    server->signals = signals_catch();
    if (!journal_open(&server->journal, options->log_file) || server->signals < 0 ||
        !memories_map(&server->config, options))
        goto out;
    status = 2;
    if (!make_device(server))
        goto out;
    status = 1;
    if (pty_attach(&server->pty)) {
        printf("ready %s%s\n", options->ready, options->link);
        fflush(stdout);
        run(server);
        status = 0;
    }
out:
    pty_detach(&server->pty);
    if (server->device) {
        line_free(&server->line);
        server->device->ops->destroy(server->device);
    }
    memories_unmap(&server->config);
    journal_close(&server->journal, present(server));
    free(server);
    return status;
}
