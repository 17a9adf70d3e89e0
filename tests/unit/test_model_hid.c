/*
 * The virtual STM32 HID bootloader against what its firmware does. The first test is a whole upload
 * byte by byte; the others are what a careless host would not notice.
 */
#include "hid_bench.h"

#include <string.h>

#include "base/bytes.h"

#define CASE(test) cmocka_unit_test(test)

static struct hid_bench *opened(const char *chip, const char *variant)
{
    const struct vconfig options = {.variant = variant};
    struct hid_bench *bench = hid_bench_new(chip, &options);
    hid_bench_open(bench, NULL);
    return bench;
}

/* ---- what it is on the bus ---- */

static void an_f1_upload_of_100_bytes_is_this(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xe", NULL);
    uint8_t image[128];
    memset(image, 0xff, sizeof image);
    for (uint8_t i = 0; i < 100; i++)
        image[i] = i;
    put_le32(image, 0x20005000);
    hid_says_command(bench, 0);
    hid_hears(bench, 3);
    hid_says(bench, image, 64);
    hid_says(bench, image + 64, 64);
    for (int i = 2; i < 16; i++)
        hid_says_value(bench, 0xff);
    hid_hears(bench, 3);
    assert_false(hid_flash_is(bench, 0x800 + 100, 1948, 0xff)); /* so far it only collects */
    hid_says_kib(bench, 0xff);
    hid_hears(bench, 3);
    assert_memory_equal(bench->flash + 0x800, image, 100);
    assert_true(hid_flash_is(bench, 0x800 + 100, 1948, 0xff));
    hid_says_command(bench, 1);
    hid_bench_free(bench);
}

static void both_builds_have_the_descriptors_of_their_sources(void **state)
{
    (void)state;
    static const uint8_t f1[] = {18,   1,    0x10, 0x01, 0, 0, 0, 8, 0x09,
                                 0x12, 0xba, 0xbe, 0,    3, 1, 2, 0, 1};
    static const uint8_t f4[] = {18,   1,    0x00, 0x02, 0, 0, 0, 64, 0x09,
                                 0x12, 0xba, 0xbe, 0,    3, 1, 2, 3,  1};
    char text[USB_TEXT_MAX];
    struct hid_bench *bench = opened("stm32f103xb", NULL);
    assert_memory_equal(bench->usb->device_descriptor, f1, sizeof f1);
    assert_int_equal(bench->usb->configuration_length, 34);
    assert_true(usb_string(bench->usb, 2, text, sizeof text));
    assert_string_equal(text, "HID Bootloader");
    hid_bench_free(bench);
    bench = opened("stm32f103xb", "serasidis");
    assert_true(usb_string(bench->usb, 2, text, sizeof text));
    assert_string_equal(text, "STM32F HID Bootloader");
    hid_bench_free(bench);
    bench = opened("stm32f407xx", NULL);
    assert_memory_equal(bench->usb->device_descriptor, f4, sizeof f4);
    assert_int_equal(bench->usb->configuration_length, 41);
    assert_true(usb_string(bench->usb, 3, text, sizeof text));
    assert_string_equal(text, "1234567890");
    hid_bench_free(bench);
}

static void the_report_descriptor_is_as_long_as_the_hid_descriptor_says(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xe", "stm32f407xx"};
    for (size_t i = 0; i < 2; i++) {
        struct hid_bench *bench = opened(chips[i], NULL);
        uint8_t bytes[64];
        const struct usb_setup setup = {0x81, 6, 0x2200, 0, sizeof bytes};
        ssize_t length = usb_control(bench->usb, &setup, bytes, clock_in(bench->usb->clock, SECOND),
                                     &bench->err);
        assert_int_equal(length, get_le16(bench->usb->configuration + 9 + 9 + 7));
        assert_memory_equal(bytes, "\x06\x00\xff", 3);
        assert_int_equal(bytes[length - 1], 0xc0);
        hid_bench_free(bench);
    }
}

static void a_wrong_one_is_of_an_old_release(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.wrong_id = true}};
    struct hid_bench *bench = hid_bench_new("stm32f103xe", &options);
    hid_bench_open(bench, NULL);
    assert_int_equal(get_le16(bench->usb->device_descriptor + 12), 0x0200);
    hid_bench_free(bench);
}

