/* See can_nodes.h. */
#include "can_nodes.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "katapult/can_node.h"

enum {
    FIRST_US = 250 * MILLISECOND, /* until the first answer: a node's longest task, a full bus */
    NEXT_US = 60 * MILLISECOND,   /* from one answer to the next */
    WHOLE_US = 500 * MILLISECOND,
    TALK = 8, /* frames of others that are more than a single late one */
};

const char *can_program_name(enum can_program program)
{
    static const char *const names[] = {"unknown", "Klipper", "Katapult"};
    return names[program];
}

/* ---- the query ---- */

static bool is_answer(const struct can_frame *frame)
{
    return frame->can_id == CAN_ADMIN_RESPONSE && frame->len > KLIPPER_UUID &&
           frame->data[0] == CAN_ADMIN_NODE;
}

/* Klipper of before 2022 tells no tag. */
static struct can_node_info node_of_answer(const struct can_frame *frame)
{
    struct can_node_info node = {.tag = frame->len == CAN_MAX_DLEN ? frame->data[CAN_MAX_DLEN - 1]
                                                                   : CAN_TAG_KLIPPER};
    memcpy(node.uuid, frame->data + 1, KLIPPER_UUID);
    can_uuid_text(node.uuid, node.text);
    node.program = node.tag == CAN_TAG_KLIPPER    ? CAN_PROGRAM_KLIPPER
                   : node.tag == CAN_TAG_KATAPULT ? CAN_PROGRAM_KATAPULT
                                                  : CAN_PROGRAM_UNKNOWN;
    return node;
}

/* Keeps the order; a node that answers twice is there once. */
static void add(struct can_nodes *nodes, const struct can_node_info *node)
{
    size_t at = 0;
    while (at < nodes->count && memcmp(nodes->list[at].uuid, node->uuid, KLIPPER_UUID) < 0)
        at++;
    if (at < nodes->count && memcmp(nodes->list[at].uuid, node->uuid, KLIPPER_UUID) == 0) {
        nodes->list[at] = *node;
        return;
    }
    if (nodes->count == CAN_NODES_MAX)
        return;
    memmove(nodes->list + at + 1, nodes->list + at, (nodes->count - at) * sizeof *node);
    nodes->list[at] = *node;
    nodes->count++;
}

static int collect(struct can *can, struct can_nodes *nodes, struct error *err)
{
    uint64_t end = clock_in(can->clock, WHOLE_US), quiet = clock_in(can->clock, FIRST_US);
    struct can_frame frame;
    for (;;) {
        int got = can_receive(can, &frame, quiet < end ? quiet : end, err);
        if (got <= 0)
            return got;
        if (is_answer(&frame)) {
            struct can_node_info node = node_of_answer(&frame);
            add(nodes, &node);
            quiet = clock_in(can->clock, NEXT_US);
        } else if (frame.can_id >= CAN_NODES && frame.can_id < CAN_NODES + 2 * 0x100) {
            nodes->others++;
        }
        if (clock_now(can->clock) >= end)
            return OK;
    }
}

int can_nodes_query(struct can *can, struct can_nodes *nodes, struct error *err)
{
    *nodes = (struct can_nodes){.count = 0};
    int rc = can_listen_all(can, err);
    if (rc == OK)
        rc = can_admin_query(can, err);
    if (rc == OK)
        rc = collect(can, nodes, err);
    return rc == OK ? OK : error_context(err, "asking %s for nodes", can->name);
}

/* ---- asking one ---- */

static void begin(struct can_node_info *node, const uint8_t *uuid)
{
    *node = (struct can_node_info){.program = CAN_PROGRAM_UNKNOWN};
    memcpy(node->uuid, uuid, KLIPPER_UUID);
    can_uuid_text(uuid, node->text);
}

static int ask_katapult(struct can *can, struct can_node_info *node, struct error *err)
{
    struct can_node c = {.can = can};
    struct session session = {.can = can, .clock = can->clock};
    c.node.session = &session;
    int rc = can_node_open(&c, can, node->uuid, err);
    if (rc != OK)
        return rc;
    rc = can_node_greet(&c, err);
    can_node_close(&c);
    if (rc != OK)
        return rc;
    node->asked = true;
    node->program = CAN_PROGRAM_KATAPULT;
    node->tag = CAN_TAG_KATAPULT;
    node->start = c.node.start;
    (void)snprintf(node->mcu, sizeof node->mcu, "%s", c.node.mcu);
    (void)snprintf(node->version, sizeof node->version, "%s", c.node.version);
    return OK;
}

