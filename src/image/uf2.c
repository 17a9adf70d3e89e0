/*
 * UF2 (Microsoft, "USB Flashing Format"): a row of independent 512-byte blocks, each with its own
 * address, its number and the number of all, in any order. Readers skip blocks whose three magic
 * words do not match; a block lost that way is missed by its number.
 *
 * Families tell chips apart that share a drive-type bootloader; a file for several chips is
 * refused, because an image is for one.
 */
#include "image/pieces.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"

enum {
    BLOCK = 512,
    AT_FLAGS = 8,
    AT_ADDRESS = 12,
    AT_SIZE = 16,
    AT_NUMBER = 20,
    AT_COUNT = 24,
    AT_FAMILY = 28,
    AT_DATA = 32,
    AT_MAGIC_END = 508,
    DATA_MAX = AT_MAGIC_END - AT_DATA, /* 476 */
    FLAG_NOT_MAIN_FLASH = 0x0001,
    FLAG_FILE_CONTAINER = 0x1000,
    FLAG_FAMILY = 0x2000,
};

#define MAGIC_START0 0x0a324655u
#define MAGIC_START1 0x9e5d5157u
#define MAGIC_END    0x0ab16f30u

/* picotool puts this block in front of images for RP2350 (data sheet, erratum E10): family
 * "absolute", block 0 of 2, 256 times 0xef at the end of the flash window. It is for the drive's
 * driver, not for the flash. */
#define E10_FAMILY  0xe48bff57u
#define E10_ADDRESS 0x10ffff00u
enum { E10_COUNT = 2 };

struct block {
    size_t offset;
    uint32_t flags, address, size, number, count, family;
};

struct uf2 {
    const struct input *in;
    struct pieces *pieces;
    uint8_t *seen; /* one bit for each block number */
    uint32_t count, found, family;
    bool any;
};

static bool read_block(const struct input *in, size_t offset, struct block *block)
{
    const uint8_t *p = in->bytes + offset;
    if (get_le32(p) != MAGIC_START0 || get_le32(p + 4) != MAGIC_START1 ||
        get_le32(p + AT_MAGIC_END) != MAGIC_END)
        return false;
    *block = (struct block){
        .offset = offset,
        .flags = get_le32(p + AT_FLAGS),
        .address = get_le32(p + AT_ADDRESS),
        .size = get_le32(p + AT_SIZE),
        .number = get_le32(p + AT_NUMBER),
        .count = get_le32(p + AT_COUNT),
    };
    if (block->flags & FLAG_FAMILY)
        block->family = get_le32(p + AT_FAMILY);
    return true;
}

static bool for_drive_only(const struct block *block)
{
    return block->family == E10_FAMILY && block->count == E10_COUNT && block->number == 0 &&
           block->address == E10_ADDRESS;
}

/* The first block says how many there are and for which family; all others must agree. */
static int first_block(struct uf2 *uf2, const struct block *block, struct error *err)
{
    size_t room = uf2->in->length / BLOCK;
    if (block->count == 0 || block->count > room) {
        input_error(uf2->in, block->offset, err,
                    "the file should have %" PRIu32 " blocks, but has room for %zu", block->count,
                    room);
        return ERR_IMAGE;
    }
    uf2->seen = calloc(1, block->count / 8 + 1);
    if (!uf2->seen)
        return error_memory(err);
    uf2->count = block->count;
    uf2->family = block->family;
    uf2->any = true;
    return OK;
}

static int check_block(const struct uf2 *uf2, const struct block *block, struct error *err)
{
    if (block->family != uf2->family) {
        input_error(uf2->in, block->offset, err,
                    "the file holds programs for families 0x%08" PRIx32 " and 0x%08" PRIx32,
                    uf2->family, block->family);
        return error_hint(err, "take the file for your chip alone");
    }
    if (block->count != uf2->count)
        return input_error(uf2->in, block->offset, err,
                           "this block speaks of %" PRIu32 " blocks, the first one of %" PRIu32,
                           block->count, uf2->count);
    if (block->number >= uf2->count)
        return input_error(uf2->in, block->offset, err,
                           "block number %" PRIu32 " of %" PRIu32 " does not exist", block->number,
                           uf2->count);
    if (uf2->seen[block->number / 8] & 1 << block->number % 8)
        return input_error(uf2->in, block->offset, err, "block number %" PRIu32 " comes twice",
                           block->number);
    if (block->size > DATA_MAX)
        return input_error(uf2->in, block->offset, err,
                           "a payload of %" PRIu32 " bytes does not fit into a block", block->size);
    if ((uint64_t)block->address + block->size > (uint64_t)UINT32_MAX + 1)
        return input_error(uf2->in, block->offset, err, "the block runs past the end of 4 GiB");
    return OK;
}

static int add_block(struct uf2 *uf2, const struct block *block, struct error *err)
{
    int rc = uf2->any ? OK : first_block(uf2, block, err);
    if (rc == OK)
        rc = check_block(uf2, block, err);
    if (rc != OK)
        return rc;
    uf2->seen[block->number / 8] |= (uint8_t)(1 << block->number % 8);
    uf2->found++;
    if (block->flags & (FLAG_NOT_MAIN_FLASH | FLAG_FILE_CONTAINER))
        return OK;
    return pieces_add(uf2->pieces, block->address, uf2->in->bytes + block->offset + AT_DATA,
                      block->size, block->offset, err);
}

static int check_complete(const struct uf2 *uf2, struct error *err)
{
    const struct input *in = uf2->in;
    if (!uf2->any)
        return input_error(in, 0, err, "no complete UF2 block");
    if (uf2->found == uf2->count)
        return OK;
    uint32_t missing = 0;
    while (uf2->seen[missing / 8] & 1 << missing % 8)
        missing++;
    return input_error(in, in->length, err,
                       "%" PRIu32 " of %" PRIu32
                       " blocks are missing, the first is number %" PRIu32,
                       uf2->count - uf2->found, uf2->count, missing);
}

static int add_blocks(struct uf2 *uf2, struct error *err)
{
    const struct input *in = uf2->in;
    struct block block;
    size_t offset = 0;
    for (; in->length - offset >= BLOCK; offset += BLOCK) {
        if (!read_block(in, offset, &block) || for_drive_only(&block))
            continue;
        int rc = add_block(uf2, &block, err);
        if (rc != OK)
            return rc;
    }
    if (offset != in->length)
        return input_error(in, offset, err,
                           "the file ends in the middle of a block: it is cut off");
    return check_complete(uf2, err);
}

static int scan(const struct input *in, struct pieces *pieces, struct image *image,
                struct error *err)
{
    struct uf2 uf2 = {.in = in, .pieces = pieces};
    int rc = add_blocks(&uf2, err);
    image->uf2_family = uf2.family;
    free(uf2.seen);
    return rc;
}

static bool recognise(const struct input *in)
{
    return in->length >= 8 && get_le32(in->bytes) == MAGIC_START0 &&
           get_le32(in->bytes + 4) == MAGIC_START1;
}

const struct format format_uf2 = {FORMAT_UF2, false, recognise, scan};
