/*
 * ISP: flash, EEPROM, fuses and lock bits of an AVR through a programmer on its SPI pins, with no
 * bootloader in between (AVR data sheets, "Serial Downloading"; see isp.h for how it is divided).
 *
 * Flash is erased as a whole or not at all: page writes only turn ones into zeros. Chip Erase takes
 * the bootloader and, unless EESAVE is set, the EEPROM with it.
 */
#include "avr/isp.h"

#include <stdlib.h>
#include <string.h>

static const struct isp_programmer *const programmers[] = {&isp_stk500v2, &isp_arduino};

enum { PROGRAMMERS = sizeof programmers / sizeof programmers[0] };

static struct isp *isp_of(struct session *session)
{
    return session->state;
}

/* ---- Connecting ---- */

/* "avrisp2:/dev/ttyUSB0" → "avrisp2" */
static bool is_kind(const char *probe, const char *kind)
{
    return strlen(kind) == strcspn(probe, ":") && strncmp(probe, kind, strlen(kind)) == 0;
}

static int refuse_chip(const struct session *session, struct error *err)
{
    if (!session->chip->avr)
        return error_set(err, ERR_NOT_POSSIBLE, "%s is not an AVR: it has no serial programming",
                         session->chip->name);
    if (!avr_fuse_at(session->chip, 0))
        return error_set(err, ERR_NOT_POSSIBLE,
                         "%s has no ISP, no fuses and no lock bits: its debug port is another one",
                         session->chip->name);
    return OK;
}

static int unknown_probe(const char *probe, struct error *err)
{
    error_set(err, ERR_USAGE, "--probe %s: no such AVR programmer on a serial port", probe);
    return error_hint(err, "known are avrisp2:PORT (STK500v2) and arduino-isp:PORT");
}

static int open_programmer(struct isp *isp, const struct isp_programmer *programmer, bool asked,
                           struct error *err)
{
    struct session *session = isp->session;
    isp->programmer = programmer;
    int rc =
        serial_set_baud(session->serial, session->baud ? session->baud : programmer->baud, err);
    if (rc == OK)
        rc = programmer->open(isp, asked, err);
    if (rc != OK)
        programmer->close(isp);
    return rc;
}

static int open_named(struct isp *isp, const char *probe, struct error *err)
{
    for (size_t n = 0; n < PROGRAMMERS; n++) {
        if (!is_kind(probe, programmers[n]->kind))
            continue;
        int rc = open_programmer(isp, programmers[n], true, err);
        if (rc == OK)
            return OK;
        if (rc == ERR_NO_ANSWER && !err->hint[0])
            error_hint(err, "check the port, the programmer's power, and its rate (`--baud`)");
        return error_context(err, "%s: looking for a programmer (%s)", isp->session->serial->name,
                             programmers[n]->name);
    }
    return unknown_probe(probe, err);
}

static int open_any(struct isp *isp, struct error *err)
{
    int rc = ERR_NO_ANSWER;
    for (size_t n = 0; n < PROGRAMMERS && (rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL); n++)
        rc = open_programmer(isp, programmers[n], false, err);
    if (rc != ERR_NO_ANSWER)
        return rc;
    error_context(err, "%s: no programmer answers, neither STK500v2 nor ArduinoISP",
                  isp->session->serial->name);
    return error_hint(err, "say which one it is (--probe avrisp2:PORT or arduino-isp:PORT) and, if "
                           "it has another rate, --baud");
}

static void note_lock(const struct isp *isp)
{
    if ((isp->lock & LOCK_LB) != LOCK_OPEN)
        session_note(isp->session,
                     "lock bits are set (%02x): only `mflash unlock`, which erases "
                     "the chip, makes it writable",
                     isp->lock);
}

static int identify(struct isp *isp, struct error *err)
{
    int rc = isp_target_enter(isp, err);
    if (rc == OK)
        rc = session_check_signature(isp->session, isp->signature, err);
    if (rc == OK)
        rc = isp_target_settle(isp, err);
    if (rc == OK)
        note_lock(isp);
    return rc;
}

static void isp_disconnect(struct session *session)
{
    struct isp *isp = isp_of(session);
    if (!isp)
        return;
    if (isp->entered)
        (void)isp_target_leave(isp, NULL);
    isp->programmer->close(isp);
    free(isp);
    session->state = NULL;
}

