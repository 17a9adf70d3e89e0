/*
 * A board in DFU mode on a test's bench: on a virtual bus that takes its time, as requests written
 * down as recorders write them, and as a session of the method for whole runs.
 */
#ifndef DFU_BENCH_H
#define DFU_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "method.h"
#include "virtual_usb.h"

enum {
    DFU_FLASH_MAX = 0x200000,
    DFU_QSPI = 0x100000,
    DFU_OPTIONS = 256,
    DFU_NOTES_MAX = 2048,
    DFU_SETTINGS = 4,
    DFU_LINE_MAX = 8192, /* bytes that a trace moves in one direction */
    KIB = 1024,
};

extern const struct vmodel vmodel_dfu_st, vmodel_dfu_maple, vmodel_dfu_plain;
extern const struct method method_dfu;

struct dfu_bench {
    const struct vmodel *model;
    uint8_t flash[DFU_FLASH_MAX], qspi[DFU_QSPI], options[DFU_OPTIONS];
    struct vconfig config;
    struct vusb *device;
    struct usb *usb; /* while it is open */
    uint64_t base;   /* of the flash */

    /* of traces: what "<" takes from and ">" appends to */
    uint8_t out[DFU_LINE_MAX], in[DFU_LINE_MAX];
    size_t sent, heard;

    struct setting settings[DFU_SETTINGS];
    struct loader loader;
    struct session session;
    struct image image;
    struct error err;
    char notes[DFU_NOTES_MAX];
    size_t advanced, stop_at; /* bytes; 0 = never */
    volatile sig_atomic_t stop;
    bool connected;
    uint64_t connecting, erasing, writing, reading, whole; /* microseconds of the last run */
    unsigned messages;                                     /* of the host, in the last run */
};

/* A used chip: noise all over its flash, blank option bytes (the model fills in the factory's); in
 * its loader, and on the bus. `options` may be NULL: its variant, faults, app, and qspi.size (then
 * there is DFU_QSPI of it, full of noise). */
struct dfu_bench *dfu_bench_new(const struct vmodel *model, const char *chip,
                                const struct vconfig *options);
void dfu_bench_free(struct dfu_bench *bench);

/* Makes the board anew, with its memories as they are. */
void dfu_bench_remake(struct dfu_bench *bench);

/* Opens the device, as it is on the bus now; closes it. */
void dfu_bench_open(struct dfu_bench *bench, const struct line_faults *faults);
void dfu_bench_close(struct dfu_bench *bench);

uint64_t dfu_bench_now(const struct dfu_bench *bench);
void dfu_bench_wait(struct dfu_bench *bench, uint64_t microseconds);

/*
 * Says requests and compares the answers. One a line, as in usbmon, all numbers hexadecimal:
 *
 *     bmRequestType bRequest wValue wIndex wLength [bytes of the data stage]
 *     a1 03 0000 0000 0006 -> 00 .. .. .. 05 00      what the answer must be; ".." is any byte
 *     21 01 0002 0000 0800 <                         the next bytes of bench->out
 *     a1 02 0002 0000 0800 >                         to the end of bench->in
 *     21 04 0000 0000 0000 stall                     it must stall; "gone", "silent" likewise
 *     reset                                          of the bus; "reset gone": it leaves over it
 *     sleep 104                                      milliseconds, decimal
 *
 * A line that differs fails the test and is shown.
 */
void dfu_trace(struct dfu_bench *bench, const char *lines);

/* One GETSTATUS that must be answered with this bStatus and bState; its poll timeout, ms. */
uint32_t dfu_status_is(struct dfu_bench *bench, uint8_t code, uint8_t state);

/* ---- the method ---- */

/* Adds noise to the image, behind a vector table if it begins where the board's programs do. */
void dfu_image(struct dfu_bench *bench, uint64_t address, size_t length);
bool dfu_holds_image(const struct dfu_bench *bench);

/* A key of the board's section for the method. */
void dfu_set(struct dfu_bench *bench, const char *key, const char *value);

/* Opens and connects; ends the session and closes. */
int dfu_connects(struct dfu_bench *bench, const struct line_faults *faults);
void dfu_ends(struct dfu_bench *bench);

/* What a flash run does between: erases the image's sectors if the method does not by writing. */
int dfu_erases(struct dfu_bench *bench);
int dfu_writes(struct dfu_bench *bench);
int dfu_verifies(struct dfu_bench *bench);

/* Connect, erase, write, verify, run, end. */
int dfu_runs(struct dfu_bench *bench, const struct line_faults *faults);

void dfu_assert_ok(const struct dfu_bench *bench, int rc);
void dfu_assert_says(const struct dfu_bench *bench, const char *text);

#endif
