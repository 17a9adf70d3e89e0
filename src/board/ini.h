/*
 * An INI file as iniparser's dictionaries, in the file's order. iniparser looks through a whole
 * dictionary for each key it adds to it, so a database of thousands of keys is handed to it in
 * pieces of a few sections each. Private to the board room.
 */
#ifndef MFLASH_INI_H
#define MFLASH_INI_H

#include <stddef.h>

#include "base/error.h"

struct ini {
    void **dictionaries; /* struct _dictionary_ of iniparser: they own the strings */
    size_t count;
};

/* Keys and section names come lower-cased; lines end at 1024 characters. ERR_BOARDS_FILE with file
 * and line: it cannot be read, one line is broken, or a section is given twice. */
int ini_read(struct ini *ini, const char *file, struct error *err);
void ini_free(struct ini *ini);

#endif
