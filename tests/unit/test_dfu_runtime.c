/* Applications with a DFU interface in run-time mode (DFU 1.1 §5.1, §A.2): the virtual board, and
 * the method's way through one into its loader. */
#include "dfu_bench.h"

#include <string.h>

#include "base/bytes.h"

#define CASE(test) cmocka_unit_test(test)

static struct dfu_bench *application(const struct vmodel *model, const char *chip,
                                     const char *variant)
{
    const struct vconfig options = {.variant = variant, .app = true};
    return dfu_bench_new(model, chip, &options);
}

static struct dfu_bench *opened(const char *variant)
{
    struct dfu_bench *bench = application(&vmodel_dfu_st, "stm32f407xx", variant);
    dfu_bench_open(bench, NULL);
    return bench;
}

/* ---- the board ---- */

static void it_has_a_run_time_interface_beside_its_own(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("runtime");
    const struct usb_device *device = &bench->usb->device;
    assert_int_equal(device->vid, 0x1209);
    assert_int_equal(device->interface_count, 2);
    assert_int_equal(device->interfaces[1].class, 0xfe);
    assert_int_equal(device->interfaces[1].subclass, 1);
    assert_int_equal(device->interfaces[1].protocol, 1);
    assert_memory_equal(bench->usb->configuration + 27, "\x09\x21\x01\xfa\x00\x40\x00\x10\x01", 9);
    dfu_bench_free(bench);
    bench = opened("runtime,will-detach,same-ids");
    assert_int_equal(bench->usb->device.vid, 0x0483);
    assert_int_equal(bench->usb->device.pid, 0xdf11);
    assert_int_equal(bench->usb->configuration[29], 0x09);
    dfu_bench_free(bench);
}

static void a_reset_after_detach_leads_into_the_loader(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("runtime");
    dfu_trace(bench, "a1 03 0000 0001 0006 -> 00 00 00 00 00 00\n"
                     "a1 03 0000 0000 0006 stall\n" /* of another interface */
                     "21 00 03e8 0001 0000\n"
                     "a1 05 0000 0001 0001 -> 01\n"
                     "a1 03 0000 0001 0006 -> 00 00 00 00 01 00\n"
                     "sleep 240\n"
                     "reset gone\n");
    dfu_bench_close(bench);
    dfu_bench_open(bench, NULL);
    assert_int_equal(bench->usb->device.pid, 0xdf11);
    dfu_status_is(bench, 0, 2);
    dfu_bench_free(bench);
}

static void a_reset_that_comes_too_late_is_a_mere_reset(void **state)
{
    (void)state;
    static const char *const late[] = {
        "21 00 03e8 0001 0000\nsleep 260\n",                  /* wDetachTimeOut has passed */
        "21 00 0064 0001 0000\nsleep 110\n",                  /* what the host had asked for has */
        "21 00 03e8 0001 0000\na1 02 0000 0001 0040 stall\n", /* it was not meant */
        "",
    };
    for (size_t i = 0; i < sizeof late / sizeof late[0]; i++) {
        struct dfu_bench *bench = opened("runtime");
        dfu_trace(bench, late[i]);
        dfu_trace(bench, "a1 05 0000 0001 0001 -> 00\n"
                         "reset\n"
                         "a1 05 0000 0001 0001 -> 00\n");
        assert_true(virtual_usb_bus(bench->usb)->up);
        dfu_bench_free(bench);
    }
}

static void one_that_will_detach_does_so_by_itself(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("runtime,will-detach");
    dfu_trace(bench, "21 00 03e8 0001 0000\n"
                     "sleep 50\n"
                     "a1 05 0000 0001 0001 -> 01\n"
                     "sleep 20\n"
                     "a1 05 0000 0001 0001 gone\n");
    dfu_bench_close(bench);
    dfu_bench_open(bench, NULL);
    assert_int_equal(bench->usb->device.pid, 0xdf11);
    dfu_bench_free(bench);
}