static int isp_connect(struct session *session, struct error *err)
{
    int rc = refuse_chip(session, err);
    if (rc != OK)
        return rc;
    struct isp *isp = calloc(1, sizeof *isp);
    if (!isp)
        return error_memory(err);
    isp->session = session;
    isp->part = session->chip->avr;
    rc = session->probe ? open_named(isp, session->probe, err) : open_any(isp, err);
    if (rc != OK) {
        free(isp);
        return rc;
    }
    session->state = isp;
    rc = identify(isp, err);
    if (rc != OK)
        isp_disconnect(session);
    return rc;
}

/* ---- Memory ---- */

static int check_region(const struct region *region, struct error *err)
{
    bool known = region->memory == MEM_FLASH || region->memory == MEM_EEPROM;
    if (known && region->page > 0 && region->page <= ISP_BLOCK_MAX)
        return OK;
    return error_set(err, ERR_NOT_POSSIBLE, "%s has no pages that a programmer can write",
                     region->name);
}

/* An EEPROM page is erased as it is written: bytes that the image does not have are kept. */
static int keep_neighbours(struct isp *isp, const struct pages *pages, uint8_t *page,
                           struct error *err)
{
    const struct job *job = pages->job;
    if (job->region->memory != MEM_EEPROM || pages->payload == job->region->page)
        return OK;
    int rc = isp->programmer->read(isp, MEM_EEPROM, (uint32_t)pages->address, page,
                                   job->region->page, err);
    for (size_t i = 0; rc == OK && i < job->region->page; i++) {
        uint8_t byte;
        if (image_read(job->image, MEM_EEPROM, pages->address + i, &byte, 1, 0))
            page[i] = byte;
    }
    return rc;
}

static int write_page(struct isp *isp, const struct pages *pages, uint8_t *page, struct error *err)
{
    const struct region *region = pages->job->region;
    int rc = keep_neighbours(isp, pages, page, err);
    if (rc == OK)
        rc = isp->programmer->write_page(isp, region->memory, (uint32_t)pages->address, page,
                                         region->page, err);
    if (rc != OK)
        return error_context(err, "writing %s at 0x%05x", region->name, (unsigned)pages->address);
    session_advance(isp->session, pages->payload);
    return OK;
}

/* Chip Erase leaves flash blank; EEPROM may have been kept by EESAVE. */
static int isp_write(struct session *session, const struct job *job, struct error *err)
{
    bool skip = job->erased && job->region->memory == MEM_FLASH;
    uint8_t page[ISP_BLOCK_MAX];
    int rc = check_region(job->region, err);
    if (rc == OK)
        rc = isp_check_lock(isp_of(session), false, err);
    struct pages pages = pages_of(job, skip ? PAGES_SKIP_BLANK : PAGES_TOUCHED);
    while (rc == OK && pages_next(&pages, page))
        rc = session_stopped(session) ? session_interrupted(err)
                                      : write_page(isp_of(session), &pages, page, err);
    return rc;
}

/* Programmers read words, and not across a bank: a block is even at both ends, and what was not
 * asked for is left out. Returns how many bytes of the block were asked for. */
static int read_block(struct isp *isp, enum memory memory, uint64_t address, uint8_t *bytes,
                      size_t length, size_t *taken, struct error *err)
{
    uint8_t block[ISP_BLOCK_MAX];
    uint64_t start = address & ~(uint64_t)1;
    size_t skipped = (size_t)(address - start);
    size_t room = ISP_BLOCK_MAX - (size_t)(start % ISP_BLOCK_MAX); /* banks are multiples of it */
    size_t wanted = skipped + length < room ? skipped + length : room;
    int rc =
        isp->programmer->read(isp, memory, (uint32_t)start, block, (wanted + 1) & ~(size_t)1, err);
    if (rc != OK)
        return rc;
    *taken = wanted - skipped;
    memcpy(bytes, block + skipped, *taken);
    return OK;
}

static int isp_read(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
                    size_t length, struct error *err)
{
    const struct region *region = chip_region(session->chip, memory);
    if (!region || address < region->start || length > region->size ||
        address - region->start > region->size - length)
        return error_set(err, ERR_NOT_POSSIBLE, "%s has no %s at 0x%05llx", session->chip->name,
                         memory_name(memory), (unsigned long long)address);
    int rc = isp_check_lock(isp_of(session), true, err);
    for (size_t done = 0, taken = 0; rc == OK && done < length; done += taken) {
        if (session_stopped(session))
            return session_interrupted(err);
        uint64_t at = address + done;
        rc = read_block(isp_of(session), memory, at, bytes + done, length - done, &taken, err);
        if (rc != OK)
            return error_context(err, "reading %s at 0x%05llx", region->name,
                                 (unsigned long long)at);
        session_advance(session, taken);
    }
    return rc;
}

