/*
 * STK500v1 as spoken by Arduino's serial bootloaders: optiboot and the ATmegaBOOT_168 family.
 * Document: Atmel AVR061; what the loaders make of it: optiboot.c, ATmegaBOOT_168.c.
 *
 * Two things to know. A bad byte kills optiboot (its watchdog starts the application) and there is
 * no checksum, so nothing is sent twice: a run that fails is started again with a reset. And the
 * receiver holds three bytes: a command may be joined to LOAD_ADDRESS, two pages may not be joined.
 */
#include <stdlib.h>
#include <string.h>

#include "avr/knock.h"
#include "avr/stk500v1_loader.h"

enum {
    CLEAR_OF_RESET_US = 100 * MILLISECOND, /* oscillator start-up, 66 ms by fuse SUT=11 */
    ANSWER_US = 475 * MILLISECOND,         /* optiboot's three LED flashes take 375 ms */
    REQUESTS = 3,                          /* of GET_SYNC for one reset */
    EEPROM_BLOCK = 64,                     /* even; each byte takes 4..9 ms to program */
    BANK = 0x10000,
    OPTIBOOT_READ_MAX = 256,      /* its length is 8 bits */
    ATMEGABOOT_READ_MAX = 0x8000, /* 16 bits; it must not cross 64 KiB */
    ARDUINO_ISP_MINOR = 0x12,     /* its parameter 82; ATmegaBOOT has 0x10 */
};

/* ---- Connecting ---- */

/* One request, a long wait: more of them overrun the receiver while the loader flashes its LED, and
 * the command after them dies. */
static int get_in_sync(struct knock *knock, struct stk500v1 *wire, struct error *err)
{
    struct clock *clock = wire->serial->clock;
    clock->sleep_until(clock, knock->reset + CLEAR_OF_RESET_US);
    int rc = ERR_NO_ANSWER;
    for (unsigned i = 0; i < REQUESTS && rc == ERR_NO_ANSWER; i++) {
        rc = stk500v1_sync(wire, clock_in(clock, ANSWER_US), err);
        if (rc == OK && i > 0) { /* a late answer to the request before may follow */
            ssize_t late = serial_drain(wire->serial, 20 * MILLISECOND, ANSWER_US, err);
            rc = late < 0 ? (int)late : OK;
        }
    }
    return rc;
}

static int identify(struct stk500v1_loader *s, struct error *err)
{
    static const uint8_t read_sign[] = {STK_READ_SIGN};
    int rc = stk500v1_parameter(&s->wire, STK_SW_MAJOR, &s->major, STK500V1_REPLY_US, err);
    if (rc == OK)
        rc = stk500v1_parameter(&s->wire, STK_SW_MINOR, &s->minor, STK500V1_REPLY_US, err);
    if (rc == OK)
        rc = stk500v1_command(&s->wire, read_sign, sizeof read_sign, s->signature, 3,
                              STK500V1_REPLY_US, err);
    if (rc != OK) {
        error_context(err, "asking the bootloader who it is");
        error_hint(err, "run the same command again; another program may read this port "
                        "(`mflash doctor`)");
        return rc;
    }
    /* ATmegaBOOT says 1.16; optiboot says 3 for what it does not know, else its version. */
    s->kind = s->major == 1 ? ATMEGABOOT : s->major >= 3 ? OPTIBOOT : UNKNOWN_LOADER;
    return OK;
}

static int once(struct knock *knock, struct error *err)
{
    struct stk500v1_loader *s = knock->session->state;
    *s = (struct stk500v1_loader){.wire = {.serial = knock->session->serial}, .extended = -1};
    int rc = get_in_sync(knock, &s->wire, err);
    knock->heard = s->wire.heard;
    return rc == OK ? identify(s, err) : rc;
}

/* An Arduino with the ArduinoISP sketch answers too, for the chip behind it. */
static int refuse_programmer(struct stk500v1_loader *s, struct error *err)
{
    uint8_t mode = 0;
    if (s->minor != ARDUINO_ISP_MINOR)
        return OK;
    int rc = stk500v1_parameter(&s->wire, STK_PROGMODE, &mode, STK500V1_REPLY_US, err);
    if (rc != OK || mode != 'S')
        return rc;
    error_set(err, ERR_PROTOCOL, "this is a programmer (ArduinoISP), not a bootloader");
    return error_hint(err, "use it with -p arduino-isp:%s", s->wire.serial->name);
}

