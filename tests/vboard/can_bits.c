/*
 * How long a classic frame is on the wire: ISO 11898-1, 10.4 (frame formats), 10.5 (bit stuffing:
 * behind five equal bits, from the start of frame to the end of the CRC sequence, comes one of the
 * other kind, which counts for the next five).
 */
#include "can_bus.h"

enum {
    CRC_POLYNOMIAL = 0x4599, /* of 15 bits */
    /* CRC delimiter, acknowledge slot and its delimiter, end of frame, intermission: not stuffed */
    TAIL_BITS = 1 + 2 + 7 + 3,
    STUFF_AFTER = 5,
};

struct wire_bits {
    unsigned count, equal; /* `equal`: how many of the same kind, this one counted */
    bool last;
    uint16_t crc;
};

static void put_bit(struct wire_bits *wire, bool bit)
{
    bool next = bit != ((wire->crc >> 14 & 1) != 0);
    wire->crc = (uint16_t)(wire->crc << 1 & 0x7fff);
    if (next)
        wire->crc ^= CRC_POLYNOMIAL;
    wire->equal = wire->count && bit == wire->last ? wire->equal + 1 : 1;
    wire->last = bit;
    wire->count++;
    if (wire->equal == STUFF_AFTER) {
        wire->last = !bit;
        wire->equal = 1;
        wire->count++;
    }
}

static void put_bits(struct wire_bits *wire, uint32_t value, unsigned bits)
{
    while (bits-- > 0)
        put_bit(wire, (value >> bits & 1) != 0);
}

static void put_identifier(struct wire_bits *wire, canid_t id)
{
    bool remote = (id & CAN_RTR_FLAG) != 0;
    if (id & CAN_EFF_FLAG) {
        put_bits(wire, (id & CAN_EFF_MASK) >> 18, 11);
        put_bits(wire, 3, 2); /* SRR, IDE: recessive */
        put_bits(wire, id & 0x3ffff, 18);
        put_bit(wire, remote);
        put_bits(wire, 0, 2); /* r1, r0 */
    } else {
        put_bits(wire, id & CAN_SFF_MASK, 11);
        put_bit(wire, remote);
        put_bits(wire, 0, 2); /* IDE, r0 */
    }
}

unsigned can_frame_bits(const struct can_frame *frame)
{
    struct wire_bits wire = {0};
    unsigned length = frame->len < CAN_MAX_DLEN ? frame->len : CAN_MAX_DLEN;
    put_bit(&wire, false); /* start of frame */
    put_identifier(&wire, frame->can_id);
    put_bits(&wire, length, 4);
    for (unsigned i = 0; i < length && !(frame->can_id & CAN_RTR_FLAG); i++)
        put_bits(&wire, frame->data[i], 8);
    put_bits(&wire, wire.crc, 15);
    return wire.count + TAIL_BITS;
}
