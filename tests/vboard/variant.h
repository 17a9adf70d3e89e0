/* `--variant WORDS`: what a model is to be besides the usual, words by commas. */
#ifndef VBOARD_VARIANT_H
#define VBOARD_VARIANT_H

#include <stdbool.h>

/* NULL has no words; the empty word is in none. */
bool variant_has(const char *variant, const char *word);

#endif
