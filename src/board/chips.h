/* The generated chip table; see scripts/gen-chips. Private to chip.c. */
#ifndef MFLASH_CHIPS_H
#define MFLASH_CHIPS_H

#include "board/chip.h"

extern const struct chip chips[];
extern const size_t chips_count;

#endif
