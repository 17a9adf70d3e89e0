/* Skip what is there: see diff.h. */
#include "diff.h"

#include <stdlib.h>
#include <string.h>

/* Adds the pages of one segment that differ; `all` adds it whole. */
static int add_pages(struct diff *diff, const struct segment *segment, const uint8_t *found,
                     uint32_t page, bool all, struct error *err)
{
    size_t at = 0;
    while (at < segment->length) {
        size_t length = page - (size_t)((segment->address + at) % page);
        if (length > segment->length - at)
            length = segment->length - at;
        if (all || memcmp(segment->data + at, found + at, length) != 0) {
            if (image_add(&diff->different, segment->memory, segment->address + at,
                          segment->data + at, length, err))
                return error_status(err);
        } else {
            diff->skipped += length;
        }
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

/* Within the last differing segment, the pages behind its last difference are an unchanged tail. */
static size_t used_length(const struct segment *segment, const uint8_t *found, uint32_t page)
{
    size_t length = segment->length;
    while (length && segment->data[length - 1] == found[length - 1])
        length--;
    uint64_t end = (segment->address + length + page - 1) / page * page;
    return end - segment->address < segment->length ? (size_t)(end - segment->address)
                                                    : segment->length;
}

static int select_pages(const struct plan *plan, struct diff *diff, uint8_t *const *found,
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
        struct segment head = *segment;
        bool all = flash && whole && last;
        if (flash && plan->method->in_order && !whole && i < last) {
            all = true;
            if (i + 1 == last)
                head.length = used_length(segment, found[i], region->page);
            diff->skipped += segment->length - head.length;
        }
        if (add_pages(diff, &head, found[i], region->page, all, err))
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
        status = select_pages(plan, diff, found, err);
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
