/*
 * SAM-BA: the commands of the monitor (SAM3X and SAM4E data sheets, chapter SAM-BA; the published
 * sources of the Arduino Zero's and the UF2 loader).
 *
 * Two things to know: nothing ever answers with an error; and what shares a USB packet with the end
 * of S or G goes wrong in its own way on each monitor.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "sam_chip.h"

enum {
    NOTHING = 'z',        /* the command after each # */
    READ_REFUSED = 16384, /* Arduino, UF2: the USB controller counts 14 bits */
    READ_COPIED = 63,     /* … and fetches longer answers itself, from SRAM only */
    SRAM = 0x20000000,
    USB_PACKET = 64,
    LOADER_ERASE_D5X = 8192,
    LOADER_ERASE_D2X = 256,
    Y_MAX = 1 << 20,
};

uint16_t sam_crc(uint16_t crc, uint8_t byte)
{
    crc = (uint16_t)(crc ^ byte << 8);
    for (int bit = 0; bit < 8; bit++)
        crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    return crc;
}

/* ---- replies ---- */

void monitor_say(struct sam *sam, const void *bytes, size_t length)
{
    struct sam_monitor *monitor = &sam->monitor;
    size_t needed = monitor->reply_length + length;
    if (needed > monitor->reply_room && needed <= SAM_DATA_MAX) {
        uint8_t *reply = realloc(monitor->reply, needed * 2);
        if (!reply)
            return;
        monitor->reply = reply;
        monitor->reply_room = needed * 2;
    }
    if (needed > monitor->reply_room)
        return;
    memcpy(monitor->reply + monitor->reply_length, bytes, length);
    monitor->reply_length = needed;
}

static void say_text(struct sam *sam, const char *text)
{
    monitor_say(sam, text, strlen(text));
}

void monitor_flush(struct sam *sam)
{
    struct sam_monitor *monitor = &sam->monitor;
    for (size_t i = 0; i < monitor->reply_length && sam->state == SAM_MONITOR; i++)
        sam->serial.line->send(sam->serial.line, monitor->reply[i]);
    monitor->reply_length = 0;
}

void monitor_start(struct sam *sam)
{
    struct sam_monitor *monitor = &sam->monitor;
    free(monitor->reply);
    *monitor = (struct sam_monitor){.command = NOTHING,
                                    .commands = monitor->commands,
                                    .terminal = sam->kind->uart,
                                    .until = UINT64_MAX};
}

/* ---- memory ---- */

static void load(struct sam *sam, unsigned size)
{
    uint32_t value;
    uint8_t bytes[4];
    char text[16];
    if (!sam_load(sam, sam->monitor.pointer, size, &value))
        return;
    put_le32(bytes, value);
    if (!sam->monitor.terminal) {
        monitor_say(sam, bytes, size);
        return;
    }
    snprintf(text, sizeof text, "0x%0*X\n\r", (int)size * 2, (unsigned)value);
    say_text(sam, text);
}

/* True if R from there gives what is there; ROM: a length that ends with a full packet never
 * arrives, as no packet of length 0 follows it. */
static bool readable(struct sam *sam, uint32_t address, uint32_t length)
{
    if (sam->kind->uart)
        return true;
    if (sam->kind->rom && length % USB_PACKET == 0) {
        sam_die(sam, "R of whole packets", address);
        return false;
    }
    return sam->kind->rom || length < READ_REFUSED;
}

static void read_block(struct sam *sam, uint32_t address, uint32_t length)
{
    if (length == 0 || !readable(sam, address, length))
        return;
    if (sam->kind->uart) {
        xmodem_send(sam, address, length);
        return;
    }
    bool garbage = !sam->kind->rom && length > READ_COPIED && address < SRAM;
    bool zero = sam->kind->flash_reads_zero && sam_in_flash(sam, address);
    for (uint32_t i = 0; i < length && i < SAM_DATA_MAX; i++) {
        uint32_t value;
        if (!sam_load(sam, address + i, 1, &value))
            return;
        uint8_t byte = (uint8_t)(zero ? 0 : garbage ? 0x55 ^ i : value);
        monitor_say(sam, &byte, 1);
    }
}

