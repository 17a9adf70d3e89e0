/* See protect.h. */
#include "stm32/protect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "stm32/options.h"
#include "stm32/rom_connect.h"

enum {
    CHANGE_US = 2 * SECOND, /* option bytes: erased and written, 50 ms; then the reset */
    UNPROTECT_US = 40 * SECOND,
    UNPROTECT_LARGE_US = 120 * SECOND, /* 2 MiB F4 and F7: 32 s and more for the mass erase */
    LARGE_FLASH = 1024 * 1024,
};

/* ---- the four protection commands ---- */

/* Two ACKs, the second when it is done; then the chip resets. A lost second one does no harm: what
 * came of it is seen after the reset. */
static int change(struct session *session, enum rom_command command, uint64_t patience,
                  struct error *err)
{
    struct rom_loader *rom = session->state;
    int rc;
    for (unsigned tries = 0;;) {
        rc = st_rom_command(&rom->wire, command, err);
        if (rc == OK || rom->wire.outcome != ROM_REFUSED || !st_rom_again(&rom->wire, &tries))
            break;
    }
    if (rc == OK)
        rc = st_rom_ack(&rom->wire, patience, err);
    if (rc != OK && rom->wire.outcome != ROM_LOST)
        return rc;
    return st_rom_reconnect(session, patience, err);
}

static uint64_t unprotect_time(const struct rom_loader *rom)
{
    return rom->flash.size >= LARGE_FLASH ? UNPROTECT_LARGE_US : UNPROTECT_US;
}

static int readout_unprotect(struct session *session, struct error *err)
{
    struct rom_loader *rom = session->state;
    int rc = change(session, ROM_READOUT_UNPROTECT, unprotect_time(rom), err);
    if (rc == OK && rom->protected)
        rc = error_set(err, ERR_PROTECTED, "readout protection is still on");
    return rc == OK ? OK : error_context(err, "removing readout protection");
}

static int readout_protect(struct session *session, struct error *err)
{
    struct rom_loader *rom = session->state;
    int rc = change(session, ROM_READOUT_PROTECT, CHANGE_US, err);
    if (rc == OK && !rom->protected)
        rc = error_set(err, ERR_VERIFY, "the device can still be read");
    return rc == OK ? OK : error_context(err, "setting readout protection");
}

int st_rom_unlock(struct session *session, struct error *err)
{
    const struct rom_loader *rom = session->state;
    int rc = OK;
    if (rom->protected)
        rc = readout_unprotect(session, err);
    else
        session_note(session, "readout protection is off: nothing is erased");
    if (rc != OK || !st_rom_has(rom, ROM_WRITE_UNPROTECT))
        return rc;
    rc = change(session, ROM_WRITE_UNPROTECT, CHANGE_US, err);
    return rc == OK ? OK : error_context(err, "removing write protection");
}

/* ---- option bytes ---- */

static int transfer_area(struct session *session, uint8_t *area, struct error *err)
{
    const struct stm32_part *part = session->chip->stm32;
    struct rom_loader *rom = session->state;
    int rc = OK;
    for (uint32_t at = 0; rc == OK && at < part->option_bytes; at += (uint32_t)rom->block) {
        size_t left = part->option_bytes - at;
        rc = st_rom_read(rom, part->option_base + at, area + at,
                         left < rom->block ? left : rom->block, err);
    }
    return rc == OK ? OK : error_context(err, "reading the option bytes");
}

static bool has_area(const struct chip *chip)
{
    const struct stm32_part *part = chip->stm32;
    return part->option_base && part->option_bytes && part->option_bytes <= OPTIONS_MAX;
}

static void add(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
                const char *name, uint32_t value, uint32_t mask)
{
    if (*count >= FUSES_MAX)
        return;
    struct fuse *fuse = &fuses[(*count)++];
    *fuse = (struct fuse){.value = value, .mask = mask};
    (void)snprintf(fuse->name, sizeof fuse->name, "%s", name);
    option_decode(session->chip, name, value, fuse->text, sizeof fuse->text);
}

