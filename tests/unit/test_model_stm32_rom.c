/* The virtual STM32 ROM loader against AN3155: worked exchanges byte for byte, autobaud, frames,
 * address windows, and every way a careless host is left without an answer. */
#include "stm32_bench.h"

#include <string.h>

#include "base/bytes.h"
#include "link/serial.h"

#define LIST_F1 "79 0B 22 00 01 02 11 21 31 43 63 73 82 92 79"
#define LIST    "79 0B 31 00 01 02 11 21 31 44 63 73 82 92 79"

static void expect_silence(struct stm32_bench *s)
{
    bench_hears_nothing(s->bench, 3 * SECOND);
}

/* ---- worked exchanges ---- */

/* A host that writes, reads back and starts 1300 bytes on a medium-density F103. */
static void f103_speaks_the_worked_exchange(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    uint8_t file[1300], back[256];
    bench_ramp(file, sizeof file);
    bench_exchange(s->bench, "01 FE", "79 22 00 00 79");
    bench_exchange(s->bench, "00 FF", LIST_F1);
    bench_exchange(s->bench, "02 FD", "79 01 04 10 79");
    bench_exchange(s->bench, "43 BC", "79");
    bench_exchange(s->bench, "01 00 01 00", "79");
    for (uint32_t at = 0; at < sizeof file; at += 256) {
        size_t length = sizeof file - at < 256 ? sizeof file - at : 256;
        stm32_write(s, 0x08000000 + at, file + at, length, "79");
        stm32_read(s, 0x08000000 + at, back, length);
        assert_memory_equal(back, file + at, length);
    }
    bench_exchange(s->bench, "21 DE", "79");
    bench_exchange(s->bench, "08 00 00 00 08", "79");
    expect_silence(s);
    assert_memory_equal(s->flash, file, sizeof file);
    stm32_free(s);
}

static void f407_speaks_the_worked_exchange(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f407xx");
    bench_exchange(s->bench, "01 FE", "79 31 00 00 79");
    bench_exchange(s->bench, "00 FF", LIST);
    bench_exchange(s->bench, "02 FD", "79 01 04 13 79");
    bench_exchange(s->bench, "44 BB", "79");
    bench_exchange(s->bench, "00 00 00 00 00", "79");
    stm32_free(s);
}

static void parts_tell_themselves_apart(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *list, *id;
    } rows[] = {
        {"stm32f103xe", LIST_F1, "79 01 04 14 79"}, {"stm32f072xb", LIST, "79 01 04 48 79"},
        {"stm32g070xx", LIST, "79 01 04 60 79"},    {"stm32g071xx", LIST, "79 01 04 60 79"},
        {"stm32h743xx", LIST, "79 01 04 50 79"},    {"stm32f401xc", LIST, "79 01 04 23 79"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stm32_bench *s = stm32_synced(rows[i].chip);
        bench_exchange(s->bench, "00 FF", rows[i].list);
        bench_exchange(s->bench, "02 FD", rows[i].id);
        stm32_free(s);
    }
}

/* ---- the first byte ---- */

static void answers_at_the_rate_of_the_first_byte(void **state)
{
    (void)state;
    static const uint32_t rates[] = {1200, 9600, 57600, 115200, 230400};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct stm32_bench *s = stm32_new("stm32f103xb", NULL);
        stm32_start(s);
        stm32_settings(s, rates[i], PARITY_EVEN);
        bench_say(s->bench, "7F");
        stm32_waits_for_ack(s);
        stm32_free(s);
    }
}

static void rate_stays_until_reset(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    uint8_t heard[8];
    stm32_settings(s, 57600, PARITY_EVEN);
    bench_say(s->bench, "7F");
    size_t count = bench_listen(s->bench, heard, sizeof heard);
    assert_false(count == 1 && (heard[0] == 0x79 || heard[0] == 0x1f));
    bench_pulse(s->bench, 10 * MILLISECOND);
    stm32_sync(s);
    stm32_free(s);
}

static void assert_wedged_by(const char *variant, uint32_t baud, const char *first)
{
    struct stm32_bench *s = stm32_new("stm32f103xb", variant);
    stm32_start(s);
    stm32_settings(s, baud, PARITY_EVEN);
    bench_say(s->bench, first);
    expect_silence(s);
    stm32_settings(s, 115200, PARITY_EVEN);
    bench_say(s->bench, "7F");
    expect_silence(s);
    bench_pulse(s->bench, 10 * MILLISECOND);
    stm32_sync(s);
    stm32_free(s);
}

