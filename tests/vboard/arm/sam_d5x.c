/*
 * The Non-Volatile Memory Controller of SAM D51 and E5x (data sheet DS60001507, chapter NVMCTRL).
 *
 * Two things to know: ADDR counts bytes, and what is stored into the page buffer while a cache is
 * on and flash is being read goes wrong (errata 2.14.1): both caches are off, or nothing is read.
 */
#include <string.h>

#include "base/bytes.h"
#include "models/flash.h"
#include "sam_chip.h"

enum { CTRLA = 0x00, CTRLB = 0x04, PARAM = 0x08, FLAGS_STATUS = 0x10, ADDR = 0x14, RUNLOCK = 0x18 };
enum { CACHEDIS = 0xc000, WMODE = 0x30 };                        /* CTRLA */
enum { DONE = 1, ADDRE = 2, PROGE = 4, LOCKE = 8, NVME = 0x40 }; /* INTFLAG */
enum { READY = 1, LOAD = 4, BPDIS = 0x20 };                      /* STATUS */

enum command {
    EP = 0x00,
    EB = 0x01,
    WP = 0x03,
    WQW = 0x04,
    SWRST = 0x10,
    LR = 0x11,
    UR = 0x12,
    SPRM = 0x13,
    CPRM = 0x14,
    PBC = 0x15,
    SSB = 0x16,
    SBPDIS = 0x1a,
    CBPDIS = 0x1b,
};

enum {
    BLOCK = 8192,
    PAGE = 512,
    QUAD = 16,
    /* Estimates below the data sheet's maxima (block 200 ms, page 10 ms). */
    BLOCK_TIME = 10 * MILLISECOND,
    PAGE_TIME = 2500,
    QUAD_TIME = 100,
};

static void raise(struct sam *sam, uint16_t error)
{
    sam->nvm.flags |= error;
}

/* User Page: 15 protects nothing, each step down 8 KiB more. */
static uint32_t boot_code(const struct sam *sam)
{
    return get_le32(sam->options.bytes) >> 26 & 15;
}

static bool may_change(struct sam *sam, uint32_t address)
{
    static const struct nvm_errors errors = {ADDRE, LOCKE, NVME};
    uint32_t boot = sam->nvm.protection_off ? 0 : (15 - boot_code(sam)) * BLOCK;
    uint16_t error = nvm_refusal(sam, address, boot, &errors);
    if (error)
        raise(sam, error);
    return !error;
}

static void work(struct sam *sam, uint64_t microseconds)
{
    sam->nvm.until = sam_after(sam, microseconds);
    sam->nvm.flags |= DONE;
}

static void erase_block(struct sam *sam, uint32_t address)
{
    if (!may_change(sam, address))
        return;
    nvm_erase(sam, address & ~(BLOCK - 1u), BLOCK);
    work(sam, BLOCK_TIME);
}

static bool in_user_page(uint32_t address)
{
    return address / PAGE == NVM_USER / PAGE;
}

static void erase_user_page(struct sam *sam, uint32_t address)
{
    if (!in_user_page(address)) {
        raise(sam, ADDRE);
        return;
    }
    vmemory_erase(&sam->options, 0, PAGE);
    work(sam, BLOCK_TIME);
}

/* The User Page takes quad words only. */
static void write(struct sam *sam, uint32_t address, uint32_t size)
{
    address &= ~(size - 1);
    if (in_user_page(address) && size == PAGE) {
        raise(sam, PROGE);
        return;
    }
    if (in_user_page(address))
        nvm_program(sam, &sam->options, address % PAGE, size);
    else if (may_change(sam, address))
        nvm_program(sam, &sam->flash, address, size);
    else
        return;
    nvm_clear_buffer(sam);
    work(sam, size == PAGE ? PAGE_TIME : QUAD_TIME);
}

