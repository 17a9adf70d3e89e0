/* See variant.h. */
#include "variant.h"

#include <string.h>

bool variant_has(const char *variant, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = variant; at && *at; at += *at == ',') {
        size_t span = strcspn(at, ",");
        if (span == length && length && strncmp(at, word, length) == 0)
            return true;
        at += span;
    }
    return false;
}
