/*
 * The descriptor backend for tcp:HOST:PORT, a serial line behind a raw TCP port (ser2net, ESP-Link
 * and the like in raw mode). The far end owns rate, parity and modem lines: nothing of that can be
 * set from here.
 */
#include "link/backend.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/descriptor.h"

enum { CONNECT_DEADLINE = 5 * SECOND };

struct tcp {
    struct serial serial;
    int fd;
};

/* The rate is the far end's; ours is kept for serial_wire_time() alone. */
static int tcp_configure(struct serial *serial, const struct serial_settings *settings,
                         struct error *err)
{
    (void)serial, (void)settings, (void)err;
    return OK;
}

static ssize_t tcp_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                        struct error *err)
{
    return descriptor_read(serial, ((const struct tcp *)serial)->fd, bytes, max, deadline, err);
}

static int tcp_write(struct serial *serial, const uint8_t *bytes, size_t length, uint64_t deadline,
                     struct error *err)
{
    return descriptor_write(serial, ((const struct tcp *)serial)->fd, bytes, length, deadline, err);
}

static void tcp_drop_input(struct serial *serial)
{
    (void)serial; /* serial_drop_input() has read the socket empty; it has no other buffer */
}

static void tcp_close(struct serial *serial)
{
    const struct tcp *tcp = (const struct tcp *)serial;
    if (tcp->fd >= 0)
        (void)close(tcp->fd);
    free(serial);
}

static const struct serial_ops tcp_ops = {
    .name = "tcp",
    .configure = tcp_configure,
    .read = tcp_read,
    .write = tcp_write,
    .drop_input = tcp_drop_input,
    .close = tcp_close,
};

struct address {
    char host[256], port[16];
};

/* "tcp:HOST:PORT"; an IPv6 address is put in brackets. */
static bool split_address(const char *name, struct address *address)
{
    const char *host = name + strlen("tcp:");
    const char *colon = strrchr(host, ':');
    if (!colon)
        return false;
    size_t length = (size_t)(colon - host);
    if (host[0] == '[' && length >= 2 && host[length - 1] == ']') {
        host++;
        length -= 2;
    } else if (memchr(host, ':', length)) {
        return false; /* a bare IPv6 address: where would its port begin? */
    }
    size_t digits = strspn(colon + 1, "0123456789");
    if (length == 0 || length >= sizeof address->host || digits == 0 || digits > 5 ||
        colon[1 + digits] != '\0' || strtoul(colon + 1, NULL, 10) > 65535)
        return false;
    memcpy(address->host, host, length);
    address->host[length] = '\0';
    memcpy(address->port, colon + 1, digits + 1);
    return true;
}

/* Waits for a connect under way. Returns 0 or an errno. */
static int await_connect(const struct serial *serial, int fd, uint64_t deadline)
{
    struct error ignored;
    short happened;
    if (descriptor_await(serial, fd, POLLOUT, deadline, &happened, &ignored) != OK)
        return EIO;
    if (happened == 0)
        return ETIMEDOUT;
    int number = 0;
    socklen_t size = sizeof number;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) == 0 ? number : errno;
}

/* Connects to one address. Returns the descriptor, or a negative errno. */
static int connect_one(const struct serial *serial, const struct addrinfo *to, uint64_t deadline)
{
    int fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
    if (fd < 0)
        return -errno;
    int number = connect(fd, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    if (number == EINPROGRESS || number == EINTR)
        number = await_connect(serial, fd, deadline);
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
    int rc;
    if (number == ETIMEDOUT)
        rc = error_set(err, ERR_NO_ANSWER, "connecting to %s: no answer within %d s", name,
                       CONNECT_DEADLINE / SECOND);
    else
        rc = error_set(err, ERR_NO_DEVICE, "connecting to %s: %s", name, strerror(number));
    error_hint(err, "is the serial server (ser2net, socat …) running there, in raw mode, and "
                    "not blocked by a firewall?");
    return rc;
}

static int connect_any(const struct serial *serial, const struct address *address,
                       struct error *err)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int failed = getaddrinfo(address->host, address->port, &wanted, &list);
    if (failed != 0) {
        error_set(err, ERR_NO_DEVICE, "connecting to %s: %s", serial->name, gai_strerror(failed));
        error_hint(err, "is the name spelled right? An address works without a name server");
        return ERR_NO_DEVICE;
    }
    uint64_t deadline = clock_in(serial->clock, CONNECT_DEADLINE);
    int fd = -EHOSTUNREACH;
    for (const struct addrinfo *to = list; to && fd < 0; to = to->ai_next)
        fd = connect_one(serial, to, deadline);
    freeaddrinfo(list);
    return fd >= 0 ? fd : cannot_connect(serial->name, -fd, err);
}

int serial_tcp_open(struct serial **serial, const char *name, struct error *err)
{
    struct address address;
    if (!split_address(name, &address)) {
        error_set(err, ERR_USAGE, "%s is not tcp:HOST:PORT", name);
        error_hint(err, "for example tcp:192.168.1.20:2000, or tcp:[fe80::1%%eth0]:2000");
        return ERR_USAGE;
    }
    struct tcp *tcp = (struct tcp *)serial_allocate(sizeof *tcp, &tcp_ops, name);
    if (!tcp)
        return error_memory(err);
    tcp->fd = connect_any(&tcp->serial, &address, err);
    if (tcp->fd < 0) {
        int rc = tcp->fd;
        free(tcp);
        return rc;
    }
    *serial = &tcp->serial;
    return OK;
}
