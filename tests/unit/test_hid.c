/* The hid method against virtual boards: what is written and in which order, what is refused
 * before, and what becomes of a run that goes wrong. */
#include "hid_bench.h"
#include "method_rig.h"

#include <string.h>

#include "base/bytes.h"

#define CASE(test) cmocka_unit_test(test)

enum {
    SP = 0x20005000,
    IMAGE = 40000,
    SMALL = 2100,
    TOUCHED = 32 * KIB, /* of the flash, by the small image that meets the faults */
    FAULT_LIMIT = 12 * SECOND,
};

static struct hid_bench *bench_with(const char *chip, const char *variant, size_t length)
{
    const struct vconfig options = {.variant = variant};
    struct hid_bench *bench = hid_bench_new(chip, &options);
    hid_image(bench, length, SP);
    return bench;
}

static void assert_says(const struct hid_bench *bench, const char *text)
{
    if (!strstr(bench->err.message, text) && !strstr(bench->err.hint, text))
        fail_msg("\"%s\" is not in: %s | %s", text, bench->err.message, bench->err.hint);
}

/* ---- writing ---- */

static void every_build_is_written_and_started(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *variant;
    } boards[] = {{"stm32f103xe", NULL},        {"stm32f103xb", NULL}, {"stm32f103xe", "serasidis"},
                  {"stm32f103xb", "serasidis"}, {"stm32f407xx", NULL}, {"stm32f407xx", "serasidis"},
                  {"stm32f405xx", NULL},        {"stm32f446xx", NULL}};
    static const size_t lengths[] = {4, 100, 1024, 1025, 2048, 2049, 3072, IMAGE};
    for (size_t i = 0; i < sizeof boards / sizeof boards[0]; i++)
        for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
            struct hid_bench *bench = bench_with(boards[i].chip, boards[i].variant, lengths[k]);
            hid_assert_ok(bench, hid_runs(bench, NULL));
            if (!hid_holds_image(bench) || bench->advanced != lengths[k] || bench->notes[0])
                fail_msg("%s %s: %zu bytes: %zu, %s", boards[i].chip, boards[i].variant, lengths[k],
                         bench->advanced, bench->notes);
            assert_int_equal(bench->device->back_at, UINT64_MAX); /* the program runs */
            hid_bench_free(bench);
        }
}

static void the_rest_of_the_last_page_is_left_erased(void **state)
{
    (void)state;
    struct hid_bench *bench = bench_with("stm32f103xe", NULL, 3000);
    hid_assert_ok(bench, hid_runs(bench, NULL));
    assert_true(hid_flash_is(bench, 0x800 + 3000, 4096 - 3000, 0xff));
    assert_false(hid_flash_is(bench, 0x800 + 4096, 16, 0xff)); /* and what is behind it alone */
    hid_bench_free(bench);
}

static void holes_of_the_image_are_left_erased(void **state)
{
    (void)state;
    struct hid_bench *bench = bench_with("stm32f407xx", NULL, 100);
    static const uint8_t far[] = {1, 2, 3};
    assert_int_equal(image_add(&bench->image, MEM_FLASH, 0x08005000, far, 3, &bench->err), OK);
    hid_assert_ok(bench, hid_runs(bench, NULL));
    assert_true(hid_holds_image(bench));
    assert_memory_equal(bench->flash + 0x5000, far, 3);
    assert_true(hid_flash_is(bench, 0x4000 + 100, 0x1000 - 100, 0xff));
    hid_bench_free(bench);
}

static void info_tells_the_build(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *build, *start;
    } cases[] = {{"stm32f103xe", "F1, pages of 2 KiB", "0x08000800"},
                 {"stm32f103xb", "F1, pages of 1 KiB", "0x08000800"},
                 {"stm32f407xx", "F4", "0x08004000"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hid_bench *bench = bench_with(cases[i].chip, NULL, 100);
        struct device_info info = {.count = 0};
        hid_assert_ok(bench, hid_connects(bench, NULL));
        hid_assert_ok(bench, method_hid.info(&bench->session, &info, &bench->err));
        assert_int_equal(info.count, 4);
        assert_non_null(strstr(info.lines[0].text, "www.serasidis.gr"));
        assert_string_equal(info.lines[1].text, "3.00");
        assert_string_equal(info.lines[2].text, cases[i].build);
        assert_string_equal(info.lines[3].text, cases[i].start);
        hid_bench_free(bench);
    }
}

