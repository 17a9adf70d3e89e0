/* Lines of hex digits: see records.h. */
#include "image/records.h"

#include <ctype.h>

/* Value of a hex digit with bit 4 set; 0: no digit. */
enum { DIGIT = 0x10 };

static const uint8_t digits[256] = {
    ['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14, ['5'] = 0x15,
    ['6'] = 0x16, ['7'] = 0x17, ['8'] = 0x18, ['9'] = 0x19, ['A'] = 0x1a, ['B'] = 0x1b,
    ['C'] = 0x1c, ['D'] = 0x1d, ['E'] = 0x1e, ['F'] = 0x1f, ['a'] = 0x1a, ['b'] = 0x1b,
    ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f,
};

struct records records_of(const struct input *in)
{
    return (struct records){
        .in = in, .next = in->bytes, .end = in->bytes + in->length, .start = in->bytes, .line = 1};
}

bool records_next(struct records *records)
{
    const uint8_t *p = records->next;
    for (; p < records->end; p++) {
        if (*p == '\n' || (*p == '\r' && !(p + 1 < records->end && p[1] == '\n')))
            records->line++;
        else if (*p != ' ' && *p != '\t' && *p != '\r')
            break;
    }
    records->start = records->next = p;
    return p < records->end;
}

/* What is wrong with the digits from `next` on, of which `count` bytes were wanted. */
static int bad_digit(const struct records *records, size_t count, struct error *err)
{
    const uint8_t *p = records->next;
    while (p < records->end && digits[*p])
        p++;
    if (p == records->end || *p == '\r' || *p == '\n')
        return input_error(records->in, records->line, err,
                           "the record ends %zu digits too early: it is cut off",
                           2 * count - (size_t)(p - records->next));
    size_t column = (size_t)(p - records->start) + 1;
    if (isprint(*p))
        return input_error(records->in, records->line, err, "'%c' in column %zu is no hex digit",
                           *p, column);
    return input_error(records->in, records->line, err, "byte 0x%02x in column %zu is no hex digit",
                       *p, column);
}

int records_bytes(struct records *records, uint8_t *out, size_t count, unsigned *sum,
                  struct error *err)
{
    const uint8_t *p = records->next;
    if ((size_t)(records->end - p) < 2 * count)
        return bad_digit(records, count, err);
    unsigned good = DIGIT, total = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned high = digits[p[2 * i]], low = digits[p[2 * i + 1]];
        good &= high & low;
        out[i] = (uint8_t)(high << 4 | (low & 0xf));
        total += out[i];
    }
    if (!(good & DIGIT))
        return bad_digit(records, count, err);
    *sum += total;
    records->next = p + 2 * count;
    return OK;
}

int records_line_end(struct records *records, struct error *err)
{
    const uint8_t *p = records->next;
    while (p < records->end && (*p == ' ' || *p == '\t'))
        p++;
    records->next = p;
    if (p == records->end || *p == '\r' || *p == '\n')
        return OK;
    return input_error(records->in, records->line, err,
                       "the record goes on in column %zu, where its length says it ends",
                       (size_t)(p - records->start) + 1);
}

int records_only_space(struct records *records, const char *last, struct error *err)
{
    if (!records_next(records))
        return OK;
    input_error(records->in, records->line, err, "something follows the %s record", last);
    return error_hint(err, "two files may have been joined: give mflash both instead");
}

bool records_begin(const struct input *in, char mark, size_t wanted)
{
    struct records records = records_of(in);
    if (!records_next(&records) || *records.next != (uint8_t)mark)
        return false;
    const uint8_t *p = records.next + 1;
    if ((size_t)(records.end - p) < wanted)
        return false;
    for (size_t i = 0; i < wanted; i++)
        if (!digits[p[i]])
            return false;
    return true;
}
