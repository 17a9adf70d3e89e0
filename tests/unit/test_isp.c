/*
 * ISP: how a programmer and the chip behind it are found, recognised, clocked and let go. The chip
 * counts every violation of its data sheet: none may happen but where a test provokes it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "isp_bench.h"

static struct isp_bench *stk500(const char *chip)
{
    return isp_bench_new(ISP_BENCH_STK500, chip, NULL, UINT64_MAX);
}

/* ---- connecting ---- */

static void a_factory_chip_is_identified_without_a_violation(void **state)
{
    (void)state;
    for (size_t n = 0; isp_bench_chips[n]; n++)
        for (size_t k = 0; k < isp_bench_kinds; k++) {
            struct isp_bench *bench = isp_bench_new(k, isp_bench_chips[n], NULL, UINT64_MAX);
            isp_bench_connect(bench);
            isp_bench_close(bench);
            assert_false(isp_bench_reset_is_low(bench));
            assert_int_equal(isp_bench_violations(bench), 0);
            isp_bench_free(bench);
        }
}

static void another_chip_is_refused_and_let_go(void **state)
{
    (void)state;
    const struct vfaults faults = {.wrong_id = true};
    for (size_t k = 0; k < isp_bench_kinds; k++) {
        struct isp_bench *bench = isp_bench_new(k, "atmega2560", &faults, UINT64_MAX);
        isp_bench_open(bench, NULL);
        assert_int_equal(method_isp.connect(&bench->session, &bench->err), ERR_REFUSED);
        assert_string_equal(bench->err.check, "signature");
        assert_null(bench->session.state);
        assert_false(isp_bench_reset_is_low(bench));
        assert_int_equal(isp_bench_violations(bench), 0);
        isp_bench_free(bench);
    }
}

static void another_chip_is_accepted_when_forced_and_said(void **state)
{
    (void)state;
    const struct vfaults faults = {.wrong_id = true};
    struct isp_bench *bench = isp_bench_new(ISP_BENCH_STK500, "atmega2560", &faults, UINT64_MAX);
    isp_bench_open(bench, NULL);
    bench->session.force_signature = true;
    isp_bench_ok(bench, method_isp.connect(&bench->session, &bench->err));
    assert_non_null(strstr(bench->notes, "forced"));
    isp_bench_free(bench);
}

/* A chip whose fuses select a clock that the board lacks is as deaf as one that is not there. */
static void an_absent_chip_is_a_question_of_wiring_in_bounded_time(void **state)
{
    (void)state;
    for (size_t k = 0; k < isp_bench_kinds; k++) {
        struct isp_bench *bench = isp_bench_new(k, "atmega2560", NULL, UINT64_MAX);
        isp_bench_fuse(bench, LFUSE, 0xe0);
        isp_bench_open(bench, NULL);
        uint64_t begun = isp_bench_now(bench);
        assert_int_equal(method_isp.connect(&bench->session, &bench->err), ERR_NO_ANSWER);
        assert_non_null(strstr(bench->err.message, "no atmega2560 behind it"));
        assert_non_null(strstr(bench->err.hint, "wires"));
        assert_true(isp_bench_now(bench) - begun < 15 * (uint64_t)SECOND);
        assert_false(isp_bench_reset_is_low(bench));
        isp_bench_free(bench);
    }
}

static void a_chip_on_its_slow_oscillator_is_reached_by_a_slower_sck(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega2560");
    isp_bench_fuse(bench, LFUSE, 0x63); /* 128 kHz, divided by 8 */
    isp_bench_connect(bench);
    /* Its limit is 4 kHz, and only trying tells. */
    assert_true(isp_bench_sck(bench) < 4000);
    isp_bench_ok(bench, method_isp.set_fuse(&bench->session, "lfuse", 0xff, &bench->err));
    isp_bench_ok(bench, method_isp.restart(&bench->session, &bench->err));
    assert_true(isp_bench_sck(bench) > 1000000);
    isp_bench_free(bench);
}

static void sck_is_as_fast_as_the_clock_fuses_guarantee(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega2560");
    isp_bench_fuse(bench, LFUSE, 0xff);
    isp_bench_connect(bench);
    assert_int_equal(isp_bench_sck(bench), 1843200);
    assert_int_equal(isp_bench_violations(bench), 0);
    isp_bench_free(bench);
}

