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
    bool as_needed; /* read as far as sections_need() asks; else whole at once */
};

struct sections {
    struct section *list; /* sorted by name */
    size_t count;
    struct boards_file *files;
    size_t file_count;
};

/* Opens one more file. ERR_BOARDS_FILE with file and line. */
int sections_open(struct sections *sections, const char *file, bool as_needed, struct error *err);

/* Makes the list hold every section of the files that are read whole, and those of the others that
 * stand near a word (NULL: all, "": none). Keys given again win. The sections move, what they point
 * to stays. ERR_BOARDS_FILE with file and line. */
int sections_need(struct sections *sections, const char *word, struct error *err);
void sections_free(struct sections *sections);

const struct section *section_find(const struct sections *sections, const char *name);
const char *section_get(const struct section *section, const char *key); /* section may be NULL */

/* Line of a key (NULL: of the section's head) in its file, 0 if not found. For messages. */
unsigned section_line(const struct section *section, const char *key);

#endif
