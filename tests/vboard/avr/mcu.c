/*
 * Making, resetting and running an AVR in libsimavr 1.6. The reader must know two things: simavr
 * loads fuses but does not act on them, so the reset vector is set from them here; and a program
 * that runs wild is a matter of course on a board that gets any image, so everything it can reach
 * (64 KiB of data, 16 MiB of program memory through RAMPZ) is really there.
 */
#include "mcu.h"

#include <simavr/sim_core.h>
#include <simavr/sim_cycle_timers.h>
#include <simavr/sim_interrupts.h>
#include <simavr/sim_regbit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DATA_SPACE = 1 << 16,
    PROGRAM_SPACE = 1 << 24,
    RUN_SLICE = 160,                      /* cycles between two looks at UART and flash: 10 us */
    ACTIVE_CYCLES = 1000 * CYCLES_PER_US, /* longer than any thinking between frame and answer */
    RESET_CAUSES = 0x0f,                  /* PORF EXTRF BORF WDRF */
};

static const struct avr_part *part_of(const struct mcu *mcu)
{
    return mcu->chip->avr;
}

static uint8_t fuse_named(const struct mcu *mcu, char name)
{
    return mcu->fuses.bytes[name == 'e' ? EFUSE : HFUSE];
}

uint32_t mcu_boot_start(const struct mcu *mcu)
{
    const struct avr_part *part = part_of(mcu);
    /* BOOTSZ is bits 2:1 of its fuse on every part; 11 is the smallest section. */
    unsigned bootsz = (fuse_named(mcu, part->bootsz_fuse) & part->bootsz_mask) >> 1;

    return (uint32_t)mcu->flash.size - part->boot_bytes[3 - bootsz];
}

uint32_t mcu_reset_vector(const struct mcu *mcu)
{
    const struct avr_part *part = part_of(mcu);
    bool application = fuse_named(mcu, part->bootrst_fuse) & part->bootrst_mask;

    return application ? 0 : mcu_boot_start(mcu);
}

/* Some instructions, the timers that are due, an interrupt. simavr's own run function pushes
 * whatever the program counter is; on silicon it has only the bits that the flash needs. */
static void run_slice(avr_t *avr)
{
    const struct mcu *mcu = avr->custom.data;
    avr_flashaddr_t pc = avr->pc;

    if (avr->state == cpu_Running)
        pc = avr_run_one(avr);
    avr_cycle_count_t idle = avr_cycle_timer_process(avr);
    avr->pc = pc < mcu->code_end ? pc : pc & ((uint32_t)mcu->flash.size - 1);
    if (avr->state == cpu_Sleeping) {
        avr->cycle += 1 + idle;
        if (!avr->sreg[S_I])
            avr->state = cpu_Done;
    }
    if (avr->interrupt_state && (avr->state == cpu_Running || avr->state == cpu_Sleeping))
        avr_service_interrupts(avr);
}

static void discard_log(avr_t *avr, const int level, const char *format, va_list args)
{
    (void)avr;
    (void)level;
    (void)format;
    (void)args;
}

/* The EEPROM is the caller's memory, so that every byte written is kept at once. */
static void adopt_eeprom(struct mcu *mcu)
{
    for (avr_io_t *io = mcu->avr->io_port; io; io = io->next) {
        if (!io->kind || strcmp(io->kind, "eeprom") != 0)
            continue;
        avr_eeprom_t *eeprom = (avr_eeprom_t *)io;
        free(eeprom->eeprom);
        eeprom->eeprom = mcu->eeprom.bytes;
    }
}

static bool widen_memories(avr_t *avr)
{
    uint8_t *data = realloc(avr->data, DATA_SPACE);
    uint8_t *flash = calloc(1, PROGRAM_SPACE + 4);

    if (data)
        avr->data = data;
    if (!data || !flash) {
        free(flash);
        return false;
    }
    memset(data + avr->ramend + 1, 0, (size_t)DATA_SPACE - avr->ramend - 1);
    memset(flash, 0xff, avr->flashend + 1);
    free(avr->flash);
    avr->flash = flash;
    return true;
}

static bool start_core(struct mcu *mcu)
{
    avr_global_logger_set(discard_log);
    mcu->avr = avr_make_mcu_by_name(mcu->chip->name);
    if (!mcu->avr)
        return false;
    mcu->avr->flashend = mcu->code_end - 1;
    avr_init(mcu->avr);
    mcu->avr->log = LOG_NONE;
    mcu->avr->frequency = CPU_HZ;
    mcu->avr->run = run_slice;
    mcu->avr->custom.data = mcu;
    return widen_memories(mcu->avr) && uart_init(mcu);
}

struct mcu *mcu_create(const struct vconfig *config, uint32_t nrww_start, uint32_t code_end)
{
    struct mcu *mcu = calloc(1, sizeof *mcu);

