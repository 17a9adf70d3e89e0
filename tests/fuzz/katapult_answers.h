/* What a Katapult node would answer, for the fuzzing programs: a portion of the input becomes raw
 * bytes, a payload in a good packet, or the right answer with raw bytes behind it. */
#ifndef FUZZ_KATAPULT_ANSWERS_H
#define FUZZ_KATAPULT_ANSWERS_H

#include <string.h>

#include "base/bytes.h"
#include "katapult/packet.h"

enum { RAW, PACKET, RIGHT, KINDS, START = 0x08002000, IMAGE_BYTES = 3000, BLOCK = 64 };

static const uint8_t connected[] = {0x11, 0,   0,   0,   0,   1,   1,   0,   0,   0x20, 0,
                                    8,    64,  0,   0,   0,   's', 't', 'm', '3', '2',  'f',
                                    '1',  '0', '3', 'x', 'e', 0,   0,   0,   0,   0};

static const uint8_t node_uuid[6] = {0x87, 0xe8, 0x46, 0x57, 0xe6, 0x76};

/* As the node would answer: the command, the address, a block. */
static size_t right_answer(uint8_t *reply, const uint8_t *sent, size_t length)
{
    uint8_t payload[8 + BLOCK];
    size_t size = 4;
    if (length < 8)
        return 0;
    if (sent[2] == KAT_CONNECT)
        return katapult_packet_put(reply, KAT_ACK, connected, sizeof connected);
    memset(payload, '!', sizeof payload);
    put_le32(payload, sent[2]);
    put_le32(payload + 4, length >= 12 ? get_le32(sent + 4) : 1);
    if (sent[2] == KAT_GET_CANBUS_ID) {
        memcpy(payload + 4, node_uuid, sizeof node_uuid);
        return katapult_packet_put(reply, KAT_ACK, payload, 12);
    }
    if (sent[2] != KAT_COMPLETE)
        size = sent[2] == KAT_REQUEST_BLOCK ? sizeof payload : 8;
    return katapult_packet_put(reply, KAT_ACK, payload, size);
}

/* At most `max` bytes, which is more than a packet. */
static size_t make_answer(uint8_t *reply, size_t max, uint8_t kind, const uint8_t *portion,
                          size_t length, const uint8_t *sent, size_t sent_length)
{
    size_t size = 0;
    if (kind % KINDS == PACKET && length > 0) {
        size_t payload = length - 1 < KATAPULT_PAYLOAD_MAX ? length - 1 : KATAPULT_PAYLOAD_MAX;
        return katapult_packet_put(reply, portion[0], portion + 1, payload / 4 * 4);
    }
    if (kind % KINDS == RIGHT)
        size = right_answer(reply, sent, sent_length);
    length = length < max - size ? length : max - size;
    memcpy(reply + size, portion, length);
    return size + length;
}

#endif
