/*
 * The virtual boards in loaders without addresses: stm32duino by its own source, with the traps
 * that dfu-util walks around, and plain DFU 1.1.
 */
#include "dfu_bench.h"

#include <string.h>

#include "base/bytes.h"

#define CASE(test) cmocka_unit_test(test)

static struct dfu_bench *maple(const char *chip)
{
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_maple, chip, NULL);
    dfu_bench_open(bench, NULL);
    return bench;
}

static struct dfu_bench *plain(void)
{
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_plain, "lpc1769", NULL);
    dfu_bench_open(bench, NULL);
    return bench;
}

static bool is_silent_program(const struct dfu_bench *bench)
{
    return bench->device->back_at == UINT64_MAX;
}

/* ---- stm32duino ---- */

static void dfu_util_writes_2500_bytes_to_a_maple(void **state)
{
    (void)state;
    struct dfu_bench *bench = maple("stm32f103xb");
    put_le32(bench->out, 0x20005000);
    dfu_trace(bench, "01 0b 0002 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n"
                     "21 01 0000 0000 0400 <\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0001 0000 0400 <\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0002 0000 01c4 <\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0003 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 08 00\n"
                     "reset gone\n");
    assert_memory_equal(bench->flash + 0x2000, bench->out, 2500);
    assert_int_equal(bench->flash[0x2000 + 2500], 0xff);
    assert_true(is_silent_program(bench));
    dfu_bench_free(bench);
}

static void its_descriptors_are_those_of_its_source(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint8_t kib4;
    } cases[] = {{"stm32f103xb", 4}, {"stm32f103xe", 8}};
    for (size_t i = 0; i < 2; i++) {
        struct dfu_bench *bench = maple(cases[i].chip);
        const uint8_t functional[] = {9, 0x21, 3, 0xff, 0, 0, cases[i].kib4, 0x10, 0x01};
        assert_int_equal(bench->usb->configuration_length, 45);
        assert_memory_equal(bench->usb->configuration + 36, functional, 9);
        assert_int_equal(bench->usb->device.vid, 0x1eaf);
        assert_int_equal(bench->usb->device.pid, 0x0003);
        assert_string_equal(bench->usb->device.serial, "LLM 003");
        dfu_bench_free(bench);
    }
}

static void each_block_takes_the_time_of_its_page(void **state)
{
    (void)state;
    struct dfu_bench *bench = maple("stm32f103xb");
    dfu_trace(bench, "01 0b 0002 0000 0000\n"
                     "21 01 0000 0000 0400 <\n");
    uint64_t begun = dfu_bench_now(bench);
    (void)dfu_status_is(bench, 0, 5);
    assert_in_range(dfu_bench_now(bench) - begun, 50 * MILLISECOND, 65 * MILLISECOND);
    dfu_bench_free(bench);
}

static void one_question_too_many_loses_the_place(void **state)
{
    (void)state;
    static const char *const questions[] = {"a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n",
                                            "a1 05 0000 0000 0001 -> 05\n"};
    for (size_t i = 0; i < 2; i++) {
        struct dfu_bench *bench = maple("stm32f103xb");
        dfu_trace(bench, "01 0b 0002 0000 0000\n"
                         "21 01 0000 0000 0400 <\n"
                         "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n");
        dfu_trace(bench, questions[i]);
        dfu_trace(bench, "21 01 0001 0000 0400 <\n"
                         "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n");
        assert_memory_equal(bench->flash + 0x2000, bench->out + KIB, KIB);
        dfu_bench_free(bench);
    }
}

static void blocks_go_one_behind_the_other_whatever_their_number(void **state)
{
    (void)state;
    struct dfu_bench *bench = maple("stm32f103xb");
    dfu_trace(bench, "01 0b 0002 0000 0000\n"
                     "21 01 0007 0000 0400 <\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0003 0000 0400 <\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n");
    assert_memory_equal(bench->flash + 0x2000, bench->out, (size_t)2 * KIB);
    dfu_bench_free(bench);
}

static void an_end_before_the_beginning_is_an_error(void **state)
{
    (void)state;
    struct dfu_bench *bench = maple("stm32f103xb");
    dfu_trace(bench, "01 0b 0002 0000 0000\n"
                     "21 01 0000 0000 0000 stall\n"
                     "a1 03 0000 0000 0006 -> 09 00 00 00 0a 00\n"
                     "21 04 0000 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n");
    dfu_bench_free(bench);
}

static void ram_is_refused(void **state)
{
    (void)state;
    struct dfu_bench *bench = maple("stm32f103xb");
    dfu_trace(bench, "01 0b 0000 0000 0000\n"
                     "21 01 0000 0000 0400 < stall\n"
                     "a1 03 0000 0000 0006 -> 01 00 00 00 0a 00\n");
    dfu_bench_free(bench);
}

static void programs_at_5000_erase_the_page_at_2000(void **state)
{
    (void)state;
    struct dfu_bench *bench = maple("stm32f103xb");
    dfu_trace(bench, "01 0b 0001 0000 0000\n"
                     "21 01 0000 0000 0400 <\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n");
    assert_memory_equal(bench->flash + 0x5000, bench->out, KIB);
    for (size_t i = 0x2000; i < 0x2400; i++)
        assert_int_equal(bench->flash[i], 0xff);
    dfu_bench_free(bench);
}

