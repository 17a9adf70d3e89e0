/*
 * A Katapult bootloader over any transport (Arksine/katapult, protocol.md, protocols 1.0 and 1.1).
 *
 * The one thing to know: its receiver never comes past a packet that begins right and is wrong
 * further on. After one lost byte it answers nothing any more, until it is reset. So a packet is
 * always sent whole, nothing is sent that is not a packet, and after a bad or missing reply the
 * device is asked CONNECT, which is one short packet, before anything is sent again: a device that
 * still answers has lost nothing of what it was sent.
 */
#ifndef MFLASH_KATAPULT_NODE_H
#define MFLASH_KATAPULT_NODE_H

#include "katapult/packet.h"
#include "method.h"

enum {
    KATAPULT_MCU_MAX = 32,
    KATAPULT_VERSION_MAX = 64,
    KATAPULT_BLOCK_LONGEST = 512,
    KATAPULT_ERASE_US = 5 * SECOND, /* 128 KiB on STM32H7: 4 s at worst */
    KATAPULT_WRITE_US = 1 * SECOND,
    KATAPULT_REPLY_US = 500 * MILLISECOND,
    KATAPULT_LEAVES_US = 110 * MILLISECOND, /* after COMPLETE: 100 ms, and its tick */
    KATAPULT_CONNECT_US = 100 * MILLISECOND,
    KATAPULT_RETRIES = 3,
};

/* One conversation. A transport's method makes it in connect: session->state points at it. */
struct katapult_node {
    struct session *session;
    struct katapult_transport *transport;
    uint8_t received[2 * KATAPULT_PACKET_LONGEST];
    size_t have, used; /* bytes received; those of the packet handed out last */
    size_t junk;       /* bytes that were no packet, since the last question */
    bool refused;      /* the last answer was COMMAND_ERROR */
    bool damaged;      /* the last answer was one, as far as its length goes, but unreadable */

    char mcu[KATAPULT_MCU_MAX], version[KATAPULT_VERSION_MAX]; /* printable */
    uint32_t protocol;                                         /* 0x010100 = 1.1.0 */
    uint32_t start, block; /* of the application; bytes in a block */
    bool broken;           /* a write failed: the application is not to be started */
};

/* ---- connect.c ---- */

/* Asks CONNECT up to `tries` times, 100 ms each. ERR_NO_ANSWER: nobody there. */
int katapult_node_greet(struct katapult_node *node, unsigned tries, struct error *err);

/* The gates: MCU ("signature") and application start ("start") against the board's. */
int katapult_node_check(struct katapult_node *node, struct error *err);

int katapult_node_info(struct session *session, struct device_info *info, struct error *err);

/* ---- node.c: questions and answers ---- */

int katapult_node_send(struct katapult_node *node, uint8_t word, const uint8_t *payload,
                       size_t length, struct error *err);

/* Next packet; its payload stays until the next call. ERR_NO_ANSWER: silence up to the deadline;
 * ERR_PROTOCOL: what came was a reply once, but is damaged. */
int katapult_node_receive(struct katapult_node *node, struct katapult_packet *packet,
                          uint64_t deadline, struct error *err);

/* Returns once `enough` bytes have come, or none comes any more. OK, or the link's error. */
int katapult_node_gather(struct katapult_node *node, size_t enough, uint64_t deadline,
                         struct error *err);

/*
 * The answer to `word` (and `address`, for blocks; else NULL): acknowledgements of anything else
 * are late or double and are skipped. Errors as of katapult_node_receive; ERR_PROTOCOL also for
 * NACK, BUSY and COMMAND_ERROR (the last one sets node->refused).
 */
int katapult_node_await(struct katapult_node *node, uint8_t word, const uint32_t *address,
                        struct katapult_packet *reply, uint64_t deadline, struct error *err);

/* True if a question that ended so may be asked again once the device has shown that it lives. */
bool katapult_node_doubtful(const struct katapult_node *node, int rc);

/* After such an end, with `waiting` more answers under way: lets them come, then asks CONNECT. OK:
 * the device lives, and has lost nothing. Else the device is stuck: says so, in place of err. */
int katapult_node_revive(struct katapult_node *node, size_t waiting, uint64_t patience,
                         struct error *err);

/* A question of one packet, asked again if the answer is damaged or missing. */
int katapult_node_ask(struct katapult_node *node, uint8_t word, const uint32_t *address,
                      struct katapult_packet *reply, uint64_t patience, struct error *err);

/* ---- write.c, read.c: the method's functions ---- */

int katapult_node_write(struct session *session, const struct job *job, struct error *err);
int katapult_node_erase(struct session *session, const struct span *ranges, size_t count,
                        struct error *err);
int katapult_node_read(struct session *session, enum memory memory, uint64_t address,
                       uint8_t *bytes, size_t length, struct error *err);
int katapult_node_run(struct session *session, struct error *err);

/* What none of the transports can do; for struct method. */
extern const struct refusal katapult_node_refusals[];

#endif