static void a_rate_beyond_measure_wedges_until_reset(void **state)
{
    (void)state;
    assert_wedged_by(NULL, 460800, "7F");
    assert_wedged_by("115200", 230400, "7F");
    assert_wedged_by(NULL, 600, "7F");
}

static void another_first_byte_wedges_until_reset(void **state)
{
    (void)state;
    assert_wedged_by(NULL, 115200, "00");
    assert_wedged_by(NULL, 115200, "79");
}

static void hears_nothing_without_even_parity(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_new("stm32f103xb", NULL);
    stm32_start(s);
    static const enum parity wrong[] = {PARITY_NONE, PARITY_ODD};
    for (size_t i = 0; i < 2; i++) {
        stm32_settings(s, 115200, (int)wrong[i]);
        bench_say(s->bench, "7F");
        expect_silence(s);
    }
    stm32_settings(s, 115200, PARITY_EVEN);
    stm32_sync(s);
    stm32_free(s);
}

static void a_second_init_byte_pair_is_refused(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    bench_say(s->bench, "7F");
    expect_silence(s);
    bench_exchange(s->bench, "7F", "1F");
    bench_exchange(s->bench, "02 FD", "79 01 04 10 79");
    stm32_free(s);
}

static void bytes_take_eleven_bits_each_way(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f407xx");
    uint8_t heard[15];
    uint64_t start = bench_now(s->bench);
    bench_say(s->bench, "00 FF");
    assert_int_equal(bench_listen(s->bench, heard, 15), 15);
    uint64_t wire = 17 * 11 * (uint64_t)SECOND / 115200;
    assert_in_range(bench_now(s->bench) - start, wire, wire + 2);
    stm32_free(s);
}

/* ---- frames ---- */

