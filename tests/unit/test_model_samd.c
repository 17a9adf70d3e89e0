/* The models of the SAM D21's and D51's loaders against their sheet: X, Y and Z, packets, the two
 * kinds of NVMCTRL, and the ways into the loader. */
#include "sam_bench.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

enum { BUFFER = 0x20004000 };
enum {
    CTRL2 = 0x41004000,
    CTRLB2 = 0x41004004,
    FLAG2 = 0x41004014,
    STATUS2 = 0x41004018,
    ADDR2 = 0x4100401c
};
enum { CTRLA5 = 0x41004000, CTRLB5 = 0x41004004, FLAG5 = 0x41004010, ADDR5 = 0x41004014 };

static struct sam_bench *written(const struct vmodel *model)
{
    struct sam_bench *bench = sam_bench_new(model, NULL);
    memset(bench->flash, 0, bench->config.flash.size);
    sam_bench_start(bench);
    return bench;
}

static uint32_t d2x_do(struct sam_bench *bench, uint32_t address, uint32_t command)
{
    sam_put(bench, ADDR2, address / 2);
    sam_put(bench, CTRL2, 0xa500 | command);
    return sam_word(bench, STATUS2) & 0x1c;
}

static uint32_t d5x_do(struct sam_bench *bench, uint32_t address, uint32_t command)
{
    sam_put(bench, FLAG5, 0xff);
    sam_put(bench, ADDR5, address);
    sam_put(bench, CTRLB5, 0xa500 | command);
    return sam_word(bench, FLAG5) & 0xce;
}

static void d21_is_identified_as_an_arduino_zero(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_samd21, NULL);
    sam_say(bench, "V#");
    sam_hears_text(bench, "v2.0 [Arduino:XYZ] Mar 10 2017 12:20:17\n\r");
    assert_int_equal(sam_word(bench, 0), 0x20007ffc);
    assert_int_equal(sam_word(bench, 0xe000ed00), 0x410cc601);
    assert_int_equal(sam_word(bench, 0x41002018), 0x10010305);
    sam_bench_free(bench);
    bench = sam_bench(&vmodel_samd21, "plain");
    sam_say(bench, "V#");
    sam_hears_text(bench, "v2.0 Mar 10 2017 12:20:17\n\r");
    sam_say(bench, "X00002000#");
    sam_hears_nothing(bench);
    sam_bench_free(bench);
}

static void d51_answers_no_n_and_ends_its_version_with_a_nul(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_samd51, NULL);
    sam_say(bench, "N#");
    sam_hears_nothing(bench);
    sam_say(bench, "V#");
    sam_hears(bench, "v1.1 [Arduino:XYZ] Mar 13 2018 19:12:33\n\r", 42);
    assert_int_equal(sam_word(bench, 0x41002018), 0x60060305);
    sam_bench_free(bench);
}

static void x_erases_to_the_end_in_its_time(void **state)
{
    (void)state;
    struct sam_bench *bench = written(&vmodel_samd21);
    uint64_t start = sam_bench_now(bench);
    sam_say(bench, "X00002000#");
    sam_hears_text(bench, "X\n\r");
    assert_in_range(sam_bench_now(bench) - start, 740 * MILLISECOND, 760 * MILLISECOND);
    assert_int_equal(bench->flash[0x1fff], 0);
    assert_int_equal(bench->flash[0x2000], 0xff);
    assert_int_equal(bench->flash[0x3ffff], 0xff);
    sam_bench_free(bench);
}

static void y_programs_without_erasing_and_z_sums(void **state)
{
    (void)state;
    const struct vmodel *models[] = {&vmodel_samd21, &vmodel_samd51};
    for (size_t i = 0; i < 2; i++) {
        struct sam_bench *bench = sam_bench(models[i], NULL);
        uint8_t data[1024];
        for (size_t at = 0; at < sizeof data; at++)
            data[at] = (uint8_t)(at * 5 + 1);
        sam_block(bench, 0x20010000 - (i ? 0 : 0xc000), data, sizeof data);
        sam_say(bench, "Y%08X,0#", i ? 0x20010000 : BUFFER);
        sam_hears_text(bench, "Y\n\r");
        sam_say(bench, "Y00008000,00000400#");
        sam_hears_text(bench, "Y\n\r");
        assert_memory_equal(bench->flash + 0x8000, data, sizeof data);
        assert_int_equal(bench->flash[0x8400], 0xff);
        sam_say(bench, "Y00008040,00000400#"); /* over it: bits only go away */
        sam_hears_text(bench, "Y\n\r");
        assert_int_equal(bench->flash[0x8040], data[0] & data[0x40]);
        sam_say(bench, "Z00009000,00000040#");
        sam_hears_text(bench, "Z0000278E#\n\r"); /* 64 times FF */
        sam_bench_free(bench);
    }
}

