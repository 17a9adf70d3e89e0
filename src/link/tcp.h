/* Connecting to HOST:PORT with a deadline. */
#ifndef MFLASH_TCP_H
#define MFLASH_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

enum { TCP_CONNECT_DEADLINE = 5 * SECOND };

struct tcp_address {
    char host[256], port[16];
};

/* "HOST:PORT", "[IPv6]:PORT"; without a port only if `port` (the usual one) is not NULL. */
bool tcp_address(struct tcp_address *address, const char *text, const char *port);

/* A connected socket in non-blocking mode, without Nagle's delay; or ERR_NO_ANSWER (deadline),
 * ERR_NO_DEVICE (refused, no such host), with a message about `name` and no hint. The name server's
 * answer is waited for without a deadline of ours. */
int tcp_connect(const char *name, const struct tcp_address *address, struct clock *clock,
                struct error *err);

#endif
