/*
 * A board with the STM32 HID bootloader (Serasidis/STM32_HID_Bootloader 2.2.2 and the Arksine fork
 * v0.5 to v0.7: bootloader/F1/Src/hid.c, flash.c, main.c; bootloader/F4/Src/main.c).
 *
 * There are two programs under one name. On F1 everything happens in the USB interrupt: reports
 * come in as packets of 8 bytes, and while a page is written the bus waits. On F4 the main loop
 * works from one receive slot that the interrupt overwrites. Neither ever reports an error.
 */
#ifndef VBOARD_HID_H
#define VBOARD_HID_H

#include "base/clock.h"
#include "usb_klipper.h"
#include "usb_model.h"

enum {
    HID_REPORT = 64,
    HID_ANSWER = 8,
    HID_PREFIX = 7,
    HID_PAGE_MAX = 2048,
    HID_RESET_PAGES = 0,
    HID_REBOOT = 1,
};

extern const uint8_t hid_prefix[HID_PREFIX]; /* "BTLDCMD" */

struct hid_board;

/* One of the two programs. */
struct hid_build {
    const struct vusb_identity *identity;
    const char *const *serasidis_strings; /* where they are others; else NULL */
    const uint8_t *report_descriptor;
    size_t report_descriptor_length;
    uint32_t start;      /* of the application, bytes behind the flash's begin */
    uint64_t boot_time;  /* from a reset until it is on the bus */
    uint64_t magic_time; /* the same where the application asked for it */
    bool holds_bus;      /* requests wait while flash works */
    /* Does it start the application? */
    bool (*starts)(const struct hid_board *board);
    /* As after a reset, or (F1) a bus reset. */
    void (*begin)(struct hid_board *board);
    /* The data stage of a SET_REPORT. */
    void (*report)(struct hid_board *board, const uint8_t *bytes, size_t length);
    /* The flash is done. */
    void (*done)(struct hid_board *board);
    void (*bus_reset)(struct hid_board *board);
};

struct hid_board {
    struct vusb usb; /* first */
    const struct hid_build *build;
    const struct chip *chip;
    struct vmemory flash;
    struct vfaults faults;
    struct vusb_identity identity; /* the loader's */
    uint8_t device[18];            /* its device descriptor */

    bool boot1;     /* the pin is held: every reset stays in the loader */
    bool serasidis; /* not the Arksine fork: F1 says 02 whatever its pages, and has another
                       product string; F4 takes a command wherever it comes */
    bool loader;    /* else the application has the chip */
    struct vusb_klipper klipper; /* that application, if klipper.app.running */
    unsigned node;

    uint8_t buffer[HID_PAGE_MAX];
    size_t page_size;         /* bytes the build collects before it writes */
    size_t offset;            /* of the next byte in the buffer */
    uint32_t page;            /* where the buffer goes, in pages from the flash's begin */
    uint32_t sector;          /* F4: the next one to erase; it knows no addresses */
    uint8_t slot[HID_REPORT]; /* F4 */
    bool slot_full;

    uint64_t busy_until; /* the flash works; 0 = it does not */
    uint64_t leave_at;   /* it was told to reboot; else UINT64_MAX */
    bool answering;      /* an input report waits in the endpoint */
    uint8_t answer[HID_ANSWER];
};

extern const struct hid_build hid_build_f1, hid_build_f4;

uint64_t hid_now(const struct hid_board *board);

/* Begins `microseconds` of flash work; ends it at once if the bus is not paced. */
void hid_work(struct hid_board *board, uint64_t microseconds);

/* The code of a command in 64 bytes, or -1; `whole`: the rest must be zero. */
int hid_command(const uint8_t *report, bool whole);

/* Puts "BTLDCMD" and a code into the endpoint. */
void hid_answer(struct hid_board *board, uint8_t code);

#endif
