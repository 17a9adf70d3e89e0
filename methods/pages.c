/*
 * Pages of a job: alignment, padding with the erased value and blank skipping, written once; and
 * the comparison for methods that can read. See method.h.
 */
#include "method.h"

#include <stdlib.h>
#include <string.h>

bool bytes_blank(const uint8_t *bytes, size_t length, uint8_t erased)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != erased)
            return false;
    return true;
}

static uint64_t page_start(const struct region *region, uint64_t address)
{
    return address - (address - region->start) % region->page;
}

/* The part of a segment that lies in [start, end) of the job's memory; length 0 if none. */
static struct span overlap(const struct segment *s, enum memory memory, uint64_t start,
                           uint64_t end)
{
    uint64_t low = s->address > start ? s->address : start;
    uint64_t high = s->address + s->length < end ? s->address + s->length : end;
    if (s->memory != memory || low >= high)
        return (struct span){0};
    return (struct span){low, high - low};
}

/* First segment, from number `i` on, that has bytes of the region in [start, …). */
static size_t next_segment(const struct job *job, size_t i, uint64_t start)
{
    const struct region *r = job->region;
    while (i < job->image->count &&
           overlap(&job->image->segments[i], r->memory, start, r->start + r->size).size == 0)
        i++;
    return i;
}

struct pages pages_of(const struct job *job, enum pages_mode mode)
{
    const struct region *r = job->region;
    struct pages pages = {.job = job, .mode = mode, .next = r->start, .end = r->start};
    uint64_t start = r->start;
    for (size_t i = next_segment(job, 0, start); i < job->image->count;
         i = next_segment(job, i + 1, start)) {
        const struct span s =
            overlap(&job->image->segments[i], r->memory, r->start, r->start + r->size);
        if (pages.end == r->start) {
            pages.next = page_start(r, s.start);
            pages.segment = i;
        }
        pages.end = page_start(r, s.start + s.size - 1) + r->page;
    }
    return pages;
}

/* Counts the image's bytes in the page; *blank tells whether all have the erased value. */
static size_t page_payload(const struct pages *pages, bool *blank)
{
    const struct job *job = pages->job;
    uint64_t end = pages->address + job->region->page;
    size_t payload = 0;
    *blank = true;
    for (size_t i = pages->segment; i < job->image->count; i++) {
        const struct segment *s = &job->image->segments[i];
        if (s->memory == job->region->memory && s->address >= end)
            break;
        const struct span o = overlap(s, job->region->memory, pages->address, end);
        if (o.size == 0)
            continue;
        payload += (size_t)o.size;
        *blank = *blank &&
                 bytes_blank(s->data + (o.start - s->address), (size_t)o.size, job->region->erased);
    }
    return payload;
}

/* Moves to the next page that the mode wants, in rising order. */
static bool find_rising(struct pages *pages)
{
    const struct region *r = pages->job->region;
    while (pages->next < pages->end) {
        bool blank = true;
        pages->segment = next_segment(pages->job, pages->segment, pages->next);
        pages->address = pages->next;
        if (pages->mode != PAGES_CONTIGUOUS && pages->segment < pages->job->image->count) {
            uint64_t first = page_start(r, pages->job->image->segments[pages->segment].address);
            if (first > pages->address)
                pages->address = first;
        }
        pages->next = pages->address + r->page;
        pages->payload = page_payload(pages, &blank);
        if (pages->mode != PAGES_SKIP_BLANK || !blank)
            return true;
    }
    return false;
}

/* A used chip still holds the old reset vector: the page that comes last is emptied first, where it
 * is the one with the vectors and others come between. */
static bool empty_first(struct pages *pages)
{
    const struct job *job = pages->job;
    pages->empty = pages->held && !job->erased && pages->first == job->region->start &&
                   pages_count(job, pages->mode) > 1;
    if (pages->empty)
        pages->payload = 0;
    return pages->empty;
}

static bool find_next(struct pages *pages)
{
    bool blank;
    if (pages->first_last) { /* once: put the first page aside */
        pages->first_last = false;
        pages->held = find_rising(pages);
        pages->first = pages->address;
        if (empty_first(pages))
            return true;
    }
    pages->empty = false;
    if (find_rising(pages))
        return true;
    if (!pages->held)
        return false;
    pages->held = false;
    pages->address = pages->first;
    pages->segment = 0;
    pages->payload = page_payload(pages, &blank);
    return true;
}

bool pages_next(struct pages *pages, uint8_t *buffer)
{
    const struct region *r = pages->job->region;
    if (!find_next(pages))
        return false;
    if (pages->empty)
        memset(buffer, r->erased, r->page);
    else
        (void)image_read(pages->job->image, r->memory, pages->address, buffer, r->page, r->erased);
    return true;
}

size_t pages_count(const struct job *job, enum pages_mode mode)
{
    struct pages pages = pages_of(job, mode);
    size_t count = 0;
    while (find_next(&pages))
        count++;
    return count;
}

/* What a comparison found. */
struct difference {
    size_t count;     /* bytes that differ */
    uint64_t address; /* of the first */
    uint8_t expected, found;
};

static void compare(struct difference *d, uint64_t address, const uint8_t *expected,
                    const uint8_t *found, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (expected[i] == found[i])
            continue;
        if (d->count++ == 0) {
            d->address = address + i;
            d->expected = expected[i];
            d->found = found[i];
        }
    }
}

static int compare_segment(struct session *session, const struct segment *s, struct span part,
                           struct difference *d, struct error *err)
{
    size_t length = (size_t)part.size;
    uint8_t *found = malloc(length);
    if (!found)
        return error_memory(err);
    int rc = session->method->read(session, s->memory, part.start, found, length, err);
    if (rc == OK)
        compare(d, part.start, s->data + (part.start - s->address), found, length);
    free(found);
    return rc;
}

int verify_by_reading(struct session *session, const struct job *job, struct error *err)
{
    const struct region *r = job->region;
    struct difference d = {0};
    for (size_t i = 0; i < job->image->count; i++) {
        const struct segment *s = &job->image->segments[i];
        const struct span part = overlap(s, r->memory, r->start, r->start + r->size);
        if (part.size == 0)
            continue;
        int rc = compare_segment(session, s, part, &d, err);
        if (rc != OK)
            return rc;
    }
    if (d.count == 0)
        return OK;
    error_set(err, ERR_VERIFY,
              "verifying %s: %zu byte%s differ%s, the first at 0x%08llx: wrote %02x, device has "
              "%02x",
              r->name, d.count, d.count == 1 ? "" : "s", d.count == 1 ? "s" : "",
              (unsigned long long)d.address, d.expected, d.found);
    return error_hint(err, "run the same command again; if the same bytes differ each time, the "
                           "chip's flash is worn or damaged");
}