static int ask_klipper(struct can *can, struct can_node_info *node, struct error *err)
{
    struct klipper_facts facts;
    int rc = can_klipper_identify(can, node->uuid, &facts, err);
    if (rc != OK)
        return rc;
    node->asked = true;
    node->program = CAN_PROGRAM_KLIPPER;
    node->tag = CAN_TAG_KLIPPER;
    (void)snprintf(node->mcu, sizeof node->mcu, "%s", facts.mcu);
    (void)snprintf(node->version, sizeof node->version, "%s", facts.version);
    return OK;
}

static bool nobody(int rc)
{
    return rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL;
}

int can_nodes_ask(struct can *can, const uint8_t *uuid, struct can_node_info *node,
                  struct error *err)
{
    begin(node, uuid);
    int rc = ask_katapult(can, node, err);
    if (nobody(rc))
        rc = ask_klipper(can, node, err);
    if (rc != ERR_NO_ANSWER)
        return rc;
    error_set(err, rc, "%s: nobody answers as %s", can->name, node->text);
    error_hint(err, "compare the UUID with the board's, and check its power, its wiring and the "
                    "bus's bit rate; a Katapult that is stuck needs its power switched off and on");
    can_explain_silence(can, err);
    return rc;
}

int can_nodes_ask_katapult(struct can *can, struct can_nodes *nodes, struct error *err)
{
    for (size_t i = 0; i < nodes->count; i++) {
        struct can_node_info *node = &nodes->list[i];
        int rc = node->program == CAN_PROGRAM_KATAPULT ? ask_katapult(can, node, err) : OK;
        if (rc != OK && !nobody(rc) && rc != ERR_BUSY)
            return rc;
    }
    error_clear(err);
    return OK;
}

/* ---- explaining ---- */

static bool has_errors(const struct can *can)
{
    const struct can_trouble *t = &can->trouble;
    return t->bus_off || t->passive || t->no_acknowledge;
}

static void explain_errors(const struct can *can, char *text, size_t size)
{
    if (can->trouble.no_acknowledge && !can->trouble.bus_off)
        text_append(text, size,
                    "Nobody on %s acknowledges a frame: no node is powered, the wires are not "
                    "connected, or the bit rate is another one.",
                    can->name);
    else
        text_append(text, size,
                    "%s has errors (%s): another bit rate, swapped or loose wires, or not exactly "
                    "two terminating resistors (60 ohms between the wires, power off).",
                    can->name, can->trouble.bus_off ? "bus-off" : "error-passive");
}

void can_nodes_explain(const struct can_nodes *nodes, const struct can *can,
                       const struct can_status *status, char *text, size_t size)
{
    char advice[512];
    text[0] = '\0';
    if (has_errors(can)) {
        explain_errors(can, text, size);
    } else if (nodes->others >= TALK) {
        text_append(text, size,
                    "Nodes that have an id are talking on %s: a Klipper host is at work. They do "
                    "not answer a query; ask for one by its UUID, or stop the host and switch "
                    "the boards off and on.",
                    can->name);
    } else if (nodes->count == 0) {
        text_append(text, size,
                    "No node without an id is on %s. A node that a host has given an id (Klipper "
                    "does when it starts) answers no query until it is reset: give its UUID, or "
                    "the printer.cfg that has it. A node that is in neither Klipper nor Katapult "
                    "is silent, too.",
                    can->name);
    }
    if (status && can_advice(status, advice, sizeof advice))
        text_append(text, size, "%s%s", text[0] ? " " : "", advice);
}

static const char *nth_uuid(const void *list, size_t n)
{
    const struct can_nodes *nodes = list;
    return n < nodes->count ? nodes->list[n].text : NULL;
}

void can_nodes_nearest(const struct can_nodes *nodes, const char *wanted, char *out, size_t size)
{
    text_nearest(out, size, wanted, nth_uuid, nodes);
}
