/*
 * How the loader writes flash, by family (Katapult src/stm32/flash.c, src/rp2040/flash.c,
 * src/lpc176x/flash.c): see katapult.h.
 *
 * The first block of an erase unit decides whether it is erased; the others must meet erased flash.
 * STM32 and LPC176x compare what they wrote, RP2040 and RP2350 do not.
 */
#include <string.h>

#include "board/chip.h"
#include "models/flash.h"
#include "katapult.h"

enum {
    LPC_SMALL = 0x1000, /* LPC176x user manual, IAP: sectors of 4 KiB below 0x10000, … */
    LPC_LARGE = 0x8000, /* … of 32 KiB above */
    LPC_LARGE_FROM = 0x10000,
    LPC_FIFO = 16, /* of its UART */
};

static const uint8_t *flash_at(const struct katapult *k, uint64_t address)
{
    return k->flash.bytes + (address - k->chip->regions[0].start);
}

static uint64_t flash_end(const struct katapult *k)
{
    return k->chip->regions[0].start + k->chip->regions[0].size;
}

static bool is_blank(const struct katapult *k, uint64_t address, uint64_t end)
{
    uint64_t start = k->chip->regions[0].start;
    return vmemory_blank(&k->flash, address - start, end - start);
}

static struct katapult_work work_at(uint64_t address, const uint8_t *bytes, size_t length,
                                    struct span sector)
{
    struct katapult_work work = {
        .address = address,
        .length = length,
        .sector_start = sector.start,
        .sector_size = (uint32_t)sector.size,
    };
    memcpy(work.bytes, bytes, length);
    return work;
}

/* The rule of STM32 and LPC176x. Nothing is done where flash holds the bytes already: they were
 * sent before. False: flash is neither erased nor the same. */
static bool plan(struct katapult *k, uint64_t address, const uint8_t *bytes, size_t length,
                 struct span sector)
{
    uint64_t next = address + length;
    bool first = address == sector.start;
    bool same = memcmp(flash_at(k, address), bytes, length) == 0;
    bool blank = is_blank(k, address, next);
    bool rest_blank = first && is_blank(k, next, sector.start + sector.size);
    bool writes = first ? (blank || !same) || !rest_blank : !same;

    k->work = work_at(address, bytes, length, sector);
    k->work.program = k->work.verify = writes;
    k->work.counts = first && writes;
    k->work.erase = first && writes && !(blank && rest_blank);
    return first || same || blank;
}

/* ---- STM32: every block is written as it comes ---- */

/* No upper bound is checked: behind the end of the flash the bus faults. */
static bool stm32_block(struct katapult *k, uint32_t address, const uint8_t *data)
{
    if (address % KATAPULT_BLOCK)
        return false;
    if (address >= flash_end(k)) {
        k->state = KATAPULT_FAULTED;
        return true;
    }
    return plan(k, address, data, KATAPULT_BLOCK, region_sector(&k->chip->regions[0], address));
}

static bool stm32_end(struct katapult *k)
{
    k->work = (struct katapult_work){0};
    return true;
}

/* ---- RP2040, RP2350: 256 bytes are collected, and flushed by a block of another page ---- */

static void rp2_flush(struct katapult *k)
{
    struct span sector = region_sector(&k->chip->regions[0], k->page_address);
    k->work = (struct katapult_work){0};
    if (k->page_used) {
        k->work = work_at(k->page_address, k->page, KATAPULT_PAGE, sector);
        k->work.erase = k->page_address == sector.start;
        k->work.program = k->work.counts = true;
    }
    k->page_used = 0;
}

static bool rp2_block(struct katapult *k, uint32_t address, const uint8_t *data)
{
    uint64_t page = address - address % KATAPULT_PAGE;
    if (address % KATAPULT_BLOCK || address >= flash_end(k))
        return false;
    k->work = (struct katapult_work){0};
    if (page != k->page_address)
        rp2_flush(k);
    if (!k->page_used)
        memset(k->page, 0xff, sizeof k->page);
    k->page_address = page;
    k->page_used = sizeof k->page;
    memcpy(k->page + address % KATAPULT_PAGE, data, KATAPULT_BLOCK);
    return true;
}

static bool rp2_end(struct katapult *k)
{
    rp2_flush(k);
    return true;
}

/* ---- LPC176x: 256 bytes are collected in order, and written when they are complete ---- */

static struct span lpc_sector(uint64_t address)
{
    uint32_t size = address < LPC_LARGE_FROM ? LPC_SMALL : LPC_LARGE;
    return (struct span){address / size * size, size};
}

static bool lpc_write(struct katapult *k)
{
    uint64_t address = k->page_address;
    k->page_used = 0;
    k->page_address = address + KATAPULT_PAGE;
    return plan(k, address, k->page, KATAPULT_PAGE, lpc_sector(address));
}