static void requests_it_does_not_know_stall(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xe", NULL);
    uint8_t bytes[64] = {0};
    const struct usb_setup get_report = {0xa1, 1, 0x0100, 0, 8};
    const struct usb_setup set_protocol = {0x21, 0x0b, 0, 0, 0};
    uint64_t deadline = clock_in(bench->usb->clock, SECOND);
    assert_int_equal(usb_control(bench->usb, &get_report, bytes, deadline, &bench->err), ERR_STALL);
    assert_int_equal(usb_control(bench->usb, &set_protocol, bytes, deadline, &bench->err),
                     ERR_STALL);
    hid_says_command(bench, 0);
    hid_hears(bench, 3);
    hid_bench_free(bench);
}

/* ---- F1 ---- */

static void f1_with_pages_of_1_kib_says_02_and_writes_each(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xb", NULL);
    hid_says_command(bench, 0);
    hid_hears(bench, 2);
    hid_says_kib(bench, 0x11);
    hid_hears(bench, 2);
    assert_true(hid_flash_is(bench, 0x800, KIB, 0x11));
    hid_says_kib(bench, 0x22);
    hid_hears(bench, 2);
    assert_true(hid_flash_is(bench, 0x800, KIB, 0x11));
    assert_true(hid_flash_is(bench, 0xc00, KIB, 0x22));
    hid_bench_free(bench);
}

static void serasidis_says_02_for_pages_of_2_kib_too(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xe", "serasidis");
    hid_says_command(bench, 0);
    hid_hears(bench, 2);
    hid_says_kib(bench, 0x11);
    hid_hears(bench, 2);
    assert_false(hid_flash_is(bench, 0x800, KIB, 0x11));
    hid_bench_free(bench);
}

static void an_odd_kib_is_never_written_to_pages_of_2(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xe", NULL);
    hid_says_command(bench, 0);
    hid_hears(bench, 3);
    for (int i = 0; i < 3; i++) {
        hid_says_kib(bench, 0x11);
        hid_hears(bench, 3);
    }
    hid_bench_wait(bench, SECOND);
    assert_true(hid_flash_is(bench, 0x800, 2 * KIB, 0x11));
    assert_false(hid_flash_is(bench, 0x1000, KIB, 0x11));
    hid_bench_free(bench);
}

static void f1_holds_the_bus_while_it_writes(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xb", NULL);
    hid_says_command(bench, 0);
    hid_says_kib(bench, 0x11);
    uint64_t begun = hid_bench_now(bench);
    hid_says_value(bench, 0x22);
    assert_in_range(hid_bench_now(bench) - begun, 50 * MILLISECOND, 70 * MILLISECOND);
    hid_bench_free(bench);
}

static void an_f1_command_is_one_only_at_the_beginning_of_a_page(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xb", NULL);
    hid_says_command(bench, 0);
    hid_hears(bench, 2);
    hid_says_value(bench, 0x11);
    hid_says_command(bench, 0);
    hid_hears_nothing(bench, 100 * MILLISECOND);
    for (int i = 2; i < 16; i++)
        hid_says_value(bench, 0x11);
    hid_hears(bench, 2);
    assert_memory_equal(bench->flash + 0x800 + 64, "BTLDCMD", 8);
    hid_bench_free(bench);
}

static void an_f1_command_with_anything_behind_it_is_data(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xb", NULL);
    uint8_t report[HID_REPORT] = "BTLDCMD";
    report[63] = 1;
    hid_says_command(bench, 0);
    hid_hears(bench, 2);
    hid_says(bench, report, sizeof report);
    hid_hears_nothing(bench, 100 * MILLISECOND);
    hid_bench_free(bench);
}

static void a_short_report_shifts_what_follows_on_f1(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xb", NULL);
    static const uint8_t eight[8] = {0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33};
    hid_says_command(bench, 0);
    hid_hears(bench, 2);
    hid_says(bench, eight, sizeof eight);
    hid_says_kib(bench, 0x11);
    hid_hears(bench, 2);
    assert_true(hid_flash_is(bench, 0x800, 8, 0x33));
    assert_true(hid_flash_is(bench, 0x808, KIB - 8, 0x11));
    hid_bench_free(bench);
}

