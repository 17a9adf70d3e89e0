/*
 * Reads a bootloader's Intel HEX file. The image room's parser refuses records that overlap, and
 * rightly so; Debian's builds of optiboot have them: the code has outgrown its 512 bytes and runs
 * into the version word at the end of flash, and 20 bytes past it. The code is kept whole and the
 * version word left out.
 */
#include "loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_DATA = 0, RECORD_SEGMENT = 2, RECORD_LINEAR = 4, RECORD_BYTES_MAX = 255 };

struct record {
    uint8_t length, type;
    uint16_t address;
    uint8_t data[RECORD_BYTES_MAX];
};

static bool read_byte(const char *text, uint8_t *byte, uint8_t *sum)
{
    unsigned value;

    if (sscanf(text, "%2x", &value) != 1)
        return false;
    *byte = (uint8_t)value;
    *sum = (uint8_t)(*sum + value);
    return true;
}

static bool read_record(const char *line, struct record *record)
{
    uint8_t high, low, check, sum = 0;
    size_t length = strlen(line);

    if (line[0] != ':' || length < 11 || !read_byte(line + 1, &record->length, &sum) ||
        length < 11 + 2 * (size_t)record->length)
        return false;
    if (!read_byte(line + 3, &high, &sum) || !read_byte(line + 5, &low, &sum) ||
        !read_byte(line + 7, &record->type, &sum))
        return false;
    for (size_t i = 0; i < record->length; i++)
        if (!read_byte(line + 9 + 2 * i, &record->data[i], &sum))
            return false;
    record->address = (uint16_t)(high << 8 | low);
    return read_byte(line + 9 + 2 * (size_t)record->length, &check, &sum) && sum == 0;
}

static bool store(const struct record *record, uint32_t base, uint8_t *flash, size_t limit,
                  bool taken[])
{
    uint32_t address = base + record->address;

    for (size_t i = 0; i < record->length; i++, address++) {
        if (address >= limit)
            return false;
        if (!taken[address])
            flash[address] = record->data[i];
        taken[address] = true;
    }
    return true;
}

static bool read_records(FILE *file, uint8_t *flash, size_t limit, bool taken[])
{
    char line[600];
    struct record record;
    uint32_t base = 0;

    while (fgets(line, sizeof line, file)) {
        if (!read_record(line, &record))
            return false;
        if (record.type == RECORD_SEGMENT)
            base = (uint32_t)(record.data[0] << 8 | record.data[1]) << 4;
        else if (record.type == RECORD_LINEAR)
            base = (uint32_t)(record.data[0] << 8 | record.data[1]) << 16;
        else if (record.type == RECORD_DATA && !store(&record, base, flash, limit, taken))
            return false;
    }
    return true;
}

bool loader_read(const struct firmware *firmware, uint8_t *flash, size_t limit)
{
    char path[256];
    bool *taken = calloc(limit, sizeof *taken);
    bool good = false;

    snprintf(path, sizeof path, "%s%s", LOADER_FOLDER, firmware->file);
    FILE *file = fopen(path, "re");
    if (!file)
        fprintf(stderr, "vboard-avr: %s: %s; install the package arduino-core-avr\n", path,
                strerror(errno));
    else if (taken && !(good = read_records(file, flash, limit, taken)))
        fprintf(stderr, "vboard-avr: %s: not the Intel HEX file it should be\n", path);
    if (file)
        fclose(file);
    free(taken);
    return good;
}
