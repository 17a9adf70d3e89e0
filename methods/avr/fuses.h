/*
 * Fuses and lock bits of AVR parts: their instructions, the names of their bits (data sheets,
 * chapter "Memory Programming"), and which values lock the user out.
 *
 * A bit is programmed when it is 0. Unused bits read as 1 and are sent as 1, so every comparison is
 * made under the mask of the bits that exist.
 */
#ifndef MFLASH_AVR_FUSES_H
#define MFLASH_AVR_FUSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board/chip.h"

/* hfuse bits that mean the same on every part here. */
enum { HFUSE_EESAVE = 0x08 };

/* Lock bits LB (1:0): 11 open; 10 writing is off; 00 reading is off too. Only Chip Erase opens. */
enum { LOCK_LB = 0x03, LOCK_OPEN = 0x03, LOCK_NO_WRITE = 0x02, LOCK_NO_READ = 0x00 };

/* One fuse byte and its serial programming instructions (data sheets, table "Serial Programming
 * Instruction Set"): first two bytes, the third is 0, the fourth carries the value. */
struct avr_fuse {
    const char *name; /* "lfuse", "hfuse", "efuse", "lock" */
    uint8_t read[2], write[2];
};

/* The fuses the chip has, in the order in which they are written: efuse, hfuse, lfuse, lock (a
 * new clock comes last of the fuses). NULL past the end. */
const struct avr_fuse *avr_fuse_at(const struct chip *chip, size_t n);

/* NULL if the chip has no fuse of that name. */
const struct avr_fuse *avr_fuse_find(const struct chip *chip, const char *name);

/* The bits that exist; 0 for a fuse the chip does not have. */
uint8_t avr_fuse_mask(const struct chip *chip, const char *name);

/* Writes "CKDIV8=1 CKOUT=1 SUT=11 CKSEL=1111 (crystal, 8 MHz or more)" into `text`; "" if the chip
 * has no such fuse. */
void fuse_decode(const struct chip *chip, const char *name, uint8_t value, char *text, size_t size);

/*
 * NULL, or why this value should not be written without `--force fuses`: afterwards the chip cannot
 * be programmed by ISP, or it waits for a clock that boards do not have. Looks at the bits that
 * exist only.
 */
const char *fuse_danger(const struct chip *chip, const char *name, uint32_t value);

/* Lowest CPU clock, in Hz, that a chip with this lfuse can have by its data sheet; 0 = any (an
 * external clock). Serial programming wants SCK below a quarter of it. */
uint32_t fuse_clock_floor(const struct chip *chip, uint8_t lfuse);

#endif
