/*
 * EEFC, the flash controller of SAM3, SAM4 and SAMx7x. Documents: Atmel-11057 (SAM3X), 11157
 * (SAM4E), DS60001527 (SAME70), chapters EEFC.
 *
 * Two things to know. Pages of SAM3 are erased as they are written (EWP); SAM4 and SAMx7x can do
 * that in their first 16 KiB only, so their sectors are erased by EPA before. And GPNVM1 decides
 * whether the chip starts its ROM or its flash: it is cleared before the first change and set after
 * the last, so that a half-written board stays in its ROM.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "samba/samba.h"

enum {
    FMR = 0x0, /* offsets from the plane's base */
    FCR = 0x4,
    FSR = 0x8,
    FRR = 0xc,
    FMR_FWS_6 = 0x600, /* errata of SAM3N/3S/3U, and of others: writing needs six wait states */
    FSR_FRDY = 0x1,
    FSR_FCMDE = 0x2,
    FSR_FLOCKE = 0x4,
    FSR_FLERR = 0x8,
    CMD_GETD = 0x00,
    CMD_WP = 0x01,
    CMD_EWP = 0x03,
    CMD_EA = 0x05,
    CMD_EPA = 0x07,
    CMD_CLB = 0x09,
    CMD_GLB = 0x0a,
    CMD_SGPB = 0x0b,
    CMD_CGPB = 0x0c,
    CMD_GGPB = 0x0d,
    GPNVM_SECURITY = 0,
    GPNVM_BOOT = 1,
    COMMAND_US = SECOND,
    EPA_US = 2 * SECOND,        /* 20 to 26 ms, seen in the field */
    EA_US = 30 * SECOND,        /* 7 to 8 s, seen in the field */
    PAGE_US = 30 * MILLISECOND, /* erase and write, with room */
    LOCK_WORDS = 8,             /* GLB: 256 regions of one plane at most */
};

#define FCR_KEY 0x5a000000u

/* ---- Planes, pages and commands ---- */

static uint64_t plane_size(const struct samba *s)
{
    return s->flash->size / s->part->planes;
}

static unsigned plane_of(const struct samba *s, uint64_t address)
{
    return (unsigned)((address - s->flash->start) / plane_size(s));
}

/* Pages are counted from 0 in each plane. */
static uint32_t page_of(const struct samba *s, uint64_t address)
{
    return (uint32_t)((address - s->flash->start) % plane_size(s) / s->flash->page);
}

static uint32_t fcr_word(uint32_t command, uint32_t argument)
{
    return FCR_KEY | argument << 8 | command;
}

static int check_status(const struct samba *s, uint32_t status, uint32_t mask, struct error *err)
{
    if (!(status & mask))
        return OK;
    if (status & mask & FSR_FLOCKE) {
        error_set(err, ERR_PROTECTED, "the flash controller answered FLOCKE: the region is locked");
        return error_hint(err, "`mflash unlock` clears the lock bits of the %s",
                          s->session->chip->name);
    }
    return error_set(err, ERR_PROTOCOL, "the flash controller answered %s (FSR 0x%02" PRIx32 ")",
                     status & mask & FSR_FCMDE ? "FCMDE, command refused"
                                               : "FLERR, flash differs from what was written",
                     status);
}

/* Errors are cleared by reading FSR, so all that the waiting saw counts. */
static int command(struct samba *s, unsigned plane, uint32_t number, uint32_t argument,
                   uint64_t timeout, struct error *err)
{
    uint32_t base = s->part->controllers[plane], status;
    /* SAM4E can raise FLERR after a GPNVM command that was done. */
    uint32_t mask =
        number >= CMD_SGPB ? FSR_FCMDE | FSR_FLOCKE : FSR_FCMDE | FSR_FLOCKE | FSR_FLERR;
    int rc = samba_set(&s->monitor, base + FCR, fcr_word(number, argument), err);
    if (rc == OK)
        rc = samba_wait(s, base + FSR, FSR_FRDY, &status, timeout, err);
    return rc == OK ? check_status(s, status, mask, err) : rc;
}

/* ---- GPNVM ---- */

static int get_gpnvm(struct samba *s, uint32_t *bits, struct error *err)
{
    int rc = command(s, 0, CMD_GGPB, 0, COMMAND_US, err);
    if (rc == OK)
        rc = samba_word(&s->monitor, s->part->controllers[0] + FRR, bits, err);
    return rc == OK ? OK : error_context(err, "reading the GPNVM bits");
}

/* Sets, and reads back; what did not take is tried once more. */
static int set_gpnvm(struct samba *s, unsigned bit, bool on, struct error *err)
{
    uint32_t bits = 0;
    int rc = OK;
    for (unsigned i = 0; i < 2 && rc == OK; i++) {
        rc = command(s, 0, on ? CMD_SGPB : CMD_CGPB, bit, COMMAND_US, err);
        if (rc == OK)
            rc = get_gpnvm(s, &bits, err);
        if (rc == OK && (bits >> bit & 1) == on)
            return OK;
    }
    if (rc == OK)
        error_set(err, ERR_PROTOCOL, "it still reads %u", (unsigned)(bits >> bit & 1));
    return error_context(err, "%s GPNVM bit %u", on ? "setting" : "clearing", bit);
}

