/*
 * The serial programming instruction set. Data sheets, table "Serial Programming Instruction Set"
 * (ATmega2560 table 30-17, 328P table 28-20).
 *
 * Flash is written by pages: load low byte, load high byte, …, write page. The write can only clear
 * bits, and empties the page buffer. A write takes milliseconds; until it is over the chip carries
 * out nothing but Poll RDY/BSY, where it has that.
 */
#include "avr_instructions.h"

#include <string.h>

enum { HFUSE_SPIEN = 0x20, HFUSE_EESAVE = 0x08, LOCK_LB1 = 0x01, LOCK_LB2 = 0x02 };

/* What a part must have to know an instruction. */
enum needs { ALWAYS, EXTENDED_ADDRESS, EEPROM_PAGES, RDY_BSY, EFUSE };

struct instruction {
    uint8_t first, second, second_mask; /* bits of the second byte that tell instructions apart */
    enum needs needs;
    uint8_t (*output)(const struct avr_target *target); /* NULL: the echo */
    void (*execute)(struct avr_target *target);         /* NULL: nothing */
};

static uint8_t lock_bits(const struct avr_target *target)
{
    return target->fuses.bytes[AVR_LOCK];
}

/* LB modes 2 and 3. */
static bool write_locked(const struct avr_target *target)
{
    return !(lock_bits(target) & LOCK_LB1);
}

/* LB mode 3. */
static bool read_locked(const struct avr_target *target)
{
    return !(lock_bits(target) & LOCK_LB2);
}

static uint32_t flash_page(const struct avr_target *target)
{
    return chip_region(target->chip, MEM_FLASH)->page;
}

static uint32_t eeprom_page(const struct avr_target *target)
{
    return chip_region(target->chip, MEM_EEPROM)->page;
}

/* Byte address of the word that bytes 2 and 3 name; sizes are powers of two, more bits than the
 * part has count for nothing. */
static uint32_t flash_address(const struct avr_target *target)
{
    uint32_t word = target->extended << 16 | (uint32_t)target->bytes[1] << 8 | target->bytes[2];

    return word * 2 & ((uint32_t)chip_region(target->chip, MEM_FLASH)->size - 1);
}

static uint32_t eeprom_address(const struct avr_target *target)
{
    uint32_t byte = (uint32_t)target->bytes[1] << 8 | target->bytes[2];

    return byte & ((uint32_t)chip_region(target->chip, MEM_EEPROM)->size - 1);
}

static void start_write(struct avr_target *target, enum avr_write what, uint32_t us)
{
    target->busy_with = what;
    target->busy_until = target->paced ? target->now + us : target->now;
}

/* A cell that is stuck keeps its 1 bits. */
static void program(struct vmemory *memory, uint32_t address, uint8_t value)
{
    if (memory->stuck == address)
        value |= memory->bytes[address];
    memory->bytes[address] = value;
}

/* ---- flash ---- */

static void load_extended_address(struct avr_target *target)
{
    target->extended = target->bytes[2];
}

static void load_low(struct avr_target *target)
{
    target->low_byte = target->bytes[3];
}

/* Only the high byte moves a word into the page buffer: the low one must have come before. */
static void load_high(struct avr_target *target)
{
    uint32_t at = flash_address(target) & (flash_page(target) - 1);

    target->page[at] = target->low_byte;
    target->page[at + 1] = target->bytes[3];
}

static void write_page(struct avr_target *target)
{
    uint32_t size = flash_page(target);
    uint32_t at = flash_address(target) & ~(size - 1);

    if (write_locked(target)) {
        avr_target_violate(target, "flash write under lock bits");
        return;
    }
    for (uint32_t i = 0; i < size; i++)
        program(&target->flash, at + i, target->flash.bytes[at + i] & target->page[i]);
    memset(target->page, 0xff, sizeof target->page);
    target->low_byte = 0xff;
    start_write(target, AVR_WRITE_FLASH, target->chip->avr->flash_write_us);
}

static uint8_t read_flash(const struct avr_target *target)
{
    uint32_t high = target->bytes[0] >> 3 & 1;

    if (read_locked(target))
        return 0xff;
    return target->flash.bytes[flash_address(target) + high];
}

/* ---- EEPROM: a write erases its bytes first ---- */

static void write_eeprom_cell(struct avr_target *target, uint32_t address, uint8_t value)
{
    target->eeprom.bytes[address] = 0xff;
    program(&target->eeprom, address, value);
}

