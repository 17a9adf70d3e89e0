/*
 * CAN backends, for can_open() alone, and what of can_status.c a test wants to reach. Each backend
 * opens its kind of bus into a fresh struct can with ops, name and clock set, listening to nothing.
 */
#ifndef MFLASH_CAN_BACKEND_H
#define MFLASH_CAN_BACKEND_H

#include "link/can.h"
#include "link/host.h"

/* A conversation over a descriptor that carries one struct can_frame a packet. */
struct can_wire {
    struct can can; /* first: the two addresses are one */
    int fd;
    uint32_t lost; /* frames that the socket's own queue had no room for */
};

/* NULL: out of memory. */
struct can_wire *can_wire_allocate(const struct can_ops *ops, const char *name);

/* As can_ops. */
int can_wire_send(struct can *can, const struct can_frame *frame, struct error *err);
int can_wire_receive(struct can *can, struct can_frame *frame, uint64_t deadline,
                     struct error *err);
void can_wire_close(struct can *can);

/* A CAN interface of this machine. */
int can_socket_open(struct can **can, const char *name, struct error *err);

/* "unix:PATH". */
int can_unix_open(struct can **can, const char *name, struct error *err);
bool can_is_unix(const char *name);

/* ---- the interface ---- */

/* What `ip link set … type can bitrate N` has to say besides. */
const char *can_restart_words(const struct can_status *status);

/* can_status(), can_interfaces() and can_bring_up()'s look at its rights, on a given machine. The
 * bit rate and the state come from netlink, and so from this one. */
int can_status_on(const struct host *host, struct can_status *status, const char *name,
                  struct error *err);
size_t can_interfaces_on(const struct host *host, struct can_status *list, size_t max);
bool can_may_configure(const struct host *host);

/* ERR_NO_DEVICE: says which CAN interfaces there are. */
int can_no_such_interface(const struct host *host, const char *name, struct error *err);

/* The interface is there, and down: ERR_FAILED, and how to take it up. */
int can_interface_down(const struct can_status *status, struct error *err);

/* What an RTM_NEWLINK message tells: `attributes` are those behind its struct ifinfomsg. */
void can_link_decode(struct can_status *status, const void *attributes, size_t length);

/* Asks this machine's kernel. False: no answer, or no such interface. */
bool can_link_ask(struct can_status *status);

/* can_holder() on a given machine. `is_can` tells a CAN socket from its path below /proc; `process`
 * is the name of who has it. */
bool can_holder_on(const struct host *host, const char *name,
                   bool (*is_can)(const char *path, const char *process), char *text, size_t size);

#endif