static void without_a_program_nothing_is_on_the_bus(void **state)
{
    (void)state;
    struct dfu_bench *bench = application(&vmodel_dfu_st, "stm32f407xx", "runtime");
    memset(bench->flash, 0xff, 4);
    dfu_bench_remake(bench);
    assert_int_equal(bench->device->back_at, UINT64_MAX);
    dfu_bench_free(bench);
}

/* ---- the method ---- */

/* The engine's part: closes, and waits until it is back. */
static void comes_back(struct dfu_bench *bench)
{
    assert_true(bench->session.comes_back);
    assert_false(virtual_usb_bus(bench->usb)->up); /* gone already: it is not met on its way out */
    dfu_ends(bench);
}

static void the_method_goes_through_the_application(void **state)
{
    (void)state;
    static const struct {
        const struct vmodel *model;
        const char *chip, *variant;
    } cases[] = {
        {&vmodel_dfu_st, "stm32f407xx", "runtime"},
        {&vmodel_dfu_st, "stm32f407xx", "runtime,will-detach"},
        {&vmodel_dfu_st, "stm32f072xb", "runtime,same-ids"},
        {&vmodel_dfu_plain, "lpc1769", "runtime,same-ids"},
        {&vmodel_dfu_plain, "lpc1769", "runtime,same-ids,will-detach"},
        {&vmodel_dfu_maple, "stm32f103xb", "runtime"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dfu_bench *bench = application(cases[i].model, cases[i].chip, cases[i].variant);
        dfu_image(bench, bench->loader.start, 5000);
        assert_int_equal(dfu_connects(bench, NULL), ERR_GONE);
        assert_in_range(bench->connecting, 0, SECOND);
        comes_back(bench);
        dfu_assert_ok(bench, dfu_runs(bench, NULL));
        assert_true(dfu_holds_image(bench));
        dfu_bench_open(bench, NULL); /* the new program has the interface again */
        assert_int_equal(bench->usb->device.interface_count, 2);
        dfu_bench_free(bench);
    }
}

static void a_device_that_never_comes_back_is_sent_away_all_the_same(void **state)
{
    (void)state;
    static const char *const variants[] = {"runtime,lost", "runtime,lost,will-detach"};
    for (size_t i = 0; i < 2; i++) {
        struct dfu_bench *bench = application(&vmodel_dfu_st, "stm32f407xx", variants[i]);
        assert_int_equal(dfu_connects(bench, NULL), ERR_GONE);
        comes_back(bench);
        assert_int_equal(bench->device->back_at, UINT64_MAX);
        dfu_bench_free(bench);
    }
}

static void one_that_comes_back_in_run_time_mode_is_known_for_that(void **state)
{
    (void)state;
    struct dfu_bench *bench = application(&vmodel_dfu_st, "stm32f407xx", "runtime,stubborn");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dfu_connects(bench, NULL), ERR_GONE);
        comes_back(bench);
    }
    dfu_bench_free(bench);
}

static void an_application_that_stays_is_not_waited_for(void **state)
{
    (void)state;
    static const char *const variants[] = {"runtime,stays", "runtime,stays,will-detach"};
    for (size_t i = 0; i < 2; i++) {
        struct dfu_bench *bench = application(&vmodel_dfu_st, "stm32f407xx", variants[i]);
        assert_int_equal(dfu_connects(bench, NULL), ERR_NO_ANSWER);
        dfu_assert_says(bench, "and stays");
        assert_false(bench->session.comes_back);
        assert_in_range(bench->connecting, SECOND, 2 * SECOND);
        dfu_bench_free(bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_has_a_run_time_interface_beside_its_own),
        CASE(a_reset_after_detach_leads_into_the_loader),
        CASE(a_reset_that_comes_too_late_is_a_mere_reset),
        CASE(one_that_will_detach_does_so_by_itself),
        CASE(without_a_program_nothing_is_on_the_bus),
        CASE(the_method_goes_through_the_application),
        CASE(a_device_that_never_comes_back_is_sent_away_all_the_same),
        CASE(one_that_comes_back_in_run_time_mode_is_known_for_that),
        CASE(an_application_that_stays_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