static void stk500v1_disconnect(struct session *session)
{
    free(session->state);
    session->state = NULL;
}

static int stk500v1_connect(struct session *session, struct error *err)
{
    struct stk500v1_loader *s = calloc(1, sizeof *s);
    if (!s)
        return error_memory(err);
    session->state = s;
    int rc = knock(session, once, err);
    if (rc == OK)
        rc = refuse_programmer(s, err);
    if (rc == OK)
        rc = session_check_signature(session, s->signature, err);
    if (rc != OK)
        stk500v1_disconnect(session);
    return rc;
}

static int stk500v1_info(struct session *session, struct device_info *info, struct error *err)
{
    (void)err;
    static const char *const names[] = {"unknown, version", "optiboot", "ATmegaBOOT"};
    const struct stk500v1_loader *s = session->state;
    char signature[96];
    signature_text(s->signature, signature, sizeof signature);
    device_info_add(info, "bootloader", "%s %u.%u", names[s->kind], s->major, s->minor);
    device_info_add(info, "signature", "%s", signature);
    return OK;
}

/* ---- Writing ---- */

static int failed_at(struct error *err, const char *doing, enum memory memory, uint64_t address)
{
    error_context(err, "%s %s at 0x%05llx", doing, memory_name(memory),
                  (unsigned long long)address);
    if (err && err->code == ERR_GONE)
        return error_hint(err, "check the cable, then run the same command again");
    return error_hint(err, "run the same command again: it starts with a reset");
}

static int write_page(struct session *session, uint64_t address, const uint8_t *data, size_t length,
                      size_t payload, struct error *err)
{
    if (session_stopped(session))
        return session_interrupted(err);
    int rc = stk500v1_program(session, MEM_FLASH, address, data, length, err);
    if (rc != OK)
        return failed_at(err, "writing", MEM_FLASH, address);
    session_advance(session, payload);
    return OK;
}

static int write_flash(struct session *session, const struct job *job, struct error *err)
{
    uint8_t data[STK500V1_PAGE_MAX];
    const struct region *r = job->region;
    if (r->page > STK500V1_PAGE_MAX)
        return error_set(err, ERR_FAILED, "%s: pages of %u bytes are too long for STK500v1",
                         r->name, r->page);
    struct pages pages = pages_of(job, job->erased ? PAGES_SKIP_BLANK : PAGES_TOUCHED);
    pages.first_last = true;
    int rc = OK;
    while (rc == OK && pages_next(&pages, data))
        rc = write_page(session, pages.address, data, r->page, pages.payload, err);
    return rc;
}

static int refuse_eeprom(const struct session *session, struct error *err)
{
    const struct stk500v1_loader *s = session->state;
    if (s->kind == ATMEGABOOT)
        return OK;
    error_set(err, ERR_NOT_POSSIBLE, "EEPROM is not possible over stk500v1 here, because %s",
              s->kind == OPTIBOOT
                  ? "optiboot ignores the kind of memory and would write into the flash"
                  : "this bootloader is not known to handle it");
    return error_hint(err, "use an ISP programmer (-m isp)");
}

/* One block; an odd address begins one byte lower, because addresses are loaded halved. */
static int write_eeprom_block(struct session *session, uint64_t address, const uint8_t *data,
                              size_t length, struct error *err)
{
    uint8_t block[EEPROM_BLOCK + 1];
    size_t skip = address % 2;
    int rc = OK;
    if (skip) {
        struct session quiet = *session; /* this byte is no progress */
        quiet.advance = NULL;
        rc = stk500v1_read_block(&quiet, MEM_EEPROM, address - 1, 0, block, 1, err);
    }
    memcpy(block + skip, data, length);
    if (rc == OK)
        rc = stk500v1_program(session, MEM_EEPROM, address - skip, block, skip + length, err);
    return rc;
}

static int write_eeprom_segment(struct session *session, const struct segment *segment,
                                struct error *err)
{
    for (size_t at = 0; at < segment->length;) {
        size_t left = segment->length - at;
        size_t length = left < EEPROM_BLOCK ? left : EEPROM_BLOCK;
        uint64_t address = segment->address + at;
        if (session_stopped(session))
            return session_interrupted(err);
        int rc = write_eeprom_block(session, address, segment->data + at, length, err);
        if (rc != OK)
            return failed_at(err, "writing", MEM_EEPROM, address);
        session_advance(session, length);
        at += length;
    }
    return OK;
}