static void send_block(struct sam *sam, uint32_t address, uint32_t length)
{
    struct sam_monitor *monitor = &sam->monitor;
    if (length == 0)
        return;
    if (sam->kind->uart) {
        xmodem_receive(sam, address, length);
        return;
    }
    monitor->transfer = SAM_DATA;
    monitor->address = monitor->base = address;
    monitor->left = length;
    monitor->data_in_packet = 0;
    monitor->sharp_packet = sam->serial.line->packet;
}

/* Data that came with its command is stored, and then the rest is stored over it: the loaders do
 * not move their pointer on. */
static bool starts_over(const struct sam *sam)
{
    const struct sam_monitor *monitor = &sam->monitor;
    return monitor->data_in_packet && sam->serial.line->packet != monitor->sharp_packet;
}

static void hear_data(struct sam *sam, uint8_t byte)
{
    struct sam_monitor *monitor = &sam->monitor;
    uint32_t packet = sam->serial.line->packet;
    if (starts_over(sam)) {
        monitor->address = monitor->base;
        monitor->data_in_packet = 0;
    }
    if (packet && packet == monitor->sharp_packet)
        monitor->data_in_packet++;
    if (!sam_store(sam, monitor->address, 1, byte))
        return;
    monitor->address++;
    if (--monitor->left)
        return;
    monitor->transfer = SAM_COMMANDS;
    monitor->sharp_packet = sam->kind->rom ? packet : 0;
    if (!sam->kind->rom && !sam->kind->keeps_packet)
        sam->serial.line->drop_packet(sam->serial.line);
    if (monitor->terminal)
        say_text(sam, ">");
}

/* ---- Arduino's X, Y and Z ---- */

static void erase_from(struct sam *sam, uint32_t address)
{
    uint32_t unit = sam->kind->controller == SAM_D2X ? LOADER_ERASE_D2X : LOADER_ERASE_D5X;
    for (uint64_t at = address; at < sam->flash.size; at += unit) {
        nvm_of(sam)->erase(sam, (uint32_t)at);
        sam_spend_until(sam, sam->nvm.until);
    }
    say_text(sam, "X\n\r");
}

static void program(struct sam *sam, uint32_t address, uint32_t length)
{
    uint8_t page[SAM_PAGE_MAX];
    length = length / 4 * 4;
    for (uint32_t done = 0; done < length && done < Y_MAX;) {
        uint32_t count = 0, value;
        do {
            if (!sam_load(sam, sam->monitor.y_source + done + count, 4, &value))
                return;
            put_le32(page + count, value);
            count += 4;
        } while (done + count < length && (address + done + count) % sam->page);
        nvm_of(sam)->program(sam, address + done, page, count);
        sam_spend_until(sam, sam->nvm.until);
        done += count;
    }
}

static void write_buffer(struct sam *sam, uint32_t address, uint32_t length)
{
    if (length == 0)
        sam->monitor.y_source = address;
    else
        program(sam, address, length);
    say_text(sam, "Y\n\r");
}

static void sum(struct sam *sam, uint32_t address, uint32_t length)
{
    char text[16];
    uint16_t crc = 0;
    for (uint32_t i = 0; i < length && i < SAM_DATA_MAX; i++) {
        uint32_t value;
        if (!sam_load(sam, address + i, 1, &value))
            return;
        crc = sam_crc(crc, (uint8_t)value);
    }
    snprintf(text, sizeof text, "Z%08X#\n\r", (unsigned)crc);
    say_text(sam, text);
}

/* ---- commands ---- */

