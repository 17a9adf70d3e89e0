/*
 * Memories of a virtual chip, kept in files: each is a raw image, mapped, so that what has been
 * programmed is in the file at whatever moment the power goes.
 */
#ifndef VBOARD_KEEP_H
#define VBOARD_KEEP_H

#include <stdbool.h>

#include "model.h"

/* `path` NULL: kept nowhere. A missing or shorter file is filled up with FF; a longer one is
 * refused. `fresh` tells whether there was nothing before. False with a line on stderr. */
bool keep_map(struct vmemory *memory, size_t size, const char *path, bool *fresh);

/* The file is written; the memory is gone. */
void keep_unmap(struct vmemory *memory);

#endif
