/* What a UART makes of bytes that were sent at another rate than its own: the garbage of a wrong
 * baud setting, bit by bit, as a receiver that samples the middle of its own bits hears it. */
#ifndef VBOARD_WRONG_RATE_H
#define VBOARD_WRONG_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MISHEARD_MAX = 16 };

struct misheard {
    uint8_t value;
    bool framing_error; /* the place of the stop bit was low */
};

/* One 8N1 byte with a silent line behind it, sent at rate `from`, heard at rate `to`. Returns how
 * many bytes were heard: a slow sender makes several of one. */
size_t mishear(uint8_t byte, uint32_t from, uint32_t to, struct misheard heard[MISHEARD_MAX]);

#endif
