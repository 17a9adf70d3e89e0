/*
 * What a virtual STM32 ROM loader must know of its part beyond the chip's row (AN2606): where its
 * own memories lie, what it calls itself, and how its flash controller behaves.
 */
#ifndef VBOARD_STM32_PART_H
#define VBOARD_STM32_PART_H

#include "board/chip.h"
#include "model.h"

/* What a flash controller does with a program unit that is not erased. */
enum vstm32_rewrite {
    REWRITE_CLEARS_BITS,  /* F4: programming only ever clears bits */
    REWRITE_ONLY_TO_ZERO, /* F0, F1, G0: refused unless the new value is all zero */
    REWRITE_NEVER,        /* H7: a second write would break the word's ECC */
};

/* How write protection and read-out protection lie in the option bytes. */
enum vstm32_option_layout { OPTIONS_PAIRS, OPTIONS_F4, OPTIONS_G0, OPTIONS_H7 };

struct vstm32_family {
    const char *name;
    uint32_t unit;       /* bytes that are programmed at once */
    uint32_t program_us; /* per unit */
    enum vstm32_rewrite rewrite;
    enum vstm32_option_layout options;
    bool mass_is_page;   /* a mass erase takes as long as one page, not as all of them */
    bool extended_erase; /* command 44; else 43 */
    uint8_t version;     /* of the protocol, BCD */
    uint8_t rdp_open;    /* read-out protection level 0 */
    uint32_t highest_baud;
};

struct vstm32_part {
    uint16_t pid;
    uint8_t boot_id; /* AN2606's bootloader id, at boot_id_at; 0 = none */
    uint32_t boot_id_at;
    struct span ram[2];        /* what the loader leaves free of it */
    struct span system;        /* system memory: readable */
    struct span factory;       /* flash size and unique id, where they lie outside system memory */
    bool factory_in_whole;     /* … and are only read 256 bytes at once */
    bool dual_bank;            /* two banks, if the option DUAL_BANK says so */
    uint32_t pages_per_sector; /* a bit of write protection covers so many */
};

/* NULL if no virtual loader knows the chip. */
const struct vstm32_part *vstm32_part_of(const struct chip *chip);
const struct vstm32_family *vstm32_family_of(const struct chip *chip);

/* Microseconds for erasing one sector of `size` bytes. */
uint64_t vstm32_erase_time(const struct vstm32_family *family, uint32_t size);

/* Microseconds for writing the option bytes: as long as the shortest erase. */
uint64_t vstm32_option_time(const struct vstm32_family *family);

#endif
