/*
 * AVR109 as spoken by Caterina (Arduino Leonardo, Micro, Pro Micro) and by LUFA's CDC bootloader.
 * Document: Atmel AVR109; what the loader makes of it: Arduino Caterina.c.
 *
 * One thing to know: bringing the board into this bootloader, and finding its port again, was done
 * before; what is here begins with a port that should be the bootloader's.
 */
#include <stdlib.h>
#include <string.h>

#include "avr/avr109_queue.h"
#include "avr/fuses.h"
#include "avr/heard.h"

enum {
    QUESTIONS = 3, /* of the name */
    LATE_US = 50 * MILLISECOND,
    ERASE_US = 10 * SECOND,
    LEAVE_US = SECOND, /* the loader leaves the bus after 500 ms */
    READ_MAX = 0x8000, /* lengths have 16 bits */
};

/* ---- Connecting ---- */

static bool is_name(const uint8_t *bytes)
{
    for (size_t i = 0; i < AVR109_NAME_LENGTH; i++)
        if (bytes[i] < 0x20 || bytes[i] > 0x7e)
            return false;
    return true;
}

static int ask_name(struct avr109 *s, struct error *err)
{
    uint8_t name[AVR109_NAME_LENGTH];
    int rc = ERR_NO_ANSWER;
    for (unsigned i = 0; i < QUESTIONS && rc == ERR_NO_ANSWER; i++) {
        ssize_t stray = i ? serial_drain(s->serial, LATE_US, AVR109_QUESTION_US, err) : 0;
        rc = stray < 0 ? (int)stray : avr109_ask(s, 'S', name, sizeof name, err);
    }
    if (rc == OK && !is_name(name)) {
        struct heard heard = {.total = 0};
        char text[HEARD_TEXT_MAX];
        heard_add(&heard, name, sizeof name);
        rc = error_set(err, ERR_PROTOCOL, "the bootloader does not tell its name: %s",
                       heard_describe(&heard, text));
    }
    if (rc == OK)
        memcpy(s->name, name, sizeof name);
    if (rc == OK || rc == ERR_GONE)
        return rc;
    error_context(err, "asking the bootloader for its name");
    return error_hint(err, "press RESET once (on some clones twice within a second) and run the "
                           "command within 8 seconds; another program may hold the port "
                           "(`mflash doctor`)");
}

static int ask_buffer(struct avr109 *s, struct error *err)
{
    uint8_t reply[3];
    int rc = avr109_ask(s, 'b', reply, sizeof reply, err);
    if (rc != OK)
        return error_context(err, "asking for the block size");
    s->buffer = (size_t)reply[1] << 8 | reply[2];
    if (reply[0] != 'Y' || s->buffer == 0)
        return error_set(err, ERR_PROTOCOL, "the bootloader writes no blocks (%02x %02x %02x)",
                         reply[0], reply[1], reply[2]);
    return OK;
}

static int ask_signature(struct avr109 *s, struct error *err)
{
    uint8_t reversed[3];
    int rc = avr109_ask(s, 's', reversed, sizeof reversed, err);
    if (rc != OK)
        return error_context(err, "asking for the signature");
    for (size_t i = 0; i < 3; i++)
        s->signature[i] = reversed[2 - i];
    return OK;
}

static void avr109_disconnect(struct session *session)
{
    free(session->state);
    session->state = NULL;
}

static int avr109_connect(struct session *session, struct error *err)
{
    struct avr109 *s = calloc(1, sizeof *s);
    if (!s)
        return error_memory(err);
    session->state = s;
    s->serial = session->serial;
    s->address = UINT64_MAX;
    serial_drop_input(s->serial);
    int rc = ask_name(s, err);
    if (rc == OK)
        rc = ask_signature(s, err);
    if (rc == OK)
        rc = ask_buffer(s, err);
    if (rc == OK)
        rc = session_check_signature(session, s->signature, err);
    if (rc != OK)
        avr109_disconnect(session);
    return rc;
}

static int avr109_info(struct session *session, struct device_info *info, struct error *err)
{
    struct avr109 *s = session->state;
    char signature[96];
    uint8_t version[2];
    int rc = avr109_ask(s, 'V', version, sizeof version, err);
    if (rc != OK)
        return error_context(err, "asking for the bootloader's version");
    signature_text(s->signature, signature, sizeof signature);
    device_info_add(info, "bootloader", "%s %c.%c", s->name, version[0], version[1]);
    device_info_add(info, "signature", "%s", signature);
    return OK;
}

/* ---- Writing, erasing ---- */

static int check_page(const struct session *session, const struct region *flash, struct error *err)
{
    const struct avr109 *s = session->state;
    if (flash && flash->page <= AVR109_BLOCK_MAX && flash->page <= s->buffer)
        return OK;
    return error_set(err, ERR_PROTOCOL,
                     "the bootloader takes blocks of %zu bytes, less than a page", s->buffer);
}

static int write_flash(struct session *session, const struct job *job, struct error *err)
{
    uint8_t data[AVR109_BLOCK_MAX];
    int rc = check_page(session, job->region, err);
    if (rc != OK)
        return rc;
    struct pages pages = pages_of(job, job->erased ? PAGES_SKIP_BLANK : PAGES_TOUCHED);
    pages.first_last = true;
    while (rc == OK && pages_next(&pages, data))
        rc = avr109_queue_block(session, MEM_FLASH, pages.address, data, job->region->page,
                                pages.payload, err);
    return avr109_finish(session, "writing", rc, err);
}

