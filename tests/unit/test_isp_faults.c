/*
 * ISP: a fault at every single message between host and programmer, from connecting to the lock
 * bits of a recipe. It ends in bounded time with an honest code, and the same session again
 * succeeds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "isp_bench.h"

/* A session from connecting to the lock bits. */
static int whole_session(struct isp_bench *bench, const struct line_faults *faults,
                         const struct image *image)
{
    isp_bench_open(bench, faults);
    int rc = method_isp.connect(&bench->session, &bench->err);
    return rc ? rc : isp_bench_recipe(bench, image);
}

typedef void (*fault_at)(struct line_faults *faults, unsigned message);

static void cut_at(struct line_faults *faults, unsigned message)
{
    faults->cut = message;
}

static void power_at(struct line_faults *faults, unsigned message)
{
    faults->power = message;
}

static void stall_at(struct line_faults *faults, unsigned message)
{
    faults->stall = message;
}

static void drop_at(struct line_faults *faults, unsigned message)
{
    faults->drop = message;
}

static void corrupt_at(struct line_faults *faults, unsigned message)
{
    faults->corrupt = message;
}

/* One session with a fault in it, then one without. Returns false if the fault did not come up:
 * the session has fewer messages. `code`: what the first may end with, beside success. */
static bool fails_then_succeeds(struct isp_bench *bench, const struct line_faults *faults,
                                unsigned message, enum error_code code)
{
    struct image image;
    uint8_t boot[300]; /* two pages, the second a part */
    isp_bench_image(&image, MEM_FLASH, ISP_BENCH_BOOT, boot, sizeof boot);
    int rc = whole_session(bench, faults, &image);
    bool hit = isp_bench_messages(bench) >= message;
    assert_true(isp_bench_now(bench) < 60 * (uint64_t)SECOND);
    isp_bench_close(bench);
    if (rc == OK) /* a success that is none would be worst of all */
        isp_bench_assert_installed(bench, boot, sizeof boot);
    else if (rc != (int)code)
        isp_bench_ok(bench, rc);
    virtual_reset(bench->device, VRESET_POWER);
    isp_bench_ok(bench, whole_session(bench, NULL, &image));
    isp_bench_close(bench);
    isp_bench_assert_installed(bench, boot, sizeof boot);
    image_free(&image);
    return hit;
}

/* With the fault at every message of a session in turn, until one passes unharmed. */
static void at_every_message(size_t kind, fault_at set, enum error_code code)
{
    unsigned message = 0;
    bool hit;
    do {
        struct isp_bench *bench = isp_bench_new(kind, "atmega2560", NULL, UINT64_MAX);
        struct line_faults faults = {0};
        set(&faults, ++message);
        hit = fails_then_succeeds(bench, &faults, message, code);
        isp_bench_free(bench);
    } while (hit);
    assert_true(message > 30); /* there was something to break */
}

static void a_cut_link_is_told_and_the_session_can_be_repeated(void **state)
{
    (void)state;
    at_every_message(ISP_BENCH_STK500, cut_at, ERR_GONE);
    at_every_message(ISP_BENCH_ARDUINO, cut_at, ERR_GONE);
}

static void lost_power_is_told_and_the_session_can_be_repeated(void **state)
{
    (void)state;
    at_every_message(ISP_BENCH_STK500, power_at, ERR_GONE);
    at_every_message(ISP_BENCH_ARDUINO, power_at, ERR_GONE);
}

static void a_stalled_programmer_is_told_and_the_session_can_be_repeated(void **state)
{
    (void)state;
    at_every_message(ISP_BENCH_STK500, stall_at, ERR_NO_ANSWER);
    at_every_message(ISP_BENCH_ARDUINO, stall_at, ERR_NO_ANSWER);
}

static void a_lost_byte_in_any_answer_is_made_good(void **state)
{
    (void)state;
    at_every_message(ISP_BENCH_STK500, drop_at, OK);
    at_every_message(ISP_BENCH_ARDUINO, drop_at, OK);
}

static void a_damaged_byte_in_any_answer_is_made_good_by_the_checksum(void **state)
{
    (void)state;
    at_every_message(ISP_BENCH_STK500, corrupt_at, OK);
}

/* STK500v1 has no checksum: flash read wrong looks like flash written wrong. */
static void a_damaged_byte_without_checksum_is_a_verify_error_at_most(void **state)
{
    (void)state;
    at_every_message(ISP_BENCH_ARDUINO, corrupt_at, ERR_VERIFY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_link_is_told_and_the_session_can_be_repeated),
        cmocka_unit_test(lost_power_is_told_and_the_session_can_be_repeated),
        cmocka_unit_test(a_stalled_programmer_is_told_and_the_session_can_be_repeated),
        cmocka_unit_test(a_lost_byte_in_any_answer_is_made_good),
        cmocka_unit_test(a_damaged_byte_in_any_answer_is_made_good_by_the_checksum),
        cmocka_unit_test(a_damaged_byte_without_checksum_is_a_verify_error_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
