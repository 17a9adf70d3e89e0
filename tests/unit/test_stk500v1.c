/*
 * stk500v1 against the strict models of optiboot and ATmegaBOOT on virtual time. The chips have
 * been used before: what a method forgets to erase or to write shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "method_rig.h"

extern const struct method method_stk500v1;
extern const struct vmodel vmodel_optiboot, vmodel_atmegaboot;

/* Data sheet: 4.5 ms each for page erase and page write; optiboot 4.4 erases while data arrives. */
enum { KIB = 1024, PAGE_WRITE_US = 4500 };

static struct rig *optiboot(const char *chip, uint64_t end, const char *version)
{
    const struct vconfig options = {.variant = version};
    return rig_new(&vmodel_optiboot, &method_stk500v1, chip, end, &options);
}

static struct rig *atmegaboot(const char *chip, uint64_t end)
{
    return rig_new(&vmodel_atmegaboot, &method_stk500v1, chip, end, NULL);
}

static void assert_run(struct rig *rig)
{
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    assert_true(rig_holds_image(rig));
}

/* ---- writing and reading ---- */

static void write_and_verify_through_each_optiboot(void **state)
{
    (void)state;
    static const char *const versions[] = {"4.4", "5.0", "8.3"};
    for (size_t i = 0; i < 3; i++) {
        struct rig *rig = optiboot("atmega1284p", 0x1fc00, versions[i]);
        rig_image(rig, MEM_FLASH, 0, 5000);
        assert_run(rig);
        assert_int_equal(rig->advanced, 2 * 5000);
        rig_free(rig);
    }
}

static void write_crosses_64_kib_through_optiboot(void **state)
{
    (void)state;
    struct rig *rig = optiboot("atmega1284p", 0x1fc00, "5.0");
    rig_image(rig, MEM_FLASH, 0xf800, 4 * KIB);
    assert_run(rig);
    rig_free(rig);
}

static void write_crosses_128_kib_by_extended_addresses(void **state)
{
    (void)state;
    struct rig *rig = optiboot("atmega2560", 0x3fc00, "8.3");
    rig_image(rig, MEM_FLASH, 0, 2 * KIB);
    rig_image(rig, MEM_FLASH, 0x1f800, 4 * KIB);
    assert_run(rig);
    rig_free(rig);
}

static void write_and_verify_through_atmegaboot(void **state)
{
    (void)state;
    struct rig *rig = atmegaboot("atmega1280", 0x1f000);
    rig_image(rig, MEM_FLASH, 0, 5000);
    rig_image(rig, MEM_FLASH, 0xf801, 4 * KIB);
    assert_run(rig);
    rig_free(rig);
}

static void write_leaves_other_pages_alone(void **state)
{
    (void)state;
    struct rig *rig = optiboot("atmega1284p", 0x1fc00, NULL);
    uint8_t before[0x1fc00];
    memcpy(before, rig->flash, sizeof before);
    rig_image(rig, MEM_FLASH, 0x400, 256);
    assert_run(rig);
    assert_memory_equal(rig->flash, before, 0x400);
    assert_memory_equal(rig->flash + 0x500, before + 0x500, sizeof before - 0x500);
    rig_free(rig);
}

static void read_any_address_and_length(void **state)
{
    (void)state;
    struct rig *rigs[] = {optiboot("atmega1284p", 0x1fc00, NULL),
                          atmegaboot("atmega1280", 0x1f000)};
    static const struct span spans[] = {{0, 1}, {1, 1}, {255, 2}, {0xfff9, 700}, {3, 40000}};
    static uint8_t bytes[40000];
    for (size_t k = 0; k < 2; k++) {
        struct rig *rig = rigs[k];
        rig_assert_ok(rig, rig_connect(rig, NULL));
        for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
            size_t length = (size_t)spans[i].size;
            rig_assert_ok(rig, rig->method->read(&rig->session, MEM_FLASH, spans[i].start, bytes,
                                                 length, &rig->err));
            assert_memory_equal(bytes, rig->flash + spans[i].start, length);
        }
        rig_free(rig);
    }
}

static void erase_blanks_the_range_and_nothing_else(void **state)
{
    (void)state;
    struct rig *rig = optiboot("atmega1284p", 0x1fc00, NULL);
    const struct span range = {0x200, 0x300};
    uint8_t before[0x1000];
    memcpy(before, rig->flash, sizeof before);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->erase(&rig->session, &range, 1, &rig->err));
    assert_true(bytes_blank(rig->flash + 0x200, 0x300, 0xff));
    assert_memory_equal(rig->flash, before, 0x200);
    assert_memory_equal(rig->flash + 0x500, before + 0x500, sizeof before - 0x500);
    rig_free(rig);
}

