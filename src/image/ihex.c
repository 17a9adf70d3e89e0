/*
 * Intel HEX (Intel, "Hexadecimal Object File Format Specification", revision A, 1988): records
 * ":LLAAAATT<data>CC", LL data bytes at offset AAAA, all bytes of a record adding up to 0.
 *
 * Two ways to reach beyond 64 KiB exist: type 02 sets a segment (times 16), type 04 the upper half
 * of a linear address. What happens past the end of a segment is written down (it wraps) but done
 * differently by every tool; such records are refused.
 */
#include "image/records.h"

#include <inttypes.h>

#include "base/bytes.h"
#include "image/pieces.h"

enum {
    TYPE_DATA = 0,
    TYPE_END = 1,
    TYPE_SEGMENT = 2,
    TYPE_START_SEGMENT = 3,
    TYPE_LINEAR = 4,
    TYPE_START_LINEAR = 5,
};

enum { REST = 4 /* bytes of a record beside its length and data */, SEGMENT_SIZE = 0x10000 };

struct ihex {
    struct records records;
    struct pieces *pieces;
    struct image *image;
    uint32_t base;
    bool linear; /* the last base was of type 04 */
};

struct record {
    uint8_t length, type;
    uint16_t offset;
    uint8_t *data;            /* in rest */
    uint8_t rest[255 + REST]; /* offset(2) type(1) data checksum(1) */
};

static int read_record(struct ihex *hex, struct record *record, struct error *err)
{
    struct records *r = &hex->records;
    if (*r->next != ':')
        return input_error(r->in, r->line, err, "the line does not begin with ':'");
    r->next++;
    unsigned sum = 0;
    int rc = records_bytes(r, &record->length, 1, &sum, err);
    if (rc == OK)
        rc = records_bytes(r, record->rest, (size_t)record->length + REST, &sum, err);
    if (rc != OK)
        return rc;
    record->offset = get_be16(record->rest);
    record->type = record->rest[2];
    record->data = record->rest + 3;
    uint8_t check = record->data[record->length];
    if (sum & 0xff)
        return input_error(r->in, r->line, err,
                           "the checksum is 0x%02x, but the bytes of the record want 0x%02x", check,
                           (check - sum) & 0xff);
    return records_line_end(r, err);
}

static int add_data(struct ihex *hex, const struct record *record, struct error *err)
{
    const struct records *r = &hex->records;
    uint64_t address = (uint64_t)hex->base + record->offset;
    if (!hex->linear && record->offset + record->length > SEGMENT_SIZE)
        return input_error(r->in, r->line, err,
                           "the record runs past the end of its 64 KiB segment");
    if (hex->linear && address + record->length > (uint64_t)UINT32_MAX + 1)
        return input_error(r->in, r->line, err, "the record runs past the end of 4 GiB");
    return pieces_add(hex->pieces, address, record->data, record->length, r->line, err);
}

static int set_base(struct ihex *hex, const struct record *record)
{
    hex->linear = record->type == TYPE_LINEAR;
    uint32_t value = get_be16(record->data);
    hex->base = hex->linear ? value << 16 : value << 4;
    return OK;
}

static int set_entry(struct ihex *hex, const struct record *record)
{
    const uint8_t *data = record->data;
    hex->image->has_entry = true;
    if (record->type == TYPE_START_LINEAR)
        hex->image->entry = get_be32(data);
    else
        hex->image->entry = ((uint32_t)get_be16(data) << 4) + get_be16(data + 2);
    return OK;
}

static int check_length(const struct ihex *hex, const struct record *record, struct error *err)
{
    static const uint8_t lengths[] = {
        [TYPE_END] = 0,    [TYPE_SEGMENT] = 2,      [TYPE_START_SEGMENT] = 4,
        [TYPE_LINEAR] = 2, [TYPE_START_LINEAR] = 4,
    };
    const struct records *r = &hex->records;
    if (record->type > TYPE_START_LINEAR)
        return input_error(r->in, r->line, err, "record type %02x does not exist", record->type);
    if (record->type != TYPE_DATA && record->length != lengths[record->type])
        return input_error(r->in, r->line, err, "a record of type %02x holds %d bytes, this one %d",
                           record->type, lengths[record->type], record->length);
    return OK;
}

static int use_record(struct ihex *hex, const struct record *record, struct error *err)
{
    int rc = check_length(hex, record, err);
    if (rc != OK)
        return rc;
    switch (record->type) {
    case TYPE_DATA:
        return add_data(hex, record, err);
    case TYPE_SEGMENT:
    case TYPE_LINEAR:
        return set_base(hex, record);
    case TYPE_START_SEGMENT:
    case TYPE_START_LINEAR:
        return set_entry(hex, record);
    default: /* TYPE_END */
        return records_only_space(&hex->records, "end-of-file", err);
    }
}

static int scan(const struct input *in, struct pieces *pieces, struct image *image,
                struct error *err)
{
    struct ihex hex = {.records = records_of(in), .pieces = pieces, .image = image};
    struct record record = {0};
    while (records_next(&hex.records)) {
        int rc = read_record(&hex, &record, err);
        if (rc == OK)
            rc = use_record(&hex, &record, err);
        if (rc != OK || record.type == TYPE_END)
            return rc;
    }
    return input_error(in, hex.records.line, err,
                       "the file ends without an end-of-file record: it is cut off");
}

/* The length of the first record is enough to leave its faults to scan(). */
static bool recognise(const struct input *in)
{
    return records_begin(in, ':', 2);
}

const struct format format_ihex = {FORMAT_IHEX, true, recognise, scan};
