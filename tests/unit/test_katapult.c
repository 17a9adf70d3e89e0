/*
 * katapult-serial and katapult-usb against the strict model of the loader on virtual time. The
 * chips have been used before: what is not erased, or erased too late, shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "method_rig.h"

extern const struct method method_katapult_serial, method_katapult_usb;
extern const struct vmodel vmodel_katapult_serial, vmodel_katapult_usb;

enum { KIB = 1024, F103_START = 0x08002000 };

struct way {
    const struct vmodel *model;
    const struct method *method;
};

static const struct way uart = {&vmodel_katapult_serial, &method_katapult_serial};
static const struct way usb = {&vmodel_katapult_usb, &method_katapult_usb};

/* A board whose button holds it in the loader; its flash is full of noise. */
static struct rig *board(struct way way, const char *chip, uint64_t start, const char *variant)
{
    const struct vconfig options = {.variant = variant};
    const struct region *flash = chip_region(chip_find(chip), MEM_FLASH);
    struct rig *rig = rig_new(way.model, way.method, chip, flash->size, &options);
    rig->loader.end = 0;
    rig->loader.has_start = true;
    rig->loader.start = start;
    rig->loader.enter = "ask";
    return rig;
}

static struct rig *f103(struct way way)
{
    return board(way, "stm32f103xe", F103_START, "button");
}

static const uint8_t *at(const struct rig *rig, uint64_t address)
{
    return rig->flash + (address - rig->chip->regions[0].start);
}

static void assert_run(struct rig *rig)
{
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    assert_true(rig_holds_image(rig));
}

/* ---- writing and reading ---- */

static void write_and_verify_on_each_family(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint32_t start;
    } chips[] = {{"stm32f103xe", 0x08002000}, {"stm32f072xb", 0x08002000},
                 {"stm32g0b1xx", 0x08002000}, {"stm32f407xx", 0x08008000},
                 {"stm32h743xx", 0x08020000}, {"rp2040", 0x10004000},
                 {"lpc1769", 0x4000}};
    for (size_t i = 0; i < 2 * sizeof chips / sizeof chips[0]; i++) {
        struct rig *rig =
            board(i % 2 ? usb : uart, chips[i / 2].chip, chips[i / 2].start, "button");
        rig_image(rig, MEM_FLASH, chips[i / 2].start, 9 * KIB + 77);
        assert_run(rig);
        assert_int_equal(rig->advanced, 2 * (9 * KIB + 77));
        rig_free(rig);
    }
}

static void write_begins_each_sector_at_its_first_block(void **state)
{
    (void)state;
    struct rig *rig = f103(uart);
    uint8_t before[RIG_FLASH_MAX / 16];
    memcpy(before, rig->flash, sizeof before);
    rig_image(rig, MEM_FLASH, 0x08004b05, 3000); /* from the middle of one to that of another */
    assert_run(rig);
    assert_memory_equal(rig->flash, before, 0x4800);
    assert_true(bytes_blank(rig->flash + 0x4800, 0x305, 0xff));
    assert_memory_equal(rig->flash + 0x5800, before + 0x5800, sizeof before - 0x5800);
    rig_free(rig);
}

static void blank_blocks_of_an_erased_page_are_not_sent(void **state)
{
    (void)state;
    struct rig *rig = f103(uart);
    uint8_t bytes[4 * KIB];
    memset(bytes, 0xff, sizeof bytes);
    memset(bytes, 0x5a, 64);
    memset(bytes + sizeof bytes - 64, 0xa5, 64);
    rig_image_bytes(rig, MEM_FLASH, F103_START, bytes, sizeof bytes);
    assert_run(rig);
    assert_int_equal(rig->advanced, 2 * sizeof bytes);
    assert_true(rig->messages < 64 + 20);
    rig_free(rig);
}

