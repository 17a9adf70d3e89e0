/* See stm32_flash.h. Rules from RM0008, RM0091, RM0090, RM0444 and RM0433, chapter on the embedded
 * flash memory. */
#include "stm32_flash.h"

#include <string.h>

#include "models/flash.h"

enum { UNIT_MAX = 32 };

/* ---- pages ---- */

static struct sector_run run_of(const struct region *region, size_t n)
{
    if (region->runs)
        return region->runs[n];
    return (struct sector_run){(uint32_t)(region->size / region->sector), region->sector};
}

uint32_t vstm32_page_count(const struct region *region)
{
    uint32_t count = 0;
    for (size_t i = 0; i < (region->runs ? region->run_count : 1); i++)
        count += run_of(region, i).count;
    return count;
}

struct span vstm32_page(const struct region *region, uint32_t n)
{
    uint64_t start = 0;
    struct sector_run run = run_of(region, 0);
    for (size_t i = 0; n >= run.count; run = run_of(region, ++i)) {
        start += (uint64_t)run.count * run.size;
        n -= run.count;
    }
    return (struct span){start + (uint64_t)n * run.size, run.size};
}

static uint32_t page_at(const struct region *region, uint32_t offset)
{
    uint32_t n = 0;
    for (struct span page = vstm32_page(region, 0); offset >= page.start + page.size;)
        page = vstm32_page(region, ++n);
    return n;
}

/* ---- erase ---- */

uint64_t vstm32_erase_page(struct vstm32_flash *flash, uint32_t n)
{
    struct span page = vstm32_page(flash->region, n);
    if (vstm32_page_protected(flash->options, n))
        return 0;
    vmemory_erase(flash->memory, page.start, (size_t)page.size);
    return vstm32_erase_time(flash->family, (uint32_t)page.size);
}

/* A mass or bank erase does nothing at all while one of its pages is protected. */
uint64_t vstm32_erase_pages(struct vstm32_flash *flash, uint32_t first, uint32_t count)
{
    uint64_t time = 0, page_time = 0;
    for (uint32_t n = first; n < first + count; n++)
        if (vstm32_page_protected(flash->options, n))
            return 0;
    for (uint32_t n = first; n < first + count; n++) {
        page_time = vstm32_erase_page(flash, n);
        time += page_time;
    }
    return flash->family->mass_is_page ? page_time : time;
}

/* ---- program ---- */

static bool all(const uint8_t *bytes, size_t length, uint8_t value)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

static bool takes(const struct vstm32_flash *flash, uint32_t offset, const uint8_t *unit)
{
    size_t size = flash->family->unit;
    if (vstm32_page_protected(flash->options, page_at(flash->region, offset)))
        return false;
    switch (flash->family->rewrite) {
    case REWRITE_CLEARS_BITS:
        return true;
    case REWRITE_ONLY_TO_ZERO:
        return vmemory_blank(flash->memory, offset, offset + size) || all(unit, size, 0);
    default:
        return vmemory_blank(flash->memory, offset, offset + size);
    }
}

/* The loader completes the last unit with FF; a block that does not start on a unit is the
 * controller's alignment error. */
uint64_t vstm32_program(struct vstm32_flash *flash, uint32_t offset, const uint8_t *bytes,
                        size_t length)
{
    uint32_t size = flash->family->unit;
    uint64_t time = 0;
    if (offset % size)
        return 0;
    for (size_t done = 0; done < length; done += size, time += flash->family->program_us) {
        uint8_t unit[UNIT_MAX];
        size_t part = length - done < size ? length - done : size;
        memset(unit, 0xff, sizeof unit);
        memcpy(unit, bytes + done, part);
        if (takes(flash, offset + (uint32_t)done, unit))
            vmemory_program(flash->memory, offset + done, unit, size);
    }
    return time;
}
