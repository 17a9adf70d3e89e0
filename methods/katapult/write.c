/*
 * Writing blocks, several under way where the link allows it. On an STM32 each acknowledgement is a
 * verified write; RP2040 and LPC176x only collect, and write the last page at SEND_EOF. See node.h.
 */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "katapult/blocks.h"

struct writing {
    struct katapult_node *node;
    const struct job *job; /* NULL: only blank blocks */
    struct katapult_blocks blocks;
    size_t sent, done; /* blocks */
    size_t told;       /* of `done`, as progress goes */
    size_t window;     /* blocks that may be under way */
    unsigned troubles; /* since the last block that was acknowledged for the first time */
    bool collects;     /* any block may have to wait for an erase */
};

static const struct katapult_block *block_at(const struct writing *w, size_t n)
{
    return &w->blocks.list[n];
}

static int send_block(struct writing *w, struct error *err)
{
    const struct katapult_block *block = block_at(w, w->sent++);
    uint8_t payload[4 + KATAPULT_BLOCK_LONGEST];
    put_le32(payload, block->address);
    if (block->blank || !w->job)
        memset(payload + 4, 0xff, w->node->block);
    else
        (void)image_read(w->job->image, MEM_FLASH, block->address, payload + 4, w->node->block,
                         w->job->region->erased);
    return katapult_node_send(w->node, KAT_SEND_BLOCK, payload, 4 + w->node->block, err);
}

static bool may_send(const struct writing *w)
{
    size_t under_way = w->sent - w->done;
    if (w->sent == w->blocks.count || under_way >= w->window)
        return false;
    bool erases = under_way > 0 && block_at(w, w->sent - 1)->may_erase;
    return !(erases && w->node->transport->deaf_in_erase);
}

static int send_ahead(struct writing *w, struct error *err)
{
    int rc = OK;
    if (session_stopped(w->node->session)) /* what is under way is still answered */
        return w->sent == w->done ? session_interrupted(err) : OK;
    while (rc == OK && may_send(w))
        rc = send_block(w, err);
    return rc;
}

static uint64_t patience(const struct writing *w)
{
    bool erases = w->collects || block_at(w, w->done)->may_erase;
    return erases ? KATAPULT_ERASE_US : KATAPULT_WRITE_US;
}

static int await_block(struct writing *w, struct error *err)
{
    struct katapult_packet reply;
    uint32_t address = block_at(w, w->done)->address;
    int rc = katapult_node_await(w->node, KAT_SEND_BLOCK, &address, &reply,
                                 clock_in(w->node->transport->clock, patience(w)), err);
    if (rc != OK)
        return rc;
    if (w->done++ == w->told) {
        session_advance(w->node->session, block_at(w, w->told++)->payload);
        w->troubles = 0;
    }
    return OK;
}

/*
 * After a lost or damaged answer. A block alone under way can be sent again: an equal one is
 * acknowledged, and the first of a page finds that page erased. Where others followed it, its page
 * is begun anew, one block at a time from here on.
 */
static int again(struct writing *w, int rc, struct error *err)
{
    size_t under_way = w->sent - w->done;
    if (!katapult_node_doubtful(w->node, rc) || ++w->troubles > KATAPULT_RETRIES)
        return rc;
    rc = katapult_node_revive(w->node, under_way ? under_way - 1 : 0, KATAPULT_ERASE_US, err);
    if (rc == OK && under_way > 1)
        w->done = katapult_blocks_rewind(&w->blocks, w->done);
    w->sent = w->done;
    w->window = 1;
    return rc;
}

/* Leaves nothing under way, so that the device is idle and whole whatever comes next. */
static void settle(struct writing *w)
{
    struct error ignored;
    struct katapult_packet reply;
    while (w->sent > w->done + 1 &&
           katapult_node_receive(w->node, &reply, clock_in(w->node->transport->clock, patience(w)),
                                 &ignored) == OK)
        w->done++;
}

static int failed(struct writing *w, int rc, const char *doing, struct error *err)
{
    uint32_t address = block_at(w, w->done)->address;
    if (rc == ERR_INTERRUPTED)
        return rc;
    error_context(err, "%s 0x%08" PRIx32, doing, address);
    if (w->node->refused)
        return error_hint(err, "run the same command again; if it is the same address each time, "
                               "the flash is write-protected, worn, or not as large as the board's "
                               "entry says");
    if (err && !err->hint[0])
        return error_hint(err, rc == ERR_GONE ? "check the cable, then run the same command again"
                                              : "run the same command again");
    return rc;
}

static int send_all(struct writing *w, const char *doing, struct error *err)
{
    w->window = w->node->transport->writes;
    w->collects = !w->node->session->chip->stm32;
    while (w->done < w->blocks.count) {
        int rc = send_ahead(w, err);
        if (rc == OK)
            rc = await_block(w, err);
        if (rc != OK && rc != ERR_INTERRUPTED)
            rc = again(w, rc, err);
        if (rc == OK)
            continue;
        rc = failed(w, rc, doing, err);
        if (w->node->refused)
            settle(w);
        return rc;
    }
    return OK;
}

static int end(struct katapult_node *node, struct error *err)
{
    struct katapult_packet reply;
    int rc = katapult_node_ask(node, KAT_SEND_EOF, NULL, &reply, KATAPULT_ERASE_US, err);
    return rc == OK ? OK : error_context(err, "writing the last page");
}

/* A program is started only after it has been written to the end. */
static int write_out(struct writing *w, const char *doing, int rc, struct error *err)
{
    w->node->broken = true;
    if (rc == OK)
        rc = send_all(w, doing, err);
    if (rc == OK)
        rc = end(w->node, err);
    katapult_blocks_free(&w->blocks);
    w->node->broken = rc != OK;
    return rc;
}

int katapult_node_write(struct session *session, const struct job *job, struct error *err)
{
    struct katapult_node *node = session->state;
    struct writing w = {.node = node, .job = job};
    if (job->region->memory != MEM_FLASH)
        return error_set(err, ERR_NOT_POSSIBLE, "%s has no %s", session->chip->name,
                         memory_name(job->region->memory));
    return write_out(&w, "writing", katapult_blocks_of_job(&w.blocks, node, job, err), err);
}

int katapult_node_erase(struct session *session, const struct span *ranges, size_t count,
                        struct error *err)
{
    struct katapult_node *node = session->state;
    struct writing w = {.node = node};
    return write_out(&w, "erasing", katapult_blocks_to_erase(&w.blocks, node, ranges, count, err),
                     err);
}
