/* Segments: adding, joining, reading, merging files, placing. */
#include "image_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct image image;
static struct error err;

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

static void add(enum memory memory, uint64_t address, const char *text)
{
    assert_int_equal(image_add(&image, memory, address, (const uint8_t *)text, strlen(text), &err),
                     OK);
}

static void segments_come_out_sorted_by_memory_and_address(void **state)
{
    (void)state;
    add(MEM_EEPROM, 0, "e");
    add(MEM_FLASH, 0x2000, "c");
    add(MEM_FLASH, 0x1000, "b");
    add(MEM_LOCK, 0, "l");
    add(MEM_FLASH, 0, "a");
    assert_int_equal(image.count, 5);
    check_segment(&image, 0, MEM_FLASH, 0, "a", 1);
    check_segment(&image, 1, MEM_FLASH, 0x1000, "b", 1);
    check_segment(&image, 2, MEM_FLASH, 0x2000, "c", 1);
    check_segment(&image, 3, MEM_EEPROM, 0, "e", 1);
    check_segment(&image, 4, MEM_LOCK, 0, "l", 1);
}

static void touching_segments_are_joined_on_both_sides(void **state)
{
    (void)state;
    add(MEM_FLASH, 0, "ab");
    add(MEM_FLASH, 4, "ef");
    add(MEM_FLASH, 6, "gh");
    assert_int_equal(image.count, 2);
    add(MEM_FLASH, 2, "cd");
    assert_int_equal(image.count, 1);
    check_segment(&image, 0, MEM_FLASH, 0, "abcdefgh", 8);
}

static void a_segment_before_another_is_joined_to_it(void **state)
{
    (void)state;
    add(MEM_FLASH, 4, "ef");
    add(MEM_FLASH, 0, "abcd");
    assert_int_equal(image.count, 1);
    check_segment(&image, 0, MEM_FLASH, 0, "abcdef", 6);
}

static void equal_addresses_in_two_memories_do_not_touch(void **state)
{
    (void)state;
    add(MEM_FLASH, 0, "ab");
    add(MEM_EEPROM, 0, "cd");
    add(MEM_EEPROM, 2, "ef");
    assert_int_equal(image.count, 2);
    check_segment(&image, 1, MEM_EEPROM, 0, "cdef", 4);
}

static void every_overlap_is_refused(void **state)
{
    static const struct {
        uint64_t address;
        size_t length;
        const char *words;
    } cases[] = {
        {0x100, 4, "flash address 0x100"}, {0x103, 1, "flash address 0x103"},
        {0xff, 2, "flash address 0x100"},  {0xf0, 100, "flash address 0x100"},
        {0x101, 2, "flash address 0x101"},
    };
    static const uint8_t bytes[100];
    (void)state;
    add(MEM_FLASH, 0x100, "abcd");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = image_add(&image, MEM_FLASH, cases[i].address, bytes, cases[i].length, &err);
        assert_int_equal(rc, ERR_IMAGE);
        assert_non_null(strstr(err.message, cases[i].words));
    }
    check_segment(&image, 0, MEM_FLASH, 0x100, "abcd", 4);
    assert_int_equal(image.count, 1);
}

static void a_run_past_the_address_space_is_refused(void **state)
{
    (void)state;
    int rc = image_add(&image, MEM_FLASH, UINT64_MAX - 1, (const uint8_t *)"abcd", 4, &err);
    assert_int_equal(rc, ERR_IMAGE);
    assert_int_equal(image.count, 0);
}

static void bytes_added_at_random_places_match_a_plain_array(void **state)
{
    enum { SIZE = 2000 };
    static uint8_t model[SIZE], out[SIZE];
    static bool have[SIZE];
    (void)state;
    srand(3);
    for (unsigned round = 0; round < 3000; round++) {
        size_t at = (size_t)rand() % SIZE, n = 1 + (size_t)rand() % 6;
        uint8_t bytes[6];
        bool clash = false;
        n = n < SIZE - at ? n : SIZE - at;
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (uint8_t)rand();
            clash |= have[at + i];
        }
        assert_int_equal(image_add(&image, MEM_FLASH, at, bytes, n, &err), clash ? ERR_IMAGE : OK);
        for (size_t i = 0; i < n && !clash; i++) {
            model[at + i] = bytes[i];
            have[at + i] = true;
        }
    }
    size_t total = 0;
    for (size_t i = 0; i < SIZE; i++) {
        model[i] = have[i] ? model[i] : 0xa5;
        total += have[i];
    }
    assert_int_equal(image_read(&image, MEM_FLASH, 0, out, SIZE, 0xa5), total);
    assert_memory_equal(out, model, SIZE);
    for (size_t i = 1; i < image.count; i++) {
        const struct segment *a = &image.segments[i - 1], *b = &image.segments[i];
        assert_true(a->address + a->length < b->address);
    }
}

