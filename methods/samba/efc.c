/*
 * EFC, the flash controller of SAM7S, SAM7SE, SAM7X and SAM7XC. Document: Atmel-6120 (SAM7X),
 * chapter MC, "Embedded Flash Controller".
 *
 * Two things to know. A page is erased as it is programmed, unless FMR says otherwise (NEBP); there
 * is no other way to erase less than a plane. And a SAM7S has no boot bit: its monitor lies in the
 * flash that it writes and runs from RAM, so that an application takes its place.
 */
#include <string.h>

#include "samba/planes.h"

enum {
    FMR_NEBP = 0x80, /* no erase before programming */
    FSR_SECURITY = 0x10,
    FSR_GPNVM_SHIFT = 8,
    FSR_GPNVM_BITS = 0x7,
    FSR_LOCKS_SHIFT = 16,
    CMD_WP = 0x1,
    CMD_EA = 0x8,
    CMD_SSB = 0xf,
    GPNVM_BOOT = 2,
    EA_US = SECOND, /* 15 ms by the data sheet */
};

static int get_status(struct samba *s, unsigned plane, uint32_t *status, struct error *err)
{
    int rc = samba_word(&s->monitor, s->part->controllers[plane] + FSR, status, err);
    return rc == OK ? OK : error_context(err, "reading the flash controller's status");
}

/* ---- GPNVM and lock bits: in the status of the first plane ---- */

static int get_gpnvm(struct samba *s, uint32_t *bits, struct error *err)
{
    uint32_t status = 0;
    int rc = get_status(s, 0, &status, err);
    *bits = status >> FSR_GPNVM_SHIFT & FSR_GPNVM_BITS;
    return rc;
}

static int get_locks(struct samba *s, unsigned plane, uint32_t words[LOCK_WORDS], struct error *err)
{
    uint32_t status = 0;
    int rc = get_status(s, plane, &status, err);
    words[0] = status >> FSR_LOCKS_SHIFT;
    return rc;
}

static const char *gpnvm_text(const struct samba *s, unsigned bit)
{
    (void)s;
    switch (bit) {
    case 0:
        return "brown-out detector: 1 switches it on";
    case 1:
        return "brown-out reset: 1 lets the detector reset the chip";
    default:
        return "boot: 1 starts the flash, 0 the ROM's SAM-BA";
    }
}

const struct plane_kind plane_efc = {
    .refused = 0x8,
    .locked = 0x4,
    .refused_name = "PROGE",
    .locked_name = "LOCKE",
    .set_lock = 0x2,
    .clear_lock = 0x4,
    .set_bit = 0xb,
    .clear_bit = 0xd,
    .bits = get_gpnvm,
    .locks = get_locks,
    .bit_text = gpnvm_text,
};

static bool has_boot_bit(const struct samba *s)
{
    return s->family->gpnvm >> GPNVM_BOOT & 1;
}

static int efc_boot_bit(struct samba *s, bool flash, struct error *err)
{
    uint32_t bits = 0;
    if (!has_boot_bit(s))
        return OK;
    int rc = get_gpnvm(s, &bits, err);
    if (rc != OK || (bits >> GPNVM_BOOT & 1) == flash)
        return rc;
    return plane_set_bit(s, GPNVM_BOOT, flash, err);
}

static int efc_security(struct samba *s, struct error *err)
{
    uint32_t status = 0;
    int rc = get_status(s, 0, &status, err);
    s->security = status & FSR_SECURITY;
    return rc;
}

static int efc_fuses(struct samba *s, struct fuse fuses[FUSES_MAX], size_t *count,
                     struct error *err)
{
    int rc = plane_fuses(s, fuses, count, err);
    if (rc != OK || *count == FUSES_MAX)
        return rc;
    struct fuse *fuse = &fuses[(*count)++];
    *fuse = (struct fuse){.name = "security", .value = s->security, .mask = 1};
    (void)strcpy(fuse->text, "1 closes flash and debugger until the ERASE pin is used");
    return OK;
}

