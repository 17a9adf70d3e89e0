/* How a Katapult node writes flash, family by family: what is erased, what is refused, how pages
 * are counted, and what gets lost. */
#include "katapult_bench.h"

#include <string.h>

#include "base/bytes.h"

static struct bench *on(const char *chip)
{
    struct bench *bench = bench_new(&vmodel_katapult_serial, chip, NULL);
    memset(bench->flash, 0x55, bench->config.flash.size); /* a used chip */
    bench_start(bench, 0);
    return bench;
}

static bool is_all(const uint8_t *bytes, uint8_t value, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

/* ---- STM32 ---- */

static void first_block_of_a_page_erases_it_others_do_not(void **state)
{
    (void)state;
    struct bench *bench = on("stm32g0b1xx");
    block_is_refused(bench, 0x08002040, 0); /* nothing was erased yet */
    block_is_done(bench, 0x08002000, 0);
    assert_true(is_all(bench->flash + 0x2040, 0xff, 2048 - 64));
    assert_true(is_all(bench->flash + 0x2800, 0x55, 2048));
    block_is_done(bench, 0x080020c0, 1); /* in any order */
    block_is_done(bench, 0x08002040, 2);
    block_is_done(bench, 0x08002040, 2); /* the same again */
    block_is_refused(bench, 0x08002040, 3);
    assert_int_equal(bench->flash[0x2040], 2);
    end_is_done(bench, 1);
    end_is_done(bench, 1);
    bench_free(bench);
}

static void first_block_again_loses_the_page_if_it_holds_more(void **state)
{
    (void)state;
    struct bench *bench = on("stm32g0b1xx");
    block_is_done(bench, 0x08002000, 7);
    block_is_done(bench, 0x08002000, 7); /* the rest is blank: sent again, not counted */
    end_is_done(bench, 1);
    block_is_done(bench, 0x08002040, 8);
    block_is_done(bench, 0x08002000, 7);
    assert_true(is_all(bench->flash + 0x2040, 0xff, 64));
    end_is_done(bench, 2);
    memset(bench->flash + 0x2000, 0xff, 4);
    double_reset(bench);
    end_is_done(bench, 0); /* counted since the start */
    bench_free(bench);
}

static void blank_first_page_takes_its_block_later_without_erase(void **state)
{
    (void)state;
    struct bench *bench = on("stm32f103xe");
    block_is_done(bench, 0x08002000, 0xff);
    assert_true(is_all(bench->flash + 0x2000, 0xff, 2048));
    block_is_done(bench, 0x08002800, 1);
    uint64_t start = bench_now(bench);
    block_is_done(bench, 0x08002000, 2);
    assert_true(bench_now(bench) - start < 10 * MILLISECOND); /* an erase alone takes 30 */
    end_is_done(bench, 3);
    bench_free(bench);
}

static void page_sizes_are_the_chips(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint32_t start, page;
        uint64_t time; /* with 74 bytes and a pause on the line */
    } chips[] = {
        {"stm32f103xb", 0x08002000, 1024, 37},      {"stm32f042x6", 0x08002000, 1024, 37},
        {"stm32f072xb", 0x08002000, 2048, 37},      {"stm32f407xx", 0x08008000, 16384, 305},
        {"stm32f446xx", 0x08008000, 16384, 305},    {"stm32f207xx", 0x08008000, 16384, 305},
        {"stm32g431xx", 0x08002000, 2048, 28},      {"stm32h743xx", 0x08020000, 0x20000, 1206},
        {"stm32h723xx", 0x08020000, 0x20000, 1206},
    };
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) {
        struct bench *bench = on(chips[i].chip);
        uint32_t start = chips[i].start - 0x08000000;
        uint64_t begin = bench_now(bench);
        block_is_refused(bench, chips[i].start - 64, 0);
        block_is_done(bench, chips[i].start, 0);
        assert_in_range(bench_now(bench) - begin, (chips[i].time + 5) * MILLISECOND,
                        (chips[i].time + 7) * MILLISECOND);
        assert_true(is_all(bench->flash, 0x55, start));
        assert_true(is_all(bench->flash + start + 64, 0xff, chips[i].page - 64));
        assert_true(is_all(bench->flash + start + chips[i].page, 0x55, 64));
        bench_free(bench);
    }
}

