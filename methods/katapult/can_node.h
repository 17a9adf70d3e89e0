/*
 * A Katapult node on a CAN bus: a transport of packet.h, and how a node is found and given an id.
 * See node.h for the protocol and klipper/can.h for ids.
 *
 * The two things to know: CAN is a bus with priorities, so on a full one the node with the highest
 * id is heard only when the others pause: its silence means nothing then. And a frame that is lost
 * inside a packet silences a node for good, so nothing follows a block that may erase.
 */
#ifndef MFLASH_KATAPULT_CAN_NODE_H
#define MFLASH_KATAPULT_CAN_NODE_H

#include "katapult/node.h"
#include "klipper/can.h"

struct can_node {
    struct katapult_node node; /* first: session->state */
    struct katapult_transport transport;
    struct can *can;
    struct can_claim claim;
    uint8_t uuid[KLIPPER_UUID];
    char name[CAN_NAME_LONGEST + KLIPPER_UUID_TEXT];
    uint8_t rest[CAN_MAX_DLEN]; /* of a frame that did not fit into what was asked for */
    size_t rest_length;
    bool patient; /* a full bus is waited out */
    bool left;    /* it was told to start its application */
};

/* Claims an id for the node and listens to it; nothing is sent. `node.session` is set by who has
 * one. ERR_BUSY: another conversation has this node. */
int can_node_open(struct can_node *c, struct can *can, const uint8_t *uuid, struct error *err);

/* Gives the node its id and asks CONNECT once. ERR_NO_ANSWER: no Katapult there. */
int can_node_greet(struct can_node *c, struct error *err);

/* Asks the node who it is, and takes another id where that one is a stranger's. `known`: false if
 * it is too old to tell. */
int can_node_cross_check(struct can_node *c, bool *known, struct error *err);

/* True if this bus carries so much that a node may have to wait for its turn. Listens for a moment
 * to everything. */
bool can_node_bus_is_full(struct can_node *c);

/* What is there instead of a Katapult that answers: takes the id back and looks who answers a
 * query. CAN_TAG_KATAPULT: it is stuck; CAN_TAG_KLIPPER; 0: nobody. */
uint8_t can_node_who(struct can_node *c);

/* Takes the id back, so that the node is seen by queries again; gives up the claim. */
void can_node_close(struct can_node *c);

#endif
