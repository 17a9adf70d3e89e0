/*
 * The DfuSe loader in the ROM of STM32 (ST AN3156, AN2606), and a loader of the same protocol that
 * reaches external flash as well. Blocks: 0 is a command, n from 2 on is data for pointer + (n - 2)
 * * wTransferSize.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "dfu.h"
#include "models/flash.h"
#include "variant.h"

enum {
    COMMAND_ADDRESS = 0x21,
    COMMAND_ERASE = 0x41,
    COMMAND_UNPROTECT = 0x92,
    INTERNAL = 0, /* alternates */
    OPTIONS = 1,
    EXTERNAL = 1, /* of the loader for external flash */
    LEAVES_US = 1 * MILLISECOND,
    JUMPS_US = 5 * MILLISECOND, /* the answer to the last GETSTATUS still reaches the host */
    ADDRESS_US = 100,
    QSPI_SECTOR = 4096,
    QSPI_ERASE_US = 45 * MILLISECOND, /* W25Q: 45 ms typically for 4 KiB, 0.4 ms for 256 bytes */
    QSPI_CHIP_SECTOR_US = 10 * MILLISECOND, /* a sector's part in a chip erase: 40 s for 16 MiB */
    QSPI_PAGE_US = 400,
    QSPI_PAGE = 256,
};

static const uint64_t QSPI_START = 0x90000000;

static bool has_external(const struct dfu_board *board)
{
    return board->qspi.size > 1;
}

/* ---- memories ---- */

struct place {
    struct vmemory *memory; /* NULL: nothing is there */
    uint32_t offset;
    bool external, options;
};

/* Of the alternate that is chosen: an address of another one's memory is none here. */
static struct place place_of(struct dfu_board *board, uint64_t address, size_t length)
{
    const struct region *flash = &board->chip->regions[0];
    const struct stm32_part *part = board->chip->stm32;
    if (board->alternate == INTERNAL && address >= flash->start &&
        address + length <= flash->start + board->room)
        return (struct place){&board->flash, (uint32_t)(address - flash->start), false, false};
    if (has_external(board) && board->alternate == EXTERNAL && address >= QSPI_START &&
        address + length <= QSPI_START + board->qspi.size)
        return (struct place){&board->qspi, (uint32_t)(address - QSPI_START), true, false};
    if (!has_external(board) && board->alternate == OPTIONS && address >= part->option_base &&
        address + length <= part->option_base + part->option_bytes)
        return (struct place){&board->option_bytes, (uint32_t)(address - part->option_base), false,
                              true};
    return (struct place){0};
}

static void fail(struct dfu_board *board, uint8_t code)
{
    board->next_state = DFU_ERROR;
    board->next_code = code;
}

static uint32_t page_holding(const struct region *region, uint32_t offset)
{
    uint32_t n = 0;
    while (n + 1 < vstm32_page_count(region) && vstm32_page(region, n + 1).start <= offset)
        n++;
    return n;
}

/* ---- commands ---- */

static uint64_t erase_page(struct dfu_board *board, uint32_t address)
{
    const struct place place = place_of(board, address, 1);
    if (!place.memory || place.options) {
        fail(board, place.options ? ERR_ERASE : ERR_ADDRESS);
        return 0;
    }
    if (place.external) {
        vmemory_erase(place.memory, place.offset / QSPI_SECTOR * QSPI_SECTOR, QSPI_SECTOR);
        return QSPI_ERASE_US;
    }
    uint32_t page = page_holding(board->controller.region, place.offset);
    if (vstm32_page_protected(&board->options, page))
        fail(board, ERR_VENDOR);
    return vstm32_erase_page(&board->controller, page);
}

static uint64_t erase_internal(struct dfu_board *board)
{
    return vstm32_erase_pages(&board->controller, 0, vstm32_page_count(board->controller.region));
}

static uint64_t erase_all(struct dfu_board *board)
{
    if (!has_external(board) || board->alternate != EXTERNAL)
        return erase_internal(board);
    vmemory_erase(&board->qspi, 0, board->qspi.size);
    return board->qspi.size / QSPI_SECTOR * QSPI_CHIP_SECTOR_US;
}

