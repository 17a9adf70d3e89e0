/* Plans: every check refuses by its own name, can be forced by that name alone, and touches
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "plan.h"

struct fixture {
    struct board_db *db;
    struct image image;
    struct plan plan;
    struct plan_options options;
    struct error err;
    char warnings[2048];
};

static void keep_warning(void *user, const char *text)
{
    struct fixture *f = user;
    size_t used = strlen(f->warnings);
    (void)snprintf(f->warnings + used, sizeof f->warnings - used, "%s\n", text);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    static const char *const shipped[] = {"boards.ini"};
    if (!f || board_db_load(&f->db, shipped, 1, &f->err))
        return -1;
    f->options.warn = keep_warning;
    f->options.user = f;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    plan_free(&f->plan);
    image_free(&f->image);
    board_db_free(f->db);
    free(f);
    return 0;
}

/* `length` bytes of something that is neither blank nor an ARM vector table. */
static void add_bytes(struct fixture *f, enum memory memory, uint64_t address, size_t length)
{
    uint8_t *bytes = malloc(length);
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 7 + 1);
    assert_int_equal(image_add(&f->image, memory, address, bytes, length, &f->err), OK);
    free(bytes);
    f->image.placed = true;
    if (!f->image.source_count) {
        f->image.sources = calloc(1, sizeof *f->image.sources);
        assert_non_null(f->image.sources);
        f->image.sources[0].name = strdup("test.hex");
        f->image.source_count = 1;
    }
}

static int plan(struct fixture *f, const char *name, const char *method)
{
    const struct board *board;
    assert_int_equal(board_find(f->db, name, &board, &f->err), OK);
    plan_free(&f->plan);
    return plan_flash(&f->plan, board, board_loader(board, method), method_find(method), &f->image,
                      &f->options, &f->err);
}

static void assert_steps(const struct plan *plan, const char *wanted)
{
    char steps[256] = "";
    for (size_t i = 0; i < plan->count; i++) {
        size_t used = strlen(steps);
        (void)snprintf(steps + used, sizeof steps - used, "%s%s", i ? " " : "",
                       step_name(plan->steps[i].kind));
    }
    assert_string_equal(steps, wanted);
}

/* Refused by that check; forced by its name it passes with a warning; forced by another it does
 * not. */
static void assert_check(struct fixture *f, const char *board, const char *method, enum check check)
{
    assert_int_equal(plan(f, board, method), ERR_REFUSED);
    assert_string_equal(f->err.check, check_name(check));
    assert_non_null(strstr(f->err.hint, "--force"));
    assert_int_equal(f->plan.count, 0);
    f->options.forced = ((1U << CHECK_COUNT) - 1) & ~(1U << check);
    assert_int_equal(plan(f, board, method), ERR_REFUSED);
    f->options.forced = 1U << check;
    assert_int_equal(plan(f, board, method), OK);
    assert_non_null(strstr(f->warnings, check_name(check)));
}

static void a_plain_image_becomes_enter_write_verify_run(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 3000);
    assert_int_equal(plan(f, "arduino-uno", "stk500v1"), OK);
    assert_steps(&f->plan, "enter write verify run");
    assert_string_equal(f->warnings, "");
}

static void options_leave_steps_out(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 3000);
    f->options.no_verify = true;
    f->options.no_run = true;
    assert_int_equal(plan(f, "arduino-uno", "stk500v1"), OK);
    assert_steps(&f->plan, "enter write");
}

static void isp_erases_the_whole_chip_first(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 3000);
    add_bytes(f, MEM_EEPROM, 0, 16);
    assert_int_equal(plan(f, "arduino-uno", "isp"), OK);
    assert_steps(&f->plan, "enter erase write write verify verify run");
    assert_true(f->plan.steps[1].whole_chip);
}

static void isp_erases_nothing_for_eeprom_alone(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_EEPROM, 0, 16);
    assert_int_equal(plan(f, "arduino-uno", "isp"), OK);
    assert_steps(&f->plan, "enter write verify run");
}

