/* See parts.h. Ids, names and page sizes: ST AN2606 and the reference manuals. */
#include "stm32/parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

static const struct rom_part parts[] = {
    {0x440, "STM32F030x8/F05x", "*x1K", 0},
    {0x444, "STM32F03x4/x6", "*x1K", 0},
    {0x442, "STM32F030xC/F09x", "*x2K", QUIRK_EMPTY_FLAG},
    {0x445, "STM32F04x/F070x6", "*x1K", 0},
    {0x448, "STM32F070xB/F071/F072", "*x2K", 0},
    {0x412, "STM32F10x low-density", "*x1K", 0},
    {0x410, "STM32F10x medium-density", "*x1K", 0},
    {0x414, "STM32F10x high-density", "*x2K", 0},
    {0x420, "STM32F100 medium-density value line", "*x1K", 0},
    {0x428, "STM32F100 high-density value line", "*x2K", 0},
    {0x418, "STM32F105/F107", "*x2K", 0},
    {0x430, "STM32F10x XL-density", "*x2K", QUIRK_BANKS},
    {0x411, "STM32F2xx", "4x16K 1x64K *x128K", 0},
    {0x432, "STM32F373/F378", "*x2K", 0},
    {0x422, "STM32F302xB/C F303xB/C F358", "*x2K", 0},
    {0x439, "STM32F301/F302x4-x8/F318", "*x2K", 0},
    {0x438, "STM32F303x4-x8/F334/F328", "*x2K", 0},
    {0x446, "STM32F302xD/E F303xD/E F398", "*x2K", 0},
    {0x413, "STM32F405/F407/F415/F417", "4x16K 1x64K *x128K", 0},
    {0x419, "STM32F427/F429/F437/F439", "4x16K 1x64K 7x128K 4x16K 1x64K *x128K", 0},
    {0x423, "STM32F401xB/xC", "4x16K 1x64K *x128K", 0},
    {0x433, "STM32F401xD/xE", "4x16K 1x64K *x128K", 0},
    {0x458, "STM32F410", "4x16K *x64K", 0},
    {0x431, "STM32F411", "4x16K 1x64K *x128K", 0},
    {0x441, "STM32F412", "4x16K 1x64K *x128K", 0},
    {0x421, "STM32F446", "4x16K 1x64K *x128K", 0},
    {0x434, "STM32F469/F479", "4x16K 1x64K 7x128K 4x16K 1x64K *x128K", 0},
    {0x463, "STM32F413/F423", "4x16K 1x64K *x128K", 0},
    {0x452, "STM32F72x/F73x", "4x16K 1x64K *x128K", 0},
    {0x449, "STM32F74x/F75x", "4x32K 1x128K *x256K", 0},
    {0x451, "STM32F76x/F77x", "4x32K 1x128K *x256K", 0},
    {0x466, "STM32G03x/G04x", "*x2K", 0},
    {0x460, "STM32G07x/G08x", "*x2K", 0},
    {0x467, "STM32G0B0/G0B1/G0C1", "*x2K", QUIRK_BANKS_OPTION},
    {0x456, "STM32G05x/G06x", "*x2K", 0},
    {0x468, "STM32G431/G441", "*x2K", 0},
    {0x469, "STM32G47x/G48x", "*x2K", 0},
    {0x479, "STM32G491/G4A1", "*x2K", 0},
    {0x450, "STM32H742/H743/H745/H747/H750/H753/H755/H757", "*x128K", 0},
    {0x483, "STM32H723/H725/H730/H733/H735", "*x128K", 0},
    {0x480, "STM32H7A3/H7B0/H7B3", "*x8K", 0},
    {0x485, "STM32H7R3/H7R7/H7S3/H7S7", "*x8K", 0},
    {0x457, "STM32L01x/L02x", "*x128", QUIRK_NO_MASS_ERASE | QUIRK_SHORT_BLOCKS},
    {0x425, "STM32L031/L041", "*x128", QUIRK_NO_MASS_ERASE | QUIRK_SHORT_BLOCKS},
    {0x417, "STM32L05x/L06x", "*x128", QUIRK_NO_MASS_ERASE | QUIRK_SHORT_BLOCKS},
    {0x447, "STM32L07x/L08x", "*x128", QUIRK_NO_MASS_ERASE | QUIRK_SHORT_BLOCKS},
    {0x416, "STM32L1xxx6/8/B (cat 1)", "*x256", QUIRK_NO_MASS_ERASE},
    {0x429, "STM32L1xxx6/8/B-A (cat 2)", "*x256", QUIRK_NO_MASS_ERASE},
    {0x427, "STM32L1xxxC (cat 3)", "*x256", QUIRK_NO_MASS_ERASE},
    {0x436, "STM32L1xxxD (cat 4)", "*x256", QUIRK_NO_MASS_ERASE},
    {0x437, "STM32L1xxxE (cat 5)", "*x256", QUIRK_NO_MASS_ERASE},
    {0x464, "STM32L412/L422", "*x2K", QUIRK_EXTRA_ACK},
    {0x435, "STM32L43x/L44x", "*x2K", 0},
    {0x462, "STM32L45x/L46x", "*x2K", QUIRK_EMPTY_FLAG},
    {0x415, "STM32L47x/L48x", "*x2K", QUIRK_BANKS_OPTION},
    {0x461, "STM32L496/L4A6", "*x2K", QUIRK_BANKS_OPTION},
    {0x470, "STM32L4R5/R7/R9/S5/S7/S9", "*x4K", 0},
    {0x471, "STM32L4P5/L4Q5", "*x4K", 0},
    {0x472, "STM32L552/L562", "*x2K", 0},
    {0x494, "STM32WB10/WB15", "*x2K", 0},
    {0x495, "STM32WB30/35/50/55", "*x4K", 0},
    {0x496, "STM32WB3x (debug id)", "*x4K", 0},
    {0x497, "STM32WLE/WL5x", "*x2K", 0},
    {0x443, "STM32C011", "*x2K", 0},
    {0x453, "STM32C031", "*x2K", 0},
    {0x44c, "STM32C051", "*x2K", 0},
    {0x493, "STM32C071", "*x2K", 0},
    {0x44d, "STM32C091/C092", "*x2K", 0},
    {0x474, "STM32H503", "*x8K", 0},
    {0x484, "STM32H562/H563/H573", "*x8K", 0},
    {0x478, "STM32H523/H533", "*x8K", 0},
    {0x459, "STM32U031", "*x2K", 0},
    {0x489, "STM32U073/U083", "*x2K", 0},
    {0x454, "STM32U375/U385", "*x4K", 0},
    {0x42a, "STM32U3B5/U3C5", "*x4K", 0},
    {0x455, "STM32U535/U545", "*x8K", 0},
    {0x482, "STM32U575/U585", "*x8K", 0},
    {0x481, "STM32U595/U599/U5A5/U5A9", "*x8K", 0},
    {0x476, "STM32U5F7/U5F9/U5G7/U5G9", "*x8K", 0},
    {0x492, "STM32WBA52/54/55", "*x8K", 0},
    {0x4b0, "STM32WBA62/63/64/65", "*x8K", 0},
    {0x4b2, "STM32WBA2x", "*x4K", 0},
    {0x641, "medium-density PL", "*x1K", 0},
    {0x9a8, "STM32W 128K", "*x1K", 0},
    {0x9b0, "STM32W 256K", "*x2K", 0},
};