static void a_bus_reset_takes_f1_back_to_its_first_page(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xb", NULL);
    hid_says_command(bench, 0);
    hid_hears(bench, 2);
    hid_says_kib(bench, 0x11);
    hid_says_value(bench, 0x22);
    assert_int_equal(usb_reset(bench->usb, &bench->err), OK);
    hid_says_kib(bench, 0x44);
    hid_hears(bench, 2);
    assert_true(hid_flash_is(bench, 0x800, KIB, 0x44));
    assert_false(hid_flash_is(bench, 0xc00, KIB, 0x22));
    hid_bench_free(bench);
}

static void a_build_for_1_kib_loses_half_of_each_page_of_2(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xe", "1k");
    hid_says_command(bench, 0);
    hid_hears(bench, 2);
    hid_says_kib(bench, 0x11);
    hid_hears(bench, 2);
    hid_says_kib(bench, 0x22);
    hid_hears(bench, 2);
    assert_true(hid_flash_is(bench, 0x800, KIB, 0xff));
    assert_true(hid_flash_is(bench, 0xc00, KIB, 0x22));
    hid_bench_free(bench);
}

static void a_build_for_2_kib_writes_over_what_was_in_pages_of_1(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103xb", "2k");
    memset(bench->flash + 0xc00, 0x0f, KIB);
    hid_says_command(bench, 0);
    hid_hears(bench, 3);
    hid_says_kib(bench, 0x11);
    hid_says_kib(bench, 0x22);
    hid_bench_wait(bench, SECOND);
    assert_true(hid_flash_is(bench, 0x800, KIB, 0x11));
    assert_true(hid_flash_is(bench, 0xc00, KIB, 0x0f)); /* half-words that are not erased refuse */
    hid_bench_free(bench);
}

static void nothing_is_written_behind_the_end(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f103x6", NULL);
    uint8_t behind = bench->flash[0x8000];
    hid_says_command(bench, 0);
    for (int i = 0; i < 31; i++)
        hid_says_kib(bench, 0x11);
    hid_bench_wait(bench, SECOND);
    assert_true(hid_flash_is(bench, 0x800, 30 * KIB, 0x11));
    assert_int_equal(bench->flash[0x8000], behind);
    hid_bench_free(bench);
}

/* ---- F4 ---- */

static void f4_answers_data_and_no_command(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f407xx", NULL);
    hid_says_command(bench, 0);
    hid_hears_nothing(bench, 200 * MILLISECOND);
    hid_says_kib(bench, 0x11);
    uint64_t begun = hid_bench_now(bench);
    hid_hears(bench, 2);
    assert_in_range(hid_bench_now(bench) - begun, 300 * MILLISECOND, 340 * MILLISECOND);
    assert_true(hid_flash_is(bench, 0x4000, KIB, 0x11));
    assert_true(hid_flash_is(bench, 0x4000 + KIB, 15 * KIB, 0xff)); /* its sector was erased */
    assert_false(hid_flash_is(bench, 0x8000, 16, 0xff));            /* and no other */
    hid_bench_free(bench);
}

static void a_report_that_comes_while_f4_writes_takes_the_place_of_the_last(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f407xx", NULL);
    hid_says_command(bench, 0);
    hid_says_kib(bench, 0x11);
    hid_says_value(bench, 0x22);
    hid_says_value(bench, 0x33);
    hid_hears(bench, 2);
    for (int i = 1; i < 16; i++)
        hid_says_value(bench, 0x44);
    hid_hears(bench, 2);
    assert_true(hid_flash_is(bench, 0x4400, 64, 0x33));
    assert_true(hid_flash_is(bench, 0x4440, KIB - 64, 0x44));
    hid_bench_free(bench);
}

static void f4_erases_by_counting_not_by_address(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f407xx", NULL);
    hid_says_command(bench, 0);
    for (int i = 0; i < 17; i++) {
        hid_says_kib(bench, 0x11);
        hid_hears(bench, 2);
    }
    assert_true(hid_flash_is(bench, 0x4000, 17 * KIB, 0x11));
    assert_true(hid_flash_is(bench, 0x8400, 15 * KIB, 0xff));
    assert_false(hid_flash_is(bench, 0xc000, 16, 0xff));
    hid_bench_free(bench);
}

/* CustomHID sends a report only when the one before has been fetched. */
static void an_answer_that_nobody_fetches_costs_f4_the_next(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f407xx", NULL);
    hid_says_command(bench, 0);
    hid_says_kib(bench, 0x11);
    hid_bench_wait(bench, SECOND);
    hid_says_kib(bench, 0x22);
    hid_bench_wait(bench, SECOND);
    hid_hears(bench, 2);
    hid_hears_nothing(bench, SECOND);
    hid_bench_free(bench);
}

