/* avr109 against the strict model of Caterina on virtual time, with a used chip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "method_rig.h"

extern const struct method method_avr109;
extern const struct vmodel vmodel_caterina;

/* ATmega32U4 data sheet: page erase and page write 4.5 ms each. */
enum { KIB = 1024, END = 0x7000, PAGE = 128, PAGE_FLASH_US = 9000 };

static struct rig *leonardo(const struct vfaults *faults)
{
    struct vconfig options = {.variant = NULL};
    if (faults)
        options.faults = *faults;
    return rig_new(&vmodel_caterina, &method_avr109, "atmega32u4", END, &options);
}

static void assert_run(struct rig *rig, enum memory memory)
{
    rig_assert_ok(rig, rig_run(rig, memory, NULL));
    assert_true(rig_holds_image(rig));
}

static void write_and_verify_a_used_leonardo(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    rig_image(rig, MEM_FLASH, 0, 5000);
    rig_image(rig, MEM_FLASH, 0x4001, 300);
    assert_run(rig, MEM_FLASH);
    assert_int_equal(rig->advanced, 2 * 5300);
    rig_free(rig);
}

static void write_leaves_other_pages_alone(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    uint8_t before[END];
    memcpy(before, rig->flash, sizeof before);
    rig_image(rig, MEM_FLASH, 0x400, PAGE);
    assert_run(rig, MEM_FLASH);
    assert_memory_equal(rig->flash, before, 0x400);
    assert_memory_equal(rig->flash + 0x480, before + 0x480, END - 0x480);
    rig_free(rig);
}

static void stop_leaves_the_first_page_empty(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    rig_image(rig, MEM_FLASH, 0, 8 * KIB);
    rig->stop_at = 4 * KIB;
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_INTERRUPTED);
    assert_true(bytes_blank(rig->flash, PAGE, 0xff));
    assert_memory_equal(rig->flash + PAGE, rig->image.segments[0].data + PAGE, 4 * KIB);
    rig_free(rig);
}

static void eeprom_is_written_byte_by_byte(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    memset(rig->eeprom, 0x5a, sizeof rig->eeprom);
    rig_image(rig, MEM_EEPROM, 3, 150);
    rig_image(rig, MEM_EEPROM, 0x3ff, 1);
    assert_run(rig, MEM_EEPROM);
    assert_int_equal(rig->eeprom[2], 0x5a);
    assert_int_equal(rig->eeprom[153], 0x5a);
    rig_free(rig);
}

static void read_any_address_and_length(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    static const struct span spans[] = {{0, 1}, {1, 1}, {255, 2}, {3, 700}, {0, END}, {1, END - 1}};
    static uint8_t bytes[END];
    rig_assert_ok(rig, rig_connect(rig, NULL));
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        size_t length = (size_t)spans[i].size;
        rig->advanced = 0;
        rig_assert_ok(rig, rig->method->read(&rig->session, MEM_FLASH, spans[i].start, bytes,
                                             length, &rig->err));
        assert_memory_equal(bytes, rig->flash + spans[i].start, length);
        assert_int_equal(rig->advanced, length);
    }
    rig_free(rig);
}

static void erase_blanks_the_range_and_nothing_else(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    const struct span range = {0x200, 0x300};
    uint8_t before[END];
    memcpy(before, rig->flash, sizeof before);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->erase(&rig->session, &range, 1, &rig->err));
    assert_true(bytes_blank(rig->flash + 0x200, 0x300, 0xff));
    assert_memory_equal(rig->flash, before, 0x200);
    assert_memory_equal(rig->flash + 0x500, before + 0x500, END - 0x500);
    rig_assert_ok(rig, rig->method->erase_chip(&rig->session, &rig->err));
    assert_true(bytes_blank(rig->flash, END, 0xff));
    rig_free(rig);
}

static void fuses_and_lock_are_shown(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    struct fuse fuses[FUSES_MAX];
    size_t count;
    static const uint8_t values[4] = {0xff, 0xd8, 0xcb, 0xef}; /* lfuse hfuse efuse lock */
    static const char *const names[4] = {"lfuse", "hfuse", "efuse", "lock"};
    memcpy(rig->fuses, values, sizeof values);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->fuses(&rig->session, fuses, &count, &rig->err));
    assert_int_equal(count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(fuses[i].name, names[i]);
        assert_int_equal(fuses[i].value, values[i]);
    }
    rig_free(rig);
}

