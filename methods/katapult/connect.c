/* Who is there: CONNECT, what it tells, and whether that is the board. See node.h. */
#include "katapult/node.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"

enum { PROTOCOL_AT = 4, START_AT = 8, BLOCK_AT = 12, STRINGS_AT = 16 };

/* Copies a text that ends with a NUL or with the bytes; only printable ASCII reaches a terminal.
 * Returns what is behind it. */
static const uint8_t *copy_text(char *out, size_t size, const uint8_t *p, const uint8_t *end)
{
    size_t n = 0;
    for (; p < end && *p; p++)
        if (n + 1 < size)
            out[n++] = *p >= ' ' && *p <= '~' ? (char)*p : '?';
    out[n] = '\0';
    return p;
}

/* Between the two texts are four to seven NULs; a build outside git has no second one. */
static void keep_identity(struct katapult_node *node, const struct katapult_packet *reply)
{
    const uint8_t *end = reply->payload + reply->length;
    node->protocol = get_le32(reply->payload + PROTOCOL_AT);
    node->start = get_le32(reply->payload + START_AT);
    node->block = get_le32(reply->payload + BLOCK_AT);
    const uint8_t *p = copy_text(node->mcu, sizeof node->mcu, reply->payload + STRINGS_AT, end);
    while (p < end && !*p)
        p++;
    (void)copy_text(node->version, sizeof node->version, p, end);
}

static int understand(struct katapult_node *node, const struct katapult_packet *reply,
                      struct error *err)
{
    if (reply->length <= STRINGS_AT)
        return error_set(err, ERR_PROTOCOL, "its answer to CONNECT has only %zu bytes",
                         reply->length);
    /* Nothing is kept before all of it has been looked at: a node that lies later, when it is
     * greeted again, must not change what the bounds of a block are. */
    uint32_t protocol = get_le32(reply->payload + PROTOCOL_AT);
    uint32_t block = get_le32(reply->payload + BLOCK_AT);
    if (protocol >> 16 != 1)
        return error_set(err, ERR_PROTOCOL,
                         "it speaks protocol %" PRIu32 ".%" PRIu32 ", which is not known",
                         protocol >> 16, protocol >> 8 & 0xff);
    if (block < 64 || block > KATAPULT_BLOCK_LONGEST || (block & (block - 1)))
        return error_set(err, ERR_PROTOCOL, "it states blocks of %" PRIu32 " bytes", block);
    keep_identity(node, reply);
    return OK;
}

static int greet_once(struct katapult_node *node, bool twice, struct error *err)
{
    struct katapult_packet reply;
    int rc = katapult_node_send(node, KAT_CONNECT, NULL, 0, err);
    if (rc == OK && twice)
        rc = katapult_node_send(node, KAT_CONNECT, NULL, 0, err);
    if (rc == OK)
        rc = katapult_node_await(node, KAT_CONNECT, NULL, &reply,
                                 clock_in(node->transport->clock, KATAPULT_CONNECT_US), err);
    return rc == OK ? understand(node, &reply, err) : rc;
}

int katapult_node_greet(struct katapult_node *node, unsigned tries, struct error *err)
{
    int rc = ERR_NO_ANSWER;
    bool twice = node->transport->twice;
    node->transport->twice = false;
    struct clock *clock = node->transport->clock;
    /* A line that takes no bytes makes each try take seconds. */
    uint64_t deadline = clock_in(clock, SECOND + 2ull * tries * KATAPULT_CONNECT_US);
    for (unsigned i = 0; i < tries && (rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL); i++) {
        if (i > 0 && clock_now(clock) >= deadline)
            return rc;
        if (session_stopped(node->session))
            return session_interrupted(err);
        rc = greet_once(node, twice && i == 0, err);
    }
    return rc;
}

/* ---- is it the board? ---- */

static int check_mcu(struct katapult_node *node, struct error *err)
{
    const struct session *session = node->session;
    const char *wanted = session->mcu ? session->mcu : session->chip->name;
    if (strcasecmp(node->mcu, wanted) == 0)
        return OK;
    if (session->force_signature) {
        session_note(node->session, "the device is a %s, not the board's %s: forced", node->mcu,
                     wanted);
        return OK;
    }
    error_refuse(err, "signature", "the device is a %s, but the board has a %s", node->mcu, wanted);
    return error_hint(err, "name the right board with --board, or the right device with --device; "
                           "`--force signature` goes on regardless");
}

static int check_start(struct katapult_node *node, struct error *err)
{
    const struct session *session = node->session;
    if (!session->loader || !session->loader->has_start || session->loader->start == node->start)
        return OK;
    unsigned long long wanted = session->loader->start;
    if (session->force_start) {
        session_note(node->session,
                     "this Katapult starts programs at 0x%08" PRIx32 ", not at 0x%08llx: forced",
                     node->start, wanted);
        return OK;
    }
    error_refuse(err, "start",
                 "this Katapult starts programs at 0x%08" PRIx32
                 ", but the board's entry says 0x%08llx",
                 node->start, wanted);
    return error_hint(err,
                      "build the program for 0x%08" PRIx32
                      " and give the board an entry with that `start` in a boards file",
                      node->start);
}

int katapult_node_check(struct katapult_node *node, struct error *err)
{
    int rc = check_mcu(node, err);
    return rc == OK ? check_start(node, err) : rc;
}

int katapult_node_info(struct session *session, struct device_info *info, struct error *err)
{
    (void)err;
    const struct katapult_node *node = session->state;
    device_info_add(info, "bootloader", "Katapult %s", node->version[0] ? node->version : "?");
    device_info_add(info, "protocol", "%" PRIu32 ".%" PRIu32 ".%" PRIu32, node->protocol >> 16,
                    node->protocol >> 8 & 0xff, node->protocol & 0xff);
    device_info_add(info, "chip", "%s", node->mcu);
    device_info_add(info, "program start", "0x%08" PRIx32, node->start);
    device_info_add(info, "block", "%" PRIu32 " bytes", node->block);
    return OK;
}
