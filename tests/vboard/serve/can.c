/*
 * The server of a CAN bus: one loop that looks at signals and at what hosts have sent, and lets the
 * wire and the nodes live up to the present. All nodes are one board many times over, each with a
 * chip id, and so a UUID, and with memories of its own; a signal means all of them.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "can_bus.h"
#include "can_ports.h"
#include "memories.h"
#include "server.h"

enum {
    WAIT_AT_MOST = 1 * SECOND,
    FULL_AGAIN = 1 * MILLISECOND, /* an interface whose queue is full gives no sign of room */
};

_Static_assert((int)SERVER_LOOKS_MAX > (int)PORTS_MAX, "every port and the listener are looked at");

struct served_bus {
    struct server *server;
    struct can_bus bus;
    struct can_ports ports;
    struct vconfig *configs; /* one a node; the first one's memories are the server's */
    struct vcan **nodes;
    bool failed;
};

/* ---- nodes ---- */

static bool make_node(struct served_bus *served, unsigned n)
{
    const struct options *options = served->server->options;
    struct vconfig *config = &served->configs[n];

    *config = served->server->config;
    config->node = n;
    if (n > 0 && !memories_map(config, options))
        return false;
    served->nodes[n] = options->model->create_can(config);
    return served->nodes[n] && can_bus_add(&served->bus, served->nodes[n]);
}

static bool make_nodes(struct served_bus *served)
{
    unsigned count = served->server->options->nodes;

    served->configs = calloc(count, sizeof *served->configs);
    served->nodes = calloc(count, sizeof *served->nodes);
    if (!served->configs || !served->nodes)
        return false;
    for (unsigned n = 0; n < count; n++)
        if (!make_node(served, n))
            return false;
    return true;
}

static void destroy_nodes(struct served_bus *served)
{
    unsigned count = served->nodes && served->configs ? served->server->options->nodes : 0;

    for (unsigned n = 0; n < count; n++) {
        if (served->nodes[n])
            served->nodes[n]->ops->destroy(served->nodes[n]);
        if (n > 0)
            memories_unmap(&served->configs[n]);
    }
    free(served->nodes);
    free(served->configs);
}

/* ---- the loop ---- */

static void log_frame(void *context, const struct can_station *from, const struct can_frame *frame,
                      const char *fate)
{
    struct served_bus *served = context;

    journal_frame(&served->server->journal, served->bus.v.now, from->node ? '<' : '>', frame, fate);
}

static bool somebody_is_full(const struct can_ports *ports)
{
    for (size_t n = 0; n < ports->count; n++)
        if (ports->list[n].full)
            return true;
    return false;
}

static void wait_for_something(const struct served_bus *served)
{
    struct pollfd look[PORTS_MAX + 1];
    uint64_t next = can_bus_next(&served->bus);
    uint64_t longest = somebody_is_full(&served->ports) ? FULL_AGAIN : WAIT_AT_MOST;

    if (served->bus.plug_at > served->bus.v.now && served->bus.plug_at < next)
        next = served->bus.plug_at;
    size_t count = can_ports_wait(&served->ports, look);
    server_wait(served->server, next, longest, look, count);
}

static void run(struct served_bus *served)
{
    struct server *server = served->server;
    struct can_bus *bus = &served->bus;
    enum vreset cause;

    while (!server->end) {
        can_bus_advance(bus, server_live_until(server, bus->v.now, can_bus_next(bus)));
        /* After a long wait the bus has come to the present first: a button is pressed then. */
        while (server_reset_wanted(server, bus->v.now, &cause))
            can_bus_reset(bus, NULL, cause);
        if (!can_ports_serve(&served->ports))
            server->end = served->failed = true;
        wait_for_something(served);
    }
}

/* One node: the device. Several: the bus they are on, and with -v who they are. */
static void tell_ready(const struct served_bus *served)
{
    struct server *server = served->server;
    const struct options *options = server->options;
    bool single = options->nodes == 1 && served->nodes[0]->name[0];

    for (unsigned n = 0; n < options->nodes; n++) {
        journal_note(&server->journal, 0, "node %u is %s", n, served->nodes[n]->name);
        if (options->verbose)
            fprintf(stderr, "%s\n", served->nodes[n]->name);
    }
    printf("ready %s%s%s%s\n", options->ready, options->can, single ? ":" : "",
           single ? served->nodes[0]->name : "");
    fflush(stdout);
}

static void start_bus(struct served_bus *served)
{
    const struct options *options = served->server->options;
    const struct line_faults *line = &options->line_faults;
    const struct can_bus_faults faults = {
        .drop = line->drop,
        .corrupt = line->corrupt,
        .stall = line->stall,
        .cut = line->cut,
        .power = line->power,
        .bus_off = options->bus_off,
    };

    can_bus_init(&served->bus, options->bitrate, options->paced, &faults);
    served->bus.watch = log_frame;
    served->bus.watch_context = served;
}

int serve_can(struct server *server)
{
    struct served_bus *served = calloc(1, sizeof *served);
    int status = 2;

    if (!served)
        return 1;
    served->server = server;
    start_bus(served);
    if (make_nodes(served)) {
        status = 1;
        if (can_ports_open(&served->ports, &served->bus, server->options->can)) {
            tell_ready(served);
            run(served);
            status = served->failed;
        }
        can_ports_close(&served->ports);
    }
    can_bus_free(&served->bus);
    destroy_nodes(served);
    free(served);
    return status;
}