/* Block after block; a jump only from one 256-byte border to another. */
static bool lpc_block(struct katapult *k, uint32_t address, const uint8_t *data)
{
    bool follows =
        k->page_used ? address == k->page_address + k->page_used : address % KATAPULT_PAGE == 0;
    if (!follows || address >= flash_end(k))
        return false;
    if (!k->page_used)
        k->page_address = address;
    memcpy(k->page + k->page_used, data, KATAPULT_BLOCK);
    k->page_used += KATAPULT_BLOCK;
    k->work = (struct katapult_work){0};
    return k->page_used < KATAPULT_PAGE || lpc_write(k);
}

static bool lpc_end(struct katapult *k)
{
    k->work = (struct katapult_work){0};
    if (!k->page_used)
        return true;
    memset(k->page + k->page_used, 0xff, KATAPULT_PAGE - k->page_used);
    return lpc_write(k);
}

/* ---- the work itself ---- */

/* Sets aside protected flash and stuck bytes, programming only clears bits. */
static bool program(struct katapult *k)
{
    const struct katapult_work *work = &k->work;
    if (work->program && !k->faults.locked)
        vmemory_program(&k->flash, work->address - k->chip->regions[0].start, work->bytes,
                        work->length);
    bool good = !work->verify || memcmp(flash_at(k, work->address), work->bytes, work->length) == 0;
    k->pages += good && work->counts;
    return good;
}

void katapult_work_due(struct katapult *k)
{
    if (k->state == KATAPULT_ERASING) {
        k->state = KATAPULT_PROGRAMMING;
        k->until = k->now + (k->paced ? k->flash_kind->program_time : 0);
        if (k->until > k->now)
            return;
    }
    bool good = program(k);
    k->state = KATAPULT_LOADER;
    k->until = UINT64_MAX;
    katapult_worked(k, good);
}

void katapult_work(struct katapult *k)
{
    const struct katapult_work *work = &k->work;
    const struct katapult_flash *kind = k->flash_kind;
    if (work->erase && !k->faults.locked)
        vmemory_erase(&k->flash, work->sector_start - k->chip->regions[0].start, work->sector_size);
    uint64_t time = work->erase     ? kind->erase_time(work->sector_size)
                    : work->program ? kind->program_time
                                    : 0;
    k->state = work->erase ? KATAPULT_ERASING : KATAPULT_PROGRAMMING;
    k->until = k->now + (k->paced ? time : 0);
    if (k->until <= k->now)
        katapult_work_due(k);
}

/* ---- families; times are typical values of the data sheets ---- */

static uint64_t f1_erase(uint32_t sector) /* STM32F103xE: page erase 20 to 40 ms */
{
    (void)sector;
    return 30 * MILLISECOND;
}

static uint64_t f4_erase(uint32_t sector) /* STM32F407: sector erase, word-wise */
{
    return sector <= 0x4000 ? 300 * MILLISECOND : sector <= 0x10000 ? 700 * MILLISECOND : SECOND;
}

static uint64_t g0_erase(uint32_t sector) /* STM32G0B1: page erase 22 ms */
{
    (void)sector;
    return 22 * MILLISECOND;
}

static uint64_t h7_erase(uint32_t sector) /* STM32H743: sector of 128 KiB, 1 to 2 s */
{
    (void)sector;
    return 1200 * MILLISECOND;
}

static uint64_t rp2_erase(uint32_t sector) /* W25Q16JV: sector erase 45 ms */
{
    (void)sector;
    return 45 * MILLISECOND;
}

static uint64_t lpc_erase(uint32_t sector) /* LPC1769: one or more sectors 100 ms */
{
    (void)sector;
    return 100 * MILLISECOND;
}

/* Without a FIFO one byte waits in the data register while the next is shifted in over it. */
static const struct katapult_flash f1 = {true, 1, true, f1_erase, 1700, stm32_block, stm32_end};
static const struct katapult_flash f4 = {true, 1, false, f4_erase, 300, stm32_block, stm32_end};
static const struct katapult_flash g0 = {true, 1, true, g0_erase, 700, stm32_block, stm32_end};
static const struct katapult_flash h7 = {true, 1, false, h7_erase, 300, stm32_block, stm32_end};
static const struct katapult_flash rp2 = {false, 0, false, rp2_erase, 700, rp2_block, rp2_end};
static const struct katapult_flash lpc = {true,        LPC_FIFO,  false,  lpc_erase,
                                          MILLISECOND, lpc_block, lpc_end};

static const struct {
    const char *chips;
    const struct katapult_flash *kind;
} kinds[] = {
    {"stm32f0", &f1}, {"stm32f1", &f1}, {"stm32f2", &f4}, {"stm32f4", &f4}, {"stm32g0", &g0},
    {"stm32g4", &g0}, {"stm32h7", &h7}, {"rp2", &rp2},    {"lpc176", &lpc},
};

const struct katapult_flash *katapult_flash_of(const struct chip *chip)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(chip->name, kinds[i].chips, strlen(kinds[i].chips)) == 0)
            return kinds[i].kind;
    return NULL;
}
