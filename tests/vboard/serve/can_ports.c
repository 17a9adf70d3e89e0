/* See can_ports.h. */
#include "can_ports.h"

#include <errno.h>
#include <linux/can/raw.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "link/can.h"

enum {
    RECEIVE_BUFFER = 1024 * 1024, /* bytes: an interface's frames must not be lost here */
    LAST_WORDS = 100000,          /* microseconds that a host's frames have to go out behind it */
};

static bool complain(const struct can_ports *ports, const char *what)
{
    fprintf(stderr, "vboard: %s: %s\n", ports->name, what);
    return false;
}

/* ---- ports come and go ---- */

static bool add_port(struct can_ports *ports, int fd)
{
    struct can_station *station = ports->count < PORTS_MAX ? can_bus_plug(ports->bus) : NULL;

    if (!station) {
        close(fd);
        return complain(ports, "one host more than there is room for");
    }
    can_bus_listen(station, NULL, 0);
    ports->list[ports->count++] = (struct can_port){.fd = fd, .station = station};
    return true;
}

static void drop_port(struct can_ports *ports, size_t n)
{
    can_bus_unplug(ports->list[n].station);
    close(ports->list[n].fd);
    ports->list[n] = ports->list[--ports->count];
}

static bool open_interface(struct can_ports *ports)
{
    struct sockaddr_can address = {.can_family = AF_CAN};
    struct can_status status;
    struct error err;
    const int size = RECEIVE_BUFFER;

    if (can_status(&status, ports->name, &err) != OK) {
        fprintf(stderr, "vboard: %s\n", err.message);
        return false;
    }
    ports->tells_errors = !status.physical;
    int fd = socket(PF_CAN, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, CAN_RAW);
    if (fd < 0)
        return complain(ports, strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    address.can_ifindex = (int)if_nametoindex(ports->name);
    if (address.can_ifindex == 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        complain(ports, strerror(errno));
        close(fd);
        return false;
    }
    return add_port(ports, fd);
}

/* A socket that an earlier run has left behind is taken away; one that somebody serves, or any
 * other file, is not. */
static bool clear_path(const struct sockaddr_un *address)
{
    struct stat file;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool served =
        connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN;

    close(fd);
    if (!served && lstat(address->sun_path, &file) == 0 && S_ISSOCK(file.st_mode))
        (void)unlink(address->sun_path);
    return !served;
}

static bool listen_at(struct can_ports *ports)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(ports->path);

    if (length == 0 || length >= sizeof address.sun_path)
        return complain(ports, "no path for a socket");
    memcpy(address.sun_path, ports->path, length);
    if (!clear_path(&address))
        return complain(ports, "another program serves it");
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, PORTS_MAX) != 0) {
        complain(ports, strerror(errno));
        close(fd);
        return false;
    }
    ports->listener = fd;
    return true;
}

static void stop_listening(struct can_ports *ports)
{
    if (ports->listener < 0)
        return;
    (void)unlink(ports->path);
    close(ports->listener);
    ports->listener = -1;
}

bool can_ports_open(struct can_ports *ports, struct can_bus *bus, const char *name)
{
    *ports = (struct can_ports){.bus = bus, .name = name, .listener = -1, .tells_errors = true};
    if (strncmp(name, "unix:", 5) != 0)
        return open_interface(ports);
    ports->path = name + 5;
    return listen_at(ports);
}

void can_ports_close(struct can_ports *ports)
{
    while (ports->count)
        drop_port(ports, ports->count - 1);
    stop_listening(ports);
}

/* ---- frames ---- */

static bool is_full(int number)
{
    return number == EAGAIN || number == EWOULDBLOCK || number == ENOBUFS || number == EINTR;
}

