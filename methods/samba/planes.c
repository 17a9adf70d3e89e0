/* See planes.h. */
#include "samba/planes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PAGE_US = 30 * MILLISECOND }; /* erase and write, with room */

#define FCR_KEY 0x5a000000u

/* ---- planes, pages and commands ---- */

static const struct plane_kind *kind_of(const struct samba *s)
{
    return s->family->arm7 ? &plane_efc : &plane_eefc;
}

uint64_t plane_size(const struct samba *s)
{
    return s->flash->size / s->part->planes;
}

unsigned plane_of(const struct samba *s, uint64_t address)
{
    return (unsigned)((address - s->flash->start) / plane_size(s));
}

uint32_t plane_page(const struct samba *s, uint64_t address)
{
    return (uint32_t)((address - s->flash->start) % plane_size(s) / s->flash->page);
}

static uint32_t fcr_word(uint32_t command, uint32_t argument)
{
    return FCR_KEY | argument << 8 | command;
}

static int check_status(const struct samba *s, uint32_t status, uint32_t mask, struct error *err)
{
    const struct plane_kind *kind = kind_of(s);
    status &= mask;
    if (!status)
        return OK;
    if (status & kind->locked) {
        error_set(err, ERR_PROTECTED, "the flash controller answered %s: the region is locked",
                  kind->locked_name);
        return error_hint(err, "`mflash unlock` clears the lock bits of the %s",
                          s->session->chip->name);
    }
    if (status & kind->refused)
        return error_set(err, ERR_PROTOCOL,
                         "the flash controller answered %s, command refused (FSR 0x%02" PRIx32 ")",
                         kind->refused_name, status);
    return error_set(err, ERR_PROTOCOL,
                     "the flash controller answered FLERR, flash differs from what was written "
                     "(FSR 0x%02" PRIx32 ")",
                     status);
}

static uint32_t error_bits(const struct plane_kind *kind)
{
    return kind->refused | kind->locked | kind->failed;
}

/* Errors are cleared by reading FSR, so all that the waiting saw counts. */
int plane_command(struct samba *s, unsigned plane, uint32_t number, uint32_t argument,
                  uint64_t timeout, struct error *err)
{
    const struct plane_kind *kind = kind_of(s);
    uint32_t base = s->part->controllers[plane], status, mask = error_bits(kind);
    if (kind->bits_may_fail && number >= kind->set_bit)
        mask &= ~kind->failed;
    int rc = samba_set(&s->monitor, base + FCR, fcr_word(number, argument), err);
    if (rc == OK)
        rc = samba_wait(s, base + FSR, FSR_FRDY, &status, timeout, err);
    return rc == OK ? check_status(s, status, mask, err) : rc;
}

/* ---- programming ---- */

/* One call of the applet: pages that follow each other, within a plane. */
static int program_run(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                       uint32_t number, struct error *err)
{
    uint32_t pages = (uint32_t)(length / s->flash->page);
    const uint32_t parameters[APPLET_WORDS - 2] = {
        samba_buffer(s),
        (uint32_t)address,
        pages,
        s->flash->page / 4,
        s->part->controllers[plane_of(s, address)] + FCR,
        fcr_word(number, plane_page(s, address)),
        0,
    };
    const uint32_t results[] = {samba_applet_word(s, APPLET_PROGRAM, 4),
                                samba_applet_word(s, APPLET_PROGRAM, 8)};
    uint32_t values[2] = {0};
    int rc = samba_send(&s->monitor, samba_buffer(s), bytes, length, err);
    if (rc == OK)
        rc = samba_run_applet(s, APPLET_PROGRAM, parameters, SECOND + pages * (uint64_t)PAGE_US,
                              err);
    if (rc == OK)
        rc = samba_words(&s->monitor, results, values, 2, MONITOR_ANSWER_US, err);
    if (rc == OK)
        rc = check_status(s, values[1], error_bits(kind_of(s)), err);
    if (rc == OK && values[0])
        rc = error_set(err, ERR_NO_ANSWER, "the flash controller stays busy (FSR 0x%02" PRIx32 ")",
                       values[1]);
    if (rc == OK)
        return OK;
    uint32_t done = values[0] <= pages && values[1] ? pages - values[0] : 0;
    return error_context(err, "writing at 0x%08" PRIx64, address + (uint64_t)done * s->flash->page);
}

