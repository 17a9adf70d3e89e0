/* Test images: see image_file.h. */
#include "image_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"

void file_clear(struct file *file)
{
    file->length = 0;
}

void file_bytes(struct file *file, const void *bytes, size_t length)
{
    assert_true(length <= sizeof file->bytes - file->length);
    memcpy(file->bytes + file->length, bytes, length);
    file->length += length;
}

void file_text(struct file *file, const char *text)
{
    file_bytes(file, text, strlen(text));
}

void file_fill(struct file *file, uint8_t byte, size_t count)
{
    for (size_t i = 0; i < count; i++)
        file_bytes(file, &byte, 1);
}

void file_le16(struct file *file, uint16_t value)
{
    uint8_t bytes[2];
    put_le16(bytes, value);
    file_bytes(file, bytes, sizeof bytes);
}

void file_le32(struct file *file, uint32_t value)
{
    uint8_t bytes[4];
    put_le32(bytes, value);
    file_bytes(file, bytes, sizeof bytes);
}

void file_put_le32(struct file *file, size_t at, uint32_t value)
{
    assert_true(at + 4 <= file->length);
    put_le32(file->bytes + at, value);
}

struct image parsed(const struct file *file, const uint64_t *address)
{
    struct image image;
    struct error err;
    if (image_parse(&image, "file", file->bytes, file->length, address, &err) != OK)
        fail_msg("refused: %s", err.message);
    return image;
}

struct image parsed_text(const char *text)
{
    struct image image;
    struct error err;
    if (image_parse(&image, "file", (const uint8_t *)text, strlen(text), NULL, &err) != OK)
        fail_msg("refused: %s", err.message);
    return image;
}

static void refused_bytes(const uint8_t *bytes, size_t length, enum error_code code,
                          const char *words)
{
    struct image image;
    struct error err;
    int rc = image_parse(&image, "file", bytes, length, NULL, &err);
    if (rc == OK)
        fail_msg("accepted, though it should be refused: %s", words);
    assert_int_equal(rc, code);
    assert_int_equal(err.code, code);
    if (!strstr(err.message, words))
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
    assert_true(strncmp(err.message, "file", 4) == 0);
    assert_true(err.hint[0] != '\0');
    assert_int_equal(image.count, 0);
    assert_null(image.segments);
}

void refused_as(const struct file *file, enum error_code code, const char *words)
{
    refused_bytes(file->bytes, file->length, code, words);
}

void refused(const struct file *file, const char *words)
{
    refused_as(file, ERR_IMAGE, words);
}

void refused_text(const char *text, const char *words)
{
    refused_bytes((const uint8_t *)text, strlen(text), ERR_IMAGE, words);
}

void check_segment(const struct image *image, size_t n, enum memory memory, uint64_t address,
                   const void *bytes, size_t length)
{
    assert_true(n < image->count);
    const struct segment *segment = &image->segments[n];
    assert_int_equal(segment->memory, memory);
    assert_int_equal(segment->address, address);
    assert_int_equal(segment->length, length);
    assert_memory_equal(segment->data, bytes, length);
}