static void write_eeprom(struct avr_target *target)
{
    if (write_locked(target)) {
        avr_target_violate(target, "EEPROM write under lock bits");
        return;
    }
    write_eeprom_cell(target, eeprom_address(target), target->bytes[3]);
    start_write(target, AVR_WRITE_EEPROM, target->chip->avr->eeprom_write_us);
}

static void load_eeprom_page(struct avr_target *target)
{
    uint32_t at = eeprom_address(target) & (eeprom_page(target) - 1);

    target->eeprom_page[at] = target->bytes[3];
    target->eeprom_loaded |= (uint8_t)(1u << at);
}

/* Bytes that were not loaded stay as they are. */
static void write_eeprom_page(struct avr_target *target)
{
    uint32_t at = eeprom_address(target) & ~(eeprom_page(target) - 1);

    if (write_locked(target)) {
        avr_target_violate(target, "EEPROM write under lock bits");
        return;
    }
    for (uint32_t i = 0; i < eeprom_page(target); i++)
        if (target->eeprom_loaded >> i & 1)
            write_eeprom_cell(target, at + i, target->eeprom_page[i]);
    target->eeprom_loaded = 0;
    start_write(target, AVR_WRITE_EEPROM, target->chip->avr->eeprom_write_us);
}

static uint8_t read_eeprom(const struct avr_target *target)
{
    if (read_locked(target))
        return 0xff;
    return target->eeprom.bytes[eeprom_address(target)];
}

/* ---- chip erase, fuses, lock bits ---- */

/* In this order, so that nothing readable is left when the lock opens. EESAVE counts from the
 * moment it is programmed, other than all fuses else ("Latching of Fuses"). */
static void chip_erase(struct avr_target *target)
{
    memset(target->flash.bytes, 0xff, (size_t)chip_region(target->chip, MEM_FLASH)->size);
    if (target->fuses.bytes[AVR_HFUSE] & HFUSE_EESAVE)
        memset(target->eeprom.bytes, 0xff, (size_t)chip_region(target->chip, MEM_EEPROM)->size);
    target->fuses.bytes[AVR_LOCK] = 0xff;
    start_write(target, AVR_ERASE, target->chip->avr->chip_erase_us);
}

/* Bits that do not exist read 1. */
static void write_fuse(struct avr_target *target, unsigned fuse, uint8_t mask)
{
    uint8_t value = (uint8_t)(target->bytes[3] | ~mask);

    if (write_locked(target)) {
        avr_target_violate(target, "fuse write under lock bits");
        return;
    }
    if (fuse == AVR_HFUSE) /* SPIEN cannot be reached by serial programming */
        value = (uint8_t)((value & ~HFUSE_SPIEN) | (target->fuses.bytes[AVR_HFUSE] & HFUSE_SPIEN));
    if (target->fuses.stuck == fuse)
        value |= target->fuses.bytes[fuse];
    target->fuses.bytes[fuse] = value;
    start_write(target, AVR_WRITE_FUSE, target->chip->avr->fuse_write_us);
}

static void write_lfuse(struct avr_target *target)
{
    write_fuse(target, AVR_LFUSE, target->chip->avr->lfuse_mask);
}

static void write_hfuse(struct avr_target *target)
{
    write_fuse(target, AVR_HFUSE, target->chip->avr->hfuse_mask);
}

static void write_efuse(struct avr_target *target)
{
    write_fuse(target, AVR_EFUSE, target->chip->avr->efuse_mask);
}

/* Only from 1 to 0. In LB mode 3 the boot lock bits are locked too. */
static void write_lock(struct avr_target *target)
{
    uint8_t kept = (uint8_t)~target->chip->avr->lock_mask;

    if (read_locked(target)) {
        avr_target_violate(target, "lock bit write in LB mode 3");
        return;
    }
    program(&target->fuses, AVR_LOCK, lock_bits(target) & (target->bytes[3] | kept));
    start_write(target, AVR_WRITE_FUSE, target->chip->avr->fuse_write_us);
}

static uint8_t read_lfuse(const struct avr_target *target)
{
    return target->fuses.bytes[AVR_LFUSE];
}

static uint8_t read_hfuse(const struct avr_target *target)
{
    return target->fuses.bytes[AVR_HFUSE];
}

static uint8_t read_efuse(const struct avr_target *target)
{
    return target->fuses.bytes[AVR_EFUSE];
}

static uint8_t read_lock(const struct avr_target *target)
{
    return lock_bits(target);
}