static void long_reads_of_flash_are_garbage(void **state)
{
    (void)state;
    uint8_t blank[63];
    struct error err = {0};
    struct sam_bench *bench = sam_bench(&vmodel_samd21, NULL);
    memset(blank, 0xff, sizeof blank);
    sam_say(bench, "R00002000,0000003F#");
    sam_hears(bench, blank, sizeof blank);
    sam_say(bench, "R00002000,00000040#");
    uint8_t heard[64];
    assert_int_equal(serial_read(bench->serial, heard, 64, sam_bench_now(bench) + SECOND, &err),
                     OK);
    assert_memory_not_equal(heard, blank, sizeof blank);
    sam_say(bench, "R20004000,00004000#");
    sam_hears_nothing(bench);
    sam_bench_free(bench);
}

static void data_behind_s_in_its_packet_is_stored_over(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_samd21, NULL);
    sam_say(bench, "S20004000,8#abcd"); /* the rest starts at the beginning again */
    sam_say(bench, "efgh");
    assert_int_equal(sam_word(bench, BUFFER), 0x68676665);
    sam_say(bench, "S20004000,4#abcd"); /* all of it fits */
    assert_int_equal(sam_word(bench, BUFFER), 0x64636261);
    sam_say(bench, "S20004000,4#");
    sam_say(bench, "ijklw20004000,4#"); /* dropped with the packet */
    sam_hears_nothing(bench);
    assert_int_equal(sam_word(bench, BUFFER), 0x6c6b6a69);
    sam_say(bench, "V#w0,4#");
    sam_hears_text(bench, "v2.0 [Arduino:XYZ] Mar 10 2017 12:20:17\n\r");
    sam_hears_nothing(bench);
    sam_bench_free(bench);
    bench = sam_bench(&vmodel_samd51, NULL);
    sam_say(bench, "S20010000,4#");
    sam_say(bench, "ijklw20010000,4#"); /* UF2 keeps it */
    sam_hears_text(bench, "ijkl");
    sam_bench_free(bench);
}

static void unaligned_words_and_byte_stores_to_flash_fault(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_samd21, NULL);
    sam_say(bench, "w20004002,4#");
    sam_is_dead(bench);
    sam_say(bench, "O00002000,12#");
    sam_is_dead(bench);
    sam_block(bench, 0x20007e00, "x", 1); /* the loader's stack */
    sam_is_dead(bench);
    sam_bench_free(bench);
}

static void d2x_writes_pages_by_half_word_addresses(void **state)
{
    (void)state;
    struct sam_bench *bench = written(&vmodel_samd21);
    assert_int_equal(d2x_do(bench, 0x2110, 0x02), 0); /* ER: the row around it */
    assert_int_equal(bench->flash[0x20ff], 0);
    assert_int_equal(bench->flash[0x2100], 0xff);
    assert_int_equal(bench->flash[0x21ff], 0xff);
    sam_put(bench, CTRLB2, 0x40080); /* MANW, CACHEDIS */
    sam_put(bench, CTRL2, 0xa544);
    for (uint32_t at = 0; at < 64; at += 4)
        sam_put(bench, 0x2140 + at, 0x12345678);
    assert_int_equal(sam_word(bench, 0x2140), 0xffffffff);
    sam_put(bench, CTRL2, 0xa504);
    assert_int_equal(sam_word(bench, 0x217c), 0x12345678);
    sam_put(bench, CTRLB2, 0); /* by itself, on the last word */
    for (uint32_t at = 0; at < 64; at += 4)
        sam_put(bench, 0x2180 + at, 0x87654321);
    assert_int_equal(sam_word(bench, 0x2180), 0x87654321);
    sam_bench_free(bench);
}

