/* DFU suffix and DfuSe container. The two whole files below are worked examples: known bytes. */
#include "image_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <zlib.h>
#include <cmocka.h>

static struct file file;

static int fresh(void **state)
{
    (void)state;
    file_clear(&file);
    return 0;
}

static void suffix(uint16_t version)
{
    file_le16(&file, 0xffff);
    file_le16(&file, 0xdf11);
    file_le16(&file, 0x0483);
    file_le16(&file, version);
    file_bytes(&file, "UFD\x10", 4);
    file_le32(&file, ~(uint32_t)crc32_z(0, file.bytes, file.length));
}

static void target(uint8_t alternate, uint32_t size, uint32_t elements)
{
    file_text(&file, "Target");
    file_bytes(&file, &alternate, 1);
    file_le32(&file, 1);
    file_text(&file, "Flash");
    file_fill(&file, 0, 250);
    file_le32(&file, size);
    file_le32(&file, elements);
}

static void element(uint32_t address, uint32_t size, uint8_t byte)
{
    file_le32(&file, address);
    file_le32(&file, size);
    file_fill(&file, byte, size);
}

static void dfuse_begin(uint8_t targets)
{
    file_bytes(&file, "DfuSe\1\0\0\0\0", 10);
    file_bytes(&file, &targets, 1);
}

static void dfuse_end(void)
{
    file_put_le32(&file, 6, (uint32_t)file.length);
    suffix(0x011a);
}

static void the_worked_example_of_a_suffix_is_read(void **state)
{
    static const uint8_t example[] = {0x01, 0x02, 0x03, 0x04, 0xff, 0xff, 0x11, 0xdf, 0x83, 0x04,
                                      0x00, 0x01, 0x55, 0x46, 0x44, 0x10, 0x0b, 0x46, 0x7f, 0x93};
    (void)state;
    file_bytes(&file, example, sizeof example);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.format, FORMAT_DFU);
    assert_false(image.placed);
    check_segment(&image, 0, MEM_FLASH, 0, example, 4);
    assert_int_equal(image.usb_vid, 0x0483);
    assert_int_equal(image.usb_pid, 0xdf11);
    image_free(&image);
}

static void a_dfu_payload_takes_an_address(void **state)
{
    const uint64_t address = 0x08002000;
    (void)state;
    file_fill(&file, 7, 64);
    suffix(0x0110);
    struct image image = parsed(&file, &address);
    assert_true(image.placed);
    assert_int_equal(image.segments[0].address, 0x08002000);
    image_free(&image);
}

static void a_changed_byte_breaks_the_crc(void **state)
{
    (void)state;
    file_fill(&file, 7, 64);
    suffix(0x0100);
    file.bytes[10] ^= 1;
    refused(&file, "file: offset 0x40: the DFU suffix states CRC");
}

static void a_suffix_of_unknown_version_is_just_data(void **state)
{
    (void)state;
    file_fill(&file, 7, 64);
    suffix(0x0999);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.format, FORMAT_RAW);
    assert_int_equal(image_bytes(&image, MEM_FLASH), 80);
    image_free(&image);
}

static void a_suffix_alone_holds_no_data(void **state)
{
    (void)state;
    suffix(0x0100);
    refused(&file, "the file holds no data");
}

static void the_worked_example_of_dfuse_is_read(void **state)
{
    static const uint8_t tail[] = {0xff, 0xff, 0x11, 0xdf, 0x83, 0x04, 0x1a, 0x01,
                                   0x55, 0x46, 0x44, 0x10, 0x4a, 0x5d, 0xfd, 0x40};
    (void)state;
    dfuse_begin(1);
    target(0, 12, 1);
    file_le32(&file, 0x08000000);
    file_le32(&file, 4);
    file_bytes(&file, "\1\2\3\4", 4);
    file_put_le32(&file, 6, 0x129);
    file_bytes(&file, tail, sizeof tail);
    assert_int_equal(file.length, 313);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.format, FORMAT_DFUSE);
    assert_true(image.placed);
    check_segment(&image, 0, MEM_FLASH, 0x08000000, "\1\2\3\4", 4);
    image_free(&image);
}

static void all_elements_of_all_targets_are_taken(void **state)
{
    (void)state;
    dfuse_begin(2);
    target(0, 8 + 16 + 8 + 32, 2);
    element(0x08000000, 16, 1);
    element(0x08004000, 32, 2);
    target(1, 8 + 8, 1);
    element(0x90000000, 8, 3);
    dfuse_end();
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.count, 3);
    assert_int_equal(image.segments[1].address, 0x08004000);
    assert_int_equal(image.segments[2].address, 0x90000000);
    assert_int_equal(image.segments[2].length, 8);
    image_free(&image);
}