static uint64_t unprotect(struct dfu_board *board)
{
    uint64_t takes = erase_internal(board);
    vstm32_set_level(&board->options, 0);
    board->faults.locked = false;
    dfu_leave(board, false, board->usb.bus && board->usb.bus->paced ? takes : LEAVES_US);
    return takes;
}

static bool is_open(const struct dfu_board *board)
{
    return vstm32_level(&board->options) == 0;
}

static uint64_t run_command(struct dfu_board *board)
{
    const uint8_t *d = board->data;
    if (board->length == 1 && d[0] == COMMAND_UNPROTECT)
        return unprotect(board);
    if (!is_open(board)) {
        fail(board, ERR_VENDOR);
        return 0;
    }
    if (board->length == 1 && d[0] == COMMAND_ERASE)
        return erase_all(board);
    if (board->length == 5 && d[0] == COMMAND_ERASE)
        return erase_page(board, get_le32(d + 1));
    if (board->length != 5 || d[0] != COMMAND_ADDRESS) {
        fail(board, ERR_STALLED);
        return 0;
    }
    if (!place_of(board, get_le32(d + 1), 1).memory)
        fail(board, ERR_ADDRESS);
    else
        board->pointer = get_le32(d + 1);
    return ADDRESS_US;
}

/* ---- data ---- */

static uint64_t program_external(struct dfu_board *board, uint32_t offset)
{
    vmemory_program(&board->qspi, offset, board->data, board->length);
    return (board->length + QSPI_PAGE - 1) / QSPI_PAGE * QSPI_PAGE_US;
}

/* All option bytes at once; the chip resets to take them. */
static uint64_t program_options(struct dfu_board *board, uint32_t offset)
{
    vstm32_options_write(&board->options, offset, board->data, board->length);
    dfu_leave(board, false, 50 * MILLISECOND);
    return vstm32_option_time(board->family);
}

static bool is_blank(const struct place *place, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (place->memory->bytes[place->offset + i] != 0xff)
            return false;
    return true;
}

static uint64_t program(struct dfu_board *board)
{
    uint64_t address = board->pointer + (uint64_t)(board->block - 2u) * board->transfer;
    const struct place place = place_of(board, address, board->length);
    if (!is_open(board))
        fail(board, ERR_VENDOR);
    else if (!place.memory)
        fail(board, ERR_ADDRESS);
    else if (board->looks && !is_blank(&place, board->length))
        fail(board, ERR_PROG);
    else if (place.options)
        return program_options(board, place.offset);
    else if (place.external)
        return program_external(board, place.offset);
    else
        return vstm32_program(&board->controller, place.offset, board->data, board->length);
    return 0;
}

static uint64_t st_work(struct dfu_board *board)
{
    board->next_state = DNLOAD_IDLE;
    board->next_code = DFU_OK;
    return board->block == 0 ? run_command(board) : program(board);
}

/* Block 1 has no meaning. */
static bool refuse_block(struct dfu_board *board)
{
    board->state = DFU_ERROR;
    board->code = ERR_STALLED;
    return false;
}

static bool st_download(struct dfu_board *board)
{
    if (board->length && board->block == 1)
        return refuse_block(board);
    board->state = board->length ? DNLOAD_SYNC : MANIFEST_SYNC;
    return true;
}

static bool st_upload(struct dfu_board *board, uint16_t block, uint8_t *bytes, size_t *length)
{
    static const uint8_t commands[] = {0x00, COMMAND_ADDRESS, COMMAND_ERASE, COMMAND_UNPROTECT};
    if (block == 0) {
        *length = *length < sizeof commands ? *length : sizeof commands;
        memcpy(bytes, commands, *length);
        return true;
    }
    if (block == 1)
        return refuse_block(board);
    uint64_t address = board->pointer + (uint64_t)(block - 2u) * board->transfer;
    const struct place place = place_of(board, address, 1);
    if (!place.memory || !is_open(board)) {
        board->state = DFU_ERROR;
        board->code = is_open(board) ? ERR_ADDRESS : ERR_VENDOR;
        return false;
    }
    size_t end = place.options    ? board->chip->stm32->option_bytes
                 : place.external ? place.memory->size
                                  : board->room;
    size_t left = end - place.offset;
    *length = *length < left ? *length : left;
    memcpy(bytes, place.memory->bytes + place.offset, *length);
    return true;
}

