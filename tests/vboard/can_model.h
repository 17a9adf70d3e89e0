/*
 * A virtual node on a CAN bus. The same model serves SocketCAN and a unix socket (serve/can.c, real
 * time) and a unit test (virtual_can.c, virtual time). Arbitration, bit rate, frame loss and
 * bus-off are the bus's business (can_bus.c).
 */
#ifndef VBOARD_CAN_MODEL_H
#define VBOARD_CAN_MODEL_H

#include <linux/can.h>

#include "model.h"

struct vcan;

struct vcan_ops {
    void (*reset)(struct vcan *node, enum vreset cause);
    /* A frame of another node, or of the host, is on the bus to its end now. The model has its own
     * hardware filters and FIFO. */
    void (*receive)(struct vcan *node, const struct can_frame *frame);
    /* The frame given to bus->send is out (acknowledged); its mailbox is free. May be NULL. */
    void (*sent)(struct vcan *node);
    /* Moment of the next timer, UINT64_MAX if none; tick() runs those due at bus->now. */
    uint64_t (*next)(const struct vcan *node);
    void (*tick)(struct vcan *node);
    void (*destroy)(struct vcan *node);
};

/* The bus, as a node sees it. */
struct vcan_bus {
    uint64_t now; /* microseconds */
    bool paced;   /* frames and flash take real time; false: they count as 0 */
    /* Gives a frame to the bus: it waits for its turn (lower ids first). The model counts its
     * mailboxes: sent() tells when one is free again. */
    void (*send)(struct vcan_bus *bus, struct vcan *node, const struct can_frame *frame);
    /* Empties the node's mailboxes: what is not on the wire yet, nor out, never goes; sent() does
     * not come for it. What a reset of the controller does. */
    void (*abort)(struct vcan_bus *bus, struct vcan *node);
};

/* One node; the first member of each model's own struct. */
struct vcan {
    const struct vcan_ops *ops;
    struct vcan_bus *bus; /* set by the bus */
    uint64_t parked;      /* the moment its last bus was taken away */
    /* Set by the model while its controller is not on the bus (not set up yet after a reset, or for
     * another bit rate): it hears nothing, acknowledges nothing and sends nothing. */
    bool deaf;
    char name[16]; /* set by the model: what hosts call the node (its UUID in hexadecimal), or "" */
};

#endif
