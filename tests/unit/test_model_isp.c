/* STK500v2 programmers as a host sees them, byte for byte, with a bare AVR behind them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "isp_wire.h"

enum { FUSE_TIME = 9 * MILLISECOND };

static void start(const char *chip)
{
    wire_prepare(chip);
    wire_connect(&vmodel_stk500_programmer, NULL);
}

/* ---- STK500v2: whole messages are built around a body ---- */

static size_t frame(uint8_t *out, const uint8_t *body, size_t length)
{
    uint8_t checksum = 0;

    memcpy(out, ((uint8_t[]){0x1b, 0x55, (uint8_t)(length >> 8), (uint8_t)length, 0x0e}), 5);
    memcpy(out + 5, body, length);
    for (size_t i = 0; i < length + 5; i++)
        checksum ^= out[i];
    out[length + 5] = checksum;
    return length + 6;
}

static void send_body(const uint8_t *body, size_t length)
{
    uint8_t out[WIRE_MAX];

    wire_send_bytes(out, frame(out, body, length));
}

static void expect_body(const uint8_t *body, size_t length)
{
    uint8_t wanted[WIRE_MAX], got[WIRE_MAX];
    size_t total = frame(wanted, body, length);
    struct error err = {0};

    assert_int_equal(
        serial_read(wire.serial, got, total, clock_in(wire.serial->clock, 5 * SECOND), &err), OK);
    assert_memory_equal(got, wanted, total);
}

static void command(const char *request, const char *reply)
{
    uint8_t body[WIRE_MAX];

    send_body(body, wire_hex(request, body));
    expect_body(body, wire_hex(reply, body));
}

#define ENTER "10 C8 64 19 20 00 53 03 AC 53 00 00"

static void start_programming(const char *chip)
{
    start(chip);
    command(ENTER, "10 00");
}

/* PROGRAM_FLASH or PROGRAM_EEPROM with `size` bytes first, first + 1, … */
static void program(const char *head, uint8_t first, size_t size, const char *reply)
{
    uint8_t body[WIRE_MAX];
    size_t length = wire_hex(head, body);

    for (size_t i = 0; i < size; i++)
        body[length++] = (uint8_t)(first + i);
    send_body(body, length);
    expect_body(body, wire_hex(reply, body));
}

/* ---- worked exchanges ---- */

static void a_fresh_2560_gets_its_fuses_and_lock_bits(void **state)
{
    (void)state;
    start("atmega2560");
    wire_exchange("1B 01 00 01 0E 01 14", "1B 01 00 0B 0E 01 00 08 53 54 4B 35 30 30 5F 32 02");
    wire_exchange("1B 02 00 03 0E 02 9E 01 89", "1B 02 00 02 0E 02 00 17");
    wire_exchange("1B 03 00 02 0E 03 98 8F", "1B 03 00 03 0E 03 00 02 14");
    wire_exchange("1B 02 00 0C 0E 10 C8 64 19 20 00 53 03 AC 53 00 00 31",
                  "1B 02 00 02 0E 10 00 05");
    wire_exchange("1B 03 00 07 0E 12 37 01 AC 80 00 00 19", "1B 03 00 02 0E 12 00 06");
    wire_exchange("1B 04 00 05 0E 17 AC A4 00 FD F6", "1B 04 00 03 0E 17 00 00 05");
    wire_rest(FUSE_TIME);
    wire_exchange("1B 05 00 06 0E 18 04 50 08 00 00 52", "1B 05 00 04 0E 18 00 FD 00 F1");
    wire_exchange("1B 06 00 05 0E 17 AC A8 00 D8 DD", "1B 06 00 03 0E 17 00 00 07");
    wire_rest(FUSE_TIME);
    wire_exchange("1B 07 00 05 0E 17 AC A0 00 FF F3", "1B 07 00 03 0E 17 00 00 06");
    wire_rest(FUSE_TIME);
    wire_exchange("1B 08 00 06 0E 18 04 58 08 00 00 57", "1B 08 00 04 0E 18 00 D8 00 D9");
    wire_exchange("1B 09 00 06 0E 18 04 50 00 00 00 56", "1B 09 00 04 0E 18 00 FF 00 FF");
    wire_exchange("1B 0A 00 05 0E 19 AC E0 00 CF 80", "1B 0A 00 03 0E 19 00 00 05");
    wire_rest(FUSE_TIME);
    wire_exchange("1B 0B 00 06 0E 1A 04 58 00 00 00 5E", "1B 0B 00 04 0E 1A 00 CF 00 CF");
    assert_memory_equal(wire.fuses, ((uint8_t[]){0xff, 0xd8, 0xfd, 0xcf}), 4);
}

