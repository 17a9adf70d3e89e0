/*
 * What SocketCAN and the virtual bus on a unix socket have in common: a descriptor in non-blocking
 * mode that carries one struct can_frame a packet, in the byte order of the machine.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/can_backend.h"

struct can_wire *can_wire_allocate(const struct can_ops *ops, const char *name)
{
    struct can_wire *wire = calloc(1, sizeof *wire);
    if (!wire)
        return NULL;
    wire->fd = -1;
    wire->can.ops = ops;
    wire->can.clock = clock_monotonic();
    wire->can.trace_port = -1;
    (void)snprintf(wire->can.name, sizeof wire->can.name, "%s", name);
    return wire;
}

void can_wire_close(struct can *can)
{
    struct can_wire *wire = (struct can_wire *)can;
    if (wire->fd >= 0)
        (void)close(wire->fd);
    free(wire);
}

static bool means_gone(int number)
{
    switch (number) {
    case ENETDOWN: /* taken down */
    case ENODEV:   /* unplugged */
    case ENXIO:
    case EPIPE: /* the virtual bus ended */
    case ECONNRESET:
    case ENOTCONN:
        return true;
    default:
        return false;
    }
}

static int failed(const struct can *can, const char *doing, int number, struct error *err)
{
    if (!means_gone(number))
        return error_set(err, ERR_FAILED, "%s %s: %s", doing, can->name, strerror(number));
    error_set(err, ERR_GONE, "%s %s: the bus is gone (%s)", doing, can->name, strerror(number));
    error_hint(err,
               "was the adapter unplugged, the interface taken down, or the bridge reset? "
               "`ip link show %s` shows it",
               can->name);
    return ERR_GONE;
}

static bool is_full(int number)
{
    return number == ENOBUFS || number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

int can_wire_send(struct can *can, const struct can_frame *frame, struct error *err)
{
    const struct can_wire *wire = (const struct can_wire *)can;
    ssize_t sent = send(wire->fd, frame, sizeof *frame, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == (ssize_t)sizeof *frame)
        return 1;
    if (sent < 0 && is_full(errno))
        return 0;
    return failed(can, "sending on", sent < 0 ? errno : EIO, err);
}

/* SO_RXQ_OVFL: how many frames the socket has had no room for, in all. */
static void note_lost(struct can_wire *wire, struct msghdr *message)
{
    for (struct cmsghdr *note = CMSG_FIRSTHDR(message); note; note = CMSG_NXTHDR(message, note)) {
        uint32_t lost;
        if (note->cmsg_level != SOL_SOCKET || note->cmsg_type != SO_RXQ_OVFL)
            continue;
        memcpy(&lost, CMSG_DATA(note), sizeof lost);
        wire->can.trouble.overflow |= lost != wire->lost;
        wire->lost = lost;
    }
}

/* One packet. 1: a frame, 0: nothing there after all, or a packet that is no frame. */
static int take(struct can_wire *wire, struct can_frame *frame, struct error *err)
{
    _Alignas(struct cmsghdr) char notes[CMSG_SPACE(sizeof(uint32_t))];
    struct iovec into = {.iov_base = frame, .iov_len = sizeof *frame};
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = notes, .msg_controllen = sizeof notes};
    ssize_t got = recvmsg(wire->fd, &message, MSG_DONTWAIT);
    if (got < 0)
        return is_full(errno) ? 0 : failed(&wire->can, "receiving from", errno, err);
    if (got == 0)
        return failed(&wire->can, "receiving from", ECONNRESET, err);
    note_lost(wire, &message);
    return got == (ssize_t)sizeof *frame && !(message.msg_flags & MSG_TRUNC);
}

int can_wire_receive(struct can *can, struct can_frame *frame, uint64_t deadline, struct error *err)
{
    struct can_wire *wire = (struct can_wire *)can;
    for (;;) {
        struct pollfd wait = {.fd = wire->fd, .events = POLLIN};
        uint64_t now = clock_now(can->clock), left = now < deadline ? deadline - now : 0;
        struct timespec time = {.tv_sec = (time_t)(left / SECOND),
                                .tv_nsec = (long)(left % SECOND) * 1000};
        int rc = ppoll(&wait, 1, &time, NULL);
        if (rc < 0 && errno != EINTR)
            return failed(can, "waiting for", errno, err);
        if (rc > 0 && (rc = take(wire, frame, err)) != 0)
            return rc;
        if (left == 0)
            return 0;
    }
}
