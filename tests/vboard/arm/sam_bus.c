/* The memory map of a SAM, as far as a monitor may touch it: see sam_chip.h. What is not here is a
 * bus fault, as it is on silicon. */
#include <string.h>

#include "base/bytes.h"
#include "models/flash.h"
#include "sam_chip.h"

enum {
    ROM_SIZE = 0x4000,
    EEFC_SIZE = 0x10,
    NVM_SIZE = 0x30,
    PERIPHERALS = 0x400e0000, /* CHIPID, EEFC and RSTC of SAM3 and SAM4: two pages of 4 KiB */
    DSU = 0x41002000,
    DSU_DID = DSU + 0x18,
    CHIPID_0 = 0x400e0740,
    CHIPID_1 = 0x400e0940,
};

static const uint32_t system_arm7 = 0xfffff000; /* SAM7: DBGU, RSTC and MC in the last 4 KiB */
static const uint32_t scb_cpuid = 0xe000ed00, scb_aircr = 0xe000ed0c, scb = 0xe000e000;

/* What ROM and loader consist of behind their vectors: anything, but always the same. */
static uint8_t program_byte(const struct sam_kind *kind, uint32_t at)
{
    if (at < 8)
        return (uint8_t)(kind->vectors[at / 4] >> at % 4 * 8);
    return (uint8_t)(at * 37 + (at >> 8) * 11);
}

static bool in(uint32_t address, uint32_t start, uint32_t size)
{
    return address >= start && address - start < size;
}

static struct sam_ram *ram_at(struct sam *sam, uint32_t address, unsigned size)
{
    for (size_t i = 0; i < SAM_RAM_MAX; i++) {
        struct sam_ram *ram = &sam->ram[i];
        if (in(address, ram->start, ram->size) && ram->size - (address - ram->start) >= size)
            return ram;
    }
    return NULL;
}

bool sam_has_planes(const struct sam *sam)
{
    return sam->kind->controller == SAM_EEFC || sam->kind->controller == SAM_EFC;
}

bool sam_in_flash(const struct sam *sam, uint32_t address)
{
    return in(address, sam->flash_base, (uint32_t)sam->flash.size);
}

static bool in_monitor(const struct sam *sam, uint32_t address)
{
    const struct span *spans = sam->kind->monitor_ram;
    return in(address, (uint32_t)spans[0].start, (uint32_t)spans[0].size) ||
           in(address, (uint32_t)spans[1].start, (uint32_t)spans[1].size);
}

/* ---- loads ---- */

static uint32_t identity(const struct sam *sam)
{
    return sam->faults.wrong_id
               ? sam->kind->id_other
               : sam->chip->sam->id_value | (sam->kind->id_more & ~sam->chip->sam->id_mask);
}

static uint32_t program_word(const struct sam *sam, uint32_t at, unsigned size)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)program_byte(sam->kind, at + i) << 8 * i;
    return value;
}

/* One word of the registers of an EEFC or EFC part. */
static bool load_sam3(struct sam *sam, uint32_t address, uint32_t *value)
{
    const struct sam_part *part = sam->chip->sam;
    bool arm7 = sam->kind->controller == SAM_EFC;
    for (size_t plane = 0; plane < part->planes; plane++)
        if (in(address, part->controllers[plane], EEFC_SIZE)) {
            *value = eefc_register(sam, plane, address - part->controllers[plane]);
            return true;
        }
    bool chipid =
        arm7 ? in(address, part->id_register, 8)
             : in(address, CHIPID_0, 8) || (in(address, CHIPID_1, 8) && !sam->kind->small_sectors);
    if (!chipid)
        return false;
    *value = 0;
    if (address == part->id_register)
        *value = identity(sam);
    else if (address == part->id_register + 4)
        *value = sam->kind->exid;
    return true;
}

static bool load_register(struct sam *sam, uint32_t address, uint32_t *value)
{
    if (sam->kind->controller == SAM_EFC)
        return load_sam3(sam, address, value);
    if (address == scb_cpuid) {
        *value = sam->kind->cpuid;
        return true;
    }
    if (address == scb_aircr) {
        *value = 0xfa050000;
        return true;
    }
    if (sam->kind->controller == SAM_EEFC)
        return load_sam3(sam, address, value);
    if (address == DSU_DID) {
        *value = identity(sam);
        return true;
    }
    uint32_t base = sam->chip->sam->controllers[0];
    if (!in(address, base, NVM_SIZE))
        return false;
    *value = nvm_of(sam)->load(sam, address - base);
    return true;
}

static uint32_t load_memory(struct sam *sam, const struct vmemory *memory, uint32_t at,
                            unsigned size)
{
    uint32_t value = 0;
    sam_spend_until(sam, sam->nvm.until); /* the array does not answer while it is programmed */
    sam->nvm.read_since_clear = true;
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)vmemory_byte(memory, at + i) << 8 * i;
    return value;
}