/* ---- half-written boards ---- */

static void an_f1_that_was_stopped_stays_in_its_bootloader(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xe", "stm32f103xb"};
    for (size_t i = 0; i < 2; i++) {
        struct hid_bench *bench = bench_with(chips[i], NULL, IMAGE);
        bench->stop_at = 20000;
        hid_assert_ok(bench, hid_connects(bench, NULL));
        assert_int_equal(hid_writes(bench), ERR_INTERRUPTED);
        assert_true(hid_flash_is(bench, 0x800, 64, 0xff));
        assert_int_equal(method_hid.run(&bench->session, &bench->err), ERR_FAILED);
        assert_says(bench, "not complete");
        hid_ends(bench);
        bench->device->ops->reset(bench->device, VRESET_PIN);
        assert_true(bench->device->back_at != UINT64_MAX);
        bench->stop_at = 0;
        hid_assert_ok(bench, hid_runs(bench, NULL));
        assert_true(hid_holds_image(bench));
        hid_bench_free(bench);
    }
}

static void an_f4_that_was_stopped_says_that_it_must_not_be_reset(void **state)
{
    (void)state;
    struct hid_bench *bench = bench_with("stm32f407xx", NULL, IMAGE);
    bench->stop_at = 20000;
    hid_assert_ok(bench, hid_connects(bench, NULL));
    assert_int_equal(hid_writes(bench), ERR_INTERRUPTED);
    assert_says(bench, "before the board is reset");
    assert_int_equal(method_hid.run(&bench->session, &bench->err), ERR_FAILED);
    hid_ends(bench);
    bench->stop_at = 0;
    hid_assert_ok(bench, hid_runs(bench, NULL)); /* it waits at the beginning of a page */
    assert_true(hid_holds_image(bench));
    hid_bench_free(bench);
}

/* A host that was killed leaves a part of a page behind. */
static void leave_reports(struct hid_bench *bench, int count)
{
    hid_bench_open(bench, NULL);
    hid_says_command(bench, 0);
    for (int i = 0; i < count; i++)
        hid_says_value(bench, (uint8_t)i);
    hid_bench_close(bench);
}

static void what_an_earlier_host_left_in_a_page_does_no_harm(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *variant;
    } boards[] = {{"stm32f103xe", NULL},
                  {"stm32f103xb", NULL},
                  {"stm32f407xx", NULL},
                  {"stm32f407xx", "serasidis"}};
    static const int counts[] = {1, 2, 15, 16, 17, 31};
    static const size_t lengths[] = {700, 20000};
    for (size_t i = 0; i < sizeof boards / sizeof boards[0]; i++)
        for (size_t k = 0; k < 2 * sizeof counts / sizeof counts[0]; k++) {
            int count = counts[k / 2];
            struct hid_bench *bench = bench_with(boards[i].chip, boards[i].variant, lengths[k % 2]);
            leave_reports(bench, count);
            hid_assert_ok(bench, hid_runs(bench, NULL));
            if (!hid_holds_image(bench))
                fail_msg("%s: %d reports were left: %s", boards[i].chip, count, bench->notes);
            hid_bench_free(bench);
        }
}

static void an_answer_that_an_earlier_host_did_not_fetch_is_not_ours(void **state)
{
    (void)state;
    struct hid_bench *bench = bench_with("stm32f407xx", NULL, IMAGE);
    hid_bench_open(bench, NULL);
    hid_says_command(bench, 0);
    hid_says_kib(bench, 0x11);
    hid_bench_wait(bench, SECOND);
    struct usb *usb = bench->usb;
    bench->session = (struct session){.method = &method_hid,
                                      .chip = bench->config.chip,
                                      .loader = &bench->loader,
                                      .usb = usb,
                                      .clock = usb->clock};
    hid_assert_ok(bench, method_hid.connect(&bench->session, &bench->err));
    struct device_info info = {.count = 0};
    hid_assert_ok(bench, method_hid.info(&bench->session, &info, &bench->err));
    assert_string_equal(info.lines[2].text, "F4");
    method_hid.disconnect(&bench->session);
    hid_bench_free(bench);
}

