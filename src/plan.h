/*
 * The plan: image × board → an ordered list of steps, every safety check done, nothing touched.
 * `--dry-run` prints it, the engine executes it, `--json` streams it.
 */
#ifndef MFLASH_PLAN_H
#define MFLASH_PLAN_H

#include <stdbool.h>

#include "base/error.h"
#include "board/regions.h"
#include "image/image.h"
#include "method.h"

/* The safety checks that `--force NAME` overrides, one bit each. */
enum check {
    CHECK_MACHINE,
    CHECK_START,
    CHECK_SIZE,
    CHECK_BLANK,
    CHECK_VECTORS,
    CHECK_LOADER_OVERLAP,
    CHECK_KLIPPER_MCU,
    CHECK_CAN_BITRATE,
    CHECK_SIGNATURE,
    CHECK_FUSES,
    CHECK_UNPROVEN_CHIP,
    CHECK_COUNT,
};

const char *check_name(enum check check);
bool check_find(const char *name, enum check *check);

enum erase_choice { ERASE_NEEDED, ERASE_IMAGE, ERASE_CHIP, ERASE_NONE };
enum diff_choice { DIFF_AUTO, DIFF_YES, DIFF_NO };

enum step_kind {
    STEP_ENTER, /* bring the board into its bootloader, connect, identify */
    STEP_ERASE, /* ranges, or the whole chip */
    STEP_WRITE,
    STEP_VERIFY,
    STEP_FUSE,    /* name = value */
    STEP_RESTART, /* so that new fuses count */
    STEP_RUN,
    STEP_PROVE, /* the started application is asked what it is */
    STEP_READ,  /* only as a phase: a back-up, or a comparison before writing */
};

const char *step_name(enum step_kind kind); /* "enter", "erase" … as in the JSON phases */

struct step {
    enum step_kind kind;
    enum memory memory;  /* erase, write, verify */
    bool whole_chip;     /* erase */
    struct span *ranges; /* erase: sectors; owned */
    size_t range_count;
    char fuse[16]; /* fuse */
    uint32_t value;
};

struct plan {
    const struct board *board;
    const struct loader *loader;
    const struct method *method;
    const struct chip *chip;
    struct regions regions; /* geometry in force: the chip's, and those of the loader */
    struct image *image;    /* placed and checked; not owned; NULL for erase, run … */
    enum diff_choice diff;
    bool unverifiable; /* verify was asked for but the protocol has no read */
    struct step *steps;
    size_t count;
};

struct plan_options {
    unsigned forced; /* 1 << enum check */
    enum erase_choice erase;
    enum diff_choice diff;
    bool no_verify, no_run;
    bool bus; /* its CAN bus is known: a bridge can be asked there what it runs */
    void (*warn)(void *user, const char *text); /* a check that was overridden, or a mild finding */
    void *user;
};

/* Places a raw image, runs all checks of image against board and method, and lists the steps. */
int plan_flash(struct plan *plan, const struct board *board, const struct loader *loader,
               const struct method *method, struct image *image, const struct plan_options *options,
               struct error *err);

/* The checks alone: the verdicts of `mflash check`. */
int plan_check_image(const struct board *board, const struct loader *loader,
                     const struct method *method, struct image *image,
                     const struct plan_options *options, struct error *err);

/* Installing a bootloader: the recipe `recipe.NAME` of the loader, word by word. */
int plan_recipe(struct plan *plan, const struct board *board, const struct loader *loader,
                const struct method *method, const char *recipe, struct image *image,
                const struct plan_options *options, struct error *err);

/* Sectors of one memory, in all its regions, that hold a byte of the image, joined where they
 * touch; `whole_extent`: also those between the first and the last of each region. *ranges is owned
 * by the caller, also after ERR_MEMORY. */
int plan_sectors(const struct image *image, const struct regions *regions, enum memory memory,
                 bool whole_extent, struct span **ranges, size_t *count);

/* Refuses a fuse value that would lock the user out: check `fuses`. */
int plan_check_fuse(const struct method *method, const struct chip *chip, const char *name,
                    uint32_t value, const struct plan_options *options, struct error *err);

/* The bus that an image will live on: a CAN build at another bit rate is not heard of again: check
 * `can-bitrate`. For a bus or an image that tells no rate, and for images that are no CAN node's,
 * OK; so it is for a bridge's, with a warning, because the bridge makes the rate. To be asked as
 * soon as the interface is known, before anything is sent. */
int plan_check_can_bitrate(const struct image *image, const struct can_status *bus,
                           const struct plan_options *options, struct error *err);

void plan_free(struct plan *plan);

/* Can the application be asked from here? A Klipper whose transport is the line that flashes it:
 * its UART, the USB place that the bootloader has, its CAN bus; `bus`: a bridge whose bus is known.
 */
bool plan_provable(const struct board *board, const struct loader *loader,
                   const struct method *method, const struct image *image, bool bus);

#endif