static int write_eeprom(struct session *session, const struct job *job, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; rc == OK && i < job->image->count; i++) {
        const struct segment *segment = &job->image->segments[i];
        if (segment->memory != MEM_EEPROM)
            continue;
        for (size_t at = 0; rc == OK && at < segment->length; at += AVR109_EEPROM_BLOCK) {
            size_t left = segment->length - at;
            size_t length = left < AVR109_EEPROM_BLOCK ? left : AVR109_EEPROM_BLOCK;
            rc = avr109_queue_block(session, MEM_EEPROM, segment->address + at, segment->data + at,
                                    length, length, err);
        }
    }
    return avr109_finish(session, "writing", rc, err);
}

static int avr109_write(struct session *session, const struct job *job, struct error *err)
{
    return job->region->memory == MEM_EEPROM ? write_eeprom(session, job, err)
                                             : write_flash(session, job, err);
}

/* Writing a page erases it; there is no command for one page alone. */
static int avr109_erase(struct session *session, const struct span *ranges, size_t count,
                        struct error *err)
{
    const struct region *flash = chip_region(session->chip, MEM_FLASH);
    uint8_t blank[AVR109_BLOCK_MAX];
    memset(blank, 0xff, sizeof blank);
    int rc = check_page(session, flash, err);
    if (rc != OK)
        return rc;
    for (size_t i = 0; i < count; i++)
        for (uint64_t at = 0; rc == OK && at < ranges[i].size; at += flash->page)
            rc = avr109_queue_block(session, MEM_FLASH, ranges[i].start + at, blank, flash->page,
                                    flash->page, err);
    return avr109_finish(session, "erasing", rc, err);
}

static int avr109_erase_chip(struct session *session, struct error *err)
{
    struct avr109 *s = session->state;
    int rc = serial_write(s->serial, (const uint8_t[]){'e'}, 1, err);
    if (rc == OK)
        rc = avr109_expect_cr(s, ERASE_US, err);
    s->address = UINT64_MAX;
    return rc == OK ? OK : error_context(err, "erasing the application");
}

/* ---- Reading ---- */

static int avr109_read(struct session *session, enum memory memory, uint64_t address,
                       uint8_t *bytes, size_t length, struct error *err)
{
    int rc = OK;
    if (memory == MEM_FLASH && address % 2 && length > 0) { /* addresses are words */
        struct session quiet = *session;                    /* one of the two is no progress */
        uint8_t pair[2];
        quiet.advance = NULL;
        rc = avr109_finish(session, "reading",
                           avr109_read_run(&quiet, memory, address - 1, pair, 2, err), err);
        *bytes++ = pair[1];
        address++;
        length--;
        session_advance(session, 1);
    }
    while (rc == OK && length > 0) {
        size_t n = length < READ_MAX ? length : READ_MAX;
        rc = avr109_finish(session, "reading",
                           avr109_read_run(session, memory, address, bytes, n, err), err);
        address += n;
        bytes += n;
        length -= n;
    }
    return rc;
}

/* ---- Fuses (to show) and running ---- */

static int avr109_fuses(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
                        struct error *err)
{
    static const struct {
        const char *name;
        uint8_t command;
    } reads[] = {{"lfuse", 'F'}, {"hfuse", 'N'}, {"efuse", 'Q'}, {"lock", 'r'}};
    *count = 0;
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
        uint8_t value = 0;
        uint8_t mask = avr_fuse_mask(session->chip, reads[i].name);
        int rc = mask ? avr109_ask(session->state, reads[i].command, &value, 1, err) : OK;
        if (rc != OK)
            return error_context(err, "reading %s", reads[i].name);
        if (!mask)
            continue;
        struct fuse *out = &fuses[(*count)++];
        *out = (struct fuse){.value = value, .mask = mask};
        strncpy(out->name, reads[i].name, sizeof out->name - 1);
        fuse_decode(session->chip, reads[i].name, value, out->text, sizeof out->text);
    }
    return OK;
}

static int avr109_run(struct session *session, struct error *err)
{
    struct avr109 *s = session->state;
    int rc = serial_write(s->serial, (const uint8_t[]){'E'}, 1, err);
    if (rc == OK)
        rc = avr109_expect_cr(s, LEAVE_US, err);
    if (rc == OK || rc == ERR_GONE) /* off the bus: it has started */
        return OK;
    error_context(err, "starting the application");
    return error_hint(err, "the bootloader starts it by itself after 8 seconds");
}

static const struct refusal refusals[] = {
    {OP_SET_FUSES, "a program in the chip cannot write fuses: use an ISP programmer (-m isp)"},
    {OP_UNLOCK, "only a chip erase by an ISP programmer removes lock bits (-m isp)"},
    {OP_BOOTLOADER, "a bootloader cannot replace itself: use an ISP programmer (-m isp)"},
    {OP_COUNT, NULL},
};

const struct method method_avr109 = {
    .name = "avr109",
    .summary = "Caterina (Leonardo, Micro, Pro Micro) and LUFA CDC bootloaders on USB",
    .document = "Atmel AVR109",
    .link = LINK_SERIAL,
    .baud = 57600,
    .erase_style = ERASE_BY_WRITE,
    .refusals = refusals,
    .connect = avr109_connect,
    .info = avr109_info,
    .erase = avr109_erase,
    .erase_chip = avr109_erase_chip,
    .write = avr109_write,
    .read = avr109_read,
    .fuses = avr109_fuses,
    .run = avr109_run,
    .disconnect = avr109_disconnect,
};
