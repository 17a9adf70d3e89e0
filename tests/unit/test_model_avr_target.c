/* The bare AVR behind ISP programmers: what a data sheet forbids must not work here either. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "models/avr_target.h"

enum { SLOW = 100000, PAGE_TIME = 4500 };

struct chip_on_bench {
    struct avr_target target;
    struct vconfig config;
    uint8_t flash[0x40000], eeprom[4096], fuses[4];
    uint64_t now;
    uint32_t sck;
};

static struct chip_on_bench bench; /* big, and every test starts it anew */

static void power_up(const char *chip)
{
    memset(&bench, 0xff, sizeof bench);
    bench.now = SECOND;
    bench.sck = SLOW;
    bench.config = (struct vconfig){
        .chip = chip_find(chip),
        .flash = {bench.flash, sizeof bench.flash, UINT64_MAX},
        .eeprom = {bench.eeprom, sizeof bench.eeprom, UINT64_MAX},
        .fuses = {bench.fuses, sizeof bench.fuses, UINT64_MAX},
        .fresh = true,
    };
    assert_true(avr_target_init(&bench.target, &bench.config));
    bench.target.paced = true;
}

static uint8_t shift(uint8_t mosi)
{
    return avr_target_spi(&bench.target, mosi, bench.sck, bench.now);
}

static uint8_t instruction(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    shift(a);
    shift(b);
    shift(c);
    return shift(d);
}

static void reset_pulse(void)
{
    avr_target_reset_pin(&bench.target, false, bench.now);
    bench.now += MILLISECOND;
    avr_target_reset_pin(&bench.target, true, bench.now);
}

/* True if the third byte of Programming Enable brings the 53 back. */
static bool enable(void)
{
    uint8_t echo;

    shift(0xac);
    shift(0x53);
    echo = shift(0);
    shift(0);
    return echo == 0x53;
}

static bool enter(void)
{
    reset_pulse();
    bench.now += 20 * MILLISECOND;
    return enable();
}

static void start(const char *chip)
{
    power_up(chip);
    assert_true(enter());
}

/* Waits longer than any write. */
static void rest(void)
{
    bench.now += 60 * MILLISECOND;
}

static void load_word(uint8_t at, uint16_t word)
{
    instruction(0x40, 0, at, (uint8_t)word);
    instruction(0x48, 0, at, (uint8_t)(word >> 8));
}

static void write_page(uint16_t word_address)
{
    instruction(0x4c, (uint8_t)(word_address >> 8), (uint8_t)word_address, 0);
}

static void expect_violation(const char *what)
{
    assert_int_equal(bench.target.violations, 1);
    assert_string_equal(bench.target.violation, what);
}

/* ---- entering ---- */

static void each_byte_comes_back_while_the_next_one_goes_out(void **state)
{
    (void)state;
    start("atmega2560");
    shift(0x30);
    assert_int_equal(shift(0x5a), 0x30);
    assert_int_equal(shift(0x01), 0x5a);
    assert_int_equal(shift(0), 0x98);
    assert_int_equal(bench.target.violations, 0);
}

static void nothing_answers_while_reset_is_high(void **state)
{
    (void)state;
    power_up("atmega2560");
    assert_false(enable());
    assert_int_equal(instruction(0x30, 0, 0, 0), 0xff);
}

static void nothing_answers_before_programming_enable(void **state)
{
    (void)state;
    power_up("atmega2560");
    reset_pulse();
    rest();
    assert_int_equal(instruction(0x30, 0, 0, 0), 0xff);
    assert_true(enable());
    assert_int_equal(instruction(0x30, 0, 0, 0), 0x1e);
}

static void programming_enable_out_of_phase_is_not_heard(void **state)
{
    (void)state;
    power_up("atmega2560");
    reset_pulse();
    rest();
    shift(0); /* one byte too many: AC is the second of its instruction now */
    assert_false(enable());
    assert_true(enter());
}

static void programming_enable_before_20_ms_fails_until_the_next_reset(void **state)
{
    (void)state;
    power_up("atmega2560");
    reset_pulse();
    bench.now += 20 * MILLISECOND - 1;
    assert_false(enable());
    expect_violation("Programming Enable before RESET was low for 20 ms");
    rest();
    assert_false(enable());
    assert_true(enter());
}

static void waits_take_no_time_when_not_paced(void **state)
{
    (void)state;
    power_up("atmega2560");
    bench.target.paced = false;
    reset_pulse();
    assert_true(enable());
    load_word(0, 0x1234);
    write_page(0);
    assert_int_equal(instruction(0x20, 0, 0, 0), 0x34);
    assert_int_equal(bench.target.violations, 0);
}