/* ---- what is refused ---- */

static void a_build_for_other_pages_is_refused_before_anything_is_written(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *variant, *says;
    } cases[] = {{"stm32f103xe", "1k", "every second erase would wipe"},
                 {"stm32f103xb", "2k", "every second page would not be erased"}};
    for (size_t i = 0; i < 2; i++) {
        struct hid_bench *bench = bench_with(cases[i].chip, cases[i].variant, IMAGE);
        uint8_t before[256];
        memcpy(before, bench->flash + 0x800, sizeof before);
        assert_int_equal(hid_connects(bench, NULL), ERR_REFUSED);
        assert_string_equal(bench->err.check, "signature");
        assert_says(bench, cases[i].says);
        assert_memory_equal(bench->flash + 0x800, before, sizeof before);
        hid_ends(bench);
        bench->session.force_signature = true;
        hid_assert_ok(bench, hid_runs(bench, NULL));
        assert_non_null(strstr(bench->notes, "forced"));
        hid_bench_free(bench);
    }
}

/* Serasidis's builds say the same of both kinds of pages: what only writing shows is shown by the
 * first page, or at the end, and no such program is ever started. */
static void the_wrong_one_of_two_builds_that_say_the_same_is_found_out(void **state)
{
    (void)state;
    static const size_t lengths[] = {100, 1500, 20 * KIB, 21 * KIB};
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++)
        for (int wide = 0; wide < 2; wide++) {
            struct hid_bench *bench =
                bench_with(wide ? "stm32f103xe" : "stm32f103xb",
                           wide ? "serasidis,1k" : "serasidis,2k", lengths[k]);
            uint8_t before[4 * KIB];
            memcpy(before, bench->flash + 0x800, sizeof before);
            hid_assert_ok(bench, hid_connects(bench, NULL));
            if (hid_writes(bench) != ERR_REFUSED)
                fail_msg("%zu bytes: %s", lengths[k], bench->err.message);
            assert_string_equal(bench->err.check, "signature");
            assert_true(hid_flash_is(bench, 0x800, 64, 0xff) ||
                        memcmp(bench->flash + 0x800, before, sizeof before) == 0);
            assert_int_equal(method_hid.run(&bench->session, &bench->err), ERR_FAILED);
            hid_bench_free(bench);
        }
}

static void by_force_a_doubtful_build_is_taken_for_the_chip_s(void **state)
{
    (void)state;
    struct hid_bench *bench = bench_with("stm32f103xe", "serasidis,1k", IMAGE);
    bench->session.force_signature = true;
    hid_assert_ok(bench, hid_connects(bench, NULL));
    hid_assert_ok(bench, hid_writes(bench));
    assert_string_equal(bench->notes, "");
    hid_bench_free(bench);
}

static void a_device_that_takes_no_report_is_not_an_f4(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xe", "stm32f407xx"};
    const struct line_faults faults = {.stall = 1};
    for (size_t i = 0; i < 2; i++) {
        struct hid_bench *bench = bench_with(chips[i], NULL, 100);
        assert_int_equal(hid_connects(bench, &faults), ERR_NO_ANSWER);
        hid_bench_free(bench);
    }
}

static void the_bootloader_of_another_family_is_refused(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f407xx", "stm32f103xe"};
    for (size_t i = 0; i < 2; i++) {
        struct hid_bench *bench = bench_with(chips[i], NULL, 100);
        hid_bench_open(bench, NULL);
        bench->session = (struct session){.method = &method_hid,
                                          .chip = chip_find(chips[1 - i]),
                                          .loader = &bench->loader,
                                          .usb = bench->usb,
                                          .clock = bench->usb->clock};
        assert_int_equal(method_hid.connect(&bench->session, &bench->err), ERR_REFUSED);
        assert_string_equal(bench->err.check, "signature");
        hid_bench_free(bench);
    }
}

