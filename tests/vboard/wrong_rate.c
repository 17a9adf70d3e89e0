/* See wrong_rate.h. */
#include "wrong_rate.h"

enum { FRAME = 9000 }; /* start and data bits, in thousandths of a bit; then the line is high */

/* Level of the wire `bit_1000` thousandths of a bit after the start edge of one 8N1 byte. */
static bool level(uint8_t byte, uint64_t bit_1000)
{
    uint64_t bit = bit_1000 / 1000;
    if (bit == 0)
        return false;
    return bit > 8 || (byte >> (bit - 1) & 1);
}

size_t mishear(uint8_t byte, uint32_t from, uint32_t to, struct misheard heard[MISHEARD_MAX])
{
    uint64_t step = to ? (uint64_t)from * 1000 / to : 0; /* of the sender's bits, in thousandths */
    size_t count = 0;
    for (uint64_t start = 0; step && start < FRAME && count < MISHEARD_MAX;) {
        uint8_t value = 0;
        for (unsigned bit = 1; bit <= 8; bit++)
            value |= (uint8_t)(level(byte, start + step * bit + step / 2) << (bit - 1));
        uint64_t stop = start + step * 9 + step / 2;
        heard[count++] = (struct misheard){.value = value, .framing_error = !level(byte, stop)};
        start = stop;
        while (start < FRAME && !level(byte, start))
            start += step / 16 + 1;
        while (start < FRAME && level(byte, start))
            start += step / 16 + 1;
    }
    return count;
}
