/*
 * Any bytes as an image file: parsing, facts, link address, and writing it out again. Besides not
 * crashing, what was written as Intel HEX must come back byte for byte.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static void check_order(const struct image *image)
{
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *a = &image->segments[i], *b = a + 1;
        require(a->length > 0, "no segment is empty");
        if (i + 1 < image->count && a->memory == b->memory)
            require(a->address < b->address && b->address - a->address > a->length,
                    "segments are sorted and apart");
        require(i + 1 == image->count || a->memory <= b->memory, "memories are sorted");
    }
}

static bool same(const struct image *a, const struct image *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct segment *x = &a->segments[i], *y = &b->segments[i];
        if (x->memory != y->memory || x->address != y->address || x->length != y->length ||
            memcmp(x->data, y->data, x->length) != 0)
            return false;
    }
    return true;
}

/* By address alone, a program whose flash lies in 0x810000..0x84ffff cannot be told from an AVR's
 * other memories, and an AVR program beyond 512 KiB not from a big one. */
static bool ambiguous(const struct image *image)
{
    bool other = false, high = false, zone = false;
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *s = &image->segments[i];
        uint64_t end = s->address + s->length;
        other |= s->memory != MEM_FLASH;
        high |= s->memory == MEM_FLASH && end > 0x80000;
        zone |= s->memory == MEM_FLASH && s->address < 0x850000 && end > 0x800000;
    }
    return zone || (other && high);
}

static void write_and_read_back(const struct image *image)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    struct image back;
    struct error err;
    int rc = image_write_ihex(image, out, &err);
    fclose(out);
    if (rc == OK && !ambiguous(image)) {
        require(image_parse(&back, "back", (uint8_t *)text, length, NULL, &err) == OK,
                "hex that was written can be read");
        require(same(image, &back), "hex comes back as it was");
        image_free(&back);
    }
    free(text);
}

static void write_raw(const struct image *image)
{
    uint64_t start, end;
    char *bytes = NULL;
    size_t length = 0;
    if (!image_extent(image, MEM_FLASH, &start, &end) || end - start > 1 << 20)
        return;
    FILE *out = open_memstream(&bytes, &length);
    require(image_write_raw(image, out, 0xff, NULL) == OK, "raw can be written");
    fclose(out);
    require(length == end - start, "raw has the extent of the flash");
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const uint64_t bases[] = {0,          0x2000,     0x08000000, 0x08002000,
                                     0x08007000, 0x10000000, 0x10004000, UINT64_MAX};
    struct image image;
    struct error err;
    uint64_t found;
    uint8_t out[300];
    if (image_parse(&image, "fuzz", bytes, length, NULL, &err) != OK) {
        require(image.count == 0 && image.sources == NULL, "a refused image is empty");
        require(err.message[0] && err.code != OK, "a refusal says why");
        return 0;
    }
    check_order(&image);
    (void)image_link_address(&image, bases, sizeof bases / sizeof bases[0], &found);
    (void)image_read(&image, MEM_FLASH, image.segments[0].address - 20, out, sizeof out, 0xff);
    write_and_read_back(&image);
    write_raw(&image);
    image_place(&image, 0x08002000);
    image_free(&image);
    return 0;
}
