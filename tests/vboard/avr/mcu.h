/*
 * An AVR in libsimavr, brought nearer to silicon where simavr 1.6 is kinder than the part: flash
 * programming takes its time and only clears bits (spm.c), the receiver holds three bytes and a
 * byte takes ten bit times (uart.c), reset causes add up in MCUSR and a wild program harms nobody
 * but itself (mcu.c). Time here is CPU cycles; board.c ties it to the line's microseconds.
 *
 * simavr is GPL-3: only the executable vboard-avr links it.
 */
#ifndef VBOARD_MCU_H
#define VBOARD_MCU_H

#include <simavr/avr_eeprom.h>
#include <simavr/avr_flash.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>

#include "board/chip.h"
#include "model.h"

enum {
    CPU_HZ = 16000000, /* the crystal of every Arduino board here */
    CYCLES_PER_US = CPU_HZ / 1000000,
    SPM_PAGE_MAX = 256,
    /* Bytes the host may have sent ahead: more than any burst a bootloader's host writes. */
    UART_QUEUE = 1 << 16,
};

/* Self-programming: data sheet, "Self-Programming the Flash". */
struct spm {
    avr_flash_t *io;
    uint32_t page;                 /* bytes */
    uint8_t buffer[SPM_PAGE_MAX];  /* the temporary page buffer */
    bool loaded[SPM_PAGE_MAX / 2]; /* words already loaded: each can be loaded once */
    avr_cycle_count_t busy_until;  /* 0 = idle */
    bool rows_shown;               /* LPM sees fuses or signature instead of the first words */
    uint8_t hidden[8];             /* the flash bytes that are covered meanwhile */
};

struct uart {
    avr_uart_t *io;
    avr_irq_t *input;
    struct {
        avr_cycle_count_t when; /* the stop bit's end */
        bool framing_error;
        uint8_t byte;
    } queue[UART_QUEUE];
    size_t head, count;
    avr_cycle_count_t last_arrival;
};

struct mcu {
    avr_t *avr;
    const struct chip *chip;
    struct vmemory flash, eeprom, fuses;
    uint32_t nrww_start; /* first byte of the section during whose programming the CPU halts */
    uint32_t code_end;   /* flash the core executes: the chip's, or more (see boards.c) */
    struct spm spm;
    struct uart uart;
    avr_cycle_count_t halted_until; /* the CPU stands still meanwhile */
    avr_cycle_count_t active_until; /* something was just sent, received or programmed */
    void (*transmit)(void *user, uint8_t byte);
    void *user;
};

enum { LFUSE, HFUSE, EFUSE, LOCK }; /* in vconfig.fuses */

/* Boot section start and the address a reset goes to, as the fuses say. */
uint32_t mcu_boot_start(const struct mcu *mcu);
uint32_t mcu_reset_vector(const struct mcu *mcu);

/* NULL with a line on stderr. `code_end` is 0 for the chip's own flash size. */
struct mcu *mcu_create(const struct vconfig *config, uint32_t nrww_start, uint32_t code_end);
void mcu_destroy(struct mcu *mcu);

/* MCUSR keeps older causes until the program clears them; a power-on clears all but its own. The
 * cycle counter jumps ahead by the start-up time that the SUT fuses ask for. */
void mcu_reset(struct mcu *mcu, enum vreset cause);

/* Executes until the cycle counter reaches `until`. */
void mcu_run(struct mcu *mcu, avr_cycle_count_t until);

/* Bytes are on their way to the program, or it is answering or programming: worth hurrying on. */
bool mcu_active(const struct mcu *mcu);
void mcu_note_activity(struct mcu *mcu);

/* ---- idle.c ---- */
/* True if the program goes round in a loop that waits for something to happen; it has then been
 * executed once more. */
bool idle_loop(struct mcu *mcu);
/* The cycle, at most `until`, at which something may happen to such a program. */
avr_cycle_count_t idle_until(const struct mcu *mcu, avr_cycle_count_t until);

/* ---- spm.c ---- */
void spm_init(struct mcu *mcu);
void spm_reset(struct mcu *mcu);
void spm_poll(struct mcu *mcu); /* ends an operation whose time is over */

/* ---- uart.c ---- */
bool uart_init(struct mcu *mcu);
/* Drops what is under way; `all` also what the host has sent ahead (power is gone). */
void uart_reset(struct mcu *mcu);
/* A byte whose stop bit ends at `when`, or as soon as the line is free after the one before. */
void uart_receive(struct mcu *mcu, avr_cycle_count_t when, uint8_t byte, bool framing_error);
void uart_poll(struct mcu *mcu); /* hands over the bytes that are due */
/* The rate the program has set, in baud; 0 while its receiver is off. */
uint32_t uart_rate(const struct mcu *mcu);

#endif
