/*
 * The live lines at the bottom of a terminal: one for each device that is being worked on. Other
 * text appears above them. Thread-safe: between screen_hide() and screen_show() the caller alone
 * writes. Without a terminal there are no live lines, and the two are just the lock.
 */
#ifndef MFLASH_SCREEN_H
#define MFLASH_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

struct screen;

/* `rows` live lines, all empty. `terminal`: false = never draw. NULL: out of memory. */
struct screen *screen_new(size_t rows, bool terminal);
void screen_free(struct screen *screen); /* takes the lines off; NULL is fine */

/* The text of a live line; "" takes it off. */
void screen_set(struct screen *screen, size_t row, const char *text);

/* Text of the caller's goes to stderr or stdout between these. */
void screen_hide(struct screen *screen);
void screen_show(struct screen *screen);

/* Columns of the terminal on stderr. */
unsigned screen_columns(void);

#endif
