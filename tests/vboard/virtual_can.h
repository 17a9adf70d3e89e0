/*
 * A CAN bus with virtual nodes behind mflash's own `struct can`, in process, on virtual time. Many
 * conversations on one bus, used from as many threads as one likes.
 *
 * Time stands still while anybody works: it goes on to the next event of the bus or the earliest
 * deadline only when every thread that has a conversation is waiting in one of them (or in the
 * clock's sleep_until). So a run does not depend on how the threads are scheduled. A thread belongs
 * to a conversation when it opens it, or first uses it; it is let go when its last conversation is
 * closed or handed on, or when the thread ends.
 *
 * Who holds an open conversation must not wait for other threads by other means (pthread_join): it
 * stops their time. After ten real seconds of that the program is aborted with a line on stderr.
 */
#ifndef VIRTUAL_CAN_H
#define VIRTUAL_CAN_H

#include "can_bus.h"
#include "link/can.h"

struct virtual_bus;

/* Paced. `faults` may be NULL; `bitrate` 0: 1 Mbit/s. NULL: out of memory. */
struct virtual_bus *virtual_bus_new(uint32_t bitrate, const struct can_bus_faults *faults);

/* All conversations are closed. The nodes live on. NULL is fine. */
void virtual_bus_free(struct virtual_bus *bus);

bool virtual_bus_add(struct virtual_bus *bus, struct vcan *node);

/* Opens a conversation, each with an adapter of its own (a queue of CAN_HOST_QUEUE frames). After a
 * cut it waits until the cable is back. NULL: out of memory. */
struct can *virtual_can(struct virtual_bus *bus);

/* Time does not begin before so many threads wait on the bus: for threads that are started one
 * after another and have not opened anything yet. */
void virtual_bus_expect(struct virtual_bus *bus, unsigned threads);

/* Time passes with nobody doing anything. */
void virtual_bus_elapse(struct virtual_bus *bus, uint64_t microseconds);

/* The reset button or the power switch of a node, NULL: of all. */
void virtual_bus_reset(struct virtual_bus *bus, struct vcan *node, enum vreset cause);

struct clock *virtual_bus_clock(struct virtual_bus *bus);

/* Counters, and what a test looks at while nobody waits. */
struct can_bus *virtual_bus_wire(struct virtual_bus *bus);

#endif
