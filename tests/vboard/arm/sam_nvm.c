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

static uint32_t region_bit(const struct sam *sam, uint32_t address)
{
    return 1u << address / (sam->flash.size / sam->chip->sam->lock_regions);
}

uint16_t nvm_refusal(struct sam *sam, uint32_t address, uint32_t boot,
                     const struct nvm_errors *errors)
{
    if (address >= sam->flash.size)
        return errors->outside;
    if (address < boot || !(sam->nvm.locks & region_bit(sam, address)))
        return errors->locked;
    return sam_fails(sam) ? errors->failed : 0;
}

bool nvm_set_region(struct sam *sam, uint32_t address, bool unlock)
{
    if (address >= sam->flash.size)
        return false;
    uint32_t bit = region_bit(sam, address);
    sam->nvm.locks = unlock ? sam->nvm.locks | bit : sam->nvm.locks & ~bit;
    return true;
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
    sam->loader_touched |= memory == &sam->flash && at < sam->kind->start;
}

void nvm_erase(struct sam *sam, uint32_t at, size_t length)
{
    vmemory_erase(&sam->flash, at, length);
    sam->loader_touched |= at < sam->kind->start;
}
