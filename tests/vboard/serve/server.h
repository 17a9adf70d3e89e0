/*
 * Serves one virtual board in real time until SIGTERM or SIGINT. What all ways of serving share:
 * signals, the memories and their files, the log, and the board's time.
 *
 *   SIGHUP   the reset button          SIGUSR1  power off and on
 *   SIGTERM, SIGINT  write the memories and end
 */
#ifndef VBOARD_SERVER_H
#define VBOARD_SERVER_H

#include <poll.h>

#include "base/clock.h"
#include "journal.h"
#include "options.h"

enum { REPLUG_TIME = 1 * SECOND /* a cut cable is put back after this */ };

struct server {
    const struct options *options;
    uint64_t started; /* the board's time 0 on the monotonic clock; moves when time is forgiven */
    struct vconfig config;
    struct journal journal;
    int signals;
    bool end;
};

/* The exit status: 0 after SIGTERM, 2 if the board cannot act out what was asked, 1 otherwise. */
int serve(const struct options *options);

/* The ways. Each makes the board, prints `ready …`, serves until server->end, and destroys it. The
 * exit status. */
int serve_pty(struct server *server);
int serve_usbip(struct server *server);
int serve_can(struct server *server);

/* True for each reset that a signal asks for, once; sets server->end if one asks for that. */
bool server_reset_wanted(struct server *server, uint64_t board_now, enum vreset *cause);

/*
 * The moment up to which the board is to live now: paced, the present. Unpaced, no further than its
 * next event, so that the host is looked at between two, and a delay of this machine does not eat
 * up a boot window.
 */
uint64_t server_live_until(struct server *server, uint64_t board_now, uint64_t board_next);

enum { SERVER_LOOKS_MAX = 80 };

/* Waits for a signal, one of `looks` (poll(2)), the board's next event, or `at_most` microseconds.
 */
void server_wait(const struct server *server, uint64_t board_next, uint64_t at_most,
                 struct pollfd *looks, size_t count);

#endif