/* The program at the pointer; what is there is not looked at. */
static uint8_t st_manifest(struct dfu_board *board)
{
    const struct region *flash = &board->chip->regions[0];
    bool inside = board->pointer >= flash->start && board->pointer < flash->start + flash->size;
    board->program = inside ? board->pointer - flash->start : 0;
    dfu_leave(board, true, JUMPS_US);
    return MANIFEST;
}

/* It boots again from where it booted: its loader. */
static void st_bus_reset(struct dfu_board *board)
{
    board->state = DFU_IDLE;
    board->code = DFU_OK;
    board->pointer = (uint32_t)board->chip->regions[0].start;
    board->busy_until = 0;
}

static const struct dfu_loader st_loader = {
    .download = st_download,
    .work = st_work,
    .upload = st_upload,
    .manifest = st_manifest,
    .bus_reset = st_bus_reset,
};

/* ---- what each family says ---- */

static const struct family {
    const char *name;
    uint16_t transfer;
    enum dfu_manners manners;
    uint32_t poll_erase, poll_write; /* 0: the truth */
    const char *format;              /* of "COUNT*SIZEKg" */
    const char *options;             /* behind the address */
} families[] = {
    {"F0", 2048, MANNERS_STALL, 0, 0, "%03u*%04uKg", "01*016 e"},
    {"F4", 2048, MANNERS_NAK, 100, 104, "%02u*%03uKg", "01*016 e"},
    {"G0", 1024, MANNERS_STALL, 0, 0, "%u*%02uKg", "01*128 e"},
    {"H7", 1024, MANNERS_NAK, 100, 104, "%u*%uKg", NULL},
};

static const struct family *family_of(const struct chip *chip)
{
    for (size_t i = 0; chip && chip->stm32 && i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].name, chip->stm32->family) == 0)
            return &families[i];
    return NULL;
}

static void name_flash(struct dfu_board *board, const struct family *family, char text[DFU_TEXT])
{
    const struct region *flash = &board->chip->regions[0];
    const struct sector_run whole = {(uint32_t)(flash->size / flash->sector), flash->sector};
    const struct sector_run *runs = flash->runs ? flash->runs : &whole;
    size_t count = flash->runs ? flash->run_count : 1;
    int used = snprintf(text, DFU_TEXT, "@Internal Flash  /0x%08X/", (unsigned)flash->start);
    for (size_t i = 0; i < count && used < DFU_TEXT; i++) {
        uint32_t size = board->faults.wrong_id ? runs[i].size / 2 : runs[i].size;
        used += snprintf(text + used, (size_t)(DFU_TEXT - used), i ? "," : "");
        if (used < DFU_TEXT)
            used += snprintf(text + used, (size_t)(DFU_TEXT - used), family->format,
                             (unsigned)runs[i].count, (unsigned)(size / 1024));
    }
}

/* As F427's ROM has it: a descriptor that ends before its bLength says. */
static void shorten(char text[DFU_TEXT])
{
    enum { RAW = 0x01, DT_STRING = 3, HEAD = 4, LIE = 255 };
    char ascii[DFU_TEXT];
    size_t length = strlen(text), room = (DFU_TEXT - HEAD) / 2;
    memcpy(ascii, text, length + 1);
    length = length < room ? length : room;
    text[0] = RAW;
    text[1] = (char)(2 + 2 * length);
    text[2] = (char)LIE;
    text[3] = DT_STRING;
    for (size_t i = 0; i < length; i++) {
        text[HEAD + 2 * i] = ascii[i];
        text[HEAD + 2 * i + 1] = '\0';
    }
}

