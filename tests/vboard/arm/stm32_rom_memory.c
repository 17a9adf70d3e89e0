/* What the STM32 ROM loader reads and writes (AN2606): flash, the RAM it does not use itself, the
 * option bytes, system memory, and where flash size and unique id stand. See stm32_rom.h. */
#include "stm32_rom.h"

#include <string.h>

#include "base/bytes.h"
#include "models/flash.h"

static bool holds(struct span span, uint32_t address)
{
    return address >= span.start && address - span.start < span.size;
}

struct rom_area rom_area_at(const struct rom *rom, uint32_t address)
{
    const struct region *flash = rom->flash.region;
    const struct stm32_part *chip = rom->chip->stm32;
    const struct rom_area areas[] = {
        {ROM_FLASH, {flash->start, flash->size}, NULL},
        {ROM_RAM, rom->part->ram[0], rom->ram[0]},
        {ROM_RAM, rom->part->ram[1], rom->ram[1]},
        {ROM_OPTIONS, {chip->option_base, chip->option_bytes}, NULL},
        {ROM_SYSTEM, rom->part->system, NULL},
        {ROM_FACTORY, rom->part->factory, NULL},
    };
    for (size_t i = 0; i < sizeof areas / sizeof areas[0]; i++)
        if (holds(areas[i].span, address))
            return areas[i];
    return (struct rom_area){.kind = ROM_NOTHING};
}

/* System memory as far as hosts look at it; the rest of ST's code reads as zero here. */
static uint8_t system_byte(const struct rom *rom, uint32_t address)
{
    static const uint8_t unique_id[] = {0x3a, 0x00, 0x21, 0x00, 0x0d, 0x50,
                                        0x4d, 0x42, 0x37, 0x33, 0x38, 0x20};
    const struct stm32_part *chip = rom->chip->stm32;
    uint8_t size[2];
    put_le16(size, (uint16_t)(rom->flash.region->size / 1024));
    if (holds((struct span){chip->flash_size_reg, sizeof size}, address))
        return size[address - chip->flash_size_reg];
    if (holds((struct span){chip->unique_id, sizeof unique_id}, address))
        return unique_id[address - chip->unique_id];
    return rom->part->boot_id_at && address == rom->part->boot_id_at ? rom->part->boot_id : 0;
}

uint8_t rom_read_byte(const struct rom *rom, const struct rom_area *area, uint32_t address)
{
    uint64_t offset = address - area->span.start;
    switch (area->kind) {
    case ROM_FLASH:
        return vmemory_byte(&rom->flash_bytes, offset);
    case ROM_RAM:
        return area->ram[offset];
    case ROM_OPTIONS:
        return vmemory_byte(&rom->option_bytes, offset);
    default:
        return system_byte(rom, address);
    }
}

static bool find_word(const uint8_t *bytes, size_t length, uint32_t word)
{
    for (size_t i = 0; i + 4 <= length; i += 4)
        if (get_le32(bytes + i) == word)
            return true;
    return false;
}

bool rom_is_reset_stub(const struct rom *rom, uint32_t address)
{
    enum { STUB = 24, AIRCR_RESET = 0x05fa0004 };
    const uint32_t aircr = 0xe000ed0c;
    struct rom_area area = rom_area_at(rom, address);
    if (area.kind != ROM_RAM || area.span.start + area.span.size - address < STUB)
        return false;
    const uint8_t *stub = area.ram + (address - area.span.start);
    return get_le32(stub + 4) == (address + 9) && find_word(stub + 8, STUB - 8, aircr) &&
           find_word(stub + 8, STUB - 8, AIRCR_RESET);
}

void rom_wipe_ram(struct rom *rom)
{
    for (size_t i = 0; i < 2; i++)
        if (rom->ram[i])
            memset(rom->ram[i], 0, (size_t)rom->part->ram[i].size);
}