int plane_program(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                  uint32_t number, bool clean, struct error *err)
{
    size_t page = s->flash->page, at = 0;
    int rc = OK;
    while (rc == OK && at < length) {
        size_t end = at;
        while (end < length && !(clean && bytes_blank(bytes + end, page, s->flash->erased)))
            end += page;
        if (end > at)
            rc = program_run(s, address + at, bytes + at, end - at, number, err);
        at = end > at ? end : at + page;
    }
    return rc;
}

int plane_blank(struct samba *s, struct span pages, uint32_t number, struct error *err)
{
    memset(s->buffer, s->flash->erased, s->slab);
    int rc = OK;
    for (uint64_t at = pages.start; rc == OK && at < pages.start + pages.size;) {
        uint64_t n = s->slab - at % s->slab;
        if (n > pages.start + pages.size - at)
            n = pages.start + pages.size - at;
        rc = program_run(s, at, s->buffer, (size_t)n, number, err);
        at += n;
    }
    return rc;
}

/* ---- lock bits ---- */

static uint64_t region_size(const struct samba *s)
{
    return s->flash->size / s->part->lock_regions;
}

static uint32_t plane_regions(const struct samba *s)
{
    uint32_t regions = s->part->lock_regions / s->part->planes;
    return regions < LOCK_WORDS * 32 ? regions : LOCK_WORDS * 32;
}

static uint64_t region_start(const struct samba *s, unsigned plane, uint32_t region)
{
    return s->flash->start + plane * plane_size(s) + region * region_size(s);
}

static int unlock_plane(struct samba *s, unsigned plane, struct span extent, struct error *err)
{
    uint32_t words[LOCK_WORDS] = {0};
    int rc = kind_of(s)->locks(s, plane, words, err);
    for (uint32_t n = 0; rc == OK && n < plane_regions(s); n++) {
        uint64_t start = region_start(s, plane, n);
        if (!(words[n / 32] >> n % 32 & 1) || start >= extent.start + extent.size ||
            start + region_size(s) <= extent.start)
            continue;
        session_note(s->session, "lock region at 0x%08" PRIx64 " is unlocked", start);
        rc = plane_command(s, plane, kind_of(s)->clear_lock, plane_page(s, start), PLANE_COMMAND_US,
                           err);
    }
    return rc;
}

int plane_unlock(struct samba *s, struct span extent, struct error *err)
{
    int rc = OK;
    unsigned first = plane_of(s, extent.start);
    unsigned last = plane_of(s, extent.start + extent.size - 1);
    for (unsigned plane = first; rc == OK && plane <= last; plane++)
        rc = unlock_plane(s, plane, extent, err);
    return rc == OK ? OK : error_context(err, "unlocking");
}

/* Words of all planes in a row; those of a plane with fewer than 32 regions are not full. */
static uint32_t words_of_plane(const struct samba *s)
{
    return (plane_regions(s) + 31) / 32;
}

static uint32_t lock_mask(const struct samba *s, uint32_t word)
{
    uint32_t left = plane_regions(s) - word % words_of_plane(s) * 32;
    return left >= 32 ? UINT32_MAX : (1u << left) - 1;
}

static int get_lock_word(struct samba *s, uint32_t word, uint32_t *value, struct error *err)
{
    uint32_t words[LOCK_WORDS] = {0};
    int rc = kind_of(s)->locks(s, word / words_of_plane(s), words, err);
    *value = words[word % words_of_plane(s)] & lock_mask(s, word);
    return rc == OK ? OK : error_context(err, "reading the lock bits");
}