static void the_boot_section_of_a_2560_is_written_by_its_extended_address(void **state)
{
    (void)state;
    start_programming("atmega2560");
    wire_exchange("1B 0C 00 05 0E 06 80 01 F0 00 6B", "1B 0C 00 02 0E 06 00 1D");
    program("13 01 00 C1 0A 40 4C 20 00 00", 0, 256, "13 00");
    for (size_t i = 0; i < 256; i++)
        assert_int_equal(wire.flash[0x3e000 + i], i);
    command("06 80 01 F0 04", "06 00");
    command("14 00 04 20", "14 00 08 09 0A 0B 00");
    command("14 00 02 20", "14 00 0C 0D 00"); /* the address moved on */
}

static void the_signature_comes_by_either_command(void **state)
{
    (void)state;
    start_programming("atmega2560");
    wire_exchange("1B 03 00 06 0E 1B 04 30 00 00 00 3F", "1B 03 00 04 0E 1B 00 1E 00 17");
    wire_exchange("1B 04 00 06 0E 1B 04 30 00 01 00 39", "1B 04 00 04 0E 1B 00 98 00 96");
    wire_exchange("1B 05 00 06 0E 1B 04 30 00 02 00 3B", "1B 05 00 04 0E 1B 00 01 00 0E");
    wire_exchange("1B 03 00 08 0E 1D 04 04 00 30 00 00 00 33",
                  "1B 03 00 07 0E 1D 00 00 30 00 1E 00 22");
}

static void no_echo_is_command_failed(void **state)
{
    (void)state;
    wire_prepare("atmega2560");
    memcpy(wire.fuses, (uint8_t[]){0xf0, 0xd8, 0xfd, 0xff}, 4); /* a clock that is not there */
    wire_connect(&vmodel_stk500_programmer, NULL);
    wire_exchange("1B 02 00 0C 0E 10 C8 64 19 20 00 53 03 AC 53 00 00 31",
                  "1B 02 00 02 0E 10 C0 C5");
}

static void an_avrisp_signs_on_as_one_and_has_no_starter_kit_voltages(void **state)
{
    (void)state;
    wire_prepare("atmega328p");
    wire_connect(&vmodel_stk500_programmer, "avrisp");
    command("01", "01 00 08 41 56 52 49 53 50 5F 32");
    command("03 94", "03 00 32");
    command("03 95", "03 C0");
    command("02 94 21", "02 C0");
}

static void no_other_variant_exists(void **state)
{
    (void)state;
    wire_prepare("atmega328p");
    wire.config.variant = "stk600";
    assert_null(vmodel_stk500_programmer.create(&wire.config));
    wire.config.variant = NULL;
    wire_connect(&vmodel_stk500_programmer, NULL);
}

/* ---- message layer ---- */

static void a_damaged_message_is_answered_and_not_carried_out(void **state)
{
    (void)state;
    start("atmega2560");
    wire_exchange("1B 07 00 03 0E 02 98 00 00", "1B 07 00 02 0E B0 C1 61");
    command("03 98", "03 00 02");
}

static void noise_before_a_message_is_skipped(void **state)
{
    (void)state;
    start("atmega2560");
    wire_exchange("00 1B 01 00 00 1B 01 02 00 1B 01 00 01 0D 1B 01 00 01 0E 01 14",
                  "1B 01 00 0B 0E 01 00 08 53 54 4B 35 30 30 5F 32 02");
}

static void a_message_sent_before_the_answer_is_lost(void **state)
{
    (void)state;
    start("atmega2560");
    wire_send("1B 02 00 0C 0E 10 C8 64 19 20 00 53 03 AC 53 00 00 31 1B 03 00 02 0E 03 98 8F");
    wire_expect("1B 02 00 02 0E 10 00 05");
    wire_expect_silence();
}

