/* See can_node.h. */
#include "katapult/can_node.h"

#include <stdio.h>
#include <string.h>

enum {
    WRITES = 2, /* 152 of the 192 bytes of its receiver */
    /* 56 of a reply's 80 bytes have come when the next question goes: what is left of it and the
     * next reply fit into its buffer and mailboxes. */
    AHEAD = 24,
    SILENT_US = 40 * MILLISECOND, /* between two frames of one reply */

    LOOK_US = 20 * MILLISECOND, /* how long a bus is listened to */
    FULL = 16,                  /* frames in that time: a sixth of 500 kbit/s */
    STARVED_US = 600 * SECOND,  /* as long as a full bus is waited out */

    QUERY_US = 100 * MILLISECOND,
    STRANGERS = 3, /* ids tried where a stranger answers */
};

static struct can_node *node_of(struct katapult_transport *transport)
{
    return (struct can_node *)((char *)transport - offsetof(struct can_node, transport));
}

/* ---- listening ---- */

static int listen_to_node(struct can_node *c, struct error *err)
{
    /* Its own id, what others send to it, and what they send to all. */
    const uint16_t ids[] = {can_id_from(c->claim.node), can_id_to(c->claim.node), CAN_ADMIN};
    return can_listen(c->can, ids, sizeof ids / sizeof ids[0], err);
}

/* Another host is at work on this node, or on all. */
static bool is_robbed(const struct can_node *c, const struct can_frame *frame)
{
    if (frame->can_id == can_id_to(c->claim.node))
        return true;
    if (frame->can_id != CAN_ADMIN || frame->len == 0)
        return false;
    bool mine = frame->len > KLIPPER_UUID && memcmp(frame->data + 1, c->uuid, KLIPPER_UUID) == 0;
    bool my_id = frame->len == CAN_MAX_DLEN && frame->data[CAN_MAX_DLEN - 1] == c->claim.node;
    return frame->data[0] == CAN_ADMIN_CLEAR_KATAPULT ||
           (frame->data[0] == CAN_ADMIN_SET_KATAPULT && mine != my_id) ||
           (frame->data[0] == CAN_ADMIN_REQUEST_BOOTLOADER && mine);
}

static int report_robbed(const struct can_node *c, const struct can_frame *frame, struct error *err)
{
    if (frame->can_id == CAN_ADMIN && frame->data[0] == CAN_ADMIN_CLEAR_KATAPULT)
        error_set(err, ERR_BUSY,
                  "%s: another program took the ids of all nodes away (3F0 12, as flashtool does)",
                  c->name);
    else
        error_set(err, ERR_BUSY, "%s: another program talks to this node (%03X %02X)", c->name,
                  frame->can_id, frame->data[0]);
    return error_hint(err, "end the other program (Klipper, flashtool, another mflash), switch the "
                           "board off and on, and run the same command again");
}

/* 1: bytes of the node, now in c->rest; 0: a frame of somebody else. */
static int take(struct can_node *c, const struct can_frame *frame, struct error *err)
{
    if (is_robbed(c, frame))
        return report_robbed(c, frame, err);
    if (frame->can_id != can_id_from(c->claim.node))
        return 0;
    memcpy(c->rest, frame->data, frame->len);
    c->rest_length = frame->len;
    return frame->len > 0;
}

/* One frame with bytes of the node. 1, 0 at the deadline, or a negative code. */
static int next_bytes(struct can_node *c, uint64_t deadline, struct error *err)
{
    struct can_frame frame;
    for (;;) {
        int got = can_receive(c->can, &frame, deadline, err);
        if (got > 0)
            got = take(c, &frame, err);
        else if (got == 0)
            return 0;
        if (got != 0)
            return got;
    }
}

/* ---- a full bus ---- */

/* Counts frames of everybody for a moment; ends early with bytes of the node. 1: such bytes. */
static int look(struct can_node *c, unsigned *frames, struct error *err)
{
    struct can_frame frame;
    uint64_t end = clock_in(c->can->clock, LOOK_US);
    int got = 0;
    *frames = 0;
    while (got == 0 && (got = can_receive(c->can, &frame, end, err)) > 0) {
        ++*frames;
        got = take(c, &frame, err);
    }
    return got;
}

/* The deadline has passed. Silence counts only if the bus would have let the node speak. */
static int wait_for_turn(struct can_node *c, struct error *err)
{
    uint64_t end = clock_in(c->can->clock, STARVED_US);
    unsigned frames = FULL;
    int got = can_listen_all(c->can, err);
    while (got == OK && frames >= FULL && clock_now(c->can->clock) < end)
        got = look(c, &frames, err);
    int rc = listen_to_node(c, err);
    return rc != OK ? rc : got;
}

bool can_node_bus_is_full(struct can_node *c)
{
    struct error ignored;
    unsigned frames = 0;
    if (can_listen_all(c->can, &ignored) == OK)
        (void)look(c, &frames, &ignored);
    (void)listen_to_node(c, &ignored);
    return frames >= FULL;
}

/* ---- the transport ---- */