static void a_new_chip_stays_slow(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega2560");
    isp_bench_connect(bench);
    assert_int_equal(isp_bench_sck(bench), 115200);
    isp_bench_free(bench);
}

/* Its low fuse promises 8 MHz or more, but the chip still runs at 1 MHz. */
static void a_chip_that_cannot_follow_goes_on_slowly(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega2560");
    isp_bench_fuse_unlatched(bench, LFUSE, 0xff);
    isp_bench_connect(bench);
    assert_int_equal(isp_bench_sck(bench), 115200);
    assert_non_null(strstr(bench->notes, "slowly"));
    isp_bench_free(bench);
}

static void the_bootloader_of_a_mega_is_no_programmer(void **state)
{
    (void)state;
    struct isp_bench *bench = isp_bench_mega();
    isp_bench_open(bench, NULL);
    assert_int_equal(method_isp.connect(&bench->session, &bench->err), ERR_PROTOCOL);
    assert_non_null(strstr(bench->err.message, "a bootloader answers"));
    assert_int_equal(bench->fuses[LOCK], 0xff);
    isp_bench_free(bench);
}

static void a_silent_port_is_no_programmer_in_bounded_time(void **state)
{
    (void)state;
    static const char *const probes[] = {NULL, "avrisp2:virtual", "arduino-isp:virtual"};
    for (size_t n = 0; n < 3; n++) {
        struct isp_bench *bench = stk500("atmega2560");
        const struct line_faults faults = {.stall = 1};
        isp_bench_open(bench, &faults);
        bench->session.probe = probes[n];
        uint64_t begun = isp_bench_now(bench);
        assert_int_equal(method_isp.connect(&bench->session, &bench->err), ERR_NO_ANSWER);
        assert_true(bench->err.hint[0]);
        assert_true(isp_bench_now(bench) - begun < 6 * (uint64_t)SECOND);
        isp_bench_free(bench);
    }
}

static void a_programmer_is_found_without_its_kind(void **state)
{
    (void)state;
    for (size_t k = 0; k < isp_bench_kinds; k++) {
        struct isp_bench *bench = isp_bench_new(k, "atmega328p", NULL, UINT64_MAX);
        bench->probe = NULL;
        isp_bench_connect(bench);
        assert_int_equal(isp_bench_violations(bench), 0);
        isp_bench_free(bench);
    }
}

static void an_unknown_probe_is_a_usage_error(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega2560");
    isp_bench_open(bench, NULL);
    bench->session.probe = "avrisp:virtual"; /* the beginning of a name is not the name */
    assert_int_equal(method_isp.connect(&bench->session, &bench->err), ERR_USAGE);
    isp_bench_free(bench);
}

static void an_lgt_has_no_isp(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega328p");
    isp_bench_open(bench, NULL);
    bench->session.chip = chip_find("lgt8f328p");
    assert_int_equal(method_isp.connect(&bench->session, &bench->err), ERR_NOT_POSSIBLE);
    isp_bench_free(bench);
}

/* ---- stopping, running, telling ---- */

static void a_stop_is_obeyed_between_two_pages(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    struct isp_bench *bench = stk500("atmega328p");
    struct image image;
    uint8_t bytes[1024];
    isp_bench_image(&image, MEM_FLASH, 0, bytes, sizeof bytes);
    const struct job job = {&image, chip_region(bench->chip, MEM_FLASH), true};
    isp_bench_connect(bench);
    bench->session.stop = &stop;
    assert_int_equal(method_isp.write(&bench->session, &job, &bench->err), ERR_INTERRUPTED);
    assert_int_equal(method_isp.read(&bench->session, MEM_FLASH, 0, bytes, 64, &bench->err),
                     ERR_INTERRUPTED);
    assert_true(bytes_blank(bench->flash, 1024, 0xff));
    image_free(&image);
    isp_bench_free(bench);
}

static void run_releases_reset(void **state)
{
    (void)state;
    for (size_t k = 0; k < isp_bench_kinds; k++) {
        struct isp_bench *bench = isp_bench_new(k, "atmega328p", NULL, UINT64_MAX);
        isp_bench_connect(bench);
        assert_true(isp_bench_reset_is_low(bench));
        isp_bench_ok(bench, method_isp.run(&bench->session, &bench->err));
        assert_false(isp_bench_reset_is_low(bench));
        isp_bench_free(bench);
    }
}

