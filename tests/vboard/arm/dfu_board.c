/* The DFU state machine and the board around it: see dfu.h. */
#include "dfu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "board/chip.h"
#include "variant.h"

enum {
    FROM_INTERFACE = 0xa1,
    TO_INTERFACE = 0x21,
    STATUS_BYTES = 6,
    HUGE_MS = 0xffffff,
    LOADER_US = 300 * MILLISECOND,  /* from a reset until the loader is on the bus */
    RUNTIME_US = 250 * MILLISECOND, /* the same for an application with a DFU interface */
    KLIPPER_US = 200 * MILLISECOND, /* the same for Klipper */
};

static struct dfu_board *board_of(struct vusb *dev)
{
    return (struct dfu_board *)dev;
}

uint64_t dfu_now(const struct dfu_board *board)
{
    return board->usb.bus ? board->usb.bus->now : board->usb.parked;
}

/* ---- life ---- */

static void forget(struct dfu_board *board)
{
    board->state = board->next_state = DFU_IDLE;
    board->code = board->next_code = DFU_OK;
    board->alternate = 0;
    board->busy_until = 0;
    board->length = 0;
    board->pointer = (uint32_t)board->chip->regions[0].start;
    board->leave_at = UINT64_MAX;
}

/* When it is on the bus; UINT64_MAX: never, its program does not speak USB. */
static uint64_t start(struct dfu_board *board, bool application, uint64_t now)
{
    forget(board);
    vusb_klipper_stop(&board->klipper);
    board->runtime.running = false;
    board->loader = !application;
    if (board->loader) {
        board->usb.identity = &board->identity;
        return now + LOADER_US;
    }
    if (vusb_klipper_start(&board->klipper, board->chip, board->node, &board->flash,
                           board->program)) {
        board->usb.identity = &board->klipper.face.identity;
        return now + KLIPPER_US;
    }
    if (!dfu_runtime_start(&board->runtime, board->flash.bytes + board->program))
        return UINT64_MAX;
    board->usb.identity = &board->runtime.identity;
    return now + RUNTIME_US;
}

static void restart(struct dfu_board *board, bool application)
{
    uint64_t back_at = start(board, application, dfu_now(board));
    if (board->usb.bus)
        board->usb.bus->detach(board->usb.bus, back_at);
    else
        board->usb.back_at = back_at;
}

/* The application has been sent away, for the loader as a rule. */
static void leave_runtime(struct dfu_board *board)
{
    bool lost = board->runtime.lost;
    if (lost && board->usb.bus)
        board->usb.bus->detach(board->usb.bus, UINT64_MAX);
    else if (lost)
        board->usb.back_at = UINT64_MAX;
    else
        restart(board, board->runtime.stubborn);
}

void dfu_leave(struct dfu_board *board, bool application, uint64_t microseconds)
{
    board->to_application = application;
    board->leave_at = dfu_now(board) + microseconds;
}

static void board_reset(struct vusb *dev, enum vreset cause)
{
    struct dfu_board *board = board_of(dev);
    (void)cause;
    restart(board, !board->boot_pin);
}

static void board_bus_reset(struct vusb *dev)
{
    struct dfu_board *board = board_of(dev);
    if (board->loader)
        board->loader_kind->bus_reset(board);
    else if (!board->runtime.running)
        vusb_klipper_bus_reset(&board->klipper);
    else if (dfu_runtime_bus_reset(&board->runtime, dfu_now(board)))
        leave_runtime(board);
}

static void board_alternate(struct vusb *dev, uint8_t interface, uint8_t alternate)
{
    (void)interface;
    board_of(dev)->alternate = alternate;
}

/* ---- the state machine ---- */

static bool still_busy(const struct dfu_board *board)
{
    return board->state == DNBUSY && dfu_now(board) < board->busy_until;
}

static void settle(struct dfu_board *board)
{
    if (board->state != DNBUSY || still_busy(board))
        return;
    board->state = board->next_state;
    board->code = board->next_code;
}

/* What an early question meets. */
static enum vusb_answer ask_too_early(struct dfu_board *board)
{
    if (board->manners == MANNERS_NAK)
        return VUSB_NAK;
    if (board->manners == MANNERS_STRICT) {
        board->state = DFU_ERROR;
        board->code = ERR_STALLED;
    }
    return VUSB_STALL;
}

static uint32_t told_poll(const struct dfu_board *board, uint64_t takes)
{
    if (board->poll_zero)
        return 0;
    if (board->poll_huge)
        return HUGE_MS;
    uint32_t constant = board->length == 5 && board->data[0] == 0x41 && board->block == 0
                            ? board->poll_erase
                            : board->poll_write;
    return constant ? constant : (uint32_t)((takes + MILLISECOND - 1) / MILLISECOND);
}

