/* Connecting to HOST:PORT with a deadline: see tcp.h. */
#include "link/tcp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/descriptor.h"

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 5 && text[digits] == '\0' && strtoul(text, NULL, 10) <= 65535;
}

/* Where the port begins, if there is one: behind the last colon that is not inside brackets. A bare
 * IPv6 address has several colons: which of them would it be? */
static bool find_port(const char *text, const char **port)
{
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    *port = NULL;
    if (!colon || (bracket && colon < bracket))
        return true;
    *port = colon + 1;
    return bracket ? colon == bracket + 1 : memchr(text, ':', (size_t)(colon - text)) == NULL;
}

bool tcp_address(struct tcp_address *address, const char *text, const char *port)
{
    const char *told;
    if (!find_port(text, &told))
        return false;
    size_t length = told ? (size_t)(told - 1 - text) : strlen(text);
    port = told ? told : port;
    if (text[0] == '[' && length >= 2 && text[length - 1] == ']') {
        text++;
        length -= 2;
    }
    if (length == 0 || length >= sizeof address->host || !port || !is_port(port))
        return false;
    memcpy(address->host, text, length);
    address->host[length] = '\0';
    (void)snprintf(address->port, sizeof address->port, "%s", port);
    return true;
}

/* Waits for a connect under way. Returns 0 or an errno. */
static int await_connect(struct clock *clock, int fd, uint64_t deadline)
{
    int happened = descriptor_wait(clock, fd, POLLOUT, deadline);
    if (happened <= 0)
        return happened < 0 ? -happened : ETIMEDOUT;
    int number = 0;
    socklen_t size = sizeof number;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) == 0 ? number : errno;
}

/* Connects to one address. Returns the descriptor, or a negative errno. */
static int connect_one(struct clock *clock, const struct addrinfo *to, uint64_t deadline)
{
    int fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
    if (fd < 0)
        return -errno;
    int number = connect(fd, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    if (number == EINPROGRESS || number == EINTR)
        number = await_connect(clock, fd, deadline);
    if (number != 0) {
        (void)close(fd);
        return -number;
    }
    /* Requests of a few bytes each must not wait for the one before to be acknowledged. */
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static int cannot_connect(const char *name, int number, struct error *err)
{
    if (number == ETIMEDOUT)
        return error_set(err, ERR_NO_ANSWER, "connecting to %s: no answer within %d s", name,
                         TCP_CONNECT_DEADLINE / SECOND);
    return error_set(err, ERR_NO_DEVICE, "connecting to %s: %s", name, strerror(number));
}

int tcp_connect(const char *name, const struct tcp_address *address, struct clock *clock,
                struct error *err)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int failed = getaddrinfo(address->host, address->port, &wanted, &list);
    if (failed != 0) {
        error_set(err, ERR_NO_DEVICE, "connecting to %s: %s", name, gai_strerror(failed));
        error_hint(err, "is the name spelled right? An address works without a name server");
        return ERR_NO_DEVICE;
    }
    uint64_t deadline = clock_in(clock, TCP_CONNECT_DEADLINE);
    int fd = -EHOSTUNREACH;
    for (const struct addrinfo *to = list; to && fd < 0; to = to->ai_next)
        fd = connect_one(clock, to, deadline);
    freeaddrinfo(list);
    return fd >= 0 ? fd : cannot_connect(name, -fd, err);
}