static void an_unknown_command_says_so(void **state)
{
    (void)state;
    start("atmega2560");
    command("2F 01 02", "2F C9");
}

static void a_command_that_is_too_short_fails(void **state)
{
    (void)state;
    start("atmega2560");
    command("06 00 00", "06 C0");
    command("10 C8", "10 C0");
}

static void opening_the_port_resets_nothing(void **state)
{
    (void)state;
    start_programming("atmega2560");
    wire_close();
    wire_open(115200);
    command("1B 04 30 00 00 00", "1B 00 1E 00");
}

static void the_nth_message_can_be_made_to_fail(void **state)
{
    (void)state;
    wire_prepare("atmega328p");
    wire.config.faults.nak = 2;
    wire_connect(&vmodel_stk500_programmer, NULL);
    command("03 90", "03 00 02");
    command("03 90", "03 C0");
    command("03 90", "03 00 02");
}

/* ---- commands ---- */

static void parameters_that_do_not_exist_or_cannot_be_set_fail(void **state)
{
    (void)state;
    start("atmega2560");
    command("03 88", "03 C0");
    command("03 20", "03 C0");
    command("02 91 05", "02 C0");
    command("03 91", "03 00 02");
}

static void programming_needs_enter(void **state)
{
    (void)state;
    start("atmega328p");
    command("14 00 02 20", "14 C0");
    command("17 AC A0 00 FF", "17 C0");
    program("13 00 80 C1 06 40 4C 20 FF FF", 0, 128, "13 C0");
    command(ENTER, "10 00");
    command("14 00 02 20", "14 00 FF FF 00");
    command("11 01 01", "11 00");
    command("14 00 02 20", "14 C0");
}

static void sck_faster_than_the_fresh_chip_is_refused_and_slower_cures_it(void **state)
{
    (void)state;
    start("atmega2560");
    command("02 98 01", "02 00"); /* 460.8 kHz */
    command(ENTER, "10 C0");
    command("02 98 02", "02 00"); /* 115.2 kHz */
    command(ENTER, "10 00");
}

static void an_avrisp_clocks_at_half_the_rate(void **state)
{
    (void)state;
    wire_prepare("atmega2560");
    wire_connect(&vmodel_stk500_programmer, "avrisp");
    command("02 98 01", "02 00"); /* 230.4 kHz */
    command(ENTER, "10 00");
}

static void enter_compares_the_byte_that_it_was_told_to(void **state)
{
    (void)state;
    start("atmega2560");
    command("10 C8 64 19 04 00 69 03 AC 53 00 00", "10 C0"); /* as for an AT89 */
    command("10 C8 64 19 04 00 53 04 AC 53 00 00", "10 C0");
    command("10 C8 64 19 04 00 00 04 AC 53 00 00", "10 00");
}

static void the_extended_address_is_sent_again_after_enter(void **state)
{
    (void)state;
    start_programming("atmega2560");
    wire.flash[0x3e002] = 0x5a;
    command("06 80 01 F0 00", "06 00");
    command("14 00 02 20", "14 00 FF FF 00");
    command(ENTER, "10 00");
    command("14 00 02 20", "14 00 5A FF 00");
}

/* READ of 64 bytes: 256 bytes by SPI, 10 and 73 by wire. */
static void spi_takes_the_time_that_sck_says(void **state)
{
    static const struct {
        const char *set;
        uint64_t byte_ns;
    } rows[] = {{"02 98 02", 69444}, {"02 98 03", 138889}, {"02 98 FE", 6636285}};
    uint8_t body[ISP_ANSWER_MAX] = {0x14, 0};

    (void)state;
    start_programming("atmega328p");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        command(rows[i].set, "02 00");
        uint64_t began = clock_now(wire.serial->clock);
        wire_send("1B 55 00 04 0E 14 00 40 20 30");
        memset(body + 2, 0xff, 64);
        body[66] = 0;
        expect_body(body, 67);
        uint64_t took = clock_now(wire.serial->clock) - began;
        uint64_t wanted = 256 * rows[i].byte_ns / 1000 + 83 * 10000000 / 115200;
        assert_in_range(took, wanted - wanted / 500, wanted + wanted / 500);
    }
}

