/*
 * A board that runs real bootloader firmware in simavr, as a vserial. CPU time and line time keep
 * step, except that without --pace the CPU hurries ahead while bytes are on their way or flash is
 * being programmed: nothing is lost by that, and all windows in which a program waits stay real.
 */
#include "loader.h"
#include "klipper_app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLICE_US = 250,                      /* how often the CPU catches up with the line */
    HURRY_CYCLES = 5000 * CYCLES_PER_US, /* run ahead between two looks at the host */
    HURRY_TOTAL = 20 * CPU_HZ,           /* after a byte of the host: its longest command */
};

struct simavr_board {
    struct vserial dev;
    struct mcu *mcu;
    uint64_t anchor_time; /* line time at which the cycle counter was */
    avr_cycle_count_t anchor_cycle;
    uint64_t due;                 /* line time of the next tick */
    avr_cycle_count_t hurry_left; /* a chatty program must not race on for ever */
    struct klipper_app klipper;   /* what the application's place holds, while it runs */
    bool judged;                  /* it has been looked at since the bootloader left */
};

static avr_cycle_count_t cycle_at(const struct simavr_board *board, uint64_t time)
{
    return board->anchor_cycle + (time - board->anchor_time) * CYCLES_PER_US;
}

/* The CPU has left the bootloader. If it went into a Klipper, that answers from here on: its image
 * may be one that was never meant to run, made for the sake of its dictionary. */
static void judge_application(struct simavr_board *board)
{
    struct mcu *mcu = board->mcu;
    bool in_loader = mcu->avr->pc >= mcu_boot_start(mcu);

    if (!in_loader && !board->judged) {
        klipper_app_start(&board->klipper, &mcu->flash, 0, KLIPPER_UART);
        if (board->klipper.running)
            board->dev.baud = board->klipper.baud;
    }
    board->judged = !in_loader;
}

static void catch_up(struct simavr_board *board)
{
    if (!board->klipper.running) {
        mcu_run(board->mcu, cycle_at(board, board->dev.line->now));
        judge_application(board);
    }
    if (board->klipper.running) { /* the CPU stands still */
        board->anchor_time = board->dev.line->now;
        board->anchor_cycle = board->mcu->avr->cycle;
    }
}

static void hurry(struct simavr_board *board)
{
    avr_t *avr = board->mcu->avr;
    avr_cycle_count_t before = avr->cycle, ahead = 0;

    while (mcu_active(board->mcu) && ahead < HURRY_CYCLES) {
        mcu_run(board->mcu, avr->cycle + SLICE_US * CYCLES_PER_US);
        ahead = avr->cycle - before;
    }
    board->anchor_cycle += ahead;
    board->hurry_left -= ahead < board->hurry_left ? ahead : board->hurry_left;
}

static void transmit(void *user, uint8_t byte)
{
    struct simavr_board *board = user;

    board->dev.line->send(board->dev.line, byte);
}

static void board_reset(struct vserial *dev, enum vreset cause)
{
    struct simavr_board *board = (struct simavr_board *)dev;

    catch_up(board);
    board->klipper.running = board->judged = false;
    board->anchor_time = dev->line->now;
    board->anchor_cycle = board->mcu->avr->cycle;
    mcu_reset(board->mcu, cause);
}

/* The line garbles what comes at another rate than the program has set. */
static void follow_rate(struct simavr_board *board)
{
    uint32_t rate = uart_rate(board->mcu);

    if (rate && !board->klipper.running)
        board->dev.baud = rate;
}

static void board_receive(struct vserial *dev, uint8_t byte)
{
    struct simavr_board *board = (struct simavr_board *)dev;

    catch_up(board);
    if (board->klipper.running) {
        klipper_app_receive(&board->klipper, dev->line, byte);
        return;
    }
    board->hurry_left = HURRY_TOTAL;
    /* Not before the rest of a burst is here: on the wire its bytes follow each other closely. */
    if (!dev->line->paced)
        board->due = dev->line->now + 1;
    uart_receive(board->mcu, cycle_at(board, dev->line->now), byte, dev->line->framing_error);
}

