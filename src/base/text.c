/* Small helpers for words: see text.h. */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static unsigned suffix_shift(const char *suffix)
{
    static const char letters[] = "kmg";
    const char *at = strchr(letters, tolower((unsigned char)suffix[0]));
    if (!at || !*at || suffix[1])
        return 0;
    return 10 * ((unsigned)(at - letters) + 1);
}

bool text_number(const char *text, uint64_t *value)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    if (hex && !isxdigit((unsigned char)text[2]))
        return false;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, hex ? 16 : 10);
    if (errno)
        return false;
    if (*end) {
        unsigned shift = suffix_shift(end);
        if (!shift || number > UINT64_MAX >> shift)
            return false;
        number <<= shift;
    }
    *value = number;
    return true;
}

const char *text_word(const char **cursor, size_t *length)
{
    if (!*cursor)
        return NULL;
    const char *start = *cursor + strspn(*cursor, " \t");
    if (!*start)
        return NULL;
    *length = strcspn(start, " \t");
    *cursor = start + *length;
    return start;
}

bool text_has_word(const char *list, const char *word)
{
    size_t length;
    const char *at;
    while ((at = text_word(&list, &length)))
        if (strlen(word) == length && strncmp(at, word, length) == 0)
            return true;
    return false;
}

size_t text_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t row[LONGEST + 1];
    size_t na = strnlen(a, LONGEST), nb = strnlen(b, LONGEST);
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            size_t best = diagonal + !same;
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

void text_nearest(char *out, size_t size, const char *wanted,
                  const char *(*name)(const void *list, size_t n), const void *list)
{
    enum { SHOWN = 3 };
    const char *best[SHOWN] = {NULL};
    size_t score[SHOWN] = {SIZE_MAX, SIZE_MAX, SIZE_MAX};
    size_t limit = strlen(wanted) / 3 + 1;
    const char *candidate;
    for (size_t n = 0; (candidate = name(list, n)); n++) {
        size_t distance = text_distance(wanted, candidate);
        /* A name that contains what was typed is near whatever its length. */
        if (strlen(wanted) >= 3 && strcasestr(candidate, wanted))
            distance = 1;
        if (distance > limit)
            continue;
        size_t at = SHOWN;
        while (at > 0 && distance < score[at - 1])
            at--;
        for (size_t k = SHOWN - 1; k > at; k--) {
            score[k] = score[k - 1];
            best[k] = best[k - 1];
        }
        if (at < SHOWN) {
            score[at] = distance;
            best[at] = candidate;
        }
    }
    out[0] = '\0';
    for (size_t k = 0; k < SHOWN && best[k]; k++) {
        bool last = k + 1 == SHOWN || !best[k + 1];
        text_append(out, size, "%s%s", k == 0 ? "" : last ? " or " : ", ", best[k]);
    }
}

void text_append(char *out, size_t size, const char *format, ...)
{
    size_t used = strnlen(out, size);
    if (used >= size)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(out + used, size - used, format, args);
    va_end(args);
}
