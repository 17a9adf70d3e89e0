/* See server.h. */
#include "server.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "memories.h"
#include "signals.h"

enum {
    /* Unpaced, the board's time waits for a host computer that is slow to simulate it. */
    LATE_AT_MOST = 5 * MILLISECOND,
    /* Paced, the board is no later than silicon is: a wait's last part is no sleep, which a
     * virtual machine ends some tenths of a millisecond late. */
    AWAKE = 1 * MILLISECOND,
};

/* ---- time ---- */

/* The board's time, microseconds since it started. */
static uint64_t present(const struct server *server)
{
    return clock_now(clock_monotonic()) - server->started;
}

uint64_t server_live_until(struct server *server, uint64_t board_now, uint64_t board_next)
{
    uint64_t now = present(server);

    if (server->options->paced || board_next >= now)
        return now;
    uint64_t until = board_next > board_now ? board_next : board_now;
    uint64_t late = present(server) - until;
    if (late > LATE_AT_MOST)
        server->started += late - LATE_AT_MOST;
    return until;
}

void server_wait(const struct server *server, uint64_t board_next, uint64_t at_most,
                 struct pollfd *looks, size_t count)
{
    struct pollfd all[SERVER_LOOKS_MAX + 1] = {{.fd = server->signals, .events = POLLIN}};
    uint64_t now = present(server), wait = board_next <= now ? 0 : board_next - now;
    bool exact = server->options->paced && wait <= at_most;

    if (wait > at_most)
        wait = at_most;
    if (exact)
        wait -= wait < AWAKE ? wait : AWAKE;
    memcpy(all + 1, looks, count * sizeof *looks);
    struct timespec timeout = {.tv_sec = (time_t)(wait / SECOND),
                               .tv_nsec = (long)(wait % SECOND) * 1000};
    int ready = ppoll(all, count + 1, &timeout, NULL);
    while (exact && ready == 0 && present(server) < board_next)
        ready = poll(all, (nfds_t)count + 1, 0);
    memcpy(looks, all + 1, count * sizeof *looks);
}

static void configure(struct server *server)
{
    const struct options *options = server->options;

    server->config.chip = options->chip;
    server->config.faults = options->faults;
    server->config.fresh = options->fresh;
    server->config.app = options->app;
    server->config.variant = options->variant;
}

bool server_reset_wanted(struct server *server, uint64_t board_now, enum vreset *cause)
{
    for (int number; (number = signals_next(server->signals)) != 0;) {
        if (number != SIGHUP && number != SIGUSR1) {
            server->end = true;
            continue;
        }
        *cause = number == SIGHUP ? VRESET_PIN : VRESET_POWER;
        journal_note(&server->journal, board_now, "%s",
                     *cause == VRESET_PIN ? "reset button" : "power cycle");
        return true;
    }
    return false;
}

int serve(const struct options *options)
{
    struct server *server = calloc(1, sizeof *server);
    int status = 1;

    if (!server)
        return status;
    server->options = options;
    server->started = clock_now(clock_monotonic());
    server->signals = signals_catch();
    configure(server);
    if (journal_open(&server->journal, options->log_file) && server->signals >= 0 &&
        memories_map(&server->config, options))
        status = options->can    ? serve_can(server)
                 : options->link ? serve_pty(server)
                                 : serve_usbip(server);
    memories_unmap(&server->config);
    journal_close(&server->journal, present(server));
    free(server);
    return status;
}
