/* S-records: what is read, and what is refused with which line. */
#include "image_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void all_three_address_widths_are_read(void **state)
{
    (void)state;
    struct image image = parsed_text("S00600004844521B\n"
                                     "S1051000DEAD5F\n"
                                     "S206123456DEADD2\n"
                                     "S30708001000DEAD55\n"
                                     "S70508001001E1\n");
    assert_int_equal(image.format, FORMAT_SREC);
    assert_int_equal(image.count, 3);
    check_segment(&image, 0, MEM_FLASH, 0x1000, "\xde\xad", 2);
    check_segment(&image, 1, MEM_FLASH, 0x123456, "\xde\xad", 2);
    check_segment(&image, 2, MEM_FLASH, 0x08001000, "\xde\xad", 2);
    assert_true(image.has_entry);
    assert_int_equal(image.entry, 0x08001001);
    image_free(&image);
}

static void start_address_zero_says_nothing(void **state)
{
    (void)state;
    struct image image = parsed_text("S1051000DEAD5F\r\nS9030000FC");
    assert_false(image.has_entry);
    image_free(&image);
}

static void counts_are_compared(void **state)
{
    (void)state;
    struct image image = parsed_text("S1051000DEAD5F\nS1051002DEAD5D\nS5030002FA\nS9030000FC\n");
    assert_int_equal(image_bytes(&image, MEM_FLASH), 4);
    image_free(&image);
    image = parsed_text("S1051000DEAD5F\nS604000001FA\nS9030000FC\n");
    assert_int_equal(image_bytes(&image, MEM_FLASH), 2);
    image_free(&image);
    refused_text("S1051000DEAD5F\nS5030002FA\nS9030000FC\n",
                 "file:2: 2 data records are announced, but 1 are there");
    refused_text("S1051000DEAD5F\nS604000003F8\nS9030000FC\n",
                 "file:2: 3 data records are announced, but 1 are there");
}

static void broken_records_are_told_apart(void **state)
{
    (void)state;
    refused_text("S1051000DEAD5E\nS9030000FC\n",
                 "file:1: the checksum is 0x5e, but the bytes of the record want 0x5f");
    refused_text("S1051000DEAD\nS9030000FC\n", "file:1: the record ends 2 digits too early");
    refused_text("S1051000DEGD5F\nS9030000FC\n", "file:1: 'G' in column 11 is no hex digit");
    refused_text("S1051000DEAD5F00\nS9030000FC\n", "file:1: the record goes on in column 15");
    refused_text("S1051000DEAD5F\nS4030000FC\n", "file:2: no record type");
    refused_text("S1051000DEAD5F\nS1021000\n", "file:2: length 2 is too short");
    refused_text("S1051000DEAD5F\nhello\n", "file:2: the line does not begin with 'S'");
}

static void the_end_record_is_required_and_final(void **state)
{
    (void)state;
    refused_text("S1051000DEAD5F\n", "file:2: the file ends without an S7, S8 or S9 record");
    refused_text("S1051000DEAD5F\nS9030000FC\nS1051002DEAD5D\n",
                 "file:3: something follows the last (S7, S8 or S9) record");
    refused_text("S9030000FC\n", "file: the file holds no data");
}

static void a_right_count_may_stand_for_the_end_record(void **state)
{
    (void)state;
    struct image image = parsed_text("S1051000DEAD5F\nS5030001FB\n");
    assert_int_equal(image_bytes(&image, MEM_FLASH), 2);
    image_free(&image);
    refused_text("S1051000DEAD5F\nS5030001FB\nS1051002DEAD5D\n",
                 "file:4: the file ends without an S7, S8 or S9 record");
}

static void a_record_past_its_address_width_is_refused(void **state)
{
    (void)state;
    refused_text("S105FFFFDEAD71\nS9030000FC\n",
                 "file:1: the record runs past the last address that S1 can state");
}

static void an_overlap_names_both_lines(void **state)
{
    (void)state;
    refused_text("S1051000DEAD5F\nS1051001DEAD5E\nS9030000FC\n",
                 "file:2: address 0x1001 is given twice, here and in line 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_three_address_widths_are_read),
        cmocka_unit_test(start_address_zero_says_nothing),
        cmocka_unit_test(counts_are_compared),
        cmocka_unit_test(broken_records_are_told_apart),
        cmocka_unit_test(the_end_record_is_required_and_final),
        cmocka_unit_test(a_right_count_may_stand_for_the_end_record),
        cmocka_unit_test(a_record_past_its_address_width_is_refused),
        cmocka_unit_test(an_overlap_names_both_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
