/*
 * The pins of an AVR in serial programming mode: RESET, its waits, and bytes in and out. What the
 * instructions do is in avr_instructions.c.
 *
 * Every instruction has four bytes, and each byte shifts out the one before it, so Programming
 * Enable (AC 53) shows its 53 during the third byte. A chip that lost a bit stays deaf until RESET
 * goes high and low again.
 */
#include "avr_target.h"

#include <string.h>

#include "avr_clock.h"
#include "avr_instructions.h"
#include "base/clock.h"

const char *const avr_target_chips[] = {
    "at90usb1286", "at90usb162",  "at90usb646", "atmega1280",  "atmega1281",
    "atmega1284",  "atmega1284p", "atmega168",  "atmega168p",  "atmega2560",
    "atmega32",    "atmega328",   "atmega328p", "atmega328pb", "atmega32u4",
    "atmega644",   "atmega644p",  "attiny85",   NULL,
};

/* Data sheets, "Serial Programming Algorithm", step 2: wait for at least 20 ms. */
static const uint64_t RESET_WAIT = 20 * MILLISECOND;

enum { NOT_DRIVEN = 0xff };

enum { HFUSE_SPIEN = 0x20 };

static bool has_serial_programming(const struct chip *chip)
{
    for (size_t i = 0; chip->avr && avr_target_chips[i]; i++)
        if (strcmp(avr_target_chips[i], chip->name) == 0)
            return true;
    return false;
}

/* High fuse bits that turn RESET into something else when programmed: RSTDISBL and DWEN. */
static uint8_t reset_disable_bits(const struct chip *chip)
{
    static const char *const chips[] = {"atmega168",   "atmega168p", "atmega328", "atmega328p",
                                        "atmega328pb", "at90usb162", "attiny85"};

    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++)
        if (strcmp(chips[i], chip->name) == 0)
            return 0xc0;
    return 0;
}

static void latch_fuses(struct avr_target *target)
{
    uint8_t hfuse = target->fuses.bytes[AVR_HFUSE];
    uint8_t disable = reset_disable_bits(target->chip);

    target->clock_hz = avr_clock_hz(target->chip, target->fuses.bytes[AVR_LFUSE]);
    target->deaf = (hfuse & disable) != disable || (hfuse & HFUSE_SPIEN) || target->clock_hz == 0;
}

static bool fuses_blank(const struct vmemory *fuses)
{
    for (size_t i = 0; i < AVR_FUSE_COUNT; i++)
        if (fuses->bytes[i] != 0xff)
            return false;
    return true;
}

static void set_default_fuses(struct avr_target *target)
{
    const struct avr_part *part = target->chip->avr;

    target->fuses.bytes[AVR_LFUSE] = part->lfuse_default;
    target->fuses.bytes[AVR_HFUSE] = part->hfuse_default;
    target->fuses.bytes[AVR_EFUSE] = part->efuse_mask ? part->efuse_default : 0xff;
}

/* The signature of some other chip. */
static void forge_signature(struct avr_target *target)
{
    const struct chip *other;

    for (size_t n = 0; (other = chip_at(n)) != NULL; n++)
        if (other->avr && memcmp(other->avr->signature, target->chip->avr->signature, 3) != 0) {
            memcpy(target->signature, other->avr->signature, 3);
            return;
        }
}

bool avr_target_init(struct avr_target *target, const struct vconfig *config)
{
    const struct chip *chip = config->chip;

    if (!has_serial_programming(chip) || config->fuses.size < AVR_FUSE_COUNT ||
        config->flash.size < chip_region(chip, MEM_FLASH)->size ||
        config->eeprom.size < chip_region(chip, MEM_EEPROM)->size)
        return false;
    *target = (struct avr_target){
        .chip = chip, .flash = config->flash, .eeprom = config->eeprom, .fuses = config->fuses};
    memcpy(target->signature, chip->avr->signature, sizeof target->signature);
    if (config->faults.wrong_id)
        forge_signature(target);
    if (fuses_blank(&target->fuses))
        set_default_fuses(target);
    if (config->faults.locked)
        target->fuses.bytes[AVR_LOCK] &= (uint8_t)~3u; /* LB mode 3 */
    avr_target_power_on(target);
    return true;
}

void avr_target_power_on(struct avr_target *target)
{
    target->reset_low = false;
    target->enabled = false;
    target->busy_until = 0;
    target->low_byte = 0xff;
    target->eeprom_loaded = 0;
    memset(target->page, 0xff, sizeof target->page);
    latch_fuses(target);
}

void avr_target_violate(struct avr_target *target, const char *what)
{
    target->violations++;
    target->violation = what;
}

void avr_target_reset_pin(struct avr_target *target, bool low, uint64_t now)
{
    if (low == target->reset_low)
        return;
    target->reset_low = low;
    target->enabled = false;
    if (low) {
        target->reset_since = now;
        target->in_step = true;
        target->count = 0;
        target->echo = NOT_DRIVEN;
        return;
    }
    if (now < target->busy_until)
        avr_target_violate(target, "RESET went high during a write");
    latch_fuses(target);
}

/* False if this byte does not reach the chip whole; then none does until the next RESET. */
static bool hears(struct avr_target *target, uint32_t sck_hz, uint64_t now)
{
    if (!target->reset_low || target->deaf || !target->in_step)
        return false;
    if (sck_hz >= avr_clock_sck_limit(target->clock_hz)) {
        avr_target_violate(target, "SCK is too fast for the clock of the chip");
        target->in_step = false;
    } else if (target->paced && now < target->reset_since + RESET_WAIT) {
        avr_target_violate(target, "Programming Enable before RESET was low for 20 ms");
        target->in_step = false;
    }
    return target->in_step;
}

/* Before Programming Enable: nothing comes out but the 53 of AC 53, and what follows it. */
static uint8_t shift_disabled(struct avr_target *target)
{
    bool enable = target->bytes[0] == 0xac && target->bytes[1] == 0x53;

    if (target->count < 2 || !enable)
        return NOT_DRIVEN;
    if (target->count == 3) {
        target->enabled = true;
        target->extended = 0;
    }
    return target->echo;
}

uint8_t avr_target_spi(struct avr_target *target, uint8_t mosi, uint32_t sck_hz, uint64_t now)
{
    uint8_t miso;

    if (!hears(target, sck_hz, now))
        return NOT_DRIVEN;
    target->now = now;
    target->bytes[target->count] = mosi;
    if (target->count == 0)
        target->found_busy = now < target->busy_until;
    if (!target->enabled)
        miso = shift_disabled(target);
    else if (target->count < 3)
        miso = target->echo;
    else
        miso = avr_instruction(target);
    target->count = (target->count + 1) % 4;
    target->echo = mosi;
    return miso;
}
