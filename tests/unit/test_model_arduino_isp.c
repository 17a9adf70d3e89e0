/* The ArduinoISP sketch as a host sees it, and the bootloader that answers before it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "isp_wire.h"

enum { FUSE_TIME = 4500 };

/* ---- ArduinoISP ---- */

#define OPEN_TIME (2 * SECOND)

static void start_arduino(const char *chip)
{
    wire_prepare(chip);
    wire_connect(&vmodel_arduino_isp, "arduino-isp");
    wire_rest(OPEN_TIME);
}

/* SET_DEVICE with pages of 128 and 1024 bytes of EEPROM, as for a 328P. */
#define SET_328P "42 86 00 00 01 01 01 01 03 FF FF FF FF 00 80 04 00 00 00 80 00 20"

static void start_arduino_programming(void)
{
    start_arduino("atmega328p");
    wire_exchange(SET_328P, "14 10");
    wire_exchange("50 20", "14 10");
}

static void its_own_bootloader_answers_first(void **state)
{
    (void)state;
    wire_prepare("atmega2560");
    wire_connect(&vmodel_arduino_isp, NULL);
    wire_rest(100 * MILLISECOND);
    wire_exchange("30 20", "14 10");
    wire_exchange("41 82 20", "14 04 10");
    wire_exchange("50 20", "14 10");
    wire_exchange("75 20", "14 1E 95 0F 10"); /* its own, not the 2560's */
}

static void every_byte_keeps_the_bootloader_a_second_longer(void **state)
{
    (void)state;
    wire_prepare("atmega2560");
    wire_connect(&vmodel_arduino_isp, NULL);
    wire_rest(1400 * MILLISECOND);
    wire_exchange("41 82 20", "14 04 10");
    wire_rest(1000 * MILLISECOND);
    wire_exchange("41 82 20", "14 04 10");
    wire_rest(1600 * MILLISECOND);
    wire_exchange("41 82 20", "14 12 10");
}

static void two_seconds_after_opening_it_is_the_sketch(void **state)
{
    (void)state;
    start_arduino("atmega2560");
    wire_exchange("41 82 20", "14 12 10");
    wire_exchange("41 93 20", "14 53 10");
    wire_exchange("31 20", "14 41 56 52 20 49 53 50 10");
}

static void a_capacitor_keeps_the_sketch_running(void **state)
{
    (void)state;
    wire_prepare("atmega2560");
    wire_connect(&vmodel_arduino_isp, "capacitor");
    wire_rest(OPEN_TIME);
    wire_close();
    wire_open(19200);
    wire_exchange("41 82 20", "14 12 10");
}

static void flashing_the_programmer_itself_ends_it(void **state)
{
    (void)state;
    wire_prepare("atmega2560");
    wire_connect(&vmodel_arduino_isp, NULL);
    wire_rest(100 * MILLISECOND);
    wire_exchange("30 20", "14 10");
    wire_exchange("55 00 00 20", "14 10");
    wire_exchange("64 00 02 46 12 34 20", "14 10");
    wire_rest(2 * OPEN_TIME);
    wire_send("30 20");
    wire_expect_silence();
}

static void at_another_rate_it_hears_no_command(void **state)
{
    struct error err = {0};

    (void)state;
    start_arduino("atmega2560");
    assert_int_equal(serial_set_baud(wire.serial, 115200, &err), OK);
    wire_send("41 82 20");
    wire_rest(SECOND);
    assert_int_equal(serial_set_baud(wire.serial, 19200, &err), OK);
    serial_drop_input(wire.serial);
    wire_send("20 20 20 20 20 20"); /* ends whatever it took the noise for */
    wire_rest(SECOND);
    serial_drop_input(wire.serial);
    wire_exchange("41 82 20", "14 12 10");
}

static void a_wrong_end_of_command_is_no_sync(void **state)
{
    (void)state;
    start_arduino("atmega328p");
    wire_exchange("30 21", "15");
    wire_exchange("20", "15");
    wire_exchange("30 20", "14 10");
}

static void chip_erase_and_other_strange_commands_are_unknown(void **state)
{
    (void)state;
    start_arduino("atmega328p");
    wire_exchange("52 20", "12");
    wire_exchange("76 20", "12");
    wire_exchange("40 84 20", "15 15"); /* 84 stands where 20 should, and 20 is no command */
}

static void enter_says_ok_to_a_target_that_does_not_answer(void **state)
{
    (void)state;
    wire_prepare("atmega328p");
    memcpy(wire.fuses, (uint8_t[]){0xff, 0x59, 0xfd, 0xff}, 4); /* RSTDISBL */
    wire_connect(&vmodel_arduino_isp, NULL);
    wire_rest(OPEN_TIME);
    wire_exchange("50 20", "14 10");
    wire_exchange("75 20", "14 FF FF FF 10");
}

