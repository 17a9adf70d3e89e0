/* The AVR109 commands of Caterina; see caterina.c. Addresses are words, lengths big-endian, and an
 * unknown letter is answered with `?`. */
#include <string.h>

#include "caterina.h"
#include "flash.h"

enum { CR = 0x0d, ESC = 0x1b };

/* ---- answers ---- */

/* The rest of the packet that carried the command is lost. */
static void end_command(struct caterina *c)
{
    struct vline *line = c->boot.serial.line;
    c->in_command = false;
    if (line->drop_packet)
        line->drop_packet(line);
}

static void answer(struct caterina *c, const void *bytes, size_t length)
{
    if (boot_nak(&c->boot))
        boot_send_byte(&c->boot, '?');
    else
        boot_send(&c->boot, bytes, length);
    end_command(c);
}

static void answer_byte(struct caterina *c, uint8_t byte)
{
    answer(c, &byte, 1);
}

/* ---- memory ---- */

static void program(struct caterina *c, uint64_t time, bool answers)
{
    c->state = CATERINA_PROGRAMMING;
    c->until = boot_after(&c->boot, time);
    c->answers = answers;
}

static void erase_application(struct caterina *c)
{
    for (uint32_t at = 0; at < c->boot.start; at += c->boot.page)
        boot_erase_page(&c->boot, at);
    program(c, (uint64_t)c->boot.start / c->boot.page * BOOT_PAGE_ERASE, true);
}

/* The page buffer takes each word once (ATmega32U4 data sheet, filling the temporary buffer). */
static void fill_word(struct caterina *c, uint8_t high)
{
    size_t at = c->address % c->boot.page & ~(size_t)1;
    if (!c->filled[at]) {
        c->page[at] = c->low_byte;
        c->page[at + 1] = high;
        c->filled[at] = true;
    }
    c->address += 2;
}

static void write_page(struct caterina *c, uint32_t address)
{
    boot_write_page(&c->boot, address, c->page);
    memset(c->page, 0xff, sizeof c->page);
    memset(c->filled, 0, sizeof c->filled);
}

static bool block_is_eeprom(const struct caterina *c)
{
    return c->parameter[2] == 'E';
}

static void end_block(struct caterina *c)
{
    c->writes_block = !block_is_eeprom(c);
    program(c, c->writes_block ? BOOT_PAGE_WRITE : BOOT_EEPROM_WRITE, true);
}

/* The page at the start address is erased before the data is fetched. */
static void begin_block(struct caterina *c)
{
    c->block_start = c->address;
    c->writes_block = false;
    if (!block_is_eeprom(c)) {
        boot_erase_page(&c->boot, c->address);
        program(c, BOOT_PAGE_ERASE, false);
    }
    if (c->block_left == 0)
        end_block(c);
}

static void take_block_byte(struct caterina *c, uint8_t byte)
{
    bool high = --c->block_left % 2 == (c->parameter[1] & 1);
    if (block_is_eeprom(c)) {
        vmemory_store(&c->boot.eeprom, c->address >> 1, byte);
        c->address += 2;
        program(c, BOOT_EEPROM_WRITE, false);
    } else if (high) {
        fill_word(c, byte);
    } else {
        c->low_byte = byte;
    }
    if (c->block_left == 0)
        end_block(c);
}

static void read_block(struct caterina *c)
{
    size_t length = (size_t)c->parameter[0] << 8 | c->parameter[1];
    bool eeprom = block_is_eeprom(c);
    if (boot_nak(&c->boot)) {
        boot_send_byte(&c->boot, '?');
        length = 0;
    }
    for (; length; length--, c->address += eeprom ? 2 : 1)
        boot_send_byte(&c->boot, eeprom ? vmemory_byte(&c->boot.eeprom, c->address >> 1)
                                        : vmemory_byte(&c->boot.flash, c->address));
    end_command(c);
}

static void block_command(struct caterina *c)
{
    c->stay_from = boot_now(&c->boot);
    if (c->parameter[2] != 'E' && c->parameter[2] != 'F') {
        answer_byte(c, '?');
    } else if (c->command == 'g') {
        read_block(c);
    } else {
        c->block_left = (size_t)c->parameter[0] << 8 | c->parameter[1];
        begin_block(c);
    }
}

