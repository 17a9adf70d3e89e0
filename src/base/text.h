/* Small helpers for words: numbers with suffixes, lists by blanks, the nearest of many names. */
#ifndef MFLASH_TEXT_H
#define MFLASH_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal or 0x hexadecimal, with an optional K, M or G suffix (1024s). The whole text must be one
 * number. False if it is not, or does not fit. */
bool text_number(const char *text, uint64_t *value);

/* Next word of a list by blanks: returns its start and length and moves *cursor behind it; NULL at
 * the end. */
const char *text_word(const char **cursor, size_t *length);

/* True if `word` is one of the blank-separated words of `list` (NULL: no). */
bool text_has_word(const char *list, const char *word);

/* Edit distance, case ignored; names longer than 63 bytes are cut. */
size_t text_distance(const char *a, const char *b);

/* Writes up to three names that are near to `wanted` into `out` ("a, b or c"); "" if none is. */
void text_nearest(char *out, size_t size, const char *wanted,
                  const char *(*name)(const void *list, size_t n), const void *list);

/* Appends to a string in a buffer of `size` bytes; what does not fit is cut. */
void text_append(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