const struct rom_part *st_rom_part_find(unsigned pid)
{
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].pid == pid)
            return &parts[i];
    return NULL;
}

void st_rom_part_text(unsigned pid, char *text, size_t size)
{
    const struct rom_part *part = st_rom_part_find(pid);
    (void)snprintf(text, size, "0x%03x (%s)", pid, part ? part->name : "not known");
}

/* "4x16K": a run of sectors; "*x2K": as many as fill `left` bytes. */
static struct sector_run parse_run(const char *word, size_t length, uint64_t left)
{
    const char *cross = word;
    while (cross < word + length && *cross != 'x')
        cross++;
    char *unit;
    unsigned long size = strtoul(cross + 1, &unit, 10);
    size *= *unit == 'K' ? 1024 : 1;
    unsigned long count = *word == '*' ? left / size : strtoul(word, NULL, 10);
    return (struct sector_run){(uint32_t)count, (uint32_t)size};
}

struct region st_rom_part_flash(const struct rom_part *part, const struct chip *chip,
                                struct sector_run runs[ROM_RUNS_MAX])
{
    struct region flash = chip->regions[0];
    if (!part)
        return flash;
    const char *cursor = part->pages, *word;
    size_t length;
    uint64_t at = 0;
    flash.runs = runs;
    flash.run_count = 0;
    while (flash.run_count < ROM_RUNS_MAX && at < flash.size &&
           (word = text_word(&cursor, &length))) {
        struct sector_run run = parse_run(word, length, flash.size - at);
        if (flash.run_count == 0)
            flash.sector = run.size;
        at += (uint64_t)run.count * run.size;
        runs[flash.run_count++] = run;
    }
    return flash;
}

uint32_t region_sector_number(const struct region *region, uint64_t address)
{
    uint64_t offset = address - region->start;
    uint32_t number = 0;
    for (size_t i = 0; i < region->run_count; i++) {
        const struct sector_run *run = &region->runs[i];
        uint64_t bytes = (uint64_t)run->count * run->size;
        if (offset < bytes)
            return number + (uint32_t)(offset / run->size);
        offset -= bytes;
        number += run->count;
    }
    return number + (uint32_t)(offset / region->sector);
}