static int set_lock_word(struct samba *s, uint32_t word, uint32_t value, struct error *err)
{
    const struct plane_kind *kind = kind_of(s);
    unsigned plane = word / words_of_plane(s);
    uint32_t now = 0, first = word % words_of_plane(s) * 32;
    int rc = get_lock_word(s, word, &now, err);
    for (uint32_t n = 0; rc == OK && n < 32; n++) {
        bool lock = value >> n & 1;
        if ((now >> n & 1) != lock)
            rc = plane_command(s, plane, lock ? kind->set_lock : kind->clear_lock,
                               plane_page(s, region_start(s, plane, first + n)), PLANE_COMMAND_US,
                               err);
    }
    if (rc == OK)
        rc = get_lock_word(s, word, &now, err);
    if (rc == OK && now != value)
        rc = error_set(err, ERR_PROTOCOL, "it still reads 0x%" PRIx32, now);
    return rc == OK ? OK : error_context(err, "setting lock%" PRIu32, word);
}

/* ---- GPNVM bits ---- */

int plane_set_bit(struct samba *s, unsigned bit, bool on, struct error *err)
{
    const struct plane_kind *kind = kind_of(s);
    uint32_t bits = 0;
    int rc = OK;
    for (unsigned i = 0; i < 2 && rc == OK; i++) {
        rc = plane_command(s, 0, on ? kind->set_bit : kind->clear_bit, bit, PLANE_COMMAND_US, err);
        if (rc == OK)
            rc = kind->bits(s, &bits, err);
        if (rc == OK && (bits >> bit & 1) == on)
            return OK;
    }
    if (rc == OK)
        error_set(err, ERR_PROTOCOL, "it still reads %u", (unsigned)(bits >> bit & 1));
    return error_context(err, "%s GPNVM bit %u", on ? "setting" : "clearing", bit);
}

static struct fuse *add_fuse(struct fuse fuses[FUSES_MAX], size_t *count, const char *kind,
                             uint32_t number)
{
    struct fuse *fuse = &fuses[(*count)++];
    *fuse = (struct fuse){.mask = 1};
    (void)snprintf(fuse->name, sizeof fuse->name, "%s%" PRIu32, kind, number);
    return fuse;
}

int plane_fuses(struct samba *s, struct fuse fuses[FUSES_MAX], size_t *count, struct error *err)
{
    uint32_t bits = 0;
    *count = 0;
    int rc = kind_of(s)->bits(s, &bits, err);
    for (unsigned bit = 0; rc == OK && bit < 32 && *count < FUSES_MAX; bit++) {
        if (!(s->family->gpnvm >> bit & 1))
            continue;
        struct fuse *fuse = add_fuse(fuses, count, "gpnvm", bit);
        fuse->value = bits >> bit & 1;
        (void)snprintf(fuse->text, sizeof fuse->text, "%s", kind_of(s)->bit_text(s, bit));
    }
    for (uint32_t n = 0; rc == OK && n < words_of_plane(s) * s->part->planes && *count < FUSES_MAX;
         n++) {
        struct fuse *fuse = add_fuse(fuses, count, "lock", n);
        fuse->mask = lock_mask(s, n);
        rc = get_lock_word(s, n, &fuse->value, err);
        (void)snprintf(fuse->text, sizeof fuse->text, "a bit for each region of %u KiB, 1 = locked",
                       (unsigned)(region_size(s) / 1024));
    }
    return rc;
}

/* "gpnvm1" → 1; false if the name is not that word and a number. */
static bool numbered(const char *name, const char *word, unsigned *number)
{
    size_t length = strlen(word);
    int used = 0;
    return strncmp(name, word, length) == 0 && sscanf(name + length, "%2u%n", number, &used) == 1 &&
           !name[length + (size_t)used];
}

int plane_set_fuse(struct samba *s, const char *name, uint32_t value, struct error *err)
{
    unsigned n;
    if (numbered(name, "lock", &n) && n < words_of_plane(s) * s->part->planes) {
        if (value & ~lock_mask(s, n))
            return error_set(err, ERR_USAGE, "%s has %" PRIu32 " regions: 0x%" PRIx32 " at most",
                             name, plane_regions(s), lock_mask(s, n));
        return set_lock_word(s, n, value, err);
    }
    if (!numbered(name, "gpnvm", &n) || n > 31 || !(s->family->gpnvm >> n & 1))
        return error_set(err, ERR_USAGE, "%s has no fuse %s", s->session->chip->name, name);
    if (value > 1)
        return error_set(err, ERR_USAGE, "%s is one bit: 0 or 1", name);
    return plane_set_bit(s, n, value, err);
}