static void reading_fills_what_is_not_there(void **state)
{
    uint8_t out[8];
    (void)state;
    add(MEM_FLASH, 0x102, "ab");
    add(MEM_FLASH, 0x106, "cdef");
    assert_int_equal(image_read(&image, MEM_FLASH, 0x100, out, sizeof out, '.'), 4);
    assert_memory_equal(out, "..ab..cd", 8);
    assert_int_equal(image_read(&image, MEM_FLASH, 0x107, out, 2, '.'), 2);
    assert_memory_equal(out, "de", 2);
    assert_int_equal(image_read(&image, MEM_EEPROM, 0x100, out, sizeof out, '.'), 0);
    assert_memory_equal(out, "........", 8);
}

static void extent_spans_the_gaps_of_one_memory(void **state)
{
    uint64_t start, end;
    (void)state;
    assert_false(image_extent(&image, MEM_FLASH, &start, &end));
    add(MEM_FLASH, 0x100, "ab");
    add(MEM_FLASH, 0x200, "cd");
    add(MEM_EEPROM, 4, "e");
    assert_true(image_extent(&image, MEM_FLASH, &start, &end));
    assert_int_equal(start, 0x100);
    assert_int_equal(end, 0x202);
    assert_int_equal(image_bytes(&image, MEM_FLASH), 4);
    assert_int_equal(image_bytes(&image, MEM_EEPROM), 1);
    assert_false(image_extent(&image, MEM_LOCK, &start, &end));
}

/* ---- merging ---- */

static struct image load(const char *name, const void *bytes, size_t length,
                         const uint64_t *address)
{
    struct image from;
    if (image_parse(&from, name, bytes, length, address, &err) != OK)
        fail_msg("refused: %s", err.message);
    return from;
}

static const uint8_t four[] = {1, 2, 3, 4};
static const uint64_t at_0 = 0, at_2 = 2, at_4 = 4, at_100 = 0x100;

static void merging_into_nothing_moves(void **state)
{
    (void)state;
    struct image from = load("a.bin", four, 4, NULL);
    assert_int_equal(image_merge(&image, &from, &err), OK);
    assert_int_equal(from.count, 0);
    assert_null(from.segments);
    assert_int_equal(image.count, 1);
    assert_false(image.placed);
    assert_string_equal(image.sources[0].name, "a.bin");
}

static void merging_keeps_order_and_sources(void **state)
{
    (void)state;
    struct image a = load("a.bin", four, 4, &at_100);
    struct image b = load("b.bin", four, 4, &at_0);
    assert_int_equal(image_merge(&image, &a, &err), OK);
    assert_int_equal(image_merge(&image, &b, &err), OK);
    assert_int_equal(b.count, 0);
    assert_int_equal(b.source_count, 0);
    assert_int_equal(image.count, 2);
    check_segment(&image, 0, MEM_FLASH, 0, four, 4);
    check_segment(&image, 1, MEM_FLASH, 0x100, four, 4);
    assert_int_equal(image.source_count, 2);
    assert_string_equal(image.sources[image.segments[0].source].name, "b.bin");
    assert_string_equal(image.sources[image.segments[1].source].name, "a.bin");
}

static void merging_joins_what_touches(void **state)
{
    (void)state;
    struct image a = load("a.bin", four, 4, &at_4);
    struct image b = load("b.bin", four, 4, &at_0);
    assert_int_equal(image_merge(&image, &a, &err), OK);
    assert_int_equal(image_merge(&image, &b, &err), OK);
    assert_int_equal(image.count, 1);
    check_segment(&image, 0, MEM_FLASH, 0, "\1\2\3\4\1\2\3\4", 8);
}

