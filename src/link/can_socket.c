/*
 * SocketCAN: one raw socket a conversation, with filters in the kernel. Documents: Linux
 * Documentation/networking/can.rst, include/uapi/linux/can/raw.h.
 *
 * The socket's send buffer stays as large as it comes: what fills up is the interface's queue
 * (txqueuelen, shared by all sockets), and of that neither SO_SNDBUF nor POLLOUT knows anything.
 */
#include <errno.h>
#include <linux/can/error.h>
#include <linux/can/raw.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "link/can_backend.h"

/* CAN_ERR_BUSERROR is left out: some drivers send it for every destroyed frame. */
static const can_err_mask_t wanted_errors =
    CAN_ERR_TX_TIMEOUT | CAN_ERR_CRTL | CAN_ERR_ACK | CAN_ERR_BUSOFF | CAN_ERR_RESTARTED;

static int socket_listen(struct can *can, const uint16_t *ids, size_t count, struct error *err)
{
    const struct can_wire *wire = (const struct can_wire *)can;
    struct can_filter filters[CAN_LISTEN_MAX] = {{0, CAN_EFF_FLAG | CAN_RTR_FLAG}}; /* all */
    count = ids ? count : 1;
    for (size_t i = 0; ids && i < count; i++)
        filters[i] = (struct can_filter){ids[i], CAN_SFF_MASK | CAN_EFF_FLAG | CAN_RTR_FLAG};
    if (setsockopt(wire->fd, SOL_CAN_RAW, CAN_RAW_FILTER, filters,
                   (socklen_t)(count * sizeof *filters)) != 0)
        return error_set(err, ERR_FAILED, "listening on %s: %s", can->name, strerror(errno));
    return OK;
}

static const struct can_ops socket_ops = {
    .name = "socketcan",
    .listen = socket_listen,
    .send = can_wire_send,
    .receive = can_wire_receive,
    .close = can_wire_close,
};

static int no_socket(const char *name, int number, struct error *err)
{
    if (number == EAFNOSUPPORT || number == EPROTONOSUPPORT) {
        error_set(err, ERR_NO_DEVICE, "opening %s: this kernel has no CAN sockets", name);
        error_hint(err, "`sudo modprobe can_raw` loads them, where the kernel was built with them");
        return ERR_NO_DEVICE;
    }
    return error_set(err, number == EPERM || number == EACCES ? ERR_PERMISSION : ERR_FAILED,
                     "opening %s: %s", name, strerror(number));
}

/* Nothing is received before can_listen() but what the bus says of itself. */
static int set_up(const struct can_wire *wire, unsigned index)
{
    const int on = 1;
    const struct sockaddr_can address = {.can_family = AF_CAN, .can_ifindex = (int)index};
    if (index == 0) /* which would mean all interfaces */
        return ENODEV;
    if (setsockopt(wire->fd, SOL_CAN_RAW, CAN_RAW_FILTER, &on, 0) != 0 || /* a list of none */
        setsockopt(wire->fd, SOL_CAN_RAW, CAN_RAW_ERR_FILTER, &wanted_errors,
                   sizeof wanted_errors) != 0 ||
        setsockopt(wire->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on) != 0 ||
        bind(wire->fd, (const struct sockaddr *)&address, sizeof address) != 0)
        return errno;
    return 0;
}

static int open_socket(struct can_wire *wire, const char *name, struct error *err)
{
    wire->fd = socket(PF_CAN, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, CAN_RAW);
    if (wire->fd < 0)
        return no_socket(name, errno, err);
    int number = set_up(wire, if_nametoindex(name));
    if (number == ENODEV)
        return can_no_such_interface(host_here(), name, err);
    if (number != 0)
        return error_set(err, number == EPERM || number == EACCES ? ERR_PERMISSION : ERR_FAILED,
                         "opening %s: %s", name, strerror(number));
    return OK;
}

int can_socket_open(struct can **can, const char *name, struct error *err)
{
    struct can_status status;
    int rc = can_status(&status, name, err);
    if (rc != OK)
        return rc;
    if (!status.up)
        return can_interface_down(&status, err);
    struct can_wire *wire = can_wire_allocate(&socket_ops, name);
    if (!wire)
        return error_memory(err);
    rc = open_socket(wire, name, err);
    if (rc != OK) {
        can_wire_close(&wire->can);
        return rc;
    }
    *can = &wire->can;
    return OK;
}
