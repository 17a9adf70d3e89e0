/* The model of the ATmegaBOOT family against its sheet: what it forgives, what it forgets, and
 * where its addresses go. */
#include "loader_bench.h"

#include <string.h>

#define SYNC   "30 20"
#define SYNCED "14 10"

enum { ATMEGABOOT_UP = 300 * MILLISECOND }; /* start-up 66 ms, LED 200 ms */

static struct bench *atmegaboot(const char *chip)
{
    struct bench *bench = bench_new(&vmodel_atmegaboot, chip, NULL);
    bench_start(bench, ATMEGABOOT_UP);
    return bench;
}

static void assert_page(const struct bench *bench, size_t at, const uint8_t *data, size_t length)
{
    assert_memory_equal(bench->flash + at, data, length);
}

static void assert_blank(const struct bench *bench, size_t start, size_t end)
{
    for (size_t i = start; i < end; i++)
        assert_int_equal(bench->flash[i], 0xff);
}

static void atmegaboot_tells_itself_apart(void **state)
{
    (void)state;
    struct bench *bench = atmegaboot("atmega1284p");
    bench_exchange(bench, SYNC, SYNCED);
    bench_exchange(bench, "41 81 20", "14 01 10");
    bench_exchange(bench, "41 82 20", "14 10 10");
    bench_exchange(bench, "41 80 20", "14 02 10");
    bench_exchange(bench, "41 98 20", "14 03 10");
    bench_exchange(bench, "31 20", "14 41 56 52 20 49 53 50 10");
    bench_exchange(bench, "75 20", "14 1E 97 05 10");
    bench_exchange(bench, "56 30 00 01 00 20", "14 97 10");
    bench_exchange(bench, "76 20", "14 00 10");
    bench_exchange(bench, "40 86 01 20", "14 10");
    bench_free(bench);
}

static void atmegaboot_shifts_its_address_in_place(void **state)
{
    (void)state;
    struct bench *bench = atmegaboot("atmega1284p");
    bench->flash[0x100] = 0xa1;
    bench->flash[0x202] = 0xa2; /* (0x100 + 1 read) doubled */
    bench_exchange(bench, "55 80 00 20", "14 10");
    bench_exchange(bench, "74 00 01 46 20", "14 A1 10");
    bench_exchange(bench, "74 00 01 46 20", "14 A2 10");
    bench_free(bench);
}

static void atmegaboot_reads_long_but_not_over_64k(void **state)
{
    (void)state;
    struct bench *bench = atmegaboot("atmega1284p");
    static uint8_t heard[0x8002];
    bench->flash[0x7fff] = 0x5a;
    bench->flash[0x0] = 0x33;
    bench->flash[0x10000] = 0x44;
    bench_exchange(bench, "55 00 00 20", "14 10");
    bench_say(bench, "74 80 00 46 20");
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 0x8002);
    assert_int_equal(heard[0x8000], 0x5a);
    bench_exchange(bench, "55 FF 7F 20", "14 10"); /* FFFE: wraps to 0 of the same bank */
    bench_exchange(bench, "74 00 03 46 20", "14 FF FF 33 10");
    bench_exchange(bench, "55 00 80 20", "14 10");
    bench_exchange(bench, "74 00 01 46 20", "14 44 10");
    bench_free(bench);
}

static void atmegaboot_programs_a_page_and_completes_it_with_ff(void **state)
{
    (void)state;
    struct bench *bench = atmegaboot("atmega1284p");
    uint8_t data[256];
    memset(bench->flash, 0, 512);
    bench_ramp(data, sizeof data);
    bench_exchange(bench, "55 80 00 20", "14 10");
    bench_say_page(bench, "64 00 10 46", data, 16, "20");
    uint64_t said = bench_now(bench);
    bench_hears(bench, "14 10"); /* both only when the page is written */
    assert_true(bench_now(bench) - said >= 9000);
    assert_page(bench, 0x100, data, 16);
    assert_blank(bench, 0x110, 0x200);
    assert_int_equal(bench->flash[0xff], 0);
    bench_free(bench);
}