/* ---- the page with the reset vector ---- */

static void stop_leaves_the_first_page_empty(void **state)
{
    (void)state;
    struct rig *rig = optiboot("atmega1284p", 0x1fc00, NULL);
    rig_image(rig, MEM_FLASH, 0, 8 * KIB);
    rig->stop_at = 4 * KIB;
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_INTERRUPTED);
    assert_true(bytes_blank(rig->flash, 256, 0xff));
    assert_memory_equal(rig->flash + 256, rig->image.segments[0].data + 256, 2 * KIB);
    assert_true(rig->advanced < 5 * KIB);
    rig_free(rig);
}

/* ---- EEPROM ---- */

static void eeprom_goes_through_atmegaboot_byte_by_byte(void **state)
{
    (void)state;
    struct rig *rig = atmegaboot("atmega1280", 0x1f000);
    memset(rig->eeprom, 0x5a, sizeof rig->eeprom);
    rig_image(rig, MEM_EEPROM, 3, 150);
    rig_image(rig, MEM_EEPROM, 0x400, 1);
    rig_assert_ok(rig, rig_run(rig, MEM_EEPROM, NULL));
    assert_true(rig_holds_image(rig));
    assert_int_equal(rig->eeprom[2], 0x5a);
    assert_int_equal(rig->eeprom[153], 0x5a);
    assert_int_equal(rig->eeprom[0x401], 0x5a);
    assert_int_equal(rig->advanced, 2 * 151);
    rig_free(rig);
}

static void eeprom_is_refused_on_optiboot_before_it_hits_the_flash(void **state)
{
    (void)state;
    struct rig *rig = optiboot("atmega1284p", 0x1fc00, "4.4");
    uint8_t before[0x1000];
    memcpy(before, rig->flash, sizeof before);
    rig_image(rig, MEM_EEPROM, 0, 16);
    assert_int_equal(rig_run(rig, MEM_EEPROM, NULL), ERR_NOT_POSSIBLE);
    assert_non_null(strstr(rig->err.message, "optiboot ignores"));
    assert_memory_equal(rig->flash, before, sizeof before);
    rig_free(rig);
}

/* ---- connecting ---- */

static void connect_tries_the_other_rate_after_a_new_pulse(void **state)
{
    (void)state;
    struct rig *rig = atmegaboot("atmega1280", 0x1f000);
    rig->loader.bauds[0] = 115200;
    rig->loader.bauds[1] = 57600;
    rig->loader.baud_count = 2;
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_int_equal(rig->serial->settings.baud, 57600);
    assert_true(rig->connecting < 2500 * MILLISECOND);
    rig_free(rig);
}

static void connect_says_what_the_loader_is(void **state)
{
    (void)state;
    struct device_info info = {.count = 0};
    struct rig *rig = optiboot("atmega1284p", 0x1fc00, "8.3");
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->info(&rig->session, &info, &rig->err));
    assert_string_equal(info.lines[0].text, "optiboot 8.3");
    assert_string_equal(info.lines[1].text, "1e 97 05 (atmega1284p)");
    rig_free(rig);
    info.count = 0;
    rig = atmegaboot("atmega1280", 0x1f000);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->info(&rig->session, &info, &rig->err));
    assert_string_equal(info.lines[0].text, "ATmegaBOOT 1.16");
    rig_free(rig);
}

static void connect_refuses_another_chip_unless_forced(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.wrong_id = true}};
    struct rig *rig = rig_new(&vmodel_optiboot, &method_stk500v1, "atmega1284p", 0x1fc00, &options);
    assert_int_equal(rig_connect(rig, NULL), ERR_REFUSED);
    assert_string_equal(rig->err.check, "signature");
    assert_non_null(strstr(rig->err.message, "1e 97 03 (atmega1280)"));
    assert_non_null(strstr(rig->err.message, "atmega1284p"));
    rig_close(rig);
    rig->session.force_signature = true;
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_non_null(strstr(rig->notes, "forced"));
    rig_free(rig);
}

