/* The model of Caterina against its sheet: AVR109 answers, what a packet may hold, page rules, and
 * its two lives on the USB bus. */
#include "loader_bench.h"

#include <stdio.h>
#include <string.h>

static struct bench *caterina(const char *variant)
{
    return bench_new(&vmodel_caterina, "atmega32u4", variant);
}

static struct bench *started(void)
{
    struct bench *bench = caterina(NULL);
    bench_start(bench, 0);
    return bench;
}

static ssize_t read_for(struct bench *bench, uint64_t microseconds)
{
    struct error err;
    uint8_t byte;
    return bench->serial->ops->read(bench->serial, &byte, 1, bench_now(bench) + microseconds, &err);
}

static void say_block(struct bench *bench, const uint8_t *data, size_t length)
{
    char head[16];
    snprintf(head, sizeof head, "42 %02X %02X 46", (unsigned)(length >> 8),
             (unsigned)length & 0xff);
    bench_say_page(bench, head, data, length, "");
}

static void speaks_the_worked_exchange(void **state)
{
    (void)state;
    struct bench *bench = started();
    uint8_t data[128], heard[200];
    bench_ramp(data, sizeof data);
    bench_exchange(bench, "53", "43 41 54 45 52 49 4E");
    bench_exchange(bench, "73", "87 95 1E");
    bench_exchange(bench, "41 00 00", "0D");
    say_block(bench, data, 128);
    bench_hears(bench, "0D");
    bench_exchange(bench, "41 00 00", "0D");
    bench_say(bench, "67 00 80 46");
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 128);
    assert_memory_equal(heard, data, 128);
    bench_exchange(bench, "45", "0D");
    bench_free(bench);
}

static void answers_every_question_of_the_sheet(void **state)
{
    (void)state;
    static const struct {
        const char *say, *hear;
    } rows[] = {
        {"56", "31 30"}, {"76", "3F"},    {"70", "53"}, {"61", "59"},    {"62", "59 00 80"},
        {"74", "44 00"}, {"54 44", "0D"}, {"50", "0D"}, {"4C", "0D"},    {"72", "CF"},
        {"46", "FF"},    {"4E", "D8"},    {"51", "FD"}, {"78 01", "0D"}, {"79 01", "0D"},
        {"48", "3F"},    {"2A", "3F"},
    };
    struct bench *bench = started();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        bench_exchange(bench, rows[i].say, rows[i].hear);
    bench_say(bench, "1B");
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void rest_of_a_packet_is_lost_behind_a_command(void **state)
{
    (void)state;
    struct bench *bench = started();
    bench_exchange(bench, "53 73 56", "43 41 54 45 52 49 4E");
    bench_exchange(bench, "73", "87 95 1E");
    bench_free(bench);
}

static void separate_writes_may_be_queued(void **state)
{
    (void)state;
    struct bench *bench = started();
    uint8_t data[128];
    bench_ramp(data, sizeof data);
    bench_say(bench, "41 00 00");
    say_block(bench, data, 128); /* spans three packets */
    bench_say(bench, "41 00 40");
    say_block(bench, data, 128);
    bench_hears(bench, "0D");
    bench_hears(bench, "0D 0D");
    bench_hears(bench, "0D");
    assert_memory_equal(bench->flash, data, 128);
    assert_memory_equal(bench->flash + 128, data, 128);
    bench_free(bench);
}

static void block_write_erases_its_page_and_goes_on(void **state)
{
    (void)state;
    struct bench *bench = started();
    uint8_t data[128];
    memset(bench->flash, 0, 384);
    bench_ramp(data, sizeof data);
    bench_exchange(bench, "41 00 00", "0D");
    uint64_t start = bench_now(bench);
    say_block(bench, data, 128);
    bench_hears(bench, "0D");
    assert_in_range(bench_now(bench) - start, 9000, 9000 + 2500);
    say_block(bench, data, 128); /* the address went on */
    bench_hears(bench, "0D");
    assert_memory_equal(bench->flash, data, 128);
    assert_memory_equal(bench->flash + 128, data, 128);
    assert_int_equal(bench->flash[256], 0);
    bench_free(bench);
}

static void unaligned_block_is_turned_round_in_its_page(void **state)
{
    (void)state;
    struct bench *bench = started();
    uint8_t data[128];
    bench_ramp(data, sizeof data);
    bench_exchange(bench, "41 00 08", "0D"); /* byte 16 */
    say_block(bench, data, 128);
    bench_hears(bench, "0D");
    assert_memory_equal(bench->flash + 16, data, 112);
    assert_memory_equal(bench->flash, data + 112, 16);
    assert_int_equal(bench->flash[128], 0xff);
    bench_free(bench);
}

static void block_longer_than_a_page_loses_its_end(void **state)
{
    (void)state;
    struct bench *bench = started();
    uint8_t data[256];
    bench_ramp(data, sizeof data);
    bench_exchange(bench, "41 00 00", "0D");
    say_block(bench, data, 256);
    bench_hears(bench, "0D");
    assert_memory_equal(bench->flash, data, 128);
    assert_int_equal(bench->flash[128], 0xff);
    bench_free(bench);
}

static void one_read_takes_the_whole_application(void **state)
{
    (void)state;
    struct bench *bench = started();
    static uint8_t heard[0x7001];
    bench->flash[0x6fff] = 0x5a;
    bench_exchange(bench, "41 00 00", "0D");
    bench_say(bench, "67 70 00 46");
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 0x7000);
    assert_int_equal(heard[0x6fff], 0x5a);
    bench_free(bench);
}

