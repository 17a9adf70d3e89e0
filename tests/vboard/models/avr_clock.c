/*
 * CKSEL and CKDIV8 of the low fuse. Data sheets, chapter "System Clock and Clock Options", table
 * "Device Clocking Options Select": one row of sixteen for each family that has a table of its own.
 */
#include "avr_clock.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

#define RC      8000000  /* calibrated RC oscillator */
#define WD      128000   /* 128 kHz oscillator */
#define CRYSTAL 16000000 /* the board's */
#define NONE    0 /* external clock, 32 kHz crystal, external RC or reserved: nothing is there */

struct clock_family {
    const char *chips; /* names between blanks */
    bool divider;      /* has CKDIV8 (bit 7) */
    uint32_t hz[16];   /* by CKSEL3..0 */
};

static const struct clock_family families[] = {
    {" atmega32 ",
     false,
     {NONE, 1000000, 2000000, 4000000, RC, NONE, NONE, NONE, NONE, NONE, CRYSTAL, CRYSTAL, CRYSTAL,
      CRYSTAL, CRYSTAL, CRYSTAL}},
    {" attiny85 ", /* 0001 is the PLL, 0011 the 6.4 MHz of an ATtiny15 divided by 4 */
     true,
     {NONE, 16000000, RC, 1600000, WD, NONE, NONE, NONE, CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL,
      CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL}},
    {" atmega328pb atmega32u4 at90usb646 at90usb1286 ", /* no full swing oscillator at 011x */
     true,
     {NONE, NONE, RC, NONE, NONE, NONE, NONE, NONE, CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL,
      CRYSTAL, CRYSTAL, CRYSTAL}},
    {" at90usb162 ",
     true,
     {NONE, NONE, RC, NONE, NONE, NONE, CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL,
      CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL}},
    {NULL, /* ATmega168, 328, 644, 1280, 1284, 2560 */
     true,
     {NONE, NONE, RC, WD, NONE, NONE, CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL, CRYSTAL,
      CRYSTAL, CRYSTAL, CRYSTAL}},
};

static const struct clock_family *family_of(const struct chip *chip)
{
    const struct clock_family *family = families;

    while (family->chips && !text_has_word(family->chips, chip->name))
        family++;
    return family;
}

uint32_t avr_clock_hz(const struct chip *chip, uint8_t lfuse)
{
    const struct clock_family *family = family_of(chip);
    uint32_t hz = family->hz[lfuse & 0x0f];

    return family->divider && !(lfuse & 0x80) ? hz / 8 : hz;
}

uint32_t avr_clock_sck_limit(uint32_t clock_hz)
{
    return clock_hz >= 12000000 ? clock_hz / 6 : clock_hz / 4;
}
