/*
 * Packets of Katapult (Arksine/katapult, protocol.md):
 *
 *     01 88 | command | words | payload of words*4 bytes | CRC, low byte first | 99 03
 *
 * and where they travel. CAN, USB-CDC and UART carry the same stream of bytes; what differs is how
 * much may be under way at once.
 */
#ifndef MFLASH_KATAPULT_PACKET_H
#define MFLASH_KATAPULT_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"

enum {
    KATAPULT_PACKET_EXTRA = 8, /* all but the payload */
    KATAPULT_PAYLOAD_MAX = 255 * 4,
    KATAPULT_PACKET_LONGEST = KATAPULT_PACKET_EXTRA + KATAPULT_PAYLOAD_MAX,
};

/* What a packet asks, or answers. */
enum katapult_word {
    KAT_CONNECT = 0x11,
    KAT_SEND_BLOCK = 0x12,
    KAT_SEND_EOF = 0x13,
    KAT_REQUEST_BLOCK = 0x14,
    KAT_COMPLETE = 0x15,
    KAT_GET_CANBUS_ID = 0x16,

    KAT_ACK = 0xa0,
    KAT_NACK = 0xf1, /* a broken packet: mostly the end of the conversation */
    KAT_COMMAND_ERROR = 0xf2,
    KAT_BUSY = 0xf3,
};

/* Writes a packet around `length` bytes (a multiple of 4, at most KATAPULT_PAYLOAD_MAX); returns
 * its size. `out` has room for length + KATAPULT_PACKET_EXTRA. */
size_t katapult_packet_put(uint8_t *out, uint8_t word, const uint8_t *payload, size_t length);

struct katapult_packet {
    uint8_t word;
    const uint8_t *payload;
    size_t length;
};

/*
 * Looks for a packet in what has been received. Returns how many bytes of the input are done with:
 * a packet and what was before it (`found`), or what can be no part of one. `junk`: how many of
 * them were no packet. 0 = more bytes are needed.
 */
size_t katapult_packet_get(const uint8_t *bytes, size_t length, struct katapult_packet *packet,
                           bool *found, size_t *junk);

/*
 * A way to a node: embedded in the transport's own struct.
 *
 * The device's receiver holds 192 bytes (128 over USB), and a byte that is lost in the middle of a
 * packet silences the device until it is reset. So the limits say what is known to be safe:
 */
struct katapult_transport {
    /* One whole packet, to the last byte. */
    int (*send)(struct katapult_transport *transport, const uint8_t *packet, size_t length,
                struct error *err);
    /* At least one byte, 0 once the deadline has passed, or a negative code. */
    ssize_t (*receive)(struct katapult_transport *transport, uint8_t *bytes, size_t max,
                       uint64_t deadline, struct error *err);
    struct clock *clock;
    const char *name; /* "/dev/ttyACM0", "can0:87e84657e676" */

    size_t writes; /* SEND_BLOCKs that may be unacknowledged */
    /* While it erases, an STM32 does not listen, and the link has no flow control: nothing follows
     * a block that may erase before that is acknowledged. */
    bool deaf_in_erase;
    /* The next REQUEST_BLOCK goes when this much of the replies is still to come: UART and CAN lose
     * a reply that does not fit behind the one being sent. */
    size_t reads_ahead;
    bool twice;      /* ST's usbfs sends nothing before two packets are there: CONNECT goes twice */
    uint64_t silent; /* a reply that has begun is over after so many microseconds without a byte */
};

#endif
