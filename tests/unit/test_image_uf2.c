/* UF2: order, completeness, families, and blocks that lie. */
#include "image_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define FAMILY 0xe48bff56u

static struct file file;

/* Appends a block with 256 bytes, all `byte`. */
static void block(uint32_t address, uint32_t number, uint32_t count, uint8_t byte)
{
    file_le32(&file, 0x0a324655);
    file_le32(&file, 0x9e5d5157);
    file_le32(&file, 0x2000);
    file_le32(&file, address);
    file_le32(&file, 256);
    file_le32(&file, number);
    file_le32(&file, count);
    file_le32(&file, FAMILY);
    file_fill(&file, byte, 256);
    file_fill(&file, 0, 220);
    file_le32(&file, 0x0ab16f30);
}

static int fresh(void **state)
{
    (void)state;
    file_clear(&file);
    return 0;
}

static void blocks_in_any_order_become_one_segment(void **state)
{
    (void)state;
    uint8_t bytes[768];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(1 + i / 256);
    block(0x10000200, 2, 3, 3);
    block(0x10000000, 0, 3, 1);
    block(0x10000100, 1, 3, 2);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.format, FORMAT_UF2);
    assert_int_equal(image.count, 1);
    check_segment(&image, 0, MEM_FLASH, 0x10000000, bytes, sizeof bytes);
    assert_int_equal(image.uf2_family, FAMILY);
    assert_true(image.placed);
    image_free(&image);
}

static void gaps_stay_gaps(void **state)
{
    (void)state;
    block(0x10000000, 0, 2, 1);
    block(0x10001000, 1, 2, 2);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.count, 2);
    assert_int_equal(image.segments[1].address, 0x10001000);
    image_free(&image);
}

static void a_missing_block_is_named(void **state)
{
    (void)state;
    block(0x10000000, 0, 3, 1);
    block(0x10000200, 2, 3, 3);
    file_fill(&file, 0, 512); /* a block that lost its magic words */
    refused(&file, "1 of 3 blocks are missing, the first is number 1");
}

static void a_block_twice_is_refused(void **state)
{
    (void)state;
    block(0x10000000, 0, 2, 1);
    block(0x10000000, 0, 2, 1);
    refused(&file, "file: offset 0x200: block number 0 comes twice");
}

static void more_blocks_announced_than_fit_are_refused(void **state)
{
    (void)state;
    block(0x10000000, 0, 0xffffffff, 1);
    refused(&file, "the file should have 4294967295 blocks, but has room for 1");
}

static void no_blocks_announced_is_refused(void **state)
{
    (void)state;
    block(0x10000000, 0, 0, 1);
    refused(&file, "the file should have 0 blocks");
}

static void counts_that_disagree_are_refused(void **state)
{
    (void)state;
    block(0x10000000, 0, 2, 1);
    block(0x10000100, 1, 1, 1);
    refused(&file, "file: offset 0x200: this block speaks of 1 blocks, the first one of 2");
}

static void a_block_number_beyond_the_count_is_refused(void **state)
{
    (void)state;
    block(0x10000000, 2, 2, 1);
    block(0x10000100, 1, 2, 1);
    refused(&file, "block number 2 of 2 does not exist");
}

static void a_payload_too_long_for_its_block_is_refused(void **state)
{
    (void)state;
    block(0x10000000, 0, 1, 1);
    file_put_le32(&file, 16, 477);
    refused(&file, "file: offset 0x0: a payload of 477 bytes does not fit");
}

static void the_longest_payload_is_taken(void **state)
{
    (void)state;
    block(0x10000000, 0, 1, 1);
    file_put_le32(&file, 16, 476);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image_bytes(&image, MEM_FLASH), 476);
    image_free(&image);
}

static void blocks_not_for_flash_are_counted_but_left_out(void **state)
{
    (void)state;
    block(0x10000000, 0, 2, 1);
    block(0x20000000, 1, 2, 2);
    file_put_le32(&file, 512 + 8, 0x2001);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.count, 1);
    assert_int_equal(image_bytes(&image, MEM_FLASH), 256);
    image_free(&image);
}

static void a_file_container_holds_nothing_for_flash(void **state)
{
    (void)state;
    block(0x0, 0, 1, 1);
    file_put_le32(&file, 8, 0x1000);
    refused(&file, "the file holds no data");
}

static void two_families_are_refused(void **state)
{
    (void)state;
    block(0x10000000, 0, 1, 1);
    block(0x10000000, 0, 1, 1);
    file_put_le32(&file, 512 + 28, 0xe48bff59);
    refused(&file, "programs for families 0xe48bff56 and 0xe48bff59");
}

static void the_rp2350_erratum_block_is_left_out(void **state)
{
    (void)state;
    block(0x10ffff00, 0, 2, 0xef);
    file_put_le32(&file, 28, 0xe48bff57);
    block(0x10000000, 0, 1, 1);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.count, 1);
    assert_int_equal(image.segments[0].address, 0x10000000);
    assert_int_equal(image.uf2_family, FAMILY);
    image_free(&image);
}

static void blocks_that_overlap_are_named_by_offset(void **state)
{
    (void)state;
    block(0x10000000, 0, 2, 1);
    block(0x10000080, 1, 2, 1);
    refused(&file, "file: offset 0x200: address 0x10000080 is given twice, here and at offset 0x0");
}

static void half_a_block_at_the_end_is_refused(void **state)
{
    (void)state;
    block(0x10000000, 0, 1, 1);
    block(0x10000100, 1, 2, 1);
    file.length = 512 + 100;
    refused(&file, "file: offset 0x200: the file ends in the middle of a block");
}

static void a_block_past_4_gib_is_refused(void **state)
{
    (void)state;
    block(0xffffff80, 0, 1, 1);
    refused(&file, "the block runs past the end of 4 GiB");
}

static void no_family_is_zero(void **state)
{
    (void)state;
    block(0x2000, 0, 1, 1);
    file_put_le32(&file, 8, 0);
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.uf2_family, 0);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(blocks_in_any_order_become_one_segment, fresh),
        cmocka_unit_test_setup(gaps_stay_gaps, fresh),
        cmocka_unit_test_setup(a_missing_block_is_named, fresh),
        cmocka_unit_test_setup(a_block_twice_is_refused, fresh),
        cmocka_unit_test_setup(more_blocks_announced_than_fit_are_refused, fresh),
        cmocka_unit_test_setup(no_blocks_announced_is_refused, fresh),
        cmocka_unit_test_setup(counts_that_disagree_are_refused, fresh),
        cmocka_unit_test_setup(a_block_number_beyond_the_count_is_refused, fresh),
        cmocka_unit_test_setup(a_payload_too_long_for_its_block_is_refused, fresh),
        cmocka_unit_test_setup(the_longest_payload_is_taken, fresh),
        cmocka_unit_test_setup(blocks_not_for_flash_are_counted_but_left_out, fresh),
        cmocka_unit_test_setup(a_file_container_holds_nothing_for_flash, fresh),
        cmocka_unit_test_setup(two_families_are_refused, fresh),
        cmocka_unit_test_setup(the_rp2350_erratum_block_is_left_out, fresh),
        cmocka_unit_test_setup(blocks_that_overlap_are_named_by_offset, fresh),
        cmocka_unit_test_setup(half_a_block_at_the_end_is_refused, fresh),
        cmocka_unit_test_setup(a_block_past_4_gib_is_refused, fresh),
        cmocka_unit_test_setup(no_family_is_zero, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
