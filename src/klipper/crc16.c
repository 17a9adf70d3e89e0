/* See crc16.h. */
#include "klipper/crc16.h"

enum { POLYNOMIAL = 0x8408, INITIAL = 0xffff };

uint16_t klipper_crc16(const uint8_t *bytes, size_t length)
{
    unsigned crc = INITIAL;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc & 1u ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
    }
    return (uint16_t)crc;
}
