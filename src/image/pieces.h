/*
 * Pieces: what a parser has found so far, in the order of the file. Appending is cheap; sorting,
 * the search for overlaps and the making of segments are done once, at the end, so that records in
 * any order cost no more than n log n.
 */
#ifndef MFLASH_PIECES_H
#define MFLASH_PIECES_H

#include "image/format.h"

/* 128 MiB of bookkeeping at most: a 64 MiB image in shuffled 16-byte records. */
enum { PIECES_MAX = 4 * 1024 * 1024 };

struct piece {
    uint64_t address; /* as the file has it: AVR's other memories still at 0x810000 and up */
    size_t length;
    size_t at;    /* in the pool */
    size_t where; /* line or offset of its first record */
};

struct pieces {
    const struct input *in;
    uint8_t *pool;
    size_t used, pool_room;
    struct piece *list;
    size_t count, list_room;
    /* In a second pass nothing is collected, but the first two records that hold a byte noted. */
    bool watching;
    uint64_t watched;
    size_t seen[2], seen_count;
};

/* Adds a run found at line or offset `where`. ERR_IMAGE if the image gets too big. */
int pieces_add(struct pieces *pieces, uint64_t address, const uint8_t *data, size_t length,
               size_t where, struct error *err);

/* Sorts by address. True if a byte was given twice; *address is the first such. */
bool pieces_sort(struct pieces *pieces, uint64_t *address);

/* Turns sorted pieces into the segments of an empty image; the pieces are used up. `split_avr`:
 * avr-ld's addresses from 0x800000 up are other memories. */
int pieces_to_segments(struct pieces *pieces, bool split_avr, struct image *image,
                       struct error *err);

/* True if sorted pieces are shaped like an AVR program with EEPROM, fuse or lock sections:
 * something at 0x810000..0x84ffff, and else nothing from 512 KiB up. No AVR has that much flash,
 * and a big image for another chip that happens to cross 0x810000 has bytes on both sides. */
bool pieces_look_avr(const struct pieces *pieces);

void pieces_free(struct pieces *pieces);

#endif
