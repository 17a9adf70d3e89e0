/*
 * From a path, standard input or memory to an image: reads with a bound, asks the formats in order
 * who knows the content, and builds segments from what the format found.
 *
 * Files are read, not mapped: a build may rewrite the file at any moment, and a mapping that
 * shrinks kills the process.
 */
#include "image/pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    /* The longest text of IMAGE_BYTES_MAX bytes: 16-byte records take 2.8 characters a byte. */
    FILE_BYTES_MAX = 3 * IMAGE_BYTES_MAX,
    NAME_SHOWN = 300, /* of a long path, so that the reason still fits into a message */
};

/* Order matters: raw takes everything, and a DFU suffix may follow anything. */
static const struct format *const formats[] = {
    &format_elf, &format_uf2, &format_dfuse, &format_ihex, &format_srec, &format_dfu, &format_raw,
};

int input_error(const struct input *in, size_t where, struct error *err, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (in->text)
        return error_set(err, ERR_IMAGE, "%s:%zu: %s", in->name, where, text);
    return error_set(err, ERR_IMAGE, "%s: offset 0x%zx: %s", in->name, where, text);
}

static const char *shown_name(const char *name)
{
    if (strcmp(name, "-") == 0)
        return "standard input";
    size_t length = strlen(name);
    return length > NAME_SHOWN ? name + length - NAME_SHOWN : name;
}

/* ---- parsing ---- */

static const struct format *format_of(const struct input *in)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (formats[i]->recognise(in))
            return formats[i];
    return NULL; /* an empty file */
}

/* A byte was given twice: a second pass finds the two records that hold it. */
static int overlap_error(const struct format *format, struct pieces *pieces, uint64_t address,
                         struct error *err)
{
    struct image facts = {0};
    pieces->watching = true;
    pieces->watched = address;
    (void)format->scan(pieces->in, pieces, &facts, NULL);
    if (format->text)
        input_error(pieces->in, pieces->seen[1], err,
                    "address 0x%" PRIx64 " is given twice, here and in line %zu", address,
                    pieces->seen[0]);
    else
        input_error(pieces->in, pieces->seen[1], err,
                    "address 0x%" PRIx64 " is given twice, here and at offset 0x%zx", address,
                    pieces->seen[0]);
    return error_hint(err, "two programs may have been joined: give them as two files");
}

static int scan_segments(const struct format *format, const struct input *in, struct image *image,
                         struct error *err)
{
    struct pieces pieces = {.in = in};
    uint64_t twice;
    int rc = format->scan(in, &pieces, image, err);
    if (rc == OK && pieces_sort(&pieces, &twice))
        rc = overlap_error(format, &pieces, twice, err);
    if (rc == OK) {
        bool split_avr = format->text ? pieces_look_avr(&pieces) : image->machine == MACHINE_AVR;
        rc = pieces_to_segments(&pieces, split_avr, image, err);
    }
    pieces_free(&pieces);
    if (rc == OK && image->count == 0)
        rc = error_set(err, ERR_IMAGE, "%s: the file holds no data", in->name);
    return rc;
}

static int place_or_complain(struct image *image, const struct input *in, const uint64_t *address,
                             struct error *err)
{
    if (!address)
        return OK;
    if (image->placed) {
        error_set(err, ERR_USAGE,
                  "%s: an address (0x%" PRIx64 ") was given, but %s files carry their own",
                  in->name, *address, image_format_name(image->format));
        return error_hint(err, "leave the address out");
    }
    if (image->segments[0].length > UINT64_MAX - *address)
        return error_set(err, ERR_USAGE,
                         "%s: %zu bytes at 0x%" PRIx64 " run past the end of the address space",
                         in->name, image->segments[0].length, *address);
    image->segments[0].address = *address;
    image->placed = true;
    return OK;
}

static int name_source(struct image *image, const char *name, const struct input *in,
                       struct error *err)
{
    image->sources = calloc(1, sizeof *image->sources);
    char *copy = strdup(name);
    if (!image->sources || !copy) {
        free(copy);
        return error_memory(err);
    }
    image->sources[0] =
        (struct image_source){.name = copy, .format = image->format, .bytes = in->length};
    image->source_count = 1;
    return OK;
}

