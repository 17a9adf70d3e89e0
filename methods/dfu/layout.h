/*
 * Memory layout strings of DfuSe (ST UM0424 §10.3.2, and what devices in the field send):
 *
 *     @Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg
 *
 * A name, then blocks of an address and runs of equal sectors with their access. Devices lie: the
 * first character that does not fit ends the string, and nothing in it is trusted as a length.
 */
#ifndef MFLASH_DFU_LAYOUT_H
#define MFLASH_DFU_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board/chip.h"

enum { DFU_READABLE = 1, DFU_ERASABLE = 2, DFU_WRITABLE = 4 };

enum { DFU_RUNS_MAX = 64, DFU_NAME_MAX = 48 };

/* Equal sectors that follow each other. */
struct dfu_run {
    uint64_t start, size; /* bytes; never 0 */
    uint64_t sector;      /* bytes; the last one may be shorter */
    uint8_t access;       /* DFU_READABLE … */
};

struct dfu_layout {
    char name[DFU_NAME_MAX]; /* "Internal Flash" */
    struct dfu_run runs[DFU_RUNS_MAX];
    size_t count;
};

/* False if the text is no layout string: no "@", or no memory in it. */
bool dfu_layout_parse(const char *text, struct dfu_layout *layout);

/* The run that holds an address; NULL: none. */
const struct dfu_run *dfu_layout_at(const struct dfu_layout *layout, uint64_t address);

/* True if every byte of the span may be accessed so. */
bool dfu_layout_allows(const struct dfu_layout *layout, const struct span *span, uint8_t access);

/* The sector that holds an address, which lies in the run. */
struct span dfu_run_sector(const struct dfu_run *run, uint64_t address);

/* Bytes from the first run's start on that follow each other without a hole. */
uint64_t dfu_layout_extent(const struct dfu_layout *layout);

#endif
