/* Skip what is there: which sectors of a plan's image differ from the chip. Private to the engine.
 */
#ifndef MFLASH_DIFF_H
#define MFLASH_DIFF_H

#include "engine.h"

struct diff {
    bool active; /* `different` is what is to be written */
    bool erased; /* the erase step has been done */
    struct image different;
    size_t skipped; /* bytes of the image that are there already */
};

/* Is this plan's image to be compared with the chip first? With --diff auto, where the method can
 * tell for less than a quarter of what erasing and writing cost. */
bool diff_wanted(struct session *session, const struct plan *plan);

/* Keeps the sectors that differ, by the chip's own checksums, else by reading. Where the whole chip
 * is erased it is all or nothing; where pages have an order, everything up to the last difference;
 * else the sector with the vectors goes with every change. */
int diff_find(struct session *session, const struct plan *plan, struct diff *diff,
              struct error *err);
void diff_free(struct diff *diff);

#endif
