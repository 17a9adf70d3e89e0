/* See layout.h. */
#include "dfu/layout.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COUNT_MAX = 1 << 20,       /* of sectors */
    SECTOR_MAX = 64 * 1048576, /* bytes */
    MILLI = 1000,
};

/* "01.5": in thousandths, because OpenBL halves sectors. False: no number, or far too large. */
static bool take_number(const char **at, uint64_t *thousandths)
{
    uint64_t whole = 0, part = 0, scale = MILLI;
    if (!isdigit((unsigned char)**at))
        return false;
    for (; isdigit((unsigned char)**at); ++*at)
        if ((whole = whole * 10 + (uint64_t)(**at - '0')) > COUNT_MAX)
            return false;
    if (**at == '.' && isdigit((unsigned char)(*at)[1]))
        for (++*at; isdigit((unsigned char)**at); ++*at)
            if (scale >= 10)
                part += (uint64_t)(**at - '0') * (scale /= 10);
    *thousandths = whole * MILLI + part;
    return true;
}

static uint64_t take_unit(const char **at)
{
    static const struct {
        char letter;
        uint32_t bytes;
    } units[] = {{' ', 1}, {'B', 1}, {'K', 1024}, {'M', 1048576}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (**at == units[i].letter) {
            ++*at;
            return units[i].bytes;
        }
    return 1; /* the letter is the type already */
}

/* Some strings put a dot before the letter, some have none: readable then. */
static uint8_t take_access(const char **at)
{
    if (**at == '.')
        ++*at;
    if (**at < 'a' || **at > 'g')
        return DFU_READABLE;
    return (uint8_t)(*(*at)++ & 7);
}

/* "04*016Kg". False where the string ends to make sense. */
static bool take_run(const char **at, uint64_t *address, struct dfu_layout *layout)
{
    uint64_t count, size;
    if (!take_number(at, &count) || **at != '*')
        return false;
    ++*at;
    if (!take_number(at, &size))
        return false;
    size = size * take_unit(at) / MILLI;
    uint8_t access = take_access(at);
    uint64_t total = count * size / MILLI;
    if (size > SECTOR_MAX || total > UINT32_MAX || *address + total > UINT64_C(1) << 32)
        return false;
    if (total == 0)
        return true; /* an empty region */
    if (layout->count == DFU_RUNS_MAX)
        return false;
    layout->runs[layout->count++] = (struct dfu_run){*address, total, size, access};
    *address += total;
    return true;
}

static bool take_block(const char **at, struct dfu_layout *layout)
{
    char *end;
    if (strncmp(*at, "/0x", 3) != 0 || !isxdigit((unsigned char)(*at)[3]))
        return false;
    unsigned long long address = strtoull(*at + 1, &end, 16);
    if (address > UINT32_MAX || *end != '/')
        return false;
    uint64_t next = address;
    for (*at = end + 1;; ++*at) {
        if (!take_run(at, &next, layout))
            return false;
        if (**at != ',')
            return true;
    }
}

/* ST marks its "Device Feature" registers as more than they are. */
static void mend(struct dfu_layout *layout)
{
    if (strncmp(layout->name, "Device Feature", 14) == 0)
        for (size_t i = 0; i < layout->count; i++)
            layout->runs[i].access = DFU_READABLE | DFU_WRITABLE;
}

bool dfu_layout_parse(const char *text, struct dfu_layout *layout)
{
    *layout = (struct dfu_layout){.count = 0};
    if (text[0] != '@')
        return false;
    const char *at = text + 1;
    size_t length = strcspn(at, "/");
    at += length;
    while (length && text[length] == ' ')
        length--;
    (void)snprintf(layout->name, sizeof layout->name, "%.*s", (int)length, text + 1);
    while (take_block(&at, layout)) {
        while (*at == ' ')
            at++;
    }
    mend(layout);
    return layout->count > 0;
}

const struct dfu_run *dfu_layout_at(const struct dfu_layout *layout, uint64_t address)
{
    for (size_t i = 0; i < layout->count; i++) {
        const struct dfu_run *run = &layout->runs[i];
        if (address >= run->start && address - run->start < run->size)
            return run;
    }
    return NULL;
}

bool dfu_layout_allows(const struct dfu_layout *layout, const struct span *span, uint8_t access)
{
    uint64_t at = span->start, end = span->start + span->size;
    while (at < end) {
        const struct dfu_run *run = dfu_layout_at(layout, at);
        if (!run || (run->access & access) != access)
            return false;
        at = run->start + run->size;
    }
    return true;
}

struct span dfu_run_sector(const struct dfu_run *run, uint64_t address)
{
    uint64_t offset = (address - run->start) / run->sector * run->sector;
    uint64_t left = run->size - offset;
    return (struct span){run->start + offset, left < run->sector ? left : run->sector};
}

uint64_t dfu_layout_extent(const struct dfu_layout *layout)
{
    uint64_t end = layout->runs[0].start;
    for (size_t i = 0; i < layout->count && layout->runs[i].start == end; i++)
        end += layout->runs[i].size;
    return end - layout->runs[0].start;
}