static void read_any_address_and_length(void **state)
{
    (void)state;
    static const struct span spans[] = {{0, 1},         {1, 1},    {63, 2},
                                        {0x2fff9, 700}, {3, 9000}, {0x7ffc0, 64}};
    static const struct way ways[] = {{&vmodel_katapult_serial, &method_katapult_serial},
                                      {&vmodel_katapult_usb, &method_katapult_usb}};
    static uint8_t bytes[9000];
    for (size_t k = 0; k < 2; k++) {
        struct rig *rig = f103(ways[k]);
        rig_assert_ok(rig, rig_connect(rig, NULL));
        for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
            uint64_t address = rig->chip->regions[0].start + spans[i].start;
            rig_assert_ok(rig, rig->method->read(&rig->session, MEM_FLASH, address, bytes,
                                                 (size_t)spans[i].size, &rig->err));
            assert_memory_equal(bytes, at(rig, address), (size_t)spans[i].size);
        }
        /* Behind the flash the real chip hangs: nothing is asked there. */
        assert_int_equal(
            rig->method->read(&rig->session, MEM_FLASH, 0x0807ffff, bytes, 2, &rig->err),
            ERR_FAILED);
        rig_free(rig);
    }
}

static void erase_blanks_the_sectors_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint32_t start, at, size;
    } chips[] = {{"stm32f103xe", 0x08002000, 0x4800, 0x1000},
                 {"stm32f407xx", 0x08008000, 0x10000, 0x10000},
                 {"rp2040", 0x10004000, 0x6000, 0x3000},
                 {"lpc1769", 0x4000, 0x5000, 0x2000}};
    static uint8_t before[0x40000];
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) {
        struct rig *rig = board(usb, chips[i].chip, chips[i].start, "button");
        uint32_t end = chips[i].at + chips[i].size;
        const struct span range = {rig->chip->regions[0].start + chips[i].at, chips[i].size};
        memcpy(before, rig->flash, sizeof before);
        rig_assert_ok(rig, rig_connect(rig, NULL));
        rig_assert_ok(rig, rig->method->erase(&rig->session, &range, 1, &rig->err));
        assert_int_equal(rig->advanced, range.size);
        assert_true(bytes_blank(rig->flash + chips[i].at, chips[i].size, 0xff));
        assert_memory_equal(rig->flash, before, chips[i].at);
        assert_memory_equal(rig->flash + end, before + end, sizeof before - end);
        rig_free(rig);
    }
}

static void nothing_below_the_start_is_touched(void **state)
{
    (void)state;
    struct rig *rig = board(usb, "rp2040", 0x10004000, "button");
    const struct span range = {0x10003000, 0x1000};
    uint8_t before[0x4000];
    memcpy(before, rig->flash, sizeof before);
    rig_image(rig, MEM_FLASH, 0x10003fff, 200);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    struct job job = rig_job(rig, MEM_FLASH);
    assert_int_equal(rig->method->write(&rig->session, &job, &rig->err), ERR_REFUSED);
    assert_string_equal(rig->err.check, "loader-overlap");
    assert_int_equal(rig->method->erase(&rig->session, &range, 1, &rig->err), ERR_REFUSED);
    assert_memory_equal(rig->flash, before, sizeof before);
    rig_free(rig);
}

/* ---- a half-written board is not started ---- */

static void stop_leaves_the_first_page_empty_and_the_node_alive(void **state)
{
    (void)state;
    static const struct way ways[] = {{&vmodel_katapult_serial, &method_katapult_serial},
                                      {&vmodel_katapult_usb, &method_katapult_usb}};
    for (size_t k = 0; k < 2; k++) {
        struct rig *rig = f103(ways[k]);
        rig_image(rig, MEM_FLASH, F103_START, 12 * KIB);
        rig->stop_at = 4 * KIB;
        assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_INTERRUPTED);
        assert_true(bytes_blank(at(rig, F103_START), 2 * KIB, 0xff));
        assert_memory_equal(at(rig, F103_START + 2 * KIB), rig->image.segments[0].data + 2 * KIB,
                            4 * KIB);
        rig->stop_at = 0;
        assert_run(rig); /* with no reset between */
        rig_free(rig);
    }
}

