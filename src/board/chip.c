/* Look-ups in the chip table: see chip.h. */
#include "board/chip.h"

#include <string.h>
#include <strings.h>

#include "board/chips.h"

const struct chip *chip_find(const char *name)
{
    for (size_t i = 0; i < chips_count; i++)
        if (strcasecmp(chips[i].name, name) == 0 || (chips[i].id && !strcasecmp(chips[i].id, name)))
            return &chips[i];
    return NULL;
}

const struct chip *chip_at(size_t n)
{
    return n < chips_count ? &chips[n] : NULL;
}

const struct region *chip_region(const struct chip *chip, enum memory memory)
{
    for (size_t i = 0; i < chip->region_count; i++)
        if (chip->regions[i].memory == memory)
            return &chip->regions[i];
    return NULL;
}

bool chip_has_vectors(const struct chip *chip)
{
    bool arm7 = chip->sam && strcmp(chip->sam->controller, "EFC") == 0;
    return chip->machine == MACHINE_ARM && !arm7;
}

const struct chip *chip_by_signature(const uint8_t signature[3], const struct chip *after)
{
    for (size_t i = after ? (size_t)(after - chips) + 1 : 0; i < chips_count; i++)
        if (chips[i].avr && memcmp(chips[i].avr->signature, signature, 3) == 0)
            return &chips[i];
    return NULL;
}

struct span region_sector(const struct region *region, uint64_t address)
{
    uint64_t start = region->start;
    for (size_t i = 0; i < region->run_count; i++) {
        const struct sector_run *run = &region->runs[i];
        uint64_t end = start + (uint64_t)run->count * run->size;
        if (address < end)
            return (struct span){start + (address - start) / run->size * run->size, run->size};
        start = end;
    }
    uint64_t offset = (address - region->start) / region->sector * region->sector;
    return (struct span){region->start + offset, region->sector};
}
