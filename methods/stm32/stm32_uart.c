/*
 * The boot loader in the ROM of every STM32, on a UART. Documents: ST AN3155 (protocol), AN2606
 * (what each part's loader can do).
 *
 * Two things to know. The loader acknowledges writes and erases that did not happen (protected
 * pages, cells that were not blank), so only reading back proves anything. And Go does not start
 * from a reset: where the host can move BOOT0 and NRST, that is better.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stm32/options.h"
#include "stm32/protect.h"
#include "stm32/rom_connect.h"
#include "stm32/rom_job.h"

/* ---- connecting ---- */

static bool answers_for(const struct stm32_part *part, unsigned pid)
{
    for (size_t i = 0; i < sizeof part->pids / sizeof part->pids[0] && part->pids[i]; i++)
        if (part->pids[i] == pid)
            return true;
    return false;
}

static int check_product(struct session *session, struct error *err)
{
    const struct rom_loader *rom = session->state;
    const struct stm32_part *part = session->chip->stm32;
    char found[96];
    st_rom_part_text(rom->pid, found, sizeof found);
    if (rom->pid == part->pids[0])
        return OK;
    if (answers_for(part, rom->pid)) {
        session_note(session, "the device's product id is %s: a clone of %s, or a sibling", found,
                     session->chip->name);
        return OK;
    }
    if (session->force_signature) {
        session_note(session, "the device's product id is %s, not that of the board's %s: forced",
                     found, session->chip->name);
        return OK;
    }
    error_refuse(err, "signature",
                 "the device's product id is %s, but the board has an %s (0x%03x)", found,
                 session->chip->name, part->pids[0]);
    return error_hint(err, "name the right board with --board, or the right chip with --chip; "
                           "`--force signature` goes on regardless");
}

static void say_size(struct session *session)
{
    const struct rom_loader *rom = session->state;
    if (rom->flash_bytes && rom->flash_bytes < session->chip->regions[0].size)
        session_note(session, "the chip says it has %u KiB of flash, an %s has %u",
                     (unsigned)(rom->flash_bytes / 1024), session->chip->name,
                     (unsigned)(session->chip->regions[0].size / 1024));
}

static void stm32_disconnect(struct session *session)
{
    struct rom_loader *rom = session->state;
    if (rom)
        entry_release(&rom->entry);
    free(rom);
    session->state = NULL;
}

static int connect_with(struct session *session, struct rom_loader *rom, struct error *err)
{
    const char *gpio_chip = loader_setting(session->loader, "gpiochip");
    rom->entry.gpio_chip = gpio_chip ? gpio_chip : "/dev/gpiochip0";
    int rc = entry_parse(&rom->entry, loader_setting(session->loader, "sequence"), err);
    if (rc == OK)
        rc = st_rom_connect(session, err);
    if (rc == OK)
        rc = check_product(session, err);
    if (rc == OK)
        rc = st_rom_look_around(session, err);
    return rc;
}

static int stm32_connect(struct session *session, struct error *err)
{
    if (!session->chip->stm32)
        return error_set(err, ERR_NOT_POSSIBLE, "%s is no STM32: it has no such boot loader",
                         session->chip->name);
    struct rom_loader *rom = calloc(1, sizeof *rom);
    if (!rom)
        return error_memory(err);
    session->state = rom;
    int rc = connect_with(session, rom, err);
    if (rc == OK)
        say_size(session);
    else
        stm32_disconnect(session);
    return rc;
}

static int stm32_info(struct session *session, struct device_info *info, struct error *err)
{
    struct rom_loader *rom = session->state;
    char part[96];
    st_rom_part_text(rom->pid, part, sizeof part);
    device_info_add(info, "bootloader", "ST ROM, protocol %u.%u", rom->version >> 4,
                    rom->version & 0xf);
    device_info_add(info, "product id", "%s", part);
    if (rom->flash_bytes)
        device_info_add(info, "flash", "%u KiB", (unsigned)(rom->flash_bytes / 1024));
    device_info_add(info, "protection", "%s",
                    rom->protected ? "readout protection is on: `mflash unlock` removes it and "
                                     "erases the chip"
                                   : "none against reading");
    return st_rom_more_info(session, info, err);
}

/* ---- protection ---- */

static int stm32_unlock(struct session *session, struct error *err)
{
    int rc = session_check_proven(session, session->chip->stm32->proven, err);
    return rc == OK ? st_rom_unlock(session, err) : rc;
}

static int stm32_set_fuse(struct session *session, const char *name, uint32_t value,
                          struct error *err)
{
    int rc = session_check_proven(session, session->chip->stm32->proven, err);
    return rc == OK ? st_rom_set_fuse(session, name, value, err) : rc;
}

/* ---- starting ---- */

/* What starts after a reset, if there is something; else what was written. */
static int find_start(struct session *session, uint32_t *address, struct error *err)
{
    struct rom_loader *rom = session->state;
    uint8_t word[4];
    *address = (uint32_t)rom->flash.start;
    int rc = st_rom_read(rom, *address, word, sizeof word, err);
    if (rc != OK || get_le32(word) != UINT32_MAX)
        return rc;
    if (rom->wrote)
        *address = rom->wrote_at;
    else if (session->loader->start_count)
        *address = (uint32_t)session->loader->starts[0];
    return OK;
}

static int go(struct session *session, struct error *err)
{
    struct rom_loader *rom = session->state;
    uint32_t address;
    int rc = find_start(session, &address, err);
    if (rc == OK)
        rc = st_rom_go(rom, address, err);
    if (rc == OK && rom->part && rom->part->quirks & QUIRK_EMPTY_FLAG)
        session_note(session, "if the chip is back in its boot loader, switch its power off and "
                              "on: it remembers that it was empty");
    return rc;
}

static int stm32_run(struct session *session, struct error *err)
{
    struct rom_loader *rom = session->state;
    bool moves = entry_can_play(session, &rom->entry.leave);
    int rc = moves ? entry_play(session, &rom->entry, &rom->entry.leave, err) : go(session, err);
    if (rc == OK)
        return OK;
    error_context(err, "starting the application");
    if (err && err->code == ERR_PROTECTED)
        return err->code;
    return error_hint(err, "set BOOT0 low and press reset");
}

static const char *const keys[] = {"sequence", "gpiochip", "parity", NULL};

static const struct refusal refusals[] = {
    {OP_EEPROM, "an STM32 has none that this boot loader writes"},
    {OP_COUNT, NULL},
};

const struct method method_stm32_uart = {
    .name = "stm32-uart",
    .summary = "the boot loader in every STM32's ROM, on a serial port",
    .document = "ST AN3155",
    .link = LINK_SERIAL,
    .rom = true,
    .baud = 115200,
    .erase_style = ERASE_RANGES,
    .refusals = refusals,
    .keys = keys,
    .connect = stm32_connect,
    .info = stm32_info,
    .erase = st_rom_job_erase,
    .erase_chip = st_rom_job_erase_chip,
    .write = st_rom_job_write,
    .equal = st_rom_job_equal,
    .verify = st_rom_job_verify,
    .read = st_rom_job_read,
    .fuses = st_rom_fuses,
    .set_fuse = stm32_set_fuse,
    .fuse_danger = option_danger,
    .unlock = stm32_unlock,
    .run = stm32_run,
    .disconnect = stm32_disconnect,
};