static void run_is_refused_where_the_chip_would_hang(void **state)
{
    (void)state;
    struct rig *rig = f103(uart);
    const struct span all = {F103_START, 0x10000};
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->erase(&rig->session, &all, 1, &rig->err));
    assert_int_equal(rig->method->run(&rig->session, &rig->err), ERR_REFUSED);
    assert_non_null(strstr(rig->err.message, "0x08002000"));
    rig_free(rig);
}

static void a_failed_write_is_never_started(void **state)
{
    (void)state;
    struct rig *rig = f103(uart);
    struct job job;
    rig->config.flash.stuck = 0x2400;
    rig_remake(rig);
    rig_image(rig, MEM_FLASH, F103_START, 6 * KIB);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    job = rig_job(rig, MEM_FLASH);
    assert_int_equal(rig->method->write(&rig->session, &job, &rig->err), ERR_PROTOCOL);
    assert_non_null(strstr(rig->err.message, "0x08002400"));
    assert_non_null(strstr(rig->err.message, "COMMAND_ERROR"));
    assert_int_equal(rig->method->run(&rig->session, &rig->err), ERR_FAILED);
    rig_free(rig);
}

static void a_byte_that_will_not_program_fails_the_verify_where_the_node_does_not_look(void **state)
{
    (void)state;
    struct rig *rig = board(usb, "rp2040", 0x10004000, "button");
    rig->config.flash.stuck = 0x4123;
    rig_remake(rig);
    memset(rig->flash + 0x4000, 0x00, 0x1000);
    rig_image(rig, MEM_FLASH, 0x10004000, 6 * KIB);
    rig->image.segments[0].data[0x123] = 0x00;
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_VERIFY);
    assert_non_null(strstr(rig->err.message, "0x10004123"));
    rig_free(rig);
}

/* ---- connecting ---- */

static void connect_understands_each_protocol(void **state)
{
    (void)state;
    static const struct {
        const char *variant, *bootloader, *protocol;
    } variants[] = {{"button", "Katapult v0.0.1-110-gb0bf421", "1.1.0"},
                    {"button,1.0", "Katapult ?", "1.0.0"},
                    {"button,no-version", "Katapult ?", "1.1.0"}};
    for (size_t i = 0; i < 3; i++) {
        struct device_info info = {.count = 0};
        struct rig *rig = board(usb, "stm32f103xe", F103_START, variants[i].variant);
        rig_assert_ok(rig, rig_connect(rig, NULL));
        rig_assert_ok(rig, rig->method->info(&rig->session, &info, &rig->err));
        assert_string_equal(info.lines[0].text, variants[i].bootloader);
        assert_string_equal(info.lines[1].text, variants[i].protocol);
        assert_string_equal(info.lines[2].text, "stm32f103xe");
        assert_string_equal(info.lines[3].text, "0x08002000");
        rig_free(rig);
    }
}

/* ST's usbfs holds its first packet back: one CONNECT would wait for 100 ms and be sent again. */
static void connect_over_usb_does_not_wait_for_a_held_packet(void **state)
{
    (void)state;
    struct rig *rig = f103(usb);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_true(rig->connecting < 5 * MILLISECOND);
    rig_free(rig);
}

static void connect_refuses_another_chip_unless_forced(void **state)
{
    (void)state;
    const struct vconfig options = {.variant = "button", .faults = {.wrong_id = true}};
    struct rig *rig =
        rig_new(&vmodel_katapult_usb, &method_katapult_usb, "stm32f103xe", 0x80000, &options);
    assert_int_equal(rig_connect(rig, NULL), ERR_REFUSED);
    assert_string_equal(rig->err.check, "signature");
    assert_non_null(strstr(rig->err.message, "stm32f072xb"));
    assert_non_null(strstr(rig->err.message, "stm32f103xe"));
    rig_close(rig);
    rig->session.force_signature = true;
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_non_null(strstr(rig->notes, "forced"));
    rig_free(rig);
}