static void a_chip_that_is_no_stm32_is_not_possible(void **state)
{
    (void)state;
    struct hid_bench *bench = bench_with("stm32f407xx", NULL, 100);
    hid_bench_open(bench, NULL);
    bench->session =
        (struct session){.method = &method_hid, .chip = chip_find("atmega2560"), .usb = bench->usb};
    assert_int_equal(method_hid.connect(&bench->session, &bench->err), ERR_NOT_POSSIBLE);
    hid_bench_free(bench);
}

static void an_old_release_is_refused(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.wrong_id = true}};
    struct hid_bench *bench = hid_bench_new("stm32f103xe", &options);
    assert_int_equal(hid_connects(bench, NULL), ERR_PROTOCOL);
    assert_says(bench, "release 2.00");
    hid_bench_free(bench);
}

static void a_program_that_f1_would_not_start_is_refused_before_anything_is_written(void **state)
{
    (void)state;
    struct hid_bench *bench = bench_with("stm32f103xe", NULL, 100);
    uint8_t before[256];
    memcpy(before, bench->flash + 0x800, sizeof before);
    hid_image(bench, IMAGE, 0x20020000);
    hid_assert_ok(bench, hid_connects(bench, NULL));
    assert_int_equal(hid_writes(bench), ERR_REFUSED);
    assert_string_equal(bench->err.check, "vectors");
    assert_says(bench, "0x20020000");
    assert_memory_equal(bench->flash + 0x800, before, sizeof before);
    hid_ends(bench);
    bench->session.force_vectors = true;
    hid_assert_ok(bench, hid_connects(bench, NULL));
    hid_assert_ok(bench, hid_writes(bench));
    assert_true(hid_holds_image(bench));
    hid_bench_free(bench);
}

static void an_image_from_before_the_start_cannot_be_written(void **state)
{
    (void)state;
    struct hid_bench *bench = bench_with("stm32f103xe", NULL, 100);
    static const uint8_t byte = 1;
    assert_int_equal(image_add(&bench->image, MEM_FLASH, 0x08000400, &byte, 1, &bench->err), OK);
    hid_assert_ok(bench, hid_connects(bench, NULL));
    assert_int_equal(hid_writes(bench), ERR_NOT_POSSIBLE);
    hid_bench_free(bench);
}

static void every_operation_works_or_has_its_reason(void **state)
{
    (void)state;
    static const enum operation works[] = {OP_WRITE, OP_INFO, OP_RESET, OP_ENTER, OP_RUN};
    size_t refused = 0;
    for (enum operation op = 0; op < OP_COUNT; op++)
        refused += method_refusal(&method_hid, op) != NULL;
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
        assert_null(method_refusal(&method_hid, works[i]));
    assert_int_equal(refused + sizeof works / sizeof works[0], OP_COUNT);
    assert_string_equal(method_refusal(&method_hid, OP_VERIFY),
                        "this bootloader cannot be read back");
    assert_false(method_hid.rom);
}

/* ---- starting ---- */

static void an_f4_of_which_nothing_is_known_is_started_only_by_force(void **state)
{
    (void)state;
    struct hid_bench *bench = bench_with("stm32f407xx", NULL, 100);
    hid_assert_ok(bench, hid_connects(bench, NULL));
    assert_int_equal(method_hid.run(&bench->session, &bench->err), ERR_REFUSED);
    assert_string_equal(bench->err.check, "blank");
    bench->session.force_blank = true;
    hid_assert_ok(bench, method_hid.run(&bench->session, &bench->err));
    assert_false(virtual_usb_bus(bench->usb)->up);
    hid_bench_free(bench);
}

/* Somebody else sent a report meanwhile: the command becomes a part of a page. */
static void a_reboot_that_was_taken_for_data_is_said_again(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xe", "stm32f103xb", "stm32f407xx"};
    for (size_t i = 0; i < 3; i++) {
        struct hid_bench *bench = bench_with(chips[i], NULL, 100);
        hid_assert_ok(bench, hid_connects(bench, NULL));
        bench->session.force_blank = true;
        hid_says_value(bench, 0xff);
        hid_assert_ok(bench, method_hid.run(&bench->session, &bench->err));
        assert_false(virtual_usb_bus(bench->usb)->up);
        hid_bench_free(bench);
    }
}