static int set_security(struct samba *s, uint32_t value, struct error *err)
{
    if (value == s->security)
        return OK;
    if (value != 1)
        return error_set(err, value ? ERR_USAGE : ERR_NOT_POSSIBLE,
                         value ? "security is one bit: 0 or 1"
                               : "only the ERASE pin clears the security bit");
    int rc = plane_command(s, 0, CMD_SSB, 0, PLANE_COMMAND_US, err);
    if (rc == OK)
        rc = efc_security(s, err);
    if (rc == OK && !s->security)
        rc = error_set(err, ERR_PROTOCOL, "it still reads 0");
    return rc == OK ? OK : error_context(err, "setting the security bit");
}

static int efc_set_fuse(struct samba *s, const char *name, uint32_t value, struct error *err)
{
    return strcmp(name, "security") == 0 ? set_security(s, value, err)
                                         : plane_set_fuse(s, name, value, err);
}

static const char *efc_fuse_danger(const char *name, uint32_t value)
{
    return strcmp(name, "security") == 0 && value ? "only the ERASE pin clears it" : NULL;
}

static int efc_unlock(struct samba *s, struct error *err)
{
    return plane_unlock(s, (struct span){s->flash->start, s->flash->size}, err);
}

/* ---- Erasing and programming ---- */

/* Wait states and the clock's figure are the monitor's, and stay. */
static int set_erasing(struct samba *s, bool erases, struct error *err)
{
    int rc = OK;
    for (unsigned plane = 0; rc == OK && plane < s->part->planes; plane++) {
        uint32_t mode = 0, address = s->part->controllers[plane] + FMR;
        rc = samba_word(&s->monitor, address, &mode, err);
        mode = erases ? mode & ~(uint32_t)FMR_NEBP : mode | FMR_NEBP;
        if (rc == OK)
            rc = samba_set(&s->monitor, address, mode, err);
    }
    return rc;
}

static int efc_prepare(struct samba *s, struct span extent, struct error *err)
{
    int rc = efc_boot_bit(s, false, err);
    return rc == OK ? plane_unlock(s, extent, err) : rc;
}

static int efc_program(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                       bool erased, struct error *err)
{
    int rc = set_erasing(s, !erased, err);
    return rc == OK ? plane_program(s, address, bytes, length, CMD_WP, erased, err) : rc;
}

static int efc_erase(struct samba *s, struct span sectors, struct error *err)
{
    int rc = set_erasing(s, true, err);
    return rc == OK ? plane_blank(s, sectors, CMD_WP, err) : rc;
}

static int efc_erase_all(struct samba *s, struct error *err)
{
    int rc = OK;
    for (unsigned plane = 0; rc == OK && plane < s->part->planes; plane++)
        rc = plane_command(s, plane, CMD_EA, 0, EA_US, err);
    return rc == OK ? OK : error_context(err, "erasing the whole flash");
}

static int efc_info(struct samba *s, struct device_info *info, struct error *err)
{
    uint32_t bits = 0;
    int rc = get_gpnvm(s, &bits, err);
    if (rc == OK && has_boot_bit(s))
        device_info_add(info, "starts", "%s (GPNVM2 = %u)",
                        bits >> GPNVM_BOOT & 1 ? "the flash" : "the ROM",
                        (unsigned)(bits >> GPNVM_BOOT & 1));
    return rc;
}

const struct flash_controller samba_efc = {
    .name = "EFC",
    .prepare = efc_prepare,
    .erase = efc_erase,
    .program = efc_program,
    .erase_all = efc_erase_all,
    .unlock = efc_unlock,
    .fuses = efc_fuses,
    .set_fuse = efc_set_fuse,
    .fuse_danger = efc_fuse_danger,
    .security = efc_security,
    .info = efc_info,
    .boot_bit = efc_boot_bit,
};
