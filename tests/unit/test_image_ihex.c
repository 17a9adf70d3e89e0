/* Intel HEX: what is read, and what is refused with which line. */
#include "image_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define END ":00000001FF\n"

static const uint8_t abcd[] = {0xde, 0xad, 0xbe, 0xef};

/* One record with its right checksum and a line feed, appended to text. */
static void record(char *text, unsigned type, unsigned offset, const uint8_t *data, size_t length)
{
    unsigned sum = (unsigned)length + (offset >> 8) + offset + type;
    char *p = text + strlen(text);
    p += sprintf(p, ":%02zX%04X%02X", length, offset, type);
    for (size_t i = 0; i < length; i++) {
        p += sprintf(p, "%02X", data[i]);
        sum += data[i];
    }
    sprintf(p, "%02X\n", -sum & 0xff);
}

static void reads_a_data_record(void **state)
{
    (void)state;
    struct image image = parsed_text(":04010000DEADBEEFC3\n" END);
    assert_int_equal(image.format, FORMAT_IHEX);
    assert_true(image.placed);
    assert_int_equal(image.count, 1);
    check_segment(&image, 0, MEM_FLASH, 0x100, abcd, 4);
    assert_int_equal(image.source_count, 1);
    assert_string_equal(image.sources[0].name, "file");
    image_free(&image);
}

static void takes_crlf_cr_blank_lines_lower_case_and_no_last_newline(void **state)
{
    static const char *const texts[] = {
        ":04010000DEADBEEFC3\r\n:00000001FF\r\n",
        ":04010000DEADBEEFC3\r:00000001FF\r",
        ":04010000deadbeefc3\n\n:00000001ff",
        "\n \t:04010000DEADBEEFC3  \n" END "\n \r\n\t",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct image image = parsed_text(texts[i]);
        assert_int_equal(image.count, 1);
        check_segment(&image, 0, MEM_FLASH, 0x100, abcd, 4);
        image_free(&image);
    }
}

static void counts_lines_alike_for_every_line_end(void **state)
{
    (void)state;
    refused_text(":0100000055AA\n:0100010055A8\n" END, "file:2: the checksum is 0xa8");
    refused_text(":0100000055AA\r\n:0100010055A8\r\n" END, "file:2: the checksum is 0xa8");
    refused_text(":0100000055AA\r:0100010055A8\r" END, "file:2: the checksum is 0xa8");
    refused_text(":0100000055AA\n\n\n:0100010055A8\n" END, "want 0xa9");
}

static void type_02_moves_by_paragraphs(void **state)
{
    (void)state;
    struct image image = parsed_text(":020000021000EC\n:04010000DEADBEEFC3\n" END);
    check_segment(&image, 0, MEM_FLASH, 0x10100, abcd, 4);
    image_free(&image);
}

static void type_04_sets_the_upper_half_and_ends_a_segment(void **state)
{
    (void)state;
    struct image image = parsed_text(":020000021000EC\n:020000040800F2\n:04010000DEADBEEFC3\n" END);
    assert_int_equal(image.count, 1);
    check_segment(&image, 0, MEM_FLASH, 0x08000100, abcd, 4);
    image_free(&image);
}

static void linear_records_run_over_64_kib(void **state)
{
    (void)state;
    char text[200] = ":020000040800F2\n";
    record(text, 0, 0xfffe, abcd, 4);
    strcat(text, END);
    struct image image = parsed_text(text);
    check_segment(&image, 0, MEM_FLASH, 0x0800fffe, abcd, 4);
    image_free(&image);
}

static void a_record_past_its_segment_is_refused(void **state)
{
    (void)state;
    char text[200] = "";
    record(text, 0, 0xfffe, abcd, 4);
    strcat(text, END);
    refused_text(text, "file:1: the record runs past the end of its 64 KiB segment");
}

static void a_record_past_4_gib_is_refused(void **state)
{
    (void)state;
    char text[200] = ":02000004FFFFFC\n";
    record(text, 0, 0xfffe, abcd, 4);
    strcat(text, END);
    refused_text(text, "file:2: the record runs past the end of 4 GiB");
}

static void the_last_byte_of_4_gib_is_taken(void **state)
{
    (void)state;
    char text[200] = ":02000004FFFFFC\n";
    record(text, 0, 0xfffc, abcd, 4);
    strcat(text, END);
    struct image image = parsed_text(text);
    check_segment(&image, 0, MEM_FLASH, 0xfffffffc, abcd, 4);
    image_free(&image);
}

