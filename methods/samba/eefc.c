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
#include <string.h>

#include "samba/planes.h"

enum {
    FRR = 0xc,
    FMR_FWS_6 = 0x600, /* errata of SAM3N/3S/3U, and of others: writing needs six wait states */
    CMD_GETD = 0x00,
    CMD_WP = 0x01,
    CMD_EWP = 0x03,
    CMD_EA = 0x05,
    CMD_EPA = 0x07,
    CMD_GLB = 0x0a,
    CMD_GGPB = 0x0d,
    GPNVM_SECURITY = 0,
    GPNVM_BOOT = 1,
    EPA_US = 2 * SECOND, /* 20 to 26 ms, seen in the field */
    EA_US = 30 * SECOND, /* 7 to 8 s, seen in the field */
};

/* ---- GPNVM and lock bits ---- */

static int get_gpnvm(struct samba *s, uint32_t *bits, struct error *err)
{
    int rc = plane_command(s, 0, CMD_GGPB, 0, PLANE_COMMAND_US, err);
    if (rc == OK)
        rc = samba_word(&s->monitor, s->part->controllers[0] + FRR, bits, err);
    return rc == OK ? OK : error_context(err, "reading the GPNVM bits");
}

static int eefc_boot_bit(struct samba *s, bool flash, struct error *err)
{
    uint32_t bits = 0;
    int rc = get_gpnvm(s, &bits, err);
    if (rc != OK || (bits >> GPNVM_BOOT & 1) == flash)
        return rc;
    return plane_set_bit(s, GPNVM_BOOT, flash, err);
}

static int eefc_security(struct samba *s, struct error *err)
{
    uint32_t bits = 0;
    int rc = get_gpnvm(s, &bits, err);
    s->security = bits >> GPNVM_SECURITY & 1;
    return rc;
}

static const char *gpnvm_text(const struct samba *s, unsigned bit)
{
    (void)s;
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

/* FRR gives a word at each reading. */
static int get_locks(struct samba *s, unsigned plane, uint32_t words[LOCK_WORDS], struct error *err)
{
    uint32_t addresses[LOCK_WORDS], regions = s->part->lock_regions / s->part->planes;
    size_t count = (regions + 31) / 32 < LOCK_WORDS ? (regions + 31) / 32 : LOCK_WORDS;
    for (size_t i = 0; i < count; i++)
        addresses[i] = s->part->controllers[plane] + FRR;
    int rc = plane_command(s, plane, CMD_GLB, 0, PLANE_COMMAND_US, err);
    return rc == OK ? samba_words(&s->monitor, addresses, words, count, MONITOR_ANSWER_US, err)
                    : rc;
}

/* SAM4E can raise FLERR after a GPNVM command that was done. */
const struct plane_kind plane_eefc = {
    .refused = 0x2,
    .locked = 0x4,
    .failed = 0x8,
    .refused_name = "FCMDE",
    .locked_name = "FLOCKE",
    .set_lock = 0x08,
    .clear_lock = 0x09,
    .set_bit = 0x0b,
    .clear_bit = 0x0c,
    .bits_may_fail = true,
    .bits = get_gpnvm,
    .locks = get_locks,
    .bit_text = gpnvm_text,
};

static int eefc_unlock(struct samba *s, struct error *err)
{
    return plane_unlock(s, (struct span){s->flash->start, s->flash->size}, err);
}

/* ---- Erasing and programming ---- */

static int eefc_prepare(struct samba *s, struct span extent, struct error *err)
{
    int rc = OK;
    for (unsigned plane = 0; rc == OK && plane < s->part->planes; plane++)
        rc = samba_set(&s->monitor, s->part->controllers[plane] + FMR, FMR_FWS_6, err);
    if (rc == OK)
        rc = eefc_boot_bit(s, false, err);
    return rc == OK ? plane_unlock(s, extent, err) : rc;
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
        rc = plane_command(s, plane_of(s, at), CMD_EPA, plane_page(s, at) | code, EPA_US, err);
        if (rc != OK)
            error_context(err, "erasing at 0x%08" PRIx64, at);
    }
    return rc;
}

/* Blank pages are left out where they are blank already. */
static int eefc_program(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                        bool erased, struct error *err)
{
    bool clean = erased || !erases_by_writing(s);
    int rc = OK;
    if (clean && !erased)
        rc = erase_sectors(s, (struct span){address, length}, err);
    return rc == OK ? plane_program(s, address, bytes, length, clean ? CMD_WP : CMD_EWP, clean, err)
                    : rc;
}

static int eefc_erase(struct samba *s, struct span sectors, struct error *err)
{
    return erases_by_writing(s) ? plane_blank(s, sectors, CMD_EWP, err)
                                : erase_sectors(s, sectors, err);
}

static int eefc_erase_all(struct samba *s, struct error *err)
{
    int rc = OK;
    for (unsigned plane = 0; rc == OK && plane < s->part->planes; plane++)
        rc = plane_command(s, plane, CMD_EA, 0, EA_US, err);
    return rc == OK ? OK : error_context(err, "erasing the whole flash");
}

static const char *eefc_fuse_danger(const char *name, uint32_t value)
{
    return strcmp(name, "gpnvm0") == 0 && value
               ? "it is the security bit, which only the ERASE pin clears"
               : NULL;
}

static int eefc_info(struct samba *s, struct device_info *info, struct error *err)
{
    uint32_t frr = s->part->controllers[0] + FRR, d[3] = {0}, bits = 0;
    const uint32_t addresses[3] = {frr, frr, frr};
    int rc = plane_command(s, 0, CMD_GETD, 0, PLANE_COMMAND_US, err);
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
    .fuses = plane_fuses,
    .set_fuse = plane_set_fuse,
    .fuse_danger = eefc_fuse_danger,
    .security = eefc_security,
    .info = eefc_info,
    .boot_bit = eefc_boot_bit,
};
