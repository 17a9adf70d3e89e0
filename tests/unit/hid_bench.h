/*
 * A board with the STM32 HID bootloader on a test's bench: on a virtual bus that takes its time, as
 * reports said and answers heard, and as a session of the method for whole runs.
 */
#ifndef HID_BENCH_H
#define HID_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "method.h"
#include "virtual_usb.h"

enum { HID_FLASH_MAX = 0x200000, HID_REPORT = 64, HID_NOTES_MAX = 2048, KIB = 1024 };

extern const struct vmodel vmodel_hid;
extern const struct method method_hid;

struct hid_bench {
    uint8_t flash[HID_FLASH_MAX];
    struct vconfig config;
    uint32_t start; /* of applications, bytes behind the flash's begin */
    struct vusb *device;
    struct usb *usb; /* while it is open */

    struct loader loader;
    struct session session;
    struct image image;
    struct error err;
    char notes[HID_NOTES_MAX];
    size_t advanced, stop_at; /* bytes; 0 = never */
    volatile sig_atomic_t stop;
    bool connected;
    uint64_t connecting, writing, whole; /* microseconds of the last run */
    unsigned messages;                   /* of the host, in the last run */
};

/* A used chip: 64 KiB of noise from the application's start on, zeros behind, the bootloader itself
 * FF; the model is in its bootloader, and on the bus. `options` may be NULL: its variant, faults
 * and `app`. */
struct hid_bench *hid_bench_new(const char *chip, const struct vconfig *options);
void hid_bench_free(struct hid_bench *bench);

/* Makes the board anew, with its flash as it is. */
void hid_bench_remake(struct hid_bench *bench);

/* Opens the device, as it is on the bus now; closes it. */
void hid_bench_open(struct hid_bench *bench, const struct line_faults *faults);
void hid_bench_close(struct hid_bench *bench);

uint64_t hid_bench_now(const struct hid_bench *bench);
void hid_bench_wait(struct hid_bench *bench, uint64_t microseconds);

/* SET_REPORT of `length` bytes, taken. */
void hid_says(struct hid_bench *bench, const uint8_t *report, size_t length);
void hid_says_command(struct hid_bench *bench, uint8_t code);
void hid_says_value(struct hid_bench *bench, uint8_t value); /* 64 bytes of it */
void hid_says_kib(struct hid_bench *bench, uint8_t value);   /* 16 times that */

/* A running Klipper: the 1200-baud touch, and the time to leave. */
void hid_touches(struct hid_bench *bench);

/* What is on the bus, opened or about to be. */
uint16_t hid_product_id(struct hid_bench *bench);

/* The next answer within 3 s has this code; none comes within that time. */
void hid_hears(struct hid_bench *bench, uint8_t code);
void hid_hears_nothing(struct hid_bench *bench, uint64_t microseconds);

/* All of [offset, offset + length) of the flash has this value. */
bool hid_flash_is(const struct hid_bench *bench, size_t offset, size_t length, uint8_t value);

/* ---- the method ---- */

/* An image of `length` bytes of noise behind a vector table with this stack pointer. */
void hid_image(struct hid_bench *bench, size_t length, uint32_t sp);
/* The same of a Klipper for the board's chip, on USB. */
void hid_klipper_image(struct hid_bench *bench);
bool hid_holds_image(const struct hid_bench *bench);

/* Opens and connects; ends the session and closes. */
int hid_connects(struct hid_bench *bench, const struct line_faults *faults);
void hid_ends(struct hid_bench *bench);

int hid_writes(struct hid_bench *bench);

/* Connect, write, run, end. */
int hid_runs(struct hid_bench *bench, const struct line_faults *faults);

void hid_assert_ok(const struct hid_bench *bench, int rc);

#endif