static void start_addresses_become_the_entry(void **state)
{
    (void)state;
    struct image image = parsed_text(":0100000055AA\n:0400000508000101ED\n" END);
    assert_true(image.has_entry);
    assert_int_equal(image.entry, 0x08000101);
    image_free(&image);
    image = parsed_text(":0100000055AA\n:0400000312345678E5\n" END);
    assert_int_equal(image.entry, 0x12340 + 0x5678);
    image_free(&image);
    image = parsed_text(":0100000055AA\n" END);
    assert_false(image.has_entry);
    image_free(&image);
}

static void touching_records_join_and_gaps_stay(void **state)
{
    (void)state;
    struct image image = parsed_text(":0100000055AA\n:010001006698\n:0100040077"
                                     "84\n" END);
    assert_int_equal(image.count, 2);
    check_segment(&image, 0, MEM_FLASH, 0, "\x55\x66", 2);
    check_segment(&image, 1, MEM_FLASH, 4, "\x77", 1);
    image_free(&image);
}

static void records_in_any_order_give_the_same_image(void **state)
{
    enum { RECORDS = 512, WIDTH = 16 };
    static char text[RECORDS * 50 + 20];
    static uint8_t data[RECORDS * WIDTH];
    size_t order[RECORDS];
    (void)state;
    srand(7);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)rand();
    for (size_t i = 0; i < RECORDS; i++)
        order[i] = i;
    for (size_t i = RECORDS - 1; i > 0; i--) {
        size_t j = (size_t)rand() % (i + 1), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    text[0] = '\0';
    for (size_t i = 0; i < RECORDS; i++)
        record(text, 0, (unsigned)(order[i] * WIDTH), data + order[i] * WIDTH, WIDTH);
    strcat(text, END);
    struct image image = parsed_text(text);
    assert_int_equal(image.count, 1);
    check_segment(&image, 0, MEM_FLASH, 0, data, sizeof data);
    image_free(&image);
}

static void an_overlap_names_both_lines_and_the_address(void **state)
{
    (void)state;
    refused_text(":0100000055AA\n:0100010066"
                 "98\n:0100050077"
                 "83\n:0100010066"
                 "98\n" END,
                 "file:4: address 0x1 is given twice, here and in line 2");
    refused_text(":04010000DEADBEEFC3\n:010103005"
                 "5A6\n" END,
                 "file:2: address 0x103 is given twice, here and in line 1");
}

static void broken_records_are_told_apart(void **state)
{
    (void)state;
    refused_text(":04010000DEADBEEFC4\n" END, "file:1: the checksum is 0xc4, but the bytes of the "
                                              "record want 0xc3");
    refused_text(":04010000DEADBEEF\n" END, "file:1: the record ends 2 digits too early");
    refused_text(":04010000DEADBE", "file:1: the record ends 4 digits too early");
    refused_text(":04010000DEADBXEFC3\n" END, "file:1: 'X' in column 15 is no hex digit");
    refused_text(":04010000DEADBEEFC300\n" END, "file:1: the record goes on in column 20");
    refused_text(":0100000055AA\nhello\n" END, "file:2: the line does not begin with ':'");
    refused_text(":0100000055AA\n:0000000AF6\n" END, "file:2: record type 0a does not exist");
    refused_text(":0100000055AA\n:0100000401FA\n" END,
                 "file:2: a record of type 04 holds 2 bytes, this one 1");
    refused_text(":0100000055AA\n:0100000155A9\n" END,
                 "file:2: a record of type 01 holds 0 bytes, this one 1");
}

static void a_nul_byte_in_a_record_is_named(void **state)
{
    static struct file file;
    (void)state;
    file_clear(&file);
    file_bytes(&file,
               ":0100000\0"
               "55AA\n" END,
               13 + sizeof END);
    refused(&file, "file:1: byte 0x00 in column 9 is no hex digit");
}

static void the_end_record_is_required_and_final(void **state)
{
    (void)state;
    refused_text(":0100000055AA\n", "file:2: the file ends without an end-of-file record");
    refused_text(":0100000055AA\n" END ":0100010066"
                 "98\n" END,
                 "file:3: something follows the end-of-file record");
    refused_text(END, "file: the file holds no data");
}