static void large_sectors_of_an_f4_take_longer(void **state)
{
    (void)state;
    struct bench *bench = on("stm32f407xx");
    uint64_t start = bench_now(bench);
    block_is_done(bench, 0x08010000, 0); /* 64 KiB */
    assert_in_range(bench_now(bench) - start, 700 * MILLISECOND, 710 * MILLISECOND);
    start = bench_now(bench);
    block_is_done(bench, 0x08020000, 0); /* 128 KiB */
    assert_in_range(bench_now(bench) - start, SECOND, SECOND + 10 * MILLISECOND);
    assert_true(is_all(bench->flash + 0x20040, 0xff, 0x20000 - 64));
    bench_free(bench);
}

/* ---- RP2040, RP2350 ---- */

static void rp2040_writes_a_page_when_the_next_begins(void **state)
{
    (void)state;
    struct bench *bench = on("rp2040");
    for (uint32_t i = 0; i < 4; i++)
        block_is_done(bench, 0x10004000 + 64 * i, (uint8_t)i);
    assert_int_equal(bench->flash[0x4000], 0x55); /* an answer only says: buffered */
    block_reads(bench, 0x10004000, 0x55);
    block_is_done(bench, 0x10004100, 9);
    assert_true(is_all(bench->flash + 0x40c0, 3, 64));
    assert_true(is_all(bench->flash + 0x4100, 0xff, 0x1000 - 0x100)); /* its sector was erased */
    end_is_done(bench, 2);
    assert_true(is_all(bench->flash + 0x4100, 9, 64));
    assert_true(is_all(bench->flash + 0x4140, 0xff, 192));
    end_is_done(bench, 2); /* nothing left to write */
    bench_free(bench);
}

static void rp2040_without_end_loses_the_last_page(void **state)
{
    (void)state;
    struct bench *bench = on("rp2040");
    block_is_done(bench, 0x10004000, 1);
    double_reset(bench);
    end_is_done(bench, 0);
    assert_true(is_all(bench->flash + 0x4000, 0x55, 0x1000));
    bench_free(bench);
}

static void rp2040_sector_without_its_first_page_is_not_erased(void **state)
{
    (void)state;
    struct bench *bench = on("rp2040");
    block_is_done(bench, 0x10004100, 0xf0);
    end_is_done(bench, 1);
    assert_true(is_all(bench->flash + 0x4100, 0x50, 64)); /* old and new */
    bench_free(bench);
}

static void rp2040_refuses_what_is_unaligned_or_not_flash(void **state)
{
    (void)state;
    struct bench *bench = on("rp2040");
    block_is_refused(bench, 0x10004020, 0);
    block_is_refused(bench, 0x10003fc0, 0);
    block_is_refused(bench, 0x10200000, 0);
    block_is_done(bench, 0x101fffc0, 0);
    end_is_done(bench, 1);
    bench_free(bench);
}

static void rp2040_hears_during_an_erase_as_far_as_its_buffer_goes(void **state)
{
    (void)state;
    for (uint32_t ahead = 1; ahead <= 2; ahead++) {
        struct bench *bench = on("rp2040");
        uint8_t data[64] = {0}, heard[64];
        block_is_done(bench, 0x10004000, 1);
        for (uint32_t i = 0; i <= ahead; i++) /* the first of them makes the erase */
            say_block(bench, 0x10004100 + 64 * i, data);
        bench_wait(bench, 100 * MILLISECOND);
        size_t count = bench_listen(bench, heard, sizeof heard);
        assert_int_equal(count, 32); /* 228 bytes are more than 192: the third is not whole */
        if (ahead == 1) {
            end_is_done(bench, 2);
        } else {
            bench_say(bench, CONNECT);
            bench_hears_nothing(bench, 10 * MILLISECOND);
        }
        bench_free(bench);
    }
}

/* ---- LPC176x ---- */

static void lpc_fill(struct bench *bench, uint32_t address, uint8_t value)
{
    for (uint32_t i = 0; i < 256; i += 64)
        block_is_done(bench, address + i, value);
}

