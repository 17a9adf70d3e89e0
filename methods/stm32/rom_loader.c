/* See rom_loader.h. */
#include "stm32/rom_loader.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"

enum {
    WRITE_US = SECOND,           /* 256 bytes: 32 words of 3.2 ms on an L0, else below 30 ms */
    MASS_ERASE_US = 40 * SECOND, /* 1 MiB F4 at x8: 32 s */
    LARGE_ERASE_US = 120 * SECOND,
    LARGE_FLASH = 1024 * 1024,
    SHORT_BLOCK = 128,
    LEAST_VERSION = 0x10,
    BANK_1 = 0xfffe,
    CHECKSUM_US = SECOND,
};

#define CRC_POLYNOMIAL 0x04c11db7u

bool st_rom_has(const struct rom_loader *rom, enum rom_command command)
{
    return rom->commands[command / 8] >> command % 8 & 1;
}

int st_rom_protected(struct error *err)
{
    error_set(err, ERR_PROTECTED,
              "device answered NACK (0x1f) to the command itself: readout "
              "protection is on");
    return error_hint(err, "`mflash unlock` removes it; this erases the whole chip");
}

/* ---- what it is ---- */

/* The answer to Get and Get ID: a count, count + 1 bytes, an ACK. */
static int ask(struct rom_wire *wire, enum rom_command command, uint8_t answer[256], size_t *length,
               struct error *err)
{
    uint8_t count = 0;
    int rc = st_rom_command(wire, command, err);
    if (rc == OK)
        rc = st_rom_receive(wire, &count, 1, err);
    *length = (size_t)count + 1;
    if (rc == OK)
        rc = st_rom_receive(wire, answer, *length, err);
    return rc == OK ? st_rom_ack(wire, ROM_ANSWER_US, err) : rc;
}

static int ask_again(struct rom_wire *wire, enum rom_command command, uint8_t answer[256],
                     size_t *length, struct error *err)
{
    for (unsigned tries = 0;;) {
        int rc = ask(wire, command, answer, length, err);
        if (rc == OK || !st_rom_again(wire, &tries))
            return rc;
    }
}

static int get(struct rom_loader *rom, struct error *err)
{
    uint8_t answer[256];
    size_t length;
    int rc = ask_again(&rom->wire, ROM_GET, answer, &length, err);
    if (rc != OK)
        return rc;
    rom->version = answer[0];
    memset(rom->commands, 0, sizeof rom->commands);
    for (size_t i = 1; i < length; i++)
        rom->commands[answer[i] / 8] |= (uint8_t)(1u << answer[i] % 8);
    if (rom->version < LEAST_VERSION || !st_rom_has(rom, ROM_GET_ID))
        return error_set(err, ERR_PROTOCOL,
                         "a loader of version 0x%02x without the command Get ID is no STM32's",
                         rom->version);
    return OK;
}

/* Two bytes on every STM32; what has more is another maker's or a radio chip. */
static int get_id(struct rom_loader *rom, struct error *err)
{
    uint8_t answer[256];
    size_t length;
    int rc = ask_again(&rom->wire, ROM_GET_ID, answer, &length, err);
    if (rc != OK)
        return rc;
    if (length != 2)
        return error_set(err, ERR_PROTOCOL, "device answered a product id of %zu byte%s", length,
                         length == 1 ? "" : "s");
    rom->pid = get_be16(answer);
    return OK;
}

int st_rom_identify(struct rom_loader *rom, const struct chip *chip, struct error *err)
{
    int rc = get(rom, err);
    if (rc == OK)
        rc = get_id(rom, err);
    if (rc != OK) {
        error_context(err, "asking the boot loader who it is");
        return rc;
    }
    rom->part = st_rom_part_find(rom->pid);
    rom->flash = st_rom_part_flash(rom->part, chip, rom->runs);
    bool is_short = rom->part && rom->part->quirks & QUIRK_SHORT_BLOCKS;
    rom->block = is_short ? SHORT_BLOCK : ROM_BLOCK;
    return OK;
}

/* ---- memory in blocks ---- */

static int read_once(struct rom_wire *wire, uint32_t address, uint8_t *bytes, size_t length,
                     struct error *err)
{
    const uint8_t count = (uint8_t)(length - 1);
    const uint8_t frame[] = {count, (uint8_t) ~(unsigned)count};
    int rc = st_rom_command(wire, ROM_READ, err);
    if (rc == OK)
        rc = st_rom_address(wire, address, ROM_ANSWER_US, err);
    if (rc == OK)
        rc = st_rom_frame(wire, frame, sizeof frame, ROM_ANSWER_US, err);
    return rc == OK ? st_rom_receive(wire, bytes, length, err) : rc;
}