static void connect_tells_silence_from_a_wrong_rate(void **state)
{
    (void)state;
    struct rig *rig = optiboot("atmega1284p", 0x1fc00, NULL);
    rig->loader.enter = "ask"; /* nobody resets it: the application has the line */
    virtual_elapse(rig->device, 3 * SECOND);
    rig->device->reset_on_dtr = false;
    assert_int_equal(rig_connect(rig, NULL), ERR_NO_ANSWER);
    assert_non_null(strstr(rig->err.message, "nothing at all came back"));
    assert_non_null(strstr(rig->err.message, "115200"));
    assert_non_null(strstr(rig->err.hint, "RESET"));
    assert_true(rig->connecting < 6 * SECOND);
    rig_free(rig);
}

/* ---- faults and time ---- */

static void every_fault_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    struct rig *rig = optiboot("atmega1284p", 0x1fc00, "5.0");
    rig_image(rig, MEM_FLASH, 0, 900);
    assert_true(rig_every_fault(rig, 10 * SECOND) > 5 * 10);
    rig_free(rig);
    rig = atmegaboot("atmega1280", 0x1f000);
    rig_image(rig, MEM_FLASH, 0, 900);
    assert_true(rig_every_fault(rig, 10 * SECOND) > 5 * 10);
    rig_free(rig);
}

static void failure_answered_by_the_loader_is_named(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.nak = 8}};
    struct rig *rig = rig_new(&vmodel_optiboot, &method_stk500v1, "atmega1284p", 0x1fc00, &options);
    rig_image(rig, MEM_FLASH, 0x100, 900);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_PROTOCOL);
    assert_non_null(strstr(rig->err.message, "11 (FAILED)"));
    assert_non_null(strstr(rig->err.message, "writing flash at 0x00300"));
    rig_free(rig);
}

static void a_byte_that_will_not_program_fails_the_verify(void **state)
{
    (void)state;
    struct rig *rig = optiboot("atmega1284p", 0x1fc00, NULL);
    rig_image(rig, MEM_FLASH, 0, 900);
    rig->config.flash.stuck = 0x123;
    rig_remake(rig);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_VERIFY);
    assert_non_null(strstr(rig->err.message, "0x00000123"));
    rig_free(rig);
}

static void print_ratio(const char *what, uint64_t took, double limit)
{
    print_message("%-46s %6.2f s, limit %6.2f s, ratio %.3f\n", what, (double)took / SECOND, limit,
                  (double)took / SECOND / limit);
}

/* The limit: all bytes of the pages and their frames one after the other, and the flash. */
static void writing_is_within_a_tenth_of_wire_and_flash(void **state)
{
    (void)state;
    struct rig *rig = optiboot("atmega644p", 0xfc00, "4.4");
    rig_image(rig, MEM_FLASH, 0, 30 * KIB);
    assert_run(rig);
    double pages = 30.0 * KIB / 256, byte = 10.0 / 115200;
    double write = pages * ((4 + 4 + 256 + 1 + 4) * byte + PAGE_WRITE_US / 1e6);
    double read = pages * ((5 + 2 + 256) * byte);
    print_ratio("optiboot 30 KiB write", rig->writing, write);
    print_ratio("optiboot 30 KiB verify", rig->verifying, read);
    assert_true((double)rig->writing / SECOND < 1.1 * write);
    assert_true((double)rig->verifying / SECOND < 1.1 * read);
    assert_true(rig->connecting < 600 * MILLISECOND);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_verify_through_each_optiboot),
        cmocka_unit_test(write_crosses_64_kib_through_optiboot),
        cmocka_unit_test(write_crosses_128_kib_by_extended_addresses),
        cmocka_unit_test(write_and_verify_through_atmegaboot),
        cmocka_unit_test(write_leaves_other_pages_alone),
        cmocka_unit_test(read_any_address_and_length),
        cmocka_unit_test(erase_blanks_the_range_and_nothing_else),
        cmocka_unit_test(stop_leaves_the_first_page_empty),
        cmocka_unit_test(eeprom_goes_through_atmegaboot_byte_by_byte),
        cmocka_unit_test(eeprom_is_refused_on_optiboot_before_it_hits_the_flash),
        cmocka_unit_test(connect_tries_the_other_rate_after_a_new_pulse),
        cmocka_unit_test(connect_says_what_the_loader_is),
        cmocka_unit_test(connect_refuses_another_chip_unless_forced),
        cmocka_unit_test(connect_tells_silence_from_a_wrong_rate),
        cmocka_unit_test(every_fault_ends_in_time_and_is_repaired),
        cmocka_unit_test(failure_answered_by_the_loader_is_named),
        cmocka_unit_test(a_byte_that_will_not_program_fails_the_verify),
        cmocka_unit_test(writing_is_within_a_tenth_of_wire_and_flash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
