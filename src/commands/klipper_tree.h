/* What a Klipper source tree says of itself: its .config and out/. */
#ifndef MFLASH_KLIPPER_TREE_H
#define MFLASH_KLIPPER_TREE_H

#include <limits.h>

#include "base/error.h"

struct klipper_tree {
    char mcu[64];         /* CONFIG_MCU */
    char image[PATH_MAX]; /* out/klipper.elf.hex for AVR, else out/klipper.bin */
};

/* ERR_USAGE if it is not such a tree, ERR_IMAGE if nothing has been built in it. */
int klipper_tree_read(struct klipper_tree *tree, const char *folder, struct error *err);

#endif
