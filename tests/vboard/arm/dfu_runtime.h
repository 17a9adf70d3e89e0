/*
 * An application with a DFU interface of its own, in run-time mode (USB DFU 1.1 §4.1, §5.1, §A.2):
 * DETACH, and then a reset of the bus within wDetachTimeOut, or the device itself, brings the board
 * into its loader. A part of dfu_board.c, which hands over everything of the bus while it runs.
 *
 * Variants, by commas: `runtime` (the application has it), `will-detach` (bitWillDetach: it leaves
 * by itself, and a reset of the bus means nothing), `same-ids` (those of the loader, as
 * Smoothieware has them), `stubborn` (it leaves, and its application is back), `lost` (it leaves,
 * and nothing comes back), `stays` (it takes DETACH for nothing).
 */
#ifndef VBOARD_DFU_RUNTIME_H
#define VBOARD_DFU_RUNTIME_H

#include "usb_model.h"

enum { DFU_RUNTIME_CONFIGURATION = 9 + 9 + 9 + 9 };

struct dfu_runtime {
    bool present; /* the board's application has it … */
    bool running; /* … and has the chip */
    bool will_detach, stubborn, lost, stays;
    uint8_t state;
    uint64_t until; /* appDETACH ends; else UINT64_MAX */
    struct vusb_identity identity;
    uint8_t device[18], configuration[DFU_RUNTIME_CONFIGURATION];
    const char *strings[3];
};

/* `loader`: what the board is in DFU mode. */
void dfu_runtime_init(struct dfu_runtime *runtime, const char *variant,
                      const struct vusb_identity *loader);

/* The chip starts what its flash holds from `program` on; returns whether that is it: what holds a
 * program is, and is never looked at any closer. */
bool dfu_runtime_start(struct dfu_runtime *runtime, const uint8_t *program);

enum vusb_answer dfu_runtime_control(struct dfu_runtime *runtime, uint64_t now,
                                     const struct vusb_setup *setup, uint8_t *data, size_t *length);

/* True: it was waiting for that, and leaves the bus. */
bool dfu_runtime_bus_reset(struct dfu_runtime *runtime, uint64_t now);

/* When the board must ask dfu_runtime_leaves(); UINT64_MAX: never. */
uint64_t dfu_runtime_next(const struct dfu_runtime *runtime);
bool dfu_runtime_leaves(struct dfu_runtime *runtime, uint64_t now);

#endif
