/*
 * ROM loaders by product id (ST AN2606) and flash controllers by family (data sheets, electrical
 * characteristics of the flash memory, typical values).
 *
 * One thing to know: the F4 loader programs bytes (x8), which makes its erases slower than the
 * figures for 32 bits that are quoted most.
 */
#include "stm32_part.h"

#include <string.h>

#include "base/clock.h"

enum { K = 1024 };

static const struct vstm32_family families[] = {
    /* STM32F072 data sheet: 16 bits 53.5 us, page 20 to 40 ms. */
    {"F0", 2, 53, REWRITE_ONLY_TO_ZERO, OPTIONS_PAIRS, true, true, 0x31, 0xaa, 256000},
    /* STM32F103 data sheet: 16 bits 52.5 us, page 20 to 40 ms. */
    {"F1", 2, 53, REWRITE_ONLY_TO_ZERO, OPTIONS_PAIRS, true, false, 0x22, 0xa5, 230400},
    /* STM32F407 data sheet: a byte 16 us. */
    {"F4", 1, 16, REWRITE_CLEARS_BITS, OPTIONS_F4, false, true, 0x31, 0xaa, 256000},
    /* STM32G071 data sheet: 64 bits 85 us, page and mass erase 22 ms. */
    {"G0", 8, 85, REWRITE_ONLY_TO_ZERO, OPTIONS_G0, true, true, 0x31, 0xaa, 256000},
    /* STM32H743 data sheet: 256 bits 100 us at x64. */
    {"H7", 32, 100, REWRITE_NEVER, OPTIONS_H7, false, true, 0x31, 0xaa, 256000},
};

/* AN2606 through stm32flash's device table; RAM ends exclusive. */
#define F1_PART(id, ram_size, pages)                                                         \
    {                                                                                        \
        .pid = (id), .ram = {{0x20000200, (ram_size)-0x200}}, .system = {0x1ffff000, 0x800}, \
        .pages_per_sector = (pages)                                                          \
    }
#define F0_PART(id, boot, boot_at, ram_lo, ram_hi, rom, pages)                           \
    {                                                                                    \
        .pid = (id), .boot_id = (boot), .boot_id_at = (boot_at),                         \
        .ram = {{(ram_lo), (ram_hi) - (ram_lo)}}, .system = {(rom), 0x1ffff800 - (rom)}, \
        .pages_per_sector = (pages)                                                      \
    }
#define F4_PART(id, boot, boot_at, ram_hi)                                              \
    {                                                                                   \
        .pid = (id), .boot_id = (boot), .boot_id_at = (boot_at),                        \
        .ram = {{0x20003000, (ram_hi)-0x20003000}}, .system = {0x1fff0000, 0x7800},     \
        .factory = {0x1fff7a00, 0x100}, .factory_in_whole = true, .pages_per_sector = 1 \
    }
#define H7_PART(id, boot, axi_lo, axi_hi)                                                      \
    {                                                                                          \
        .pid = (id), .boot_id = (boot), .boot_id_at = 0x1ff1e7fe,                              \
        .ram = {{0x20004100, 0x20020000 - 0x20004100}, {(axi_lo), (axi_hi) - (axi_lo)}},       \
        .system = {0x1ff00000, 0x1e800}, .factory = {0x1ff1e800, 0x100}, .pages_per_sector = 1 \
    }

static const struct vstm32_part parts[] = {
    F0_PART(0x444, 0x10, 0x1ffff7a6, 0x20000800, 0x20001000, 0x1fffec00, 4),
    F0_PART(0x445, 0xa1, 0x1ffff6a6, 0x20001800, 0x20001800, 0x1fffc400, 4),
    F0_PART(0x448, 0xa1, 0x1ffff6a6, 0x20001800, 0x20004000, 0x1fffc800, 2),
    F1_PART(0x412, 10 * K, 4),
    F1_PART(0x410, 20 * K, 4),
    F1_PART(0x414, 64 * K, 2),
    F4_PART(0x423, 0xd1, 0x1fff76de, 0x20010000),
    F4_PART(0x433, 0xd1, 0x1fff76de, 0x20018000),
    F4_PART(0x413, 0x31, 0x1fff77de, 0x20020000),
    F4_PART(0x431, 0xd0, 0x1fff76de, 0x20020000),
    F4_PART(0x421, 0x90, 0x1fff76de, 0x20020000),
    F4_PART(0x419, 0x70, 0x1fff76de, 0x20030000),
    {.pid = 0x460,
     .boot_id = 0xb3,
     .boot_id_at = 0x1fff6ffe,
     .ram = {{0x20002700, 0x20009000 - 0x20002700}},
     .system = {0x1fff0000, 0x7000},
     .factory = {0x1fff7500, 0x300},
     .pages_per_sector = 1},
    {.pid = 0x467,
     .boot_id = 0x92,
     .boot_id_at = 0x1fff9ffe,
     .ram = {{0x20004000, 0x20024000 - 0x20004000}},
     .system = {0x1fff0000, 0x6000},
     .factory = {0x1fff7500, 0x300},
     .dual_bank = true,
     .pages_per_sector = 1},
    H7_PART(0x450, 0x91, 0x24005000, 0x24080000),
    H7_PART(0x483, 0x93, 0x24004000, 0x24050000),
};

const struct vstm32_part *vstm32_part_of(const struct chip *chip)
{
    for (size_t i = 0; chip->stm32 && i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].pid == chip->stm32->pids[0])
            return &parts[i];
    return NULL;
}

const struct vstm32_family *vstm32_family_of(const struct chip *chip)
{
    for (size_t i = 0; chip->stm32 && i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].name, chip->stm32->family) == 0)
            return &families[i];
    return NULL;
}

/* STM32F407 data sheet, flash memory programming at x8: typical times by sector size. */
static uint64_t f4_erase_time(uint32_t size)
{
    return size <= 16 * K ? 400 * MILLISECOND : size <= 64 * K ? 1200 * MILLISECOND : 2 * SECOND;
}

uint64_t vstm32_erase_time(const struct vstm32_family *family, uint32_t size)
{
    switch (family->options) {
    case OPTIONS_F4:
        return f4_erase_time(size);
    case OPTIONS_G0:
        return 22 * MILLISECOND;
    case OPTIONS_H7:
        return 1 * SECOND; /* STM32H743 data sheet: 128 KiB at x64 */
    default:
        return 30 * MILLISECOND;
    }
}

uint64_t vstm32_option_time(const struct vstm32_family *family)
{
    return vstm32_erase_time(family, 0);
}