/* After the last try: a command that is refused again and again is so by protection. */
static int finish(const struct rom_wire *wire, int rc, struct error *err)
{
    if (rc != OK && wire->outcome == ROM_REFUSED && wire->command_refused)
        return st_rom_protected(err);
    return rc;
}

int st_rom_read(struct rom_loader *rom, uint32_t address, uint8_t *bytes, size_t length,
                struct error *err)
{
    for (unsigned tries = 0;;) {
        int rc = read_once(&rom->wire, address, bytes, length, err);
        if (rc == OK || !st_rom_again(&rom->wire, &tries))
            return finish(&rom->wire, rc, err);
    }
}

static int write_once(struct rom_wire *wire, uint32_t address, const uint8_t *bytes, size_t length,
                      struct error *err)
{
    uint8_t frame[ROM_FRAME_MAX];
    frame[0] = (uint8_t)(length - 1);
    memcpy(frame + 1, bytes, length);
    frame[length + 1] = st_rom_xor(frame, length + 1);
    int rc = st_rom_command(wire, ROM_WRITE, err);
    if (rc == OK)
        rc = st_rom_address(wire, address, ROM_ANSWER_US, err);
    return rc == OK ? st_rom_frame(wire, frame, length + 2, WRITE_US, err) : rc;
}

/* Whether the write whose answer was lost has happened. Neither is an error: a unit with check bits
 * must not be programmed twice. */
static int look(struct rom_loader *rom, uint32_t address, const uint8_t *bytes, size_t length,
                bool *done, struct error *err)
{
    uint8_t found[ROM_BLOCK];
    int rc = st_rom_read(rom, address, found, length, err);
    *done = rc == OK && memcmp(found, bytes, length) == 0;
    if (rc == OK && !*done && !bytes_blank(found, length, rom->flash.erased))
        return error_set(err, ERR_PROTOCOL, "the block was written in part");
    return rc;
}

int st_rom_write(struct rom_loader *rom, uint32_t address, const uint8_t *bytes, size_t length,
                 struct error *err)
{
    bool done = false;
    for (unsigned tries = 0;;) {
        int rc = write_once(&rom->wire, address, bytes, length, err);
        bool framed = rom->wire.framed && rom->wire.frame_length == length + 2;
        if (rc == OK || !st_rom_again(&rom->wire, &tries))
            return finish(&rom->wire, rc, err);
        if (framed && (rc = look(rom, address, bytes, length, &done, err), rc != OK || done))
            return rc;
    }
}

/* A lost answer is no failure: the chip resets, and what it holds is read then. */
int st_rom_write_options(struct rom_loader *rom, uint32_t address, const uint8_t *bytes,
                         size_t length, struct error *err)
{
    for (unsigned tries = 0;;) {
        int rc = write_once(&rom->wire, address, bytes, length, err);
        bool framed = rom->wire.framed && rom->wire.frame_length == length + 2;
        if (rc == OK || (framed && rom->wire.outcome == ROM_LOST))
            return OK;
        if (!st_rom_again(&rom->wire, &tries))
            return finish(&rom->wire, rc, err);
    }
}

/* ---- erasing ---- */

/* Command 43 numbers pages by bytes, 44 by words; both send their count less one first. */
static size_t erase_frame(bool extended, uint32_t first, uint32_t count, uint8_t *frame)
{
    size_t length = 0;
    if (extended) {
        put_be16(frame, (uint16_t)(count - 1));
        for (length = 2; length < 2 + 2 * (size_t)count; length += 2)
            put_be16(frame + length, (uint16_t)(first + (length - 2) / 2));
    } else {
        frame[length++] = (uint8_t)(count - 1);
        while (length < 1 + (size_t)count) {
            frame[length] = (uint8_t)(first + length - 1);
            length++;
        }
    }
    frame[length] = st_rom_xor(frame, length);
    return length + 1;
}

static int erase_once(struct rom_loader *rom, const uint8_t *frame, size_t length, uint64_t timeout,
                      struct error *err)
{
    bool extended = st_rom_has(rom, ROM_EXTENDED_ERASE);
    int rc = st_rom_command(&rom->wire, extended ? ROM_EXTENDED_ERASE : ROM_ERASE, err);
    return rc == OK ? st_rom_frame(&rom->wire, frame, length, timeout, err) : rc;
}

static int erase_again(struct rom_loader *rom, const uint8_t *frame, size_t length,
                       uint64_t timeout, struct error *err)
{
    for (unsigned tries = 0;;) {
        int rc = erase_once(rom, frame, length, timeout, err);
        if (rc == OK || !st_rom_again(&rom->wire, &tries))
            return finish(&rom->wire, rc, err);
    }
}