/* GETSTATUS is what starts the work of a DNLOAD. */
static uint32_t begin_work(struct dfu_board *board)
{
    bool paced = board->usb.bus && board->usb.bus->paced;
    bool refuses = board->faults.nak && board->requests == board->faults.nak;
    uint64_t takes = refuses ? 0 : board->loader_kind->work(board);
    if (refuses) {
        board->next_state = DFU_ERROR;
        board->next_code = ERR_WRITE;
    }
    board->state = DNBUSY;
    board->busy_until = dfu_now(board) + (paced ? takes : 0);
    return told_poll(board, takes);
}

static void put_status(const struct dfu_board *board, uint32_t poll, uint8_t *data)
{
    data[0] = board->code;
    data[1] = (uint8_t)poll;
    data[2] = (uint8_t)(poll >> 8);
    data[3] = (uint8_t)(poll >> 16);
    data[4] = board->state;
    data[5] = 0;
}

static enum vusb_answer get_status(struct dfu_board *board, uint8_t *data, size_t *length)
{
    uint32_t poll = 0;
    if (still_busy(board))
        return board->loader_kind->at_once ? VUSB_NAK : ask_too_early(board);
    settle(board);
    if (board->state == DNLOAD_SYNC) {
        poll = begin_work(board);
        if (board->loader_kind->at_once && still_busy(board))
            return VUSB_NAK;
        if (board->loader_kind->at_once)
            settle(board);
    } else if (board->state == MANIFEST_SYNC) {
        board->state = board->loader_kind->manifest(board);
        poll = 1;
        if (board->silent_leave && board->leave_at != UINT64_MAX) {
            board->leave_at = dfu_now(board);
            return VUSB_NAK;
        }
    } else if (board->state == DNLOAD_IDLE && board->loader_kind->forgets && board->length == 0) {
        board->state = DFU_IDLE;
    }
    if (board->loader_kind->at_once)
        poll = 0;
    *length = *length < STATUS_BYTES ? *length : STATUS_BYTES;
    uint8_t status[STATUS_BYTES];
    put_status(board, poll, status);
    memcpy(data, status, *length);
    board->length = board->state == DNBUSY ? board->length : 0;
    return VUSB_ACK;
}

static enum vusb_answer download(struct dfu_board *board, const struct vusb_setup *setup,
                                 const uint8_t *data)
{
    bool idle = board->state == DFU_IDLE || board->state == DNLOAD_IDLE;
    if (!idle || setup->length > board->transfer)
        return VUSB_STALL;
    board->block = setup->value;
    board->length = setup->length;
    if (setup->length)
        memcpy(board->data, data, setup->length);
    board->requests++;
    return board->loader_kind->download(board) ? VUSB_ACK : VUSB_STALL;
}

static enum vusb_answer upload(struct dfu_board *board, const struct vusb_setup *setup,
                               uint8_t *data, size_t *length)
{
    if ((board->state != DFU_IDLE && board->state != UPLOAD_IDLE) ||
        setup->length > board->transfer ||
        !(board->configuration[board->identity.configuration_length - 7] & 2))
        return VUSB_STALL;
    if (!board->loader_kind->upload(board, setup->value, data, length))
        return VUSB_STALL;
    board->state = *length < setup->length ? DFU_IDLE : UPLOAD_IDLE;
    return VUSB_ACK;
}

static enum vusb_answer clear_status(struct dfu_board *board)
{
    bool due = board->state == DFU_ERROR;
    board->state = due ? DFU_IDLE : DFU_ERROR;
    board->code = due ? DFU_OK : ERR_UNKNOWN;
    return VUSB_ACK;
}

static enum vusb_answer abort_transfer(struct dfu_board *board)
{
    switch (board->state) {
    case DFU_IDLE:
    case DNLOAD_SYNC:
    case DNLOAD_IDLE:
    case MANIFEST_SYNC:
    case UPLOAD_IDLE:
        board->state = DFU_IDLE;
        return VUSB_ACK;
    case DFU_ERROR: /* in which it means nothing */
        return VUSB_ACK;
    default:
        return VUSB_STALL;
    }
}

static enum vusb_answer get_state(struct dfu_board *board, uint8_t *data, size_t *length)
{
    settle(board);
    *length = *length ? 1 : 0;
    data[0] = board->state;
    if (board->state == DNLOAD_IDLE && board->loader_kind->forgets)
        board->state = DFU_IDLE;
    return VUSB_ACK;
}