static void in_the_middle_of_a_kib_only_serasidis_takes_a_command(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f407xx", NULL);
    hid_says_command(bench, 0);
    hid_says_value(bench, 0x11);
    hid_says_command(bench, 0);
    for (int i = 0; i < 14; i++)
        hid_says_value(bench, 0x22);
    hid_hears(bench, 2);
    assert_memory_equal(bench->flash + 0x4040, "BTLDCMD", 8);
    hid_bench_free(bench);
    bench = opened("stm32f407xx", "serasidis");
    hid_says_command(bench, 0);
    hid_says_value(bench, 0x11);
    hid_says_command(bench, 0);
    hid_says_kib(bench, 0x22);
    hid_hears(bench, 2);
    assert_true(hid_flash_is(bench, 0x4000, KIB, 0x22));
    hid_bench_free(bench);
}

static void a_bus_reset_leaves_f4_where_it_was(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f407xx", NULL);
    hid_says_command(bench, 0);
    hid_says_value(bench, 0x11);
    assert_int_equal(usb_reset(bench->usb, &bench->err), OK);
    for (int i = 1; i < 16; i++)
        hid_says_value(bench, 0x22);
    hid_hears(bench, 2);
    assert_true(hid_flash_is(bench, 0x4000, 64, 0x11));
    hid_bench_free(bench);
}

static void flash_only_loses_bits_on_f4(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f407xx", NULL);
    memset(bench->flash + 0x4400, 0x0f, KIB);
    bench->config.faults.locked = false;
    hid_says_command(bench, 0);
    hid_says_kib(bench, 0x11);
    hid_hears(bench, 2);
    memset(bench->flash + 0x4400, 0x0f, KIB);
    hid_says_kib(bench, 0x33);
    hid_hears(bench, 2);
    assert_true(hid_flash_is(bench, 0x4400, KIB, 0x03));
    hid_bench_free(bench);
}

/* ---- faults ---- */

static void protected_flash_stays_and_nobody_says_so(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.locked = true}};
    struct hid_bench *bench = hid_bench_new("stm32f103xb", &options);
    uint8_t before = bench->flash[0x900];
    hid_bench_open(bench, NULL);
    hid_says_command(bench, 0);
    hid_hears(bench, 2);
    hid_says_kib(bench, 0x11);
    hid_hears(bench, 2);
    assert_int_equal(bench->flash[0x900], before);
    hid_bench_free(bench);
}

static void a_stuck_byte_stays(void **state)
{
    (void)state;
    struct hid_bench *bench = hid_bench_new("stm32f103xb", NULL);
    bench->config.flash.stuck = 0x900;
    hid_bench_remake(bench);
    hid_bench_open(bench, NULL);
    hid_says_command(bench, 0);
    hid_hears(bench, 2);
    hid_says_kib(bench, 0x00);
    hid_hears(bench, 2);
    assert_int_equal(bench->flash[0x900], 0xff);
    assert_int_equal(bench->flash[0x901], 0x00);
    hid_bench_free(bench);
}

/* ---- life ---- */

/* After the reboot command: what is there within two seconds? */
static bool is_back(struct hid_bench *bench)
{
    hid_says_command(bench, 1);
    hid_bench_wait(bench, SECOND / 5);
    hid_bench_close(bench);
    return bench->device->back_at != UINT64_MAX;
}

static void f1_starts_a_program_with_a_stack_pointer_in_ram_and_no_other(void **state)
{
    (void)state;
    static const struct {
        uint32_t sp;
        bool starts;
    } cases[] = {{0x20005000, true},  {0x20000000, true},  {0x2001fffc, true},
                 {0x20020000, false}, {0xffffffff, false}, {0x00000000, false},
                 {0x10000400, false}, {0x30001000, true}}; /* bit 28 is not looked at */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hid_bench *bench = opened("stm32f103xe", NULL);
        put_le32(bench->flash + 0x800, cases[i].sp);
        hid_says_command(bench, 0);
        hid_hears(bench, 3);
        if (is_back(bench) == cases[i].starts)
            fail_msg("stack pointer 0x%08x", (unsigned)cases[i].sp);
        hid_bench_free(bench);
    }
}

