/* Reading back and comparing, by the bytes or by the chip's own checksum. See rom_job.h. */
#include <string.h>

#include "stm32/rom_job.h"
#include "stm32/rom_loader.h"

enum { SUM_STEP = 16 * 1024 }; /* bytes of one checksum */

/* Reads whole words within one block and cuts out what was asked for. */
static int read_part(struct rom_loader *rom, uint64_t address, uint8_t *bytes, size_t length,
                     struct error *err)
{
    uint8_t block[ROM_BLOCK];
    size_t skip = address % 4;
    size_t whole = (skip + length + 3) / 4 * 4;
    int rc = st_rom_read(rom, (uint32_t)(address - skip), block, whole, err);
    if (rc == OK)
        memcpy(bytes, block + skip, length);
    return rc;
}

int st_rom_job_read(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
                    size_t length, struct error *err)
{
    struct rom_loader *rom = session->state;
    if (memory != MEM_FLASH)
        return error_set(err, ERR_NOT_POSSIBLE, "an STM32 has no %s", memory_name(memory));
    while (length > 0) {
        size_t room = rom->block - address % rom->block;
        size_t n = length < room ? length : room;
        if (session_stopped(session))
            return session_interrupted(err);
        int rc = read_part(rom, address, bytes, n, err);
        if (rc != OK)
            return st_rom_failed_at(err, "reading", address);
        session_advance(session, n);
        address += n;
        bytes += n;
        length -= n;
    }
    return OK;
}

/* ---- comparing by checksums ---- */

/* Does the chip hold these bytes? Whole words by its sum, the rest at both ends by reading. */
static int holds(struct session *session, uint64_t address, const uint8_t *bytes, size_t length,
                 bool *same, struct error *err)
{
    uint8_t ends[4] = {0};
    size_t head = (4 - address % 4) % 4;
    head = head < length ? head : length;
    size_t words = (length - head) / 4 * 4, tail = length - head - words;
    uint32_t sum = 0;
    int rc = OK;
    *same = true;
    if (words)
        rc = st_rom_checksum(session->state, (uint32_t)(address + head), words, &sum, err);
    if (rc == OK && words)
        *same = sum == st_rom_sum_of(bytes + head, words);
    if (rc == OK && head)
        rc = read_part(session->state, address, ends, head, err);
    *same = *same && rc == OK && memcmp(ends, bytes, head) == 0;
    if (rc == OK && tail)
        rc = read_part(session->state, address + head + words, ends, tail, err);
    *same = *same && rc == OK && memcmp(ends, bytes + head + words, tail) == 0;
    return rc;
}

/* What the image has in [low, high); the same is not looked for behind a difference. */
static int compare_span(struct session *session, const struct image *image, uint64_t low,
                        uint64_t high, bool *same, struct error *err)
{
    int rc = OK;
    *same = true;
    for (size_t i = 0; rc == OK && i < image->count; i++) {
        const struct segment *s = &image->segments[i];
        uint64_t from = s->address > low ? s->address : low, end = s->address + s->length;
        end = end < high ? end : high;
        if (s->memory != MEM_FLASH || from >= end)
            continue;
        if (session_stopped(session))
            return session_interrupted(err);
        if (*same)
            rc = holds(session, from, s->data + (from - s->address), (size_t)(end - from), same,
                       err);
        if (rc == OK)
            session_advance(session, (size_t)(end - from));
    }
    return rc;
}

int st_rom_job_equal(struct session *session, const struct job *job, const struct span *sectors,
                     size_t count, bool *equal, struct error *err)
{
    int rc = st_rom_has(session->state, ROM_GET_CHECKSUM) ? OK : ERR_NOT_POSSIBLE;
    for (size_t i = 0; rc == OK && i < count; i++)
        rc = compare_span(session, job->image, sectors[i].start, sectors[i].start + sectors[i].size,
                          &equal[i], err);
    return rc;
}

/* ERR_NOT_POSSIBLE if reading must tell: the loader has no sums, or they differ. */
static int verify_by_sums(struct session *session, const struct job *job, struct error *err)
{
    uint64_t start, end;
    bool same = st_rom_has(session->state, ROM_GET_CHECKSUM);
    struct session quiet = *session;
    quiet.advance = NULL; /* reading may have to begin anew */
    if (!same || !image_extent(job->image, MEM_FLASH, &start, &end))
        return ERR_NOT_POSSIBLE;
    int rc = OK;
    for (uint64_t at = start - start % SUM_STEP; rc == OK && same && at < end; at += SUM_STEP)
        rc = compare_span(&quiet, job->image, at, at + SUM_STEP, &same, err);
    if (rc != OK || !same)
        return rc == OK ? ERR_NOT_POSSIBLE : rc;
    session_advance(session, image_bytes(job->image, MEM_FLASH));
    return OK;
}

int st_rom_job_verify(struct session *session, const struct job *job, struct error *err)
{
    int rc = verify_by_sums(session, job, err);
    if (rc != ERR_NOT_POSSIBLE)
        return rc;
    error_clear(err);
    rc = verify_by_reading(session, job, err);
    if (rc == ERR_VERIFY)
        error_hint(err, "this boot loader acknowledges writes to protected pages too: `mflash "
                        "fuses` shows write protection, `mflash unlock` removes it; if it is off, "
                        "run the same command again");
    return rc;
}