static bool load_array(struct sam *sam, uint32_t address, unsigned size, uint32_t *value)
{
    const struct sam_kind *kind = sam->kind;
    if (kind->rom && (in(address, 0, ROM_SIZE) || in(address, kind->rom, ROM_SIZE)))
        *value = program_word(sam, address % ROM_SIZE, size);
    else if (sam_in_flash(sam, address) && sam_has_planes(sam))
        *value = eefc_flash(sam, address - sam->flash_base, size);
    else if (sam_in_flash(sam, address))
        *value = load_memory(sam, &sam->flash, address - sam->flash_base, size);
    else if (!sam_has_planes(sam) && in(address, NVM_USER, (uint32_t)sam->options.size))
        *value = load_memory(sam, &sam->options, address - NVM_USER, size);
    else
        return false;
    return true;
}

/* A Cortex-M0+ and an ARM7 take no unaligned access at all, the others only in RAM. */
static bool misaligned(const struct sam *sam, uint32_t address, unsigned size, bool ram)
{
    return address % size != 0 &&
           (!ram || sam->kind->controller == SAM_D2X || sam->kind->controller == SAM_EFC);
}

bool sam_load(struct sam *sam, uint32_t address, unsigned size, uint32_t *value)
{
    const struct sam_ram *ram = ram_at(sam, address, size);
    *value = 0;
    if (misaligned(sam, address, size, ram != NULL)) {
        sam_die(sam, "unaligned load", address);
        return false;
    }
    for (unsigned i = 0; ram && i < size; i++)
        *value |= (uint32_t)ram->bytes[address - ram->start + i] << 8 * i;
    if (ram || load_array(sam, address, size, value))
        return true;
    if (!load_register(sam, address & ~3u, value)) {
        sam_die(sam, "load from nowhere", address);
        return false;
    }
    *value >>= address % 4 * 8;
    if (size < 4)
        *value &= (1u << 8 * size) - 1;
    return true;
}

/* ---- stores ---- */

static bool store_register(struct sam *sam, uint32_t address, unsigned size, uint32_t value)
{
    const struct sam_part *part = sam->chip->sam;
    if (address == scb_aircr && size == 4 &&
        sam->kind->controller != SAM_EFC) { /* key and SYSRESETREQ, ARMv7-M B3.2.6 */
        sam->reset_wanted |= value >> 16 == 0x05fa && (value & 4);
        return true;
    }
    if (sam->kind->rstc && address == sam->kind->rstc && size == 4) { /* key and PROCRST */
        sam->reset_wanted |= value >> 24 == 0xa5 && (value & 1);
        return true;
    }
    if (!sam_has_planes(sam)) {
        if (!in(address, part->controllers[0], NVM_SIZE))
            return false;
        nvm_of(sam)->store(sam, address - part->controllers[0], size, value);
        return true;
    }
    for (size_t plane = 0; plane < part->planes; plane++)
        if (in(address, part->controllers[plane], EEFC_SIZE) && size == 4) {
            eefc_set_register(sam, plane, address - part->controllers[plane], value);
            return true;
        }
    return false;
}

static bool store_outside(struct sam *sam, uint32_t address, unsigned size, uint32_t value)
{
    if (sam_has_planes(sam) && sam_in_flash(sam, address)) {
        eefc_latch(sam, address - sam->flash_base, size, value);
        return true;
    }
    if (sam_in_flash(sam, address) ||
        (!sam_has_planes(sam) && in(address, NVM_USER, (uint32_t)sam->options.size)))
        return nvm_of(sam)->fill(sam, address, size, value);
    return store_register(sam, address, size, value);
}

bool sam_store(struct sam *sam, uint32_t address, unsigned size, uint32_t value)
{
    struct sam_ram *ram = ram_at(sam, address, size);
    const char *why = NULL;
    if (misaligned(sam, address, size, ram != NULL))
        why = "unaligned store";
    else if (ram && (in_monitor(sam, address) || in_monitor(sam, address + size - 1)))
        why = "store into the monitor's own RAM";
    else if (!ram && !store_outside(sam, address, size, value))
        why = "store to nowhere";
    for (unsigned i = 0; ram && !why && i < size; i++)
        ram->bytes[address - ram->start + i] = (uint8_t)(value >> 8 * i);
    if (why)
        sam_die(sam, why, address);
    return !why;
}

/* ---- what an applet can reach besides RAM ---- */

bool sam_window(const struct sam *sam, size_t n, struct span *window)
{
    const struct span flash = {sam->flash_base, sam->flash.size};
    const struct span eefc[] = {
        {0, ROM_SIZE}, {sam->kind->rom, ROM_SIZE}, flash, {PERIPHERALS, 0x2000}, {scb, 0x1000},
    };
    const struct span nvm[] = {
        flash,         {NVM_USER, 0x1000}, {DSU, 0x1000}, {sam->chip->sam->controllers[0], 0x1000},
        {scb, 0x1000},
    };
    const struct span efc[] = {
        {0, ROM_SIZE}, {sam->kind->rom, ROM_SIZE}, flash, {system_arm7, 0x1000}, {0, 0},
    };
    if (n >= sizeof eefc / sizeof eefc[0])
        return false;
    *window = sam->kind->controller == SAM_EEFC  ? eefc[n]
              : sam->kind->controller == SAM_EFC ? efc[n]
                                                 : nvm[n];
    return window->size > 0;
}
