/*
 * Writing an image back to a file: raw, or Intel HEX with avr-ld's addresses for the memories
 * beside the flash. The file appears whole or not at all: a temporary file is written beside it,
 * synced and renamed.
 */
#include "image/format.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

enum { LINE_BYTES = 16, HEX_DATA = 0, HEX_END = 1, HEX_LINEAR = 4, HEX_START_LINEAR = 5 };

static int write_error(const char *name, struct error *err)
{
    return error_set(err, ERR_FAILED, "%s: cannot be written: %s", name, strerror(errno));
}

/* ---- Intel HEX ---- */

static void put_record(FILE *out, uint8_t type, uint16_t offset, const uint8_t *data, size_t length)
{
    static const char hex[] = "0123456789ABCDEF";
    uint8_t record[4 + LINE_BYTES + 1];
    char line[1 + 2 * sizeof record + 1] = ":";
    unsigned sum = 0;
    record[0] = (uint8_t)length;
    put_be16(record + 1, offset);
    record[3] = type;
    if (length)
        memcpy(record + 4, data, length);
    for (size_t i = 0; i < 4 + length; i++)
        sum += record[i];
    record[4 + length] = (uint8_t)-sum;
    char *p = line + 1;
    for (size_t i = 0; i < 5 + length; i++) {
        *p++ = hex[record[i] >> 4];
        *p++ = hex[record[i] & 0xf];
    }
    *p++ = '\n';
    (void)fwrite(line, 1, (size_t)(p - line), out); /* ferror() is asked at the end */
}

static uint64_t hex_address(const struct segment *segment)
{
    static const uint32_t base[] = {
        [MEM_FLASH] = 0, [MEM_EEPROM] = 0x810000, [MEM_FUSE] = 0x820000, [MEM_LOCK] = 0x830000};
    return base[segment->memory] + segment->address;
}

static void put_segment(FILE *out, const struct segment *segment, uint16_t *upper)
{
    uint32_t address = (uint32_t)hex_address(segment);
    for (size_t at = 0, n; at < segment->length; at += n) {
        uint32_t here = address + (uint32_t)at;
        uint8_t half[2];
        n = LINE_BYTES - here % LINE_BYTES; /* lines are aligned, so none crosses 64 KiB */
        if (n > segment->length - at)
            n = segment->length - at;
        if (here >> 16 != *upper) {
            *upper = (uint16_t)(here >> 16);
            put_be16(half, *upper);
            put_record(out, HEX_LINEAR, 0, half, sizeof half);
        }
        put_record(out, HEX_DATA, (uint16_t)here, segment->data + at, n);
    }
}

int image_write_ihex(const struct image *image, FILE *out, struct error *err)
{
    uint16_t upper = 0;
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *s = &image->segments[i];
        if (s->address > UINT32_MAX || hex_address(s) + s->length > (uint64_t)UINT32_MAX + 1)
            return error_set(err, ERR_FAILED,
                             "the segment at 0x%" PRIx64
                             " reaches beyond the 4 GiB that Intel HEX can address",
                             s->address);
        put_segment(out, s, &upper);
    }
    if (image->has_entry && image->entry <= UINT32_MAX) {
        uint8_t entry[4];
        put_be32(entry, (uint32_t)image->entry);
        put_record(out, HEX_START_LINEAR, 0, entry, sizeof entry);
    }
    put_record(out, HEX_END, 0, NULL, 0);
    return ferror(out) ? write_error("hex file", err) : OK;
}

/* ---- raw ---- */

static void put_fill(FILE *out, uint8_t fill, uint64_t length)
{
    uint8_t block[4096];
    memset(block, fill, sizeof block);
    while (length) {
        size_t n = length < sizeof block ? (size_t)length : sizeof block;
        if (fwrite(block, 1, n, out) != n)
            return;
        length -= n;
    }
}