/* ---- the clock ---- */

static void sck_must_stay_below_a_quarter_of_the_factory_clock(void **state)
{
    (void)state;
    power_up("atmega2560"); /* lfuse 62: 8 MHz divided by 8 */
    bench.sck = 249999;
    assert_true(enter());
    bench.sck = 250000;
    assert_false(enter());
    expect_violation("SCK is too fast for the clock of the chip");
}

static void a_lost_bit_is_cured_by_reset_alone(void **state)
{
    (void)state;
    start("atmega2560");
    bench.sck = 1000000;
    shift(0x30);
    bench.sck = SLOW;
    assert_int_equal(instruction(0x30, 0, 0, 0), 0xff);
    assert_true(enter());
    assert_int_equal(instruction(0x30, 0, 0, 0), 0x1e);
}

static void a_crystal_counts_from_the_next_reset_on(void **state)
{
    (void)state;
    start("atmega2560");
    instruction(0xac, 0xa0, 0, 0xff);
    rest();
    assert_int_equal(instruction(0x50, 0, 0, 0), 0xff);
    assert_int_equal(bench.target.clock_hz, 1000000);
    assert_true(enter());
    assert_int_equal(bench.target.clock_hz, 16000000);
    bench.sck = 16000000 / 6 - 1;
    assert_true(enter());
    bench.sck = 16000000 / 6;
    assert_false(enter());
}

static void an_external_clock_that_is_not_there_silences_the_chip(void **state)
{
    (void)state;
    start("atmega328p");
    instruction(0xac, 0xa0, 0, 0xe0);
    rest();
    assert_int_equal(instruction(0x50, 0, 0, 0), 0xe0);
    assert_false(enter());
}