static void info_tells_chip_programmer_and_fuses(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega2560");
    struct device_info info = {0};
    isp_bench_connect(bench);
    isp_bench_ok(bench, method_isp.info(&bench->session, &info, &bench->err));
    assert_string_equal(info.lines[0].text, "1e 98 01 (atmega2560)");
    assert_string_equal(info.lines[1].text, "STK500_2, hardware 2, firmware 2.10");
    assert_string_equal(info.lines[2].text, "5.0 V");
    assert_string_equal(info.lines[3].text, "115200 Hz");
    assert_string_equal(info.lines[4].text, "0xff  BODLEVEL=111");
    assert_int_equal(info.count, 8);
    isp_bench_free(bench);
}

static void what_isp_cannot_do_has_a_reason(void **state)
{
    (void)state;
    assert_non_null(method_refusal(&method_isp, OP_ERASE_RANGE));
    assert_non_null(method_refusal(&method_isp, OP_ENTER));
    static const enum operation can[] = {OP_WRITE,      OP_READ,  OP_VERIFY,    OP_ERASE_CHIP,
                                         OP_INFO,       OP_FUSES, OP_SET_FUSES, OP_UNLOCK,
                                         OP_BOOTLOADER, OP_RESET, OP_RUN,       OP_EEPROM};
    for (size_t n = 0; n < sizeof can / sizeof can[0]; n++)
        assert_null(method_refusal(&method_isp, can[n]));
}

/* ---- SCK ---- */

static void sck_values_are_those_of_each_programmer(void **state)
{
    (void)state;
    uint8_t value = 0xee;
    assert_int_equal(sck_duration(SCALE_STK500, 125000, &value), 115200);
    assert_int_equal(value, 2);
    assert_int_equal(sck_duration(SCALE_AVRISP, 125000, &value), 57600);
    assert_int_equal(value, 2);
    assert_int_equal(sck_duration(SCALE_AVRISP, 250000, &value), 230400);
    assert_int_equal(value, 1);
    assert_int_equal(sck_duration(SCALE_STK500, 2000000, &value), 1843200);
    assert_int_equal(value, 0);
    assert_int_equal(sck_duration(SCALE_MK2, 125000, &value), 125000);
    assert_int_equal(value, 6);
    /* 1 / (24 * (n + 10/12) * 135.63 ns), AVR068, here for n = 87 */
    assert_int_equal(sck_duration(SCALE_STK500, 3500, &value), 3497);
    assert_int_equal(value, 87);
    assert_int_equal(sck_duration(SCALE_STK500, 1000, &value), 0);
    assert_int_equal(sck_duration(SCALE_MK2, 3500, &value), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_factory_chip_is_identified_without_a_violation),
        cmocka_unit_test(another_chip_is_refused_and_let_go),
        cmocka_unit_test(another_chip_is_accepted_when_forced_and_said),
        cmocka_unit_test(an_absent_chip_is_a_question_of_wiring_in_bounded_time),
        cmocka_unit_test(a_chip_on_its_slow_oscillator_is_reached_by_a_slower_sck),
        cmocka_unit_test(sck_is_as_fast_as_the_clock_fuses_guarantee),
        cmocka_unit_test(a_new_chip_stays_slow),
        cmocka_unit_test(a_chip_that_cannot_follow_goes_on_slowly),
        cmocka_unit_test(the_bootloader_of_a_mega_is_no_programmer),
        cmocka_unit_test(a_silent_port_is_no_programmer_in_bounded_time),
        cmocka_unit_test(a_programmer_is_found_without_its_kind),
        cmocka_unit_test(an_unknown_probe_is_a_usage_error),
        cmocka_unit_test(an_lgt_has_no_isp),
        cmocka_unit_test(a_stop_is_obeyed_between_two_pages),
        cmocka_unit_test(run_releases_reset),
        cmocka_unit_test(info_tells_chip_programmer_and_fuses),
        cmocka_unit_test(what_isp_cannot_do_has_a_reason),
        cmocka_unit_test(sck_values_are_those_of_each_programmer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
