/*
 * Lines of hex digits, as Intel HEX and S-record files have them: a cursor that counts lines (LF,
 * CR or CRLF), and a table-driven decoder.
 */
#ifndef MFLASH_RECORDS_H
#define MFLASH_RECORDS_H

#include "image/format.h"

struct records {
    const struct input *in;
    const uint8_t *next, *end;
    const uint8_t *start; /* of the record at hand: its mark */
    size_t line;          /* from 1 */
};

struct records records_of(const struct input *in);

/* Skips white space. False at the end of the file; else `start` and `next` are at a record. */
bool records_next(struct records *records);

/* Decodes `count` bytes from `next` on and adds them to *sum. */
int records_bytes(struct records *records, uint8_t *out, size_t count, unsigned *sum,
                  struct error *err);

/* ERR_IMAGE unless the line ends here. */
int records_line_end(struct records *records, struct error *err);

/* ERR_IMAGE if anything but white space is left. `last`: what the last record is called. */
int records_only_space(struct records *records, const char *last, struct error *err);

/* True if the file begins, after white space, with the mark and `digits` hex digits. */
bool records_begin(const struct input *in, char mark, size_t digits);

#endif
