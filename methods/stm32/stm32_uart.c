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

enum {
    UNIT_MAX = 32,                     /* largest program unit: H7 */
    SMALL_PAGE = 8 * 1024,             /* families whose mass erase takes as long as one page */
    SMALL_PAGE_US = 100 * MILLISECOND, /* data sheets: 40 ms; clones are slower */
    SECTOR_STEP = 16 * 1024,           /* 16 KiB of a large sector: 0.5 s at x8, doubled */
    ERASE_LEAST_US = 2 * SECOND,
};

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

static int check_proven(const struct session *session, struct error *err)
{
    const struct stm32_part *part = session->chip->stm32;
    if (part->proven || session->force_unproven)
        return OK;
    error_refuse(err, "unproven-chip",
                 "mflash was never seen working with chips of the family STM32%s", part->family);
    return error_hint(err, "`--force unproven-chip` goes on; reading and `mflash info` are "
                           "harmless");
}

static int check_ready(struct session *session, uint64_t end, struct error *err)
{
    const struct rom_loader *rom = session->state;
    int rc = check_proven(session, err);
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

static int stm32_erase(struct session *session, const struct span *ranges, size_t count,
                       struct error *err)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++)
        if (ranges[i].start + ranges[i].size > end)
            end = ranges[i].start + ranges[i].size;
    int rc = check_ready(session, end, err);
    for (size_t i = 0; rc == OK && i < count; i++)
        for (uint64_t at = ranges[i].start; rc == OK && at < ranges[i].start + ranges[i].size;)
            rc = erase_some(session, &at, ranges[i].start + ranges[i].size, err);
    return rc;
}

/* Where mass erase does not exist, page by page. */
static int stm32_erase_chip(struct session *session, struct error *err)
{
    struct rom_loader *rom = session->state;
    int rc = check_ready(session, 0, err);
    if (rc == OK)
        rc = st_rom_erase_all(rom, err);
    if (rc == ERR_NOT_POSSIBLE) {
        uint64_t size = rom->flash_bytes && rom->flash_bytes < rom->flash.size ? rom->flash_bytes
                                                                               : rom->flash.size;
        const struct span all = {rom->flash.start, size};
        return stm32_erase(session, &all, 1, err);
    }
    return rc == OK ? OK : error_context(err, "erasing the whole chip");
}

/* ---- writing ---- */

static int failed_at(struct error *err, const char *doing, uint64_t address)
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
            return failed_at(err, "writing", address + at);
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

static int stm32_write(struct session *session, const struct job *job, struct error *err)
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

/* ---- reading ---- */

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

static int stm32_read(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
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
            return failed_at(err, "reading", address);
        session_advance(session, n);
        address += n;
        bytes += n;
        length -= n;
    }
    return OK;
}

static int stm32_verify(struct session *session, const struct job *job, struct error *err)
{
    int rc = verify_by_reading(session, job, err);
    if (rc == ERR_VERIFY)
        error_hint(err, "this boot loader acknowledges writes to protected pages too: `mflash "
                        "fuses` shows write protection, `mflash unlock` removes it; if it is off, "
                        "run the same command again");
    return rc;
}

/* ---- protection ---- */

static int stm32_unlock(struct session *session, struct error *err)
{
    int rc = check_proven(session, err);
    return rc == OK ? st_rom_unlock(session, err) : rc;
}

static int stm32_set_fuse(struct session *session, const char *name, uint32_t value,
                          struct error *err)
{
    int rc = check_proven(session, err);
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
    bool moves = rom->entry.leave.count > 0 && session->serial->ops->set_lines;
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
    .erase = stm32_erase,
    .erase_chip = stm32_erase_chip,
    .write = stm32_write,
    .verify = stm32_verify,
    .read = stm32_read,
    .fuses = st_rom_fuses,
    .set_fuse = stm32_set_fuse,
    .fuse_danger = option_danger,
    .unlock = stm32_unlock,
    .run = stm32_run,
    .disconnect = stm32_disconnect,
};
