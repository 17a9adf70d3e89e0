/* The log of a virtual board's line: see journal.h. Times are seconds now the start. */
#include "journal.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

enum { BURST_GAP_US = 5000 };

bool journal_open(struct journal *journal, const char *path)
{
    if (!path)
        return true;
    journal->file = fopen(path, "we");
    if (!journal->file)
        fprintf(stderr, "vboard: %s: %s\n", path, strerror(errno));
    return journal->file != NULL;
}

static void start_line(struct journal *journal, uint64_t now, char direction)
{
    if (journal->direction)
        fputc('\n', journal->file);
    fprintf(journal->file, "%4llu.%06llu %c", (unsigned long long)(now / 1000000),
            (unsigned long long)(now % 1000000), direction);
    journal->direction = direction;
}

void journal_bytes(struct journal *journal, uint64_t now, char direction, const uint8_t *bytes,
                   size_t length)
{
    if (!journal->file || length == 0)
        return;
    if (journal->direction != direction || now - journal->last > BURST_GAP_US)
        start_line(journal, now, direction);
    for (size_t i = 0; i < length; i++)
        fprintf(journal->file, " %02x", bytes[i]);
    journal->last = now;
}

void journal_note(struct journal *journal, uint64_t now, const char *format, ...)
{
    va_list args;

    if (!journal->file)
        return;
    start_line(journal, now, '-');
    fputc(' ', journal->file);
    va_start(args, format);
    vfprintf(journal->file, format, args);
    va_end(args);
    fputc('\n', journal->file);
    fflush(journal->file);
    journal->direction = 0;
}

void journal_frame(struct journal *journal, uint64_t now, char direction,
                   const struct can_frame *frame, const char *fate)
{
    if (!journal->file)
        return;
    bool extended = (frame->can_id & CAN_EFF_FLAG) != 0;
    bool remote = (frame->can_id & CAN_RTR_FLAG) != 0;
    start_line(journal, now, direction);
    fprintf(journal->file, " %0*X [%u]%s", extended ? 8 : 3,
            (unsigned)(frame->can_id & (extended ? CAN_EFF_MASK : CAN_SFF_MASK)),
            (unsigned)frame->len, remote ? " remote" : "");
    for (unsigned i = 0; i < frame->len && i < CAN_MAX_DLEN && !remote; i++)
        fprintf(journal->file, " %02X", frame->data[i]);
    fprintf(journal->file, "%s%s\n", *fate ? " - " : "", fate);
    journal->direction = 0;
}

void journal_close(struct journal *journal, uint64_t now)
{
    if (!journal->file)
        return;
    journal_note(journal, now, "end");
    fclose(journal->file);
    journal->file = NULL;
}
