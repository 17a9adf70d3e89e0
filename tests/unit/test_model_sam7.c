/* The virtual SAM7 against its data sheet: ARM7 behind a SAM-BA monitor, and the EFC. */
#include "sam_bench.h"

#include "base/bytes.h"

enum {
    FLASH = 0x100000,
    PLANE = 256 * 1024,
    WORK = 0x202000, /* free RAM */
    RDY = 1,
    LOCKE = 4,
    PROGE = 8,
    WP = 0x1,
    SLB = 0x2,
    CLB = 0x4,
    EA = 0x8,
    SGPB = 0xb,
    CGPB = 0xd,
    SSB = 0xf,
};

static const uint32_t fmr = 0xffffff60, fcr = 0xffffff64, fsr = 0xffffff68;
static const uint32_t fcr_1 = 0xffffff74, fsr_1 = 0xffffff78;

static struct sam_bench *bench_on(const char *chip)
{
    struct sam_bench *bench = sam_bench_new(&vmodel_sam7s, NULL);
    bench->config.chip = chip_find(chip);
    assert_non_null(bench->config.chip);
    bench->config.flash.size = (size_t)bench->config.chip->regions[0].size;
    sam_bench_start(bench);
    return bench;
}

static uint32_t status_when_ready(struct sam_bench *bench, uint32_t address)
{
    uint32_t all = 0, now;
    do {
        now = sam_word(bench, address);
        all |= now;
    } while (!(now & RDY));
    return all;
}

static uint32_t command(struct sam_bench *bench, uint32_t address, uint32_t number, uint32_t page)
{
    sam_put(bench, address, 0x5a000000 | page << 8 | number);
    return status_when_ready(bench, address + 4);
}

static void fill_page(struct sam_bench *bench, uint32_t page, uint32_t value)
{
    for (uint32_t at = 0; at < 256; at += 4)
        sam_put(bench, FLASH + page * 256 + at, value);
}

static void says_nothing_more(struct sam_bench *bench)
{
    sam_hears_nothing(bench);
    sam_say(bench, "w%08X,4#", WORK);
    sam_hears_nothing(bench);
}

static void it_is_an_arm7_with_its_id_where_arm7s_have_it(void **state)
{
    (void)state;
    struct sam_bench *bench = bench_on("at91sam7s256");
    assert_int_equal(sam_word(bench, 0) >> 24, 0xea);
    assert_int_equal(sam_word(bench, 0xfffff240), 0x270b0940);
    sam_bench_free(bench);
}

static void registers_of_a_cortex_m_kill_the_monitor(void **state)
{
    (void)state;
    static const uint32_t addresses[] = {0xe000ed00, 0x400e0740, 0x41002018};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct sam_bench *bench = bench_on("at91sam7s256");
        sam_say(bench, "w%08X,4#", (unsigned)addresses[i]);
        says_nothing_more(bench);
        sam_bench_free(bench);
    }
}

static void a_page_is_erased_before_it_is_programmed_unless_told_not_to(void **state)
{
    (void)state;
    struct sam_bench *bench = bench_on("at91sam7s256");
    fill_page(bench, 3, 0x0f0f0f0f);
    assert_int_equal(command(bench, fcr, WP, 3) & (LOCKE | PROGE), 0);
    fill_page(bench, 3, 0xf0f0f0f0);
    command(bench, fcr, WP, 3);
    assert_int_equal(get_le32(bench->flash + 3 * 256), 0xf0f0f0f0);
    sam_put(bench, fmr, sam_word(bench, fmr) | 0x80);
    fill_page(bench, 3, 0x33333333);
    command(bench, fcr, WP, 3);
    assert_int_equal(get_le32(bench->flash + 3 * 256), 0x30303030);
    sam_bench_free(bench);
}

static void programming_takes_its_time(void **state)
{
    (void)state;
    struct sam_bench *bench = bench_on("at91sam7s256");
    uint64_t begun = sam_bench_now(bench);
    command(bench, fcr, WP, 0);
    assert_true(sam_bench_now(bench) - begun >= 6 * MILLISECOND);
    sam_bench_free(bench);
}

static void a_command_without_key_or_while_busy_is_refused(void **state)
{
    (void)state;
    struct sam_bench *bench = bench_on("at91sam7s256");
    sam_put(bench, fcr, 0x55000000 | WP);
    assert_true(sam_word(bench, fsr) & PROGE);
    assert_false(sam_word(bench, fsr) & PROGE); /* reading cleared it */
    sam_put(bench, fcr, 0x5a000000 | EA);
    sam_put(bench, fcr, 0x5a000000 | EA);
    assert_true(status_when_ready(bench, fsr) & PROGE);
    assert_true(command(bench, fcr, 0x7, 0) & PROGE); /* no such command */
    sam_bench_free(bench);
}

