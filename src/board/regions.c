/* See regions.h. */
#include "board/regions.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { NOR_PAGE = 256 }; /* what one write of serial flash takes, bytes */

static const uint64_t space = UINT64_C(1) << 32; /* addresses of the chips have 32 bits */

struct regions regions_of(const struct chip *chip, const struct loader *loader)
{
    struct regions regions = {.count = 0};
    for (size_t i = 0; i < chip->region_count && regions.count < REGIONS_MAX; i++)
        regions.list[regions.count++] = chip->regions[i];
    for (size_t i = 0; loader && i < loader->region_count && regions.count < REGIONS_MAX; i++)
        regions.list[regions.count++] = loader->regions[i];
    return regions;
}

/* ---- making one ---- */

static bool wrong(char *why, size_t size, const char *what)
{
    (void)snprintf(why, size, "%s", what);
    return false;
}

/* Exactly three numbers. */
static bool take_numbers(const char *text, uint64_t numbers[3])
{
    static const char between[] = ", \t";
    size_t count = 0;
    for (text += strspn(text, between); *text; text += strspn(text, between)) {
        char number[32];
        size_t length = strcspn(text, between);
        (void)snprintf(number, sizeof number, "%.*s", (int)length, text);
        if (count == 3 || length >= sizeof number || !text_number(number, &numbers[count]))
            return false;
        count++;
        text += length;
    }
    return count == 3;
}

bool region_parse(struct region *region, const char *name, const char *text, char *why, size_t size)
{
    uint64_t numbers[3];
    if (!name[0])
        return wrong(why, size, "the region has no name");
    if (!take_numbers(text, numbers))
        return wrong(why, size, "START SIZE SECTOR is wanted (decimal, 0x…, with K or M)");
    const uint64_t start = numbers[0], bytes = numbers[1], sector = numbers[2];
    if (!bytes || !sector)
        return wrong(why, size, "neither its size nor its sector can be 0");
    if (start >= space || bytes > space - start)
        return wrong(why, size, "it reaches beyond addresses of 32 bits");
    /* Sectors of 264 bytes and the like are counted from the start, wherever that is. */
    bool odd = (sector & (sector - 1)) == 0 && start % sector != 0;
    if (sector > bytes || odd || bytes % sector)
        return wrong(why, size, "start and size must be multiples of the sector");
    *region = (struct region){
        .name = name,
        .memory = MEM_FLASH,
        .start = start,
        .size = bytes,
        .sector = (uint32_t)sector,
        .page = sector % NOR_PAGE ? (uint32_t)sector : NOR_PAGE,
        .erased = 0xff,
    };
    return true;
}

static bool overlap(const struct region *a, const struct region *b)
{
    return a->memory == b->memory && a->start < b->start + b->size && b->start < a->start + a->size;
}

bool regions_add(struct regions *regions, const struct region *region, char *why, size_t size)
{
    if (regions->count == REGIONS_MAX)
        return wrong(why, size, "too many regions");
    for (size_t i = 0; i < regions->count; i++) {
        const struct region *other = &regions->list[i];
        bool same = strcmp(other->name, region->name) == 0;
        if (!same && !overlap(other, region))
            continue;
        (void)snprintf(why, size, "%s %s, 0x%" PRIx64 "..0x%" PRIx64,
                       same ? "there already is a region" : "it overlaps the region", other->name,
                       other->start, other->start + other->size - 1);
        return false;
    }
    regions->list[regions->count++] = *region;
    return true;
}

/* ---- looking ---- */

const struct region *regions_named(const struct regions *regions, const char *name)
{
    for (size_t i = 0; i < regions->count; i++)
        if (strcmp(regions->list[i].name, name) == 0)
            return &regions->list[i];
    return NULL;
}

const struct region *regions_first(const struct regions *regions, enum memory memory)
{
    for (size_t i = 0; i < regions->count; i++)
        if (regions->list[i].memory == memory)
            return &regions->list[i];
    return NULL;
}

const struct region *regions_at(const struct regions *regions, enum memory memory, uint64_t address)
{
    const struct region *below = NULL, *lowest = NULL;
    for (size_t i = 0; i < regions->count; i++) {
        const struct region *region = &regions->list[i];
        if (region->memory != memory)
            continue;
        if (region->start <= address && (!below || region->start > below->start))
            below = region;
        if (!lowest || region->start < lowest->start)
            lowest = region;
    }
    return below ? below : lowest;
}

uint64_t regions_limit(const struct regions *regions, const struct region *region)
{
    uint64_t limit = UINT64_MAX;
    for (size_t i = 0; i < regions->count; i++) {
        const struct region *other = &regions->list[i];
        if (other->memory == region->memory && other->start > region->start && other->start < limit)
            limit = other->start;
    }
    return limit;
}

const struct region *regions_home(const struct regions *regions, const struct loader *loader)
{
    if (loader->has_start)
        return regions_at(regions, MEM_FLASH, loader->start);
    return loader->start_count ? regions_at(regions, MEM_FLASH, loader->starts[0])
                               : regions_first(regions, MEM_FLASH);
}

/* The part of a segment that belongs to the region; its size is 0 if none does. */
static struct span part_of(const struct regions *regions, const struct region *region,
                           const struct segment *segment)
{
    const bool lowest = regions_at(regions, region->memory, 0) == region;
    const uint64_t from = lowest ? 0 : region->start, limit = regions_limit(regions, region);
    const uint64_t end = segment->address + segment->length;
    const uint64_t low = segment->address > from ? segment->address : from;
    const uint64_t high = end < limit ? end : limit;
    const bool any = segment->memory == region->memory && low < high;
    return (struct span){low, any ? high - low : 0};
}

bool regions_program(const struct regions *regions, const struct loader *loader,
                     const struct image *image, uint64_t *start, uint64_t *end)
{
    const struct region *home = regions_home(regions, loader);
    bool any = false;
    for (size_t i = 0; home && i < image->count; i++) {
        const struct span part = part_of(regions, home, &image->segments[i]);
        if (!part.size)
            continue;
        if (!any)
            *start = part.start;
        *end = part.start + part.size;
        any = true;
    }
    return any;
}

size_t regions_bytes(const struct regions *regions, const struct region *region,
                     const struct image *image)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < image->count; i++)
        bytes += part_of(regions, region, &image->segments[i]).size;
    return (size_t)bytes;
}

void regions_text(const struct regions *regions, enum memory memory, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < regions->count; i++) {
        const struct region *region = &regions->list[i];
        if (region->memory == memory)
            text_append(out, size, "%s%s 0x%" PRIx64 "..0x%" PRIx64, out[0] ? ", " : "",
                        region->name, region->start, region->start + region->size - 1);
    }
}