static void clock_by_lfuse(void **state)
{
    static const struct {
        const char *chip;
        uint8_t lfuse;
        uint32_t hz;
    } rows[] = {
        {"atmega328p", 0x62, 1000000}, {"atmega328p", 0xe2, 8000000},
        {"atmega328p", 0xe3, 128000},  {"atmega328p", 0x7f, 2000000},
        {"atmega32", 0xe1, 1000000},   {"atmega32", 0xe4, 8000000},
        {"atmega32", 0x3f, 16000000},  {"at90usb1286", 0x5e, 2000000},
        {"attiny85", 0xf1, 16000000},  {"atmega32u4", 0x52, 1000000},
        {"atmega328pb", 0xf7, 0},      {"atmega2560", 0xf7, 16000000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        power_up(rows[i].chip);
        bench.fuses[AVR_LFUSE] = rows[i].lfuse;
        avr_target_power_on(&bench.target);
        assert_int_equal(bench.target.clock_hz, rows[i].hz);
    }
}

/* ---- flash ---- */

static void a_page_write_only_clears_bits(void **state)
{
    (void)state;
    start("atmega328p");
    load_word(0, 0xf00f);
    write_page(0);
    rest();
    load_word(0, 0x0ff0);
    write_page(0);
    rest();
    assert_int_equal(instruction(0x20, 0, 0, 0), 0x00);
    assert_int_equal(instruction(0x28, 0, 0, 0), 0x00);
}

static void the_page_buffer_is_blank_after_a_write(void **state)
{
    (void)state;
    start("atmega328p");
    load_word(3, 0x1234);
    write_page(0);
    rest();
    write_page(64);
    rest();
    assert_int_equal(bench.flash[6] | bench.flash[7] << 8, 0x1234);
    for (size_t i = 128; i < 256; i++)
        assert_int_equal(bench.flash[i], 0xff);
}

static void words_beyond_the_page_come_in_at_its_start(void **state)
{
    (void)state;
    start("atmega328p"); /* pages of 64 words */
    load_word(64 + 1, 0x4321);
    write_page(0);
    assert_int_equal(bench.flash[2] | bench.flash[3] << 8, 0x4321);
}

static void a_low_byte_without_its_high_byte_is_not_written(void **state)
{
    (void)state;
    start("atmega328p");
    instruction(0x40, 0, 0, 0x12);
    write_page(0);
    assert_int_equal(bench.flash[0], 0xff);
}

static void an_instruction_during_a_write_is_ignored(void **state)
{
    (void)state;
    start("atmega328p");
    load_word(0, 0x1234);
    write_page(0);
    bench.now += PAGE_TIME - 1;
    instruction(0x40, 0, 0, 0x55);
    expect_violation("an instruction during a write");
    bench.now += 1;
    instruction(0x48, 0, 0, 0x66);
    write_page(64);
    assert_int_equal(bench.flash[128], 0xff); /* not 55: it never arrived */
    assert_int_equal(bench.flash[129], 0x66);
}

static void rdy_bsy_tells_when_a_write_is_over(void **state)
{
    (void)state;
    start("atmega328p");
    write_page(0);
    bench.now += PAGE_TIME - 1;
    assert_int_equal(instruction(0xf0, 0, 0, 0) & 1, 1);
    bench.now += 1;
    assert_int_equal(instruction(0xf0, 0, 0, 0) & 1, 0);
    assert_int_equal(bench.target.violations, 0);
}

static void atmega32_is_polled_by_value_and_knows_no_rdy_bsy(void **state)
{
    (void)state;
    start("atmega32");
    load_word(0, 0x1234);
    write_page(0);
    assert_int_equal(instruction(0x20, 0, 0, 0), 0xff);
    assert_int_equal(bench.target.violations, 0);
    assert_int_equal(instruction(0xf0, 0, 0, 0) & 1, 0); /* the echo: looks ready, and is not */
    expect_violation("an instruction that this part does not have");
    bench.now += PAGE_TIME;
    assert_int_equal(instruction(0x20, 0, 0, 0), 0x34);
}

static void reading_during_a_write_is_no_polling_where_rdy_bsy_exists(void **state)
{
    (void)state;
    start("atmega328p");
    load_word(0, 0x1234);
    write_page(0);
    assert_int_equal(instruction(0x20, 0, 0, 0), 0xff);
    expect_violation("an instruction during a write");
}

static void the_upper_half_needs_the_extended_address(void **state)
{
    (void)state;
    start("atmega2560");
    instruction(0x4d, 0, 1, 0);
    load_word(0, 0x1234);
    write_page(0xf000);
    rest();
    assert_int_equal(bench.flash[0x3e000] | bench.flash[0x3e001] << 8, 0x1234);
    assert_int_equal(bench.flash[0x1e000], 0xff);
    assert_int_equal(instruction(0x20, 0xf0, 0, 0), 0x34);
    assert_true(enter());
    assert_int_equal(instruction(0x20, 0xf0, 0, 0), 0xff); /* Enable made it 0 again */
}

static void parts_of_128_k_have_no_extended_address(void **state)
{
    (void)state;
    start("atmega1284p");
    instruction(0x4d, 0, 1, 0);
    expect_violation("an instruction that this part does not have");
}

static void a_stuck_byte_keeps_its_ones(void **state)
{
    (void)state;
    power_up("atmega328p");
    bench.config.flash.stuck = 2;
    assert_true(avr_target_init(&bench.target, &bench.config));
    assert_true(enter());
    load_word(0, 0);
    load_word(1, 0);
    write_page(0);
    assert_memory_equal(bench.flash, ((uint8_t[]){0, 0, 0xff, 0}), 4);
}

/* ---- EEPROM ---- */

static void an_eeprom_page_write_touches_only_what_was_loaded(void **state)
{
    (void)state;
    start("atmega328p");
    bench.eeprom[4] = 0x00;
    bench.eeprom[5] = 0x77;
    instruction(0xc1, 0, 0, 0x5a);
    instruction(0xc2, 0, 4, 0);
    assert_int_equal(bench.eeprom[4], 0x5a); /* erased first: bits went 0 to 1 */
    assert_int_equal(bench.eeprom[5], 0x77);
    rest();
    assert_int_equal(instruction(0xa0, 0, 4, 0), 0x5a);
}

static void atmega32_writes_eeprom_by_bytes_only(void **state)
{
    (void)state;
    start("atmega32");
    instruction(0xc1, 0, 0, 0x5a);
    expect_violation("an instruction that this part does not have");
    instruction(0xc0, 0x01, 0x02, 0x5a);
    bench.now += 9 * MILLISECOND - 1;
    assert_int_equal(instruction(0xa0, 0x01, 0x02, 0), 0xff);
    assert_int_equal(bench.target.violations, 1); /* value polling is none */
    bench.now += 1;
    assert_int_equal(instruction(0xa0, 0x01, 0x02, 0), 0x5a);
}

/* ---- erase, fuses, lock ---- */

static void chip_erase_blanks_everything_and_opens_the_lock(void **state)
{
    (void)state;
    start("atmega328p");
    bench.flash[0x7fff] = 0;
    bench.eeprom[0] = 0;
    instruction(0xac, 0xe0, 0, 0xcc);
    rest();
    instruction(0xac, 0x80, 0, 0);
    bench.now += 9 * MILLISECOND - 1;
    assert_int_equal(instruction(0xf0, 0, 0, 0) & 1, 1);
    rest();
    assert_int_equal(bench.flash[0x7fff], 0xff);
    assert_int_equal(bench.eeprom[0], 0xff);
    assert_int_equal(instruction(0x58, 0, 0, 0), 0xff);
}

static void eesave_spares_the_eeprom_as_soon_as_it_is_programmed(void **state)
{
    (void)state;
    start("atmega328p");
    bench.eeprom[0] = 0x12;
    bench.flash[0] = 0x12;
    instruction(0xac, 0xa8, 0, 0xd1);
    rest();
    instruction(0xac, 0x80, 0, 0);
    assert_int_equal(bench.flash[0], 0xff);
    assert_int_equal(bench.eeprom[0], 0x12);
}

static void bits_that_do_not_exist_read_one(void **state)
{
    (void)state;
    start("atmega2560");
    instruction(0xac, 0xa4, 0, 0x05);
    rest();
    assert_int_equal(instruction(0x50, 0x08, 0, 0), 0xfd);
}

static void atmega32_has_no_extended_fuse(void **state)
{
    (void)state;
    start("atmega32");
    instruction(0xac, 0xa4, 0, 0x00);
    expect_violation("an instruction that this part does not have");
}

static void spien_cannot_be_unprogrammed(void **state)
{
    (void)state;
    start("atmega2560");
    instruction(0xac, 0xa8, 0, 0xff);
    rest();
    assert_int_equal(instruction(0x58, 0x08, 0, 0), 0xdf);
}

static void rstdisbl_and_dwen_end_serial_programming_for_good(void **state)
{
    static const struct {
        const char *chip;
        uint8_t hfuse;
    } rows[] = {
        {"atmega328p", 0x59}, {"atmega328p", 0x99}, {"at90usb162", 0x59}, {"attiny85", 0x5f}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start(rows[i].chip);
        instruction(0xac, 0xa8, 0, rows[i].hfuse);
        rest();
        assert_int_equal(instruction(0x58, 0x08, 0, 0), rows[i].hfuse); /* still listens */
        assert_false(enter());
        avr_target_power_on(&bench.target);
        assert_false(enter());
    }
}

static void the_same_bits_are_harmless_where_they_are_jtag(void **state)
{
    (void)state;
    start("atmega2560");
    instruction(0xac, 0xa8, 0, 0x19); /* OCDEN and JTAGEN */
    rest();
    assert_true(enter());
}

static void lock_bits_only_go_to_zero(void **state)
{
    (void)state;
    start("atmega2560");
    instruction(0xac, 0xe0, 0, 0x0f);
    rest();
    assert_int_equal(instruction(0x58, 0, 0, 0), 0xcf);
    instruction(0xac, 0xe0, 0, 0xff);
    rest();
    assert_int_equal(instruction(0x58, 0, 0, 0), 0xcf);
}

static void lock_mode_2_ignores_writes(void **state)
{
    (void)state;
    start("atmega328p");
    instruction(0xac, 0xe0, 0, 0xfe);
    rest();
    load_word(0, 0x1234);
    write_page(0);
    instruction(0xc0, 0, 0, 0x12);
    instruction(0xac, 0xa0, 0, 0xff);
    assert_int_equal(bench.target.violations, 3);
    assert_int_equal(bench.flash[0], 0xff);
    assert_int_equal(bench.eeprom[0], 0xff);
    assert_int_equal(instruction(0x50, 0, 0, 0), 0x62);
    bench.flash[0] = 0x77;
    assert_int_equal(instruction(0x20, 0, 0, 0), 0x77);
}

static void lock_mode_3_hides_flash_and_eeprom_until_the_chip_is_erased(void **state)
{
    (void)state;
    power_up("atmega328p");
    bench.flash[0] = bench.eeprom[0] = 0x12;
    bench.config.faults.locked = true;
    assert_true(avr_target_init(&bench.target, &bench.config));
    assert_true(enter());
    assert_int_equal(instruction(0x20, 0, 0, 0), 0xff);
    assert_int_equal(instruction(0xa0, 0, 0, 0), 0xff);
    assert_int_equal(instruction(0x58, 0, 0, 0) & 3, 0);
    instruction(0xac, 0x80, 0, 0);
    rest();
    load_word(0, 0x1234);
    write_page(0);
    rest();
    assert_int_equal(instruction(0x20, 0, 0, 0), 0x34);
}

/* ---- identity ---- */

static void signature_and_calibration(void **state)
{
    (void)state;
    start("atmega328p");
    assert_int_equal(instruction(0x30, 0, 0, 0), 0x1e);
    assert_int_equal(instruction(0x30, 0, 1, 0), 0x95);
    assert_int_equal(instruction(0x30, 0, 2, 0), 0x0f);
    assert_int_not_equal(instruction(0x38, 0, 0, 0), 0xff);
    assert_int_equal(instruction(0x38, 0, 1, 0), 0xff);
    start("atmega32"); /* one for each RC frequency */
    assert_int_not_equal(instruction(0x38, 0, 3, 0), 0xff);
}

static void wrong_id_answers_as_another_chip(void **state)
{
    (void)state;
    power_up("atmega2560");
    bench.config.faults.wrong_id = true;
    assert_true(avr_target_init(&bench.target, &bench.config));
    assert_true(enter());
    assert_int_equal(instruction(0x30, 0, 0, 0), 0x1e);
    assert_false(instruction(0x30, 0, 1, 0) == 0x98 && instruction(0x30, 0, 2, 0) == 0x01);
}

static void every_chip_with_serial_programming_starts_with_factory_fuses(void **state)
{
    (void)state;
    for (size_t i = 0; avr_target_chips[i]; i++) {
        start(avr_target_chips[i]);
        assert_int_equal(instruction(0x50, 0, 0, 0), bench.config.chip->avr->lfuse_default);
        assert_int_equal(instruction(0x58, 8, 0, 0), bench.config.chip->avr->hfuse_default);
        assert_int_equal(instruction(0x58, 0, 0, 0), 0xff);
    }
}

static void an_lgt8f328p_has_no_serial_programming(void **state)
{
    (void)state;
    power_up("atmega328p");
    bench.config.chip = chip_find("lgt8f328p");
    assert_false(avr_target_init(&bench.target, &bench.config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_comes_back_while_the_next_one_goes_out),
        cmocka_unit_test(nothing_answers_while_reset_is_high),
        cmocka_unit_test(nothing_answers_before_programming_enable),
        cmocka_unit_test(programming_enable_out_of_phase_is_not_heard),
        cmocka_unit_test(programming_enable_before_20_ms_fails_until_the_next_reset),
        cmocka_unit_test(waits_take_no_time_when_not_paced),
        cmocka_unit_test(sck_must_stay_below_a_quarter_of_the_factory_clock),
        cmocka_unit_test(a_lost_bit_is_cured_by_reset_alone),
        cmocka_unit_test(a_crystal_counts_from_the_next_reset_on),
        cmocka_unit_test(an_external_clock_that_is_not_there_silences_the_chip),
        cmocka_unit_test(clock_by_lfuse),
        cmocka_unit_test(a_page_write_only_clears_bits),
        cmocka_unit_test(the_page_buffer_is_blank_after_a_write),
        cmocka_unit_test(words_beyond_the_page_come_in_at_its_start),
        cmocka_unit_test(a_low_byte_without_its_high_byte_is_not_written),
        cmocka_unit_test(an_instruction_during_a_write_is_ignored),
        cmocka_unit_test(rdy_bsy_tells_when_a_write_is_over),
        cmocka_unit_test(atmega32_is_polled_by_value_and_knows_no_rdy_bsy),
        cmocka_unit_test(reading_during_a_write_is_no_polling_where_rdy_bsy_exists),
        cmocka_unit_test(the_upper_half_needs_the_extended_address),
        cmocka_unit_test(parts_of_128_k_have_no_extended_address),
        cmocka_unit_test(a_stuck_byte_keeps_its_ones),
        cmocka_unit_test(an_eeprom_page_write_touches_only_what_was_loaded),
        cmocka_unit_test(atmega32_writes_eeprom_by_bytes_only),
        cmocka_unit_test(chip_erase_blanks_everything_and_opens_the_lock),
        cmocka_unit_test(eesave_spares_the_eeprom_as_soon_as_it_is_programmed),
        cmocka_unit_test(bits_that_do_not_exist_read_one),
        cmocka_unit_test(atmega32_has_no_extended_fuse),
        cmocka_unit_test(spien_cannot_be_unprogrammed),
        cmocka_unit_test(rstdisbl_and_dwen_end_serial_programming_for_good),
        cmocka_unit_test(the_same_bits_are_harmless_where_they_are_jtag),
        cmocka_unit_test(lock_bits_only_go_to_zero),
        cmocka_unit_test(lock_mode_2_ignores_writes),
        cmocka_unit_test(lock_mode_3_hides_flash_and_eeprom_until_the_chip_is_erased),
        cmocka_unit_test(signature_and_calibration),
        cmocka_unit_test(wrong_id_answers_as_another_chip),
        cmocka_unit_test(every_chip_with_serial_programming_starts_with_factory_fuses),
        cmocka_unit_test(an_lgt8f328p_has_no_serial_programming),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
