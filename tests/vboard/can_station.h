/* The controllers on the wire of can_bus.h, for can_bus.c and can_host.c alone. */
#ifndef VBOARD_CAN_STATION_H
#define VBOARD_CAN_STATION_H

#include "can_bus.h"

enum { TX_ERRORS_PASSIVE = 128 /* ISO 11898-1, 12.1.4 */ };

/* `node` NULL: a host. NULL: out of memory. */
struct can_station *station_join(struct can_bus *bus, struct vcan *node);
void station_leave(struct can_station *station);

/* Its controller takes part: it acknowledges and may send. */
bool station_takes_part(const struct can_station *station);

/* Its mailboxes are emptied. What it has on the wire ends there: an error frame, that is, and
 * nobody gets anything. */
void station_silence(struct can_station *station);

/* A frame of it has failed. A host is told when its controller changes state, and of the first
 * failure if it has a class (CAN_ERR_ACK). */
void station_count_error(struct can_station *sender, canid_t class);

/* A frame has reached a host's adapter. */
void host_hear(struct can_station *host, const struct can_frame *frame);

void hosts_go_bus_off(struct can_bus *bus);
void host_restart(struct can_station *host);
void hosts_unplug(struct can_bus *bus);

#endif
