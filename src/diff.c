/* Skip what is there: see diff.h. */
#include "diff.h"

#include <stdlib.h>
#include <string.h>

/* True if the image has a byte in that sector which the chip has not. What shares a sector is
 * erased together, so it is also written together. */
static bool sector_differs(const struct image *image, uint8_t *const *found, enum memory memory,
                           const struct span *sector)
{
    uint64_t end = sector->start + sector->size;
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *s = &image->segments[i];
        uint64_t low = s->address > sector->start ? s->address : sector->start;
        uint64_t high = s->address + s->length < end ? s->address + s->length : end;
        if (s->memory == memory && found[i] && low < high &&
            memcmp(s->data + (low - s->address), found[i] + (low - s->address),
                   (size_t)(high - low)) != 0)
            return true;
    }
    return false;
}

/* Adds the first `used` bytes of a segment, as far as their sectors differ; `all` adds them all. */
static int add_sectors(struct diff *diff, const struct image *image, size_t n,
                       uint8_t *const *found, const struct region *region, size_t used, bool all,
                       struct error *err)
{
    const struct segment *segment = &image->segments[n];
    for (size_t at = 0; at < used;) {
        uint64_t address = segment->address + at;
        const struct span sector = region_sector(region, address);
        uint64_t left = sector.start + sector.size - address;
        size_t length = left < used - at ? (size_t)left : used - at;
        if (!all && !sector_differs(image, found, segment->memory, &sector))
            diff->skipped += length;
        else if (image_add(&diff->different, segment->memory, address, segment->data + at, length,
                           err))
            return error_status(err);
        at += length;
    }
    return OK;
}

/* A memory that no step writes (fuse bytes of an ELF, EEPROM over some loaders) is left alone. */
static bool is_written(const struct plan *plan, enum memory memory)
{
    for (size_t i = 0; i < plan->count; i++)
        if (plan->steps[i].kind == STEP_WRITE && plan->steps[i].memory == memory)
            return true;
    return false;
}

static int compare_segment(struct engine *engine, const struct region *region,
                           const struct segment *segment, uint8_t **found, struct error *err)
{
    *found = malloc(segment->length);
    if (!*found)
        return error_memory(err);
    return engine_read(engine, region, segment->address, *found, segment->length, err);
}

static enum erase_style style_of(const struct plan *plan)
{
    return plan->method->style ? plan->method->style(plan->loader) : plan->method->erase_style;
}

/* The last segment of each memory that differs somewhere: where the order is bound, all before it
 * must be written too. */
static size_t last_difference(const struct image *image, uint8_t *const *found, enum memory memory)
{
    size_t last = 0;
    for (size_t i = 0; i < image->count; i++)
        if (image->segments[i].memory == memory && found[i] &&
            memcmp(image->segments[i].data, found[i], image->segments[i].length) != 0)
            last = i + 1;
    return last;
}

/* Within the last differing segment, the sectors behind its last difference are an unchanged tail.
 */
static size_t used_length(const struct segment *segment, const uint8_t *found,
                          const struct region *region)
{
    size_t length = segment->length;
    while (length && segment->data[length - 1] == found[length - 1])
        length--;
    if (length == 0)
        return 0;
    const struct span last = region_sector(region, segment->address + length - 1);
    uint64_t end = last.start + last.size - segment->address;
    return end < segment->length ? (size_t)end : segment->length;
}

static int select_sectors(const struct plan *plan, struct diff *diff, uint8_t *const *found,
                          struct error *err)
{
    const struct image *image = plan->image;
    bool whole = style_of(plan) == ERASE_WHOLE;
    size_t last = last_difference(image, found, MEM_FLASH);
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *segment = &image->segments[i];
        const struct region *region = chip_region(plan->chip, segment->memory);
        if (!found[i])
            continue;
        bool flash = segment->memory == MEM_FLASH;
        size_t used = segment->length;
        bool all = flash && whole && last;
        if (flash && plan->method->in_order && !whole && i < last) {
            all = true;
            if (i + 1 == last)
                used = used_length(segment, found[i], region);
            diff->skipped += segment->length - used;
        }
        if (add_sectors(diff, image, i, found, region, used, all, err))
            return error_status(err);
    }
    return OK;
}

int diff_find(struct engine *engine, const struct plan *plan, struct diff *diff, struct error *err)
{
    const struct image *image = plan->image;
    const char *refusal = method_refusal(plan->method, OP_READ);
    if (refusal)
        return error_set(err, ERR_NOT_POSSIBLE, "--diff yes: not possible over %s, because %s",
                         plan->method->name, refusal);
    uint8_t **found = calloc(image->count ? image->count : 1, sizeof *found);
    if (!found)
        return error_memory(err);
    int status = OK;
    for (size_t i = 0; i < image->count && !status; i++)
        if (is_written(plan, image->segments[i].memory))
            status = compare_segment(engine, chip_region(plan->chip, image->segments[i].memory),
                                     &image->segments[i], &found[i], err);
    if (!status)
        status = select_sectors(plan, diff, found, err);
    diff->active = !status;
    for (size_t i = 0; i < image->count; i++)
        free(found[i]);
    free(found);
    return status;
}

void diff_free(struct diff *diff)
{
    image_free(&diff->different);
}
