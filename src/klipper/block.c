/* See block.h. */
#include "klipper/block.h"

#include <string.h>

#include "base/bytes.h"
#include "klipper/crc16.h"

enum { NUMBER_TAG = 0x10, HEADER = 2, TRAILER = 3, VLQ_BYTES_MAX = 5 };

size_t klipper_block_put(uint8_t out[KLIPPER_BLOCK_MAX], uint8_t number, const uint8_t *content,
                         size_t length)
{
    size_t size = length + KLIPPER_BLOCK_MIN;
    out[0] = (uint8_t)size;
    out[1] = NUMBER_TAG | number % KLIPPER_NUMBERS;
    if (length)
        memcpy(out + HEADER, content, length);
    put_be16(out + size - TRAILER, klipper_crc16(out, size - TRAILER));
    out[size - 1] = KLIPPER_SYNC;
    return size;
}

static bool is_number(uint8_t byte)
{
    return (byte & ~(KLIPPER_NUMBERS - 1)) == NUMBER_TAG;
}

static bool is_block(const uint8_t *bytes, size_t size)
{
    return is_number(bytes[1]) && bytes[size - 1] == KLIPPER_SYNC &&
           get_be16(bytes + size - TRAILER) == klipper_crc16(bytes, size - TRAILER);
}

size_t klipper_block_get(const uint8_t *bytes, size_t length, struct klipper_block *block,
                         bool *found)
{
    *found = false;
    for (size_t at = 0; at < length; at++) {
        size_t size = bytes[at];
        if (size < KLIPPER_BLOCK_MIN || size > KLIPPER_BLOCK_MAX ||
            (length - at > 1 && !is_number(bytes[at + 1])))
            continue;
        if (size > length - at) /* it may still become one */
            return at;
        *found = is_block(bytes + at, size);
        if (!*found)
            continue;
        *block = (struct klipper_block){.number = bytes[at + 1] % KLIPPER_NUMBERS,
                                        .content = bytes + at + HEADER,
                                        .length = size - KLIPPER_BLOCK_MIN};
        return at + size;
    }
    return length;
}

/* True if the value, as a signed number, needs no more than `bits` + 1 groups' room: Klipper keeps
 * a quarter of each length's room for negative numbers. */
static bool fits(int32_t value, int bits)
{
    int64_t unit = (int64_t)1 << bits;
    return value >= -unit && value < 3 * unit;
}

uint8_t *klipper_vlq_put(uint8_t *out, uint32_t value)
{
    for (int bits = 26; bits >= 5; bits -= 7)
        if (!fits((int32_t)value, bits))
            *out++ = (uint8_t)(0x80u | (value >> (bits + 2) & 0x7fu));
    *out++ = value & 0x7f;
    return out;
}

bool klipper_vlq_get(const uint8_t **cursor, const uint8_t *end, uint32_t *value)
{
    const uint8_t *p = *cursor;
    if (p == end)
        return false;
    uint32_t v = *p & 0x7fu;
    if ((*p & 0x60) == 0x60)
        v |= ~UINT32_C(0x1f); /* a negative number */
    for (unsigned n = 1; *p++ & 0x80; n++) {
        if (p == end || n == VLQ_BYTES_MAX)
            return false;
        v = v << 7 | (*p & 0x7fu);
    }
    *cursor = p;
    *value = v;
    return true;
}
