/* See rom_job.h. Flash times: data sheets, table "Flash memory programming". */
#include "stm32/rom_job.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "stm32/rom_loader.h"

enum {
    UNIT_MAX = 32,                     /* largest program unit: H7 */
    SMALL_PAGE = 8 * 1024,             /* families whose mass erase takes as long as one page */
    SMALL_PAGE_US = 100 * MILLISECOND, /* data sheets: 40 ms; clones are slower */
    SECTOR_STEP = 16 * 1024,           /* 16 KiB of a large sector: 0.5 s at x8, doubled */
    ERASE_LEAST_US = 2 * SECOND,
    DUAL_BANK = 1 << 21, /* FLASH_OPTR of G0 and L4 */
};

/* ---- before the first destructive byte ---- */

static int check_inside(struct session *session, uint64_t end, struct error *err)
{
    const struct rom_loader *rom = session->state;
    if (!rom->flash_bytes || end <= rom->flash.start + rom->flash_bytes || session->force_size)
        return OK;
    /* Many F1 parts hold twice what their register says, and boards rely on it. */
    if (strcmp(session->chip->stm32->family, "F1") == 0)
        return OK;
    error_refuse(err, "size", "0x%08" PRIx64 " lies behind the %u KiB of flash this chip has",
                 end - 1, (unsigned)(rom->flash_bytes / 1024));
    return error_hint(err, "name the right chip with --chip; `--force size` goes on regardless");
}

static int check_ready(struct session *session, uint64_t end, struct error *err)
{
    const struct rom_loader *rom = session->state;
    int rc = session_check_proven(session, session->chip->stm32->proven, err);
    if (rc != OK)
        return rc;
    return rom->protected ? st_rom_protected(err) : check_inside(session, end, err);
}

/* ---- erasing ---- */

static uint64_t erase_time(uint64_t sector)
{
    return sector <= SMALL_PAGE ? SMALL_PAGE_US : (sector + SECTOR_STEP - 1) / SECTOR_STEP * SECOND;
}

/* One command: pages from `at` on, as many as it takes, not beyond `end`. */
static int erase_some(struct session *session, uint64_t *at, uint64_t end, struct error *err)
{
    struct rom_loader *rom = session->state;
    uint32_t first = region_sector_number(&rom->flash, *at), count = 0;
    uint64_t timeout = ERASE_LEAST_US, begin = *at;
    while (count < ROM_ERASE_MAX && *at < end) {
        const struct span sector = region_sector(&rom->flash, *at);
        if (sector.start != *at || sector.start + sector.size > end)
            return error_set(err, ERR_FAILED,
                             "erasing 0x%08" PRIx64 ": this chip's page of %u bytes holds more "
                             "than what is to be erased",
                             *at, (unsigned)sector.size);
        timeout += erase_time(sector.size);
        *at += sector.size;
        count++;
    }
    if (session_stopped(session))
        return session_interrupted(err);
    int rc = st_rom_erase(rom, first, count, timeout, err);
    if (rc != OK)
        error_context(err, "erasing 0x%08" PRIx64 " to 0x%08" PRIx64, begin, *at - 1);
    return rc;
}

/* Does the flash have two banks that can be erased by one command each? */
static bool has_banks(struct session *session)
{
    struct rom_loader *rom = session->state;
    unsigned quirks = rom->part ? rom->part->quirks : 0;
    uint8_t word[4];
    struct error ignored;
    if (!rom->flash_bytes || !st_rom_has(rom, ROM_EXTENDED_ERASE))
        return false;
    if (quirks & QUIRK_BANKS)
        return true;
    uint32_t options = session->chip->stm32->option_base;
    return quirks & QUIRK_BANKS_OPTION && options &&
           st_rom_read(rom, options, word, sizeof word, &ignored) == OK &&
           get_le32(word) & DUAL_BANK;
}

/* A bank of small pages is erased as fast as one of them. *at moves on if it was done. */
static int try_bank(struct session *session, uint64_t *at, uint64_t end, struct error *err)
{
    struct rom_loader *rom = session->state;
    uint64_t bytes = rom->flash_bytes / 2, offset = *at - rom->flash.start;
    if (offset % bytes || offset >= 2 * bytes || end - *at < bytes)
        return OK;
    int rc = st_rom_erase_bank(rom, (unsigned)(offset / bytes), err);
    if (rc == OK)
        *at += bytes;
    if (rc != ERR_NOT_POSSIBLE)
        return rc == OK ? OK : error_context(err, "erasing the bank at 0x%08" PRIx64, *at);
    error_clear(err);
    return OK;
}

/* Up to where pages are listed: the second bank, if all of it is to be erased. */
static uint64_t list_end(const struct rom_loader *rom, uint64_t at, uint64_t end)
{
    uint64_t middle = rom->flash.start + rom->flash_bytes / 2;
    return at < middle && end >= rom->flash.start + rom->flash_bytes ? middle : end;
}