static void merging_keeps_memories_apart(void **state)
{
    static const char eeprom[] = ":02000004008179\n:0100040055A6\n:00000001FF\n";
    (void)state;
    struct image a = load("a.bin", four, 4, &at_0);
    struct image b = load("b.hex", eeprom, sizeof eeprom - 1, NULL);
    assert_int_equal(image_merge(&image, &a, &err), OK);
    assert_int_equal(image_merge(&image, &b, &err), OK);
    assert_int_equal(image.count, 2);
    check_segment(&image, 0, MEM_FLASH, 0, four, 4);
    check_segment(&image, 1, MEM_EEPROM, 4, "\x55", 1);
}

static void an_overlap_names_both_files_and_changes_nothing(void **state)
{
    (void)state;
    struct image a = load("a.bin", four, 4, &at_0);
    struct image b = load("b.bin", four, 4, &at_2);
    assert_int_equal(image_merge(&image, &a, &err), OK);
    assert_int_equal(image_merge(&image, &b, &err), ERR_IMAGE);
    assert_string_equal(err.message, "a.bin and b.bin both hold flash address 0x2");
    assert_int_equal(image.count, 1);
    assert_int_equal(b.count, 1);
    image_free(&b);
    b = load("b.bin", four, 4, &at_2);
    assert_int_equal(image_merge(&b, &image, &err), ERR_IMAGE);
    assert_string_equal(err.message, "b.bin and a.bin both hold flash address 0x2");
    image_free(&b);
}

static void a_raw_file_without_address_cannot_be_merged(void **state)
{
    (void)state;
    struct image a = load("a.bin", four, 4, &at_0);
    struct image b = load("b.bin", four, 4, NULL);
    assert_int_equal(image_merge(&image, &a, &err), OK);
    assert_int_equal(image_merge(&image, &b, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "b.bin: a raw binary among several files"));
    image_free(&b);
}

static void files_for_different_chips_cannot_be_merged(void **state)
{
    (void)state;
    struct image a = load("a.bin", four, 4, &at_0);
    struct image b = load("b.bin", four, 4, &at_4);
    a.machine = MACHINE_AVR;
    b.machine = MACHINE_ARM;
    assert_int_equal(image_merge(&image, &a, &err), OK);
    assert_int_equal(image_merge(&image, &b, &err), ERR_IMAGE);
    assert_string_equal(err.message, "a.bin is for AVR, but b.bin is for ARM");
    b.machine = MACHINE_AVR;
    image.uf2_family = 0xe48bff56;
    b.uf2_family = 0xe48bff59;
    assert_int_equal(image_merge(&image, &b, &err), ERR_IMAGE);
    assert_non_null(strstr(err.message, "a.bin is for UF2 family 0xe48bff56"));
    image_free(&b);
}

static void placing_moves_a_raw_image_once(void **state)
{
    (void)state;
    image = load("a.bin", four, 4, NULL);
    image_place(&image, 0x08002000);
    assert_true(image.placed);
    assert_int_equal(image.segments[0].address, 0x08002000);
    image_place(&image, 0);
    assert_int_equal(image.segments[0].address, 0x08002000);
}

static void placing_past_the_address_space_does_nothing(void **state)
{
    (void)state;
    image = load("a.bin", four, 4, NULL);
    image_place(&image, UINT64_MAX - 2);
    assert_false(image.placed);
    assert_int_equal(image.segments[0].address, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, freed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(segments_come_out_sorted_by_memory_and_address),
        TEST(touching_segments_are_joined_on_both_sides),
        TEST(a_segment_before_another_is_joined_to_it),
        TEST(equal_addresses_in_two_memories_do_not_touch),
        TEST(every_overlap_is_refused),
        TEST(a_run_past_the_address_space_is_refused),
        TEST(bytes_added_at_random_places_match_a_plain_array),
        TEST(reading_fills_what_is_not_there),
        TEST(extent_spans_the_gaps_of_one_memory),
        TEST(merging_into_nothing_moves),
        TEST(merging_keeps_order_and_sources),
        TEST(merging_joins_what_touches),
        TEST(merging_keeps_memories_apart),
        TEST(an_overlap_names_both_files_and_changes_nothing),
        TEST(a_raw_file_without_address_cannot_be_merged),
        TEST(files_for_different_chips_cannot_be_merged),
        TEST(placing_moves_a_raw_image_once),
        TEST(placing_past_the_address_space_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
