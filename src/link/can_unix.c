/*
 * `unix:PATH`: a virtual bus (vboard --serve can:unix:PATH), a listening SOCK_SEQPACKET socket.
 * Each packet is one struct can_frame; every client hears the frames of all the others. Which ids
 * are wanted is looked at on this side, in can_receive().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "link/can_backend.h"

enum { CONNECT_DEADLINE = 2 * SECOND, CONNECT_PAUSE = 1 * MILLISECOND };

static const char prefix[] = "unix:";

bool can_is_unix(const char *name)
{
    return strncmp(name, prefix, sizeof prefix - 1) == 0;
}

static const struct can_ops unix_ops = {
    .name = "unix",
    .send = can_wire_send,
    .receive = can_wire_receive,
    .close = can_wire_close,
};

static int cannot_connect(const char *name, int number, struct error *err)
{
    enum error_code code = number == EACCES || number == EPERM          ? ERR_PERMISSION
                           : number == ENOENT || number == ENOTDIR      ? ERR_NO_DEVICE
                           : number == ECONNREFUSED || number == EAGAIN ? ERR_NO_ANSWER
                                                                        : ERR_FAILED;
    error_set(err, code, "connecting to the virtual bus %s: %s", name, strerror(number));
    error_hint(err, "is `vboard BOARD --serve can:%s` running?", name);
    return code;
}

/* A listener that has many at its door says EAGAIN. Returns 0 or an errno. */
static int connect_to(const struct can_wire *wire, const struct sockaddr_un *address)
{
    struct clock *clock = wire->can.clock;
    uint64_t deadline = clock_in(clock, CONNECT_DEADLINE);
    while (connect(wire->fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        if ((errno != EAGAIN && errno != EINTR) || clock_now(clock) >= deadline)
            return errno;
        clock->sleep_until(clock, clock_in(clock, CONNECT_PAUSE));
    }
    return 0;
}

int can_unix_open(struct can **can, const char *name, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = name + sizeof prefix - 1;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path || strlen(name) >= CAN_NAME_LONGEST)
        return error_set(err, ERR_USAGE, "%s: the path of a virtual bus has 1 to %zu characters",
                         name, sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, length);
    struct can_wire *wire = can_wire_allocate(&unix_ops, name);
    if (!wire)
        return error_memory(err);
    wire->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int number = wire->fd < 0 ? errno : connect_to(wire, &address);
    if (number != 0) {
        can_wire_close(&wire->can);
        return cannot_connect(name, number, err);
    }
    *can = &wire->can;
    return OK;
}