static void unknown_commands_are_refused(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    static const char *const wrong[] = {"FF 00", "A1 5E", "44 BB", "03 FC", "50 AF", "31 CF"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        bench_exchange(s->bench, wrong[i], "1F");
    stm32_free(s);
    s = stm32_synced("stm32f407xx");
    bench_exchange(s->bench, "43 BC", "1F");
    stm32_free(s);
}

static void waits_for_ever_inside_a_frame(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    bench_exchange(s->bench, "31 CE", "79");
    bench_say(s->bench, "08 00 00");
    bench_hears_nothing(s->bench, 600 * (uint64_t)SECOND);
    bench_exchange(s->bench, "00 08", "79");
    bench_say(s->bench, "FF"); /* 256 bytes are to come */
    for (size_t i = 0; i < 256; i++)
        bench_say(s->bench, "A5");
    expect_silence(s);
    bench_exchange(s->bench, "00", "1F"); /* the sum is FF */
    assert_int_equal(s->flash[0], 0xff);
    stm32_free(s);
}

static void wrong_sums_are_refused_and_change_nothing(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    s->flash[0] = 0x12;
    bench_exchange(s->bench, "11 EE", "79");
    bench_exchange(s->bench, "08 00 00 00 09", "1F");
    bench_exchange(s->bench, "11 EE", "79");
    bench_exchange(s->bench, "08 00 00 00 08", "79");
    bench_exchange(s->bench, "03 FD", "1F");
    bench_exchange(s->bench, "43 BC", "79");
    bench_exchange(s->bench, "01 00 01 01", "1F");
    bench_exchange(s->bench, "31 CE", "79");
    bench_exchange(s->bench, "08 00 00 04 0C", "79");
    bench_exchange(s->bench, "03 01 02 03 04 05", "1F");
    bench_exchange(s->bench, "63 9C", "79");
    bench_exchange(s->bench, "00 00 01", "1F");
    assert_int_equal(s->flash[0], 0x12);
    assert_int_equal(s->flash[4], 0xff);
    stm32_free(s);
}

static void a_refusal_leads_back_to_the_command_state(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    stm32_address(s, 0x31, 0x08000002, "1F");
    bench_exchange(s->bench, "02 FD", "79 01 04 10 79");
    stm32_free(s);
}

/* ---- addresses ---- */

static void address_windows_are_those_of_the_part(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint8_t command;
        uint32_t address;
        bool good;
    } rows[] = {
        {"stm32f103xb", 0x11, 0x08000000, true},  {"stm32f103xb", 0x11, 0x0801ffff, true},
        {"stm32f103xb", 0x11, 0x08020000, false}, {"stm32f103xb", 0x11, 0x07ffffff, false},
        {"stm32f103xb", 0x11, 0x00000000, false}, {"stm32f103xb", 0x31, 0x00000000, false},
        {"stm32f103xb", 0x31, 0x200001fc, false}, {"stm32f103xb", 0x31, 0x20000200, true},
        {"stm32f103xb", 0x31, 0x20004ffc, true},  {"stm32f103xb", 0x31, 0x20005000, false},
        {"stm32f103xb", 0x31, 0x1ffff800, true},  {"stm32f103xb", 0x31, 0x1ffff810, false},
        {"stm32f103xb", 0x11, 0x1ffff000, true},  {"stm32f103xb", 0x31, 0x1ffff000, false},
        {"stm32f103xb", 0x31, 0x08000001, false}, {"stm32f103xb", 0x31, 0x08000002, false},
        {"stm32f103xb", 0x31, 0x08000004, true},  {"stm32f103xe", 0x31, 0x0807fffc, true},
        {"stm32f042x6", 0x31, 0x20001000, false}, {"stm32f072xb", 0x31, 0x200017fc, false},
        {"stm32f072xb", 0x31, 0x20001800, true},  {"stm32f407xx", 0x31, 0x20002ffc, false},
        {"stm32f407xx", 0x31, 0x20003000, true},  {"stm32f407xx", 0x31, 0x080ffffc, true},
        {"stm32f407xx", 0x31, 0x08100000, false}, {"stm32g070xx", 0x31, 0x200026fc, false},
        {"stm32g070xx", 0x31, 0x20002700, true},  {"stm32g070xx", 0x11, 0x1fff787f, true},
        {"stm32g070xx", 0x11, 0x1fff7880, false}, {"stm32h743xx", 0x31, 0x24005000, true},
        {"stm32h743xx", 0x31, 0x24004ffc, false}, {"stm32h743xx", 0x31, 0x2407fffc, true},
        {"stm32h743xx", 0x31, 0x081ffffc, true},  {"stm32h743xx", 0x31, 0x08200000, false},
        {"stm32f103xb", 0x21, 0x1ffff800, false}, {"stm32f103xb", 0x21, 0x40000000, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stm32_bench *s = stm32_synced(rows[i].chip);
        stm32_address(s, rows[i].command, rows[i].address, rows[i].good ? "79" : "1F");
        stm32_free(s);
    }
}

static void reads_and_writes_end_inside_their_area(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    uint8_t data[8] = {0};
    stm32_address(s, 0x11, 0x0801fffc, "79");
    bench_exchange(s->bench, "04 FB", "1F");
    stm32_address(s, 0x11, 0x0801fffc, "79");
    bench_exchange(s->bench, "03 FC", "79 FF FF FF FF");
    stm32_write(s, 0x0801fffc, data, 8, "1F");
    assert_int_equal(s->flash[0x1fffc], 0xff);
    stm32_free(s);
}

static void lengths_that_are_no_words_are_refused(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    uint8_t data[8] = {0};
    for (size_t length = 1; length < 8; length++)
        if (length % 4)
            stm32_write(s, 0x08000000, data, length, "1F");
    assert_int_equal(s->flash[0], 0xff);
    stm32_free(s);
}

static void flash_size_and_unique_id_are_where_the_part_has_them(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    uint8_t data[256];
    stm32_read(s, 0x1ffff7e0, data, 2);
    assert_int_equal(get_le16(data), 128);
    stm32_free(s);
    s = stm32_synced("stm32f407xx");
    stm32_address(s, 0x11, 0x1fff7a22, "79");
    bench_exchange(s->bench, "01 FE", "1F"); /* only the whole block */
    stm32_read(s, 0x1fff7a00, data, 256);
    assert_int_equal(get_le16(data + 0x22), 1024);
    assert_int_not_equal(get_le32(data + 0x10), 0);
    stm32_free(s);
}

static void ram_survives_the_reset_pin_but_not_power(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32h743xx");
    uint8_t data[8], back[8];
    bench_ramp(data, sizeof data);
    stm32_write(s, 0x24005000, data, 8, "79");
    stm32_write(s, 0x20004100, data, 8, "79");
    bench_pulse(s->bench, 10 * MILLISECOND);
    stm32_sync(s);
    stm32_read(s, 0x24005000, back, 8);
    assert_memory_equal(back, data, 8);
    virtual_reset(s->bench->device, VRESET_POWER);
    bench_wait(s->bench, 10 * MILLISECOND);
    stm32_sync(s);
    stm32_read(s, 0x20004100, back, 8);
    assert_memory_not_equal(back, data, 8);
    stm32_free(s);
}

/* ---- leaving and coming back ---- */

static void go_is_silent_until_reset(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32g071xx");
    stm32_address(s, 0x21, 0x08002000, "79");
    bench_say(s->bench, "7F 7F 00 FF");
    expect_silence(s);
    bench_pulse(s->bench, 10 * MILLISECOND);
    stm32_sync(s);
    stm32_free(s);
}

/* The stub that hosts load into RAM to reset a chip whose reset line they do not have. */
static void a_reset_stub_in_ram_leads_back_into_the_loader(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    bench_exchange(s->bench, "31 CE", "79");
    bench_exchange(s->bench, "20 00 02 00 22", "79");
    bench_exchange(s->bench,
                   "17 00 20 00 20 09 02 00 20 01 49 02 4A 0A 60 FE E7 0C ED 00 E0 04 00 FA 05 B5",
                   "79");
    bench_exchange(s->bench, "21 DE", "79");
    bench_exchange(s->bench, "20 00 02 00 22", "79");
    bench_wait(s->bench, 100 * MILLISECOND);
    stm32_sync(s);
    stm32_address(s, 0x21, 0x20000300, "79"); /* no stub there */
    bench_wait(s->bench, 100 * MILLISECOND);
    bench_say(s->bench, "7F");
    expect_silence(s);
    stm32_free(s);
}

static void hears_nothing_while_it_starts(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_new("stm32f103xb", NULL);
    bench_start(s->bench, 0);
    stm32_settings(s, 115200, PARITY_EVEN);
    bench_say(s->bench, "7F");
    expect_silence(s);
    stm32_sync(s);
    stm32_free(s);
}

static void a_board_wired_by_hand_is_not_reset_by_its_port(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_new("stm32f103xb", "manual");
    stm32_start(s);
    stm32_sync(s);
    bench_close(s->bench);
    bench_open(s->bench, NULL);
    stm32_settings(s, 115200, PARITY_EVEN);
    bench_exchange(s->bench, "7F 7F", "1F"); /* alive, as it was left */
    virtual_reset(s->bench->device, VRESET_PIN);
    bench_wait(s->bench, 10 * MILLISECOND);
    stm32_sync(s);
    stm32_free(s);
}

static void boot0_on_rts_chooses_what_a_reset_starts(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_new("stm32f103xb", "rts-boot0");
    stm32_start(s); /* opening asserts both */
    stm32_sync(s);
    struct serial *serial = s->bench->serial;
    for (int rts = 0; rts < 2; rts++) {
        serial->ops->set_lines(serial, false, rts, NULL);
        serial->ops->set_lines(serial, true, rts, NULL);
        bench_wait(s->bench, 10 * MILLISECOND);
        if (rts)
            stm32_sync(s);
        else
            bench_say(s->bench, "7F");
        expect_silence(s);
    }
    stm32_free(s);
}

static void starts_in_the_application_when_told_to(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_new("stm32f103xb", "manual");
    s->bench->config.app = true;
    stm32_start(s);
    bench_say(s->bench, "7F");
    expect_silence(s);
    virtual_reset(s->bench->device, VRESET_PIN);
    bench_wait(s->bench, 10 * MILLISECOND);
    stm32_sync(s);
    stm32_free(s);
}

/* ---- a careless host, faults ---- */

static void one_byte_survives_while_the_flash_is_busy(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    bench_exchange(s->bench, "43 BC", "79");
    bench_say(s->bench, "00 00 00 02 FD"); /* page 0, then Get ID without waiting */
    stm32_waits_for_ack(s);
    expect_silence(s); /* FD was lost */
    bench_exchange(s->bench, "FD", "79 01 04 10 79");
    stm32_free(s);
}

static void one_byte_survives_while_it_sends(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    bench_say(s->bench, "00 FF 02 FD 01 FE"); /* the list takes 15 bytes */
    bench_hears(s->bench, LIST_F1);
    expect_silence(s);
    bench_exchange(s->bench, "FD", "79 01 04 10 79");
    stm32_free(s);
}

static void the_nth_message_since_power_on_is_refused(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_new("stm32f103xb", NULL);
    s->bench->config.faults.nak = 4;
    stm32_start(s);
    stm32_sync(s);
    bench_exchange(s->bench, "02 FD", "79 01 04 10 79");
    bench_exchange(s->bench, "31 CE", "79");
    bench_exchange(s->bench, "08 00 00 00 08", "1F");
    stm32_address(s, 0x31, 0x08000000, "79");
    virtual_reset(s->bench->device, VRESET_POWER);
    bench_wait(s->bench, 10 * MILLISECOND);
    stm32_sync(s); /* counts from 1 again */
    bench_exchange(s->bench, "02 FD", "79 01 04 10 79");
    bench_exchange(s->bench, "00 FF", LIST_F1);
    bench_exchange(s->bench, "01 FE", "1F");
    stm32_free(s);
}

static void wrong_id_is_another_part(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_new("stm32f103xb", NULL);
    s->bench->config.faults.wrong_id = true;
    stm32_start(s);
    stm32_sync(s);
    bench_exchange(s->bench, "02 FD", "79 01 04 33 79");
    stm32_free(s);
}

static void stuck_byte_keeps_its_ones_and_is_acknowledged(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_new("stm32f103xb", NULL);
    uint8_t data[4] = {0};
    s->bench->config.flash.stuck = 1;
    stm32_start(s);
    stm32_sync(s);
    stm32_write(s, 0x08000000, data, 4, "79");
    assert_memory_equal(s->flash, "\0\xff\0\0", 4);
    stm32_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f103_speaks_the_worked_exchange),
        cmocka_unit_test(f407_speaks_the_worked_exchange),
        cmocka_unit_test(parts_tell_themselves_apart),
        cmocka_unit_test(answers_at_the_rate_of_the_first_byte),
        cmocka_unit_test(rate_stays_until_reset),
        cmocka_unit_test(a_rate_beyond_measure_wedges_until_reset),
        cmocka_unit_test(another_first_byte_wedges_until_reset),
        cmocka_unit_test(hears_nothing_without_even_parity),
        cmocka_unit_test(a_second_init_byte_pair_is_refused),
        cmocka_unit_test(bytes_take_eleven_bits_each_way),
        cmocka_unit_test(unknown_commands_are_refused),
        cmocka_unit_test(waits_for_ever_inside_a_frame),
        cmocka_unit_test(wrong_sums_are_refused_and_change_nothing),
        cmocka_unit_test(a_refusal_leads_back_to_the_command_state),
        cmocka_unit_test(address_windows_are_those_of_the_part),
        cmocka_unit_test(reads_and_writes_end_inside_their_area),
        cmocka_unit_test(lengths_that_are_no_words_are_refused),
        cmocka_unit_test(flash_size_and_unique_id_are_where_the_part_has_them),
        cmocka_unit_test(ram_survives_the_reset_pin_but_not_power),
        cmocka_unit_test(go_is_silent_until_reset),
        cmocka_unit_test(a_reset_stub_in_ram_leads_back_into_the_loader),
        cmocka_unit_test(hears_nothing_while_it_starts),
        cmocka_unit_test(a_board_wired_by_hand_is_not_reset_by_its_port),
        cmocka_unit_test(boot0_on_rts_chooses_what_a_reset_starts),
        cmocka_unit_test(starts_in_the_application_when_told_to),
        cmocka_unit_test(one_byte_survives_while_the_flash_is_busy),
        cmocka_unit_test(one_byte_survives_while_it_sends),
        cmocka_unit_test(the_nth_message_since_power_on_is_refused),
        cmocka_unit_test(wrong_id_is_another_part),
        cmocka_unit_test(stuck_byte_keeps_its_ones_and_is_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