static void elements_that_overlap_are_named_by_offset(void **state)
{
    (void)state;
    dfuse_begin(1);
    target(0, 8 + 16 + 8 + 16, 2);
    element(0x08000000, 16, 1);
    element(0x08000008, 16, 2);
    dfuse_end();
    refused(&file,
            "file: offset 0x13d: address 0x8000008 is given twice, here and at offset 0x125");
}

static void a_container_without_suffix_is_cut_off(void **state)
{
    (void)state;
    dfuse_begin(1);
    target(0, 8 + 16, 1);
    element(0x08000000, 16, 1);
    dfuse_end();
    file.length -= 20;
    refused(&file, "the DfuSe file has no suffix: it is cut off");
}

static void a_size_that_lies_is_refused(void **state)
{
    (void)state;
    dfuse_begin(1);
    target(0, 8 + 16, 1);
    element(0x08000000, 16, 1);
    file_put_le32(&file, 6, 9999);
    suffix(0x011a);
    refused(&file, "file: offset 0x6: the DfuSe header states 9999 bytes, but the file has 309");
}

static void an_element_larger_than_the_file_is_refused(void **state)
{
    (void)state;
    dfuse_begin(1);
    target(0, 8 + 16, 1);
    element(0x08000000, 16, 1);
    file_put_le32(&file, 11 + 274 + 4, 0xffffffff);
    dfuse_end();
    refused(&file, "the data of an element wants 4294967295 bytes, but only 16 are left");
}

static void more_elements_than_there_are_is_refused(void **state)
{
    (void)state;
    dfuse_begin(1);
    target(0, 8 + 16, 0xffffffff);
    element(0x08000000, 16, 1);
    dfuse_end();
    refused(&file, "an element wants 8 bytes, but only 0 are left");
}

static void more_targets_than_there_are_is_refused(void **state)
{
    (void)state;
    dfuse_begin(255);
    target(0, 8 + 16, 1);
    element(0x08000000, 16, 1);
    dfuse_end();
    refused(&file, "a target wants 274 bytes, but only 0 are left");
}

static void bytes_that_belong_to_nothing_are_refused(void **state)
{
    (void)state;
    dfuse_begin(1);
    target(0, 8 + 16 + 3, 1);
    element(0x08000000, 16, 1);
    file_fill(&file, 0, 3);
    dfuse_end();
    refused(&file, "3 bytes of the target belong to no element");
    file_clear(&file);
    dfuse_begin(1);
    target(0, 8 + 16, 1);
    element(0x08000000, 16, 1);
    file_fill(&file, 0, 5);
    dfuse_end();
    refused(&file, "5 bytes belong to no target");
}

static void an_element_past_4_gib_is_refused(void **state)
{
    (void)state;
    dfuse_begin(1);
    target(0, 8 + 16, 1);
    element(0xfffffff8, 16, 1);
    dfuse_end();
    refused(&file, "the element runs past the end of 4 GiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_worked_example_of_a_suffix_is_read, fresh),
        cmocka_unit_test_setup(a_dfu_payload_takes_an_address, fresh),
        cmocka_unit_test_setup(a_changed_byte_breaks_the_crc, fresh),
        cmocka_unit_test_setup(a_suffix_of_unknown_version_is_just_data, fresh),
        cmocka_unit_test_setup(a_suffix_alone_holds_no_data, fresh),
        cmocka_unit_test_setup(the_worked_example_of_dfuse_is_read, fresh),
        cmocka_unit_test_setup(all_elements_of_all_targets_are_taken, fresh),
        cmocka_unit_test_setup(elements_that_overlap_are_named_by_offset, fresh),
        cmocka_unit_test_setup(a_container_without_suffix_is_cut_off, fresh),
        cmocka_unit_test_setup(a_size_that_lies_is_refused, fresh),
        cmocka_unit_test_setup(an_element_larger_than_the_file_is_refused, fresh),
        cmocka_unit_test_setup(more_elements_than_there_are_is_refused, fresh),
        cmocka_unit_test_setup(more_targets_than_there_are_is_refused, fresh),
        cmocka_unit_test_setup(bytes_that_belong_to_nothing_are_refused, fresh),
        cmocka_unit_test_setup(an_element_past_4_gib_is_refused, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
