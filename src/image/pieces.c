/*
 * Collecting runs of bytes and making segments of them: see pieces.h. The memories of an AVR are
 * told apart here, by the addresses that avr-ld gives to their sections (binutils, avr.sc).
 */
#include "image/pieces.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    AVR_DATA = 0x800000,          /* RAM */
    AVR_EEPROM = 0x810000,        /* .eeprom */
    AVR_SIGNATURE = 0x840000,     /* .signature: which chip it is meant for, cannot be written */
    AVR_SIGNATURE_END = 0x850000, /* .user_signatures and beyond */
    AVR_ZONE = 0x10000,
    AVR_FLASH_MAX = 0x80000, /* the largest AVR has 392 KiB */
};

static int grow_pool(struct pieces *pieces, size_t length, struct error *err)
{
    if (length <= pieces->pool_room - pieces->used)
        return OK;
    size_t room = image_capacity(pieces->used + length);
    uint8_t *pool = realloc(pieces->pool, room);
    if (!pool)
        return error_memory(err);
    pieces->pool = pool;
    pieces->pool_room = room;
    return OK;
}

static int grow_list(struct pieces *pieces, struct error *err)
{
    if (pieces->count < pieces->list_room)
        return OK;
    size_t room = image_capacity(pieces->count + 1);
    struct piece *list = realloc(pieces->list, room * sizeof *list);
    if (!list)
        return error_memory(err);
    pieces->list = list;
    pieces->list_room = room;
    return OK;
}

static int check_bounds(const struct pieces *pieces, uint64_t address, size_t length, size_t where,
                        struct error *err)
{
    if (length > UINT64_MAX - address)
        return input_error(pieces->in, where, err,
                           "%zu bytes at 0x%" PRIx64 " run past the end of the address space",
                           length, address);
    if (length > IMAGE_BYTES_MAX - pieces->used)
        return input_error(pieces->in, where, err, "more than %d MiB of data",
                           IMAGE_BYTES_MAX / (1024 * 1024));
    if (pieces->count == PIECES_MAX)
        return input_error(pieces->in, where, err, "more than %d separate runs of bytes",
                           PIECES_MAX);
    return OK;
}

static void watch(struct pieces *pieces, uint64_t address, size_t length, size_t where)
{
    if (pieces->watched >= address && pieces->watched - address < length && pieces->seen_count < 2)
        pieces->seen[pieces->seen_count++] = where;
}

int pieces_add(struct pieces *pieces, uint64_t address, const uint8_t *data, size_t length,
               size_t where, struct error *err)
{
    if (length == 0)
        return OK;
    if (pieces->watching) {
        watch(pieces, address, length, where);
        return OK;
    }
    int rc = check_bounds(pieces, address, length, where, err);
    if (rc == OK)
        rc = grow_pool(pieces, length, err);
    if (rc == OK)
        rc = grow_list(pieces, err);
    if (rc != OK)
        return rc;
    size_t at = pieces->used;
    memcpy(pieces->pool + at, data, length);
    pieces->used += length;
    struct piece *behind = pieces->list + pieces->count;
    if (pieces->count && behind[-1].address + behind[-1].length == address)
        behind[-1].length += length;
    else
        pieces->list[pieces->count++] =
            (struct piece){.address = address, .length = length, .at = at, .where = where};
    return OK;
}

static int by_address(const void *left, const void *right)
{
    const struct piece *a = left, *b = right;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at);
}

bool pieces_sort(struct pieces *pieces, uint64_t *address)
{
    const struct piece *list = pieces->list;
    bool sorted = true;
    for (size_t i = 1; i < pieces->count && sorted; i++)
        sorted = list[i - 1].address <= list[i].address;
    if (!sorted)
        qsort(pieces->list, pieces->count, sizeof *pieces->list, by_address);
    for (size_t i = 1; i < pieces->count; i++)
        if (list[i].address - list[i - 1].address < list[i - 1].length) {
            *address = list[i].address;
            return true;
        }
    return false;
}

/* Number of pieces, from `first` on, that follow each other without a gap; *length: their bytes. */
static size_t run_of(const struct pieces *pieces, size_t first, size_t *length)
{
    const struct piece *start = &pieces->list[first];
    size_t n = 1;
    *length = start->length;
    while (first + n < pieces->count && start[n].address - start->address == *length)
        *length += start[n++].length;
    return n;
}