static void klipper_runs_after_it_was_written_and_can_be_asked_to_leave(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xe", "stm32f103xb", "stm32f407xx"};
    for (size_t i = 0; i < 3; i++) {
        struct hid_bench *bench = hid_bench_new(chips[i], NULL);
        hid_klipper_image(bench);
        for (int times = 0; times < 2; times++) {
            hid_assert_ok(bench, hid_runs(bench, NULL));
            assert_true(hid_holds_image(bench));
            assert_int_equal(hid_product_id(bench), 0x614e);
            hid_touches(bench);
            hid_bench_close(bench);
        }
        hid_bench_free(bench);
    }
}

static void a_board_that_comes_back_as_its_bootloader_has_left_all_the_same(void **state)
{
    (void)state;
    struct hid_bench *bench = bench_with("stm32f103xe", "boot1", 100);
    hid_assert_ok(bench, hid_runs(bench, NULL));
    hid_assert_ok(bench, hid_runs(bench, NULL));
    hid_bench_free(bench);
}

/* ---- every fault at every message ---- */

struct fault {
    const char *kind;
    unsigned n;
    struct line_faults line;
};

static void assert_fits(const struct hid_bench *bench, const struct fault *fault, int rc)
{
    bool gone = fault->line.cut || fault->line.power;
    bool fits = rc == OK || (gone ? rc == ERR_GONE : rc == ERR_NO_ANSWER && fault->line.stall);
    if (!fits)
        fail_msg("%s:%u: %s: %s", fault->kind, fault->n, error_code_name((enum error_code)rc),
                 bench->err.message);
    if (rc == OK && bench->advanced != SMALL)
        fail_msg("%s:%u: progress tells of %zu bytes", fault->kind, fault->n, bench->advanced);
    if (rc == OK && !hid_holds_image(bench))
        fail_msg("%s:%u: success, but the chip does not hold the image", fault->kind, fault->n);
    if (bench->whole > FAULT_LIMIT)
        fail_msg("%s %s:%u: took %u ms: %s | %s", bench->config.chip->name, fault->kind, fault->n,
                 (unsigned)(bench->whole / MILLISECOND), bench->err.message, bench->notes);
}

/* After the power was off and on: an F1 that starts a program has a whole one. */
static void assert_starts_nothing_half_written(struct hid_bench *bench, const struct fault *fault,
                                               const uint8_t *old)
{
    virtual_usb_reset(bench->device, VRESET_POWER);
    bool starts = bench->device->back_at == UINT64_MAX;
    bool whole = hid_holds_image(bench) || memcmp(bench->flash, old, TOUCHED) == 0;
    if (starts && !whole)
        fail_msg("%s:%u: a half-written program starts", fault->kind, fault->n);
}

static void run_with_fault(struct hid_bench *bench, const struct fault *fault, const uint8_t *old)
{
    memcpy(bench->flash, old, TOUCHED);
    hid_bench_remake(bench);
    int rc = hid_runs(bench, &fault->line);
    assert_fits(bench, fault, rc);
    if (rc != OK && bench->start == 0x800)
        assert_starts_nothing_half_written(bench, fault, old);
    hid_bench_remake(bench); /* the boot pin was set at power-up */
    hid_assert_ok(bench, hid_runs(bench, NULL));
    if (!hid_holds_image(bench))
        fail_msg("%s:%u: the next run does not repair it", fault->kind, fault->n);
}

static void every_fault_at_every_message_ends_well(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *variant;
        unsigned step;
    } boards[] = {{"stm32f103xe", NULL, 1},
                  {"stm32f103x6", NULL, 1},
                  {"stm32f103xe", "serasidis", 5},
                  {"stm32f401xc", NULL, 1}};
    uint8_t old[TOUCHED];
    for (size_t b = 0; b < sizeof boards / sizeof boards[0]; b++) {
        struct hid_bench *bench = bench_with(boards[b].chip, boards[b].variant, SMALL);
        memcpy(old, bench->flash, TOUCHED);
        hid_assert_ok(bench, hid_runs(bench, NULL));
        unsigned messages = bench->messages;
        assert_in_range(messages, 50, 200);
        for (unsigned n = 1; n <= messages; n += boards[b].step) {
            const struct fault faults[] = {{"drop", n, {.drop = n}},
                                           {"corrupt", n, {.corrupt = n}},
                                           {"stall", n, {.stall = n}},
                                           {"cut", n, {.cut = n}},
                                           {"power", n, {.power = n}}};
            for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
                if ((n + i) % FAULT_TURNS == 0)
                    run_with_fault(bench, &faults[i], old);
        }
        hid_bench_free(bench);
    }
}