static void connect_says_what_the_loader_is(void **state)
{
    (void)state;
    struct device_info info = {.count = 0};
    struct rig *rig = leonardo(NULL);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->info(&rig->session, &info, &rig->err));
    assert_string_equal(info.lines[0].text, "CATERIN 1.0");
    assert_string_equal(info.lines[1].text, "1e 95 87 (atmega32u4)");
    rig_free(rig);
}

static void connect_refuses_another_chip(void **state)
{
    (void)state;
    struct rig *rig = leonardo(&(struct vfaults){.wrong_id = true});
    assert_int_equal(rig_connect(rig, NULL), ERR_REFUSED);
    assert_string_equal(rig->err.check, "signature");
    rig_free(rig);
}

static void connect_to_a_silent_application_tells_to_press_reset(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    rig->config.app = true;
    rig_remake(rig);
    assert_int_equal(rig_connect(rig, NULL), ERR_NO_ANSWER);
    assert_non_null(strstr(rig->err.message, "nothing at all came back"));
    assert_non_null(strstr(rig->err.hint, "RESET"));
    assert_true(rig->connecting < 3 * SECOND);
    rig_free(rig);
}

static void failure_answered_by_the_loader_is_named(void **state)
{
    (void)state;
    struct rig *rig = leonardo(&(struct vfaults){.nak = 8});
    rig_image(rig, MEM_FLASH, 0, 900);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_PROTOCOL);
    assert_non_null(strstr(rig->err.message, "writing flash near"));
    assert_non_null(strstr(rig->err.message, "3f (command unknown)"));
    rig_free(rig);
}

static void a_byte_that_will_not_program_fails_the_verify(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    rig_image(rig, MEM_FLASH, 0, 900);
    rig->config.flash.stuck = 0x123;
    rig_remake(rig);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_VERIFY);
    assert_non_null(strstr(rig->err.message, "0x00000123"));
    rig_free(rig);
}

static void every_fault_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    rig_image(rig, MEM_FLASH, 0, 900);
    assert_true(rig_every_fault(rig, 12 * SECOND) > 5 * 10);
    rig_free(rig);
}

/* The queue keeps the device programming: the limit is the flash alone. */
static void writing_is_within_a_tenth_of_the_flash(void **state)
{
    (void)state;
    struct rig *rig = leonardo(NULL);
    rig_image(rig, MEM_FLASH, 0, 28 * KIB);
    assert_run(rig, MEM_FLASH);
    double limit = 224.0 * PAGE_FLASH_US / 1e6;
    print_message("Caterina 28 KiB write %.2f s, limit %.2f s, ratio %.3f; verify %.2f s\n",
                  (double)rig->writing / SECOND, limit, (double)rig->writing / SECOND / limit,
                  (double)rig->verifying / SECOND);
    assert_true((double)rig->writing / SECOND < 1.1 * limit);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_verify_a_used_leonardo),
        cmocka_unit_test(write_leaves_other_pages_alone),
        cmocka_unit_test(stop_leaves_the_first_page_empty),
        cmocka_unit_test(eeprom_is_written_byte_by_byte),
        cmocka_unit_test(read_any_address_and_length),
        cmocka_unit_test(erase_blanks_the_range_and_nothing_else),
        cmocka_unit_test(fuses_and_lock_are_shown),
        cmocka_unit_test(connect_says_what_the_loader_is),
        cmocka_unit_test(connect_refuses_another_chip),
        cmocka_unit_test(connect_to_a_silent_application_tells_to_press_reset),
        cmocka_unit_test(failure_answered_by_the_loader_is_named),
        cmocka_unit_test(a_byte_that_will_not_program_fails_the_verify),
        cmocka_unit_test(every_fault_ends_in_time_and_is_repaired),
        cmocka_unit_test(writing_is_within_a_tenth_of_the_flash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
