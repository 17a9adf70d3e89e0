/*
 * The HID bootloader's F4 program: see hid.h. Flash takes words and only clears bits (RM0090 §3); a
 * sector is erased when the write address reaches one of the borders that the program knows, and
 * which sector that is it counts by itself.
 */
#include "hid.h"

#include <string.h>

#include "board/chip.h"
#include "models/flash.h"

enum {
    KIB = 1024,
    START = 0x4000,
    FIRST_SECTOR = 1,
    BOOT_US = 200 * MILLISECOND, /* of which 100 ms are a delay before it looks at its pin */
    REBOOT_US = 100 * MILLISECOND,
    KIB_US = 5 * MILLISECOND,
};

/* It does not look: an empty flash is started like any other. */
static bool f4_starts(const struct hid_board *board)
{
    (void)board;
    return true;
}

static void f4_begin(struct hid_board *board)
{
    board->page = START / KIB;
    board->offset = 0;
    board->sector = FIRST_SECTOR;
}

/* The main loop does not hear of it; the endpoint starts anew. */
static void f4_bus_reset(struct hid_board *board)
{
    board->answering = false;
}

/* ---- flash ---- */

static struct span sector_at(const struct region *region, uint32_t n)
{
    uint64_t start = 0;
    for (size_t i = 0; i < region->run_count; i++) {
        const struct sector_run *run = &region->runs[i];
        if (n < run->count)
            return (struct span){start + (uint64_t)n * run->size, run->size};
        n -= run->count;
        start += (uint64_t)run->count * run->size;
    }
    return (struct span){0};
}

static uint64_t erase_time(uint64_t size)
{
    return size <= 16 * KIB   ? 300 * MILLISECOND
           : size <= 64 * KIB ? 800 * MILLISECOND
                              : 1500 * MILLISECOND;
}

/* Pages of 1 KiB where it erases: the four small sectors' and every 128 KiB. */
static bool is_border(uint32_t kib)
{
    return kib == 16 || kib == 32 || kib == 48 || kib == 64 || kib % 128 == 0;
}

static uint64_t erase(struct hid_board *board)
{
    struct span sector = sector_at(&board->chip->regions[0], board->sector++);
    if (sector.size == 0)
        return 0;
    if (!board->faults.locked)
        vmemory_erase(&board->flash, sector.start, (size_t)sector.size);
    return erase_time(sector.size);
}

static void write_buffer(struct hid_board *board)
{
    uint64_t at = (uint64_t)board->page * KIB, time = KIB_US;
    if (is_border(board->page))
        time += erase(board);
    if (!board->faults.locked && at + KIB <= board->flash.size)
        vmemory_program(&board->flash, at, board->buffer, KIB);
    hid_work(board, time);
}

/* ---- the main loop ---- */

static void reboot(struct hid_board *board)
{
    uint64_t at = hid_now(board);
    if (board->offset > 0) {
        write_buffer(board);
        board->offset = 0;
        at = board->busy_until > at ? board->busy_until : at;
    }
    board->leave_at = at + REBOOT_US;
}

static void take(struct hid_board *board)
{
    bool may_command = board->serasidis || board->offset == 0;
    int command = may_command ? hid_command(board->slot, false) : -1;
    board->slot_full = false;
    if (command == HID_RESET_PAGES)
        f4_begin(board);
    else if (command == HID_REBOOT)
        reboot(board);
    if (command >= 0)
        return;
    memcpy(board->buffer + board->offset, board->slot, HID_REPORT);
    board->offset += HID_REPORT;
    if (board->offset == KIB)
        write_buffer(board);
}

/* The flash is done: a whole KiB is answered, unless the last answer still waits in the endpoint.
 */
static void f4_done(struct hid_board *board)
{
    if (board->offset == KIB) {
        board->page++;
        board->offset = 0;
        if (!board->serasidis)
            memset(board->buffer, 0, sizeof board->buffer);
        if (!board->answering)
            hid_answer(board, 2);
    }
    if (board->slot_full && board->leave_at == UINT64_MAX)
        take(board);
}

/* One slot: a report that comes while the main loop is elsewhere takes the place of the one before.
 * What a short report leaves there stays; a longer one would run over the program's variables. */
static void f4_report(struct hid_board *board, const uint8_t *bytes, size_t length)
{
    memcpy(board->slot, bytes, length < HID_REPORT ? length : HID_REPORT);
    board->slot_full = true;
    if (!board->busy_until && board->leave_at == UINT64_MAX)
        take(board);
}

/* ---- on the bus ---- */

static const uint8_t device_descriptor[] = {18,   1,    0x00, 0x02, 0, 0, 0, 64, 0x09,
                                            0x12, 0xba, 0xbe, 0x00, 3, 1, 2, 3,  1};

static const uint8_t configuration[] = {
    9, 2,    41,   0, 1,  1, 0,    0xc0, 0x32, 9, 4, 0, 0, 2, 3, 0, 0, 0, /* HID */
    9, 0x21, 0x11, 1, 0,  1, 0x22, 20,   0,                               /* of version 1.11 */
    7, 5,    0x81, 3, 8,  0, 0x20, /* interrupt IN, 8 bytes, every 32 ms */
    7, 5,    0x01, 1, 64, 0, 0x20, /* declared isochronous, and used by nobody */
};

static const uint8_t report_descriptor[] = {
    0x06, 0x00, 0xff, 0x09, 0x00, 0xa1, 0x01, /* vendor page, collection */
    0x75, 8,    0x95, 64,   0x91, 0x03,       /* 64 bytes out */
    0x75, 8,    0x95, 8,    0x81, 0x03,       /* 8 bytes in */
    0xc0,
};

static const char *const strings[] = {"www.serasidis.gr", "STM32 HID bootloader", "1234567890"};

static const struct vusb_identity identity = {
    .device = device_descriptor,
    .configuration = configuration,
    .configuration_length = sizeof configuration,
    .strings = strings,
    .string_count = 3,
};

const struct hid_build hid_build_f4 = {
    .identity = &identity,
    .report_descriptor = report_descriptor,
    .report_descriptor_length = sizeof report_descriptor,
    .start = START,
    .boot_time = BOOT_US,
    .magic_time = BOOT_US,
    .starts = f4_starts,
    .begin = f4_begin,
    .report = f4_report,
    .done = f4_done,
    .bus_reset = f4_bus_reset,
};
