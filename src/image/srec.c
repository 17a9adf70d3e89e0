/*
 * Motorola S-records (Motorola M68000 Family, Programmer's Reference Manual, appendix C): records
 * "StLL<address><data>CC"; LL counts address, data and checksum, and all bytes from LL to CC add
 * up to 0xff. S1, S2, S3 carry data at a 16, 24, 32 bit address; S9, S8, S7 end the file and say
 * where to start (0: not said); S5 and S6 count the data records. srec_cat leaves the end record
 * out where it knows no start; a right count then shows as well that nothing is missing.
 */
#include "image/records.h"

#include <inttypes.h>

#include "image/pieces.h"

enum { KIND_HEADER = 0, KIND_COUNT16 = 5, KIND_COUNT24 = 6, KIND_END32 = 7 };

/* Bytes of the address by the digit behind the S; 0: no such record (S4 is reserved). */
static const uint8_t address_bytes[] = {2, 2, 3, 4, 0, 2, 3, 4, 3, 2};

struct srec {
    struct records records;
    struct pieces *pieces;
    struct image *image;
    size_t data_records;
    bool counted; /* the last record was a count, and right */
};

struct record {
    unsigned kind;
    uint32_t address;
    size_t length;
    uint8_t *data; /* in rest */
    uint8_t rest[255];
};

static int read_kind(struct records *r, unsigned *kind, struct error *err)
{
    if (*r->next != 'S') {
        input_error(r->in, r->line, err, "the line does not begin with 'S'");
        return ERR_IMAGE;
    }
    r->next++;
    *kind = r->next < r->end ? (unsigned)*r->next - '0' : UINT32_MAX;
    if (*kind > 9 || address_bytes[*kind] == 0) {
        input_error(r->in, r->line, err, "no record type S0 to S3 or S5 to S9");
        return ERR_IMAGE;
    }
    r->next++;
    return OK;
}

static int read_record(struct srec *srec, struct record *record, struct error *err)
{
    struct records *r = &srec->records;
    uint8_t count = 0, *bytes = record->rest;
    unsigned sum = 0;
    int rc = read_kind(r, &record->kind, err);
    if (rc == OK)
        rc = records_bytes(r, &count, 1, &sum, err);
    if (rc != OK)
        return rc;
    size_t width = address_bytes[record->kind];
    if (count < width + 1)
        return input_error(r->in, r->line, err,
                           "length %d is too short for the address and checksum of an S%u record",
                           count, record->kind);
    rc = records_bytes(r, bytes, count, &sum, err);
    if (rc != OK)
        return rc;
    if ((sum & 0xff) != 0xff)
        return input_error(r->in, r->line, err,
                           "the checksum is 0x%02x, but the bytes of the record want 0x%02x",
                           bytes[count - 1], (bytes[count - 1] + 0xff - sum) & 0xff);
    record->address = 0;
    for (size_t i = 0; i < width; i++)
        record->address = record->address << 8 | bytes[i];
    record->length = count - width - 1;
    record->data = bytes + width;
    return records_line_end(r, err);
}

static int check_count(struct srec *srec, const struct record *record, struct error *err)
{
    size_t mask = record->kind == KIND_COUNT16 ? 0xffff : 0xffffff;
    srec->counted = record->address == (srec->data_records & mask);
    if (srec->counted)
        return OK;
    return input_error(srec->records.in, srec->records.line, err,
                       "%" PRIu32 " data records are announced, but %zu are there", record->address,
                       srec->data_records);
}

static int add_data(struct srec *srec, const struct record *record, struct error *err)
{
    const struct records *r = &srec->records;
    uint64_t limit = (uint64_t)1 << (8 * address_bytes[record->kind]);
    if (record->address + (uint64_t)record->length > limit)
        return input_error(r->in, r->line, err,
                           "the record runs past the last address that S%u can state",
                           record->kind);
    srec->data_records++;
    srec->counted = false;
    return pieces_add(srec->pieces, record->address, record->data, record->length, r->line, err);
}

static int use_record(struct srec *srec, const struct record *record, struct error *err)
{
    if (record->kind == KIND_HEADER)
        return OK;
    if (record->kind == KIND_COUNT16 || record->kind == KIND_COUNT24)
        return check_count(srec, record, err);
    if (record->kind < KIND_COUNT16)
        return add_data(srec, record, err);
    if (record->address != 0) {
        srec->image->has_entry = true;
        srec->image->entry = record->address;
    }
    return records_only_space(&srec->records, "last (S7, S8 or S9)", err);
}

static int scan(const struct input *in, struct pieces *pieces, struct image *image,
                struct error *err)
{
    struct srec srec = {.records = records_of(in), .pieces = pieces, .image = image};
    struct record record = {0};
    while (records_next(&srec.records)) {
        int rc = read_record(&srec, &record, err);
        if (rc == OK)
            rc = use_record(&srec, &record, err);
        if (rc != OK || record.kind >= KIND_END32)
            return rc;
    }
    if (srec.counted)
        return OK;
    return input_error(in, srec.records.line, err,
                       "the file ends without an S7, S8 or S9 record: it is cut off");
}

/* Type, length and the beginning of the address. */
static bool recognise(const struct input *in)
{
    return records_begin(in, 'S', 5);
}

const struct format format_srec = {FORMAT_SREC, true, recognise, scan};
