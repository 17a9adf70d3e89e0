/* Skip what is there: see diff.h. */
#include "diff.h"

#include <stdlib.h>
#include <string.h>

/* The sectors of one memory, in all its regions, that the image has a byte in, in rising order.
 * What shares a sector is erased together, so it is also written together. */
struct sectors {
    const struct regions *regions;
    enum memory memory;
    struct span *spans;
    bool *equal; /* the chip has the image's bytes there */
    size_t count;
};

static void free_sectors(struct sectors *sectors)
{
    free(sectors->spans);
    free(sectors->equal);
}

static const struct region *region_at(const struct sectors *sectors, uint64_t address)
{
    return regions_at(sectors->regions, sectors->memory, address);
}

static int list_sectors(const struct plan *plan, enum memory memory, struct sectors *sectors,
                        struct error *err)
{
    struct span *ranges;
    size_t count, most = 0;
    *sectors = (struct sectors){.regions = &plan->regions, .memory = memory};
    if (plan_sectors(plan->image, &plan->regions, memory, false, &ranges, &count)) {
        free(ranges);
        return error_memory(err);
    }
    for (size_t i = 0; i < count; i++)
        most += (size_t)(ranges[i].size / region_at(sectors, ranges[i].start)->sector);
    sectors->spans = calloc(most ? most : 1, sizeof *sectors->spans);
    sectors->equal = calloc(most ? most : 1, sizeof *sectors->equal);
    bool enough = sectors->spans && sectors->equal;
    for (size_t i = 0; enough && i < count; i++)
        for (uint64_t at = ranges[i].start; at < ranges[i].start + ranges[i].size;) {
            const struct span sector = region_sector(region_at(sectors, at), at);
            sectors->spans[sectors->count++] = sector;
            at = sector.start + sector.size;
        }
    free(ranges);
    if (enough)
        return OK;
    free_sectors(sectors);
    return error_memory(err);
}

/* ---- comparing ---- */

/* The part of a segment that lies in [low, high); false if none does. */
static bool clip(const struct segment *segment, uint64_t low, uint64_t high, struct span *part)
{
    uint64_t end = segment->address + segment->length;
    part->start = segment->address > low ? segment->address : low;
    end = end < high ? end : high;
    part->size = end > part->start ? end - part->start : 0;
    return part->size > 0;
}

static const uint8_t *bytes_at(const struct segment *segment, uint64_t address)
{
    return segment->data + (address - segment->address);
}

/* What was found of one segment against the image; a sector that differs anywhere is not equal. */
static void compare(struct sectors *sectors, size_t first, size_t end,
                    const struct segment *segment, struct span found, const uint8_t *bytes)
{
    struct span part;
    for (size_t i = first; i < end; i++) {
        const struct span *sector = &sectors->spans[i];
        if (clip(segment, sector->start, sector->start + sector->size, &part) &&
            memcmp(bytes_at(segment, part.start), bytes + (part.start - found.start),
                   (size_t)part.size) != 0)
            sectors->equal[i] = false;
    }
}

/* Reads what the image has in sectors [first, end). */
static int read_sectors(struct session *session, const struct image *image, struct sectors *sectors,
                        size_t first, size_t end, struct error *err)
{
    const struct span *last = &sectors->spans[end - 1];
    struct span part;
    int status = OK;
    for (size_t i = first; i < end; i++)
        sectors->equal[i] = true;
    for (size_t i = 0; i < image->count && !status; i++) {
        const struct segment *segment = &image->segments[i];
        if (segment->memory != sectors->memory ||
            !clip(segment, sectors->spans[first].start, last->start + last->size, &part))
            continue;
        uint8_t *found = malloc((size_t)part.size);
        if (!found)
            return error_memory(err);
        status = session->method->read(session, segment->memory, part.start, found,
                                       (size_t)part.size, err);
        if (!status)
            compare(sectors, first, end, segment, part, found);
        free(found);
    }
    return status;
}

static bool is_read(const struct session *session, const struct plan *plan,
                    const struct span *sector)
{
    const struct method *method = session->method;
    return plan->diff == DIFF_YES || (method->cheap_read && method->cheap_read(session, sector));
}

/* Sectors that are not to be read stay unequal. */
static int compare_by_reading(struct session *session, const struct plan *plan,
                              struct sectors *sectors, struct error *err)
{
    int status = OK;
    for (size_t end, first = 0; first < sectors->count && !status; first = end) {
        bool reads = is_read(session, plan, &sectors->spans[first]);
        for (end = first + 1;
             end < sectors->count && is_read(session, plan, &sectors->spans[end]) == reads; end++)
            ;
        if (reads)
            status = read_sectors(session, plan->image, sectors, first, end, err);
    }
    return status;
}