int st_rom_fuses(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
                 struct error *err)
{
    const struct rom_loader *rom = session->state;
    uint8_t area[OPTIONS_MAX];
    const struct option_field *field;
    *count = 0;
    if (rom->protected || !has_area(session->chip)) { /* all that can be known from outside */
        add(session, fuses, count, "rdp",
            rom->protected ? RDP_LEVEL_1 : option_rdp_open(session->chip), 0xff);
        return OK;
    }
    int rc = transfer_area(session, area, err);
    for (size_t n = 0; rc == OK && (field = option_at(session->chip, n)); n++)
        add(session, fuses, count, field->name, option_get(field, area), option_mask(field));
    return rc;
}

static int unknown_option(const struct chip *chip, const char *name, struct error *err)
{
    char names[192] = "";
    const struct option_field *field;
    for (size_t n = 0; has_area(chip) && (field = option_at(chip, n)); n++)
        text_append(names, sizeof names, "%s%s", n ? ", " : "", field->name);
    error_set(err, ERR_USAGE, "%s has no option byte \"%s\" that its boot loader shows", chip->name,
              name);
    return error_hint(err, "there is %s", names[0] ? names : "rdp");
}

static int compare_option(struct session *session, const struct option_field *field, uint32_t value,
                          struct error *err)
{
    uint8_t area[OPTIONS_MAX];
    int rc = transfer_area(session, area, err);
    if (rc == OK && option_get(field, area) != value)
        rc = error_set(err, ERR_VERIFY, "wrote 0x%02" PRIx32 ", device has 0x%02" PRIx32, value,
                       option_get(field, area));
    return rc;
}

/* The whole area in one Write; the loader erases it first, writes, acknowledges, and resets. */
static int write_area(struct session *session, const struct option_field *field, uint32_t value,
                      struct error *err)
{
    struct rom_loader *rom = session->state;
    const struct stm32_part *part = session->chip->stm32;
    uint8_t area[OPTIONS_MAX];
    int rc = transfer_area(session, area, err);
    if (rc != OK || option_get(field, area) == value)
        return rc;
    if (part->option_bytes > rom->block)
        return error_set(err, ERR_NOT_POSSIBLE, "the option bytes do not fit into one Write");
    option_set(field, area, value);
    rc = st_rom_write_options(rom, part->option_base, area, part->option_bytes, err);
    if (rc == OK)
        rc = st_rom_reconnect(session, CHANGE_US, err);
    /* What is closed for reading now cannot be compared. */
    return rc == OK && !rom->protected ? compare_option(session, field, value, err) : rc;
}

static int set_rdp(struct session *session, uint32_t value, struct error *err)
{
    const struct rom_loader *rom = session->state;
    const struct option_field *field = option_find(session->chip, "rdp");
    if (value == option_rdp_open(session->chip))
        return rom->protected ? readout_unprotect(session, err) : OK;
    if (rom->protected)
        return value == RDP_LEVEL_2 ? st_rom_protected(err) : OK;
    if (value != RDP_LEVEL_2 || strcmp(session->chip->stm32->family, "F1") == 0)
        return readout_protect(session, err);
    return field ? write_area(session, field, value, err)
                 : error_set(err, ERR_NOT_POSSIBLE, "this boot loader cannot set level 2");
}

int st_rom_set_fuse(struct session *session, const char *name, uint32_t value, struct error *err)
{
    const struct rom_loader *rom = session->state;
    const struct option_field *field =
        has_area(session->chip) ? option_find(session->chip, name) : NULL;
    bool is_rdp = strcasecmp(name, "rdp") == 0;
    if (!field && !is_rdp)
        return unknown_option(session->chip, name, err);
    if (value > (field ? option_mask(field) : 0xff))
        return error_set(err, ERR_USAGE, "0x%" PRIx32 " does not fit into %s", value, name);
    int rc = is_rdp           ? set_rdp(session, value, err)
             : rom->protected ? st_rom_protected(err)
                              : write_area(session, field, value, err);
    if (rc != OK)
        error_context(err, "setting %s of %s to 0x%02" PRIx32, name, session->chip->name, value);
    return rc;
}
