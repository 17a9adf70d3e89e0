/*
 * What came over the line where an answer was expected. An error message says it, because it tells
 * a wrong rate (garbage) from a board that was not reset (text of its application, or nothing).
 */
#ifndef MFLASH_AVR_HEARD_H
#define MFLASH_AVR_HEARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEARD_MAX = 24, HEARD_TEXT_MAX = 128 };

struct heard {
    uint8_t first[HEARD_MAX]; /* the first bytes */
    size_t total;             /* how many there were */
};

void heard_clear(struct heard *heard);
void heard_add(struct heard *heard, const uint8_t *bytes, size_t length);

/* True if it reads like text: the application talks, not the bootloader. */
bool heard_is_text(const struct heard *heard);

/* "nothing at all came back", "17 bytes came back that are no answer: 1c e0 fc …", or "text came
 * back: "Marlin 1.1.9"". Returns `text`. */
const char *heard_describe(const struct heard *heard, char text[HEARD_TEXT_MAX]);

#endif
