/*
 * Loads one image file, as mflash does it, and prints what came out: format, bytes, segments. For
 * tests/bench/hex-parse, and for tests/peers/formats, which has it write the image again:
 *
 *     parse_image FILE [--address ADDRESS] [--save OUT] [--fill BYTE]
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "image/image.h"

static int complain(const struct error *err)
{
    fprintf(stderr, "parse_image: %s\n", err->message);
    if (err->hint[0])
        fprintf(stderr, "             %s\n", err->hint);
    return error_exit_status(err->code);
}

struct arguments {
    const char *file, *save;
    bool placed;
    uint64_t address, fill;
};

static bool read_arguments(struct arguments *a, int argc, char **argv)
{
    *a = (struct arguments){.fill = 0xff};
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (more && strcmp(argv[i], "--save") == 0)
            a->save = argv[++i];
        else if (more && strcmp(argv[i], "--fill") == 0 && text_number(argv[i + 1], &a->fill))
            i++;
        else if (more && strcmp(argv[i], "--address") == 0 && text_number(argv[i + 1], &a->address))
            a->placed = ++i;
        else if (!a->file)
            a->file = argv[i];
        else
            return false;
    }
    return a->file != NULL;
}

static void print(const struct image *image)
{
    printf("%s %s", image_format_name(image->format), machine_name(image->machine));
    for (enum memory m = MEM_FLASH; m <= MEM_LOCK; m++)
        printf(" %s=%zu", memory_name(m), image_bytes(image, m));
    printf(" segments=%zu", image->count);
    if (image->count)
        printf(" first=0x%" PRIx64, image->segments[0].address);
    if (image->has_entry)
        printf(" entry=0x%" PRIx64, image->entry);
    putchar('\n');
}

int main(int argc, char **argv)
{
    struct arguments a;
    struct image image;
    struct error err;
    if (!read_arguments(&a, argc, argv)) {
        fprintf(stderr, "usage: parse_image FILE [--address ADDRESS] [--save OUT] [--fill BYTE]\n");
        return 2;
    }
    if (image_load(&image, a.file, a.placed ? &a.address : NULL, &err) != OK)
        return complain(&err);
    print(&image);
    int rc = a.save ? image_save(&image, a.save, (uint8_t)a.fill, &err) : OK;
    image_free(&image);
    return rc == OK ? 0 : complain(&err);
}