static void f4_starts_even_an_empty_flash(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f407xx", NULL);
    memset(bench->flash + 0x4000, 0xff, 64 * KIB);
    assert_false(is_back(bench));
    hid_bench_free(bench);
}

static void the_boot_pin_keeps_either_in_its_bootloader(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xe", "stm32f407xx"};
    for (size_t i = 0; i < 2; i++) {
        struct hid_bench *bench = opened(chips[i], "boot1");
        hid_says_command(bench, 0);
        assert_true(is_back(bench));
        hid_bench_open(bench, NULL);
        hid_says_command(bench, 0);
        hid_bench_free(bench);
    }
}

static void f4_writes_what_it_holds_before_it_reboots(void **state)
{
    (void)state;
    struct hid_bench *bench = opened("stm32f407xx", "serasidis");
    hid_says_command(bench, 0);
    hid_says_value(bench, 0x11);
    hid_says_command(bench, 1);
    hid_bench_wait(bench, SECOND);
    assert_true(hid_flash_is(bench, 0x4000, 64, 0x11));
    assert_true(hid_flash_is(bench, 0x4400, KIB, 0xff));
    hid_bench_free(bench);
}

static void klipper_is_a_serial_port_and_comes_back_when_it_is_touched(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xe", "stm32f103xb", "stm32f407xx"};
    for (size_t i = 0; i < 3; i++) {
        struct hid_bench *bench = hid_bench_new(chips[i], NULL);
        hid_klipper_image(bench);
        const struct segment *s = &bench->image.segments[0];
        memcpy(bench->flash + bench->start, s->data, s->length);
        bench->config.app = true;
        hid_bench_remake(bench);
        assert_int_equal(hid_product_id(bench), 0x614e);
        assert_string_equal(bench->usb->device.product, chips[i]);
        hid_touches(bench);
        hid_bench_close(bench);
        assert_int_equal(hid_product_id(bench), 0xbeba);
        hid_says_command(bench, 0);
        hid_bench_free(bench);
    }
}

static void another_program_is_not_on_the_bus(void **state)
{
    (void)state;
    const struct vconfig options = {.app = true};
    struct hid_bench *bench = hid_bench_new("stm32f103xe", &options);
    hid_bench_remake(bench);
    assert_int_equal(bench->device->back_at, UINT64_MAX);
    hid_bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_f1_upload_of_100_bytes_is_this),
        CASE(both_builds_have_the_descriptors_of_their_sources),
        CASE(the_report_descriptor_is_as_long_as_the_hid_descriptor_says),
        CASE(a_wrong_one_is_of_an_old_release),
        CASE(requests_it_does_not_know_stall),
        CASE(f1_with_pages_of_1_kib_says_02_and_writes_each),
        CASE(serasidis_says_02_for_pages_of_2_kib_too),
        CASE(an_odd_kib_is_never_written_to_pages_of_2),
        CASE(f1_holds_the_bus_while_it_writes),
        CASE(an_f1_command_is_one_only_at_the_beginning_of_a_page),
        CASE(an_f1_command_with_anything_behind_it_is_data),
        CASE(a_short_report_shifts_what_follows_on_f1),
        CASE(a_bus_reset_takes_f1_back_to_its_first_page),
        CASE(a_build_for_1_kib_loses_half_of_each_page_of_2),
        CASE(a_build_for_2_kib_writes_over_what_was_in_pages_of_1),
        CASE(nothing_is_written_behind_the_end),
        CASE(f4_answers_data_and_no_command),
        CASE(a_report_that_comes_while_f4_writes_takes_the_place_of_the_last),
        CASE(f4_erases_by_counting_not_by_address),
        CASE(an_answer_that_nobody_fetches_costs_f4_the_next),
        CASE(in_the_middle_of_a_kib_only_serasidis_takes_a_command),
        CASE(a_bus_reset_leaves_f4_where_it_was),
        CASE(flash_only_loses_bits_on_f4),
        CASE(protected_flash_stays_and_nobody_says_so),
        CASE(a_stuck_byte_stays),
        CASE(f1_starts_a_program_with_a_stack_pointer_in_ram_and_no_other),
        CASE(f4_starts_even_an_empty_flash),
        CASE(the_boot_pin_keeps_either_in_its_bootloader),
        CASE(f4_writes_what_it_holds_before_it_reboots),
        CASE(klipper_is_a_serial_port_and_comes_back_when_it_is_touched),
        CASE(another_program_is_not_on_the_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
