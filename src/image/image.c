/*
 * The image itself: segments sorted by memory and address, that never overlap and never touch.
 * The block of a segment is always grown to a power of two by realloc, so that appending byte by
 * byte stays cheap without a capacity to keep.
 */
#include "image/image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "image/format.h"

const char *memory_name(enum memory memory)
{
    static const char *const names[] = {"flash", "eeprom", "fuse", "lock"};
    return names[memory];
}

const char *image_format_name(enum image_format format)
{
    static const char *const names[] = {"raw", "ihex", "srec", "elf", "uf2", "dfu", "dfuse"};
    return names[format];
}

const char *machine_name(enum machine machine)
{
    static const char *const names[] = {"unknown", "AVR", "ARM", "other"};
    return names[machine];
}

size_t image_capacity(size_t n)
{
    size_t capacity = 64;
    while (capacity < n)
        capacity *= 2;
    return capacity;
}

static uint64_t end_of(const struct segment *segment)
{
    return segment->address + segment->length;
}

/* Index of the first segment that ends after `address` in that memory, or lies behind it. */
static size_t first_behind(const struct image *image, enum memory memory, uint64_t address)
{
    size_t low = 0, high = image->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct segment *s = &image->segments[middle];
        if (s->memory < memory || (s->memory == memory && end_of(s) <= address))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t image_bytes(const struct image *image, enum memory memory)
{
    size_t bytes = 0;
    for (size_t i = 0; i < image->count; i++)
        if (image->segments[i].memory == memory)
            bytes += image->segments[i].length;
    return bytes;
}

bool image_extent(const struct image *image, enum memory memory, uint64_t *start, uint64_t *end)
{
    bool any = false;
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *s = &image->segments[i];
        if (s->memory != memory)
            continue;
        if (!any)
            *start = s->address;
        *end = end_of(s);
        any = true;
    }
    return any;
}

size_t image_read(const struct image *image, enum memory memory, uint64_t address, uint8_t *out,
                  size_t length, uint8_t fill)
{
    size_t had = 0;
    memset(out, fill, length);
    for (size_t i = first_behind(image, memory, address); i < image->count; i++) {
        const struct segment *s = &image->segments[i];
        if (s->memory != memory || (s->address > address && s->address - address >= length))
            break;
        uint64_t from = s->address > address ? s->address : address;
        size_t at = (size_t)(from - address);
        size_t n = (size_t)(end_of(s) - from);
        if (n > length - at)
            n = length - at;
        memcpy(out + at, s->data + (from - s->address), n);
        had += n;
    }
    return had;
}

/* ---- adding ---- */

static int append(struct segment *segment, const uint8_t *data, size_t length, struct error *err)
{
    uint8_t *grown = realloc(segment->data, image_capacity(segment->length + length));
    if (!grown)
        return error_memory(err);
    memcpy(grown + segment->length, data, length);
    segment->data = grown;
    segment->length += length;
    return OK;
}

static void remove_at(struct image *image, size_t at)
{
    free(image->segments[at].data);
    image->count--;
    memmove(&image->segments[at], &image->segments[at + 1],
            (image->count - at) * sizeof *image->segments);
}

static int insert(struct image *image, size_t at, const struct segment *like, const uint8_t *data,
                  struct error *err)
{
    if (image->count == IMAGE_SEGMENTS_MAX)
        return error_set(err, ERR_IMAGE, "more than %d separate segments", IMAGE_SEGMENTS_MAX);
    struct segment *grown =
        realloc(image->segments, image_capacity(image->count + 1) * sizeof *grown);
    if (!grown)
        return error_memory(err);
    image->segments = grown;
    struct segment segment = *like;
    segment.data = malloc(image_capacity(segment.length));
    if (!segment.data)
        return error_memory(err);
    memcpy(segment.data, data, segment.length);
    memmove(&grown[at + 1], &grown[at], (image->count - at) * sizeof *grown);
    grown[at] = segment;
    image->count++;
    return OK;
}