static void d2x_errors_stay_until_they_are_cleared(void **state)
{
    (void)state;
    struct sam_bench *bench = written(&vmodel_samd21);
    sam_put(bench, CTRL2, 0xa402); /* key */
    assert_int_equal(sam_word(bench, STATUS2) & 0x1c, 4);
    assert_int_equal(sam_word(bench, FLAG2), 3);
    sam_put(bench, STATUS2, 0x1c);
    sam_put(bench, FLAG2, 2);
    assert_int_equal(sam_word(bench, FLAG2), 1);
    assert_int_equal(d2x_do(bench, 0x4000, 0x40), 0); /* LR */
    assert_int_equal(d2x_do(bench, 0x4100, 0x02), 8);
    sam_say(bench, "X00004000#"); /* silent about it */
    sam_hears_text(bench, "X\n\r");
    assert_int_equal(bench->flash[0x7fff], 0);
    assert_int_equal(bench->flash[0x8000], 0xff);
    sam_put(bench, STATUS2, 0x1c);
    assert_int_equal(d2x_do(bench, 0x4000, 0x41), 0); /* UR */
    assert_int_equal(d2x_do(bench, 0x4100, 0x02), 0);
    sam_bench_free(bench);
}

static void d2x_bootprot_protects_the_loader(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench_new(&vmodel_samd21, NULL);
    memset(bench->options, 0xff, 64);
    bench->options[0] = 0xfa; /* BOOTPROT 2: 8 KiB */
    sam_bench_start(bench);
    assert_int_equal(d2x_do(bench, 0x1f00, 0x02), 8);
    assert_int_equal(d2x_do(bench, 0x2000, 0x02) & 8, 8); /* sticky */
    sam_put(bench, STATUS2, 0x1c);
    assert_int_equal(d2x_do(bench, 0x2000, 0x02), 0);
    sam_bench_free(bench);
}

static void a_loader_that_erases_itself_is_gone(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench_new(&vmodel_samd21, NULL);
    bench->options[0] = 0xff; /* BOOTPROT none */
    bench->options[1] = 0xc7;
    sam_bench_start(bench);
    sam_say(bench, "X00000000#");
    sam_hears_nothing(bench);
    virtual_reset(bench->device, VRESET_PIN);
    sam_reopen(bench);
    sam_say(bench, "w0,4#");
    sam_hears_nothing(bench);
    sam_bench_free(bench);
}

static void d5x_erases_blocks_and_writes_quad_words(void **state)
{
    (void)state;
    struct sam_bench *bench = written(&vmodel_samd51);
    sam_put(bench, CTRLA5, 0xc000);
    uint64_t start = sam_bench_now(bench);
    assert_int_equal(d5x_do(bench, 0x6100, 0x01), 0); /* EB */
    assert_true(sam_bench_now(bench) - start >= 10 * MILLISECOND);
    assert_int_equal(bench->flash[0x5fff], 0);
    assert_int_equal(bench->flash[0x6000], 0xff);
    assert_int_equal(bench->flash[0x7fff], 0xff);
    assert_int_equal(bench->flash[0x8000], 0);
    sam_put(bench, CTRLB5, 0xa515);
    for (uint32_t at = 0; at < 32; at += 4)
        sam_put(bench, 0x6000 + at, 0x12345678);
    assert_int_equal(d5x_do(bench, 0x6000, 0x04), 0); /* WQW */
    assert_int_equal(sam_word(bench, 0x600c), 0x12345678);
    assert_int_equal(sam_word(bench, 0x6010), 0xffffffff);
    assert_int_equal(d5x_do(bench, 0x6000, 0x02), 4);   /* no such command */
    assert_int_equal(d5x_do(bench, 0x100000, 0x01), 2); /* no such address */
    assert_int_equal(d5x_do(bench, 0x804000, 0x03), 4); /* WP into the User Page */
    sam_bench_free(bench);
}

static void d5x_page_buffer_wants_caches_off(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_samd51, NULL);
    sam_put(bench, CTRLB5, 0xa515);
    sam_word(bench, 0x6000);
    for (uint32_t at = 0; at < 16; at += 4)
        sam_put(bench, 0x6000 + at, 0x12345678);
    d5x_do(bench, 0x6000, 0x04);
    assert_int_not_equal(sam_word(bench, 0x6000), 0x12345678);
    sam_put(bench, CTRLA5, 0xc000);
    sam_put(bench, CTRLB5, 0xa515);
    sam_word(bench, 0x6000);
    for (uint32_t at = 0; at < 16; at += 4)
        sam_put(bench, 0x6010 + at, 0x12345678);
    d5x_do(bench, 0x6010, 0x04);
    assert_int_equal(sam_word(bench, 0x6010), 0x12345678);
    sam_bench_free(bench);
}

/* ---- ways in ---- */

