/*
 * An INI file as iniparser's dictionaries, in the file's order. iniparser looks through a whole
 * dictionary for each key it adds to it, so a database of thousands of keys is handed to it in
 * pieces of a few sections each. Private to the board room.
 */
#ifndef MFLASH_INI_H
#define MFLASH_INI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct ini_piece {
    const char *text; /* within ini.text */
    size_t length;
    unsigned lines_before;
    void
        *dictionary; /* struct _dictionary_ of iniparser, it owns the strings; NULL: not read yet */
};

struct ini {
    char *text;
    char *folded; /* the same in lower case */
    struct ini_piece *pieces;
    size_t count;
};

/* Reads the file and cuts it; iniparser has read nothing of it yet. ERR_BOARDS_FILE: it cannot be
 * read, or a section is given twice. */
int ini_open(struct ini *ini, const char *file, struct error *err);

/* Has iniparser read the pieces in which a word stands (any case; NULL: all, "": none), and sets
 * *more if there was one that it had not yet. Keys and section names come lower-cased; lines end at
 * 1024 characters. ERR_BOARDS_FILE with file and line: one line is broken. */
int ini_need(struct ini *ini, const char *file, const char *word, bool *more, struct error *err);
void ini_free(struct ini *ini);

#endif
