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

/* Reads what the image covers and keeps the sectors that differ. Where only a whole erase exists it
 * is all or nothing; where pages have an order, everything up to the last difference. */
int diff_find(struct engine *engine, const struct plan *plan, struct diff *diff, struct error *err);
void diff_free(struct diff *diff);

#endif
