/*
 * Test images: files put together in memory, byte by byte, and the two ways a parse can end.
 */
#ifndef IMAGE_FILE_H
#define IMAGE_FILE_H

#include "image/image.h"

/* A file in the making. */
struct file {
    uint8_t bytes[1 << 20];
    size_t length;
};

void file_clear(struct file *file);
void file_bytes(struct file *file, const void *bytes, size_t length);
void file_text(struct file *file, const char *text);
void file_fill(struct file *file, uint8_t byte, size_t count);
void file_le16(struct file *file, uint16_t value);
void file_le32(struct file *file, uint32_t value);
void file_put_le32(struct file *file, size_t at, uint32_t value); /* over what is there */

/* Parses it under the name "file"; the test fails if it is refused. */
struct image parsed(const struct file *file, const uint64_t *address);
struct image parsed_text(const char *text);

/* Parses it and checks that it is refused with `code`, and a message that holds `words`. Some hint
 * must be there. */
void refused_as(const struct file *file, enum error_code code, const char *words);
void refused(const struct file *file, const char *words);
void refused_text(const char *text, const char *words);

/* Checks one segment. */
void check_segment(const struct image *image, size_t n, enum memory memory, uint64_t address,
                   const void *bytes, size_t length);

#endif