    if (!mcu)
        return NULL;
    mcu->chip = config->chip;
    mcu->flash = config->flash;
    mcu->eeprom = config->eeprom;
    mcu->fuses = config->fuses;
    mcu->nrww_start = nrww_start;
    mcu->code_end = code_end ? code_end : (uint32_t)config->flash.size;
    if (!start_core(mcu)) {
        fprintf(stderr, "vboard-avr: simavr cannot be an %s\n", config->chip->name);
        mcu_destroy(mcu);
        return NULL;
    }
    adopt_eeprom(mcu);
    spm_init(mcu);
    memcpy(mcu->avr->flash, mcu->flash.bytes, mcu->flash.size);
    return mcu;
}

void mcu_destroy(struct mcu *mcu)
{
    if (!mcu)
        return;
    if (mcu->avr) {
        for (avr_io_t *io = mcu->avr->io_port; io; io = io->next)
            if (io->kind && strcmp(io->kind, "eeprom") == 0)
                ((avr_eeprom_t *)io)->eeprom = NULL;
        avr_terminate(mcu->avr);
        free(mcu->avr);
    }
    free(mcu);
}

/* Data sheet, "System Clock": a crystal gets 16384 cycles, then SUT = 11 waits 65 ms, 10 4.1 ms. */
static avr_cycle_count_t start_up(const struct mcu *mcu)
{
    static const uint32_t delay_us[4] = {0, 0, 4100, 65000};

    return 16384 + (avr_cycle_count_t)delay_us[mcu->fuses.bytes[LFUSE] >> 4 & 3] * CYCLES_PER_US;
}

void mcu_reset(struct mcu *mcu, enum vreset cause)
{
    avr_t *avr = mcu->avr;
    uint8_t *mcusr = &avr->data[avr->reset_flags.porf.reg];
    uint8_t causes = *mcusr & RESET_CAUSES;

    spm_reset(mcu);
    uart_reset(mcu);
    mcu->halted_until = 0;
    avr->cycle += start_up(mcu);
    avr->reset_pc = mcu_reset_vector(mcu);
    avr_reset(avr);
    avr->run = run_slice; /* a watchdog reset that was due is overtaken */
    if (cause == VRESET_POWER) {
        memset(avr->data + avr->ioend + 1, 0, (size_t)(avr->ramend - avr->ioend));
        *mcusr = 0;
        avr_regbit_set(avr, avr->reset_flags.porf);
    } else {
        *mcusr |= causes;
        avr_regbit_set(avr, cause == VRESET_PIN ? avr->reset_flags.extrf : avr->reset_flags.wdrf);
    }
}

/* simavr resets in a run function of its own, which would lose the older causes. */
static void watchdog_reset(struct mcu *mcu)
{
    avr_t *avr = mcu->avr;
    uint8_t causes = avr->data[avr->reset_flags.porf.reg] & RESET_CAUSES;

    spm_reset(mcu);
    avr->cycle += start_up(mcu);
    avr->reset_pc = mcu_reset_vector(mcu);
    avr_run(avr);
    avr->data[avr->reset_flags.porf.reg] |= causes;
}

/* Past the end of flash the program counter wraps to 0 and the chip goes on. Asleep with interrupts
 * off, it stays asleep, but its watchdog still counts. */
static void revive(avr_t *avr)
{
    if (avr->state == cpu_Crashed)
        avr->state = cpu_Running;
    else if (avr->state == cpu_Done)
        avr->cycle += RUN_SLICE;
}

/* Ends a sleep, and a loop that sets simavr's timers again and again: with none of them due, simavr
 * would never come back from it. */
static avr_cycle_count_t slice_over(avr_t *avr, avr_cycle_count_t when, void *param)
{
    (void)avr;
    (void)when;
    (void)param;
    return 0;
}

void mcu_run(struct mcu *mcu, avr_cycle_count_t until)
{
    avr_t *avr = mcu->avr;

    avr->run_cycle_limit = RUN_SLICE;
    while (avr->cycle < until) {
        uart_poll(mcu);
        spm_poll(mcu);
        if (avr->cycle < mcu->halted_until) {
            avr->cycle = mcu->halted_until < until ? mcu->halted_until : until;
            continue;
        }
        if (avr->run == run_slice && idle_loop(mcu)) {
            avr_cycle_timer_cancel(avr, slice_over, mcu);
            avr->cycle = idle_until(mcu, until);
        }
        avr_cycle_timer_register(avr, RUN_SLICE, slice_over, mcu);
        if (avr->run == run_slice)
            run_slice(avr);
        else
            watchdog_reset(mcu);
        if (avr->state != cpu_Running && avr->state != cpu_Sleeping)
            revive(avr);
    }
}

void mcu_note_activity(struct mcu *mcu)
{
    mcu->active_until = mcu->avr->cycle + ACTIVE_CYCLES;
}

bool mcu_active(const struct mcu *mcu)
{
    return mcu->uart.count > 0 || mcu->spm.busy_until || mcu->avr->cycle < mcu->active_until;
}