static void a_locked_region_stays_as_it_is(void **state)
{
    (void)state;
    struct sam_bench *bench = bench_on("at91sam7s256");
    command(bench, fcr, SLB, 64); /* 16 regions of 64 pages */
    assert_int_equal(sam_word(bench, fsr) >> 16, 0x0002);
    fill_page(bench, 64, 0);
    assert_true(command(bench, fcr, WP, 64) & LOCKE);
    assert_true(command(bench, fcr, EA, 0) & LOCKE);
    assert_int_equal(bench->flash[64 * 256], 0xff);
    command(bench, fcr, CLB, 64);
    fill_page(bench, 64, 0);
    assert_false(command(bench, fcr, WP, 64) & LOCKE);
    assert_int_equal(bench->flash[64 * 256], 0);
    sam_bench_free(bench);
}

static void each_plane_has_its_own_controller(void **state)
{
    (void)state;
    struct sam_bench *bench = bench_on("at91sam7s512");
    bench->flash[0] = bench->flash[PLANE] = 0;
    command(bench, fcr_1, EA, 0);
    assert_int_equal(bench->flash[0], 0);
    assert_int_equal(bench->flash[PLANE], 0xff);
    assert_true(command(bench, fcr_1, SGPB, 0) & PROGE); /* GPNVM bits are the first plane's */
    assert_int_equal(sam_word(bench, fsr_1) >> 8 & 7, 0);
    sam_bench_free(bench);
}

static void bits_are_set_cleared_and_seen_in_the_status(void **state)
{
    (void)state;
    struct sam_bench *bench = bench_on("at91sam7s256");
    assert_int_equal(command(bench, fcr, SGPB, 1) >> 8 & 7, 2);
    assert_true(command(bench, fcr, SGPB, 2) & PROGE); /* a SAM7S has two */
    command(bench, fcr, CGPB, 1);
    assert_int_equal(sam_word(bench, fsr) >> 8 & 7, 0);
    assert_true(command(bench, fcr, SSB, 0) & 0x10);
    assert_int_equal(sam_word(bench, FLASH), 0); /* closed from now on */
    sam_bench_free(bench);
}

static void each_g_costs_the_monitor_stack_unless_the_code_brings_it_back(void **state)
{
    (void)state;
    static const uint8_t plain[] = {0x70, 0x47}; /* bx lr */
    static const uint8_t moves[] = {
        0x01, 0x48, 0x85, 0x46, 0x70, 0x47,  /* ldr r0; mov sp, r0; bx lr */
        0x00, 0x00, 0x00, 0x00, 0x21, 0x00}; /* its word: 0x210000 */
    for (int good = 0; good < 2; good++) {
        struct sam_bench *bench = bench_on("at91sam7s256");
        sam_block(bench, WORK, good ? moves : plain, good ? sizeof moves : sizeof plain);
        for (int i = 0; i < 150; i++)
            sam_say(bench, "G%08X#", WORK | 1);
        if (good)
            (void)sam_word(bench, WORK);
        else
            says_nothing_more(bench);
        sam_bench_free(bench);
    }
}

static void code_that_returns_in_thumb_state_kills_the_monitor(void **state)
{
    (void)state;
    static const uint8_t code[] = {0x00, 0xb5, 0x00, 0xbd}; /* push {lr}; pop {pc} */
    struct sam_bench *bench = bench_on("at91sam7s256");
    sam_block(bench, WORK, code, sizeof code);
    sam_say(bench, "G%08X#", WORK | 1);
    says_nothing_more(bench);
    sam_bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_an_arm7_with_its_id_where_arm7s_have_it),
        cmocka_unit_test(registers_of_a_cortex_m_kill_the_monitor),
        cmocka_unit_test(a_page_is_erased_before_it_is_programmed_unless_told_not_to),
        cmocka_unit_test(programming_takes_its_time),
        cmocka_unit_test(a_command_without_key_or_while_busy_is_refused),
        cmocka_unit_test(a_locked_region_stays_as_it_is),
        cmocka_unit_test(each_plane_has_its_own_controller),
        cmocka_unit_test(bits_are_set_cleared_and_seen_in_the_status),
        cmocka_unit_test(each_g_costs_the_monitor_stack_unless_the_code_brings_it_back),
        cmocka_unit_test(code_that_returns_in_thumb_state_kills_the_monitor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
