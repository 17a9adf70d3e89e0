/*
 * Where hosts meet the virtual bus: a SocketCAN interface, which is one port for whoever is on it,
 * or a listening SOCK_SEQPACKET socket, whose every client is a port of its own. A packet is one
 * struct can_frame either way.
 */
#ifndef VBOARD_CAN_PORTS_H
#define VBOARD_CAN_PORTS_H

#include <poll.h>

#include "can_bus.h"

enum { PORTS_MAX = 64 };

struct can_port {
    int fd;
    struct can_station *station;
    struct can_frame frame; /* on its way to the host, while `full` */
    bool full;
    uint64_t leaves_at; /* it hung up: what it sent goes out until then; 0 = it is there */
};

struct can_ports {
    struct can_bus *bus;
    const char *name;  /* "can0", "unix:/tmp/bus" */
    const char *path;  /* of the socket; NULL: an interface */
    int listener;      /* -1: an interface, or nobody is let in */
    bool tells_errors; /* error frames go to the hosts: not on a real wire, which has its own */
    struct can_port list[PORTS_MAX];
    size_t count;
};

/* False with a line on stderr. */
bool can_ports_open(struct can_ports *ports, struct can_bus *bus, const char *name);
void can_ports_close(struct can_ports *ports);

/* Lets clients in, takes what hosts have sent as far as their queues have room, and gives them what
 * has arrived. After a cut: hangs up, and is there again when the bus allows it. False: the
 * interface is gone. */
bool can_ports_serve(struct can_ports *ports);

/* What to wait for: fills at most PORTS_MAX + 1 and returns how many. */
size_t can_ports_wait(const struct can_ports *ports, struct pollfd *look);

#endif