/* ---- identity and state ---- */

static uint8_t read_signature(const struct avr_target *target)
{
    unsigned n = target->bytes[2] & 3;

    return n < sizeof target->signature ? target->signature[n] : 0xff;
}

/* Some oscillator calibration: every chip has its own. */
static uint8_t read_calibration(const struct avr_target *target)
{
    unsigned n = target->bytes[2] & 3;

    return n < target->chip->avr->calibration_bytes ? (uint8_t)(0x9b + n) : 0xff;
}

/* Only bit 0 is defined. */
static uint8_t poll_ready(const struct avr_target *target)
{
    return target->found_busy ? 0xff : 0xfe;
}

static const struct instruction instructions[] = {
    {0xac, 0x53, 0xff, ALWAYS, NULL, NULL}, /* Programming Enable, again */
    {0xac, 0x80, 0xe0, ALWAYS, NULL, chip_erase},
    {0xf0, 0x00, 0xff, RDY_BSY, poll_ready, NULL},
    {0x4d, 0x00, 0xff, EXTENDED_ADDRESS, NULL, load_extended_address},
    {0x40, 0, 0, ALWAYS, NULL, load_low},
    {0x48, 0, 0, ALWAYS, NULL, load_high},
    {0x4c, 0, 0, ALWAYS, NULL, write_page},
    {0x20, 0, 0, ALWAYS, read_flash, NULL},
    {0x28, 0, 0, ALWAYS, read_flash, NULL},
    {0xa0, 0, 0, ALWAYS, read_eeprom, NULL},
    {0xc0, 0, 0, ALWAYS, NULL, write_eeprom},
    {0xc1, 0, 0, EEPROM_PAGES, NULL, load_eeprom_page},
    {0xc2, 0, 0, EEPROM_PAGES, NULL, write_eeprom_page},
    {0x30, 0, 0, ALWAYS, read_signature, NULL},
    {0x38, 0, 0, ALWAYS, read_calibration, NULL},
    {0x50, 0x00, 0x08, ALWAYS, read_lfuse, NULL},
    {0x50, 0x08, 0x08, EFUSE, read_efuse, NULL},
    {0x58, 0x00, 0x08, ALWAYS, read_lock, NULL},
    {0x58, 0x08, 0x08, ALWAYS, read_hfuse, NULL},
    {0xac, 0xa0, 0xff, ALWAYS, NULL, write_lfuse},
    {0xac, 0xa8, 0xff, ALWAYS, NULL, write_hfuse},
    {0xac, 0xa4, 0xff, EFUSE, NULL, write_efuse},
    {0xac, 0xe0, 0xe0, ALWAYS, NULL, write_lock},
};

static bool part_has(const struct avr_part *part, enum needs needs)
{
    switch (needs) {
    case EXTENDED_ADDRESS:
        return part->extended_address;
    case EEPROM_PAGES:
        return part->eeprom_mode & 1;
    case RDY_BSY:
        return part->erase_poll;
    case EFUSE:
        return part->efuse_mask != 0;
    default:
        return true;
    }
}

static const struct instruction *decode(const struct avr_target *target)
{
    for (size_t i = 0; i < sizeof instructions / sizeof instructions[0]; i++) {
        const struct instruction *one = &instructions[i];
        if (target->bytes[0] == one->first &&
            (target->bytes[1] & one->second_mask) == one->second &&
            part_has(target->chip->avr, one->needs))
            return one;
    }
    return NULL;
}

/* Parts with value polling let the memory being written be read: FF until it is done. */
static bool value_polling(const struct avr_target *target, const struct instruction *one)
{
    const struct avr_part *part = target->chip->avr;

    if (target->busy_with == AVR_WRITE_FLASH && one->output == read_flash)
        return part->flash_mode & 0x20;
    if (target->busy_with == AVR_WRITE_EEPROM && one->output == read_eeprom)
        return part->eeprom_mode & 0x24;
    return false;
}

uint8_t avr_instruction(struct avr_target *target)
{
    const struct instruction *one = decode(target);

    if (!one) {
        avr_target_violate(target, "an instruction that this part does not have");
        return target->echo;
    }
    if (target->found_busy && one->output != poll_ready) {
        if (!value_polling(target, one))
            avr_target_violate(target, "an instruction during a write");
        return one->output ? 0xff : target->echo;
    }
    uint8_t miso = one->output ? one->output(target) : target->echo;
    if (one->execute)
        one->execute(target);
    return miso;
}
