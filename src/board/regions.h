/*
 * The memories of a board over one of its loaders: the chip's own, and those beside it that the
 * loader reaches as well, such as QSPI flash. The latter are `region.NAME = START SIZE SECTOR` in
 * the loader's section of a boards file, or --region on the command line.
 */
#ifndef MFLASH_REGIONS_H
#define MFLASH_REGIONS_H

#include "board/board.h"

enum { REGIONS_MAX = 16, LOADER_REGIONS_MAX = 8 };

struct regions {
    struct region list[REGIONS_MAX]; /* the chip's first: list[0] is its main flash */
    size_t count;
};

/* `loader` may be NULL. */
struct regions regions_of(const struct chip *chip, const struct loader *loader);

/* A region of flash from "START SIZE SECTOR", by blanks or commas. `name` is kept, not copied.
 * False: `why` says what is wrong with it, completing "…: ". */
bool region_parse(struct region *region, const char *name, const char *text, char *why,
                  size_t size);

/* Adds one. False, and `why`: its name is taken, or it overlaps another one, or there are too many.
 */
bool regions_add(struct regions *regions, const struct region *region, char *why, size_t size);

/* NULL if none is called that. */
const struct region *regions_named(const struct regions *regions, const char *name);

/* The first region of that memory, NULL: there is none. */
const struct region *regions_first(const struct regions *regions, enum memory memory);

/* To which region an address belongs: the one that begins nearest below it, else the lowest. So
 * every address has one, also where the size check was forced; NULL: no such memory at all. */
const struct region *regions_at(const struct regions *regions, enum memory memory,
                                uint64_t address);

/* First address above `region` that belongs to another one; UINT64_MAX: none does. */
uint64_t regions_limit(const struct regions *regions, const struct region *region);

/* The region in which the loader's programs begin. */
const struct region *regions_home(const struct regions *regions, const struct loader *loader);

/* Extent of the image's program: of what it has in that region. False: it is just data for others.
 */
bool regions_program(const struct regions *regions, const struct loader *loader,
                     const struct image *image, uint64_t *start, uint64_t *end);

/* Bytes that the image has in the region. */
size_t regions_bytes(const struct regions *regions, const struct region *region,
                     const struct image *image);

/* "flash 0x08000000..0x0801ffff, qspi 0x90000000..0x907fffff" of one memory. */
void regions_text(const struct regions *regions, enum memory memory, char *out, size_t size);

#endif