int image_parse(struct image *image, const char *name, const uint8_t *bytes, size_t length,
                const uint64_t *address, struct error *err)
{
    *image = (struct image){.placed = true};
    struct error own; /* hints are added to it, so there must be one */
    if (!err)
        err = &own;
    struct input in = {.name = shown_name(name), .bytes = bytes, .length = length};
    const struct format *format = format_of(&in);
    if (!format) {
        error_set(err, ERR_IMAGE, "%s: the file is empty", in.name);
        return error_hint(err, "build it or fetch it again");
    }
    in.text = format->text;
    image->format = format->format;
    int rc = scan_segments(format, &in, image, err);
    if (rc == OK)
        rc = place_or_complain(image, &in, address, err);
    if (rc == OK)
        rc = name_source(image, name, &in, err);
    if (rc == OK) {
        image_identify(image);
        return OK;
    }
    image_free(image);
    if (rc == ERR_IMAGE && !err->hint[0])
        error_hint(err, "the file is damaged or was not fully copied: build it or fetch it again");
    return rc;
}

/* ---- reading ---- */

struct block {
    uint8_t *bytes;
    size_t length, room;
};

static int grow(struct block *block, const char *name, struct error *err)
{
    if (block->room > FILE_BYTES_MAX) {
        error_set(err, ERR_IMAGE, "%s: more than %d MiB", name, FILE_BYTES_MAX / (1024 * 1024));
        return error_hint(err, "no firmware is that large: is it the right file?");
    }
    size_t room = block->room ? 2 * block->room : 65536;
    if (room > FILE_BYTES_MAX)
        room = (size_t)FILE_BYTES_MAX + 1;
    uint8_t *bytes = realloc(block->bytes, room);
    if (!bytes)
        return error_memory(err);
    block->bytes = bytes;
    block->room = room;
    return OK;
}

static int read_all(int fd, struct block *block, const char *name, struct error *err)
{
    for (;;) {
        int rc = block->length < block->room ? OK : grow(block, name, err);
        if (rc != OK)
            return rc;
        ssize_t got = read(fd, block->bytes + block->length, block->room - block->length);
        if (got == 0)
            return OK;
        if (got < 0 && errno != EINTR)
            return error_set(err, ERR_IMAGE, "%s: cannot be read: %s", name, strerror(errno));
        if (got > 0)
            block->length += (size_t)got;
    }
}

/* A directory or a device is a slip of the pen; a pipe is not. */
static int check_kind(int fd, const char *name, struct block *block, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_set(err, ERR_IMAGE, "%s: %s", name, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        error_set(err, ERR_IMAGE, "%s: is a directory, not a firmware file", name);
        return error_hint(err, "give the file in it, for example %s/klipper.bin", name);
    }
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
        error_set(err, ERR_IMAGE, "%s: is a device, not a firmware file", name);
        return error_hint(err, "the device to flash is given by --device");
    }
    if (S_ISREG(st.st_mode) && st.st_size > FILE_BYTES_MAX) {
        block->room = (size_t)FILE_BYTES_MAX + 1;
        return grow(block, name, err);
    }
    /* One byte more than it should have, so that the end is seen at once. */
    if (S_ISREG(st.st_mode) && st.st_size > 0) {
        block->room = (size_t)st.st_size + 1;
        block->bytes = malloc(block->room);
    }
    return block->room && !block->bytes ? error_memory(err) : OK;
}

static int open_image(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0)
        return fd;
    const char *name = shown_name(path);
    if (errno != ENOENT)
        return error_set(err, ERR_IMAGE, "%s: cannot be opened: %s", name, strerror(errno));
    error_set(err, ERR_IMAGE, "%s: no such file", name);
    return error_hint(err, "check the path; a program must be built before it can be flashed");
}

int image_load(struct image *image, const char *path, const uint64_t *address, struct error *err)
{
    bool standard_input = strcmp(path, "-") == 0;
    struct block block = {0};
    struct error own;
    if (!err)
        err = &own;
    *image = (struct image){0};
    int fd = standard_input ? STDIN_FILENO : open_image(path, err);
    if (fd < 0)
        return fd;
    int rc = standard_input ? OK : check_kind(fd, shown_name(path), &block, err);
    if (rc == OK)
        rc = read_all(fd, &block, shown_name(path), err);
    if (!standard_input)
        close(fd);
    if (rc == OK)
        rc = image_parse(image, path, block.bytes, block.length, address, err);
    free(block.bytes);
    return rc;
}
