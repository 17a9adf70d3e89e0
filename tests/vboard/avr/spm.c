/*
 * Self-programming of a simulated AVR. Defined by the chip's data sheet, "Self-Programming the
 * Flash" and "Memory Programming": an erase or a page write takes 3.7 to 4.5 ms, during which SPMEN
 * stays set; a write only clears bits; each word of the page buffer can be loaded once; SPM works
 * only from the boot section and only where the boot lock bits allow it; LPM right after BLBSET or
 * SIGRD reads fuses or signature. simavr has none of that, so this replaces its part.
 */
#include "mcu.h"

#include <simavr/sim_core.h>
#include <string.h>

/* SPMCSR, the same on all parts here. */
enum {
    SPMEN = 1 << 0,
    PGERS = 1 << 1,
    PGWRT = 1 << 2,
    BLBSET = 1 << 3,
    RWWSRE = 1 << 4,
    SIGRD = 1 << 5,
    RWWSB = 1 << 6,
    SPM_COMMAND = PGERS | PGWRT | BLBSET | RWWSRE | SIGRD,
    SPM_WINDOW = 4, /* cycles within which SPM or LPM must follow */
};

/* Lock bits: BLB1 guards the boot section, BLB0 the application; bit clear = no SPM there. */
enum { BLB01 = 1 << 2, BLB11 = 1 << 4, BOOT_LOCK_BITS = 0x3c };

static uint8_t *spmcsr(struct mcu *mcu)
{
    return &mcu->avr->data[mcu->spm.io->r_spm];
}

static void show_row(struct mcu *mcu, uint8_t command)
{
    const uint8_t *fuses = mcu->fuses.bytes;
    uint8_t *flash = mcu->avr->flash;

    memcpy(mcu->spm.hidden, flash, sizeof mcu->spm.hidden);
    mcu->spm.rows_shown = true;
    if (command & BLBSET) {
        memcpy(flash, (const uint8_t[]){fuses[LFUSE], fuses[LOCK], fuses[EFUSE], fuses[HFUSE]}, 4);
        return;
    }
    for (size_t i = 0; i < 3; i++)
        flash[2 * i] = mcu->chip->avr->signature[i];
}

static void hide_row(struct mcu *mcu)
{
    if (mcu->spm.rows_shown)
        memcpy(mcu->avr->flash, mcu->spm.hidden, sizeof mcu->spm.hidden);
    mcu->spm.rows_shown = false;
}

static avr_cycle_count_t window_over(avr_t *avr, avr_cycle_count_t when, void *param)
{
    struct mcu *mcu = param;

    (void)avr;
    (void)when;
    hide_row(mcu);
    *spmcsr(mcu) &= (uint8_t) ~(SPMEN | SPM_COMMAND);
    return 0;
}

static void write_spmcsr(avr_t *avr, avr_io_addr_t address, uint8_t value, void *param)
{
    struct mcu *mcu = param;

    if (mcu->spm.busy_until)
        return;
    hide_row(mcu);
    avr->data[address] = (uint8_t)((value & ~RWWSB) | (avr->data[address] & RWWSB));
    if (!(value & SPMEN))
        return;
    if (value & (BLBSET | SIGRD))
        show_row(mcu, value);
    avr_cycle_timer_register(avr, SPM_WINDOW, window_over, mcu);
}

static void clear_buffer(struct spm *spm)
{
    memset(spm->buffer, 0xff, sizeof spm->buffer);
    memset(spm->loaded, 0, sizeof spm->loaded);
}

static void load_word(struct mcu *mcu, uint32_t z)
{
    struct spm *spm = &mcu->spm;
    uint32_t offset = z & (spm->page - 1) & ~1u;

    if (spm->loaded[offset / 2])
        return;
    spm->buffer[offset] = mcu->avr->data[0];
    spm->buffer[offset + 1] = mcu->avr->data[1];
    spm->loaded[offset / 2] = true;
}

/* Keeps SPMEN set for the time the flash takes; the CPU goes on unless it runs from there. */
static void start_programming(struct mcu *mcu, uint32_t page, uint8_t command)
{
    avr_cycle_count_t cycles = (avr_cycle_count_t)mcu->chip->avr->flash_write_us * CYCLES_PER_US;
    bool halts = page >= mcu->nrww_start;

    mcu->spm.busy_until = mcu->avr->cycle + cycles;
    *spmcsr(mcu) = (uint8_t)(command | SPMEN | (halts ? 0 : RWWSB));
    if (halts) {
        mcu->halted_until = mcu->spm.busy_until;
        mcu->avr->run_cycle_count = 1; /* not one instruction more */
    }
}