static void lpc_writes_256_bytes_when_they_are_whole(void **state)
{
    (void)state;
    struct bench *bench = on("lpc1769");
    for (uint32_t i = 0; i < 192; i += 64)
        block_is_done(bench, 0x4000 + i, 1);
    assert_int_equal(bench->flash[0x4000], 0x55);
    uint64_t start = bench_now(bench);
    block_is_done(bench, 0x40c0, 1);
    assert_in_range(bench_now(bench) - start, 106 * MILLISECOND, 107 * MILLISECOND);
    assert_true(is_all(bench->flash + 0x4000, 1, 256));
    assert_true(is_all(bench->flash + 0x4100, 0xff, 0xf00));
    assert_true(is_all(bench->flash + 0x5000, 0x55, 0x1000));
    block_is_done(bench, 0x4100, 2);
    end_is_done(bench, 1); /* one sector was begun; the rest of the 256 bytes is FF */
    assert_true(is_all(bench->flash + 0x4100, 2, 64));
    bench_free(bench);
}

static void lpc_sectors_are_32_kib_from_64_kib_on(void **state)
{
    (void)state;
    struct bench *bench = on("lpc1768");
    lpc_fill(bench, 0x10000, 3);
    assert_true(is_all(bench->flash + 0x10100, 0xff, 0x8000 - 0x100));
    assert_true(is_all(bench->flash + 0x18000, 0x55, 0x100));
    bench_free(bench);
}

static void lpc_refuses_jumps_within_256_bytes(void **state)
{
    (void)state;
    struct bench *bench = on("lpc1769");
    block_is_refused(bench, 0x4040, 0);
    block_is_done(bench, 0x4000, 0);
    block_is_refused(bench, 0x4000, 0);
    block_is_refused(bench, 0x4080, 0);
    block_is_refused(bench, 0x4100, 0);
    for (uint32_t i = 64; i < 256; i += 64)
        block_is_done(bench, 0x4000 + i, 0);
    lpc_fill(bench, 0x6000, 4);
    lpc_fill(bench, 0x5000, 4);
    block_is_refused(bench, 0x3f00, 0);
    block_is_refused(bench, 0x80000, 0);
    bench_free(bench);
}

static void lpc_end_fails_where_flash_is_not_erased(void **state)
{
    (void)state;
    struct bench *bench = on("lpc1769");
    block_is_done(bench, 0x4100, 0); /* the sector's first page was never sent */
    bench_exchange(bench, SEND_EOF, COMMAND_ERROR);
    assert_true(is_all(bench->flash + 0x4100, 0x55, 256));
    bench_free(bench);
}

/* ---- faults ---- */

static void rp2040_does_not_notice_protected_flash(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_katapult_serial, "rp2040", NULL);
    memset(bench->flash, 0x55, 0x8000);
    bench->config.faults.locked = true;
    bench_start(bench, 0);
    block_is_done(bench, 0x10004000, 0);
    end_is_done(bench, 1);
    assert_int_equal(bench->flash[0x4000], 0x55);
    bench_free(bench);
}

static void power_loss_in_an_erase_leaves_the_page_erased(void **state)
{
    (void)state;
    struct bench *bench = on("stm32f103xe");
    uint8_t data[64] = {0};
    say_block(bench, 0x08002000, data);
    bench_wait(bench, 10 * MILLISECOND);
    virtual_reset(bench->device, VRESET_POWER);
    bench_wait(bench, SECOND);
    assert_true(is_all(bench->flash + 0x2000, 0xff, 2048));
    end_is_done(bench, 0);
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_block_of_a_page_erases_it_others_do_not),
        cmocka_unit_test(first_block_again_loses_the_page_if_it_holds_more),
        cmocka_unit_test(blank_first_page_takes_its_block_later_without_erase),
        cmocka_unit_test(page_sizes_are_the_chips),
        cmocka_unit_test(large_sectors_of_an_f4_take_longer),
        cmocka_unit_test(rp2040_writes_a_page_when_the_next_begins),
        cmocka_unit_test(rp2040_without_end_loses_the_last_page),
        cmocka_unit_test(rp2040_sector_without_its_first_page_is_not_erased),
        cmocka_unit_test(rp2040_refuses_what_is_unaligned_or_not_flash),
        cmocka_unit_test(rp2040_hears_during_an_erase_as_far_as_its_buffer_goes),
        cmocka_unit_test(lpc_writes_256_bytes_when_they_are_whole),
        cmocka_unit_test(lpc_sectors_are_32_kib_from_64_kib_on),
        cmocka_unit_test(lpc_refuses_jumps_within_256_bytes),
        cmocka_unit_test(lpc_end_fails_where_flash_is_not_erased),
        cmocka_unit_test(rp2040_does_not_notice_protected_flash),
        cmocka_unit_test(power_loss_in_an_erase_leaves_the_page_erased),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
