/*
 * A loader of plain DFU 1.1, as the Smoothieboard's on LPC1769 (1d50:6015): blocks from 0 on are
 * programmed from 0x4000 on; the end of the image starts it by itself.
 */
#include <stdio.h>
#include <string.h>

#include "dfu.h"
#include "models/flash.h"

enum {
    START = 0x4000,
    SMALL = 4096, /* sectors of LPC17xx below 0x10000 (UM10360 §32.5), and above */
    LARGE = 32768,
    LARGE_FROM = 0x10000,
    SECTOR_US = 100 * MILLISECOND,
    PROGRAM_US = 1 * MILLISECOND, /* for each 256 bytes */
    LEAVES_US = 10 * MILLISECOND,
};

static bool plain_download(struct dfu_board *board)
{
    if (!board->length && board->state == DFU_IDLE) {
        board->state = DFU_ERROR;
        board->code = ERR_NOT_DONE;
        return false;
    }
    if (board->state == DFU_IDLE)
        board->pointer = START;
    board->state = board->length ? DNLOAD_SYNC : MANIFEST_SYNC;
    return true;
}

static uint32_t sector_at(uint32_t offset)
{
    return offset < LARGE_FROM ? SMALL : LARGE;
}

static uint64_t plain_work(struct dfu_board *board)
{
    uint64_t takes = (board->length + 255) / 256 * PROGRAM_US;
    board->next_state = DNLOAD_IDLE;
    board->next_code = DFU_OK;
    if (board->pointer + board->length > board->flash.size) {
        board->next_state = DFU_ERROR;
        board->next_code = ERR_ADDRESS;
        return 0;
    }
    for (uint32_t at = board->pointer; at < board->pointer + board->length; at++)
        if (at % sector_at(at) == 0) {
            vmemory_erase(&board->flash, at, sector_at(at));
            takes += SECTOR_US;
        }
    vmemory_program(&board->flash, board->pointer, board->data, board->length);
    board->pointer += (uint32_t)board->length;
    return takes;
}

static bool plain_upload(struct dfu_board *board, uint16_t block, uint8_t *bytes, size_t *length)
{
    uint64_t at = START + (uint64_t)block * board->transfer;
    size_t left = at < board->flash.size ? (size_t)(board->flash.size - at) : 0;
    *length = *length < left ? *length : left;
    memcpy(bytes, board->flash.bytes + (left ? at : 0), *length);
    return true;
}

static uint8_t plain_manifest(struct dfu_board *board)
{
    board->program = START;
    dfu_leave(board, true, LEAVES_US);
    return MANIFEST_WAIT_RESET;
}

static void plain_bus_reset(struct dfu_board *board)
{
    bool done = board->state == MANIFEST_WAIT_RESET;
    board->state = DFU_IDLE;
    board->code = DFU_OK;
    if (done)
        dfu_leave(board, true, LEAVES_US);
}

static const struct dfu_loader plain_loader = {
    .download = plain_download,
    .work = plain_work,
    .upload = plain_upload,
    .manifest = plain_manifest,
    .bus_reset = plain_bus_reset,
};

static struct vusb *create(const struct vconfig *config)
{
    struct dfu_board *board = dfu_board_new(config, &plain_loader);
    if (!board)
        return NULL;
    board->program = START;
    board->transfer = 512;
    board->alternates = 1;
    (void)snprintf(board->texts[3], DFU_TEXT, "Flash");
    dfu_identify(board, &(struct dfu_face){
                            .vid = 0x1d50,
                            .pid = 0x6015,
                            .bcd = 0x0100,
                            .manufacturer = "Uberclock",
                            .product = "Smoothieboard",
                            .serial = "0000000000000000",
                            .protocol = 2,
                            .attributes = 0x01 | 0x02,
                            .detach = 500,
                            .version = 0x0110,
                            .ep0 = 64,
                        });
    dfu_board_start(board, config->app);
    return &board->usb;
}

static const char *const chips[] = {"lpc1769", "lpc1768", NULL};

const struct vmodel vmodel_dfu_plain = {
    .name = "dfu-plain",
    .method = "dfu",
    .chips = chips,
    .proof = "dfu-util",
    .create_usb = create,
};