static void chip_erase_spares_the_loader(void **state)
{
    (void)state;
    struct bench *bench = started();
    memset(bench->flash, 0, 0x8000);
    uint64_t start = bench_now(bench);
    bench_exchange(bench, "65", "0D");
    assert_in_range(bench_now(bench) - start, 224 * 4500, 224 * 4500 + 3000);
    assert_int_equal(bench->flash[0], 0xff);
    assert_int_equal(bench->flash[0x6fff], 0xff);
    assert_int_equal(bench->flash[0x7000], 0);
    bench_free(bench);
}

static void words_are_written_and_read_one_by_one(void **state)
{
    (void)state;
    struct bench *bench = started();
    bench_exchange(bench, "41 00 02", "0D");
    bench_exchange(bench, "63 34", "0D");
    bench_exchange(bench, "43 12", "0D");
    bench_exchange(bench, "41 00 00", "0D");
    bench_exchange(bench, "6D", "0D");
    assert_memory_equal(bench->flash, "\xff\xff\xff\xff\x34\x12\xff", 7);
    bench_exchange(bench, "41 00 02", "0D");
    bench_exchange(bench, "52", "12 34");
    bench_free(bench);
}

static void eeprom_takes_byte_addresses(void **state)
{
    (void)state;
    struct bench *bench = started();
    bench->eeprom[6] = 0;
    bench_exchange(bench, "41 00 05", "0D");
    bench_exchange(bench, "42 00 02 45 A1 A2", "0D");
    bench_exchange(bench, "44 A3", "0D");
    assert_memory_equal(bench->eeprom + 5, "\xa1\xa2\xa3\xff", 4);
    bench_exchange(bench, "41 00 05", "0D");
    bench_exchange(bench, "64", "A1");
    bench_exchange(bench, "64", "A2");
    bench_exchange(bench, "41 00 05", "0D");
    bench_exchange(bench, "67 00 03 45", "A1 A2 A3");
    bench_free(bench);
}

static void lock_bits_only_clear(void **state)
{
    (void)state;
    struct bench *bench = started();
    bench_exchange(bench, "6C FB", "0D");
    bench_exchange(bench, "72", "CB");
    bench_exchange(bench, "6C FF", "0D");
    bench_exchange(bench, "72", "CB");
    bench_free(bench);
}

