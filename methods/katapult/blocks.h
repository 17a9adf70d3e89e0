/*
 * In which order blocks go to a Katapult node. It has no erase command: the first block of a page
 * erases that page, whatever else it holds. So whole sectors are written, each from its first block
 * on, and a sector that has been left is never begun again half-way.
 */
#ifndef MFLASH_KATAPULT_BLOCKS_H
#define MFLASH_KATAPULT_BLOCKS_H

#include "katapult/node.h"

struct katapult_block {
    uint32_t address;
    uint32_t payload; /* progress when it is acknowledged, bytes */
    uint32_t unit;    /* first address of what may be erased together with it */
    bool may_erase;   /* it may be the first of a page */
    bool blank;       /* holds nothing but the erased value, whatever the image has there */
};

struct katapult_blocks {
    struct katapult_block *list;
    size_t count, room;
};

/*
 * All blocks of a job. Where the image begins at the application's start and is longer than what is
 * erased at once, the application's first page is emptied first and written last, so that a board
 * with half a program stays in its bootloader. ERR_REFUSED "loader-overlap": below the start.
 */
int katapult_blocks_of_job(struct katapult_blocks *blocks, const struct katapult_node *node,
                           const struct job *job, struct error *err);

/* Blocks that erase these ranges of whole sectors, and nothing else. */
int katapult_blocks_to_erase(struct katapult_blocks *blocks, const struct katapult_node *node,
                             const struct span *ranges, size_t count, struct error *err);

/* Where to go on after `n` may or may not have been written: the first block of its unit. */
size_t katapult_blocks_rewind(const struct katapult_blocks *blocks, size_t n);

void katapult_blocks_free(struct katapult_blocks *blocks);

#endif