static int eefc_boot_bit(struct samba *s, bool flash, struct error *err)
{
    uint32_t bits = 0;
    int rc = get_gpnvm(s, &bits, err);
    if (rc != OK || (bits >> GPNVM_BOOT & 1) == flash)
        return rc;
    return set_gpnvm(s, GPNVM_BOOT, flash, err);
}

static int eefc_security(struct samba *s, struct error *err)
{
    uint32_t bits = 0;
    int rc = get_gpnvm(s, &bits, err);
    s->security = bits >> GPNVM_SECURITY & 1;
    return rc;
}

static const char *gpnvm_text(unsigned bit)
{
    switch (bit) {
    case GPNVM_SECURITY:
        return "security: 1 closes flash and debugger until the ERASE pin is used";
    case GPNVM_BOOT:
        return "boot: 1 starts the flash, 0 the ROM's SAM-BA";
    case 2:
        return "on parts with two planes: which of them starts";
    default:
        return "size of the tightly coupled memories";
    }
}

static int eefc_fuses(struct samba *s, struct fuse fuses[FUSES_MAX], size_t *count,
                      struct error *err)
{
    uint32_t bits = 0;
    *count = 0;
    int rc = get_gpnvm(s, &bits, err);
    for (unsigned bit = 0; rc == OK && bit < 32 && *count < FUSES_MAX; bit++) {
        if (!(s->family->gpnvm >> bit & 1))
            continue;
        struct fuse *fuse = &fuses[(*count)++];
        *fuse = (struct fuse){.value = bits >> bit & 1, .mask = 1};
        (void)snprintf(fuse->name, sizeof fuse->name, "gpnvm%u", bit);
        (void)snprintf(fuse->text, sizeof fuse->text, "%s", gpnvm_text(bit));
    }
    return rc;
}

static int eefc_set_fuse(struct samba *s, const char *name, uint32_t value, struct error *err)
{
    unsigned bit;
    int used = 0;
    if (sscanf(name, "gpnvm%2u%n", &bit, &used) != 1 || name[used] || bit > 31 ||
        !(s->family->gpnvm >> bit & 1))
        return error_set(err, ERR_USAGE, "%s has no fuse %s", s->session->chip->name, name);
    if (value > 1)
        return error_set(err, ERR_USAGE, "%s is one bit: 0 or 1", name);
    return set_gpnvm(s, bit, value, err);
}

/* ---- Lock bits ---- */

static uint64_t region_size(const struct samba *s)
{
    return s->flash->size / s->part->lock_regions;
}

static int get_locks(struct samba *s, unsigned plane, uint32_t words[LOCK_WORDS], size_t *count,
                     struct error *err)
{
    uint32_t addresses[LOCK_WORDS];
    size_t regions = s->part->lock_regions / s->part->planes;
    *count = (regions + 31) / 32;
    if (*count > LOCK_WORDS)
        *count = LOCK_WORDS;
    for (size_t i = 0; i < *count; i++) /* FRR gives a word at each reading */
        addresses[i] = s->part->controllers[plane] + FRR;
    int rc = command(s, plane, CMD_GLB, 0, COMMAND_US, err);
    return rc == OK ? samba_words(&s->monitor, addresses, words, *count, MONITOR_ANSWER_US, err)
                    : rc;
}

/* Clears the locks of one plane that lie in the extent, and of no other region. */
static int unlock_plane(struct samba *s, unsigned plane, struct span extent, struct error *err)
{
    uint32_t words[LOCK_WORDS] = {0};
    size_t count, regions = s->part->lock_regions / s->part->planes;
    int rc = get_locks(s, plane, words, &count, err);
    for (size_t n = 0; rc == OK && n < regions && n < count * 32; n++) {
        uint64_t start = s->flash->start + plane * plane_size(s) + n * region_size(s);
        if (!(words[n / 32] >> n % 32 & 1) || start >= extent.start + extent.size ||
            start + region_size(s) <= extent.start)
            continue;
        session_note(s->session, "lock region at 0x%08" PRIx64 " is unlocked", start);
        rc = command(s, plane, CMD_CLB, page_of(s, start), COMMAND_US, err);
    }
    return rc;
}

static int unlock(struct samba *s, struct span extent, struct error *err)
{
    int rc = OK;
    unsigned first = plane_of(s, extent.start);
    unsigned last = plane_of(s, extent.start + extent.size - 1);
    for (unsigned plane = first; rc == OK && plane <= last; plane++)
        rc = unlock_plane(s, plane, extent, err);
    return rc == OK ? OK : error_context(err, "unlocking");
}

static int eefc_unlock(struct samba *s, struct error *err)
{
    return unlock(s, (struct span){s->flash->start, s->flash->size}, err);
}

/* ---- Erasing and programming ---- */

