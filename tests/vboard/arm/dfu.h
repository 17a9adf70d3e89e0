/*
 * A board in DFU mode (USB DFU 1.1 §A: the device's state machine; ST AN3156 for DfuSe;
 * STM32duino-bootloader dfu.c): what the loaders have in common, and the board around them. What a
 * DNLOAD means and how its work is done is the loader's: dfu_st.c, dfu_maple.c, dfu_plain.c.
 */
#ifndef VBOARD_DFU_H
#define VBOARD_DFU_H

#include "base/clock.h"
#include "dfu_runtime.h"
#include "stm32_flash.h"
#include "usb_klipper.h"
#include "usb_model.h"

enum {
    DFU_TRANSFER_MOST = 4096,
    DFU_ALTERNATES = 4,
    DFU_TEXT = 256,
    DFU_CONFIGURATION = 9 + 9 * DFU_ALTERNATES + 9,

    DFU_DETACH = 0,
    DFU_DNLOAD,
    DFU_UPLOAD,
    DFU_GETSTATUS,
    DFU_CLRSTATUS,
    DFU_GETSTATE,
    DFU_ABORT,

    APP_IDLE = 0,
    DFU_IDLE = 2,
    DNLOAD_SYNC,
    DNBUSY,
    DNLOAD_IDLE,
    MANIFEST_SYNC,
    MANIFEST,
    MANIFEST_WAIT_RESET,
    UPLOAD_IDLE,
    DFU_ERROR,

    DFU_OK = 0x00,
    ERR_TARGET = 0x01,
    ERR_WRITE = 0x03,
    ERR_ERASE = 0x04,
    ERR_PROG = 0x06,
    ERR_ADDRESS = 0x08,
    ERR_NOT_DONE = 0x09,
    ERR_VENDOR = 0x0b,
    ERR_UNKNOWN = 0x0e,
    ERR_STALLED = 0x0f,
};

/* What a GETSTATUS meets that comes before the work is done. */
enum dfu_manners { MANNERS_NAK, MANNERS_STALL, MANNERS_STRICT };

struct dfu_board;

/* What a loader does with requests that are allowed in its state. */
struct dfu_loader {
    /* DNLOAD: board->data, length and block are set. False: stall. */
    bool (*download)(struct dfu_board *board);
    /* GETSTATUS after a DNLOAD: does the work, says how long it takes (microseconds) and leaves
     * where it ends: board->next_state, next_code. */
    uint64_t (*work)(struct dfu_board *board);
    /* UPLOAD: fills at most *length. False: stall. */
    bool (*upload)(struct dfu_board *board, uint16_t block, uint8_t *bytes, size_t *length);
    /* GETSTATUS after the end of the image: the state that is told. */
    uint8_t (*manifest)(struct dfu_board *board);
    /* The host reset the bus. */
    void (*bus_reset)(struct dfu_board *board);
    bool forgets; /* stm32duino: GETSTATUS or GETSTATE in dfuDNLOAD-IDLE leads to dfuIDLE */
    bool at_once; /* stm32duino: GETSTATUS answers when the work is done */
};

struct dfu_board {
    struct vusb usb; /* first */
    const struct dfu_loader *loader_kind;
    const struct chip *chip;
    struct vmemory flash, qspi, option_bytes;
    struct vfaults faults;
    const struct vstm32_family *family; /* NULL: no STM32 */
    struct vstm32_options options;
    struct vstm32_flash controller;
    uint32_t room; /* DfuSe: bytes of internal flash; a small part has less than the chip's row */
    unsigned node;
    bool boot_pin; /* every reset stays in the loader */
    bool loader;   /* else the application has the chip */
    struct vusb_klipper klipper;
    struct dfu_runtime runtime;
    const char *variant;

    /* what it says it is */
    struct vusb_identity identity;
    uint8_t device[18], configuration[DFU_CONFIGURATION];
    char texts[3 + DFU_ALTERNATES][DFU_TEXT];
    const char *strings[3 + DFU_ALTERNATES];
    size_t alternates;
    uint16_t transfer;
    enum dfu_manners manners;
    bool silent_leave;               /* it is gone before it answers */
    uint32_t poll_erase, poll_write; /* milliseconds, told whatever it takes; 0: the truth */
    bool poll_zero, poll_huge;
    bool looks; /* it looks before it programs, and fails where anything is not erased */

    /* the state machine */
    uint8_t state, code, alternate;
    uint8_t next_state, next_code;
    uint64_t busy_until; /* of DNBUSY */
    uint8_t data[DFU_TRANSFER_MOST];
    size_t length;
    uint16_t block;
    uint32_t pointer;  /* DfuSe: of addresses; else bytes written so far */
    unsigned requests; /* DNLOADs so far, for --fault nak */
    uint64_t leave_at; /* it leaves the bus; else UINT64_MAX */
    bool to_application;
    uint64_t program; /* where the application begins, offset in the flash */
};

uint64_t dfu_now(const struct dfu_board *board);

/* Common part of making one: memories, faults, variants. NULL: it cannot be made. */
struct dfu_board *dfu_board_new(const struct vconfig *config, const struct dfu_loader *kind);

/* What it says on the bus; `names` of alternates, their number in board->alternates. bcd: release.
 */
struct dfu_face {
    uint16_t vid, pid, bcd;
    const char *manufacturer, *product, *serial;
    uint8_t protocol; /* 2: DFU mode */
    uint8_t attributes;
    uint16_t detach, version;
    uint8_t ep0;
};
void dfu_identify(struct dfu_board *board, const struct dfu_face *face);

/* GD32's loader: its name of the flash, where it is another one than ST's would be; its ids, and
 * its serial number in `serial`. */
void dfu_gd32_name(const struct dfu_board *board, char text[DFU_TEXT]);
void dfu_gd32_face(const struct dfu_board *board, struct dfu_face *face, char serial[DFU_TEXT]);

/* Variants `at32` and `apm32`: their ids. */
void dfu_clone_face(const char *variant, struct dfu_face *face);

/* In the loader or in the application, as the configuration says; the last step of making one. */
void dfu_board_start(struct dfu_board *board, bool application);

/* Leaves the bus in `microseconds`, for the application or for the loader anew. */
void dfu_leave(struct dfu_board *board, bool application, uint64_t microseconds);

#endif