static void name_memories(struct dfu_board *board, const struct family *family, const char *variant)
{
    char *flash = board->texts[3], *second = board->texts[4];
    name_flash(board, family, flash);
    if (variant_has(variant, "gd32"))
        dfu_gd32_name(board, flash);
    board->alternates = 1;
    if (variant_has(variant, "garbage"))
        (void)snprintf(flash + strlen(flash), DFU_TEXT - strlen(flash), "\x7f?,9/0xzz");
    if (variant_has(variant, "short-string"))
        shorten(flash);
    if (has_external(board)) {
        (void)snprintf(second, DFU_TEXT, "@External Flash /0x90000000/%u*4Kg",
                       (unsigned)(board->qspi.size / QSPI_SECTOR));
        board->alternates = 2;
    } else if (family->options && board->chip->stm32->option_base) {
        (void)snprintf(second, DFU_TEXT, "@Option Bytes  /0x%08X/%s",
                       (unsigned)board->chip->stm32->option_base, family->options);
        board->alternates = 2;
    }
}

/* AN2606: of the chip's 96-bit id, with 8-bit sums. */
static void loader_serial(const struct dfu_board *board, char text[CDC_TEXT_MAX])
{
    char whole[CDC_TEXT_MAX];
    unsigned id[12] = {0};
    cdc_chip_serial(whole, board->chip, board->node);
    for (size_t i = 0; i < 12; i++)
        (void)sscanf(whole + 2 * i, "%2x", &id[i]);
    (void)snprintf(text, CDC_TEXT_MAX, "%02X%02X%02X%02X%02X%02X", id[11], (id[10] + id[2]) & 0xff,
                   id[9], (id[8] + id[0]) & 0xff, id[7], id[6]);
}

static void describe(struct dfu_board *board, const char *variant)
{
    const struct family *family = family_of(board->chip);
    char serial[CDC_TEXT_MAX], raw[DFU_TEXT];
    bool gd32 = variant_has(variant, "gd32");
    uint32_t size = (uint32_t)board->chip->regions[0].size;
    board->room = variant_has(variant, "half") ? size / 2 : size;
    board->transfer = family->transfer;
    if (board->manners == MANNERS_NAK)
        board->manners = family->manners;
    if (board->manners != MANNERS_STRICT) { /* that tells the truth: it wants to be believed */
        board->poll_erase = family->poll_erase;
        board->poll_write = family->poll_write;
    }
    board->silent_leave = gd32 || variant_has(variant, "silent");
    loader_serial(board, serial);
    name_memories(board, family, variant);
    struct dfu_face face = {
        .vid = 0x0483,
        .pid = 0xdf11,
        .bcd = 0x2200,
        .manufacturer = "STMicroelectronics",
        .product = "STM32  BOOTLOADER",
        .serial = serial,
        .protocol = 2,
        .attributes = 0x0b,
        .detach = 255,
        .version = 0x011a,
        .ep0 = 64,
    };
    if (gd32)
        dfu_gd32_face(board, &face, raw);
    dfu_clone_face(variant, &face);
    dfu_identify(board, &face);
}

static struct vusb *create(const struct vconfig *config)
{
    if (!family_of(config->chip) || !vstm32_family_of(config->chip)) {
        fprintf(stderr, "dfu-st: not for this chip\n");
        return NULL;
    }
    struct dfu_board *board = dfu_board_new(config, &st_loader);
    if (!board)
        return NULL;
    const struct region *flash = &board->chip->regions[0];
    board->family = vstm32_family_of(board->chip);
    board->options = (struct vstm32_options){
        .bytes = &board->option_bytes,
        .family = board->family,
        .pages = vstm32_page_count(flash),
        .pages_per_sector = vstm32_part_of(board->chip)->pages_per_sector,
    };
    board->controller = (struct vstm32_flash){&board->flash, flash, board->family, &board->options};
    vstm32_options_init(&board->options);
    if (config->faults.locked)
        vstm32_set_level(&board->options, 1);
    describe(board, config->variant);
    dfu_board_start(board, config->app);
    return &board->usb;
}

static const char *const chips[] = {
    "stm32f042x6", "stm32f070xb", "stm32f072xb", "stm32f401xc", "stm32f401xe",
    "stm32f405xx", "stm32f407xx", "stm32f411xe", "stm32f429xx", "stm32f446xx",
    "stm32g0b1xx", "stm32h723xx", "stm32h743xx", "stm32h750xx", NULL,
};

const struct vmodel vmodel_dfu_st = {
    .name = "dfu-st",
    .method = "dfu",
    .chips = chips,
    .options = VSTM32_OPTIONS,
    .proof = "dfu-util",
    .create_usb = create,
};
