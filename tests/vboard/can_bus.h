/*
 * The wire of a CAN bus between nodes and host adapters: arbitration, frame times with stuff bits,
 * acknowledgement, error counters as far as a host sees them, and the faults that happen on a bus
 * (ISO 11898-1). Shared by the server (real time) and virtual_can.c (virtual time).
 *
 * The driver owns the time: it hands over host frames with can_bus_put() at bus->v.now, calls
 * can_bus_advance() to let time pass, waits no longer than can_bus_next(), and fetches with
 * can_bus_take() what has reached a host. Unpaced, frames need no time.
 */
#ifndef VBOARD_CAN_BUS_H
#define VBOARD_CAN_BUS_H

#include "can_model.h"

enum {
    CAN_BUS_BITRATE = 1000000, /* the usual one */
    CAN_HOST_QUEUE = 10,       /* frames: Linux's txqueuelen for CAN */
    CAN_HOST_ARRIVED = 4096,   /* frames a host leaves lying about before they are lost */
    CAN_HOST_IDS = 8,
    CAN_REPLUG_TIME = 1000000, /* microseconds until a cut cable or lost power is back */
    CAN_RESTART_TIME = 100000, /* microseconds from bus-off to the adapter's restart */
};

/* Frames on the wire are counted from 1, whoever sends them; 0 = never. Each happens once. */
struct can_bus_faults {
    unsigned drop;    /* acknowledged, and lost in an adapter: nobody gets it */
    unsigned corrupt; /* destroyed on the wire: an error frame, and it is sent again at once */
    unsigned stall;   /* from this one on the nodes acknowledge, but hear and say nothing, until a
                         reset */
    unsigned cut;     /* behind this one the host is unplugged; it can be plugged in again later */
    unsigned power;   /* behind this one all nodes lose power, for a while */
    unsigned bus_off; /* destroyed again and again: the host's controller gives up, and restarts */
};

struct can_waiting {
    struct can_frame frame;
    uint64_t at; /* nanoseconds: given to the controller */
};

struct can_queue {
    struct can_waiting *frames; /* a ring of `room` */
    size_t head, count, room;
};

/* A controller on the wire, of a node or of a host. */
struct can_station {
    struct can_station *next;
    struct can_bus *bus;
    struct vcan *node;        /* NULL: a host */
    struct can_queue out;     /* waiting for the wire */
    struct can_queue arrived; /* host: not taken yet */
    uint16_t ids[CAN_HOST_IDS];
    size_t id_count; /* host: the standard ids it wants; see can_bus_listen() */
    bool everything; /* host: wants all frames */
    bool gone;       /* host: unplugged by a fault, for good */
    unsigned tx_errors;
    uint64_t restart_at; /* host: bus-off until then; 0 = not */
    unsigned lost;       /* host: frames it left lying about too long */
};

struct can_bus {
    struct vcan_bus v; /* what the nodes see; v.now is the time. First: the addresses are one */
    uint32_t bitrate;
    struct can_bus_faults faults;
    struct can_station *stations; /* in the order they joined */
    struct can_station *sender;   /* of the frame on the wire, or NULL */
    uint64_t ends, free_at;       /* nanoseconds: of that frame; when the next one may begin */
    unsigned frames;              /* that went over the wire so far */
    uint64_t bits;                /* of them, with error frames */
    bool stalled;
    uint64_t power_at; /* no power until then; 0 = there is */
    uint64_t plug_at;  /* no host can be plugged in before */
    /* NULL, or told of each frame that is over. `from`: a host has no node. `fate`: "" or what
     * became of it: "lost", "destroyed", "not acknowledged". */
    void (*watch)(void *context, const struct can_station *from, const struct can_frame *frame,
                  const char *fate);
    void *watch_context;
};

/* `bitrate` 0: the usual one. `faults` may be NULL. */
void can_bus_init(struct can_bus *bus, uint32_t bitrate, bool paced,
                  const struct can_bus_faults *faults);

/* Takes the bus away from its nodes, which live on, and frees what it held, hosts too. */
void can_bus_free(struct can_bus *bus);

/* Time goes on from node->parked if that is later. False: out of memory. */
bool can_bus_add(struct can_bus *bus, struct vcan *node);

/* A host's adapter. It hears nothing before can_bus_listen(). NULL: out of memory. */
struct can_station *can_bus_plug(struct can_bus *bus);
void can_bus_unplug(struct can_station *host);

/* Which standard data frames the host wants; ids NULL: all there are. Error frames always. */
void can_bus_listen(struct can_station *host, const uint16_t *ids, size_t count);

/* One frame of a host, now. False: its queue is full, or the controller is bus-off. */
bool can_bus_put(struct can_station *host, const struct can_frame *frame);

/* What has reached the host by now, frame by frame. */
bool can_bus_take(struct can_station *host, struct can_frame *frame);

/* Moment of the next event, in microseconds; UINT64_MAX if nothing will happen by itself. */
uint64_t can_bus_next(const struct can_bus *bus);

/* Lives through everything due up to `now` (microseconds), in order. */
void can_bus_advance(struct can_bus *bus, uint64_t now);

/* The reset button, or power off and on, of one node or (NULL) all: also ends a stall. */
void can_bus_reset(struct can_bus *bus, struct vcan *node, enum vreset cause);

/* Bit times from the start of the frame to the end of the intermission behind it, stuff bits
 * counted as they are: 47 + 8n and more for a standard frame. */
unsigned can_frame_bits(const struct can_frame *frame);

#endif
