/* Several files of one command become one image: see image_merge() in image.h. */
#include "image/image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "image/format.h"

static int by_place(const void *left, const void *right)
{
    const struct segment *a = left, *b = right;
    if (a->memory != b->memory)
        return a->memory < b->memory ? -1 : 1;
    return (a->address > b->address) - (a->address < b->address);
}

static const char *name_of(const struct image *image, size_t source)
{
    return source < image->source_count ? image->sources[source].name : "?";
}

/* Segments of both, sorted; those of `from` with their new source numbers. NULL: no memory. */
static struct segment *both(const struct image *into, const struct image *from)
{
    size_t count = into->count + from->count;
    struct segment *all = malloc(image_capacity(count) * sizeof *all);
    if (!all)
        return NULL;
    if (into->count)
        memcpy(all, into->segments, into->count * sizeof *all);
    if (from->count)
        memcpy(all + into->count, from->segments, from->count * sizeof *all);
    for (size_t i = into->count; i < count; i++)
        all[i].source += into->source_count;
    qsort(all, count, sizeof *all, by_place);
    return all;
}

static int check_overlaps(const struct segment *all, size_t count, const struct image *into,
                          const struct image *from, struct error *err)
{
    for (size_t i = 1; i < count; i++) {
        const struct segment *a = &all[i - 1], *b = &all[i];
        if (a->memory != b->memory || b->address - a->address >= a->length)
            continue;
        bool swap = a->source > b->source;
        size_t first = swap ? b->source : a->source, second = swap ? a->source : b->source;
        error_set(err, ERR_IMAGE, "%s and %s both hold %s address 0x%" PRIx64, name_of(into, first),
                  name_of(from, second - into->source_count), memory_name(b->memory), b->address);
        error_hint(err, "give only one of them, or place a raw file elsewhere with FILE@ADDRESS");
        return ERR_IMAGE;
    }
    return OK;
}

static int check_kinds(const struct image *into, const struct image *from, struct error *err)
{
    const struct image *homeless = !into->placed ? into : !from->placed ? from : NULL;
    if (homeless) {
        error_set(err, ERR_USAGE, "%s: a raw binary among several files needs an address",
                  name_of(homeless, 0));
        error_hint(err, "write it as FILE@ADDRESS");
        return ERR_USAGE;
    }
    if (into->machine && from->machine && into->machine != from->machine)
        return error_set(err, ERR_IMAGE, "%s is for %s, but %s is for %s", name_of(into, 0),
                         machine_name(into->machine), name_of(from, 0),
                         machine_name(from->machine));
    if (into->uf2_family && from->uf2_family && into->uf2_family != from->uf2_family)
        return error_set(err, ERR_IMAGE,
                         "%s is for UF2 family 0x%08" PRIx32 ", but %s is for 0x%08" PRIx32,
                         name_of(into, 0), into->uf2_family, name_of(from, 0), from->uf2_family);
    return OK;
}

static size_t total(const struct image *image)
{
    size_t bytes = 0;
    for (size_t i = 0; i < image->count; i++)
        bytes += image->segments[i].length;
    return bytes;
}

static int check_sizes(const struct image *into, const struct image *from, struct error *err)
{
    if (total(from) > IMAGE_BYTES_MAX - total(into))
        return error_set(err, ERR_IMAGE, "%s and %s together hold more than %d MiB",
                         name_of(into, 0), name_of(from, 0), IMAGE_BYTES_MAX / (1024 * 1024));
    if (into->count + from->count > IMAGE_SEGMENTS_MAX)
        return error_set(err, ERR_IMAGE, "%s and %s together hold more than %d segments",
                         name_of(into, 0), name_of(from, 0), IMAGE_SEGMENTS_MAX);
    return OK;
}

/* Puts the list of files of `from` behind that of `into`. */
static int append_sources(struct image *into, struct image *from, struct error *err)
{
    size_t count = into->source_count + from->source_count;
    if (from->source_count == 0)
        return OK;
    struct image_source *sources = realloc(into->sources, count * sizeof *sources);
    if (!sources)
        return error_memory(err);
    memcpy(sources + into->source_count, from->sources, from->source_count * sizeof *sources);
    into->sources = sources;
    into->source_count = count;
    free(from->sources);
    from->sources = NULL;
    from->source_count = 0;
    return OK;
}

/* Grows segments over those that touch them. */
static int join_touching(struct image *image, struct error *err)
{
    size_t kept = 0;
    int rc = OK;
    for (size_t i = 1; i < image->count; i++) {
        struct segment *a = &image->segments[kept], *b = &image->segments[i];
        bool touch = a->memory == b->memory && b->address - a->address == a->length;
        uint8_t *grown =
            touch && rc == OK ? realloc(a->data, image_capacity(a->length + b->length)) : NULL;
        if (!grown) {
            if (touch && rc == OK)
                rc = error_memory(err);
            image->segments[++kept] = *b;
            continue;
        }
        memcpy(grown + a->length, b->data, b->length);
        a->data = grown;
        a->length += b->length;
        free(b->data);
    }
    image->count = image->count ? kept + 1 : 0;
    return rc;
}

static void take_facts(struct image *into, const struct image *from)
{
    if (!into->machine)
        into->machine = from->machine;
    if (!into->has_entry && from->has_entry) {
        into->has_entry = true;
        into->entry = from->entry;
    }
    if (!into->uf2_family)
        into->uf2_family = from->uf2_family;
    if (!into->usb_vid && !into->usb_pid) {
        into->usb_vid = from->usb_vid;
        into->usb_pid = from->usb_pid;
    }
}

int image_merge(struct image *into, struct image *from, struct error *err)
{
    if (into->count == 0 && into->source_count == 0) {
        image_free(into);
        *into = *from;
        *from = (struct image){0};
        return OK;
    }
    int rc = check_kinds(into, from, err);
    if (rc == OK)
        rc = check_sizes(into, from, err);
    if (rc != OK)
        return rc;
    struct segment *all = both(into, from);
    if (!all)
        return error_memory(err);
    rc = check_overlaps(all, into->count + from->count, into, from, err);
    if (rc == OK)
        rc = append_sources(into, from, err);
    if (rc != OK) {
        free(all);
        return rc;
    }
    free(into->segments);
    into->segments = all;
    into->count += from->count;
    from->count = 0;
    rc = join_touching(into, err);
    take_facts(into, from);
    image_free(from);
    image_identify(into);
    return rc;
}