static int isp_erase_chip(struct session *session, struct error *err)
{
    struct isp *isp = isp_of(session);
    uint8_t hfuse = 0;
    int rc = isp_read_fuse(isp, avr_fuse_find(session->chip, "hfuse"), &hfuse, err);
    if (rc == OK)
        rc = isp_target_erase(isp, err);
    if (rc == OK && hfuse & HFUSE_EESAVE)
        session_note(session, "the EEPROM was erased too (EESAVE is not programmed)");
    return rc;
}

static int isp_unlock(struct session *session, struct error *err)
{
    int rc = isp_erase_chip(session, err);
    if (rc != OK || (isp_of(session)->lock & LOCK_LB) == LOCK_OPEN)
        return rc;
    return error_set(err, ERR_PROTECTED, "the lock bits are still %02x after Chip Erase",
                     isp_of(session)->lock);
}

/* ---- Fuses ---- */

static int isp_set_fuse(struct session *session, const char *name, uint32_t value,
                        struct error *err)
{
    const struct avr_fuse *fuse = avr_fuse_find(session->chip, name);
    if (!fuse)
        return error_set(err, ERR_USAGE, "%s has no fuse %s", session->chip->name, name);
    if (value > 0xff)
        return error_set(err, ERR_USAGE, "%s=0x%x: a fuse has 8 bits", name, (unsigned)value);
    return isp_write_fuse(isp_of(session), fuse, (uint8_t)value, err);
}

/* ---- Leaving, and coming back ---- */

static int wrong_clock(const struct isp *isp, uint8_t lfuse, struct error *err)
{
    char text[sizeof((struct fuse *)0)->text];
    fuse_decode(isp->session->chip, "lfuse", lfuse, text, sizeof text);
    error_set(err, ERR_NO_ANSWER,
              "no echo from the %s with its new clock: lfuse = %02x, %s: wrong clock fuse for this "
              "board",
              isp->session->chip->name, lfuse, text);
    return error_hint(err, "the chip waits for that clock: feed a clock signal (1 to 8 MHz) into "
                           "its XTAL1 pin and run the same command with the right lfuse");
}

/* New clock fuses come into force here: the first moment that shows whether they suit the board. */
static int isp_restart(struct session *session, struct error *err)
{
    struct isp *isp = isp_of(session);
    uint8_t old = isp->lfuse, lfuse = old;
    int rc = isp_read_fuse(isp, avr_fuse_find(session->chip, "lfuse"), &lfuse, err);
    if (rc == OK)
        rc = isp_target_leave(isp, err);
    if (rc != OK)
        return error_context(err, "restarting the chip");
    session->clock->sleep_until(
        session->clock, clock_in(session->clock, (uint64_t)ISP_RESET_RELEASED_MS * MILLISECOND));
    isp->stay_slow = false;
    rc = isp_target_enter(isp, err);
    if (rc == ERR_NO_ANSWER && !isp->entered && lfuse != old)
        return wrong_clock(isp, lfuse, err);
    return rc == OK ? isp_target_settle(isp, err) : rc;
}

static int isp_run(struct session *session, struct error *err)
{
    int rc = isp_of(session)->entered ? isp_target_leave(isp_of(session), err) : OK;
    return rc == OK ? OK : error_context(err, "releasing RESET");
}

static const struct refusal refusals[] = {
    {OP_ERASE_RANGE, "serial programming knows Chip Erase only: page writes cannot turn zeros back "
                     "into ones"},
    {OP_ENTER, "the programmer holds the chip in reset itself: there is no bootloader to enter"},
    {0, NULL},
};

const struct method method_isp = {
    .name = "isp",
    .summary = "an AVR through a programmer on its SPI pins: STK500v2 or ArduinoISP",
    .document = "Atmel AVR068, AVR061 and the AVR data sheets, \"Serial Downloading\"",
    .link = LINK_SERIAL,
    .rom = true,
    .probe = true,
    .baud = 115200,
    .erase_style = ERASE_WHOLE,
    .refusals = refusals,
    .connect = isp_connect,
    .info = isp_info,
    .erase_chip = isp_erase_chip,
    .write = isp_write,
    .read = isp_read,
    .fuses = isp_fuses,
    .fuse_danger = fuse_danger,
    .set_fuse = isp_set_fuse,
    .unlock = isp_unlock,
    .restart = isp_restart,
    .run = isp_run,
    .disconnect = isp_disconnect,
};