static int check_room(const struct image *image, uint64_t address, size_t length, struct error *err)
{
    size_t room = IMAGE_BYTES_MAX;
    for (size_t i = 0; i < image->count; i++)
        room -= image->segments[i].length;
    if (length > room)
        return error_set(err, ERR_IMAGE, "more than %d MiB of data",
                         IMAGE_BYTES_MAX / (1024 * 1024));
    if (length > UINT64_MAX - address)
        return error_set(err, ERR_IMAGE,
                         "%zu bytes at 0x%" PRIx64 " run past the end of the address space", length,
                         address);
    return OK;
}

int image_add(struct image *image, enum memory memory, uint64_t address, const uint8_t *data,
              size_t length, struct error *err)
{
    if (length == 0)
        return OK;
    int rc = check_room(image, address, length, err);
    if (rc != OK)
        return rc;
    size_t at = first_behind(image, memory, address);
    struct segment *next = at < image->count ? &image->segments[at] : NULL;
    struct segment *before = at > 0 ? &image->segments[at - 1] : NULL;
    if (next && next->memory != memory)
        next = NULL;
    if (before && (before->memory != memory || end_of(before) != address))
        before = NULL;
    if (next && (next->address <= address || next->address - address < length))
        return error_set(err, ERR_IMAGE, "%s address 0x%" PRIx64 " is given twice",
                         memory_name(memory), next->address > address ? next->address : address);
    struct segment fresh = {.memory = memory,
                            .address = address,
                            .length = length,
                            .source = image->source_count ? image->source_count - 1 : 0};
    bool joins_next = next && next->address == address + length;
    rc = before ? append(before, data, length, err) : insert(image, at, &fresh, data, err);
    if (rc != OK)
        return rc;
    image->placed = true;
    size_t grown = before ? at - 1 : at;
    if (!joins_next)
        return OK;
    next = &image->segments[grown + 1];
    rc = append(&image->segments[grown], next->data, next->length, err);
    if (rc == OK)
        remove_at(image, grown + 1);
    return rc;
}

void image_place(struct image *image, uint64_t address)
{
    if (image->placed || image->count != 1 || image->segments[0].length > UINT64_MAX - address)
        return;
    image->segments[0].address = address;
    image->placed = true;
    image_identify(image);
}

static void free_segments(struct image *image)
{
    for (size_t i = 0; i < image->count; i++)
        free(image->segments[i].data);
    free(image->segments);
}

static int copy_segments(struct image *copy, const struct image *image)
{
    copy->segments = malloc(image_capacity(image->count) * sizeof *copy->segments);
    for (; copy->segments && copy->count < image->count; copy->count++) {
        const struct segment *from = &image->segments[copy->count];
        struct segment *to = &copy->segments[copy->count];
        *to = *from;
        to->data = malloc(image_capacity(from->length));
        if (!to->data)
            return ERR_MEMORY;
        memcpy(to->data, from->data, from->length);
    }
    return copy->segments ? OK : ERR_MEMORY;
}

static int copy_sources(struct image *copy, const struct image *image)
{
    copy->sources = calloc(image->source_count + 1, sizeof *copy->sources);
    for (; copy->sources && copy->source_count < image->source_count; copy->source_count++) {
        struct image_source *to = &copy->sources[copy->source_count];
        *to = image->sources[copy->source_count];
        to->name = strdup(to->name);
        if (!to->name)
            return ERR_MEMORY;
    }
    return copy->sources ? OK : ERR_MEMORY;
}

int image_copy(struct image *copy, const struct image *image, struct error *err)
{
    *copy = *image;
    copy->segments = NULL;
    copy->sources = NULL;
    copy->count = copy->source_count = 0;
    if (copy_segments(copy, image) == OK && copy_sources(copy, image) == OK)
        return OK;
    image_free(copy);
    return error_memory(err);
}

void image_free(struct image *image)
{
    free_segments(image);
    for (size_t i = 0; i < image->source_count; i++)
        free(image->sources[i].name);
    free(image->sources);
    *image = (struct image){0};
}
