/* The board around the HID bootloader: resets, the application, the bus. See hid.h. */
#include "hid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/chip.h"
#include "variant.h"

enum {
    SET_REPORT = 0x09,
    SET_IDLE = 0x0a,
    GET_DESCRIPTOR = 0x06,
    REPORT_DESCRIPTOR = 0x22,
    HID_INTERFACE_OUT = 0x21,
    INTERFACE_IN = 0x81,
    ANSWER_ENDPOINT = 0x81,
    BCD_AT = 12,                    /* of bcdDevice in the device descriptor */
    KLIPPER_US = 200 * MILLISECOND, /* from a reset until Klipper is on the bus */
};

const uint8_t hid_prefix[HID_PREFIX] = {'B', 'T', 'L', 'D', 'C', 'M', 'D'};

static struct hid_board *board_of(struct vusb *dev)
{
    return (struct hid_board *)dev;
}

uint64_t hid_now(const struct hid_board *board)
{
    return board->usb.bus ? board->usb.bus->now : board->usb.parked;
}

/* ---- what both programs do ---- */

void hid_work(struct hid_board *board, uint64_t microseconds)
{
    uint64_t now = hid_now(board);
    if (!board->usb.bus || !board->usb.bus->paced) {
        board->build->done(board);
        return;
    }
    board->busy_until = (board->busy_until > now ? board->busy_until : now) + microseconds;
}

int hid_command(const uint8_t *report, bool whole)
{
    if (memcmp(report, hid_prefix, HID_PREFIX) != 0)
        return -1;
    for (size_t i = HID_PREFIX + 1; whole && i < HID_REPORT; i++)
        if (report[i])
            return -1;
    return report[HID_PREFIX];
}

void hid_answer(struct hid_board *board, uint8_t code)
{
    memcpy(board->answer, hid_prefix, HID_PREFIX);
    board->answer[HID_PREFIX] = code;
    board->answering = true;
}

/* ---- life ---- */

static void forget(struct hid_board *board)
{
    board->busy_until = 0;
    board->leave_at = UINT64_MAX;
    board->answering = board->slot_full = false;
    board->build->begin(board);
}

static uint64_t start_application(struct hid_board *board, uint64_t now)
{
    if (!vusb_klipper_start(&board->klipper, board->chip, board->node, &board->flash,
                            board->build->start))
        return UINT64_MAX; /* it is not on the bus */
    board->usb.identity = &board->klipper.face.identity;
    return now + KLIPPER_US;
}

/* Which program has the chip from now on, and when it is on the bus. */
static uint64_t start(struct hid_board *board, bool magic, uint64_t now)
{
    forget(board);
    vusb_klipper_stop(&board->klipper);
    board->loader = magic || board->boot1 || !board->build->starts(board);
    if (!board->loader)
        return start_application(board, now);
    board->usb.identity = &board->identity;
    return now + (magic ? board->build->magic_time : board->build->boot_time);
}

static void restart(struct hid_board *board, bool magic)
{
    struct vusb_bus *bus = board->usb.bus;
    uint64_t back_at = start(board, magic, hid_now(board));
    if (bus)
        bus->detach(bus, back_at);
    else
        board->usb.back_at = back_at;
}

static void board_reset(struct vusb *dev, enum vreset cause)
{
    (void)cause;
    restart(board_of(dev), false);
}

static void board_bus_reset(struct vusb *dev)
{
    struct hid_board *board = board_of(dev);
    if (board->loader)
        board->build->bus_reset(board);
    else
        vusb_klipper_bus_reset(&board->klipper);
}

/* ---- requests ---- */

static bool wants_report_descriptor(const struct vusb_setup *setup)
{
    return setup->type == INTERFACE_IN && setup->request == GET_DESCRIPTOR &&
           setup->value >> 8 == REPORT_DESCRIPTOR;
}

static enum vusb_answer loader_control(struct hid_board *board, const struct vusb_setup *setup,
                                       uint8_t *data, size_t *length)
{
    const struct hid_build *build = board->build;
    if (board->busy_until && build->holds_bus)
        return VUSB_NAK;
    if (wants_report_descriptor(setup)) {
        *length =
            *length < build->report_descriptor_length ? *length : build->report_descriptor_length;
        memcpy(data, build->report_descriptor, *length);
        return VUSB_ACK;
    }
    if (setup->type == HID_INTERFACE_OUT && setup->request == SET_IDLE)
        return VUSB_ACK;
    if (setup->type != HID_INTERFACE_OUT || setup->request != SET_REPORT)
        return VUSB_STALL;
    build->report(board, data, *length);
    return VUSB_ACK;
}

