/* Questions and answers: see node.h. */
#include "katapult/node.h"

#include <string.h>

#include "base/bytes.h"

enum {
    REPLY_SHORTEST = KATAPULT_PACKET_EXTRA, /* NACK and the like */
    REVIVE_TRIES = 5,                       /* of CONNECT, which leaves no residue */
    BUSY_US = 500 * MILLISECOND,            /* no shipped loader says BUSY */
};

int katapult_node_send(struct katapult_node *node, uint8_t word, const uint8_t *payload,
                       size_t length, struct error *err)
{
    uint8_t packet[KATAPULT_PACKET_LONGEST];
    size_t size = katapult_packet_put(packet, word, payload, length);
    node->junk = 0;
    return node->transport->send(node->transport, packet, size, err);
}

static void drop(struct katapult_node *node, size_t count)
{
    node->have -= count;
    memmove(node->received, node->received + count, node->have);
}

/* Forgets the packet that was handed out, and what can be no part of the next one. */
static bool find(struct katapult_node *node, struct katapult_packet *packet)
{
    bool found;
    size_t junk = 0;
    drop(node, node->used);
    node->used = katapult_packet_get(node->received, node->have, packet, &found, &junk);
    node->junk += junk;
    if (found)
        return true;
    drop(node, node->used);
    node->used = 0;
    return false;
}

/* Some more bytes; 0: none until the deadline, or none follows what has begun to come. */
static ssize_t read_more(struct katapult_node *node, uint64_t deadline, struct error *err)
{
    struct katapult_transport *t = node->transport;
    uint64_t quiet = clock_in(t->clock, t->silent);
    bool begun = node->have > node->used || node->junk > 0;
    ssize_t got = t->receive(t, node->received + node->have, sizeof node->received - node->have,
                             begun && quiet < deadline ? quiet : deadline, err);
    if (got > 0)
        node->have += (size_t)got;
    return got;
}

/* Nothing follows. True if it was a reply, as far as its length goes: one byte of it may be lost.
 */
static bool was_reply(struct katapult_node *node)
{
    size_t came = node->have + node->junk;
    node->have = node->junk = 0;
    return came >= REPLY_SHORTEST - 1;
}

int katapult_node_receive(struct katapult_node *node, struct katapult_packet *packet,
                          uint64_t deadline, struct error *err)
{
    struct clock *clock = node->transport->clock;
    for (size_t late = 0; !find(node, packet);) {
        if (late > KATAPULT_PACKET_LONGEST) /* a device that never stops talking */
            return error_set(err, ERR_PROTOCOL, "it sends what is no answer");
        ssize_t got = read_more(node, deadline, err);
        if (got < 0)
            return (int)got;
        late += clock_now(clock) >= deadline ? (size_t)got : 0;
        node->damaged = got == 0 && was_reply(node);
        if (node->damaged)
            return error_set(err, ERR_PROTOCOL, "its answer is damaged");
        if (got == 0 && clock_now(clock) >= deadline)
            return error_set(err, ERR_NO_ANSWER, "it does not answer");
    }
    return OK;
}

int katapult_node_gather(struct katapult_node *node, size_t enough, uint64_t deadline,
                         struct error *err)
{
    while (node->have - node->used < enough) {
        ssize_t got = read_more(node, deadline, err);
        if (got <= 0)
            return (int)got;
    }
    return OK;
}

static int judge(struct katapult_node *node, uint8_t word, struct error *err)
{
    switch (word) {
    case KAT_NACK:
        return error_set(err, ERR_PROTOCOL, "the device answered NACK (f1): a byte was lost");
    case KAT_BUSY:
        node->transport->clock->sleep_until(node->transport->clock,
                                            clock_in(node->transport->clock, BUSY_US));
        return error_set(err, ERR_PROTOCOL, "the device answered BUSY (f3)");
    case KAT_COMMAND_ERROR:
        node->refused = true;
        return error_set(err, ERR_PROTOCOL, "the device answered COMMAND_ERROR (f2)");
    default:
        return OK;
    }
}

static bool acknowledges(const struct katapult_packet *reply, uint8_t word, const uint32_t *address)
{
    if (reply->word != KAT_ACK || reply->length < 4 || get_le32(reply->payload) != word)
        return false;
    return !address || (reply->length >= 8 && get_le32(reply->payload + 4) == *address);
}

int katapult_node_await(struct katapult_node *node, uint8_t word, const uint32_t *address,
                        struct katapult_packet *reply, uint64_t deadline, struct error *err)
{
    node->refused = node->damaged = false;
    for (;;) {
        int rc = katapult_node_receive(node, reply, deadline, err);
        if (rc == OK)
            rc = judge(node, reply->word, err);
        if (rc != OK || acknowledges(reply, word, address))
            return rc;
        if (clock_now(node->transport->clock) >= deadline)
            return error_set(err, ERR_PROTOCOL, "it answers something else");
    }
}

bool katapult_node_doubtful(const struct katapult_node *node, int rc)
{
    return (rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL) && !node->refused;
}

int katapult_node_revive(struct katapult_node *node, size_t waiting, uint64_t patience,
                         struct error *err)
{
    struct katapult_packet ignored;
    struct error cause = *err;
    int rc = OK;
    for (; waiting > 0 && rc != ERR_NO_ANSWER; waiting--) {
        rc = katapult_node_receive(node, &ignored, clock_in(node->transport->clock, patience), err);
        if (rc != OK && rc != ERR_NO_ANSWER && rc != ERR_PROTOCOL)
            return rc;
    }
    rc = katapult_node_greet(node, REVIVE_TRIES, err);
    if (rc != ERR_NO_ANSWER && rc != ERR_PROTOCOL)
        return rc;
    error_set(err, ERR_NO_ANSWER, "%s, and then it answers nothing any more", cause.message);
    return error_hint(err, "Katapult does not recover from a lost byte: press RESET twice within "
                           "half a second, or switch the board off and on; then run the same "
                           "command again");
}

int katapult_node_ask(struct katapult_node *node, uint8_t word, const uint32_t *address,
                      struct katapult_packet *reply, uint64_t patience, struct error *err)
{
    uint8_t payload[4];
    if (address)
        put_le32(payload, *address);
    for (unsigned tries = 1;; tries++) {
        int rc = katapult_node_send(node, word, payload, address ? sizeof payload : 0, err);
        if (rc == OK)
            rc = katapult_node_await(node, word, address, reply,
                                     clock_in(node->transport->clock, patience), err);
        if (!katapult_node_doubtful(node, rc) || tries > KATAPULT_RETRIES)
            return rc;
        rc = katapult_node_revive(node, 0, patience, err);
        if (rc != OK)
            return rc;
    }
}
