/* The log of a virtual board's line: see journal.h. Times are seconds now the start. */
#include "journal.h"

#include <stdarg.h>

enum { BURST_GAP_US = 5000 };

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

void journal_close(struct journal *journal, uint64_t now)
{
    if (!journal->file)
        return;
    journal_note(journal, now, "end");
    fclose(journal->file);
    journal->file = NULL;
}