static enum vusb_answer board_control(struct vusb *dev, const struct vusb_setup *setup,
                                      uint8_t *data, size_t *length)
{
    struct hid_board *board = board_of(dev);
    return board->loader ? loader_control(board, setup, data, length)
                         : vusb_klipper_control(&board->klipper, dev->bus, setup, data, length);
}

static enum vusb_answer board_out(struct vusb *dev, uint8_t endpoint, const uint8_t *packet,
                                  size_t length)
{
    struct hid_board *board = board_of(dev);
    return board->loader ? VUSB_STALL
                         : vusb_klipper_out(&board->klipper, dev->bus, endpoint, packet, length);
}

static enum vusb_answer board_in(struct vusb *dev, uint8_t endpoint, uint8_t *packet,
                                 size_t *length)
{
    struct hid_board *board = board_of(dev);
    if (!board->loader)
        return vusb_klipper_in(&board->klipper, endpoint, packet, length);
    if (endpoint != ANSWER_ENDPOINT)
        return VUSB_STALL;
    if (!board->answering)
        return VUSB_NAK;
    memcpy(packet, board->answer, HID_ANSWER);
    *length = HID_ANSWER;
    board->answering = false;
    return VUSB_ACK;
}

/* ---- time ---- */

static uint64_t board_next(const struct vusb *dev)
{
    const struct hid_board *board = (const struct hid_board *)dev;
    uint64_t busy = board->busy_until ? board->busy_until : UINT64_MAX;
    if (!board->loader)
        return vusb_klipper_next(&board->klipper);
    return busy < board->leave_at ? busy : board->leave_at;
}

static void board_tick(struct vusb *dev)
{
    struct hid_board *board = board_of(dev);
    if (!board->loader) { /* Klipper for this offset leaves the mark that this loader looks for */
        if (vusb_klipper_leaves(&board->klipper, dev->bus))
            restart(board, true);
        return;
    }
    if (board->busy_until && board->busy_until <= hid_now(board)) {
        board->busy_until = 0;
        board->build->done(board);
    }
    if (board->leave_at <= hid_now(board))
        restart(board, false);
}

static void board_destroy(struct vusb *dev)
{
    free(dev);
}

static const struct vusb_ops board_ops = {
    .reset = board_reset,
    .bus_reset = board_bus_reset,
    .control = board_control,
    .out = board_out,
    .in = board_in,
    .next = board_next,
    .tick = board_tick,
    .destroy = board_destroy,
};

/* ---- making one ---- */

static bool begins(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static void configure(struct hid_board *board, const struct vconfig *config)
{
    const char *variant = config->variant;
    bool f1 = begins(config->chip->name, "stm32f1");
    board->build = f1 ? &hid_build_f1 : &hid_build_f4;
    board->chip = config->chip;
    board->flash = config->flash;
    board->faults = config->faults;
    board->node = config->node;
    board->boot1 = variant_has(variant, "boot1");
    board->serasidis = variant_has(variant, "serasidis");
    board->page_size = !f1 ? 1024 : config->chip->regions[0].sector;
    if (f1 && variant_has(variant, "1k"))
        board->page_size = 1024;
    if (f1 && variant_has(variant, "2k"))
        board->page_size = 2048;
    board->identity = *board->build->identity;
    if (board->serasidis && board->build->serasidis_strings)
        board->identity.strings = board->build->serasidis_strings;
    memcpy(board->device, board->identity.device, sizeof board->device);
    board->identity.device = board->device;
    if (config->faults.wrong_id) /* as releases before 3.0 have it; they speak another protocol */
        board->device[BCD_AT + 1] = 2;
}

static struct vusb *create(const struct vconfig *config)
{
    struct hid_board *board = NULL;
    if (config->chip && config->flash.size >= config->chip->regions[0].size)
        board = calloc(1, sizeof *board);
    if (!board) {
        fprintf(stderr, "hid: cannot be made\n");
        return NULL;
    }
    configure(board, config);
    board->usb.ops = &board_ops;
    board->usb.identity = &board->identity;
    board->usb.back_at = start(board, !config->app, 0);
    if (board->loader)
        board->usb.back_at = 0; /* it is there already */
    return &board->usb;
}

static const char *const chips[] = {
    "stm32f103x6", "stm32f103xb", "stm32f103xe", "stm32f401xc", "stm32f401xe", "stm32f405xx",
    "stm32f407xx", "stm32f411xe", "stm32f429xx", "stm32f446xx", NULL,
};

const struct vmodel vmodel_hid = {
    .name = "hid",
    .method = "hid",
    .chips = chips,
    .proof = "a client written from the protocol (tests/peers/hid)",
    .create_usb = create,
};
