/*
 * The commands of the STM32 ROM loader (ST AN3155), frame by frame. See stm32_rom.h.
 *
 * One thing to know: every refusal leads back to the command state, wherever in a frame the host
 * believes to be.
 */
#include "stm32_rom.h"

#include <string.h>

#include "base/bytes.h"

enum { ADDRESS_FRAME = 5 };

/* ---- answers ---- */

void rom_nack(struct rom *rom)
{
    rom->stage = ROM_COMMAND;
    rom_send(rom, (uint8_t[]){ROM_NACK}, 1);
}

void rom_ack(struct rom *rom, enum rom_stage next)
{
    rom->stage = next;
    rom_send(rom, (uint8_t[]){ROM_ACK}, 1);
}

static bool sums_to_zero(const struct rom *rom)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < rom->got; i++)
        sum ^= rom->frame[i];
    return sum == 0;
}

bool rom_is_complemented(const struct rom *rom)
{
    return (rom->frame[0] ^ rom->frame[1]) == 0xff;
}

/* ---- frames ---- */

static size_t long_list_length(const struct rom *rom)
{
    if (rom->got < 2)
        return 2;
    size_t code = get_be16(rom->frame);
    if (code >= ROM_SPECIAL)
        return 3;
    return code + 1 > ROM_PAGES_MAX ? 2 : 2 + 2 * (code + 1) + 1;
}

size_t rom_frame_length(const struct rom *rom)
{
    switch (rom->stage) {
    case ROM_ADDRESS:
    case ROM_SUM_LENGTH:
    case ROM_SUM_POLYNOMIAL:
    case ROM_SUM_START:
        return ADDRESS_FRAME;
    case ROM_WRITE_DATA:
    case ROM_SECTOR_LIST:
        return rom->got ? (size_t)rom->frame[0] + 3 : 1;
    case ROM_PAGE_LIST:
        return !rom->got ? 1 : rom->frame[0] == 0xff ? 2 : (size_t)rom->frame[0] + 3;
    case ROM_LONG_PAGE_LIST:
        return long_list_length(rom);
    default: /* a byte and its complement */
        return 2;
    }
}

/* ---- about the chip ---- */

static uint8_t erase_command(const struct rom *rom)
{
    return rom->family->extended_erase ? CMD_EXTENDED_ERASE : CMD_ERASE;
}

static void get(struct rom *rom)
{
    const uint8_t answer[] = {ROM_ACK,
                              rom->sums ? 12 : 11,
                              rom->family->version,
                              CMD_GET,
                              CMD_GET_VERSION,
                              CMD_GET_ID,
                              CMD_READ,
                              CMD_GO,
                              CMD_WRITE,
                              erase_command(rom),
                              CMD_WRITE_PROTECT,
                              CMD_WRITE_UNPROTECT,
                              CMD_READOUT_PROTECT,
                              CMD_READOUT_UNPROTECT,
                              rom->sums ? CMD_GET_CHECKSUM : ROM_ACK,
                              ROM_ACK};
    rom_send(rom, answer, sizeof answer - !rom->sums);
}

static void get_version(struct rom *rom)
{
    rom_send(rom, (uint8_t[]){ROM_ACK, rom->family->version, 0, 0, ROM_ACK}, 5);
}

static void get_id(struct rom *rom)
{
    uint16_t pid = rom->part->pid;
    if (rom->faults.wrong_id)
        pid = pid == 0x433 ? 0x440 : 0x433;
    uint8_t answer[] = {ROM_ACK, 1, 0, 0, ROM_ACK};
    put_be16(answer + 2, pid);
    rom_send(rom, answer, sizeof answer);
}

/* ---- protection ---- */

static void sector_list(struct rom *rom)
{
    size_t count = (size_t)rom->frame[0] + 1;
    for (size_t i = 0; i < count; i++)
        if (rom->frame[1 + i] >= vstm32_sectors(&rom->options)) {
            rom_nack(rom);
            return;
        }
    vstm32_protect(&rom->options, rom->frame + 1, count);
    rom_work(rom, vstm32_option_time(rom->family), true);
}

static void write_unprotect(struct rom *rom)
{
    vstm32_protect(&rom->options, NULL, 0);
    rom_ack(rom, ROM_COMMAND);
    rom_work(rom, vstm32_option_time(rom->family), true);
}

static void readout_protect(struct rom *rom)
{
    vstm32_set_level(&rom->options, 1);
    rom_ack(rom, ROM_COMMAND);
    rom_work(rom, vstm32_option_time(rom->family), true);
}

/* Write protection does not hold up the erase; on F0 and F1 it goes with the other option bytes. */
static void readout_unprotect(struct rom *rom)
{
    rom_send(rom, (uint8_t[]){ROM_ACK, ROM_ACK}, 2);
    struct vstm32_options before = rom->options;
    uint8_t kept[VSTM32_OPTIONS];
    memcpy(kept, before.bytes->bytes, sizeof kept);
    vstm32_protect(&rom->options, NULL, 0);
    uint64_t time = vstm32_erase_pages(&rom->flash, 0, vstm32_page_count(rom->flash.region));
    if (rom->family->options != OPTIONS_PAIRS)
        memcpy(before.bytes->bytes, kept, sizeof kept);
    vstm32_set_level(&rom->options, 0);
    rom_wipe_ram(rom);
    rom_leave(rom, time);
}

