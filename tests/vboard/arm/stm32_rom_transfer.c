/*
 * Read, write and erase of the STM32 ROM loader (ST AN3155): the frames that follow an accepted
 * command. See stm32_rom.h.
 *
 * One thing to know: a write or an erase that the flash controller refused is acknowledged all the
 * same (AN2662 says so of protected pages).
 */
#include "stm32_rom.h"

#include <string.h>

#include "base/bytes.h"

enum {
    MASS = 0xffff,
    BANK_1 = 0xfffe,
    BANK_2 = 0xfffd,
    DUAL_BANK = 1 << 21,
    /* FLASH_OPTR */ BANK_BYTES = 0x100000, /* STM32H743: two banks of 1 MiB */
};

/* ---- read and write ---- */

static bool fits(const struct rom_area *area, uint32_t at, size_t length)
{
    return area->kind != ROM_NOTHING && area->span.start + area->span.size - at >= length;
}

void rom_read_memory(struct rom *rom)
{
    size_t length = (size_t)rom->frame[0] + 1;
    struct rom_area area = rom_area_at(rom, rom->address);
    bool whole = rom->address == area.span.start && length == area.span.size;
    if (!rom_is_complemented(rom) || !fits(&area, rom->address, length) ||
        (area.kind == ROM_FACTORY && rom->part->factory_in_whole && !whole)) {
        rom_nack(rom);
        return;
    }
    rom_ack(rom, ROM_COMMAND);
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = rom_read_byte(rom, &area, rom->address + (uint32_t)i);
        rom_send(rom, &byte, 1);
    }
}

void rom_write_memory(struct rom *rom)
{
    const uint8_t *data = rom->frame + 1;
    size_t length = (size_t)rom->frame[0] + 1;
    struct rom_area area = rom_area_at(rom, rom->address);
    if (length % 4 || !fits(&area, rom->address, length)) {
        rom_nack(rom);
        return;
    }
    uint32_t offset = rom->address - (uint32_t)area.span.start;
    if (area.kind == ROM_FLASH) {
        rom_work(rom, vstm32_program(&rom->flash, offset, data, length), false);
    } else if (area.kind == ROM_RAM) {
        memcpy(area.ram + offset, data, length);
        rom_ack(rom, ROM_COMMAND);
    } else {
        vstm32_options_write(&rom->options, offset, data, length);
        rom_work(rom, vstm32_option_time(rom->family), true);
    }
}

/* ---- erase ---- */

static void erase_all(struct rom *rom)
{
    uint32_t pages = vstm32_page_count(rom->flash.region);
    rom_work(rom, vstm32_erase_pages(&rom->flash, 0, pages), false);
}

static uint16_t listed_page(const struct rom *rom, size_t n)
{
    return rom->command == CMD_ERASE ? rom->frame[1 + n] : get_be16(rom->frame + 2 + 2 * n);
}

static void erase_list(struct rom *rom, size_t count)
{
    uint64_t time = 0;
    for (size_t i = 0; i < count; i++)
        if (listed_page(rom, i) >= vstm32_page_count(rom->flash.region)) {
            rom_nack(rom);
            return;
        }
    for (size_t i = 0; i < count; i++)
        time += vstm32_erase_page(&rom->flash, listed_page(rom, i));
    rom_work(rom, time, false);
}

/* 255 stands for all pages: a host that lists 256 of them has erased everything. */
void rom_page_list(struct rom *rom)
{
    if (rom->frame[0] != 0xff)
        erase_list(rom, (size_t)rom->frame[0] + 1);
    else if (rom->frame[1] == 0)
        erase_all(rom);
    else
        rom_nack(rom);
}

static void erase_bank(struct rom *rom, uint32_t bank)
{
    uint32_t pages = vstm32_page_count(rom->flash.region);
    bool h7 = rom->family->options == OPTIONS_H7 && rom->flash.region->size > BANK_BYTES;
    bool two_banks = h7 || (rom->part->dual_bank && get_le32(rom->option_bytes.bytes) & DUAL_BANK);
    if (two_banks)
        rom_work(rom, vstm32_erase_pages(&rom->flash, bank * pages / 2, pages / 2), false);
    else
        rom_nack(rom);
}

void rom_long_page_list(struct rom *rom)
{
    uint16_t code = get_be16(rom->frame);
    if (code == MASS)
        erase_all(rom);
    else if (code == BANK_1 || code == BANK_2)
        erase_bank(rom, code == BANK_2);
    else if (code + 1 > ROM_PAGES_MAX) /* the reserved codes too */
        rom_nack(rom);
    else
        erase_list(rom, (size_t)code + 1);
}

/* ---- checksum ---- */

/* The CRC unit of STM32 (RM0008, chapter CRC): words, most significant bit first. */
static uint32_t sum(const struct rom *rom, uint32_t crc, uint32_t polynomial, uint32_t words)
{
    const struct rom_area area = rom_area_at(rom, rom->address);
    for (uint32_t i = 0; i < words; i++) {
        uint32_t word = 0;
        for (unsigned n = 0; n < 4; n++)
            word |= (uint32_t)rom_read_byte(rom, &area, rom->address + 4 * i + n) << 8 * n;
        crc ^= word;
        for (int bit = 0; bit < 32; bit++)
            crc = crc & 0x80000000u ? crc << 1 ^ polynomial : crc << 1;
    }
    return crc;
}

static void say_sum(struct rom *rom, uint32_t crc)
{
    uint8_t answer[6] = {ROM_ACK};
    put_be32(answer + 1, crc);
    answer[5] = answer[1] ^ answer[2] ^ answer[3] ^ answer[4];
    rom_ack(rom, ROM_COMMAND);
    rom_send(rom, answer, sizeof answer);
}

static void sum_length(struct rom *rom, uint32_t length)
{
    uint64_t bytes = rom->other_sums ? length : (uint64_t)length * 4;
    uint64_t end = rom->flash.region->start + rom->flash.region->size;
    rom->sum_length = (uint32_t)(bytes / 4);
    if (bytes == 0 || bytes % 4 || rom->address + bytes > end)
        rom_nack(rom);
    else if (rom->other_sums)
        say_sum(rom, sum(rom, UINT32_MAX, 0x04c11db7, rom->sum_length));
    else
        rom_ack(rom, ROM_SUM_POLYNOMIAL);
}

void rom_sum_number(struct rom *rom)
{
    uint32_t number = get_be32(rom->frame);
    if (rom->stage == ROM_SUM_LENGTH) {
        sum_length(rom, number);
    } else if (rom->stage == ROM_SUM_POLYNOMIAL) {
        rom->sum_polynomial = number;
        rom_ack(rom, ROM_SUM_START);
    } else {
        say_sum(rom, sum(rom, number, rom->sum_polynomial, rom->sum_length));
    }
}