static void stays_eight_seconds_after_the_last_block(void **state)
{
    (void)state;
    struct bench *bench = caterina(NULL);
    bench->flash[0] = 0x0c;
    bench_start(bench, 7900 * MILLISECOND);
    bench_exchange(bench, "67 00 01 46", "0C");
    bench_wait(bench, 7900 * MILLISECOND);
    bench_exchange(bench, "53", "43 41 54 45 52 49 4E"); /* this one does not count */
    assert_int_equal(read_for(bench, 200 * MILLISECOND), ERR_GONE);
    bench_close(bench);
    bench_open(bench, NULL);
    bench_say(bench, "53");
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void blank_chip_stays_in_the_loader(void **state)
{
    (void)state;
    struct bench *bench = started();
    bench_wait(bench, 60 * SECOND);
    bench_exchange(bench, "73", "87 95 1E");
    bench_free(bench);
}

static void exit_leaves_the_bus_half_a_second_later(void **state)
{
    (void)state;
    struct bench *bench = caterina(NULL);
    bench->flash[0] = 0x0c;
    bench_start(bench, 0);
    bench_exchange(bench, "45", "0D");
    assert_int_equal(read_for(bench, 490 * MILLISECOND), 0);
    assert_int_equal(read_for(bench, 20 * MILLISECOND), ERR_GONE);
    bench_free(bench);
}

/* Sets 1200 baud and drops DTR for that long, then opens what is there. */
static void touch(struct bench *bench, uint64_t closed)
{
    struct serial_settings settings = {.baud = 1200, .stop_bits = 1};
    assert_int_equal(bench->serial->ops->configure(bench->serial, &settings, NULL), OK);
    bench_close(bench);
    virtual_elapse(bench->device, closed);
    bench_open(bench, NULL);
}

static struct bench *running_application(const char *variant)
{
    struct bench *bench = caterina(variant);
    bench->flash[0] = 0x0c;
    bench->config.app = true;
    bench_start(bench, 0);
    bench_say(bench, "53");
    bench_hears_nothing(bench, 100 * MILLISECOND);
    return bench;
}

static void touch_brings_the_loader(void **state)
{
    (void)state;
    struct bench *bench = running_application(NULL);
    touch(bench, 130 * MILLISECOND);
    bench_exchange(bench, "53", "43 41 54 45 52 49 4E");
    bench_free(bench);
}

static void touch_is_cancelled_by_opening_again(void **state)
{
    (void)state;
    struct bench *bench = running_application(NULL);
    touch(bench, 50 * MILLISECOND);
    assert_int_equal(read_for(bench, 5 * SECOND), 0);
    bench_say(bench, "53");
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void klipper_does_not_know_the_touch_but_the_button_works(void **state)
{
    (void)state;
    struct bench *bench = running_application("klipper");
    touch(bench, SECOND);
    bench_say(bench, "53");
    bench_hears_nothing(bench, SECOND);
    virtual_reset(bench->device, VRESET_PIN);
    assert_int_equal(read_for(bench, SECOND), ERR_GONE);
    bench_close(bench);
    bench_open(bench, NULL);
    bench_exchange(bench, "53", "43 41 54 45 52 49 4E");
    bench_free(bench);
}

static void power_on_starts_the_application(void **state)
{
    (void)state;
    struct bench *bench = caterina(NULL);
    bench->flash[0] = 0x0c;
    bench_start(bench, SECOND);
    virtual_reset(bench->device, VRESET_POWER);
    bench_close(bench);
    bench_open(bench, NULL);
    bench_say(bench, "53");
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void loader_survives_only_by_its_lock_bits(void **state)
{
    (void)state;
    uint8_t data[128] = {0};
    struct bench *bench = started();
    bench_exchange(bench, "41 38 00", "0D");
    say_block(bench, data, 128);
    bench_hears(bench, "0D");
    assert_int_equal(bench->flash[0x7000], 0xff);
    bench_free(bench);
    bench = caterina(NULL);
    bench->fuses[3] = 0xff;
    bench_start(bench, 0);
    bench_exchange(bench, "41 38 00", "0D");
    say_block(bench, data, 128);
    bench_hears_nothing(bench, SECOND);
    assert_int_equal(bench->flash[0x7000], 0);
    bench_free(bench);
}

static void faults_are_acted_out(void **state)
{
    (void)state;
    uint8_t data[128] = {0};
    struct bench *bench = caterina(NULL);
    bench->config.faults = (struct vfaults){.nak = 2, .wrong_id = true, .locked = true};
    bench_start(bench, 0);
    bench_exchange(bench, "73", "03 97 1E");
    bench_exchange(bench, "41 00 00", "3F");
    bench_exchange(bench, "72", "CB");
    say_block(bench, data, 128);
    bench_hears(bench, "0D");
    assert_int_equal(bench->flash[0], 0xff);
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speaks_the_worked_exchange),
        cmocka_unit_test(answers_every_question_of_the_sheet),
        cmocka_unit_test(rest_of_a_packet_is_lost_behind_a_command),
        cmocka_unit_test(separate_writes_may_be_queued),
        cmocka_unit_test(block_write_erases_its_page_and_goes_on),
        cmocka_unit_test(unaligned_block_is_turned_round_in_its_page),
        cmocka_unit_test(block_longer_than_a_page_loses_its_end),
        cmocka_unit_test(one_read_takes_the_whole_application),
        cmocka_unit_test(chip_erase_spares_the_loader),
        cmocka_unit_test(words_are_written_and_read_one_by_one),
        cmocka_unit_test(eeprom_takes_byte_addresses),
        cmocka_unit_test(lock_bits_only_clear),
        cmocka_unit_test(stays_eight_seconds_after_the_last_block),
        cmocka_unit_test(blank_chip_stays_in_the_loader),
        cmocka_unit_test(exit_leaves_the_bus_half_a_second_later),
        cmocka_unit_test(touch_brings_the_loader),
        cmocka_unit_test(touch_is_cancelled_by_opening_again),
        cmocka_unit_test(klipper_does_not_know_the_touch_but_the_button_works),
        cmocka_unit_test(power_on_starts_the_application),
        cmocka_unit_test(loader_survives_only_by_its_lock_bits),
        cmocka_unit_test(faults_are_acted_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