static void say_version(struct sam *sam)
{
    const char *version = sam->kind->version, *tag = strstr(version, " [Arduino:XYZ]");
    if (tag && !sam->extensions) {
        monitor_say(sam, version, (size_t)(tag - version));
        version = tag + strlen(" [Arduino:XYZ]");
    }
    say_text(sam, version);
    monitor_say(sam, "\n\r", sam->kind->version_nul ? 3 : 2);
    if (!sam->kind->rom) /* its input pointer was reused */
        sam->serial.line->drop_packet(sam->serial.line);
}

static void set_mode(struct sam *sam, bool terminal)
{
    if (!sam->kind->terminal)
        return;
    if (terminal || !sam->monitor.terminal)
        say_text(sam, "\n\r");
    sam->monitor.terminal = terminal;
}

static void run(struct sam *sam, uint32_t base)
{
    sam->monitor.sharp_packet = sam->kind->rom ? sam->serial.line->packet : 0;
    applet_run(sam, base);
}

static void extension(struct sam *sam, uint8_t command)
{
    uint32_t number = sam->monitor.number, pointer = sam->monitor.pointer;
    if (!sam->extensions)
        return;
    if (command == 'X')
        erase_from(sam, number);
    else if (command == 'Y')
        write_buffer(sam, pointer, number);
    else
        sum(sam, pointer, number);
}

void monitor_execute(struct sam *sam, uint8_t command)
{
    uint32_t number = sam->monitor.number, pointer = sam->monitor.pointer;
    switch (command) {
    case 'N':
    case 'T':
        set_mode(sam, command == 'T');
        break;
    case 'V':
        say_version(sam);
        break;
    case 'O':
        sam_store(sam, pointer, 1, number & 0xff);
        break;
    case 'H':
        sam_store(sam, pointer, 2, number & 0xffff);
        break;
    case 'W':
        sam_store(sam, pointer, 4, number);
        break;
    case 'o':
        load(sam, 1);
        break;
    case 'h':
        load(sam, 2);
        break;
    case 'w':
        load(sam, 4);
        break;
    case 'S':
        send_block(sam, pointer, number);
        break;
    case 'R':
        read_block(sam, pointer, number);
        break;
    case 'G':
        run(sam, number);
        break;
    case 'X':
    case 'Y':
    case 'Z':
        extension(sam, command);
        break;
    default:
        break;
    }
}

static void sharp(struct sam *sam)
{
    struct sam_monitor *monitor = &sam->monitor;
    uint8_t command = monitor->command;
    if (command != NOTHING && ++monitor->commands == sam->faults.nak)
        sam->fail_next = true;
    if (monitor->terminal)
        say_text(sam, "\n\r");
    monitor_execute(sam, command);
    if (monitor->terminal && monitor->transfer == SAM_COMMANDS)
        say_text(sam, ">");
    monitor->command = NOTHING;
    monitor->number = 0;
}

static void hear_command(struct sam *sam, uint8_t byte)
{
    struct sam_monitor *monitor = &sam->monitor;
    if (byte == 0xff)
        return;
    if (byte == '#') {
        sharp(sam);
    } else if (byte == ',') {
        monitor->pointer = monitor->number;
        monitor->number = 0;
    } else if (isxdigit(byte)) {
        uint32_t digit = (uint32_t)(isdigit(byte) ? byte - '0' : tolower(byte) - 'a' + 10);
        monitor->number = monitor->number << 4 | digit;
    } else {
        monitor->command = byte;
        monitor->number = 0;
    }
}

/* The ROM must find the end of S and its data, and of G, at the end of a packet. */
static bool is_crowded(const struct sam *sam)
{
    uint32_t packet = sam->serial.line->packet;
    return sam->kind->rom && packet && packet == sam->monitor.sharp_packet;
}

void monitor_hear(struct sam *sam, uint8_t byte)
{
    if (is_crowded(sam))
        sam_die(sam, "bytes behind S or G in their packet", sam->monitor.pointer);
    else if (sam->monitor.transfer == SAM_COMMANDS)
        hear_command(sam, byte);
    else if (sam->monitor.transfer == SAM_DATA)
        hear_data(sam, byte);
    else
        xmodem_hear(sam, byte);
}