static int connect_as(struct rig *rig, const char *mcu, bool force_start)
{
    rig->serial = virtual_serial(rig->device, NULL);
    rig->session = (struct session){.method = rig->method,
                                    .chip = rig->chip,
                                    .loader = &rig->loader,
                                    .serial = rig->serial,
                                    .clock = rig->serial->clock,
                                    .mcu = mcu,
                                    .force_start = force_start};
    int rc = rig->method->connect(&rig->session, &rig->err);
    rig->connected = rc == OK;
    return rc;
}

static void connect_takes_the_name_klipper_has_for_the_chip(void **state)
{
    (void)state;
    struct rig *rig = board(usb, "stm32f103xb", F103_START, "button");
    assert_int_equal(connect_as(rig, NULL, false), ERR_REFUSED);
    rig_close(rig);
    rig_assert_ok(rig, connect_as(rig, "stm32f103xe", false));
    rig_free(rig);
}

static void connect_refuses_another_start_and_names_both(void **state)
{
    (void)state;
    struct rig *rig = board(usb, "stm32f103xe", F103_START, "button,4k");
    assert_int_equal(rig_connect(rig, NULL), ERR_REFUSED);
    assert_string_equal(rig->err.check, "start");
    assert_non_null(strstr(rig->err.message, "0x08001000"));
    assert_non_null(strstr(rig->err.message, "0x08002000"));
    rig_close(rig);
    rig_assert_ok(rig, connect_as(rig, NULL, true));
    rig_free(rig);
}

/* A packet that was begun and not ended: what follows completes it to garbage. */
static void a_stuck_node_is_told_and_a_reset_cures_it(void **state)
{
    (void)state;
    static const uint8_t begun[] = {0x01, 0x88, 0x12, 0x11, 0x00, 0x20};
    struct rig *rig = f103(uart);
    rig_image(rig, MEM_FLASH, F103_START, 500);
    rig->serial = virtual_serial(rig->device, NULL);
    rig_assert_ok(rig, serial_set_baud(rig->serial, 250000, &rig->err));
    rig_assert_ok(rig, serial_write(rig->serial, begun, sizeof begun, &rig->err));
    assert_int_equal(serial_drain(rig->serial, 10 * MILLISECOND, 10 * MILLISECOND, &rig->err), 0);
    rig_close(rig);
    virtual_elapse(rig->device, SECOND);
    assert_int_equal(rig_connect(rig, NULL), ERR_NO_ANSWER);
    assert_non_null(strstr(rig->err.message, "250000"));
    assert_non_null(strstr(rig->err.hint, "RESET twice"));
    assert_true(rig->connecting < 2500 * MILLISECOND);
    rig_close(rig);
    virtual_reset(rig->device, VRESET_PIN);
    assert_run(rig);
    rig_free(rig);
}

/* ---- faults and time ---- */

static void every_fault_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    static const struct way ways[] = {{&vmodel_katapult_serial, &method_katapult_serial},
                                      {&vmodel_katapult_usb, &method_katapult_usb}};
    for (size_t k = 0; k < 2; k++) {
        struct rig *rig = f103(ways[k]);
        rig_image(rig, MEM_FLASH, F103_START, 4500);
        assert_true(rig_every_fault(rig, 12 * SECOND) > 5 * 10);
        rig_free(rig);
    }
}

/* A damaged answer costs a question, no second run. */
static void a_damaged_answer_does_not_end_the_run(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 60; n++) {
        const struct line_faults faults[] = {{.drop = n}, {.corrupt = n}};
        for (size_t i = 0; i < 2; i++) {
            struct rig *rig = f103(uart);
            rig_image(rig, MEM_FLASH, F103_START, 3000);
            int rc = rig_run(rig, MEM_FLASH, &faults[i]);
            if (rc != OK)
                fail_msg("%u.%zu: %s", n, i, rig->err.message);
            assert_true(rig_holds_image(rig));
            rig_free(rig);
        }
    }
}