static void enter_without_its_waits_is_too_early(void **state)
{
    (void)state;
    start("atmega2560");
    command("10 C8 00 00 20 00 53 03 AC 53 00 00", "10 C0");
    command("10 C8 00 14 01 00 53 03 AC 53 00 00", "10 00");
}

static void enter_that_cannot_end_in_time_times_out(void **state)
{
    (void)state;
    start("atmega2560");
    command("10 40 64 19 20 00 53 03 AC 53 00 00", "10 80");
    command("10 C8 64 19 20 00 53 05 AC 53 00 00", "10 CA");
}

static void enter_that_looks_at_no_byte_always_succeeds(void **state)
{
    (void)state;
    wire_prepare("atmega328p");
    memcpy(wire.fuses, (uint8_t[]){0xff, 0x99, 0xfd, 0xff}, 4); /* debugWIRE */
    wire_connect(&vmodel_stk500_programmer, NULL);
    command(ENTER, "10 C0");
    command("10 C8 64 19 20 00 53 00 AC 53 00 00", "10 00");
    command("1B 04 30 00 00 00", "1B 00 FF 00");
}

static void reset_of_the_other_polarity_reaches_no_avr(void **state)
{
    (void)state;
    start("atmega2560");
    command("02 9E 00", "02 00");
    command(ENTER, "10 C0");
    command("02 9E 01", "02 00");
    command(ENTER, "10 00");
}

static void new_fuses_count_after_leave(void **state)
{
    (void)state;
    start_programming("atmega328p");
    command("17 AC A0 00 FF", "17 00 00");
    wire_rest(FUSE_TIME);
    command("11 01 01", "11 00");
    command("02 98 00", "02 00"); /* 1.8432 MHz: too fast for 1 MHz, not for 16 */
    command(ENTER, "10 00");
    command("1B 04 30 00 01 00", "1B 00 95 00");
}

static void a_fuse_read_right_after_a_write_meets_a_busy_chip(void **state)
{
    (void)state;
    start_programming("atmega328p");
    command("17 AC A0 00 E2", "17 00 00");
    command("18 04 50 00 00 00", "18 00 FF 00");
    wire_rest(FUSE_TIME);
    command("18 04 50 00 00 00", "18 00 E2 00");
}

static void an_erase_that_outlasts_its_limit_is_a_rdy_bsy_timeout(void **state)
{
    (void)state;
    start_programming("atmega1284p"); /* 55 ms */
    command("12 09 01 AC 80 00 00", "12 81");
    command("12 37 01 AC 80 00 00", "12 00");
}

static void a_block_beyond_the_page_comes_in_at_its_start(void **state)
{
    (void)state;
    start_programming("atmega328p");
    command("06 00 00 00 00", "06 00");
    program("13 01 00 C1 06 40 4C 20 FF FF", 0, 256, "13 00");
    for (size_t i = 0; i < 128; i++)
        assert_int_equal(wire.flash[i], 128 + i);
    assert_int_equal(wire.flash[128], 0xff);
}

static void a_page_can_come_in_two_commands(void **state)
{
    (void)state;
    start_programming("atmega32");
    command("06 00 00 00 40", "06 00"); /* page 1: byte 0x80 */
    program("13 00 40 21 06 40 4C 20 FF FF", 1, 64, "13 00");
    assert_int_equal(wire.flash[0x80], 0xff);
    program("13 00 40 A1 06 40 4C 20 FF FF", 65, 64, "13 00");
    for (size_t i = 0; i < 128; i++)
        assert_int_equal(wire.flash[0x80 + i], 1 + i);
}

static void sizes_that_do_not_fit_the_message_are_illegal(void **state)
{
    (void)state;
    start_programming("atmega328p");
    program("13 00 40 C1 06 40 4C 20 FF FF", 0, 63, "13 CA");
    program("13 00 00 C1 06 40 4C 20 FF FF", 0, 0, "13 C0"); /* not one byte of data: too short */
    command("14 01 11 20", "14 CA");
    command("18 05 50 00 00 00", "18 CA");
    command("1D 04 04 00 30 00 00", "1D CA");
}