int image_write_raw(const struct image *image, FILE *out, uint8_t fill, struct error *err)
{
    uint64_t start, end;
    if (!image_extent(image, MEM_FLASH, &start, &end)) {
        error_set(err, ERR_FAILED, "there is nothing for the flash that a raw file could hold");
        return error_hint(err, "save it as a .hex file, which can hold the other memories");
    }
    if (end - start > IMAGE_BYTES_MAX) {
        error_set(err, ERR_FAILED, "a raw file from 0x%" PRIx64 " to 0x%" PRIx64 " is too large",
                  start, end);
        return error_hint(err, "save it as a .hex file, which has no gaps to fill");
    }
    for (size_t i = 0; i < image->count && image->segments[i].memory == MEM_FLASH; i++) {
        const struct segment *s = &image->segments[i];
        put_fill(out, fill, s->address - start);
        (void)fwrite(s->data, 1, s->length, out);
        start = s->address + s->length;
    }
    return ferror(out) ? write_error("raw file", err) : OK;
}

/* ---- files ---- */

static bool is_hex_name(const char *path)
{
    const char *suffix = strrchr(path, '.');
    return suffix && (strcasecmp(suffix, ".hex") == 0 || strcasecmp(suffix, ".ihex") == 0);
}

/* Writes to a descriptor and closes it. `sync`: not before the disk has it. */
static int write_to(const struct image *image, int fd, bool hex, uint8_t fill, bool sync,
                    const char *name, struct error *err)
{
    FILE *out = fdopen(fd, "wb");
    if (!out) {
        close(fd);
        return write_error(name, err);
    }
    int rc = hex ? image_write_ihex(image, out, err) : image_write_raw(image, out, fill, err);
    if (rc == OK && (fflush(out) != 0 || (sync && fsync(fd) != 0)))
        rc = write_error(name, err);
    else if (rc != OK)
        error_context(err, "%s", name);
    if (fclose(out) != 0 && rc == OK)
        rc = write_error(name, err);
    return rc;
}

/* A rename lasts once the directory is on disk. Where that cannot be synced, nothing is lost but
 * the promise. */
static void sync_directory(const char *path)
{
    char *copy = strdup(path);
    char *slash = copy ? strrchr(copy, '/') : NULL;
    if (slash)
        slash[slash == copy] = '\0';
    int fd = copy ? open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(copy);
}

/* Opens a new file beside `path`; its name, to be freed, in *temporary. Negative: errno is set. */
static int open_beside(const char *path, char **temporary)
{
    int fd = -1;
    for (unsigned n = 0; n < 100 && fd < 0; n++) {
        if (asprintf(temporary, "%s.%ld-%u.tmp", path, (long)getpid(), n) < 0)
            return *temporary = NULL, -1;
        fd = open(*temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0) {
            free(*temporary);
            *temporary = NULL;
            if (errno != EEXIST)
                break;
        }
    }
    return fd;
}

static int save_whole(const struct image *image, const char *path, uint8_t fill, struct error *err)
{
    char *temporary = NULL;
    int fd = open_beside(path, &temporary);
    if (fd < 0)
        return write_error(path, err);
    int rc = write_to(image, fd, is_hex_name(path), fill, true, path, err);
    if (rc == OK && rename(temporary, path) != 0)
        rc = write_error(path, err);
    if (rc == OK)
        sync_directory(path);
    else
        (void)unlink(temporary);
    free(temporary);
    return rc;
}

int image_save(const struct image *image, const char *path, uint8_t fill, struct error *err)
{
    struct stat st;
    if (strcmp(path, "-") == 0) {
        int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? write_error("standard output", err)
                      : write_to(image, fd, false, fill, false, "standard output", err);
    }
    bool exists = stat(path, &st) == 0;
    if (exists && !S_ISREG(st.st_mode)) { /* a pipe or device: nothing to rename */
        int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? write_error(path, err)
                      : write_to(image, fd, is_hex_name(path), fill, false, path, err);
    }
    /* A symbolic link stays one: its target is replaced. */
    char *real = exists ? realpath(path, NULL) : NULL;
    int rc = save_whole(image, real ? real : path, fill, err);
    free(real);
    return rc;
}