static void atmegaboot_forgives_four_bad_commands(void **state)
{
    (void)state;
    struct bench *bench = atmegaboot("atmega1284p");
    bench->flash[0] = 0x0c;
    bench_say(bench, "20");
    bench_say(bench, "30 00");
    bench_say(bench, "99");
    bench_say(bench, "40 20 00"); /* p <= 85: its value is taken for the end */
    bench_hears_nothing(bench, 100 * MILLISECOND);
    bench_exchange(bench, SYNC, SYNCED);
    bench_say(bench, "FF");
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, 3 * SECOND);
    bench_pulse(bench, ATMEGABOOT_UP);
    bench_exchange(bench, SYNC, SYNCED);
    bench_free(bench);
}

static void atmegaboot_starts_an_application_but_not_a_blank_chip(void **state)
{
    (void)state;
    struct bench *bench = atmegaboot("atmega1284p");
    bench_wait(bench, 5 * SECOND); /* blank: round and round; a byte in the deaf time is kept */
    bench_exchange(bench, SYNC, SYNCED);
    bench->flash[0] = 0x0c;
    bench_wait(bench, 1100 * MILLISECOND);
    bench_exchange(bench, SYNC, SYNCED);
    bench_wait(bench, 1200 * MILLISECOND);
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, 3 * SECOND);
    bench_free(bench);
}

static void atmegaboot_writes_eeprom_at_twice_the_loaded_address(void **state)
{
    (void)state;
    struct bench *bench = atmegaboot("atmega1284p");
    bench_exchange(bench, "55 08 00 20", "14 10");
    bench_exchange(bench, "64 00 02 45 C1 C2 20", "14 10");
    assert_int_equal(bench->eeprom[16], 0xc1);
    assert_int_equal(bench->eeprom[17], 0xc2);
    assert_blank(bench, 0, 64);
    bench_exchange(bench, "55 08 00 20", "14 10");
    bench_exchange(bench, "74 00 02 45 20", "14 C1 C2 10");
    bench_free(bench);
}

static void atmegaboot_is_lost_after_a_page_longer_than_its_buffer(void **state)
{
    (void)state;
    struct bench *bench = atmegaboot("atmega1284p");
    uint8_t data[257] = {0};
    bench_say_page(bench, "64 01 01 46", data, sizeof data, "20");
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, 3 * SECOND);
    assert_blank(bench, 0, 512);
    bench_pulse(bench, ATMEGABOOT_UP);
    bench_exchange(bench, SYNC, SYNCED);
    bench_free(bench);
}

static void atmegaboot_tears_an_unaligned_page_apart(void **state)
{
    (void)state;
    struct bench *bench = atmegaboot("atmega1284p");
    uint8_t data[256];
    memset(bench->flash, 0, 256);
    bench_ramp(data, sizeof data);
    bench_exchange(bench, "55 08 00 20", "14 10"); /* byte 16 */
    bench_say_page(bench, "64 01 00 46", data, 256, "20");
    bench_hears(bench, "14 10");
    /* Erased where the first word goes, written where the last one went. */
    assert_blank(bench, 0, 256);
    assert_page(bench, 256 + 16, data, 240);
    assert_page(bench, 256, data + 240, 16);
    bench_free(bench);
}

static void atmegaboot_starts_at_address_zero(void **state)
{
    (void)state;
    struct bench *bench = atmegaboot("atmega1284p");
    bench->flash[0] = 0x0c;
    bench_exchange(bench, "55 00 10 20", "14 10");
    bench_pulse(bench, ATMEGABOOT_UP);
    bench_exchange(bench, "74 00 01 46 20", "14 0C 10");
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(atmegaboot_tells_itself_apart),
        cmocka_unit_test(atmegaboot_shifts_its_address_in_place),
        cmocka_unit_test(atmegaboot_reads_long_but_not_over_64k),
        cmocka_unit_test(atmegaboot_programs_a_page_and_completes_it_with_ff),
        cmocka_unit_test(atmegaboot_forgives_four_bad_commands),
        cmocka_unit_test(atmegaboot_starts_an_application_but_not_a_blank_chip),
        cmocka_unit_test(atmegaboot_writes_eeprom_at_twice_the_loaded_address),
        cmocka_unit_test(atmegaboot_is_lost_after_a_page_longer_than_its_buffer),
        cmocka_unit_test(atmegaboot_tears_an_unaligned_page_apart),
        cmocka_unit_test(atmegaboot_starts_at_address_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