static int compare_sectors(struct session *session, const struct plan *plan,
                           struct sectors *sectors, struct error *err)
{
    const struct job job = {.image = plan->image,
                            .region = regions_first(sectors->regions, sectors->memory)};
    int status = ERR_NOT_POSSIBLE;
    if (session->method->equal && sectors->memory == MEM_FLASH)
        status = session->method->equal(session, &job, sectors->spans, sectors->count,
                                        sectors->equal, err);
    if (status != ERR_NOT_POSSIBLE)
        return status;
    error_clear(err);
    return compare_by_reading(session, plan, sectors, err);
}

/* ---- choosing ---- */

static bool erases_whole(const struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        if (plan->steps[i].kind == STEP_ERASE && plan->steps[i].whole_chip)
            return true;
    return false;
}

/* Of the flash more may have to be written than differs. After a whole erase that is all of it;
 * where pages have an order, all before the last difference; else the first sector, with its
 * vectors: it goes last, so that a half-written board stays in its bootloader. */
static void spread(const struct plan *plan, struct sectors *sectors)
{
    size_t last = sectors->count;
    while (last > 0 && sectors->equal[last - 1])
        last--;
    if (last == 0)
        return;
    size_t taken = erases_whole(plan) ? sectors->count : plan->method->in_order ? last : 1;
    for (size_t i = 0; i < taken; i++)
        sectors->equal[i] = false;
}

static int select_sectors(const struct image *image, const struct sectors *sectors,
                          struct diff *diff, struct error *err)
{
    struct span part;
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *segment = &image->segments[i];
        for (size_t n = 0; n < sectors->count; n++) {
            const struct span *sector = &sectors->spans[n];
            if (segment->memory != sectors->memory ||
                !clip(segment, sector->start, sector->start + sector->size, &part))
                continue;
            if (sectors->equal[n])
                diff->skipped += (size_t)part.size;
            else if (image_add(&diff->different, segment->memory, part.start,
                               bytes_at(segment, part.start), (size_t)part.size, err))
                return error_status(err);
        }
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

static int find_in_memory(struct session *session, const struct plan *plan, enum memory memory,
                          struct diff *diff, struct error *err)
{
    struct sectors sectors;
    if (list_sectors(plan, memory, &sectors, err))
        return error_status(err);
    int status = compare_sectors(session, plan, &sectors, err);
    if (!status && memory == MEM_FLASH)
        spread(plan, &sectors);
    if (!status)
        status = select_sectors(plan->image, &sectors, diff, err);
    free_sectors(&sectors);
    return status;
}

/* Whether this very device makes checksums is known once it is connected. */
static bool tells(struct session *session)
{
    struct error ignored;
    const struct method *method = session->method;
    return method->equal && method->equal(session, NULL, NULL, 0, NULL, &ignored) == OK;
}

/* Is there a sector that is read sooner than it is erased and written? */
static bool reads_some(struct session *session, const struct plan *plan)
{
    struct sectors sectors;
    struct error ignored;
    bool some = false;
    if (!session->method->cheap_read || list_sectors(plan, MEM_FLASH, &sectors, &ignored))
        return false;
    for (size_t i = 0; i < sectors.count && !some; i++)
        some = session->method->cheap_read(session, &sectors.spans[i]);
    free_sectors(&sectors);
    return some;
}

bool diff_wanted(struct session *session, const struct plan *plan)
{
    if (!plan->image || plan->diff == DIFF_NO)
        return false;
    return plan->diff == DIFF_YES || tells(session) || reads_some(session, plan);
}

int diff_find(struct session *session, const struct plan *plan, struct diff *diff,
              struct error *err)
{
    const char *refusal = method_refusal(plan->method, OP_READ);
    if (refusal && plan->diff == DIFF_YES && !plan->method->equal)
        return error_set(err, ERR_NOT_POSSIBLE, "--diff yes: not possible over %s, because %s",
                         plan->method->name, refusal);
    int status = OK;
    for (enum memory memory = MEM_FLASH; memory <= MEM_EEPROM && !status; memory++)
        if (is_written(plan, memory))
            status = find_in_memory(session, plan, memory, diff, err);
    diff->active = !status;
    return status;
}

void diff_free(struct diff *diff)
{
    image_free(&diff->different);
}
