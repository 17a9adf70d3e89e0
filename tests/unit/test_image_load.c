/* Loading: what is taken for which format, what is no firmware at all, and files that are not. */
#include "image_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <cmocka.h>

static struct file file;
static struct error err;
static char directory[] = "/tmp/mflash-load-XXXXXX";
static char path[64];

static int fresh(void **state)
{
    (void)state;
    file_clear(&file);
    error_clear(&err);
    return 0;
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

static const char *in_directory(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static const char *written(const char *name)
{
    FILE *out = fopen(in_directory(name), "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file.bytes, 1, file.length, out), file.length);
    assert_int_equal(fclose(out), 0);
    return path;
}

static void raw_bytes_wait_for_an_address(void **state)
{
    (void)state;
    file_bytes(&file, "\0\1\2\3", 4);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.format, FORMAT_RAW);
    assert_false(image.placed);
    check_segment(&image, 0, MEM_FLASH, 0, "\0\1\2\3", 4);
    image_free(&image);
}

static void raw_bytes_go_where_they_are_told(void **state)
{
    const uint64_t address = 0x08004000;
    (void)state;
    file_bytes(&file, "\0\1\2\3", 4);
    struct image image = parsed(&file, &address);
    assert_true(image.placed);
    check_segment(&image, 0, MEM_FLASH, 0x08004000, "\0\1\2\3", 4);
    image_free(&image);
}

static void raw_bytes_past_the_address_space_are_refused(void **state)
{
    const uint64_t address = UINT64_MAX - 2;
    struct image image;
    (void)state;
    int rc = image_parse(&image, "file", (const uint8_t *)"\0\1\2\3", 4, &address, &err);
    assert_int_equal(rc, ERR_USAGE);
    assert_null(image.segments);
}

static void all_ff_is_readable(void **state)
{
    (void)state;
    file_fill(&file, 0xff, 4096);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image_bytes(&image, MEM_FLASH), 4096);
    image_free(&image);
}

static void an_empty_file_is_refused(void **state)
{
    (void)state;
    refused(&file, "file: the file is empty");
}

static void web_pages_are_refused(void **state)
{
    (void)state;
    refused_text("<!DOCTYPE html>\n<html>", "this file is a web page");
    refused_text("\xef\xbb\xbf\r\n  <HTML lang=en>", "this file is a web page");
    refused_text("<?xml version=\"1.0\"?>", "this file is a web page");
    file_text(&file, "<html>");
    file_fill(&file, 0, 10); /* not all text, yet a page */
    refused(&file, "this file is a web page");
}

static void texts_are_refused(void **state)
{
    (void)state;
    refused_text("CONFIG_LOW_LEVEL_OPTIONS=y\nCONFIG_MACH_STM32=y\n", "this file is plain text");
    refused_text("404: Not Found", "this file is plain text");
    refused_text("Datei nicht gefunden: Gr\xc3\xb6\xc3\x9f"
                 "e",
                 "this file is plain text");
    refused_text("{\"message\": \"Not Found\"}", "this file is plain text");
    refused_text("version https://git-lfs.github.com/spec/v1\n", "this file is plain text");
    refused_text("Sorry", "this file is plain text");
}

static void bytes_that_are_no_characters_make_it_raw(void **state)
{
    static const char *const raws[] = {"hello\1", "hello\xff", "hello\xc3", "hello\xc3(", "\x80x"};
    (void)state;
    for (size_t i = 0; i < sizeof raws / sizeof raws[0]; i++) {
        struct image image = parsed_text(raws[i]);
        assert_int_equal(image.format, FORMAT_RAW);
        image_free(&image);
    }
}

static void archives_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *words;
    } cases[] = {
        {"PK\3\4\0\0", 6, "a zip archive"},
        {"\x1f\x8b\x08\0", 4, "gzip-compressed"},
        {"BZh9\1", 5, "bzip2-compressed"},
        {"\xfd"
         "7zXZ\0",
         6, "xz-compressed"},
        {"\x28\xb5\x2f\xfd\0", 5, "zstd-compressed"},
        {"7z\xbc\xaf\x27\x1c", 6, "a 7z archive"},
        {"Rar!\x1a\x07\1", 7, "a rar archive"},
        {"\x89PNG\r\n\x1a\n", 8, "a PNG picture"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        file_clear(&file);
        file_bytes(&file, cases[i].bytes, cases[i].length);
        refused(&file, cases[i].words);
    }
    file_clear(&file);
    file_fill(&file, 0, 257);
    file_text(&file, "ustar");
    refused(&file, "a tar archive");
}

static void a_missing_file_is_said_to_be_missing(void **state)
{
    struct image image;
    (void)state;
    assert_int_equal(image_load(&image, in_directory("none.bin"), NULL, &err), ERR_IMAGE);
    assert_non_null(strstr(err.message, "none.bin: no such file"));
    assert_true(err.hint[0] != '\0');
}

static void a_directory_and_a_device_are_refused(void **state)
{
    struct image image;
    (void)state;
    assert_int_equal(image_load(&image, directory, NULL, &err), ERR_IMAGE);
    assert_non_null(strstr(err.message, "is a directory"));
    assert_int_equal(image_load(&image, "/dev/zero", NULL, &err), ERR_IMAGE);
    assert_non_null(strstr(err.message, "is a device"));
}

