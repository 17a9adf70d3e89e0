/*
 * The Non-Volatile Memory Controller of the SAM D21 (data sheet DS40001882, chapter NVMCTRL).
 *
 * Two things to know: ADDR counts half-words, and a monitor that runs from this flash stands still
 * while the array is busy.
 */
#include <string.h>

#include "base/bytes.h"
#include "models/flash.h"
#include "sam_chip.h"

enum {
    CTRLA = 0x00,
    CTRLB = 0x04,
    PARAM = 0x08,
    INTFLAG = 0x14,
    STATUS = 0x18,
    ADDR = 0x1c,
    LOCK = 0x20
};
enum { READY = 1, ERROR = 2 };                                           /* INTFLAG */
enum { PRM = 1, LOAD = 2, PROGE = 4, LOCKE = 8, NVME = 16, SB = 0x100 }; /* STATUS */
enum { MANW = 0x80 };                                                    /* CTRLB */

enum command {
    ER = 0x02,
    WP = 0x04,
    EAR = 0x05,
    WAP = 0x06,
    LR = 0x40,
    UR = 0x41,
    SPRM = 0x42,
    CPRM = 0x43,
    PBC = 0x44,
    SSB = 0x45,
    INVALL = 0x46,
};

enum {
    ROW = 256,
    PAGE = 64,
    /* As seen on boards: 248 KiB erased in 0.74 s, 49.7 KB written in 0.255 s. The data sheet's
     * maxima are 6 ms and 2.5 ms. */
    ROW_TIME = 750,
    PAGE_TIME = 300,
    AUX_MASK = 0x7fffff, /* byte addresses that ADDR can tell apart */
};

static void raise(struct sam *sam, uint16_t error)
{
    sam->nvm.status |= error;
    sam->nvm.flags |= ERROR;
}

/* User Row: 7 protects nothing, 0 32 KiB. */
static uint32_t boot_bytes(const struct sam *sam)
{
    unsigned code = sam->options.bytes[0] & 7;
    return code == 7 ? 0 : 32768u >> code;
}

/* True if a command of the main array may change `address`. */
static bool may_change(struct sam *sam, uint32_t address)
{
    static const struct nvm_errors errors = {PROGE, LOCKE, NVME};
    uint16_t error = nvm_refusal(sam, address, boot_bytes(sam), &errors);
    if (error)
        raise(sam, error);
    return !error;
}

static void work(struct sam *sam, uint64_t microseconds)
{
    sam->nvm.until = sam_after(sam, microseconds);
}

static void erase_row(struct sam *sam, uint32_t address)
{
    if (!may_change(sam, address))
        return;
    nvm_erase(sam, address & ~(ROW - 1u), ROW);
    work(sam, ROW_TIME);
}

static void buffer_done(struct sam *sam)
{
    nvm_clear_buffer(sam);
    sam->nvm.status &= (uint16_t)~LOAD;
    work(sam, PAGE_TIME);
}

static void write_page(struct sam *sam, uint32_t address)
{
    if (!may_change(sam, address))
        return;
    nvm_program(sam, &sam->flash, address & ~(PAGE - 1u), PAGE);
    buffer_done(sam);
}

static void user_row(struct sam *sam, uint8_t command, uint32_t address)
{
    if ((address & AUX_MASK) / ROW != (NVM_USER & AUX_MASK) / ROW) {
        raise(sam, PROGE);
    } else if (sam->nvm.status & SB) {
        raise(sam, LOCKE);
    } else if (command == EAR) {
        vmemory_erase(&sam->options, 0, SAM_D2X_OPTIONS);
        work(sam, ROW_TIME);
    } else {
        nvm_program(sam, &sam->options, 0, SAM_D2X_OPTIONS);
        buffer_done(sam);
    }
}