static void eeprom_that_a_loader_cannot_write_is_left_out_with_a_warning(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 3000);
    add_bytes(f, MEM_EEPROM, 0, 16);
    assert_int_equal(plan(f, "arduino-mega2560", "stk500v2"), OK);
    assert_steps(&f->plan, "enter write verify run");
    assert_non_null(strstr(f->warnings, "16 bytes of EEPROM are left out"));
}

static void eeprom_alone_over_such_a_loader_is_not_possible(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_EEPROM, 0, 16);
    assert_int_equal(plan(f, "arduino-mega2560", "stk500v2"), ERR_NOT_POSSIBLE);
}

static void fuse_values_in_an_elf_are_never_written_by_flashing(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 300);
    add_bytes(f, MEM_FUSE, 0, 3);
    assert_int_equal(plan(f, "arduino-uno", "isp"), OK);
    assert_steps(&f->plan, "enter erase write verify run");
    assert_non_null(strstr(f->warnings, "mflash fuses"));
}

static void an_image_for_another_machine_is_refused(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 3000);
    f->image.machine = MACHINE_ARM;
    assert_check(f, "arduino-uno", "stk500v1", CHECK_MACHINE);
}

static void a_raw_arm_image_is_known_by_its_vectors(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 3000);
    f->image.vectors.plausible = true;
    assert_check(f, "arduino-uno", "stk500v1", CHECK_MACHINE);
}

static void klipper_for_another_chip_is_refused(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 3000);
    f->image.klipper.present = true;
    (void)snprintf(f->image.klipper.mcu, sizeof f->image.klipper.mcu, "atmega1284p");
    assert_check(f, "arduino-mega2560", "stk500v2", CHECK_KLIPPER_MCU);
}

static void klipper_built_for_the_1280_belongs_on_a_minitronics(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 3000);
    f->image.klipper.present = true;
    (void)snprintf(f->image.klipper.mcu, sizeof f->image.klipper.mcu, "atmega1280");
    assert_int_equal(plan(f, "minitronics1", "stk500v1"), OK);
}

static void nothing_but_ff_is_refused(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 256);
    memset(f->image.segments[0].data, 0xff, 256);
    assert_check(f, "arduino-uno", "stk500v1", CHECK_BLANK);
}

static void more_than_the_flash_is_refused(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0x7f00, 0x200);
    assert_check(f, "arduino-uno", "isp", CHECK_SIZE);
}

static void an_image_linked_elsewhere_is_refused_naming_both_addresses(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0x1000, 256);
    assert_int_equal(plan(f, "arduino-uno", "stk500v1"), ERR_REFUSED);
    assert_non_null(strstr(f->err.message, "0x1000"));
    assert_non_null(strstr(f->err.message, "0x0"));
    assert_check(f, "arduino-uno", "stk500v1", CHECK_START);
}

static void the_bootloaders_own_pages_are_refused(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 0x7e01);
    assert_check(f, "arduino-uno", "stk500v1", CHECK_LOADER_OVERLAP);
}

static void the_last_byte_below_the_bootloader_is_accepted(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0, 0x7e00);
    assert_int_equal(plan(f, "arduino-uno", "stk500v1"), OK);
}

static void an_arm_image_without_vectors_is_refused(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0x4000, 3000);
    assert_check(f, "arduino-m0", "stk500v2", CHECK_VECTORS);
}

static void an_arm_image_with_good_vectors_is_accepted(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0x4000, 3000);
    f->image.vectors = (struct vector_facts){.plausible = true, .sp = 0x20008000, .reset = 0x4101};
    assert_int_equal(plan(f, "arduino-m0", "stk500v2"), OK);
    assert_steps(&f->plan, "enter erase write verify run");
}