static bool section_open(const struct mcu *mcu, uint32_t address)
{
    uint8_t bit = address >= mcu_boot_start(mcu) ? BLB11 : BLB01;

    return mcu->fuses.bytes[LOCK] & bit;
}

static void erase_page(struct mcu *mcu, uint32_t page)
{
    memset(mcu->avr->flash + page, 0xff, mcu->spm.page);
    memset(mcu->flash.bytes + page, 0xff, mcu->spm.page);
}

static void write_page(struct mcu *mcu, uint32_t page)
{
    for (uint32_t i = 0; i < mcu->spm.page; i++) {
        uint8_t *byte = mcu->avr->flash + page + i;
        if (page + i != mcu->flash.stuck)
            *byte &= mcu->spm.buffer[i];
        mcu->flash.bytes[page + i] = *byte;
    }
}

static void program(struct mcu *mcu, uint32_t z, uint8_t command)
{
    uint32_t page = z & ~(mcu->spm.page - 1);

    if (!section_open(mcu, page)) {
        *spmcsr(mcu) &= (uint8_t) ~(SPMEN | SPM_COMMAND);
        return;
    }
    if (command == PGERS) {
        erase_page(mcu, page);
    } else {
        write_page(mcu, page);
        clear_buffer(&mcu->spm);
    }
    start_programming(mcu, page, command);
}

static void execute_spm(struct mcu *mcu)
{
    avr_t *avr = mcu->avr;
    uint8_t command = *spmcsr(mcu) & SPM_COMMAND;
    uint32_t z = (uint32_t)(avr->data[R_ZL] | avr->data[R_ZH] << 8);

    if (avr->rampz)
        z |= (uint32_t)avr->data[avr->rampz] << 16;
    z &= (uint32_t)mcu->flash.size - 1;
    if (command == PGERS || command == PGWRT) {
        program(mcu, z, command);
        return;
    }
    if (command == 0)
        load_word(mcu, z);
    else if (command == BLBSET)
        mcu->fuses.bytes[LOCK] &= (uint8_t)(avr->data[0] | (uint8_t)~BOOT_LOCK_BITS);
    else if (command == RWWSRE)
        clear_buffer(&mcu->spm);
    *spmcsr(mcu) &= (uint8_t) ~(SPMEN | SPM_COMMAND | (command == RWWSRE ? RWWSB : 0));
}

static int spm_ioctl(avr_io_t *port, uint32_t ctl, void *param)
{
    (void)param;
    if (ctl != AVR_IOCTL_FLASH_SPM)
        return -1;
    struct mcu *mcu = port->avr->custom.data;
    if (mcu->spm.busy_until || !(*spmcsr(mcu) & SPMEN))
        return 0;
    avr_cycle_timer_cancel(mcu->avr, window_over, mcu);
    hide_row(mcu);
    mcu_note_activity(mcu);
    if (mcu->avr->pc >= mcu_boot_start(mcu))
        execute_spm(mcu);
    else
        *spmcsr(mcu) &= (uint8_t) ~(SPMEN | SPM_COMMAND);
    return 0;
}

void spm_poll(struct mcu *mcu)
{
    if (!mcu->spm.busy_until || mcu->avr->cycle < mcu->spm.busy_until)
        return;
    mcu->spm.busy_until = 0;
    *spmcsr(mcu) &= (uint8_t) ~(SPMEN | SPM_COMMAND);
    mcu_note_activity(mcu);
}

void spm_reset(struct mcu *mcu)
{
    hide_row(mcu);
    mcu->spm.busy_until = 0;
    clear_buffer(&mcu->spm);
}

void spm_init(struct mcu *mcu)
{
    for (avr_io_t *io = mcu->avr->io_port; io; io = io->next)
        if (io->kind && strcmp(io->kind, "flash") == 0)
            mcu->spm.io = (avr_flash_t *)io;
    mcu->spm.page = mcu->chip->regions[0].page;
    mcu->spm.io->io.ioctl = spm_ioctl;
    mcu->avr->io[AVR_DATA_TO_IO(mcu->spm.io->r_spm)].w.c = write_spmcsr;
    mcu->avr->io[AVR_DATA_TO_IO(mcu->spm.io->r_spm)].w.param = mcu;
    clear_buffer(&mcu->spm);
}
