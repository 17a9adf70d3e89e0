/* Which sectors a job touches, and what they will hold. See samba.h. */
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "samba/samba.h"

enum { SUMMED_AT_ONCE = 16384 }; /* bytes: the CPU is away for some ten milliseconds */

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

/* ---- what is there already ---- */

/* Of a sector that the image fills in part, what the image has of it. */
static int equal_in_part(struct samba *s, const struct image *image, struct span sector,
                         bool *equal, struct error *err)
{
    uint64_t end = sector.start + sector.size;
    int rc = OK;
    *equal = true;
    for (size_t i = 0; rc == OK && *equal && i < image->count; i++) {
        const struct segment *segment = &image->segments[i];
        uint32_t sum = 0;
        if (!overlaps(segment, sector.start, end))
            continue;
        uint64_t low = segment->address > sector.start ? segment->address : sector.start;
        uint64_t high = segment->address + segment->length;
        size_t length = (size_t)((high < end ? high : end) - low);
        rc = samba_checksums(s, low, length, 1, &sum, err);
        *equal = sum == (uint32_t)crc32(0, segment->data + (low - segment->address), (uInt)length);
    }
    return rc;
}

/* How many sectors from the first on follow each other and are all the image's. */
static size_t whole_sectors(struct samba *s, const struct image *image, const struct span *sectors,
                            size_t count)
{
    size_t n = 0, most = SUMMED_AT_ONCE / s->flash->sector;
    while (n < count && n < most && n < SAMBA_SUMS_MAX &&
           sectors[n].start == sectors[0].start + n * s->flash->sector &&
           lay_over(image, sectors[n], s->buffer) == sectors[n].size)
        n++;
    return n;
}

static int equal_whole(struct samba *s, const struct image *image, const struct span *sectors,
                       size_t count, bool *equal, struct error *err)
{
    uint32_t sums[SAMBA_SUMS_MAX] = {0};
    int rc = samba_checksums(s, sectors[0].start, s->flash->sector, count, sums, err);
    for (size_t i = 0; rc == OK && i < count; i++) {
        (void)lay_over(image, sectors[i], s->buffer);
        equal[i] = sums[i] == (uint32_t)crc32(0, s->buffer, (uInt)sectors[i].size);
    }
    return rc;
}

int samba_equal(struct session *session, const struct job *job, const struct span *sectors,
                size_t count, bool *equal, struct error *err)
{
    struct samba *s = session->state;
    int rc = samba_check_open(s, err);
    if (rc == OK && s->unreadable)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "the monitor runs no code where it hides the flash");
    for (size_t i = 0, n; rc == OK && i < count; i += n) {
        if (session_stopped(session))
            return session_interrupted(err);
        n = whole_sectors(s, job->image, sectors + i, count - i);
        rc = n ? equal_whole(s, job->image, sectors + i, n, equal + i, err)
               : equal_in_part(s, job->image, sectors[i], &equal[i], err);
        n = n ? n : 1;
        for (size_t k = i; k < i + n; k++)
            session_advance(session, lay_over(job->image, sectors[k], s->buffer));
        if (rc != OK)
            error_context(err, "comparing at 0x%08" PRIx64, sectors[i].start);
    }
    return rc;
}