/* Which AVR memory a run belongs to. False if it lies in none, or in two. */
static bool avr_memory(uint64_t address, size_t length, enum memory *memory, uint64_t *offset)
{
    *offset = address;
    *memory = MEM_FLASH;
    if (address < AVR_DATA)
        return length <= AVR_DATA - address;
    if (address < AVR_EEPROM || address >= AVR_SIGNATURE)
        return false;
    uint64_t zone = (address - AVR_EEPROM) / AVR_ZONE;
    *offset = (address - AVR_EEPROM) % AVR_ZONE;
    *memory = zone == 0 ? MEM_EEPROM : zone == 1 ? MEM_FUSE : MEM_LOCK;
    return length <= AVR_ZONE - *offset;
}

static bool avr_signature(uint64_t address, size_t length)
{
    return address >= AVR_SIGNATURE && address < AVR_SIGNATURE_END &&
           length <= AVR_SIGNATURE_END - address;
}

bool pieces_look_avr(const struct pieces *pieces)
{
    bool other = false;
    size_t length;
    for (size_t i = 0; i < pieces->count; i += run_of(pieces, i, &length)) {
        enum memory memory;
        uint64_t offset, address = pieces->list[i].address;
        (void)run_of(pieces, i, &length);
        if (avr_signature(address, length)) {
            other = true;
            continue;
        }
        if (!avr_memory(address, length, &memory, &offset))
            return false;
        if (memory == MEM_FLASH && (address >= AVR_FLASH_MAX || length > AVR_FLASH_MAX - address))
            return false;
        other |= memory != MEM_FLASH;
    }
    return other;
}

/* Copies a run into one block. A file that is one run already gives its pool away. */
static uint8_t *take_bytes(struct pieces *pieces, size_t first, size_t n, size_t length)
{
    if (n == 1 && length == pieces->used) {
        uint8_t *pool = pieces->pool;
        pieces->pool = NULL;
        pieces->pool_room = 0;
        return pool;
    }
    uint8_t *bytes = malloc(image_capacity(length));
    size_t done = 0;
    for (size_t i = first; bytes && i < first + n; i++) {
        memcpy(bytes + done, pieces->pool + pieces->list[i].at, pieces->list[i].length);
        done += pieces->list[i].length;
    }
    return bytes;
}

static size_t count_runs(const struct pieces *pieces)
{
    size_t runs = 0, length;
    for (size_t i = 0; i < pieces->count; i += run_of(pieces, i, &length))
        runs++;
    return runs;
}

static int add_run(struct pieces *pieces, bool split_avr, size_t first, size_t n, size_t length,
                   struct image *image, struct error *err)
{
    const struct piece *piece = &pieces->list[first];
    struct segment segment = {.address = piece->address, .length = length};
    if (split_avr && avr_signature(piece->address, length))
        return OK;
    if (split_avr && !avr_memory(piece->address, length, &segment.memory, &segment.address))
        return input_error(pieces->in, piece->where, err,
                           "%zu bytes at 0x%" PRIx64 " are in no memory of an AVR that could be "
                           "written",
                           length, piece->address);
    segment.data = take_bytes(pieces, first, n, length);
    if (!segment.data)
        return error_memory(err);
    image->segments[image->count++] = segment;
    return OK;
}

int pieces_to_segments(struct pieces *pieces, bool split_avr, struct image *image,
                       struct error *err)
{
    size_t runs = count_runs(pieces), length;
    if (runs > IMAGE_SEGMENTS_MAX)
        return input_error(pieces->in, pieces->list[pieces->count - 1].where, err,
                           "%zu separate segments; no more than %d are taken", runs,
                           IMAGE_SEGMENTS_MAX);
    image->segments = malloc(image_capacity(runs) * sizeof *image->segments);
    if (!image->segments)
        return error_memory(err);
    for (size_t i = 0, n; i < pieces->count; i += n) {
        n = run_of(pieces, i, &length);
        int rc = add_run(pieces, split_avr, i, n, length, image, err);
        if (rc != OK)
            return rc;
    }
    return OK;
}

void pieces_free(struct pieces *pieces)
{
    free(pieces->pool);
    free(pieces->list);
    *pieces = (struct pieces){0};
}
