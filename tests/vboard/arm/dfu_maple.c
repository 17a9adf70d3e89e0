/*
 * The STM32duino loader on F103 (rogerclarkmelbourne/STM32duino-bootloader dfu.c, usb.c). A
 * GETSTATUS erases and programs the page of the DNLOAD before it, and answers when that is done;
 * one more, or a GETSTATE, loses the place. Blocks go one behind the other whatever their number.
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "dfu.h"
#include "models/flash.h"

enum {
    RAM = 0, /* alternates: refused, for programs at 08005000, at 08002000 */
    HIGH = 1,
    LOW = 2,
    HIGH_START = 0x5000,
    LOW_START = 0x2000,
    RESET_US = 20 * MILLISECOND,
    ERASE_US = 30 * MILLISECOND,
    HALF_WORD_NS = 52500, /* RM0008 and the data sheet, typically */
};

static uint32_t start_of(const struct dfu_board *board)
{
    return board->alternate == HIGH ? HIGH_START : LOW_START;
}

static bool maple_download(struct dfu_board *board)
{
    if (board->alternate == RAM) {
        board->state = DFU_ERROR;
        board->code = ERR_TARGET;
        return false;
    }
    if (board->length) {
        if (board->state == DFU_IDLE)
            board->pointer = start_of(board);
        board->state = DNLOAD_SYNC;
        return true;
    }
    if (board->state != DNLOAD_IDLE) {
        board->state = DFU_ERROR;
        board->code = ERR_NOT_DONE;
        return false;
    }
    board->state = MANIFEST_SYNC;
    return true;
}

/* Each block erases the page it starts; what follows a short one starts in the middle of a page. */
static uint64_t maple_work(struct dfu_board *board)
{
    uint32_t page = board->transfer;
    board->next_state = DNLOAD_IDLE;
    board->next_code = DFU_OK;
    if (board->pointer + board->length > board->flash.size) {
        board->next_state = DFU_ERROR;
        board->next_code = ERR_ADDRESS;
        return 0;
    }
    if (!board->faults.locked) { /* write-protected pages stay, and it does not look */
        if (board->alternate == HIGH && board->pointer == HIGH_START)
            vmemory_erase(&board->flash, LOW_START, page);
        vmemory_erase(&board->flash, board->pointer / page * page, page);
        vmemory_program(&board->flash, board->pointer, board->data, board->length);
    }
    board->pointer += (uint32_t)board->length;
    return ERASE_US + board->length / 2 * HALF_WORD_NS / 1000;
}

static bool maple_upload(struct dfu_board *board, uint16_t block, uint8_t *bytes, size_t *length)
{
    uint64_t at = start_of(board) + (uint64_t)block * *length;
    if (board->alternate == RAM)
        return false;
    size_t left = at < board->flash.size ? (size_t)(board->flash.size - at) : 0;
    *length = *length < left ? *length : left;
    memcpy(bytes, board->flash.bytes + (left ? at : 0), *length);
    return true;
}

static uint8_t maple_manifest(struct dfu_board *board)
{
    (void)board;
    return MANIFEST_WAIT_RESET;
}

/* hardware.c checkUserCode(): a stack pointer in RAM. */
static bool has_program(const struct dfu_board *board, uint32_t start)
{
    return (get_le32(board->flash.bytes + start) & 0x2ffe0000) == 0x20000000;
}

/* In dfuIDLE it is a mere reset of the bus; otherwise the chip starts anew, and with it a program
 * that is there; that at 08005000 is looked for first. */
static void maple_bus_reset(struct dfu_board *board)
{
    if (board->state == DFU_IDLE)
        return;
    board->program =
        has_program(board, HIGH_START) && !has_program(board, LOW_START) ? HIGH_START : LOW_START;
    dfu_leave(board, has_program(board, (uint32_t)board->program), RESET_US);
}

static const struct dfu_loader maple_loader = {
    .download = maple_download,
    .work = maple_work,
    .upload = maple_upload,
    .manifest = maple_manifest,
    .bus_reset = maple_bus_reset,
    .forgets = true,
    .at_once = true,
};

static struct vusb *create(const struct vconfig *config)
{
    struct dfu_board *board = dfu_board_new(config, &maple_loader);
    if (!board)
        return NULL;
    board->program = LOW_START;
    board->transfer = (uint16_t)(board->faults.wrong_id ? 512 : board->chip->regions[0].sector);
    board->alternates = 3;
    (void)snprintf(board->texts[3], DFU_TEXT,
                   "STM32duino bootloader v1.0  ERROR. Upload to RAM not supported.");
    (void)snprintf(board->texts[4], DFU_TEXT,
                   "STM32duino bootloader v1.0  Upload to Flash 0x8005000");
    (void)snprintf(board->texts[5], DFU_TEXT,
                   "STM32duino bootloader v1.0  Upload to Flash 0x8002000");
    dfu_identify(board, &(struct dfu_face){
                            .vid = 0x1eaf,
                            .pid = 0x0003,
                            .bcd = 0x0201,
                            .manufacturer = "LeafLabs",
                            .product = "Maple 003",
                            .serial = "LLM 003",
                            .protocol = 2,
                            .attributes = 0x03,
                            .detach = 255,
                            .version = 0x0110,
                            .ep0 = 64,
                        });
    dfu_board_start(board, config->app);
    return &board->usb;
}

static const char *const chips[] = {"stm32f103xe", "stm32f103xb", NULL};

const struct vmodel vmodel_dfu_maple = {
    .name = "dfu-maple",
    .method = "dfu",
    .chips = chips,
    .proof = "dfu-util",
    .create_usb = create,
};
