/* Which sectors a job touches, and what they will hold. See samba.h. */
#include <string.h>

#include "samba/samba.h"

static bool overlaps(const struct segment *segment, uint64_t start, uint64_t end)
{
    return segment->memory == MEM_FLASH && segment->address < end &&
           segment->address + segment->length > start;
}

/* The first sector at or after `from` that the image has a byte in; false if none. */
static bool touched_sector(const struct samba *s, const struct image *image, uint64_t from,
                           uint64_t *found)
{
    uint64_t sector = s->flash->sector, end = s->flash->start + s->flash->size;
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *segment = &image->segments[i];
        if (!overlaps(segment, from, end))
            continue;
        uint64_t at = segment->address > from ? segment->address : from;
        *found = at - (at - s->flash->start) % sector;
        return true;
    }
    return false;
}

bool samba_next_slab(const struct samba *s, const struct image *image, uint64_t from,
                     struct span *slab)
{
    uint64_t at;
    if (!touched_sector(s, image, from, &slab->start))
        return false;
    uint64_t limit = slab->start + s->slab - (slab->start - s->flash->start) % s->slab;
    slab->size = s->flash->sector;
    while (slab->start + slab->size < limit &&
           touched_sector(s, image, slab->start + slab->size, &at) &&
           at == slab->start + slab->size)
        slab->size += s->flash->sector;
    return true;
}

/* The image's bytes over what is in the buffer; returns how many. */
static size_t lay_over(const struct image *image, struct span part, uint8_t *bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *segment = &image->segments[i];
        uint64_t end = part.start + part.size;
        if (!overlaps(segment, part.start, end))
            continue;
        uint64_t low = segment->address > part.start ? segment->address : part.start;
        uint64_t high = segment->address + segment->length;
        high = high < end ? high : end;
        memcpy(bytes + (low - part.start), segment->data + (low - segment->address),
               (size_t)(high - low));
        count += (size_t)(high - low);
    }
    return count;
}

int samba_fill(struct samba *s, const struct job *job, struct span part, uint8_t *bytes,
               size_t *payload, struct error *err)
{
    *payload = 0;
    for (uint64_t at = 0; at < part.size; at += s->flash->sector) {
        const struct span sector = {part.start + at, s->flash->sector};
        memset(bytes + at, s->flash->erased, s->flash->sector);
        size_t count = lay_over(job->image, sector, bytes + at);
        if (count < sector.size && !job->erased && !s->unreadable) {
            int rc = samba_read_flash(s, sector.start, bytes + at, (size_t)sector.size, false, err);
            if (rc != OK)
                return rc;
            (void)lay_over(job->image, sector, bytes + at);
        }
        *payload += count;
    }
    return OK;
}