/* ---- command and address ---- */

static bool is_listed(const struct rom *rom, uint8_t command)
{
    static const uint8_t always[] = {CMD_GET,
                                     CMD_GET_VERSION,
                                     CMD_GET_ID,
                                     CMD_READ,
                                     CMD_GO,
                                     CMD_WRITE,
                                     CMD_WRITE_PROTECT,
                                     CMD_WRITE_UNPROTECT,
                                     CMD_READOUT_PROTECT,
                                     CMD_READOUT_UNPROTECT};
    return command == erase_command(rom) || (command == CMD_GET_CHECKSUM && rom->sums) ||
           memchr(always, command, sizeof always);
}

static bool works_when_protected(uint8_t command)
{
    return command <= CMD_GET_ID || command == CMD_READOUT_UNPROTECT;
}

static void command(struct rom *rom)
{
    uint8_t code = rom->frame[0];
    bool known = rom_is_complemented(rom) && is_listed(rom, code);
    if (!known || (vstm32_level(&rom->options) && !works_when_protected(code))) {
        rom_nack(rom);
        return;
    }
    rom->command = code;
    switch (code) {
    case CMD_GET:
        get(rom);
        break;
    case CMD_GET_VERSION:
        get_version(rom);
        break;
    case CMD_GET_ID:
        get_id(rom);
        break;
    case CMD_ERASE:
        rom_ack(rom, ROM_PAGE_LIST);
        break;
    case CMD_EXTENDED_ERASE:
        rom_ack(rom, ROM_LONG_PAGE_LIST);
        break;
    case CMD_WRITE_PROTECT:
        rom_ack(rom, ROM_SECTOR_LIST);
        break;
    case CMD_WRITE_UNPROTECT:
        write_unprotect(rom);
        break;
    case CMD_READOUT_PROTECT:
        readout_protect(rom);
        break;
    case CMD_READOUT_UNPROTECT:
        readout_unprotect(rom);
        break;
    default: /* CMD_READ, CMD_GO, CMD_WRITE, CMD_GET_CHECKSUM */
        rom_ack(rom, ROM_ADDRESS);
        break;
    }
}

static void go(struct rom *rom)
{
    enum rom_area_kind kind = rom_area_at(rom, rom->address).kind;
    if (kind != ROM_FLASH && kind != ROM_RAM) {
        rom_nack(rom);
        return;
    }
    rom_ack(rom, ROM_COMMAND);
    rom->jumped_to = rom->address;
    if (rom_is_reset_stub(rom, rom->address))
        rom_leave(rom, 0);
    else
        rom->state = ROM_APPLICATION;
}

static void address(struct rom *rom)
{
    rom->address = get_be32(rom->frame);
    enum rom_area_kind kind = rom_area_at(rom, rom->address).kind;
    bool writable = kind == ROM_FLASH || kind == ROM_RAM || kind == ROM_OPTIONS;
    if (rom->command == CMD_GO)
        go(rom);
    else if (rom->command == CMD_GET_CHECKSUM && kind == ROM_FLASH && rom->address % 4 == 0)
        rom_ack(rom, ROM_SUM_LENGTH);
    else if (rom->command == CMD_GET_CHECKSUM)
        rom_nack(rom);
    else if (kind == ROM_NOTHING ||
             (rom->command == CMD_WRITE && (!writable || rom->address % 4 != 0)))
        rom_nack(rom);
    else
        rom_ack(rom, rom->command == CMD_WRITE ? ROM_WRITE_DATA : ROM_READ_LENGTH);
}

/* ---- all of them ---- */

static void (*const stages[])(struct rom *rom) = {
    [ROM_COMMAND] = command,
    [ROM_ADDRESS] = address,
    [ROM_READ_LENGTH] = rom_read_memory,
    [ROM_WRITE_DATA] = rom_write_memory,
    [ROM_PAGE_LIST] = rom_page_list,
    [ROM_LONG_PAGE_LIST] = rom_long_page_list,
    [ROM_SECTOR_LIST] = sector_list,
    [ROM_SUM_LENGTH] = rom_sum_number,
    [ROM_SUM_POLYNOMIAL] = rom_sum_number,
    [ROM_SUM_START] = rom_sum_number,
};

/* Frames of a byte and its complement are checked by their stage; the mass erase of command 43 is
 * such a pair too. */
static bool has_sum(const struct rom *rom)
{
    return rom->stage != ROM_COMMAND && rom->stage != ROM_READ_LENGTH && rom->got > 2;
}

void rom_execute(struct rom *rom)
{
    bool refused = ++rom->answered == rom->faults.nak;
    if (refused || (has_sum(rom) && !sums_to_zero(rom)))
        rom_nack(rom);
    else
        stages[rom->stage](rom);
}
