/* What the two flash controllers of SAMD have in common: a page buffer in front of an array, lock
 * bits by region. See sam_chip.h. */
#include <string.h>

#include "base/bytes.h"
#include "models/flash.h"
#include "sam_chip.h"

const struct nvm_ops *nvm_of(const struct sam *sam)
{
    switch (sam->kind->controller) {
    case SAM_D2X:
        return &nvm_d2x;
    case SAM_D5X:
        return &nvm_d5x;
    default:
        return NULL;
    }
}

bool nvm_busy(const struct sam *sam)
{
    return sam_now(sam) < sam->nvm.until;
}

bool nvm_locked(const struct sam *sam, uint32_t address)
{
    uint64_t region = sam->flash.size / sam->chip->sam->lock_regions;
    return !(sam->nvm.locks >> (address - sam->flash_base) / region & 1);
}

void nvm_clear_buffer(struct sam *sam)
{
    memset(sam->nvm.buffer, 0xff, sizeof sam->nvm.buffer);
    sam->nvm.read_since_clear = false;
}

void nvm_put(struct sam *sam, uint32_t at, unsigned size, uint32_t value)
{
    if (size == 4)
        put_le32(sam->nvm.buffer + at, value);
    else
        put_le16(sam->nvm.buffer + at, (uint16_t)value);
}

void nvm_program(struct sam *sam, struct vmemory *memory, uint32_t at, size_t length)
{
    vmemory_program(memory, at, sam->nvm.buffer + at % sam->page, length);
}