/* A packet that was begun is ended, however full the bus is. */
static int send_frame(struct can_node *c, const uint8_t *bytes, size_t length, struct error *err)
{
    const struct can_trouble *trouble = &c->can->trouble;
    uint64_t end = clock_in(c->can->clock, STARVED_US);
    int rc;
    do
        rc = can_send(c->can, can_id_to(c->claim.node), bytes, length, err);
    while (rc == ERR_NO_ANSWER && !trouble->no_acknowledge && !trouble->passive &&
           clock_now(c->can->clock) < end);
    return rc;
}

static int send(struct katapult_transport *transport, const uint8_t *packet, size_t length,
                struct error *err)
{
    struct can_node *c = node_of(transport);
    int rc = OK;
    for (size_t at = 0; rc == OK && at < length; at += CAN_MAX_DLEN) {
        size_t left = length - at;
        rc = send_frame(c, packet + at, left < CAN_MAX_DLEN ? left : CAN_MAX_DLEN, err);
    }
    return rc;
}

static ssize_t receive(struct katapult_transport *transport, uint8_t *bytes, size_t max,
                       uint64_t deadline, struct error *err)
{
    struct can_node *c = node_of(transport);
    int got = c->rest_length ? 1 : next_bytes(c, deadline, err);
    if (got == 0 && c->patient)
        got = wait_for_turn(c, err);
    if (got <= 0)
        return got;
    size_t n = c->rest_length < max ? c->rest_length : max;
    memcpy(bytes, c->rest, n);
    c->rest_length -= n;
    memmove(c->rest, c->rest + n, c->rest_length);
    return (ssize_t)n;
}

/* ---- finding a node ---- */

int can_node_open(struct can_node *c, struct can *can, const uint8_t *uuid, struct error *err)
{
    char text[KLIPPER_UUID_TEXT];
    can_uuid_text(uuid, text);
    (void)snprintf(c->name, sizeof c->name, "%s:%s", can->name, text);
    memcpy(c->uuid, uuid, KLIPPER_UUID);
    c->can = can;
    c->node.transport = &c->transport;
    c->transport = (struct katapult_transport){
        .send = send,
        .receive = receive,
        .clock = can->clock,
        .name = c->name,
        .writes = WRITES,
        .deaf_in_erase = true,
        .reads_ahead = AHEAD,
        .silent = SILENT_US,
    };
    int rc = can_claim(&c->claim, can->name, uuid, 0, err);
    if (rc == OK)
        rc = listen_to_node(c, err);
    if (rc != OK)
        can_claim_end(&c->claim);
    return rc;
}

static int give_id(struct can_node *c, struct error *err)
{
    return can_admin_set_node(c->can, CAN_ADMIN_SET_KATAPULT, c->uuid, c->claim.node, err);
}

int can_node_greet(struct can_node *c, struct error *err)
{
    int rc = give_id(c, err);
    return rc == OK ? katapult_node_greet(&c->node, 1, err) : rc;
}

static int take_other_id(struct can_node *c, unsigned skip, struct error *err)
{
    can_claim_end(&c->claim);
    int rc = can_claim(&c->claim, c->can->name, c->uuid, skip, err);
    if (rc == OK)
        rc = listen_to_node(c, err);
    return rc == OK ? can_node_greet(c, err) : rc;
}

int can_node_cross_check(struct can_node *c, bool *known, struct error *err)
{
    struct katapult_packet reply;
    int rc = OK;
    *known = true;
    for (unsigned skip = 1; rc == OK; skip++) {
        rc = katapult_node_ask(&c->node, KAT_GET_CANBUS_ID, NULL, &reply, KATAPULT_REPLY_US, err);
        if (rc != OK && c->node.refused) {
            *known = false;
            return OK;
        }
        if (rc != OK)
            break;
        if (reply.length >= 4 + KLIPPER_UUID &&
            memcmp(reply.payload + 4, c->uuid, KLIPPER_UUID) == 0)
            return OK;
        if (skip > STRANGERS)
            return error_set(err, ERR_PROTOCOL, "another node answers on its id, whatever the id");
        rc = take_other_id(c, skip, err);
    }
    return rc;
}

uint8_t can_node_who(struct can_node *c)
{
    const uint16_t answers = CAN_ADMIN_RESPONSE;
    struct can *can = c->can;
    struct error ignored;
    struct can_frame frame;
    if (can_listen(can, &answers, 1, &ignored) ||
        can_admin_release(can, CAN_ADMIN_SET_KATAPULT, c->claim.node, &ignored))
        return 0;
    can->clock->sleep_until(can->clock, clock_in(can->clock, CAN_ADMIN_US));
    if (can_admin_query(can, &ignored))
        return 0;
    uint64_t deadline = clock_in(can->clock, QUERY_US);
    while (can_receive(can, &frame, deadline, &ignored) > 0)
        if (frame.len > KLIPPER_UUID && memcmp(frame.data + 1, c->uuid, KLIPPER_UUID) == 0)
            return frame.len == CAN_MAX_DLEN ? frame.data[CAN_MAX_DLEN - 1] : CAN_TAG_KLIPPER;
    return 0;
}

void can_node_close(struct can_node *c)
{
    struct error ignored;
    if (!c->left && !c->can->trouble.bus_off)
        (void)can_admin_release(c->can, CAN_ADMIN_SET_KATAPULT, c->claim.node, &ignored);
    can_claim_end(&c->claim);
}