void caterina_programmed(struct caterina *c)
{
    c->state = CATERINA_LOADER;
    if (!c->answers)
        return;
    if (c->writes_block)
        write_page(c, c->block_start);
    c->writes_block = false;
    if (c->boot.broken)
        c->state = CATERINA_APPLICATION;
    else
        answer_byte(c, CR);
}

/* ---- commands ---- */

static void read_word(struct caterina *c)
{
    uint8_t word[2] = {vmemory_byte(&c->boot.flash, c->address | 1),
                       vmemory_byte(&c->boot.flash, c->address & ~1u)};
    answer(c, word, 2);
}

static void answer_signature(struct caterina *c)
{
    const uint8_t *s = c->boot.signature;
    answer(c, (uint8_t[]){s[2], s[1], s[0]}, 3);
}

static void store_eeprom(struct caterina *c)
{
    vmemory_store(&c->boot.eeprom, c->address >> 1, c->parameter[0]);
    c->address += 2;
    program(c, BOOT_EEPROM_WRITE, true);
}

/* Commands that ask what it is. True if it was one. */
static bool answer_identity(struct caterina *c)
{
    switch (c->command) {
    case 'S':
        answer(c, "CATERIN", 7);
        return true;
    case 'V':
        answer(c, "10", 2);
        return true;
    case 'v':
        answer_byte(c, '?');
        return true;
    case 'p':
        answer_byte(c, 'S');
        return true;
    case 'a':
        answer_byte(c, 'Y');
        return true;
    case 'b':
        answer(c, "Y\0\x80", 3);
        return true;
    case 't':
        answer(c, "\x44\0", 2);
        return true;
    case 's':
        answer_signature(c);
        return true;
    case 'r':
        answer_byte(c, boot_fuse(&c->boot, BOOT_LOCK));
        return true;
    case 'F':
        answer_byte(c, boot_fuse(&c->boot, BOOT_LFUSE));
        return true;
    case 'N':
        answer_byte(c, boot_fuse(&c->boot, BOOT_HFUSE));
        return true;
    case 'Q':
        answer_byte(c, boot_fuse(&c->boot, BOOT_EFUSE));
        return true;
    default:
        return false;
    }
}

/* Commands that work on memory. True if it was one. */
static bool work_on_memory(struct caterina *c)
{
    switch (c->command) {
    case 'A':
        c->address = ((uint32_t)c->parameter[0] << 8 | c->parameter[1]) << 1;
        answer_byte(c, CR);
        return true;
    case 'B':
    case 'g':
        block_command(c);
        return true;
    case 'e':
        erase_application(c);
        return true;
    case 'c':
        c->low_byte = c->parameter[0];
        answer_byte(c, CR);
        return true;
    case 'C':
        fill_word(c, c->parameter[0]);
        answer_byte(c, CR);
        return true;
    case 'm':
        write_page(c, c->address);
        program(c, BOOT_PAGE_WRITE, true);
        return true;
    case 'R':
        read_word(c);
        return true;
    case 'D':
        store_eeprom(c);
        return true;
    case 'd':
        answer_byte(c, vmemory_byte(&c->boot.eeprom, c->address >> 1));
        c->address += 2;
        return true;
    case 'l':
        boot_program_lock(&c->boot, c->parameter[0]);
        answer_byte(c, CR);
        return true;
    default:
        return false;
    }
}

static void execute(struct caterina *c)
{
    if (answer_identity(c) || work_on_memory(c))
        return;
    switch (c->command) {
    case 'T':
    case 'P':
    case 'L':
    case 'x':
    case 'y':
        answer_byte(c, CR);
        break;
    case 'E':
        answer_byte(c, CR);
        caterina_leave(c);
        break;
    case ESC: /* for synchronising; says nothing */
        end_command(c);
        break;
    default:
        answer_byte(c, '?');
        break;
    }
}

static size_t parameters(uint8_t command)
{
    if (command == 'B' || command == 'g')
        return 3;
    return command == 'A' ? 2 : memchr("TlcCDxy", command, 7) != NULL;
}

void caterina_hear(struct caterina *c, uint8_t byte)
{
    if (c->in_command && c->block_left) {
        take_block_byte(c, byte);
        return;
    }
    if (c->in_command) {
        c->parameter[c->got++] = byte;
    } else {
        c->in_command = true;
        c->command = byte;
        c->got = 0;
    }
    if (c->got == parameters(c->command))
        execute(c);
}
