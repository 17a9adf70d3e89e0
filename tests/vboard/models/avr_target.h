/*
 * An AVR in serial programming mode, as seen from its RESET, SCK, MOSI and MISO pins. Data sheets,
 * chapter "Memory Programming", section "Serial Downloading" (ATmega2560 §30.8, 328P §28.8).
 *
 * It forgives nothing that silicon does not forgive: what it refuses it ignores, as the part does,
 * and counts in `violations`. Time comes from the caller with every byte, in microseconds; with
 * `paced` false, writes and required waits last no time.
 */
#ifndef VBOARD_AVR_TARGET_H
#define VBOARD_AVR_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "board/chip.h"
#include "model.h"

enum { AVR_LFUSE, AVR_HFUSE, AVR_EFUSE, AVR_LOCK, AVR_FUSE_COUNT };
enum { AVR_PAGE_MAX = 256, AVR_EEPROM_PAGE_MAX = 8 };

/* What the last write is at, for value polling. */
enum avr_write { AVR_WRITE_FLASH, AVR_WRITE_EEPROM, AVR_WRITE_FUSE, AVR_ERASE };

struct avr_target {
    const struct chip *chip;
    struct vmemory flash, eeprom, fuses; /* fuses: what the cells hold, by AVR_LFUSE … AVR_LOCK */
    uint8_t signature[3];
    bool paced;

    /* Of the fuses as latched when RESET was last high: */
    uint32_t clock_hz; /* 0: none */
    bool deaf;         /* the chip never hears a programmer, whatever it does */
    bool reset_low;
    uint64_t reset_since; /* when it went low */
    bool in_step;         /* no bit was lost since then */
    bool enabled;         /* Programming Enable was understood */
    uint8_t bytes[4];     /* the instruction being shifted in */
    unsigned count;
    uint8_t echo;    /* the byte before: it is shifted out during the next one */
    bool found_busy; /* a write was going on when the instruction began */

    uint64_t now; /* end of the last byte */
    uint64_t busy_until;
    enum avr_write busy_with;
    uint32_t extended; /* Load Extended Address */
    uint8_t page[AVR_PAGE_MAX];
    uint8_t low_byte; /* waits for its high byte to make a word of the page buffer */
    uint8_t eeprom_page[AVR_EEPROM_PAGE_MAX];
    uint8_t eeprom_loaded; /* one bit for each byte of it */

    unsigned violations;
    const char *violation; /* the last one, in words */
};

/* Names of the chips it can be, for struct vmodel; ends with NULL. */
extern const char *const avr_target_chips[];

/* A chip with power on and RESET high. A fuse memory that is all FF, as no chip can be (SPIEN reads
 * 0), becomes the factory's defaults. The config's faults apply: locked, wrong_id, stuck. False
 * if it lacks a memory, or is no AVR that has serial programming. */
bool avr_target_init(struct avr_target *target, const struct vconfig *config);

/* Power goes and comes back, with RESET high. */
void avr_target_power_on(struct avr_target *target);

/* The level of the RESET pin; going high latches the fuses and lets the application run. */
void avr_target_reset_pin(struct avr_target *target, bool low, uint64_t now);

/* One byte on MOSI, ended at `now`; returns the byte on MISO meanwhile. 0xff: nobody drives it. */
uint8_t avr_target_spi(struct avr_target *target, uint8_t mosi, uint32_t sck_hz, uint64_t now);

#endif
