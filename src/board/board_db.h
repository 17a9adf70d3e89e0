/* The database in memory, and what its two halves (board.c, loader.c) share. Private to the board
 * room. */
#ifndef MFLASH_BOARD_DB_H
#define MFLASH_BOARD_DB_H

#include <pthread.h>

#include "board/boards_file.h"

struct board_db {
    struct sections sections;
    struct board **boards; /* those made so far; in file order once all are */
    size_t count;
    bool complete;        /* all are */
    pthread_mutex_t lock; /* around what makes boards: tasks share the database */
    void **kept;          /* small allocations that live as long as the database */
    size_t kept_count;
};

/* As board_db_load(); `shipped`: the first of the files is, and is read as far as it is needed. */
int board_db_read(struct board_db **db, const char *const *files, size_t count, bool shipped,
                  struct error *err);

/* Zeroed memory that lives as long as the database; NULL if there is none. */
void *keep(struct board_db *db, size_t size);

/* ERR_BOARDS_FILE "file:line: [section] key = value: what". */
int section_wrong(const struct section *section, const char *key, struct error *err,
                  const char *what, const char *value);

/* "vvvv:pppp vvvv:pppp" */
int section_ids(const struct section *section, const char *value, struct usb_id *ids, size_t max,
                size_t *count, struct error *err);

/* Settings of the `like` section first, the board's own behind them: the last one wins. Both may be
 * NULL. */
int make_loader(struct board_db *db, struct loader *loader, const struct chip *chip,
                const struct section *like, const struct section *own, struct error *err);

#endif