static bool hurrying(const struct simavr_board *board)
{
    return !board->dev.line->paced && board->hurry_left && !board->klipper.running &&
           mcu_active(board->mcu);
}

static uint64_t board_next(const struct vserial *dev)
{
    const struct simavr_board *board = (const struct simavr_board *)dev;

    return board->due;
}

static void board_tick(struct vserial *dev)
{
    struct simavr_board *board = (struct simavr_board *)dev;

    catch_up(board);
    if (hurrying(board))
        hurry(board);
    follow_rate(board);
    board->due = dev->line->now + (hurrying(board) ? 1 : SLICE_US);
}

static void board_destroy(struct vserial *dev)
{
    struct simavr_board *board = (struct simavr_board *)dev;

    mcu_destroy(board->mcu);
    free(board);
}

static const struct vserial_ops simavr_ops = {
    .reset = board_reset,
    .receive = board_receive,
    .next = board_next,
    .tick = board_tick,
    .destroy = board_destroy,
};

static bool blank(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0xff)
            return false;
    return true;
}

/* A new chip gets the fuses and the bootloader that the board is sold with. What a file brings is
 * kept, also a damaged bootloader. */
static bool install(struct mcu *mcu, const struct firmware *firmware)
{
    uint8_t *loader = malloc(mcu->code_end);
    uint32_t start = mcu_boot_start(mcu);
    size_t kept = mcu->flash.size - start;

    if (!loader)
        return false;
    memset(loader, 0xff, mcu->code_end);
    if (!loader_read(firmware, loader, mcu->code_end)) {
        free(loader);
        return false;
    }
    if (blank(mcu->flash.bytes + start, kept))
        memcpy(mcu->flash.bytes + start, loader + start, kept);
    memcpy(mcu->avr->flash, mcu->flash.bytes, mcu->flash.size);
    memcpy(mcu->avr->flash + mcu->flash.size, loader + mcu->flash.size, firmware->excess);
    free(loader);
    return true;
}

/* What this kind of board cannot act out is refused rather than ignored. */
static const char *impossible(const struct vconfig *config)
{
    if (config->faults.nak)
        return "real firmware answers as it was written: `nak` is not possible for this model";
    if (config->faults.wrong_id)
        return "the signature is compiled into the firmware: `wrong-id` is not possible for this "
               "model";
    return NULL;
}

/* Boot lock bits, BLB0 mode 2: SPM must not write the application section. */
enum { LOCKED_BITS = 0xcb };

struct vserial *simavr_create(const struct vconfig *config, const struct firmware *firmware)
{
    struct simavr_board *board = calloc(1, sizeof *board);
    const char *why = impossible(config);

    if (!board || why) {
        fprintf(stderr, "vboard-avr: %s\n", why ? why : "out of memory");
        free(board);
        return NULL;
    }
    if (blank(config->fuses.bytes, sizeof firmware->fuses))
        memcpy(config->fuses.bytes, firmware->fuses, sizeof firmware->fuses);
    if (config->faults.locked)
        config->fuses.bytes[LOCK] &= LOCKED_BITS;
    board->mcu =
        mcu_create(config, firmware->nrww_start, (uint32_t)config->flash.size + firmware->excess);
    if (!board->mcu || !install(board->mcu, firmware)) {
        mcu_destroy(board->mcu);
        free(board);
        return NULL;
    }
    board->mcu->transmit = transmit;
    board->mcu->user = board;
    mcu_reset(board->mcu, VRESET_POWER);
    if (config->app)
        board->mcu->avr->pc = 0;
    board->dev.ops = &simavr_ops;
    board->dev.reset_on_dtr = true;
    board->dev.baud = firmware->baud;
    return &board->dev;
}