int st_rom_erase(struct rom_loader *rom, uint32_t first, uint32_t count, uint64_t timeout,
                 struct error *err)
{
    uint8_t frame[2 * ROM_ERASE_MAX + 3];
    bool extended = st_rom_has(rom, ROM_EXTENDED_ERASE);
    if (!extended && first + count > 256)
        return error_set(err, ERR_NOT_POSSIBLE, "this boot loader cannot name page %" PRIu32,
                         first + count - 1);
    return erase_again(rom, frame, erase_frame(extended, first, count, frame), timeout, err);
}

int st_rom_erase_all(struct rom_loader *rom, struct error *err)
{
    static const uint8_t all[] = {0xff, 0x00}, extended_all[] = {0xff, 0xff, 0x00};
    bool extended = st_rom_has(rom, ROM_EXTENDED_ERASE);
    uint64_t timeout = rom->flash.size >= LARGE_FLASH ? LARGE_ERASE_US : MASS_ERASE_US;
    if (rom->part && rom->part->quirks & QUIRK_NO_MASS_ERASE)
        return error_set(err, ERR_NOT_POSSIBLE, "this boot loader has no mass erase");
    return erase_again(rom, extended ? extended_all : all,
                       extended ? sizeof extended_all : sizeof all, timeout, err);
}

int st_rom_erase_bank(struct rom_loader *rom, unsigned bank, struct error *err)
{
    uint8_t frame[3];
    put_be16(frame, (uint16_t)(BANK_1 - bank));
    frame[2] = st_rom_xor(frame, 2);
    int rc = erase_again(rom, frame, sizeof frame, MASS_ERASE_US, err);
    if (rc == OK || rom->wire.outcome != ROM_REFUSED || rom->wire.command_refused)
        return rc;
    return error_set(err, ERR_NOT_POSSIBLE, "this boot loader erases no bank");
}

/* ---- checksums ---- */

uint32_t st_rom_sum_of(const uint8_t *bytes, size_t length)
{
    uint32_t crc = UINT32_MAX;
    for (size_t at = 0; at + 4 <= length; at += 4) {
        crc ^= get_le32(bytes + at);
        for (int bit = 0; bit < 32; bit++)
            crc = crc & 0x80000000u ? crc << 1 ^ CRC_POLYNOMIAL : crc << 1;
    }
    return crc;
}

/* Address, number of words, polynomial and start value, each with its check and ACK; then an ACK,
 * the sum and its check. */
static int checksum_once(struct rom_wire *wire, uint32_t address, uint32_t words, uint32_t *sum,
                         struct error *err)
{
    const uint32_t numbers[] = {address, words, CRC_POLYNOMIAL, UINT32_MAX};
    uint8_t answer[5];
    int rc = st_rom_command(wire, ROM_GET_CHECKSUM, err);
    for (size_t i = 0; rc == OK && i < sizeof numbers / sizeof numbers[0]; i++)
        rc = st_rom_address(wire, numbers[i], CHECKSUM_US, err);
    if (rc == OK)
        rc = st_rom_ack(wire, CHECKSUM_US, err);
    if (rc == OK)
        rc = st_rom_receive(wire, answer, sizeof answer, err);
    if (rc != OK)
        return rc;
    if (st_rom_xor(answer, sizeof answer) != 0)
        return error_set(err, ERR_PROTOCOL, "the check of the device's sum is wrong");
    *sum = get_be32(answer);
    return OK;
}

/* Documents and hosts disagree about this command's frames: where it does not work as AN3155 says,
 * reading tells as much. */
int st_rom_checksum(struct rom_loader *rom, uint32_t address, size_t length, uint32_t *sum,
                    struct error *err)
{
    unsigned tries = 0;
    *sum = 0;
    if (!st_rom_has(rom, ROM_GET_CHECKSUM) || rom->no_checksum)
        return error_set(err, ERR_NOT_POSSIBLE, "this boot loader makes no checksums");
    int rc = checksum_once(&rom->wire, address, (uint32_t)(length / 4), sum, err);
    if (rc == OK || rom->wire.outcome == ROM_GONE)
        return rc;
    if (rom->wire.outcome == ROM_REFUSED && rom->wire.command_refused)
        return finish(&rom->wire, rc, err);
    rom->no_checksum = true;
    if (!st_rom_again(&rom->wire, &tries))
        return rc;
    return error_set(err, ERR_NOT_POSSIBLE, "this boot loader's checksum is not that of AN3155");
}

/* ---- starting ---- */

int st_rom_go(struct rom_loader *rom, uint32_t address, struct error *err)
{
    for (unsigned tries = 0;;) {
        int rc = st_rom_command(&rom->wire, ROM_GO, err);
        if (rc == OK) {
            rc = st_rom_address(&rom->wire, address, ROM_ANSWER_US, err);
            /* Silence may be an ACK that was lost: then the application owns the line. */
            if (rc != OK && rom->wire.outcome != ROM_REFUSED)
                return rc;
        }
        if (rc == OK || !st_rom_again(&rom->wire, &tries))
            return finish(&rom->wire, rc, err);
    }
}
