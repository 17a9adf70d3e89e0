/*
 * The HID bootloader's F1 program: see hid.h. It is built for pages of 1 KiB or of 2 KiB, and
 * erases by the address of a page; what that takes with it is the part's business (RM0008 §3.3,
 * PM0075).
 */
#include "hid.h"

#include <string.h>

#include "base/bytes.h"
#include "board/chip.h"
#include "models/flash.h"

enum {
    PACKET = 8, /* of endpoint 0 */
    START = 0x800,
    KIB = 1024,
    ERASE_US = 30 * MILLISECOND, /* data sheet: 20 to 40 ms */
    HALF_WORD_US = 53,           /* 52.5 */
    LEAVES_US = 15 * MILLISECOND,
    MAGIC_US = 350 * MILLISECOND, /* D+ held low by a long loop */
    BOOT_US = 50 * MILLISECOND,
};

/* SP within the first 128 KiB of RAM, as the loader sees it. */
static bool f1_starts(const struct hid_board *board)
{
    uint32_t sp = get_le32(board->flash.bytes + START);
    return (sp & 0x2ffe0000) == 0x20000000;
}

static void f1_begin(struct hid_board *board)
{
    board->page = (uint32_t)(START / board->page_size);
    board->offset = 0;
}

static void f1_bus_reset(struct hid_board *board)
{
    board->answering = false;
    f1_begin(board);
}

/* ---- flash ---- */

/* A half-word that is not erased takes nothing but 0 (RM0008: PGERR). */
static void program(struct hid_board *board, uint64_t at, const uint8_t *bytes)
{
    bool zero = bytes[0] == 0 && bytes[1] == 0;
    if (zero || vmemory_blank(&board->flash, at, at + 2))
        vmemory_program(&board->flash, at, bytes, 2);
}

/* Beyond the end the controller refuses; the loader does not look. */
static void write_page(struct hid_board *board)
{
    uint64_t at = (uint64_t)board->page * board->page_size;
    uint64_t sector = board->chip->regions[0].sector;
    if (!board->faults.locked && at + board->page_size <= board->flash.size) {
        vmemory_erase(&board->flash, at - at % sector, (size_t)sector);
        for (size_t i = 0; i < board->page_size; i += 2)
            program(board, at + i, board->buffer + i);
    }
    board->page = (uint8_t)(board->page + 1); /* as wide as the program's own counter */
    board->offset = 0;
    hid_work(board, ERASE_US + board->page_size / 2 * HALF_WORD_US);
}

/* ---- reports ---- */

static void answer(struct hid_board *board)
{
    hid_answer(board, board->page_size == KIB || board->serasidis ? 2 : 3);
}

static void command(struct hid_board *board)
{
    switch (hid_command(board->buffer, true)) {
    case HID_RESET_PAGES:
        f1_begin(board);
        break;
    case HID_REBOOT: /* what follows is still taken, as data */
        board->leave_at = hid_now(board) + LEAVES_US;
        break;
    default:
        break;
    }
}

static void packet(struct hid_board *board, const uint8_t bytes[PACKET])
{
    memcpy(board->buffer + board->offset, bytes, PACKET);
    board->offset += PACKET;
    if (board->offset == HID_REPORT)
        command(board);
    if (board->offset >= board->page_size)
        write_page(board); /* which answers when it is done */
    else if (board->offset == 0 || board->offset == KIB)
        answer(board);
}

/* A packet of less than 8 bytes counts as 8: whatever a host sends shifts what comes after it. */
static void f1_report(struct hid_board *board, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i += PACKET) {
        uint8_t whole[PACKET] = {0};
        memcpy(whole, bytes + i, length - i < PACKET ? length - i : PACKET);
        packet(board, whole);
    }
}

/* ---- on the bus ---- */

static const uint8_t device_descriptor[] = {18,   1,    0x10, 0x01, 0, 0, 0, 8, 0x09,
                                            0x12, 0xba, 0xbe, 0x00, 3, 1, 2, 0, 1};

static const uint8_t configuration[] = {
    9, 2,    34,   0,    1, 1, 0,    0xc0, 0x32, /* self powered */
    9, 4,    0,    0,    1, 3, 0,    0,    0,    /* HID */
    9, 0x21, 0x11, 0x01, 0, 1, 0x22, 0x20, 0, /* of version 1.11, report descriptor of 32 bytes */
    7, 5,    0x81, 3,    8, 0, 5,             /* interrupt IN, 8 bytes, every 5 ms */
};

static const uint8_t report_descriptor[] = {
    0x06, 0x00, 0xff, 0x09, 0x01, 0xa1, 0x01,                          /* vendor page, collection */
    0x09, 0x02, 0x15, 0x00, 0x25, 0xff, 0x75, 8, 0x95, 8,  0x81, 0x02, /* 8 bytes in */
    0x09, 0x03, 0x15, 0x00, 0x25, 0xff, 0x75, 8, 0x95, 64, 0x91, 0x02, /* 64 bytes out */
    0xc0,
};

static const char *const strings[] = {"www.serasidis.gr", "HID Bootloader"};
static const char *const serasidis_strings[] = {"www.serasidis.gr", "STM32F HID Bootloader"};

static const struct vusb_identity identity = {
    .device = device_descriptor,
    .configuration = configuration,
    .configuration_length = sizeof configuration,
    .strings = strings,
    .string_count = 2,
};

const struct hid_build hid_build_f1 = {
    .identity = &identity,
    .serasidis_strings = serasidis_strings,
    .report_descriptor = report_descriptor,
    .report_descriptor_length = sizeof report_descriptor,
    .start = START,
    .boot_time = BOOT_US,
    .magic_time = MAGIC_US,
    .holds_bus = true,
    .starts = f1_starts,
    .begin = f1_begin,
    .report = f1_report,
    .done = answer,
    .bus_reset = f1_bus_reset,
};