static void touch(struct sam_bench *bench)
{
    struct error err = {0};
    assert_int_equal(serial_set_baud(bench->serial, 1200, &err), OK);
    assert_int_equal(serial_set_lines(bench->serial, false, true, &err), OK);
    serial_close(bench->serial);
    virtual_elapse(bench->device, 300 * MILLISECOND);
    bench->serial = virtual_serial(bench->device, NULL);
}

static struct sam_bench *application(const struct vmodel *model, const char *variant, size_t start)
{
    struct sam_bench *bench = sam_bench_new(model, variant);
    bench->config.app = true;
    memset(bench->flash + start, 0x20, 1024);
    sam_bench_start(bench);
    sam_say(bench, "V#");
    sam_hears_nothing(bench);
    return bench;
}

static void arduino_application_erases_its_first_row_when_touched(void **state)
{
    (void)state;
    struct sam_bench *bench = application(&vmodel_samd21, NULL, 0x2000);
    touch(bench);
    assert_int_equal(sam_word(bench, 0), 0x20007ffc);
    assert_int_equal(bench->flash[0x20ff], 0xff);
    assert_int_equal(bench->flash[0x2100], 0x20);
    sam_bench_free(bench);
}

static void klipper_keeps_its_flash_when_touched(void **state)
{
    (void)state;
    const struct vmodel *models[] = {&vmodel_samd21, &vmodel_samd51};
    for (size_t i = 0; i < 2; i++) {
        struct sam_bench *bench = application(models[i], "klipper", i ? 0x4000 : 0x2000);
        touch(bench);
        sam_word(bench, 0x41002018);
        assert_int_equal(bench->flash[i ? 0x4004 : 0x2004], 0x20);
        sam_put(bench, 0xe000ed0c, 0x05fa0004); /* and the next reset starts it again */
        serial_drain(bench->serial, MILLISECOND, SECOND, NULL);
        sam_reopen(bench);
        sam_say(bench, "V#");
        sam_hears_nothing(bench);
        sam_bench_free(bench);
    }
}

static void double_tap_stays_in_the_loader(void **state)
{
    (void)state;
    struct sam_bench *bench = application(&vmodel_samd21, NULL, 0x2000);
    virtual_reset(bench->device, VRESET_PIN);
    virtual_elapse(bench->device, 300 * MILLISECOND);
    virtual_reset(bench->device, VRESET_PIN);
    sam_reopen(bench);
    assert_int_equal(sam_word(bench, 0), 0x20007ffc);
    virtual_reset(bench->device, VRESET_PIN);
    sam_reopen(bench);
    sam_say(bench, "V#");
    sam_hears_nothing(bench);
    sam_bench_free(bench);
}

static void locked_parts_refuse_and_say_so_in_status(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench_new(&vmodel_samd21, NULL);
    bench->config.faults = (struct vfaults){.locked = true, .wrong_id = true};
    sam_bench_start(bench);
    assert_int_equal(sam_word(bench, 0x41002018), 0x10010306);
    assert_int_equal(sam_word(bench, STATUS2), 0x100);
    assert_int_equal(sam_word(bench, 0x41004020), 0);
    assert_int_equal(d2x_do(bench, 0x2000, 0x02), 8);
    sam_bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(d21_is_identified_as_an_arduino_zero),
        cmocka_unit_test(d51_answers_no_n_and_ends_its_version_with_a_nul),
        cmocka_unit_test(x_erases_to_the_end_in_its_time),
        cmocka_unit_test(y_programs_without_erasing_and_z_sums),
        cmocka_unit_test(long_reads_of_flash_are_garbage),
        cmocka_unit_test(data_behind_s_in_its_packet_is_stored_over),
        cmocka_unit_test(unaligned_words_and_byte_stores_to_flash_fault),
        cmocka_unit_test(d2x_writes_pages_by_half_word_addresses),
        cmocka_unit_test(d2x_errors_stay_until_they_are_cleared),
        cmocka_unit_test(d2x_bootprot_protects_the_loader),
        cmocka_unit_test(a_loader_that_erases_itself_is_gone),
        cmocka_unit_test(d5x_erases_blocks_and_writes_quad_words),
        cmocka_unit_test(d5x_page_buffer_wants_caches_off),
        cmocka_unit_test(arduino_application_erases_its_first_row_when_touched),
        cmocka_unit_test(klipper_keeps_its_flash_when_touched),
        cmocka_unit_test(double_tap_stays_in_the_loader),
        cmocka_unit_test(locked_parts_refuse_and_say_so_in_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