static void execute(struct sam *sam, uint8_t command)
{
    uint32_t address = sam->nvm.address;
    switch (command) {
    case EP:
        erase_user_page(sam, address);
        break;
    case EB:
        erase_block(sam, address);
        break;
    case WP:
        write(sam, address, PAGE);
        break;
    case WQW:
        write(sam, address, QUAD);
        break;
    case LR:
    case UR:
        if (!nvm_set_region(sam, address, command == UR))
            raise(sam, ADDRE);
        break;
    case PBC:
        nvm_clear_buffer(sam);
        break;
    case SBPDIS:
    case CBPDIS:
        sam->nvm.protection_off = command == SBPDIS;
        break;
    case SWRST:
        nvm_of(sam)->reset(sam);
        break;
    case SPRM:
    case CPRM:
    case SSB:
        break;
    default:
        raise(sam, PROGE);
    }
}

static uint16_t status(const struct sam *sam)
{
    unsigned value = nvm_busy(sam) ? 0 : READY;
    if (sam->nvm.protection_off)
        value |= BPDIS;
    return (uint16_t)(value | boot_code(sam) << 8);
}

static uint32_t d5x_load(struct sam *sam, uint32_t offset)
{
    struct nvmctrl *nvm = &sam->nvm;
    switch (offset) {
    case CTRLA:
        return nvm->ctrl;
    case PARAM: /* pages, and 6 for 512 bytes each */
        return (uint32_t)(sam->flash.size / PAGE) | 6u << 16;
    case FLAGS_STATUS:
        return nvm->flags | (uint32_t)status(sam) << 16;
    case ADDR:
        return nvm->address;
    case RUNLOCK:
        return nvm->locks;
    default:
        return 0;
    }
}

static void d5x_store(struct sam *sam, uint32_t offset, unsigned size, uint32_t value)
{
    struct nvmctrl *nvm = &sam->nvm;
    (void)size;
    switch (offset) {
    case CTRLA:
        nvm->ctrl = value & 0xffff;
        break;
    case CTRLB:
        if (nvm_busy(sam) || (value >> 8 & 0xff) != 0xa5)
            raise(sam, PROGE);
        else
            execute(sam, value & 0x7f);
        break;
    case FLAGS_STATUS:
        nvm->flags &= (uint16_t)~value;
        break;
    case ADDR:
        nvm->address = value & 0xffffff;
        break;
    default:
        break;
    }
}

/* WMODE 1, 2 and 3 write by themselves when a double word, a quad word or a page is full. */
static void write_by_itself(struct sam *sam, uint32_t end)
{
    uint32_t mode = (sam->nvm.ctrl & WMODE) >> 4;
    static const uint32_t sizes[] = {0, 8, QUAD, PAGE};
    if (mode && end % sizes[mode] == 0)
        write(sam, end - 4, sizes[mode]);
}

static bool d5x_fill(struct sam *sam, uint32_t address, unsigned size, uint32_t value)
{
    if (size != 4)
        return false;
    sam_spend_until(sam, sam->nvm.until);
    if (sam->nvm.read_since_clear && (sam->nvm.ctrl & CACHEDIS) != CACHEDIS)
        value ^= 0x00100401;
    nvm_put(sam, address % PAGE, size, value);
    sam->nvm.address = address;
    write_by_itself(sam, address + 4);
    return true;
}

static void d5x_erase(struct sam *sam, uint32_t address)
{
    sam->nvm.address = address;
    execute(sam, EB);
}

/* The UF2 loader's Y: write mode manual, quad words one after another. */
static void d5x_program(struct sam *sam, uint32_t address, const uint8_t *bytes, size_t length)
{
    sam->nvm.ctrl &= ~(uint32_t)WMODE;
    for (size_t at = 0; at + 4 <= length; at += 4) {
        if (at % QUAD == 0)
            execute(sam, PBC);
        d5x_fill(sam, (uint32_t)(address + at), 4, get_le32(bytes + at));
        if (at % QUAD == QUAD - 4 || at + 8 > length)
            execute(sam, WQW);
    }
}

static void d5x_reset(struct sam *sam)
{
    sam->nvm = (struct nvmctrl){.locks = get_le32(sam->options.bytes + 8)};
    nvm_clear_buffer(sam);
    if (sam->faults.locked)
        sam->nvm.locks = 0;
}

const struct nvm_ops nvm_d5x = {d5x_reset, d5x_load, d5x_store, d5x_fill, d5x_erase, d5x_program};
