/* See chip_id.h. */
#include "chip_id.h"

#include <string.h>

#include "board/chip.h"

size_t vchip_id(uint8_t id[CHIP_ID_MAX], const struct chip *chip, unsigned node)
{
    static const uint8_t other[] = {0xe6, 0x60, 0xd4, 0xa0, 0xa7, 0x2c, 0x6f, 0x2a};
    if (!chip || !chip->stm32) {
        memcpy(id, other, sizeof other);
        id[sizeof other - 1] += (uint8_t)node;
        return sizeof other;
    }
    for (size_t i = 0; i < CHIP_ID_MAX; i++)
        id[i] = (uint8_t)(0x40 + 0x10 * node + i);
    id[CHIP_ID_MAX - 1] ^= (uint8_t)(node >> 4);
    return CHIP_ID_MAX;
}
