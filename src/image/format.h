/*
 * Private to the image room: what the loader gives to a format, and what a format gives back.
 * A new format is one file with one `const struct format`, and its place in the order of
 * recognition in load.c.
 */
#ifndef MFLASH_FORMAT_H
#define MFLASH_FORMAT_H

#include "image/image.h"

/* A whole file in memory. */
struct input {
    const char *name; /* for messages */
    const uint8_t *bytes;
    size_t length;
    bool text; /* places in it are line numbers, else offsets */
};

struct pieces;

struct format {
    enum image_format format;
    bool text;
    /* From the first (or last) bytes alone; says nothing about the rest. */
    bool (*recognise)(const struct input *in);
    /* Gives every run of bytes to pieces_add() and what else the file states to `image` (machine,
     * entry, family, USB ids; placed = false for a payload without an address). Must give the same
     * runs when called again. */
    int (*scan)(const struct input *in, struct pieces *pieces, struct image *image,
                struct error *err);
};

extern const struct format format_elf, format_uf2, format_dfuse, format_ihex, format_srec,
    format_dfu, format_raw;

/* ERR_IMAGE "NAME:LINE: ..." in text, "NAME: offset 0x...: ..." in binary files. */
int input_error(const struct input *in, size_t where, struct error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Finds vector table, Klipper dictionary and Katapult anew (identify.c, klipper.c). */
void image_identify(struct image *image);
void klipper_find(const struct image *image, struct klipper_facts *facts);

/* Shared by image.c and pieces.c: a size for realloc that grows in powers of two. */
size_t image_capacity(size_t n);

/* Writers of save.c, apart from the file they go to. */
#include <stdio.h>
int image_write_ihex(const struct image *image, FILE *out, struct error *err);
int image_write_raw(const struct image *image, FILE *out, uint8_t fill, struct error *err);

#endif
