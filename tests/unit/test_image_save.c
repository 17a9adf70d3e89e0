/* Saving: what comes out can be read again, and a file appears whole or not at all. */
#include "image_file.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static struct image image;
static struct error err;
static struct file file;
static char directory[] = "/tmp/mflash-save-XXXXXX";
static char path[64];

static int fresh(void **state)
{
    (void)state;
    image = (struct image){0};
    error_clear(&err);
    return 0;
}

static int freed(void **state)
{
    (void)state;
    image_free(&image);
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

static void add(enum memory memory, uint64_t address, const char *text)
{
    assert_int_equal(image_add(&image, memory, address, (const uint8_t *)text, strlen(text), &err),
                     OK);
}

static const char *in_directory(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void slurp(const char *from)
{
    FILE *in = fopen(from, "rb");
    assert_non_null(in);
    file.length = fread(file.bytes, 1, sizeof file.bytes, in);
    fclose(in);
}

static void save(const char *name)
{
    if (image_save(&image, in_directory(name), 0xff, &err) != OK)
        fail_msg("%s", err.message);
    slurp(path);
}

static size_t files_in_directory(void)
{
    char pattern[64];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*", directory);
    int rc = glob(pattern, 0, NULL, &found);
    assert_true(rc == 0 || rc == GLOB_NOMATCH);
    size_t n = rc == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return n;
}

static void raw_starts_at_the_lowest_byte_and_fills_gaps(void **state)
{
    (void)state;
    add(MEM_FLASH, 0x08002000, "ab");
    add(MEM_FLASH, 0x08002004, "cd");
    add(MEM_EEPROM, 0, "ee");
    save("a.bin");
    assert_int_equal(file.length, 6);
    assert_memory_equal(file.bytes,
                        "ab\xff\xff"
                        "cd",
                        6);
    unlink(path);
}

static void hex_text_is_exactly_this(void **state)
{
    static const char expected[] = ":02000004080CE6\n"
                                   ":02FFFE006162"
                                   "3E\n"
                                   ":02000004080DE5\n"
                                   ":0200000063643"
                                   "7\n"
                                   ":00000001FF\n";
    (void)state;
    add(MEM_FLASH, 0x080cfffe, "abcd");
    save("a.hex");
    assert_int_equal(file.length, sizeof expected - 1);
    assert_memory_equal(file.bytes, expected, sizeof expected - 1);
    unlink(path);
}

static void hex_brings_back_all_memories_and_the_entry(void **state)
{
    (void)state;
    add(MEM_FLASH, 0, "program");
    add(MEM_FLASH, 0x12345, "beyond 64 KiB, and longer than one record can hold");
    add(MEM_EEPROM, 7, "eeprom");
    add(MEM_FUSE, 0, "\x62\xd9\xfd");
    add(MEM_LOCK, 0, "\xcf");
    image.has_entry = true;
    image.entry = 0x1234;
    save("a.ihex");
    struct image back = parsed(&file, NULL);
    assert_int_equal(back.format, FORMAT_IHEX);
    assert_int_equal(back.count, image.count);
    for (size_t i = 0; i < image.count; i++) {
        const struct segment *s = &image.segments[i];
        check_segment(&back, i, s->memory, s->address, s->data, s->length);
    }
    assert_int_equal(back.entry, 0x1234);
    image_free(&back);
    unlink(path);
}

static void hex_at_the_end_of_4_gib_is_written_and_beyond_refused(void **state)
{
    (void)state;
    add(MEM_FLASH, 0xfffffffc, "abcd");
    save("a.hex");
    struct image back = parsed(&file, NULL);
    check_segment(&back, 0, MEM_FLASH, 0xfffffffc, "abcd", 4);
    image_free(&back);
    unlink(path);
    add(MEM_FLASH, 0x100000000, "e");
    assert_int_equal(image_save(&image, in_directory("b.hex"), 0xff, &err), ERR_FAILED);
    assert_non_null(
        strstr(err.message, "b.hex: the segment at 0xfffffffc reaches beyond the 4 GiB"));
    assert_int_equal(files_in_directory(), 0);
}

static void a_raw_file_without_flash_is_refused(void **state)
{
    (void)state;
    add(MEM_EEPROM, 0, "ee");
    assert_int_equal(image_save(&image, in_directory("a.bin"), 0xff, &err), ERR_FAILED);
    assert_non_null(strstr(err.hint, ".hex"));
    assert_int_equal(files_in_directory(), 0);
}

static void a_raw_file_over_a_huge_gap_is_refused(void **state)
{
    (void)state;
    add(MEM_FLASH, 0x08000000, "ab");
    add(MEM_FLASH, 0x90000000, "cd");
    assert_int_equal(image_save(&image, in_directory("a.bin"), 0xff, &err), ERR_FAILED);
    assert_non_null(strstr(err.message, "from 0x8000000 to 0x90000002 is too large"));
    assert_int_equal(files_in_directory(), 0);
}

static void an_old_file_is_replaced_and_nothing_else_left(void **state)
{
    (void)state;
    add(MEM_FLASH, 0, "first, long");
    save("a.bin");
    image_free(&image);
    add(MEM_FLASH, 0, "second");
    save("a.bin");
    assert_int_equal(file.length, 6);
    assert_memory_equal(file.bytes, "second", 6);
    assert_int_equal(files_in_directory(), 1);
    unlink(path);
}

static void an_old_file_survives_a_refusal(void **state)
{
    (void)state;
    add(MEM_FLASH, 0, "first");
    save("a.bin");
    image_free(&image);
    add(MEM_EEPROM, 0, "ee");
    assert_int_equal(image_save(&image, path, 0xff, &err), ERR_FAILED);
    slurp(path);
    assert_memory_equal(file.bytes, "first", 5);
    assert_int_equal(files_in_directory(), 1);
    unlink(path);
}

static void a_symbolic_link_keeps_pointing(void **state)
{
    char link_path[64];
    struct stat st;
    (void)state;
    add(MEM_FLASH, 0, "first");
    save("real.bin");
    snprintf(link_path, sizeof link_path, "%s/link.bin", directory);
    assert_int_equal(symlink("real.bin", link_path), 0);
    image_free(&image);
    add(MEM_FLASH, 0, "second");
    assert_int_equal(image_save(&image, link_path, 0xff, &err), OK);
    assert_int_equal(lstat(link_path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    slurp(in_directory("real.bin"));
    assert_memory_equal(file.bytes, "second", 6);
    unlink(link_path);
    unlink(path);
}

static void a_folder_that_is_not_there_is_named(void **state)
{
    (void)state;
    add(MEM_FLASH, 0, "a");
    assert_int_equal(image_save(&image, in_directory("none/a.bin"), 0xff, &err), ERR_FAILED);
    assert_non_null(strstr(err.message, "none/a.bin: cannot be written: No such file"));
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    add(MEM_FLASH, 0, "a");
    assert_int_equal(image_save(&image, "/dev/full", 0xff, &err), ERR_FAILED);
    assert_non_null(strstr(err.message, "/dev/full: cannot be written: No space left"));
}

static void dash_is_standard_output_raw(void **state)
{
    int ends[2], old = dup(STDOUT_FILENO);
    uint8_t bytes[16];
    (void)state;
    add(MEM_FLASH, 0x100, "abc");
    fflush(stdout);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDOUT_FILENO);
    int rc = image_save(&image, "-", 0xff, &err);
    dup2(old, STDOUT_FILENO);
    close(old);
    close(ends[1]);
    assert_int_equal(rc, OK);
    assert_int_equal(read(ends[0], bytes, sizeof bytes), 3);
    assert_memory_equal(bytes, "abc", 3);
    close(ends[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, freed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(raw_starts_at_the_lowest_byte_and_fills_gaps),
        TEST(hex_text_is_exactly_this),
        TEST(hex_brings_back_all_memories_and_the_entry),
        TEST(hex_at_the_end_of_4_gib_is_written_and_beyond_refused),
        TEST(a_raw_file_without_flash_is_refused),
        TEST(a_raw_file_over_a_huge_gap_is_refused),
        TEST(an_old_file_is_replaced_and_nothing_else_left),
        TEST(an_old_file_survives_a_refusal),
        TEST(a_symbolic_link_keeps_pointing),
        TEST(a_folder_that_is_not_there_is_named),
        TEST(a_full_disk_is_an_error),
        TEST(dash_is_standard_output_raw),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
