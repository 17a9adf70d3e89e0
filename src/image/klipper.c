/*
 * The data dictionary inside a Klipper program (Klipper docs/Protocol.md): JSON, compressed by zlib
 * at level 9, so that it begins with 78 da. These two bytes come up by chance as well (dozens of
 * times in code for Cortex-M0), so every place is tried, and the first stream that ends properly
 * and is Klipper's wins. A hostile image may be made of thousands of streams that blow up: both
 * one stream and the work on all together are bounded.
 */
#define ZLIB_CONST
#include "image/format.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    JSON_MAX = 64 * 1024,    /* real ones have 6 to 12 KiB */
    STREAM_MAX = 128 * 1024, /* compressed */
    WORK_MAX = 64 * 1024 * 1024,
    WORK_PER_TRY = 64,
};

struct search {
    z_stream z;
    uint8_t *json;
    size_t work; /* inflated bytes still allowed */
};

/* Inflates the stream at `at`. Returns its compressed length, or 0 if it is no dictionary. */
static size_t inflate_at(struct search *search, const uint8_t *at, size_t left)
{
    z_stream *z = &search->z;
    if (inflateReset(z) != Z_OK)
        return 0;
    z->next_in = at;
    z->avail_in = (uInt)(left < STREAM_MAX ? left : STREAM_MAX);
    z->next_out = search->json;
    /* The first byte alone sends most of the chance hits away. */
    z->avail_out = 1;
    if (inflate(z, Z_NO_FLUSH) != Z_OK || z->avail_out != 0 || search->json[0] != '{')
        return 0;
    z->avail_out = JSON_MAX - 1;
    return inflate(z, Z_FINISH) == Z_STREAM_END ? (size_t)z->total_in : 0;
}

/* Texts of an image end up on a terminal: only printable ASCII passes. */
static void copy_text(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%s", text ? text : "");
    for (; *out; out++)
        if (*out < ' ' || *out > '~')
            *out = '?';
}

static uint32_t number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

static bool is_klipper(const json_t *root)
{
    const char *app = json_string_value(json_object_get(root, "app"));
    return app && strcmp(app, "Klipper") == 0 &&
           json_is_object(json_object_get(root, "commands")) &&
           json_is_object(json_object_get(root, "config"));
}

static bool read_dictionary(const struct search *search, struct klipper_facts *facts)
{
    json_t *root = json_loadb((const char *)search->json, search->z.total_out, 0, NULL);
    bool klipper = is_klipper(root);
    if (klipper) {
        const json_t *config = json_object_get(root, "config");
        copy_text(facts->mcu, sizeof facts->mcu, json_string_value(json_object_get(config, "MCU")));
        copy_text(facts->version, sizeof facts->version,
                  json_string_value(json_object_get(root, "version")));
        facts->can_bitrate = number(config, "CANBUS_FREQUENCY");
        facts->serial_baud = number(config, "SERIAL_BAUD");
        facts->can_bridge = number(config, "CANBUS_BRIDGE") != 0;
        facts->reset = number(json_object_get(root, "commands"), "reset");
        facts->present = true;
    }
    json_decref(root);
    return klipper;
}

/* Next 78 da at or after p; NULL if there is none. memchr() is far faster than memmem() where there
 * is little to find, as in blank flash. */
static const uint8_t *next_stream(const uint8_t *p, const uint8_t *end)
{
    for (; end - p >= 2; p++) {
        p = memchr(p, 0x78, (size_t)(end - p - 1));
        if (!p || p[1] == 0xda)
            return p;
    }
    return NULL;
}

static bool find_in_segment(struct search *search, const struct segment *segment,
                            struct klipper_facts *facts)
{
    const uint8_t *end = segment->data + segment->length;
    const uint8_t *p = next_stream(segment->data, end);
    for (; p && search->work; p = next_stream(p + 1, end)) {
        size_t length = inflate_at(search, p, (size_t)(end - p));
        size_t cost = WORK_PER_TRY + (size_t)search->z.total_out;
        search->work -= cost < search->work ? cost : search->work;
        if (length == 0 || !read_dictionary(search, facts))
            continue;
        facts->memory = segment->memory;
        facts->address = segment->address + (uint64_t)(p - segment->data);
        facts->length = (uint32_t)length;
        facts->crc = (uint32_t)crc32_z(0, p, length);
        return true;
    }
    return false;
}

void klipper_find(const struct image *image, struct klipper_facts *facts)
{
    struct search search = {.work = WORK_MAX, .json = malloc(JSON_MAX)};
    *facts = (struct klipper_facts){0};
    if (search.json && inflateInit(&search.z) == Z_OK) {
        for (size_t i = 0; i < image->count; i++)
            if (image->segments[i].memory == MEM_FLASH &&
                find_in_segment(&search, &image->segments[i], facts))
                break;
        (void)inflateEnd(&search.z);
    }
    free(search.json);
}

bool klipper_dictionary(const uint8_t *stream, size_t length, struct klipper_facts *facts)
{
    struct search search = {.json = malloc(JSON_MAX)};
    *facts = (struct klipper_facts){0};
    if (search.json && inflateInit(&search.z) == Z_OK) {
        if (length > 0 && inflate_at(&search, stream, length) == length &&
            read_dictionary(&search, facts)) {
            facts->length = (uint32_t)length;
            facts->crc = (uint32_t)crc32_z(0, stream, length);
        }
        (void)inflateEnd(&search.z);
    }
    free(search.json);
    return facts->present;
}

const char *klipper_transport(const struct klipper_facts *facts)
{
    return facts->serial_baud   ? "UART"
           : facts->can_bridge  ? "USB-CAN bridge"
           : facts->can_bitrate ? "CAN"
                                : "USB";
}