/* A raw binary with a vector table of its own, as the linker makes it for `base`. */
static void add_raw_arm(struct fixture *f, uint32_t base, size_t length)
{
    uint8_t *bytes = malloc(length);
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 7 + 1);
    put_le32(bytes, 0x20008000);
    for (size_t i = 1; i < 16; i++)
        put_le32(bytes + 4 * i, (base + 0x100 * (uint32_t)i % (uint32_t)length) | 1);
    assert_int_equal(image_parse(&f->image, "raw.bin", bytes, length, NULL, &f->err), OK);
    assert_false(f->image.placed);
    free(bytes);
}

static void a_raw_image_goes_to_the_loaders_start(void **state)
{
    struct fixture *f = *state;
    add_raw_arm(f, 0x4000, 3000);
    assert_int_equal(plan(f, "arduino-m0", "stk500v2"), OK);
    assert_int_equal(f->image.segments[0].address, 0x4000);
}

static void a_raw_image_linked_for_another_start_is_refused_naming_both(void **state)
{
    struct fixture *f = *state;
    add_raw_arm(f, 0x20000, 3000);
    assert_int_equal(plan(f, "arduino-m0", "stk500v2"), ERR_REFUSED);
    assert_string_equal(f->err.check, "start");
    assert_non_null(strstr(f->err.message, "0x20000"));
    assert_non_null(strstr(f->err.message, "0x4000"));
}

/* ---- recipes ---- */

static int recipe(struct fixture *f, const char *words)
{
    const struct board *board;
    assert_int_equal(board_find(f->db, "arduino-mega2560", &board, &f->err), OK);
    plan_free(&f->plan);
    return plan_recipe(&f->plan, board, board_loader(board, "isp"), method_find("isp"), words,
                       &f->image, &f->options, &f->err);
}

static const char mega_recipe[] =
    "erase lock=0x3f efuse=0xfd hfuse=0xd8 lfuse=0xff write verify lock=0x0f";

static void a_recipe_becomes_steps_with_a_restart_before_writing(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0x3e000, 5928);
    assert_int_equal(recipe(f, mega_recipe), OK);
    assert_steps(&f->plan, "enter erase fuse fuse fuse fuse restart write verify fuse run");
    assert_string_equal(f->plan.steps[3].fuse, "efuse");
    assert_int_equal(f->plan.steps[3].value, 0xfd);
}

static void a_recipe_refuses_fuses_that_lock_the_user_out(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0x3e000, 5928);
    assert_int_equal(recipe(f, "erase hfuse=0xf8 write"), ERR_REFUSED); /* SPIEN = 1 */
    assert_string_equal(f->err.check, "fuses");
    f->options.forced = 1U << CHECK_FUSES;
    assert_int_equal(recipe(f, "erase hfuse=0xf8 write"), OK);
}

static void a_bootloader_below_its_section_is_refused(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0x3c000, 512);
    assert_int_equal(recipe(f, mega_recipe), ERR_REFUSED);
    assert_non_null(strstr(f->err.message, "0x3e000"));
}

static void a_recipe_knows_no_commands(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0x3e000, 512);
    assert_int_equal(recipe(f, "erase rm write"), ERR_BOARDS_FILE);
    assert_non_null(strstr(f->err.message, "rm"));
}

static void a_can_image_for_another_bit_rate_is_refused(void **state)
{
    struct fixture *f = *state;
    struct can_status bus = {.name = "can0", .bitrate = 500000};
    f->image.klipper = (struct klipper_facts){.present = true, .can_bitrate = 1000000};
    assert_int_equal(plan_check_can_bitrate(&f->image, &bus, &f->options, &f->err), ERR_REFUSED);
    assert_string_equal(f->err.check, "can-bitrate");
    assert_non_null(strstr(f->err.message, "1000000"));
    assert_non_null(strstr(f->err.message, "500000"));
    f->options.forced = 1U << CHECK_CAN_BITRATE;
    assert_int_equal(plan_check_can_bitrate(&f->image, &bus, &f->options, &f->err), OK);
    assert_non_null(strstr(f->warnings, "can-bitrate"));
    f->options.forced = 0;
    bus.bitrate = 0; /* slcan and vcan do not tell */
    assert_int_equal(plan_check_can_bitrate(&f->image, &bus, &f->options, &f->err), OK);
    bus.bitrate = 500000;
}

