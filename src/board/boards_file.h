/* Sections of boards files as they stand there. Private to the board room. */
#ifndef MFLASH_BOARDS_FILE_H
#define MFLASH_BOARDS_FILE_H

#include "base/error.h"
#include "board/board.h"
#include "board/ini.h"

struct section {
    const char *name; /* "arduino-uno", "arduino-uno/stk500v1", "like/uno", "like/uno/stk500v1" */
    struct setting *settings;
    size_t count;
    const char *file;    /* the last file that says something about it */
    const char *shadows; /* the first file that did, if another one; else NULL */
    size_t order;        /* position in the files */
};

struct boards_file {
    char *name;
    struct ini ini; /* owns the strings */
};

struct sections {
    struct section *list; /* sorted by name */
    size_t count;
    struct boards_file *files;
    size_t file_count;
};

/* Adds the sections of one file; keys given again win. ERR_BOARDS_FILE with file and line. */
int sections_read(struct sections *sections, const char *file, struct error *err);
void sections_free(struct sections *sections);

const struct section *section_find(const struct sections *sections, const char *name);
const char *section_get(const struct section *section, const char *key); /* section may be NULL */

/* Line of a key (NULL: of the section's head) in its file, 0 if not found. For messages. */
unsigned section_line(const struct section *section, const char *key);

#endif