static enum vusb_answer loader_control(struct dfu_board *board, const struct vusb_setup *setup,
                                       uint8_t *data, size_t *length)
{
    if (setup->index != 0 || (setup->type != TO_INTERFACE && setup->type != FROM_INTERFACE))
        return VUSB_STALL;
    if (setup->type == FROM_INTERFACE)
        switch (setup->request) {
        case DFU_GETSTATUS:
            return get_status(board, data, length);
        case DFU_GETSTATE:
            return get_state(board, data, length);
        case DFU_UPLOAD:
            return upload(board, setup, data, length);
        default:
            return VUSB_STALL;
        }
    settle(board);
    switch (setup->request) {
    case DFU_DNLOAD:
        return download(board, setup, data);
    case DFU_CLRSTATUS:
        return clear_status(board);
    case DFU_ABORT:
        return abort_transfer(board);
    default:
        return VUSB_STALL; /* DETACH means nothing in DFU mode */
    }
}

static enum vusb_answer board_control(struct vusb *dev, const struct vusb_setup *setup,
                                      uint8_t *data, size_t *length)
{
    struct dfu_board *board = board_of(dev);
    if (board->loader)
        return loader_control(board, setup, data, length);
    return board->runtime.running
               ? dfu_runtime_control(&board->runtime, dfu_now(board), setup, data, length)
               : vusb_klipper_control(&board->klipper, dev->bus, setup, data, length);
}

static enum vusb_answer board_out(struct vusb *dev, uint8_t endpoint, const uint8_t *packet,
                                  size_t length)
{
    struct dfu_board *board = board_of(dev);
    return board->loader || board->runtime.running
               ? VUSB_STALL
               : vusb_klipper_out(&board->klipper, dev->bus, endpoint, packet, length);
}

static enum vusb_answer board_in(struct vusb *dev, uint8_t endpoint, uint8_t *packet,
                                 size_t *length)
{
    struct dfu_board *board = board_of(dev);
    return board->loader || board->runtime.running
               ? VUSB_STALL
               : vusb_klipper_in(&board->klipper, endpoint, packet, length);
}

/* ---- time ---- */

static uint64_t board_next(const struct vusb *dev)
{
    const struct dfu_board *board = (const struct dfu_board *)dev;
    if (!board->loader)
        return board->runtime.running ? dfu_runtime_next(&board->runtime)
                                      : vusb_klipper_next(&board->klipper);
    uint64_t done = board->state == DNBUSY ? board->busy_until : UINT64_MAX;
    return done < board->leave_at ? done : board->leave_at;
}

static void board_tick(struct vusb *dev)
{
    struct dfu_board *board = board_of(dev);
    if (board->runtime.running) {
        if (dfu_runtime_leaves(&board->runtime, dfu_now(board)))
            leave_runtime(board);
        return;
    }
    if (!board->loader) {
        if (vusb_klipper_leaves(&board->klipper, dev->bus))
            restart(board, false);
        return;
    }
    settle(board);
    if (board->leave_at <= dfu_now(board))
        restart(board, board->to_application);
}

static void board_destroy(struct vusb *dev)
{
    free(dev);
}

static const struct vusb_ops board_ops = {
    .reset = board_reset,
    .bus_reset = board_bus_reset,
    .alternate = board_alternate,
    .control = board_control,
    .out = board_out,
    .in = board_in,
    .next = board_next,
    .tick = board_tick,
    .destroy = board_destroy,
};

/* ---- making one ---- */

struct dfu_board *dfu_board_new(const struct vconfig *config, const struct dfu_loader *kind)
{
    const char *variant = config->variant;
    struct dfu_board *board = NULL;
    if (config->chip && config->flash.size >= config->chip->regions[0].size)
        board = calloc(1, sizeof *board);
    if (!board) {
        fprintf(stderr, "dfu: cannot be made\n");
        return NULL;
    }
    board->usb.ops = &board_ops;
    board->loader_kind = kind;
    board->chip = config->chip;
    board->flash = config->flash;
    board->qspi = config->qspi;
    board->option_bytes = config->options;
    board->faults = config->faults;
    board->node = config->node;
    board->variant = variant;
    board->boot_pin = !config->app;
    board->manners = variant_has(variant, "strict")   ? MANNERS_STRICT
                     : variant_has(variant, "stalls") ? MANNERS_STALL
                                                      : MANNERS_NAK;
    board->looks = variant_has(variant, "looks");
    board->poll_zero = variant_has(variant, "poll0");
    board->poll_huge = variant_has(variant, "poll-huge");
    return board;
}

void dfu_board_start(struct dfu_board *board, bool application)
{
    dfu_runtime_init(&board->runtime, board->variant, &board->identity);
    uint64_t back_at = start(board, application, 0);
    board->usb.back_at = board->loader ? 0 : back_at; /* a loader is there already */
}
