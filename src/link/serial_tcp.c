/*
 * The descriptor backend for tcp:HOST:PORT, a serial line behind a raw TCP port (ser2net, ESP-Link
 * and the like in raw mode). The far end owns rate, parity and modem lines: nothing of that can be
 * set from here.
 */
#include "link/backend.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link/descriptor.h"
#include "link/tcp.h"

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

int serial_tcp_open(struct serial **serial, const char *name, struct error *err)
{
    struct tcp_address address;
    if (!tcp_address(&address, name + strlen("tcp:"), NULL)) {
        error_set(err, ERR_USAGE, "%s is not tcp:HOST:PORT", name);
        error_hint(err, "for example tcp:192.168.1.20:2000, or tcp:[fe80::1%%eth0]:2000");
        return ERR_USAGE;
    }
    struct tcp *tcp = (struct tcp *)serial_allocate(sizeof *tcp, &tcp_ops, name);
    if (!tcp)
        return error_memory(err);
    tcp->fd = tcp_connect(name, &address, tcp->serial.clock, err);
    if (tcp->fd < 0) {
        int rc = tcp->fd;
        if (err && err->hint[0] == '\0')
            error_hint(err, "is the serial server (ser2net, socat …) running there, in raw mode, "
                            "and not blocked by a firewall?");
        free(tcp);
        return rc;
    }
    *serial = &tcp->serial;
    return OK;
}
