/*
 * Product ids of the STM32 ROM loaders (ST AN2606) and what differs between them: how the flash is
 * divided into pages, and the quirks of their loaders.
 */
#ifndef MFLASH_STM32_PARTS_H
#define MFLASH_STM32_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board/chip.h"

enum rom_quirk {
    QUIRK_NO_MASS_ERASE = 1, /* L0, L1: page by page */
    QUIRK_SHORT_BLOCKS = 2,  /* L0: at most 128 bytes a command */
    QUIRK_EXTRA_ACK = 4,     /* L412: one ACK too many in Get Version */
    QUIRK_EMPTY_FLAG = 8,    /* a chip that was empty stays in its loader until it loses power */
    QUIRK_BANKS = 16,        /* two banks of half the flash each, with pages that are small */
    QUIRK_BANKS_OPTION = 32, /* those, if bit 21 of the first option word is set (DUAL_BANK) */
};

struct rom_part {
    uint16_t pid;
    const char *name;
    const char *pages; /* "4x16K 1x64K *x128K": sectors from the flash base on; * = to the end */
    unsigned quirks;
};

/* NULL for an id that is not known. */
const struct rom_part *st_rom_part_find(unsigned pid);

/* "0x410 (STM32F10x medium-density)" or "0x777 (not known)". */
void st_rom_part_text(unsigned pid, char *text, size_t size);

enum { ROM_RUNS_MAX = 8 };

/* The flash as this part divides it; the chip's own division if the part is not known. `runs` is
 * where the region keeps its sectors. */
struct region st_rom_part_flash(const struct rom_part *part, const struct chip *chip,
                                struct sector_run runs[ROM_RUNS_MAX]);

/* Which sector, counted from the flash base, holds an address of the region: the loader's page
 * number. */
uint32_t region_sector_number(const struct region *region, uint64_t address);

#endif
