/*
 * The conversation with an STM32 HID bootloader (Serasidis/STM32_HID_Bootloader 2.2.2,
 * bootloader/F1/Src/hid.c and bootloader/F4/Src/main.c; the Arksine fork).
 *
 * Two things to know. There are three builds, told apart by what they answer to "reset pages"; but
 * Serasidis's answers 02 for pages of 2 KiB as well, and then only writing tells. And the loader
 * knows a command from data by its place alone: one that is sent while a page
 * is half full becomes a part of the program. A bus reset empties the page on F1; nothing does on
 * F4, but sixteen commands fill whatever it holds.
 */
#ifndef MFLASH_HID_LOADER_H
#define MFLASH_HID_LOADER_H

#include "method.h"

enum {
    HID_REPORT = 64, /* bytes, host to device */
    HID_ANSWER = 8,  /* device to host */
    HID_KIB = 1024,  /* what one answer is about */
    HID_WINDOW = 4,  /* reports under way: the bus goes from one to the next by itself */
    HID_GREET_US = 100 * MILLISECOND, /* an F1 answers "reset pages" in 16 ms */
    HID_F1_US = SECOND,               /* a report; 2 KiB are written in 95 ms */
    HID_F4_US = 3 * SECOND,           /* 128 KiB are erased in 2.5 s */
    HID_F4_KIB_US = 15 * MILLISECOND, /* programming a KiB without an erase, 5 ms, and some */
    HID_ACK_US = SECOND / 2,          /* F1; F4: HID_F4_US */
    HID_LEAVES_US = SECOND / 2,
};

enum hid_command { HID_RESET_PAGES = 0, HID_REBOOT = 1 };

enum hid_build { HID_F1_1K, HID_F1_2K, HID_F4 };

struct hid_loader {
    struct session *session;
    struct usb *usb;
    uint8_t interface, endpoint; /* of the answers */
    uint64_t interval;           /* between two looks at it, microseconds */
    bool claimed;

    enum hid_build build;
    bool doubtful;      /* it may be the other F1 build */
    uint8_t code;       /* of its answers */
    uint32_t unit;      /* bytes that are written at once: less is never written */
    bool broken, wrote; /* a program: not complete, so not to be started; complete */

    struct usb_transfer answer;       /* always asked for while reports are sent */
    uint8_t answer_bytes[HID_ANSWER]; /* no more: a whole packet does not end a transfer */
    bool listening;
    struct usb_transfer reports[HID_WINDOW]; /* a ring, the oldest at `oldest` */
    uint8_t report_bytes[HID_WINDOW][HID_REPORT];
    size_t oldest, under_way;
};

/* True for both builds whose pages are lost by a bus reset, and who answer "reset pages". */
bool hid_is_f1(const struct hid_loader *hid);

/* Finds the interface, makes it ours, empties the answers, and learns which build it is.
 * ERR_PROTOCOL: it is another device, or a release before 3.0. */
int hid_open(struct hid_loader *hid, struct error *err);
void hid_close(struct hid_loader *hid);

/* Sends one report of HID_REPORT bytes; up to HID_WINDOW are under way when it returns. An error
 * may be an earlier one's: then hid_recover() or hid_close() is next. */
int hid_send(struct hid_loader *hid, const uint8_t *report, struct error *err);

/* Waits until the device has taken all that was sent. */
int hid_flush(struct hid_loader *hid, struct error *err);

/* Sends a command, and waits until it was taken. */
int hid_say(struct hid_loader *hid, enum hid_command command, struct error *err);

/* The next answer's code. ERR_NO_ANSWER: none before the deadline, and it is still asked for. */
int hid_hear(struct hid_loader *hid, uint8_t *code, uint64_t deadline, struct error *err);

/* Brings a device that may be anywhere in a page back to the first page. */
int hid_recover(struct hid_loader *hid, struct error *err);

/* Waits until the device has left the bus. False: it is still there at the deadline. */
bool hid_await_leaving(struct hid_loader *hid, uint64_t deadline);

/* ---- hid_build.c ---- */

const char *hid_build_name(enum hid_build build);

/* Is it the build for the board's chip? ERR_REFUSED "signature", unless forced. A doubtful one is
 * taken for it. */
int hid_check_build(struct hid_loader *hid, struct error *err);

/* With half a page of 2 KiB sent, or a whole one of 1 KiB, so that only the latter answers "reset
 * pages": ERR_REFUSED "signature" if it is not the build it was taken for. No doubt is left. */
int hid_prove_build(struct hid_loader *hid, struct error *err);

/* ---- hid_upload.c ---- */

/* The method's write. */
int hid_write(struct session *session, const struct job *job, struct error *err);

#endif
