/*
 * The server of a CAN bus: one loop that looks at signals and at what hosts have sent, and lets the
 * wire and the nodes live up to the present. All nodes are one board many times over, each with a
 * chip id, and so a UUID, and with memories of its own.
 *
 *   SIGHUP   the reset button of all   SIGUSR1  power off and on
 *   SIGTERM, SIGINT  write the memories and end
 */
#include "can.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "can_bus.h"
#include "can_ports.h"
#include "journal.h"
#include "memories.h"
#include "signals.h"

enum {
    WAIT_AT_MOST = 1 * SECOND,
    FULL_AGAIN = 1 * MILLISECOND, /* an interface whose queue is full gives no sign of room */
    /* Unpaced, the board's time waits for a host computer that is slow to simulate it. */
    LATE_AT_MOST = 5 * MILLISECOND,
};

struct server {
    const struct options *options;
    uint64_t started; /* the bus's time 0 on the monotonic clock; moves when time is forgiven */
    struct can_bus bus;
    struct can_ports ports;
    struct journal journal;
    struct vconfig *configs; /* one a node */
    struct vcan **nodes;
    int signals;
    bool end, failed;
};

/* The bus's time, microseconds since it started. */
static uint64_t present(const struct server *server)
{
    return clock_now(clock_monotonic()) - server->started;
}

/* ---- nodes ---- */

static bool make_node(struct server *server, unsigned n)
{
    const struct options *options = server->options;
    struct vconfig *config = &server->configs[n];

    *config = (struct vconfig){
        .chip = options->chip,
        .faults = options->faults,
        .fresh = options->fresh,
        .app = options->app,
        .variant = options->variant,
        .node = n,
    };
    if (!memories_map(config, options))
        return false;
    server->nodes[n] = options->model->create_can(config);
    return server->nodes[n] && can_bus_add(&server->bus, server->nodes[n]);
}

static bool make_nodes(struct server *server)
{
    unsigned count = server->options->nodes;

    server->configs = calloc(count, sizeof *server->configs);
    server->nodes = calloc(count, sizeof *server->nodes);
    if (!server->configs || !server->nodes)
        return false;
    for (unsigned n = 0; n < count; n++)
        if (!make_node(server, n))
            return false;
    return true;
}

static void destroy_nodes(struct server *server)
{
    for (unsigned n = 0; server->nodes && n < server->options->nodes; n++) {
        if (server->nodes[n])
            server->nodes[n]->ops->destroy(server->nodes[n]);
        memories_unmap(&server->configs[n]);
    }
    free(server->nodes);
    free(server->configs);
}

/* ---- the loop ---- */

static void log_frame(void *context, const struct can_station *from, const struct can_frame *frame,
                      const char *fate)
{
    struct server *server = context;

    journal_frame(&server->journal, server->bus.v.now, from->node ? '<' : '>', frame, fate);
}

static void take_signals(struct server *server)
{
    for (int number; (number = signals_next(server->signals)) != 0;) {
        if (number == SIGHUP || number == SIGUSR1) {
            enum vreset cause = number == SIGHUP ? VRESET_PIN : VRESET_POWER;
            journal_note(&server->journal, server->bus.v.now, "%s",
                         cause == VRESET_PIN ? "reset button" : "power cycle");
            can_bus_reset(&server->bus, NULL, cause);
        } else {
            server->end = true;
        }
    }
}

/* Paced, everything up to the present. Unpaced, one event at a time, so that the hosts are looked
 * at between two, and a delay of this machine does not eat up a boot window. */
static void live(struct server *server)
{
    struct can_bus *bus = &server->bus;
    uint64_t now = present(server), next = can_bus_next(bus);

    if (!bus->v.paced && next < now) {
        now = next;
        uint64_t late = present(server) - now;
        if (late > LATE_AT_MOST)
            server->started += late - LATE_AT_MOST;
    }
    can_bus_advance(bus, now > bus->v.now ? now : bus->v.now);
}

static bool somebody_is_full(const struct can_ports *ports)
{
    for (size_t n = 0; n < ports->count; n++)
        if (ports->list[n].full)
            return true;
    return false;
}

static void wait_for_something(struct server *server)
{
    struct pollfd look[PORTS_MAX + 2];
    uint64_t now = present(server), next = can_bus_next(&server->bus);
    uint64_t wait = next <= now ? 0 : next - now;
    uint64_t longest = somebody_is_full(&server->ports) ? FULL_AGAIN : WAIT_AT_MOST;

    if (server->bus.plug_at > now && server->bus.plug_at - now < wait)
        wait = server->bus.plug_at - now;
    if (wait > longest)
        wait = longest;
    struct timespec timeout = {.tv_sec = (time_t)(wait / SECOND),
                               .tv_nsec = (long)(wait % SECOND) * 1000};
    look[0] = (struct pollfd){.fd = server->signals, .events = POLLIN};
    size_t count = 1 + can_ports_wait(&server->ports, look + 1);
    ppoll(look, count, &timeout, NULL);
}

static void run(struct server *server)
{
    /* A frame at 1 Mbit/s is over in 111 us; the usual slack of a wait is 50. */
    (void)prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
    while (!server->end) {
        take_signals(server);
        live(server);
        if (!can_ports_serve(&server->ports))
            server->end = server->failed = true;
        wait_for_something(server);
    }
}

/* One node: the device. Several: the bus they are on, and with -v who they are. */
static void tell_ready(const struct server *server)
{
    const struct options *options = server->options;
    bool single = options->nodes == 1 && server->nodes[0]->name[0];

    for (unsigned n = 0; n < options->nodes; n++) {
        journal_note((struct journal *)&server->journal, 0, "node %u is %s", n,
                     server->nodes[n]->name);
        if (options->verbose)
            fprintf(stderr, "%s\n", server->nodes[n]->name);
    }
    printf("ready %s%s%s%s\n", options->ready, options->can, single ? ":" : "",
           single ? server->nodes[0]->name : "");
    fflush(stdout);
}

static void start_bus(struct server *server)
{
    const struct options *options = server->options;
    const struct line_faults *line = &options->line_faults;
    const struct can_bus_faults faults = {
        .drop = line->drop,
        .corrupt = line->corrupt,
        .stall = line->stall,
        .cut = line->cut,
        .power = line->power,
        .bus_off = options->bus_off,
    };

    can_bus_init(&server->bus, options->bitrate, options->paced, &faults);
    server->bus.watch = log_frame;
    server->bus.watch_context = server;
}

int serve_can(const struct options *options)
{
    struct server *server = calloc(1, sizeof *server);
    int status = 1;

    if (!server)
        return status;
    server->options = options;
    server->started = clock_now(clock_monotonic());
    server->signals = signals_catch();
    start_bus(server);
    if (server->signals < 0 || !journal_open(&server->journal, options->log_file))
        goto out;
    if (!make_nodes(server)) {
        status = 2;
        goto out;
    }
    if (can_ports_open(&server->ports, &server->bus, options->can)) {
        tell_ready(server);
        run(server);
        status = server->failed;
    }
    can_ports_close(&server->ports);
out:
    can_bus_free(&server->bus);
    destroy_nodes(server);
    journal_close(&server->journal, present(server));
    free(server);
    return status;
}
