/* See packet.h. */
#include "katapult/packet.h"

#include <string.h>

#include "base/bytes.h"
#include "klipper/crc16.h"

enum { STX1 = 0x01, STX2 = 0x88, TRAILER1 = 0x99, TRAILER2 = 0x03, HEADER = 4, TAIL = 4, SIGN = 2 };

size_t katapult_packet_put(uint8_t *out, uint8_t word, const uint8_t *payload, size_t length)
{
    const uint8_t header[HEADER] = {STX1, STX2, word, (uint8_t)(length / 4)};
    memcpy(out, header, HEADER);
    if (length)
        memcpy(out + HEADER, payload, length);
    uint8_t *tail = out + HEADER + length;
    put_le16(tail, klipper_crc16(out + SIGN, HEADER - SIGN + length));
    tail[2] = TRAILER1;
    tail[3] = TRAILER2;
    return length + KATAPULT_PACKET_EXTRA;
}

static bool is_packet(const uint8_t *bytes, size_t size)
{
    const uint8_t *tail = bytes + size - TAIL;
    return tail[2] == TRAILER1 && tail[3] == TRAILER2 &&
           get_le16(tail) == klipper_crc16(bytes + SIGN, size - TAIL - SIGN);
}

size_t katapult_packet_get(const uint8_t *bytes, size_t length, struct katapult_packet *packet,
                           bool *found, size_t *junk)
{
    *found = false;
    for (size_t at = 0; at < length; at++) {
        const uint8_t *p = bytes + at;
        size_t left = length - at;
        if (p[0] != STX1 || (left > 1 && p[1] != STX2))
            continue;
        size_t size = left >= HEADER ? KATAPULT_PACKET_EXTRA + 4u * p[3] : KATAPULT_PACKET_EXTRA;
        *junk = at;
        if (left < size) /* it may still become one */
            return at;
        *found = is_packet(p, size);
        if (!*found)
            continue;
        *packet = (struct katapult_packet){p[2], p + HEADER, size - KATAPULT_PACKET_EXTRA};
        return at + size;
    }
    *junk = length;
    return length;
}
