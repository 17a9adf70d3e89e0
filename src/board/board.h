/*
 * The board database: boards.ini, read by iniparser.
 *
 *     [arduino-mega2560]            a board
 *     [arduino-mega2560/stk500v2]   one bootloader it can have
 *
 * Keys of a board: name, alias, like, chip, mcu, methods, usb, note, source, inferred.
 * Keys of a method section: start, end, starts, baud, usb, enter, ask, recipe.NAME, loader.NAME,
 * region.NAME (common to all) and those the method itself declares. `like = NAME` copies chip,
 * methods and method sections of another board (one level); keys given here win, key by key. The
 * board room knows no methods: to it their names are words.
 */
#ifndef MFLASH_BOARD_H
#define MFLASH_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "board/chip.h"

struct setting {
    const char *key, *value;
};

struct usb_id {
    uint16_t vid, pid;
};

/* One bootloader (method section) of a board. Strings belong to the board_db. */
struct loader {
    const char *method; /* "stk500v2" */
    const struct setting *settings;
    size_t setting_count;
    uint64_t start; /* application start (loader methods) */
    uint64_t end;   /* first address the application may not use; 0 = end of flash */
    bool has_start;
    uint64_t starts[12]; /* ROM and probe methods: where an application may begin */
    size_t start_count;
    uint32_t bauds[8]; /* in order of trial */
    size_t baud_count;
    struct usb_id usb[16]; /* ids the device has while in this bootloader */
    size_t usb_count;
    const char *enter;            /* words: dtr touch-1200 ask ...; NULL */
    const char *ask;              /* what to tell the user to press; NULL */
    const struct region *regions; /* memories beside the chip's that it reaches: see regions.h */
    size_t region_count;
};

struct board {
    const char *name;  /* unique, "arduino-mega2560" */
    const char *title; /* "Arduino Mega 2560 (R1-R3)" */
    const char *const *aliases;
    size_t alias_count;
    const struct chip *chip;
    const char *mcu; /* Klipper's MCU name for it, where it is not the chip's own; NULL */
    const struct loader *loaders; /* in order of preference */
    size_t loader_count;
    struct usb_id usb[16]; /* ids the board has while its application runs, or always */
    size_t usb_count;
    const char *note;     /* quirks to tell the user; NULL */
    const char *source;   /* where the facts come from */
    const char *inferred; /* names of the keys that are concluded, not read; NULL */
    const char *file;     /* the boards file it came from */
    const char *shadows;  /* file of the entry that this one replaced; NULL */
};

struct board_db;

/* Reads the files in order, later ones override, and makes all boards. ERR_BOARDS_FILE with file
 * and line. */
int board_db_load(struct board_db **db, const char *const *files, size_t count, struct error *err);

/* The shipped file, /etc/mflash/boards.ini, the user's own, $MFLASH_BOARDS, and `more` (or NULL).
 * Of the shipped one boards are made when they are asked for. */
int board_db_open(struct board_db **db, const char *more, struct error *err);
void board_db_free(struct board_db *db);

/* Makes what has not been made yet: before board_count() and board_at(). */
int board_db_all(struct board_db *db, struct error *err);
size_t board_count(const struct board_db *db);
const struct board *board_at(const struct board_db *db, size_t n); /* in file order */

/* By name or alias, any case. Unknown: ERR_USAGE with the nearest names as hint. */
int board_find(struct board_db *db, const char *name, const struct board **board,
               struct error *err);

/* NULL if the board has no such loader. */
const struct loader *board_loader(const struct board *board, const char *method);

/* Value of a key of a method section, NULL if not given. loader_number: decimal, 0x hex, with K or
 * M suffix; `fallback` if not given (values are checked when the file is loaded by the lint test).
 */
const char *loader_setting(const struct loader *loader, const char *key);
uint64_t loader_number(const struct loader *loader, const char *key, uint64_t fallback);

#endif
