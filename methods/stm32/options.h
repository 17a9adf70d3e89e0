/*
 * Option bytes of STM32 as named fuses: rdp, user, data0, wrp0 … They lie at stm32_part.option_base
 * as the ROM loader shows them. Documents: the reference manuals, chapter "option bytes".
 *
 * F0 and F1 keep a complement behind each byte, G0, G4 and L4 one behind each word. The loader
 * erases all of them before it writes, so they are always written together.
 */
#ifndef MFLASH_STM32_OPTIONS_H
#define MFLASH_STM32_OPTIONS_H

#include "board/chip.h"

enum { OPTIONS_MAX = 256 }; /* bytes of the area */

enum { RDP_LEVEL_2 = 0xcc, RDP_LEVEL_1 = 0xbb };

struct option_field {
    const char *families; /* by blanks */
    const char *name;
    uint8_t offset, bytes;
    uint8_t complement; /* distance to the complement; 0 = none */
};

/* The nth field that the chip's area has; NULL past the end. */
const struct option_field *option_at(const struct chip *chip, size_t n);

/* NULL if there is no such field. Any case. */
const struct option_field *option_find(const struct chip *chip, const char *name);

uint32_t option_mask(const struct option_field *field);
uint32_t option_get(const struct option_field *field, const uint8_t *area);

/* Sets the value and its complement. */
void option_set(const struct option_field *field, uint8_t *area, uint32_t value);

/* The value of rdp that means "readable": 0xa5 on F1, else 0xaa. */
uint8_t option_rdp_open(const struct chip *chip);

/* What the bits mean: "WDG_SW=1 nRST_STOP=1 …"; "" if that is not known. */
void option_decode(const struct chip *chip, const char *name, uint32_t value, char *text,
                   size_t size);

/* NULL, or why this value would lock the user out for ever. */
const char *option_danger(const struct chip *chip, const char *name, uint32_t value);

#endif
