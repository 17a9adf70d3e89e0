/* Reading blocks, and starting the application. See node.h. */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "katapult/node.h"

enum { ANSWER_HEAD = 8 }; /* command and address before a block's bytes */

/* A run of whole blocks, several of them asked for ahead of their answers. */
struct reading {
    struct katapult_node *node;
    uint32_t start;
    size_t count, asked, answered; /* blocks */
    size_t ahead;                  /* bytes; see katapult_transport.reads_ahead */
    unsigned troubles;             /* since the last good block */
};

static uint32_t block_address(const struct reading *r, size_t n)
{
    return r->start + (uint32_t)n * r->node->block;
}

static size_t answer_size(const struct reading *r)
{
    return KATAPULT_PACKET_EXTRA + ANSWER_HEAD + r->node->block;
}

static int ask_next(struct reading *r, struct error *err)
{
    uint8_t payload[4];
    put_le32(payload, block_address(r, r->asked++));
    return katapult_node_send(r->node, KAT_REQUEST_BLOCK, payload, sizeof payload, err);
}

/* Asks for as many blocks as may be under way; waits, if need be, until enough of the block before
 * has come. */
static int ask_ahead(struct reading *r, struct error *err)
{
    uint64_t deadline = clock_in(r->node->transport->clock, KATAPULT_REPLY_US);
    int rc = OK;
    while (rc == OK && r->asked < r->count) {
        size_t under_way = (r->asked - r->answered) * answer_size(r);
        size_t come = r->node->have - r->node->used;
        if (under_way > r->ahead + answer_size(r) || (under_way && !r->ahead))
            break;
        if (under_way > r->ahead + come) {
            rc = katapult_node_gather(r->node, under_way - r->ahead, deadline, err);
            if (rc != OK || r->node->have - r->node->used < under_way - r->ahead)
                break;
        }
        rc = ask_next(r, err);
    }
    return rc;
}

static int next_block(struct reading *r, const uint8_t **bytes, struct error *err)
{
    struct katapult_packet reply;
    uint32_t address = block_address(r, r->answered);
    int rc = katapult_node_await(r->node, KAT_REQUEST_BLOCK, &address, &reply,
                                 clock_in(r->node->transport->clock, KATAPULT_REPLY_US), err);
    if (rc == OK && reply.length != ANSWER_HEAD + r->node->block)
        rc = error_set(err, ERR_PROTOCOL, "it sends %zu bytes for a block of %" PRIu32,
                       reply.length - ANSWER_HEAD, r->node->block);
    *bytes = reply.payload + ANSWER_HEAD;
    return rc;
}

/* A lost answer costs nothing but time: ask again, one at a time from here on. */
static int again(struct reading *r, int rc, struct error *err)
{
    if (!katapult_node_doubtful(r->node, rc) || ++r->troubles > KATAPULT_RETRIES)
        return rc;
    size_t waiting = r->asked - r->answered;
    rc = katapult_node_revive(r->node, waiting ? waiting - 1 : 0, KATAPULT_REPLY_US, err);
    r->asked = r->answered;
    r->ahead = 0;
    return rc;
}

/* The part of a block that was asked for. */
static void keep(const struct reading *r, const uint8_t *block, uint64_t address, uint8_t *bytes,
                 size_t length)
{
    uint64_t at = block_address(r, r->answered);
    uint64_t low = at > address ? at : address;
    uint64_t high = at + r->node->block;
    high = high < address + length ? high : address + length;
    memcpy(bytes + (low - address), block + (low - at), (size_t)(high - low));
    session_advance(r->node->session, (size_t)(high - low));
}

static int read_blocks(struct reading *r, uint64_t address, uint8_t *bytes, size_t length,
                       struct error *err)
{
    while (r->answered < r->count) {
        const uint8_t *block = NULL;
        if (session_stopped(r->node->session))
            return session_interrupted(err);
        int rc = ask_ahead(r, err);
        if (rc == OK)
            rc = next_block(r, &block, err);
        if (rc == OK) {
            keep(r, block, address, bytes, length);
            r->answered++;
            r->troubles = 0;
            continue;
        }
        rc = again(r, rc, err);
        if (rc != OK)
            return error_context(err, "reading flash at 0x%08" PRIx32,
                                 block_address(r, r->answered));
    }
    return OK;
}

int katapult_node_read(struct session *session, enum memory memory, uint64_t address,
                       uint8_t *bytes, size_t length, struct error *err)
{
    struct katapult_node *node = session->state;
    const struct region *flash = chip_region(session->chip, MEM_FLASH);
    if (memory != MEM_FLASH || !flash || address < flash->start ||
        length > flash->start + flash->size - address)
        return error_set(err, ERR_FAILED, "%zu bytes at 0x%08llx are no flash of %s", length,
                         (unsigned long long)address, session->chip->name);
    if (length == 0)
        return OK;
    uint64_t start = address - address % node->block;
    struct reading r = {.node = node,
                        .start = (uint32_t)start,
                        .count =
                            (size_t)((address + length - start + node->block - 1) / node->block),
                        .ahead = node->transport->reads_ahead};
    return read_blocks(&r, address, bytes, length, err);
}

/* ---- the application ---- */

/* COMPLETE starts whatever is there: from empty flash the chip hangs until its power goes. */
static int refuse_empty(struct katapult_node *node, struct error *err)
{
    struct katapult_packet reply;
    int rc =
        katapult_node_ask(node, KAT_REQUEST_BLOCK, &node->start, &reply, KATAPULT_REPLY_US, err);
    if (rc != OK)
        return rc;
    uint32_t first = reply.length >= ANSWER_HEAD + 4 ? get_le32(reply.payload + ANSWER_HEAD) : 0;
    if (first != 0 && first != UINT32_MAX)
        return OK;
    error_refuse(err, "blank", "there is no program at 0x%08" PRIx32, node->start);
    return error_hint(err, "flash one: started now, the chip would hang until its power goes");
}

static int complete(struct katapult_node *node, struct error *err)
{
    struct katapult_packet reply;
    for (unsigned tries = 1;; tries++) {
        int rc = katapult_node_send(node, KAT_COMPLETE, NULL, 0, err);
        if (rc == OK)
            rc = katapult_node_await(node, KAT_COMPLETE, NULL, &reply,
                                     clock_in(node->transport->clock, KATAPULT_REPLY_US), err);
        if (node->damaged)
            return OK; /* it has answered: it was heard */
        if (rc != ERR_NO_ANSWER || tries > KATAPULT_RETRIES)
            return rc;
        /* It starts the program 100 ms after its answer: who still answers did not hear. */
        rc = katapult_node_revive(node, 0, 0, err);
        if (rc != OK)
            return rc;
    }
}

int katapult_node_run(struct session *session, struct error *err)
{
    struct katapult_node *node = session->state;
    if (node->broken)
        return error_set(err, ERR_FAILED, "the program is not complete, and is not started");
    struct clock *clock = node->transport->clock;
    int rc = refuse_empty(node, err);
    if (rc == OK)
        rc = complete(node, err);
    /* Nothing tells that it has left, and until then it answers a host that it will soon leave. */
    if (rc == OK)
        clock->sleep_until(clock, clock_in(clock, KATAPULT_LEAVES_US));
    if (rc == OK || rc == ERR_REFUSED)
        return rc;
    return error_context(err, "starting the application");
}