static int eefc_prepare(struct samba *s, struct span extent, struct error *err)
{
    int rc = OK;
    for (unsigned plane = 0; rc == OK && plane < s->part->planes; plane++)
        rc = samba_set(&s->monitor, s->part->controllers[plane] + FMR, FMR_FWS_6, err);
    if (rc == OK)
        rc = eefc_boot_bit(s, false, err);
    return rc == OK ? unlock(s, extent, err) : rc;
}

static bool erases_by_writing(const struct samba *s)
{
    return s->flash->sector == s->flash->page;
}

/* The sector is what EPA takes: 8 pages on SAM4, 16 on SAMx7x, wherever it begins. */
static int erase_sectors(struct samba *s, struct span sectors, struct error *err)
{
    uint32_t code = 0;
    for (uint32_t pages = s->flash->sector / s->flash->page; pages > 4; pages /= 2)
        code++;
    int rc = OK;
    for (uint64_t at = sectors.start; rc == OK && at < sectors.start + sectors.size;
         at += s->flash->sector) {
        rc = command(s, plane_of(s, at), CMD_EPA, page_of(s, at) | code, EPA_US, err);
        if (rc != OK)
            error_context(err, "erasing at 0x%08" PRIx64, at);
    }
    return rc;
}

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
        fcr_word(number, page_of(s, address)),
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
        rc = check_status(s, values[1], FSR_FCMDE | FSR_FLOCKE | FSR_FLERR, err);
    if (rc == OK && values[0])
        rc = error_set(err, ERR_NO_ANSWER, "the flash controller stays busy (FSR 0x%02" PRIx32 ")",
                       values[1]);
    if (rc == OK)
        return OK;
    uint32_t done = values[0] <= pages && values[1] ? pages - values[0] : 0;
    return error_context(err, "writing at 0x%08" PRIx64, address + (uint64_t)done * s->flash->page);
}

/* Blank pages are left out where they are blank already. */
static int eefc_program(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                        bool erased, struct error *err)
{
    size_t page = s->flash->page, at = 0;
    bool clean = erased || !erases_by_writing(s);
    int rc = OK;
    if (clean && !erased)
        rc = erase_sectors(s, (struct span){address, length}, err);
    while (rc == OK && at < length) {
        size_t end = at;
        while (end < length && !(clean && bytes_blank(bytes + end, page, s->flash->erased)))
            end += page;
        if (end > at)
            rc = program_run(s, address + at, bytes + at, end - at, clean ? CMD_WP : CMD_EWP, err);
        at = end > at ? end : at + page;
    }
    return rc;
}

static int eefc_erase(struct samba *s, struct span sectors, struct error *err)
{
    if (!erases_by_writing(s))
        return erase_sectors(s, sectors, err);
    memset(s->buffer, s->flash->erased, s->slab);
    int rc = OK;
    for (uint64_t at = sectors.start; rc == OK && at < sectors.start + sectors.size;) {
        uint64_t n = s->slab - at % s->slab;
        if (n > sectors.start + sectors.size - at)
            n = sectors.start + sectors.size - at;
        rc = program_run(s, at, s->buffer, (size_t)n, CMD_EWP, err);
        at += n;
    }
    return rc;
}

static int eefc_erase_all(struct samba *s, struct error *err)
{
    int rc = OK;
    for (unsigned plane = 0; rc == OK && plane < s->part->planes; plane++)
        rc = command(s, plane, CMD_EA, 0, EA_US, err);
    return rc == OK ? OK : error_context(err, "erasing the whole flash");
}

static int eefc_info(struct samba *s, struct device_info *info, struct error *err)
{
    uint32_t frr = s->part->controllers[0] + FRR, d[3] = {0}, bits = 0;
    const uint32_t addresses[3] = {frr, frr, frr};
    int rc = command(s, 0, CMD_GETD, 0, COMMAND_US, err);
    if (rc == OK)
        rc = samba_words(&s->monitor, addresses, d, 3, MONITOR_ANSWER_US, err);
    if (rc == OK)
        rc = get_gpnvm(s, &bits, err);
    if (rc != OK)
        return error_context(err, "asking for the flash's geometry");
    device_info_add(info, "flash", "%" PRIu32 " KiB in pages of %" PRIu32 " bytes", d[1] / 1024,
                    d[2]);
    device_info_add(info, "starts", "%s (GPNVM1 = %u)",
                    bits >> GPNVM_BOOT & 1 ? "the flash" : "the ROM",
                    (unsigned)(bits >> GPNVM_BOOT & 1));
    return OK;
}

const struct flash_controller samba_eefc = {
    .name = "EEFC",
    .prepare = eefc_prepare,
    .erase = eefc_erase,
    .program = eefc_program,
    .erase_all = eefc_erase_all,
    .unlock = eefc_unlock,
    .fuses = eefc_fuses,
    .set_fuse = eefc_set_fuse,
    .security = eefc_security,
    .info = eefc_info,
    .boot_bit = eefc_boot_bit,
};