static void an_upload_shows_all_behind_the_start(void **state)
{
    (void)state;
    struct dfu_bench *bench = maple("stm32f103xb");
    dfu_trace(bench, "01 0b 0002 0000 0000\n"
                     "a1 02 0000 0000 0400 >\n"
                     "a1 02 0003 0000 0400 >\n"
                     "a1 02 0003 0000 0200 >\n" /* places count in what is asked for */
                     "21 06 0000 0000 0000\n"
                     "a1 02 0078 0000 0400 >\n");
    assert_int_equal(bench->heard, 2 * KIB + 512); /* nothing is behind the end */
    assert_memory_equal(bench->in, bench->flash + 0x2000, KIB);
    assert_memory_equal(bench->in + KIB, bench->flash + 0x2c00, KIB);
    assert_memory_equal(bench->in + 2 * KIB, bench->flash + 0x2600, 512);
    dfu_bench_free(bench);
}

static void a_bus_reset_in_dfu_idle_is_nothing(void **state)
{
    (void)state;
    struct dfu_bench *bench = maple("stm32f103xb");
    dfu_trace(bench, "01 0b 0002 0000 0000\nreset\n");
    dfu_bench_wait(bench, SECOND);
    (void)dfu_status_is(bench, 0, 2);
    dfu_bench_free(bench);
}

static void a_bus_reset_starts_only_what_has_a_stack_in_ram(void **state)
{
    (void)state;
    static const struct {
        uint32_t sp;
        bool starts;
    } cases[] = {{0x20005000, true}, {0x20000000, true}, {0xffffffff, false}, {0x08001000, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dfu_bench *bench = maple("stm32f103xb");
        put_le32(bench->flash + 0x2000, cases[i].sp);
        put_le32(bench->flash + 0x5000, 0);
        dfu_trace(bench, "01 0b 0002 0000 0000\n"
                         "a1 02 0000 0000 0400 >\n"
                         "reset gone\n");
        if (is_silent_program(bench) != cases[i].starts)
            fail_msg("stack pointer 0x%08x", (unsigned)cases[i].sp);
        dfu_bench_free(bench);
    }
}

static void protected_pages_stay_and_nobody_says_so(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.locked = true}};
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_maple, "stm32f103xb", &options);
    uint8_t before[KIB];
    memcpy(before, bench->flash + 0x2000, sizeof before);
    dfu_bench_open(bench, NULL);
    dfu_trace(bench, "01 0b 0002 0000 0000\n"
                     "21 01 0000 0000 0400 <\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n");
    assert_memory_equal(bench->flash + 0x2000, before, sizeof before);
    dfu_bench_free(bench);
}

/* ---- plain DFU 1.1 ---- */

static void plain_writes_blocks_from_its_start_on_and_leaves_at_the_end(void **state)
{
    (void)state;
    struct dfu_bench *bench = plain();
    dfu_trace(bench, "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n"
                     "21 01 0000 0000 0200 <\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "sleep 200\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0001 0000 0064 <\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "sleep 200\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0002 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 08 00\n"
                     "sleep 20\n"
                     "a1 03 0000 0000 0006 gone\n");
    assert_memory_equal(bench->flash + 0x4000, bench->out, 0x264);
    assert_int_equal(bench->flash[0x4264], 0xff);
    dfu_bench_free(bench);
}

static void plain_refuses_an_empty_image_and_a_long_block(void **state)
{
    (void)state;
    struct dfu_bench *bench = plain();
    dfu_trace(bench, "21 01 0000 0000 0000 stall\n"
                     "a1 03 0000 0000 0006 -> 09 00 00 00 0a 00\n"
                     "21 04 0000 0000 0000\n"
                     "21 01 0000 0000 0201 < stall\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n"
                     "a1 02 0000 0000 0200 >\n");
    assert_memory_equal(bench->in, bench->flash + 0x4000, 512);
    dfu_bench_free(bench);
}

static void plain_erases_each_sector_where_it_begins(void **state)
{
    (void)state;
    struct dfu_bench *bench = plain();
    uint8_t next = bench->flash[0x5000];
    dfu_trace(bench, "21 01 0000 0000 0200 <\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n");
    for (size_t i = 0x4200; i < 0x5000; i++)
        assert_int_equal(bench->flash[i], 0xff);
    assert_int_equal(bench->flash[0x5000], next);
    dfu_bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(dfu_util_writes_2500_bytes_to_a_maple),
        CASE(its_descriptors_are_those_of_its_source),
        CASE(each_block_takes_the_time_of_its_page),
        CASE(one_question_too_many_loses_the_place),
        CASE(blocks_go_one_behind_the_other_whatever_their_number),
        CASE(an_end_before_the_beginning_is_an_error),
        CASE(ram_is_refused),
        CASE(programs_at_5000_erase_the_page_at_2000),
        CASE(an_upload_shows_all_behind_the_start),
        CASE(a_bus_reset_in_dfu_idle_is_nothing),
        CASE(a_bus_reset_starts_only_what_has_a_stack_in_ram),
        CASE(protected_pages_stay_and_nobody_says_so),
        CASE(plain_writes_blocks_from_its_start_on_and_leaves_at_the_end),
        CASE(plain_refuses_an_empty_image_and_a_long_block),
        CASE(plain_erases_each_sector_where_it_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