static void execute(struct sam *sam, uint8_t command)
{
    uint32_t address = sam->nvm.address * 2;
    switch (command) {
    case ER:
        erase_row(sam, address);
        break;
    case WP:
        write_page(sam, address);
        break;
    case EAR:
    case WAP:
        user_row(sam, command, address);
        break;
    case LR:
    case UR:
        if (!nvm_set_region(sam, address, command == UR))
            raise(sam, PROGE);
        break;
    case PBC:
        nvm_clear_buffer(sam);
        sam->nvm.status &= (uint16_t)~LOAD;
        break;
    case SSB:
        sam->nvm.status |= SB;
        break;
    case SPRM:
    case CPRM:
    case INVALL:
        break;
    default:
        raise(sam, PROGE);
    }
}

static uint32_t d2x_load(struct sam *sam, uint32_t offset)
{
    struct nvmctrl *nvm = &sam->nvm;
    switch (offset) {
    case CTRLB:
        return nvm->ctrl;
    case PARAM: /* pages, and 3 for 64 bytes each */
        return (uint32_t)(sam->flash.size / PAGE) | 3u << 16;
    case INTFLAG:
        return nvm->flags | (nvm_busy(sam) ? 0u : READY);
    case STATUS:
        return nvm->status;
    case ADDR:
        return nvm->address;
    case LOCK:
        return nvm->locks;
    default:
        return 0;
    }
}

static void d2x_store(struct sam *sam, uint32_t offset, unsigned size, uint32_t value)
{
    struct nvmctrl *nvm = &sam->nvm;
    (void)size;
    switch (offset) {
    case CTRLA:
        if (nvm_busy(sam) || (value >> 8 & 0xff) != 0xa5)
            raise(sam, PROGE);
        else
            execute(sam, value & 0x7f);
        break;
    case CTRLB:
        nvm->ctrl = value;
        break;
    case INTFLAG:
        nvm->flags &= (uint16_t) ~(value & ERROR);
        break;
    case STATUS:
        nvm->status &= (uint16_t) ~(value & (PROGE | LOCKE | NVME));
        break;
    case ADDR:
        nvm->address = value & 0x7fffff;
        break;
    default:
        break;
    }
}

/* Half-words and words load the page buffer and ADDR; the last one of a page writes it if MANW is
 * 0. */
static bool d2x_fill(struct sam *sam, uint32_t address, unsigned size, uint32_t value)
{
    if (size == 1)
        return false;
    sam_spend_until(sam, sam->nvm.until);
    nvm_put(sam, address % PAGE, size, value);
    sam->nvm.address = address / 2;
    sam->nvm.status |= LOAD;
    if (!(sam->nvm.ctrl & MANW) && address % PAGE + size == PAGE)
        execute(sam, sam_in_flash(sam, address) ? WP : WAP);
    return true;
}

static void d2x_erase(struct sam *sam, uint32_t address)
{
    sam->nvm.address = address / 2;
    execute(sam, ER);
}

/* The Arduino loader's Y: MANW off, then for each page PBC, its words, WP. */
static void d2x_program(struct sam *sam, uint32_t address, const uint8_t *bytes, size_t length)
{
    sam->nvm.ctrl &= ~(uint32_t)MANW;
    for (size_t at = 0; at + 4 <= length; at += 4) {
        if (at == 0 || (address + at) % PAGE == 0)
            execute(sam, PBC);
        d2x_fill(sam, (uint32_t)(address + at), 4, get_le32(bytes + at));
    }
    if ((address + length) % PAGE != 0)
        execute(sam, WP);
}

static void d2x_reset(struct sam *sam)
{
    sam->nvm = (struct nvmctrl){.ctrl = MANW, .locks = get_le16(sam->options.bytes + 6)};
    nvm_clear_buffer(sam);
    if (sam->faults.locked) {
        sam->nvm.status = SB;
        sam->nvm.locks = 0;
    }
}

const struct nvm_ops nvm_d2x = {d2x_reset, d2x_load, d2x_store, d2x_fill, d2x_erase, d2x_program};
