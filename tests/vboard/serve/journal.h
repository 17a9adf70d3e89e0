/* `--log FILE`: every byte with time and direction, one line a burst or CAN frame. */
#ifndef VBOARD_JOURNAL_H
#define VBOARD_JOURNAL_H

#include <linux/can.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct journal {
    FILE *file; /* NULL: nothing is logged */
    uint64_t last;
    char direction; /* '>' host to device, '<' device to host, 0 at the start of a line */
};

/* `path` NULL: nothing is logged. False with a line on stderr. */
bool journal_open(struct journal *journal, const char *path);

/* A note gets a line of its own: "reset", "opened at 115200 baud". */
void journal_note(struct journal *journal, uint64_t now, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void journal_bytes(struct journal *journal, uint64_t now, char direction, const uint8_t *bytes,
                   size_t length);
/* A frame of a CAN bus, with a line of its own as the sheets write them: "202 [3] 01 88 11".
 * `fate`: what became of it, or "". */
void journal_frame(struct journal *journal, uint64_t now, char direction,
                   const struct can_frame *frame, const char *fate);
void journal_close(struct journal *journal, uint64_t now);

#endif