/* What has reached the host. A slow one leaves the rest with its station. */
static void give(const struct can_ports *ports, struct can_port *port)
{
    while (port->full || can_bus_take(port->station, &port->frame)) {
        port->full = (port->frame.can_id & CAN_ERR_FLAG) == 0 || ports->tells_errors;
        if (port->full &&
            send(port->fd, &port->frame, sizeof port->frame, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
            is_full(errno))
            return;
        port->full = false; /* sent; or there is nobody, which take() will see */
    }
}

static bool has_room(const struct can_port *port)
{
    return port->station->out.count < CAN_HOST_QUEUE && port->station->restart_at == 0;
}

/* What the host has sent, while its adapter has room. False: it hung up. */
static bool take(struct can_port *port)
{
    struct can_frame frame;

    while (has_room(port)) {
        ssize_t length = recv(port->fd, &frame, sizeof frame, MSG_DONTWAIT);
        if (length == 0)
            return false;
        if (length < 0) /* an interface that is down may come up again */
            return is_full(errno) || errno == ENETDOWN;
        if (length == (ssize_t)sizeof frame && frame.len <= CAN_MAX_DLEN &&
            !(frame.can_id & CAN_ERR_FLAG))
            (void)can_bus_put(port->station, &frame);
    }
    return true;
}

static void let_in(struct can_ports *ports)
{
    int fd;

    while (ports->listener >= 0 &&
           (fd = accept4(ports->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        (void)add_port(ports, fd);
}

/* ---- the cable ---- */

/* What an interface carries while no cable leads to the nodes goes nowhere. */
static void listen_to_nobody(const struct can_port *port)
{
    struct can_frame frame;

    while (recv(port->fd, &frame, sizeof frame, MSG_DONTWAIT) > 0)
        continue;
}

static bool is_cut(const struct can_ports *ports)
{
    return ports->bus->plug_at > ports->bus->v.now;
}

static bool follow_cable(struct can_ports *ports)
{
    if (ports->path) {
        for (size_t n = ports->count; n-- > 0;)
            if (ports->list[n].station->gone)
                drop_port(ports, n);
        if (is_cut(ports))
            stop_listening(ports);
        return is_cut(ports) || ports->listener >= 0 || listen_at(ports);
    }
    struct can_port *port = &ports->list[0];
    if (!port->station->gone)
        return true;
    listen_to_nobody(port);
    if (is_cut(ports))
        return true;
    struct can_station *station = can_bus_plug(ports->bus);
    if (!station)
        return false;
    can_bus_listen(station, NULL, 0);
    can_bus_unplug(port->station);
    port->station = station;
    return true;
}

/* A host's last words are in its adapter, and go out, as those of an interface do. */
static bool is_done(const struct can_ports *ports, struct can_port *port)
{
    uint64_t now = ports->bus->v.now;
    if (!port->leaves_at)
        port->leaves_at = now + LAST_WORDS;
    return port->station->out.count == 0 || now >= port->leaves_at;
}

bool can_ports_serve(struct can_ports *ports)
{
    if (!follow_cable(ports))
        return false;
    let_in(ports);
    for (size_t n = ports->count; n-- > 0;) {
        struct can_port *port = &ports->list[n];
        give(ports, port);
        if (!port->leaves_at && take(port))
            continue;
        if (!ports->path)
            return complain(ports, "the interface is gone");
        if (is_done(ports, port))
            drop_port(ports, n);
    }
    return true;
}

size_t can_ports_wait(const struct can_ports *ports, struct pollfd *look)
{
    size_t count = 0;

    look[count++] = (struct pollfd){.fd = ports->listener, .events = POLLIN};
    for (size_t n = 0; n < ports->count; n++) {
        const struct can_port *port = &ports->list[n];
        short events =
            (short)((has_room(port) && !port->leaves_at ? POLLIN : 0) | (port->full ? POLLOUT : 0));
        /* Else a host that has hung up would end every wait at once. */
        look[count++] = (struct pollfd){.fd = events ? port->fd : -1, .events = events};
    }
    return count;
}