static int erase_range(struct session *session, struct span range, bool banks, struct error *err)
{
    uint64_t at = range.start, end = range.start + range.size;
    int rc = OK;
    while (rc == OK && at < end) {
        uint64_t before = at;
        if (banks)
            rc = try_bank(session, &at, end, err);
        if (rc == OK && at == before)
            rc = erase_some(session, &at, banks ? list_end(session->state, at, end) : end, err);
    }
    return rc;
}

int st_rom_job_erase(struct session *session, const struct span *ranges, size_t count,
                     struct error *err)
{
    const struct rom_loader *rom = session->state;
    uint64_t end = 0, longest = 0;
    for (size_t i = 0; i < count; i++) {
        longest = ranges[i].size > longest ? ranges[i].size : longest;
        if (ranges[i].start + ranges[i].size > end)
            end = ranges[i].start + ranges[i].size;
    }
    int rc = check_ready(session, end, err);
    bool banks = rc == OK && longest >= rom->flash_bytes / 2 && has_banks(session);
    for (size_t i = 0; rc == OK && i < count; i++)
        rc = erase_range(session, ranges[i], banks, err);
    return rc;
}

/* Where mass erase does not exist, page by page. */
int st_rom_job_erase_chip(struct session *session, struct error *err)
{
    struct rom_loader *rom = session->state;
    int rc = check_ready(session, 0, err);
    if (rc == OK)
        rc = st_rom_erase_all(rom, err);
    if (rc == ERR_NOT_POSSIBLE) {
        uint64_t size = rom->flash_bytes && rom->flash_bytes < rom->flash.size ? rom->flash_bytes
                                                                               : rom->flash.size;
        const struct span all = {rom->flash.start, size};
        return st_rom_job_erase(session, &all, 1, err);
    }
    return rc == OK ? OK : error_context(err, "erasing the whole chip");
}

/* ---- writing ---- */

int st_rom_failed_at(struct error *err, const char *doing, uint64_t address)
{
    error_context(err, "%s flash at 0x%08" PRIx64, doing, address);
    if (err && (err->hint[0] || err->code == ERR_INTERRUPTED))
        return err->code;
    if (err && err->code == ERR_GONE)
        return error_hint(err, "check the cable, then run the same command again");
    return error_hint(err, "reset the chip into its boot loader, then run the same command again");
}

/* Blank bytes at the end need no wire; what is left is whole program units. */
static size_t trimmed(const uint8_t *bytes, size_t length, uint8_t erased)
{
    while (length > UNIT_MAX && bytes_blank(bytes + length - UNIT_MAX, UNIT_MAX, erased))
        length -= UNIT_MAX;
    return length;
}

static int write_page(struct session *session, const struct pages *pages, const uint8_t *bytes,
                      struct error *err)
{
    struct rom_loader *rom = session->state;
    const struct region *region = pages->job->region;
    size_t length = trimmed(bytes, region->page, region->erased);
    uint32_t address = (uint32_t)pages->address;
    if (session_stopped(session))
        return session_interrupted(err);
    for (size_t at = 0; at < length; at += rom->block) {
        size_t n = length - at < rom->block ? length - at : rom->block;
        int rc = st_rom_write(rom, address + (uint32_t)at, bytes + at, n, err);
        if (rc != OK)
            return st_rom_failed_at(err, "writing", address + at);
    }
    if (!rom->wrote || address < rom->wrote_at)
        rom->wrote_at = address;
    rom->wrote = true;
    session_advance(session, pages->payload);
    return OK;
}

/* Progress of pages that hold nothing: they are done without being sent. */
static size_t blank_payload(const struct job *job)
{
    struct pages pages = pages_of(job, PAGES_TOUCHED);
    uint8_t bytes[ROM_BLOCK];
    size_t sum = 0;
    while (pages_next(&pages, bytes))
        if (bytes_blank(bytes, job->region->page, job->region->erased))
            sum += pages.payload;
    return sum;
}

int st_rom_job_write(struct session *session, const struct job *job, struct error *err)
{
    uint8_t bytes[ROM_BLOCK];
    uint64_t start = 0, end = 0;
    if (job->region->memory != MEM_FLASH)
        return error_set(err, ERR_NOT_POSSIBLE, "an STM32 has no %s",
                         memory_name(job->region->memory));
    if (job->region->page > ROM_BLOCK || job->region->page % UNIT_MAX)
        return error_set(err, ERR_FAILED, "%s: pages of %u bytes do not fit into a Write",
                         job->region->name, job->region->page);
    (void)image_extent(job->image, MEM_FLASH, &start, &end);
    int rc = check_ready(session, end, err);
    if (rc == OK && job->erased)
        session_advance(session, blank_payload(job));
    struct pages pages = pages_of(job, job->erased ? PAGES_SKIP_BLANK : PAGES_TOUCHED);
    pages.first_last = true;
    while (rc == OK && pages_next(&pages, bytes))
        if (!pages.empty) /* only an erase empties a page here */
            rc = write_page(session, &pages, bytes, err);
    return rc;
}