static void a_file_is_read_whole(void **state)
{
    struct image image;
    (void)state;
    for (unsigned i = 0; i < 300000; i++)
        file_bytes(&file, &(uint8_t){(uint8_t)(i * 7 + (i >> 8))}, 1);
    assert_int_equal(image_load(&image, written("a.bin"), NULL, &err), OK);
    check_segment(&image, 0, MEM_FLASH, 0, file.bytes, file.length);
    assert_int_equal(image.sources[0].bytes, 300000);
    assert_string_equal(image.sources[0].name, path);
    image_free(&image);
    unlink(path);
}

static void an_empty_file_on_disk_is_refused(void **state)
{
    struct image image;
    (void)state;
    assert_int_equal(image_load(&image, written("empty.bin"), NULL, &err), ERR_IMAGE);
    assert_non_null(strstr(err.message, "the file is empty"));
    unlink(path);
}

static void a_file_over_the_bound_is_refused_unread(void **state)
{
    struct image image;
    (void)state;
    written("huge.bin");
    assert_int_equal(truncate(path, (off_t)1 << 40), 0);
    assert_int_equal(image_load(&image, path, NULL, &err), ERR_IMAGE);
    assert_non_null(strstr(err.message, "more than 768 MiB"));
    unlink(path);
}

static void raw_bytes_over_the_bound_are_refused(void **state)
{
    struct image image;
    (void)state;
    file_bytes(&file, "\1", 1);
    written("big.bin");
    assert_int_equal(truncate(path, (off_t)IMAGE_BYTES_MAX + 1), 0);
    assert_int_equal(image_load(&image, path, NULL, &err), ERR_IMAGE);
    assert_non_null(strstr(err.message, "more than 256 MiB"));
    unlink(path);
}

/* Standard input becomes a pipe that holds the file; what it was comes back afterwards. */
static int load_from_pipe(struct image *image)
{
    int ends[2], old = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], file.bytes, file.length), (ssize_t)file.length);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    int rc = image_load(image, "-", NULL, &err);
    dup2(old, STDIN_FILENO);
    close(old);
    return rc;
}

static void standard_input_is_read_to_its_end(void **state)
{
    struct image image;
    (void)state;
    file_fill(&file, 0x81, 10000);
    assert_int_equal(load_from_pipe(&image), OK);
    assert_int_equal(image_bytes(&image, MEM_FLASH), 10000);
    assert_string_equal(image.sources[0].name, "-");
    image_free(&image);
}

static void standard_input_is_named_in_messages(void **state)
{
    struct image image;
    (void)state;
    file_text(&file, ":00");
    assert_int_equal(load_from_pipe(&image), ERR_IMAGE);
    assert_non_null(strstr(err.message, "standard input:1: "));
}

static void the_reason_survives_a_very_long_path(void **state)
{
    static char name[3000];
    struct image image;
    (void)state;
    memset(name, 'n', sizeof name - 1);
    assert_int_equal(image_parse(&image, name, (const uint8_t *)"text", 4, NULL, &err), ERR_IMAGE);
    assert_non_null(strstr(err.message, "this file is plain text"));
}

static void more_segments_than_the_bound_are_refused(void **state)
{
    static char text[(IMAGE_SEGMENTS_MAX + 1) * 32];
    size_t at = 0;
    (void)state;
    for (unsigned i = 0; i <= IMAGE_SEGMENTS_MAX; i++) {
        uint32_t address = 2 * i;
        unsigned low = address & 0xffff, high = address >> 16;
        if (low == 0)
            at += (size_t)sprintf(text + at, ":02000004%04X%02X\n", high, -(6 + high) & 0xff);
        at += (size_t)sprintf(text + at, ":01%04X0000%02X\n", low, -(1 + (low >> 8) + low) & 0xff);
    }
    strcpy(text + at, ":00000001FF\n");
    refused_text(text, "65537 separate segments; no more than 65536 are taken");
}

#define TEST(name) cmocka_unit_test_setup(name, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(raw_bytes_wait_for_an_address),
        TEST(raw_bytes_go_where_they_are_told),
        TEST(raw_bytes_past_the_address_space_are_refused),
        TEST(all_ff_is_readable),
        TEST(an_empty_file_is_refused),
        TEST(web_pages_are_refused),
        TEST(texts_are_refused),
        TEST(bytes_that_are_no_characters_make_it_raw),
        TEST(archives_are_refused),
        TEST(a_missing_file_is_said_to_be_missing),
        TEST(a_directory_and_a_device_are_refused),
        TEST(a_file_is_read_whole),
        TEST(an_empty_file_on_disk_is_refused),
        TEST(a_file_over_the_bound_is_refused_unread),
        TEST(raw_bytes_over_the_bound_are_refused),
        TEST(standard_input_is_read_to_its_end),
        TEST(standard_input_is_named_in_messages),
        TEST(the_reason_survives_a_very_long_path),
        TEST(more_segments_than_the_bound_are_refused),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