/* It makes the rate of its bus, and is reached over USB at any. */
static void a_bridge_for_another_bit_rate_is_told_and_not_refused(void **state)
{
    struct fixture *f = *state;
    struct can_status bus = {.name = "can0", .bitrate = 1000000};
    f->image.klipper =
        (struct klipper_facts){.present = true, .can_bridge = true, .can_bitrate = 1000000};
    assert_int_equal(plan_check_can_bitrate(&f->image, &bus, &f->options, &f->err), OK);
    assert_string_equal(f->warnings, "");
    f->image.klipper.can_bitrate = 500000;
    assert_int_equal(plan_check_can_bitrate(&f->image, &bus, &f->options, &f->err), OK);
    assert_non_null(strstr(f->warnings, "1000000"));
    assert_non_null(strstr(f->warnings, "500000"));
}

static void a_bridge_that_will_be_none_is_told(void **state)
{
    struct fixture *f = *state;
    add_bytes(f, MEM_FLASH, 0x08008000, 1000);
    f->image.klipper = (struct klipper_facts){.present = true};
    (void)snprintf(f->image.klipper.mcu, sizeof f->image.klipper.mcu, "stm32f446xx");
    f->options.forced = (1U << CHECK_COUNT) - 1;
    assert_int_equal(plan(f, "generic-stm32f446xx", "katapult-usb"), OK);
    assert_null(strstr(f->warnings, "its CAN bus no more"));
    f->options.bus = true;
    assert_int_equal(plan(f, "generic-stm32f446xx", "katapult-usb"), OK);
    assert_non_null(strstr(f->warnings, "its CAN bus no more"));
    f->warnings[0] = '\0';
    f->image.klipper.can_bridge = true;
    assert_int_equal(plan(f, "generic-stm32f446xx", "katapult-usb"), OK);
    assert_null(strstr(f->warnings, "its CAN bus no more"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_plain_image_becomes_enter_write_verify_run),
        TEST(options_leave_steps_out),
        TEST(isp_erases_the_whole_chip_first),
        TEST(isp_erases_nothing_for_eeprom_alone),
        TEST(eeprom_that_a_loader_cannot_write_is_left_out_with_a_warning),
        TEST(eeprom_alone_over_such_a_loader_is_not_possible),
        TEST(fuse_values_in_an_elf_are_never_written_by_flashing),
        TEST(an_image_for_another_machine_is_refused),
        TEST(a_raw_arm_image_is_known_by_its_vectors),
        TEST(klipper_for_another_chip_is_refused),
        TEST(klipper_built_for_the_1280_belongs_on_a_minitronics),
        TEST(nothing_but_ff_is_refused),
        TEST(more_than_the_flash_is_refused),
        TEST(an_image_linked_elsewhere_is_refused_naming_both_addresses),
        TEST(the_bootloaders_own_pages_are_refused),
        TEST(the_last_byte_below_the_bootloader_is_accepted),
        TEST(an_arm_image_without_vectors_is_refused),
        TEST(an_arm_image_with_good_vectors_is_accepted),
        TEST(a_raw_image_goes_to_the_loaders_start),
        TEST(a_raw_image_linked_for_another_start_is_refused_naming_both),
        TEST(a_recipe_becomes_steps_with_a_restart_before_writing),
        TEST(a_recipe_refuses_fuses_that_lock_the_user_out),
        TEST(a_bootloader_below_its_section_is_refused),
        TEST(a_recipe_knows_no_commands),
        TEST(a_can_image_for_another_bit_rate_is_refused),
        TEST(a_bridge_for_another_bit_rate_is_told_and_not_refused),
        TEST(a_bridge_that_will_be_none_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
