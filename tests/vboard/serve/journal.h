/* `--log FILE`: every byte with time and direction, one line a burst. */
#ifndef VBOARD_JOURNAL_H
#define VBOARD_JOURNAL_H

#include <stdint.h>
#include <stdio.h>

struct journal {
    FILE *file; /* NULL: nothing is logged */
    uint64_t last;
    char direction; /* '>' host to device, '<' device to host, 0 at the start of a line */
};

/* A note gets a line of its own: "reset", "opened at 115200 baud". */
void journal_note(struct journal *journal, uint64_t now, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void journal_bytes(struct journal *journal, uint64_t now, char direction, const uint8_t *bytes,
                   size_t length);
void journal_close(struct journal *journal, uint64_t now);

#endif
