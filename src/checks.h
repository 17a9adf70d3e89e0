/* The safety checks of an image against a board, one function each. Private to the plan room. */
#ifndef MFLASH_CHECKS_H
#define MFLASH_CHECKS_H

#include "plan.h"

/* What the checks look at. */
struct check_input {
    const struct board *board;
    const struct loader *loader;
    const struct method *method;
    const struct region *flash; /* the chip's main one */
    struct regions regions;
    const struct image *image;
    const struct plan_options *options;
};

/* Runs them all, in the order in which a user would want to hear of them. */
int checks_run(const struct check_input *in, struct error *err);

/* A check said no: ERR_REFUSED as in err, or OK after a warning if the user forced it. */
int check_refused(const struct plan_options *options, enum check check, struct error *err);

/* Where a raw image belongs: its link address if that can be read, else the loader's start.
 * ERR_REFUSED "start" if the two disagree. */
int check_raw_start(const struct check_input *in, uint64_t *start, struct error *err);

#endif
