/* See heard.h. */
#include "avr/heard.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { HEX_SHOWN = 8, TEXT_LEAST = 4 };

void heard_clear(struct heard *heard)
{
    heard->total = 0;
}

void heard_add(struct heard *heard, const uint8_t *bytes, size_t length)
{
    size_t room = heard->total < HEARD_MAX ? HEARD_MAX - heard->total : 0;
    memcpy(heard->first + HEARD_MAX - room, bytes, length < room ? length : room);
    heard->total += length;
}

bool heard_is_text(const struct heard *heard)
{
    size_t kept = heard->total < HEARD_MAX ? heard->total : HEARD_MAX;
    for (size_t i = 0; i < kept; i++)
        if (!isprint(heard->first[i]) && !isspace(heard->first[i]))
            return false;
    return kept >= TEXT_LEAST;
}

const char *heard_describe(const struct heard *heard, char text[HEARD_TEXT_MAX])
{
    size_t kept = heard->total < HEARD_MAX ? heard->total : HEARD_MAX;
    const char *more = heard->total > kept ? " …" : "";
    if (kept == 0) {
        (void)snprintf(text, HEARD_TEXT_MAX, "nothing at all came back");
        return text;
    }
    int used;
    if (heard_is_text(heard)) {
        used = snprintf(text, HEARD_TEXT_MAX, "text came back: \"");
        for (size_t i = 0; i < kept; i++)
            text[used++] = isprint(heard->first[i]) ? (char)heard->first[i] : ' ';
        (void)snprintf(text + used, HEARD_TEXT_MAX - (size_t)used, "\"%s", more);
        return text;
    }
    used = snprintf(text, HEARD_TEXT_MAX, "%zu byte%s came back that %s no answer:", heard->total,
                    heard->total == 1 ? "" : "s", heard->total == 1 ? "is" : "are");
    size_t shown = kept < HEX_SHOWN ? kept : HEX_SHOWN;
    for (size_t i = 0; i < shown; i++)
        used += snprintf(text + used, HEARD_TEXT_MAX - (size_t)used, " %02x", heard->first[i]);
    if (heard->total > shown)
        (void)snprintf(text + used, HEARD_TEXT_MAX - (size_t)used, " …");
    return text;
}
