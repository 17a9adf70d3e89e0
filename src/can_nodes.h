/*
 * Who is on a CAN bus. The question that is asked without leave is passive: `3F0 00`, which only
 * nodes without an id answer. Whatever gives a node an id is asked for by name.
 */
#ifndef MFLASH_CAN_NODES_H
#define MFLASH_CAN_NODES_H

#include "klipper/can.h"

enum { CAN_NODES_MAX = 128 };

enum can_program { CAN_PROGRAM_UNKNOWN, CAN_PROGRAM_KLIPPER, CAN_PROGRAM_KATAPULT };

const char *can_program_name(enum can_program program); /* "unknown", "Klipper", "Katapult" */

struct can_node_info {
    uint8_t uuid[KLIPPER_UUID];
    char text[KLIPPER_UUID_TEXT]; /* the same, as it is written */
    enum can_program program;
    uint8_t tag; /* as it told; an unknown program's */
    /* Once it was asked: */
    bool asked;
    char mcu[32], version[96];
    uint32_t start; /* Katapult: where programs begin */
};

struct can_nodes {
    struct can_node_info list[CAN_NODES_MAX]; /* in the order of their UUIDs */
    size_t count;
    /* What was heard meanwhile of nodes that have an id, and of their hosts. */
    unsigned others;
};

/*
 * One query, and the answers: until none has come for a while, half a second at most. No answer is
 * no error: see can_nodes_explain(). Errors are those of the bus.
 */
int can_nodes_query(struct can *can, struct can_nodes *nodes, struct error *err);

/*
 * Asks one node, with or without an id, who it is: Katapult by CONNECT, else Klipper by its
 * dictionary. It gets an id for that, and loses it afterwards: a Klipper host that has it in use
 * loses it too. ERR_NO_ANSWER: nobody of that UUID; the hint says what the bus tells.
 */
int can_nodes_ask(struct can *can, const uint8_t *uuid, struct can_node_info *node,
                  struct error *err);

/* Asks every Katapult node of the list for chip and version, which disturbs nobody. A node that
 * does not answer stays as it was. */
int can_nodes_ask_katapult(struct can *can, struct can_nodes *nodes, struct error *err);

/* Why a list is empty, or not what the user expects, in sentences for him: a bus with errors, a
 * silent one, nodes that have an id. "" if there is nothing to say. `status` may be NULL. */
void can_nodes_explain(const struct can_nodes *nodes, const struct can *can,
                       const struct can_status *status, char *text, size_t size);

/* Up to three UUIDs of the list that are near to what the user typed ("a, b or c"), or "". */
void can_nodes_nearest(const struct can_nodes *nodes, const char *wanted, char *out, size_t size);

#endif
