/*
 * DFU files. Two formats share the 16-byte suffix at the end (USB Device Firmware Upgrade 1.1,
 * appendix B): a raw payload with nothing but that suffix, and ST's DfuSe container (ST UM0391),
 * whose targets and elements carry addresses. Numbers are little endian; the CRC is CRC-32 without
 * the final inversion, over everything before it.
 */
#include "image/pieces.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"

enum {
    SUFFIX = 16, /* device(2) product(2) vendor(2) version(2) "UFD" length(1) crc(4) */
    SUFFIX_PRODUCT = 2,
    SUFFIX_VENDOR = 4,
    SUFFIX_VERSION = 6,
    SUFFIX_MARK = 8,
    SUFFIX_LENGTH = 11,
    SUFFIX_CRC = 12,
    VERSION_1_0 = 0x0100,
    VERSION_1_1 = 0x0110,
    VERSION_DFUSE = 0x011a,
};

enum {
    PREFIX = 11, /* "DfuSe" version(1) size(4) targets(1) */
    PREFIX_SIZE = 6,
    PREFIX_TARGETS = 10,
    TARGET = 274, /* "Target" alternate(1) named(4) name(255) size(4) elements(4) */
    TARGET_SIZE = 266,
    TARGET_ELEMENTS = 270,
    ELEMENT = 8, /* address(4) size(4) */
};

/* The suffix, or NULL: mark, length and version must all be there. */
static const uint8_t *suffix_of(const struct input *in)
{
    if (in->length < SUFFIX)
        return NULL;
    const uint8_t *suffix = in->bytes + in->length - SUFFIX;
    uint16_t version = get_le16(suffix + SUFFIX_VERSION);
    bool known = version == VERSION_1_0 || version == VERSION_1_1 || version == VERSION_DFUSE;
    if (memcmp(suffix + SUFFIX_MARK, "UFD", 3) != 0 || suffix[SUFFIX_LENGTH] != SUFFIX || !known)
        return NULL;
    return suffix;
}

static uint32_t crc_of(const uint8_t *bytes, size_t length)
{
    return ~(uint32_t)crc32_z(0, bytes, length);
}

static int read_suffix(const struct input *in, const uint8_t *suffix, struct image *image,
                       struct error *err)
{
    size_t offset = in->length - SUFFIX;
    uint32_t stated = get_le32(suffix + SUFFIX_CRC);
    uint32_t real = crc_of(in->bytes, in->length - (SUFFIX - SUFFIX_CRC));
    if (stated != real)
        return input_error(in, offset, err,
                           "the DFU suffix states CRC 0x%08" PRIx32
                           ", but the file has 0x%08" PRIx32,
                           stated, real);
    image->usb_vid = get_le16(suffix + SUFFIX_VENDOR);
    image->usb_pid = get_le16(suffix + SUFFIX_PRODUCT);
    return OK;
}

/* ---- a raw payload with a suffix ---- */

static int scan_dfu(const struct input *in, struct pieces *pieces, struct image *image,
                    struct error *err)
{
    const uint8_t *suffix = suffix_of(in);
    int rc = read_suffix(in, suffix, image, err);
    if (rc != OK)
        return rc;
    if (get_le16(suffix + SUFFIX_VERSION) == VERSION_DFUSE)
        return input_error(in, 0, err,
                           "the suffix is that of a DfuSe file, but the file does not "
                           "begin like one");
    image->placed = false;
    return pieces_add(pieces, 0, in->bytes, in->length - SUFFIX, 0, err);
}

static bool recognise_dfu(const struct input *in)
{
    return suffix_of(in) != NULL;
}

const struct format format_dfu = {FORMAT_DFU, false, recognise_dfu, scan_dfu};

/* ---- the DfuSe container ---- */

struct cursor {
    const struct input *in;
    struct pieces *pieces;
    size_t at, end; /* of the container, or of the target at hand */
};

/* Moves over `length` bytes. NULL and an error if they are not there. */
static const uint8_t *take(struct cursor *cursor, size_t length, const char *what,
                           struct error *err)
{
    const uint8_t *bytes = cursor->in->bytes + cursor->at;
    if (length > cursor->end - cursor->at) {
        input_error(cursor->in, cursor->at, err, "%s wants %zu bytes, but only %zu are left", what,
                    length, cursor->end - cursor->at);
        return NULL;
    }
    cursor->at += length;
    return bytes;
}

static int add_element(struct cursor *cursor, struct error *err)
{
    const uint8_t *head = take(cursor, ELEMENT, "an element", err);
    if (!head)
        return ERR_IMAGE;
    size_t offset = cursor->at, size = get_le32(head + 4);
    uint32_t address = get_le32(head);
    const uint8_t *data = take(cursor, size, "the data of an element", err);
    if (!data)
        return ERR_IMAGE;
    if (address + (uint64_t)size > (uint64_t)UINT32_MAX + 1)
        return input_error(cursor->in, offset, err, "the element runs past the end of 4 GiB");
    return pieces_add(cursor->pieces, address, data, size, offset, err);
}

static int add_target(struct cursor *cursor, struct error *err)
{
    size_t offset = cursor->at;
    const uint8_t *head = take(cursor, TARGET, "a target", err);
    if (!head)
        return ERR_IMAGE;
    if (memcmp(head, "Target", 6) != 0)
        return input_error(cursor->in, offset, err, "no target begins here");
    size_t size = get_le32(head + TARGET_SIZE);
    struct cursor inner = *cursor;
    if (!take(cursor, size, "a target", err))
        return ERR_IMAGE;
    inner.end = cursor->at;
    for (uint32_t n = get_le32(head + TARGET_ELEMENTS); n > 0; n--) {
        int rc = add_element(&inner, err);
        if (rc != OK)
            return rc;
    }
    if (inner.at != inner.end)
        return input_error(cursor->in, inner.at, err,
                           "%zu bytes of the target belong to no element", inner.end - inner.at);
    return OK;
}

static int scan_dfuse(const struct input *in, struct pieces *pieces, struct image *image,
                      struct error *err)
{
    const uint8_t *suffix = suffix_of(in);
    if (!suffix || in->length < PREFIX + SUFFIX)
        return input_error(in, in->length, err, "the DfuSe file has no suffix: it is cut off");
    int rc = read_suffix(in, suffix, image, err);
    if (rc != OK)
        return rc;
    if (in->bytes[5] != 1)
        return input_error(in, 5, err, "DfuSe version %d is not known, only 1", in->bytes[5]);
    struct cursor cursor = {.in = in, .pieces = pieces, .at = PREFIX, .end = in->length - SUFFIX};
    if (get_le32(in->bytes + PREFIX_SIZE) != cursor.end)
        return input_error(in, PREFIX_SIZE, err,
                           "the DfuSe header states %" PRIu32 " bytes, but the file has %zu",
                           get_le32(in->bytes + PREFIX_SIZE), cursor.end);
    for (unsigned n = in->bytes[PREFIX_TARGETS]; n > 0 && rc == OK; n--)
        rc = add_target(&cursor, err);
    if (rc == OK && cursor.at != cursor.end)
        rc = input_error(in, cursor.at, err, "%zu bytes belong to no target",
                         cursor.end - cursor.at);
    return rc;
}

static bool recognise_dfuse(const struct input *in)
{
    return in->length >= PREFIX && memcmp(in->bytes, "DfuSe", 5) == 0;
}

const struct format format_dfuse = {FORMAT_DFUSE, false, recognise_dfuse, scan_dfuse};