static int write_eeprom(struct session *session, const struct job *job, struct error *err)
{
    int rc = refuse_eeprom(session, err);
    for (size_t i = 0; rc == OK && i < job->image->count; i++)
        if (job->image->segments[i].memory == MEM_EEPROM)
            rc = write_eeprom_segment(session, &job->image->segments[i], err);
    return rc;
}

static int stk500v1_write(struct session *session, const struct job *job, struct error *err)
{
    return job->region->memory == MEM_EEPROM ? write_eeprom(session, job, err)
                                             : write_flash(session, job, err);
}

/* There is no erase command that does anything, but writing a page erases it. */
static int stk500v1_erase(struct session *session, const struct span *ranges, size_t count,
                          struct error *err)
{
    const struct region *flash = chip_region(session->chip, MEM_FLASH);
    uint8_t blank[STK500V1_PAGE_MAX];
    memset(blank, 0xff, sizeof blank);
    if (!flash || flash->page > STK500V1_PAGE_MAX)
        return error_set(err, ERR_FAILED, "%s has no flash in pages", session->chip->name);
    for (size_t i = 0; i < count; i++)
        for (uint64_t at = 0; at < ranges[i].size; at += flash->page) {
            int rc =
                write_page(session, ranges[i].start + at, blank, flash->page, flash->page, err);
            if (rc != OK)
                return rc;
        }
    return OK;
}

static int stk500v1_erase_chip(struct session *session, struct error *err)
{
    const struct region *flash = chip_region(session->chip, MEM_FLASH);
    const struct loader *loader = session->loader;
    if (!flash || !loader || !loader->end)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "erasing all is not possible over stk500v1, because it is not known where "
                         "the bootloader begins");
    const struct span application = {flash->start, loader->end - flash->start};
    return stk500v1_erase(session, &application, 1, err);
}

/* ---- Reading and running ---- */

static int stk500v1_read(struct session *session, enum memory memory, uint64_t address,
                         uint8_t *bytes, size_t length, struct error *err)
{
    const struct stk500v1_loader *s = session->state;
    size_t most = s->kind == ATMEGABOOT ? ATMEGABOOT_READ_MAX : OPTIBOOT_READ_MAX;
    int rc = memory == MEM_EEPROM ? refuse_eeprom(session, err) : OK;
    while (rc == OK && length > 0) {
        size_t skip = address % 2; /* addresses are loaded as words */
        size_t to_bank = (size_t)(BANK - address % BANK);
        size_t n = length < most - skip ? length : most - skip;
        n = n < to_bank ? n : to_bank;
        if (session_stopped(session))
            return session_interrupted(err);
        rc = stk500v1_read_block(session, memory, address - skip, skip, bytes, n, err);
        if (rc != OK)
            return rc == ERR_INTERRUPTED ? rc : failed_at(err, "reading", memory, address);
        address += n;
        bytes += n;
        length -= n;
    }
    return rc;
}

static int stk500v1_run(struct session *session, struct error *err)
{
    static const uint8_t leave[] = {STK_LEAVE_PROGMODE};
    struct stk500v1_loader *s = session->state;
    int rc = stk500v1_command(&s->wire, leave, sizeof leave, NULL, 0, STK500V1_REPLY_US, err);
    if (rc == OK)
        return OK;
    error_context(err, "starting the application");
    return error_hint(err, "press RESET: the bootloader starts it after a second or two");
}

static const struct refusal refusals[] = {
    {OP_FUSES, "its loaders answer nothing true about fuses: use an ISP programmer (-m isp)"},
    {OP_SET_FUSES, "a program in the chip cannot write fuses: use an ISP programmer (-m isp)"},
    {OP_UNLOCK, "only a chip erase by an ISP programmer removes lock bits (-m isp)"},
    {OP_BOOTLOADER, "a bootloader cannot replace itself: use an ISP programmer (-m isp)"},
    {OP_COUNT, NULL},
};

const struct method method_stk500v1 = {
    .name = "stk500v1",
    .summary = "Arduino bootloaders on a serial port: optiboot, ATmegaBOOT",
    .document = "Atmel AVR061",
    .link = LINK_SERIAL,
    .baud = 115200,
    .erase_style = ERASE_BY_WRITE,
    .refusals = refusals,
    .connect = stk500v1_connect,
    .info = stk500v1_info,
    .erase = stk500v1_erase,
    .erase_chip = stk500v1_erase_chip,
    .write = stk500v1_write,
    .read = stk500v1_read,
    .run = stk500v1_run,
    .disconnect = stk500v1_disconnect,
};