static void value_polling_of_a_stuck_byte_times_out(void **state)
{
    (void)state;
    wire_prepare("atmega32");
    wire.config.flash.stuck = 0;
    wire_connect(&vmodel_stk500_programmer, NULL);
    command(ENTER, "10 00");
    program("13 00 80 A1 06 40 4C 20 FF FF", 1, 128, "13 80");
}

static void eeprom_is_written_by_pages_or_by_bytes(void **state)
{
    (void)state;
    start_programming("atmega328p");
    command("06 00 00 00 08", "06 00");
    program("15 00 04 C1 14 C1 C2 A0 FF FF", 0x21, 4, "15 00");
    assert_memory_equal(wire.eeprom + 8, "\x21\x22\x23\x24", 4);
    command("06 00 00 00 08", "06 00");
    command("16 00 05 A0", "16 00 21 22 23 24 FF 00");
    wire_take_away(NULL);
    start_programming("atmega32");
    command("06 00 00 01 00", "06 00");
    program("15 00 04 84 0A C0 00 A0 FF FF", 0xfd, 4, "15 00");
    assert_memory_equal(wire.eeprom + 0x100, "\xfd\xfe\xff\x00", 4);
}

static void spi_multi_pads_with_zeros_and_keeps_what_was_asked(void **state)
{
    (void)state;
    start_programming("atmega2560");
    command("1D 02 01 03 30 00", "1D 00 1E 00");
    command("1D 04 00 00 AC 80 00 00", "1D 00 00");
}

static void power_loss_forgets_programming_mode_and_parameters(void **state)
{
    (void)state;
    start_programming("atmega328p");
    command("02 98 09", "02 00");
    virtual_reset(wire.device, VRESET_POWER);
    command("14 00 02 20", "14 C0");
    command("03 98", "03 00 02");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, wire_take_away)
    const struct CMUnitTest tests[] = {
        TEST(a_fresh_2560_gets_its_fuses_and_lock_bits),
        TEST(the_boot_section_of_a_2560_is_written_by_its_extended_address),
        TEST(the_signature_comes_by_either_command),
        TEST(no_echo_is_command_failed),
        TEST(an_avrisp_signs_on_as_one_and_has_no_starter_kit_voltages),
        TEST(no_other_variant_exists),
        TEST(a_damaged_message_is_answered_and_not_carried_out),
        TEST(noise_before_a_message_is_skipped),
        TEST(a_message_sent_before_the_answer_is_lost),
        TEST(an_unknown_command_says_so),
        TEST(a_command_that_is_too_short_fails),
        TEST(opening_the_port_resets_nothing),
        TEST(the_nth_message_can_be_made_to_fail),
        TEST(parameters_that_do_not_exist_or_cannot_be_set_fail),
        TEST(programming_needs_enter),
        TEST(sck_faster_than_the_fresh_chip_is_refused_and_slower_cures_it),
        TEST(an_avrisp_clocks_at_half_the_rate),
        TEST(enter_compares_the_byte_that_it_was_told_to),
        TEST(the_extended_address_is_sent_again_after_enter),
        TEST(spi_takes_the_time_that_sck_says),
        TEST(enter_without_its_waits_is_too_early),
        TEST(enter_that_cannot_end_in_time_times_out),
        TEST(enter_that_looks_at_no_byte_always_succeeds),
        TEST(reset_of_the_other_polarity_reaches_no_avr),
        TEST(new_fuses_count_after_leave),
        TEST(a_fuse_read_right_after_a_write_meets_a_busy_chip),
        TEST(an_erase_that_outlasts_its_limit_is_a_rdy_bsy_timeout),
        TEST(a_block_beyond_the_page_comes_in_at_its_start),
        TEST(a_page_can_come_in_two_commands),
        TEST(sizes_that_do_not_fit_the_message_are_illegal),
        TEST(value_polling_of_a_stuck_byte_times_out),
        TEST(eeprom_is_written_by_pages_or_by_bytes),
        TEST(spi_multi_pads_with_zeros_and_keeps_what_was_asked),
        TEST(power_loss_forgets_programming_mode_and_parameters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
