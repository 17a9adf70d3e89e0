/*
 * Chips: rows of tables, made from src/board/chips-*.csv at build time. A new chip is a row.
 */
#ifndef MFLASH_CHIP_H
#define MFLASH_CHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

struct span {
    uint64_t start, size; /* bytes */
};

/* Equal sectors in a row: STM32F4 has 4 of 16 KiB, 1 of 64 KiB, 7 of 128 KiB. */
struct sector_run {
    uint32_t count, size;
};

/* A stretch of writable memory. */
struct region {
    const char *name; /* "flash", "eeprom", "internal", "qspi" */
    enum memory memory;
    uint64_t start, size; /* bytes, in the target's space */
    uint32_t sector;      /* what one erase takes, bytes; the smallest where `runs` has several */
    uint32_t page;        /* what one write takes, bytes */
    uint8_t erased;       /* value of an erased byte, 0xff mostly */
    const struct sector_run *runs; /* NULL: all sectors have size `sector` */
    size_t run_count;
};

/* The sector that holds `address`, which lies in the region. */
struct span region_sector(const struct region *region, uint64_t address);

/* What AVR methods need beyond regions: columns of chips-avr.csv, from avrdude.conf and Microchip's
 * ATDF files. Times in microseconds. */
struct avr_part {
    uint8_t signature[3];
    uint32_t boot_bytes[4]; /* boot section size by BOOTSZ 11, 10, 01, 00; 0 = no boot section */
    uint8_t bootsz_mask, bootrst_mask;
    char bootsz_fuse, bootrst_fuse; /* 'h', 'e', or 0 */
    uint8_t lfuse_default, hfuse_default, efuse_default;
    uint8_t lfuse_mask, hfuse_mask, efuse_mask,
        lock_mask;              /* writable bits; mask 0 = no such fuse */
    uint32_t chip_erase_max_us; /* data sheet / ATDF maximum, for RDY/BSY polling */
    uint32_t chip_erase_us, flash_write_us, eeprom_write_us, fuse_write_us;
    uint8_t erase_poll; /* 1 = RDY/BSY polling works, 0 = wait */
    uint8_t flash_mode, flash_delay, flash_poll1, flash_poll2;
    uint8_t eeprom_mode, eeprom_delay, eeprom_poll1, eeprom_poll2;
    uint16_t flash_block, eeprom_block;
    uint8_t extended_address; /* 1 = Load Extended Address instruction (2560) */
    uint8_t stk500_devcode;   /* 0 = none exists */
    uint8_t calibration_bytes;
};

/* What the STM32 ROM loader's method needs beyond regions: columns of chips-stm32.csv. */
struct stm32_part {
    const char *family;      /* "F1", "F4", "G0" … */
    uint16_t pids[6];        /* product ids (AN2606) that this part and its clones answer; 0 ends */
    uint32_t option_base;    /* option bytes as the ROM loader shows them; 0 = none there */
    uint32_t option_bytes;   /* how many */
    uint32_t flash_size_reg; /* holds the size in KiB, 16 bits; 0 = none */
    uint32_t unique_id;      /* 96 bits; 0 = none */
    bool proven;             /* there is a virtual board of this family */
};

/* What SAM-BA needs beyond regions: columns of chips-sam.csv; register names as in the data sheets.
 */
struct sam_part {
    const char *family;     /* "SAM3X", "SAM4E", "SAMD21", "SAMD51" … */
    const char *controller; /* "EEFC", "EFC", "NVMCTRL_D2x", "NVMCTRL_D5x" */
    uint32_t id_register;   /* CHIPID_CIDR or DSU_DID */
    uint32_t id_value, id_mask;
    uint32_t controllers[2]; /* base addresses; [1] is 0 where there is one plane */
    uint32_t planes, lock_regions;
    uint32_t applet_base; /* RAM for an applet and its buffers … */
    uint32_t stack;       /* … up to here */
    bool proven;
};

struct chip {
    const char *name; /* lower case, "atmega2560"; also Klipper's MCU string */
    const char *id;   /* avrdude's short name "m2560"; may be NULL */
    enum machine machine;
    const struct region *regions; /* regions[0] is the main flash */
    size_t region_count;
    const struct span *ram;
    size_t ram_count;
    const struct avr_part *avr; /* NULL for other families */
    const struct stm32_part *stm32;
    const struct sam_part *sam;
};

/* By name or short id, any case. NULL if unknown. */
const struct chip *chip_find(const char *name);

/* The nth chip, NULL past the end. */
const struct chip *chip_at(size_t n);

/* NULL if the chip has no such memory. */
const struct region *chip_region(const struct chip *chip, enum memory memory);

/* Does its flash begin with SP and reset vector (Cortex-M), and not with instructions? */
bool chip_has_vectors(const struct chip *chip);

/* First chip with that AVR signature after `after` (NULL: from the start); several can share one.
 */
const struct chip *chip_by_signature(const uint8_t signature[3], const struct chip *after);

#endif
