/* Which sectors of which regions an image touches: see plan.h. */
#include <stdlib.h>

#include "plan.h"

/* The list of sectors while it grows. */
struct sectors {
    struct span **ranges;
    size_t *count;
    const struct region *region; /* of the last one */
};

/* Sectors of one region that hold [low, end). */
static int add_sectors(struct sectors *sectors, const struct region *region, uint64_t low,
                       uint64_t end, bool whole_extent)
{
    const struct span top = region_sector(region, end - 1);
    struct span *last = *sectors->count ? &(*sectors->ranges)[*sectors->count - 1] : NULL;
    low = region_sector(region, low).start;
    end = top.start + top.size;
    if (last && region == sectors->region && (whole_extent || low <= last->start + last->size)) {
        last->size = end - last->start;
        return OK;
    }
    struct span *grown = realloc(*sectors->ranges, (*sectors->count + 1) * sizeof *grown);
    if (!grown)
        return ERR_MEMORY;
    *sectors->ranges = grown;
    sectors->region = region;
    grown[(*sectors->count)++] = (struct span){low, end - low};
    return OK;
}

int plan_sectors(const struct image *image, const struct regions *regions, enum memory memory,
                 bool whole_extent, struct span **ranges, size_t *count)
{
    struct sectors sectors = {.ranges = ranges, .count = count};
    *ranges = NULL;
    *count = 0;
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *segment = &image->segments[i];
        const uint64_t end = segment->address + segment->length;
        if (segment->memory != memory || !regions_first(regions, memory))
            continue;
        for (uint64_t stop, at = segment->address; at < end; at = stop) {
            const struct region *region = regions_at(regions, memory, at);
            stop = regions_limit(regions, region);
            stop = stop < end ? stop : end;
            if (add_sectors(&sectors, region, at, stop, whole_extent))
                return ERR_MEMORY;
        }
    }
    return OK;
}