static void a_refused_block_is_named(void **state)
{
    (void)state;
    const struct vconfig options = {.variant = "button", .faults = {.nak = 8}};
    struct rig *rig =
        rig_new(&vmodel_katapult_serial, &method_katapult_serial, "stm32f103xe", 0x80000, &options);
    rig_image(rig, MEM_FLASH, F103_START, 900);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_PROTOCOL);
    assert_non_null(strstr(rig->err.message, "COMMAND_ERROR (f2)"));
    assert_non_null(strstr(rig->err.message, "writing 0x08002180"));
    rig_free(rig);
}

static void print_ratio(const char *what, uint64_t took, double limit)
{
    print_message("%-46s %6.2f s, limit %6.2f s, ratio %.3f\n", what, (double)took / SECOND, limit,
                  (double)took / SECOND / limit);
    assert_true((double)took / SECOND < 1.15 * limit);
}

/* Data sheet of the F103: 30 ms a page erase, 1.7 ms a block. The UART does nothing else meanwhile.
 */
static void a_uart_is_as_fast_as_wire_and_flash(void **state)
{
    (void)state;
    struct rig *rig = f103(uart);
    rig_image(rig, MEM_FLASH, F103_START, 40 * KIB);
    assert_run(rig);
    double blocks = 40.0 * KIB / 64, pages = 20, byte = 10.0 / 250000;
    print_ratio("F103 UART 40 KiB write", rig->writing,
                blocks * ((76 + 16) * byte + 1700e-6) + pages * 30e-3);
    print_ratio("F103 UART 40 KiB verify", rig->verifying, blocks * 80 * byte);
    rig_free(rig);
}

/* Over USB the wire works while the flash does: the limit is the slower of the two. */
static void usb_is_as_fast_as_the_flash(void **state)
{
    (void)state;
    struct rig *rig = f103(usb);
    rig_image(rig, MEM_FLASH, F103_START, 40 * KIB);
    assert_run(rig);
    double blocks = 40.0 * KIB / 64, pages = 20, packet = 52.632e-6;
    print_ratio("F103 USB 40 KiB write", rig->writing, blocks * 1700e-6 + pages * 30e-3);
    print_ratio("F103 USB 40 KiB verify", rig->verifying, blocks * 80 / 64 * packet);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_verify_on_each_family),
        cmocka_unit_test(write_begins_each_sector_at_its_first_block),
        cmocka_unit_test(blank_blocks_of_an_erased_page_are_not_sent),
        cmocka_unit_test(read_any_address_and_length),
        cmocka_unit_test(erase_blanks_the_sectors_and_nothing_else),
        cmocka_unit_test(nothing_below_the_start_is_touched),
        cmocka_unit_test(stop_leaves_the_first_page_empty_and_the_node_alive),
        cmocka_unit_test(run_is_refused_where_the_chip_would_hang),
        cmocka_unit_test(a_failed_write_is_never_started),
        cmocka_unit_test(
            a_byte_that_will_not_program_fails_the_verify_where_the_node_does_not_look),
        cmocka_unit_test(connect_understands_each_protocol),
        cmocka_unit_test(connect_over_usb_does_not_wait_for_a_held_packet),
        cmocka_unit_test(connect_refuses_another_chip_unless_forced),
        cmocka_unit_test(connect_takes_the_name_klipper_has_for_the_chip),
        cmocka_unit_test(connect_refuses_another_start_and_names_both),
        cmocka_unit_test(a_stuck_node_is_told_and_a_reset_cures_it),
        cmocka_unit_test(every_fault_ends_in_time_and_is_repaired),
        cmocka_unit_test(a_damaged_answer_does_not_end_the_run),
        cmocka_unit_test(a_refused_block_is_named),
        cmocka_unit_test(a_uart_is_as_fast_as_wire_and_flash),
        cmocka_unit_test(usb_is_as_fast_as_the_flash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