static void avr_memories_are_told_from_flash(void **state)
{
    (void)state;
    struct image image = parsed_text(":0100000055AA\n"
                                     ":02000004008179\n:02000500DEAD6E\n"
                                     ":02000004008278\n:0300000062D9FDC5\n"
                                     ":02000004008377\n:01000000CF30\n" END);
    assert_int_equal(image.count, 4);
    check_segment(&image, 0, MEM_FLASH, 0, "\x55", 1);
    check_segment(&image, 1, MEM_EEPROM, 5, "\xde\xad", 2);
    check_segment(&image, 2, MEM_FUSE, 0, "\x62\xd9\xfd", 3);
    check_segment(&image, 3, MEM_LOCK, 0, "\xcf", 1);
    image_free(&image);
}

static void an_eeprom_file_alone_is_eeprom(void **state)
{
    (void)state;
    struct image image = parsed_text(":02000004008179\n:02000500DEAD6E\n" END);
    assert_int_equal(image.count, 1);
    check_segment(&image, 0, MEM_EEPROM, 5, "\xde\xad", 2);
    image_free(&image);
}

static void the_avr_signature_section_is_left_out(void **state)
{
    (void)state;
    struct image image = parsed_text(":0100000055AA\n:02000004008476\n:030000000F951E3B\n" END);
    assert_int_equal(image.count, 1);
    assert_int_equal(image_bytes(&image, MEM_FLASH), 1);
    image_free(&image);
}

static void big_images_across_0x810000_stay_flash(void **state)
{
    (void)state;
    struct image image =
        parsed_text(":02000004008179\n:0100000055AA\n:020000040800F2\n:0100000055AA\n" END);
    assert_int_equal(image.count, 2);
    check_segment(&image, 0, MEM_FLASH, 0x810000, "\x55", 1);
    check_segment(&image, 1, MEM_FLASH, 0x08000000, "\x55", 1);
    image_free(&image);
    image = parsed_text(":020000040010EA\n:0100000055AA\n:02000004008179\n:0100000055AA\n" END);
    check_segment(&image, 0, MEM_FLASH, 0x100000, "\x55", 1);
    check_segment(&image, 1, MEM_FLASH, 0x810000, "\x55", 1);
    image_free(&image);
}

static void an_address_for_a_placed_format_is_a_usage_error(void **state)
{
    static const char text[] = ":0100000055AA\n" END;
    const uint64_t address = 0x1000;
    struct image image;
    struct error err;
    (void)state;
    int rc = image_parse(&image, "file", (const uint8_t *)text, sizeof text - 1, &address, &err);
    assert_int_equal(rc, ERR_USAGE);
    assert_non_null(strstr(err.message, "ihex files carry their own"));
    assert_null(image.segments);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_data_record),
        cmocka_unit_test(takes_crlf_cr_blank_lines_lower_case_and_no_last_newline),
        cmocka_unit_test(counts_lines_alike_for_every_line_end),
        cmocka_unit_test(type_02_moves_by_paragraphs),
        cmocka_unit_test(type_04_sets_the_upper_half_and_ends_a_segment),
        cmocka_unit_test(linear_records_run_over_64_kib),
        cmocka_unit_test(a_record_past_its_segment_is_refused),
        cmocka_unit_test(a_record_past_4_gib_is_refused),
        cmocka_unit_test(the_last_byte_of_4_gib_is_taken),
        cmocka_unit_test(start_addresses_become_the_entry),
        cmocka_unit_test(touching_records_join_and_gaps_stay),
        cmocka_unit_test(records_in_any_order_give_the_same_image),
        cmocka_unit_test(an_overlap_names_both_lines_and_the_address),
        cmocka_unit_test(broken_records_are_told_apart),
        cmocka_unit_test(a_nul_byte_in_a_record_is_named),
        cmocka_unit_test(the_end_record_is_required_and_final),
        cmocka_unit_test(avr_memories_are_told_from_flash),
        cmocka_unit_test(an_eeprom_file_alone_is_eeprom),
        cmocka_unit_test(the_avr_signature_section_is_left_out),
        cmocka_unit_test(big_images_across_0x810000_stay_flash),
        cmocka_unit_test(an_address_for_a_placed_format_is_a_usage_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