/* ---- speed ---- */

/* One report on an idle bus. */
static uint64_t report_time(const char *chip)
{
    struct hid_bench *bench = bench_with(chip, NULL, 100);
    hid_bench_open(bench, NULL);
    hid_says_command(bench, 0);
    uint64_t begun = hid_bench_now(bench);
    for (int i = 0; i < 10; i++)
        hid_says_value(bench, 0);
    uint64_t each = (hid_bench_now(bench) - begun) / 10;
    hid_bench_free(bench);
    return each;
}

/* Against what flash and bus need at least: on F1 one after the other, on F4 a whole number of
 * looks at its answers. The F1's first page is written twice. */
static void writing_takes_what_flash_and_bus_need(void **state)
{
    (void)state;
    enum { KIBS = 40, LOOK = 32 * MILLISECOND, REPORTS = KIB / HID_REPORT };
    static const struct {
        const char *chip;
        uint64_t flash; /* microseconds, of 40 KiB */
        double limit;
    } cases[] = {{"stm32f103xe", KIBS / 2 * (30000 + 1024 * 53), 1.06},
                 {"stm32f103xb", KIBS * (30000 + 512 * 53), 1.03},
                 {"stm32f407xx", 3 * 300000, 1.05}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hid_bench *bench = bench_with(cases[i].chip, NULL, (size_t)KIBS * KIB);
        uint64_t kib = REPORTS * report_time(cases[i].chip);
        if (bench->start == 0x4000)
            kib = (kib + 5000 + LOOK - 1) / LOOK * LOOK;
        hid_assert_ok(bench, hid_runs(bench, NULL));
        double ratio = (double)bench->writing / (double)(cases[i].flash + KIBS * kib);
        print_message("%s: 40 KiB in %u ms, %.2f times what it needs; connected in %u ms\n",
                      cases[i].chip, (unsigned)(bench->writing / MILLISECOND), ratio,
                      (unsigned)(bench->connecting / MILLISECOND));
        assert_true(ratio > 0.95 && ratio < cases[i].limit);
        hid_bench_free(bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_build_is_written_and_started),
        CASE(the_rest_of_the_last_page_is_left_erased),
        CASE(holes_of_the_image_are_left_erased),
        CASE(info_tells_the_build),
        CASE(an_f1_that_was_stopped_stays_in_its_bootloader),
        CASE(an_f4_that_was_stopped_says_that_it_must_not_be_reset),
        CASE(what_an_earlier_host_left_in_a_page_does_no_harm),
        CASE(an_answer_that_an_earlier_host_did_not_fetch_is_not_ours),
        CASE(a_build_for_other_pages_is_refused_before_anything_is_written),
        CASE(the_wrong_one_of_two_builds_that_say_the_same_is_found_out),
        CASE(by_force_a_doubtful_build_is_taken_for_the_chip_s),
        CASE(a_device_that_takes_no_report_is_not_an_f4),
        CASE(the_bootloader_of_another_family_is_refused),
        CASE(a_chip_that_is_no_stm32_is_not_possible),
        CASE(an_old_release_is_refused),
        CASE(a_program_that_f1_would_not_start_is_refused_before_anything_is_written),
        CASE(an_image_from_before_the_start_cannot_be_written),
        CASE(every_operation_works_or_has_its_reason),
        CASE(an_f4_of_which_nothing_is_known_is_started_only_by_force),
        CASE(a_reboot_that_was_taken_for_data_is_said_again),
        CASE(klipper_runs_after_it_was_written_and_can_be_asked_to_leave),
        CASE(a_board_that_comes_back_as_its_bootloader_has_left_all_the_same),
        CASE(every_fault_at_every_message_ends_well),
        CASE(writing_takes_what_flash_and_bus_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