static void it_programs_reads_and_sets_fuses(void **state)
{
    (void)state;
    start_arduino_programming();
    wire_exchange("75 20", "14 1E 95 0F 10");
    wire_exchange("56 AC A8 00 DA 20", "14 00 10");
    wire_rest(FUSE_TIME);
    wire_exchange("56 58 08 00 00 20", "14 DA 10");
    wire_exchange("55 40 00 20", "14 10");
    wire_exchange("64 00 04 46 11 22 33 44 20", "14 10");
    assert_memory_equal(wire.flash + 0x80, "\x11\x22\x33\x44", 4);
    wire_exchange("55 40 00 20", "14 10");
    wire_exchange("74 00 04 46 20", "14 11 22 33 44 10");
    wire_exchange("74 00 02 46 20", "14 FF FF 10");
    wire_exchange("51 20", "14 10");
}

static void without_set_device_every_word_is_a_page_of_its_own(void **state)
{
    (void)state;
    start_arduino("atmega328p");
    wire_exchange("50 20", "14 10");
    wire_exchange("55 00 00 20", "14 10");
    uint64_t began = clock_now(wire.serial->clock);
    wire_exchange("64 00 04 46 11 22 33 44 20", "14 10");
    assert_memory_equal(wire.flash, "\x11\x22\x33\x44", 4);
    assert_true(clock_now(wire.serial->clock) - began > 60 * MILLISECOND);
}

static void it_doubles_the_eeprom_address(void **state)
{
    (void)state;
    start_arduino_programming();
    wire_exchange("55 04 00 20", "14 10");
    uint64_t began = clock_now(wire.serial->clock);
    wire_exchange("64 00 02 45 11 22 20", "14 10");
    assert_memory_equal(wire.eeprom + 8, "\x11\x22", 2);
    assert_true(clock_now(wire.serial->clock) - began > 90 * MILLISECOND);
    wire_exchange("74 00 03 45 20", "14 11 22 FF 10");
}

static void a_target_beyond_128_k_is_reached_by_universal(void **state)
{
    (void)state;
    start_arduino("atmega2560");
    wire_exchange("42 B2 00 00 01 01 01 01 03 FF FF FF FF 01 00 10 00 00 04 00 00 20", "14 10");
    wire_exchange("50 20", "14 10");
    wire_exchange("56 4D 00 01 00 20", "14 01 10");
    wire_exchange("55 00 F0 20", "14 10");
    wire_exchange("64 00 02 46 11 22 20", "14 10");
    assert_memory_equal(wire.flash + 0x3e000, "\x11\x22", 2);
}

static void a_page_longer_than_its_buffer_hangs_the_sketch(void **state)
{
    (void)state;
    start_arduino_programming();
    wire_send("64 01 02 46");
    for (size_t i = 0; i < 258; i++)
        wire_send("00");
    wire_send("20 30 20");
    wire_expect_silence();
}

static void spi_without_enter_hangs_the_sketch(void **state)
{
    (void)state;
    start_arduino("atmega328p");
    wire_exchange("74 00 08 46 20", "14");
    wire_expect_silence();
    wire_send("30 20");
    wire_expect_silence();
    virtual_reset(wire.device, VRESET_PIN);
    wire_rest(OPEN_TIME);
    wire_exchange("41 82 20", "14 12 10");
}

static void a_long_read_is_answered_in_full(void **state)
{
    uint8_t got[1002];
    struct error err = {0};

    (void)state;
    start_arduino_programming();
    wire_exchange("55 00 00 20", "14 10");
    wire_send("74 03 E8 46 20");
    assert_int_equal(
        serial_read(wire.serial, got, sizeof got, clock_in(wire.serial->clock, 2 * SECOND), &err),
        OK);
    assert_int_equal(got[0], 0x14);
    assert_int_equal(got[1001], 0x10);
    wire_expect_silence();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, wire_take_away)
    const struct CMUnitTest tests[] = {
        TEST(its_own_bootloader_answers_first),
        TEST(every_byte_keeps_the_bootloader_a_second_longer),
        TEST(two_seconds_after_opening_it_is_the_sketch),
        TEST(a_capacitor_keeps_the_sketch_running),
        TEST(flashing_the_programmer_itself_ends_it),
        TEST(at_another_rate_it_hears_no_command),
        TEST(a_wrong_end_of_command_is_no_sync),
        TEST(chip_erase_and_other_strange_commands_are_unknown),
        TEST(enter_says_ok_to_a_target_that_does_not_answer),
        TEST(it_programs_reads_and_sets_fuses),
        TEST(without_set_device_every_word_is_a_page_of_its_own),
        TEST(it_doubles_the_eeprom_address),
        TEST(a_target_beyond_128_k_is_reached_by_universal),
        TEST(a_page_longer_than_its_buffer_hangs_the_sketch),
        TEST(spi_without_enter_hangs_the_sketch),
        TEST(a_long_read_is_answered_in_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
