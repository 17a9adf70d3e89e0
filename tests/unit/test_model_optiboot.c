/* The model of optiboot against its sheet: worked exchanges byte for byte, and every rule by which
 * silicon punishes a careless host. */
#include "loader_bench.h"

#include <string.h>

#define SYNC   "30 20"
#define SYNCED "14 10"

enum { OPTIBOOT_UP = 500 * MILLISECOND }; /* start-up 66 ms, three LED flashes 375 ms */

static struct bench *optiboot(const char *chip, const char *version)
{
    struct bench *bench = bench_new(&vmodel_optiboot, chip, version);
    bench_start(bench, OPTIBOOT_UP);
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

static void optiboot_speaks_the_worked_exchange(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega328p", NULL);
    uint8_t data[256], heard[300];
    bench_ramp(data, sizeof data);
    bench_exchange(bench, SYNC, SYNCED);
    bench_exchange(bench, "41 81 20", "14 04 10");
    bench_exchange(bench, "41 82 20", "14 04 10");
    bench_exchange(bench, "50 20", "14 10");
    bench_exchange(bench, "75 20", "14 1E 95 0F 10");
    bench_exchange(bench, "55 00 00 20", "14 10");
    bench_say_page(bench, "64 00 80 46", data, 128, "20");
    bench_hears(bench, "14"); /* a pause: the page is written */
    bench_hears(bench, "10");
    bench_exchange(bench, "55 40 00 20", "14 10");
    bench_say_page(bench, "64 00 80 46", data + 128, 128, "20");
    bench_hears(bench, "14");
    bench_hears(bench, "10");
    bench_exchange(bench, "55 00 00 20", "14 10");
    bench_say(bench, "74 01 00 46 20");
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 258);
    assert_int_equal(heard[0], 0x14);
    assert_memory_equal(heard + 1, data, 256);
    assert_int_equal(heard[257], 0x10);
    bench_exchange(bench, "51 20", "14 10");
    assert_page(bench, 0, data, 256);
    bench_free(bench);
}

static void optiboot_takes_the_merged_form(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", NULL);
    uint8_t data[256], heard[300];
    bench_ramp(data, sizeof data);
    bench_say_page(bench, "55 00 00 20 64 01 00 46", data, 256, "20");
    bench_hears(bench, "14 10");
    bench_hears(bench, "14");
    bench_hears(bench, "10");
    bench_say(bench, "55 00 00 20 74 01 00 46 20");
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 260);
    assert_memory_equal(heard + 3, data, 256);
    bench_free(bench);
}

static void optiboot_versions_tell_themselves_apart(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *version, *major, *minor;
    } rows[] = {
        {"atmega328p", NULL, "14 04 10", "14 04 10"},
        {"atmega1284p", NULL, "14 05 10", "14 00 10"},
        {"atmega2560", NULL, "14 08 10", "14 03 10"},
        {"atmega168", "8.3", "14 08 10", "14 03 10"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bench *bench = optiboot(rows[i].chip, rows[i].version);
        bench_exchange(bench, "41 81 20", rows[i].major);
        bench_exchange(bench, "41 82 20", rows[i].minor);
        bench_exchange(bench, "41 80 20", "14 03 10");
        bench_exchange(bench, "31 20", "14 10");
        bench_free(bench);
    }
}

static void optiboot_answers_one_early_request_after_its_leds(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "atmega1284p", NULL);
    bench_start(bench, 100 * MILLISECOND);
    bench_exchange(bench, SYNC, SYNCED);
    assert_in_range(bench_now(bench), 441 * MILLISECOND, 445 * MILLISECOND);
    bench_exchange(bench, "75 20", "14 1E 97 05 10");
    bench_free(bench);
}

static void optiboot_dies_of_requests_sprayed_into_its_leds(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "atmega1284p", NULL);
    bench_start(bench, 100 * MILLISECOND);
    bench_say(bench, SYNC);
    bench_wait(bench, 100 * MILLISECOND);
    bench_say(bench, SYNC); /* of these two only the first byte still fits */
    bench_hears(bench, SYNCED);
    bench_say(bench, "75 20");
    bench_hears_nothing(bench, 3 * SECOND);
    bench_free(bench);
}

static void optiboot_hears_nothing_before_its_oscillator_runs(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "atmega1284p", NULL);
    bench_start(bench, 10 * MILLISECOND);
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, 900 * MILLISECOND);
    bench_exchange(bench, SYNC, SYNCED);
    bench_free(bench);
}

static void optiboot_starts_the_application_after_a_silent_second(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", NULL);
    bench_wait(bench, 900 * MILLISECOND);
    bench_exchange(bench, SYNC, SYNCED);
    bench_wait(bench, 1010 * MILLISECOND);
    bench_exchange(bench, SYNC, SYNCED);
    bench_wait(bench, 1030 * MILLISECOND);
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, 3 * SECOND);
    bench_pulse(bench, OPTIBOOT_UP);
    bench_exchange(bench, SYNC, SYNCED);
    bench_free(bench);
}

static void optiboot_needs_the_reset_pin(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", NULL);
    virtual_reset(bench->device, VRESET_POWER);
    bench_wait(bench, OPTIBOOT_UP);
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, SECOND);
    virtual_reset(bench->device, VRESET_WATCHDOG);
    bench_wait(bench, OPTIBOOT_UP);
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, SECOND);
    virtual_reset(bench->device, VRESET_PIN);
    bench_wait(bench, OPTIBOOT_UP);
    bench_exchange(bench, SYNC, SYNCED);
    bench_free(bench);
}

static void assert_optiboot_dies_of(const char *bytes, const char *heard)
{
    struct bench *bench = optiboot("atmega1284p", NULL);
    bench_say(bench, bytes);
    if (*heard)
        bench_hears(bench, heard);
    bench_hears_nothing(bench, 100 * MILLISECOND);
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, 2 * SECOND);
    bench_pulse(bench, OPTIBOOT_UP);
    bench_exchange(bench, SYNC, SYNCED);
    bench_free(bench);
}

static void optiboot_dies_of_a_bad_end(void **state)
{
    (void)state;
    assert_optiboot_dies_of("30 30", "");
    assert_optiboot_dies_of("55 00 00 00", "");
    assert_optiboot_dies_of("20 30 20", ""); /* a lone 20 left over from a cut request */
}

static void optiboot_dies_of_set_parameter(void **state)
{
    (void)state;
    assert_optiboot_dies_of("40 86 00 20", "");
}

static void optiboot_loses_a_pulse_that_meets_its_own_watchdog(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", NULL);
    bench_exchange(bench, "51 20", "14 10");
    bench_close(bench);
    bench_open(bench, NULL); /* the second session, at once */
    bench_wait(bench, OPTIBOOT_UP);
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, SECOND);
    bench_pulse(bench, OPTIBOOT_UP);
    bench_exchange(bench, SYNC, SYNCED);
    bench_free(bench);
}

static void optiboot_still_answers_while_it_leaves(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", NULL);
    bench_exchange(bench, "51 20", "14 10");
    bench_exchange(bench, SYNC, SYNCED);
    bench_wait(bench, 20 * MILLISECOND);
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void optiboot_reads_lengths_of_eight_bits_before_version_6(void **state)
{
    (void)state;
    uint8_t heard[1100];
    struct bench *bench = optiboot("atmega1284p", "5.0");
    bench_say(bench, "74 04 00 46 20");
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 258);
    bench_free(bench);
    bench = optiboot("atmega1284p", "8.3");
    bench_say(bench, "74 04 00 46 20");
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 1026);
    bench_free(bench);
}

static void optiboot_goes_on_reading_without_an_address(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", NULL);
    bench_ramp(bench->flash + 0xfffe, 4); /* the carry reaches the bits above 16 */
    bench_exchange(bench, "55 FF 7F 20", "14 10");
    bench_exchange(bench, "74 00 02 46 20", "14 00 01 10");
    bench_exchange(bench, "74 00 02 46 20", "14 02 03 10");
    bench_free(bench);
}

static void optiboot_ignores_the_memory_type_before_version_6(void **state)
{
    (void)state;
    uint8_t data[256];
    bench_ramp(data, sizeof data);
    struct bench *bench = optiboot("atmega1284p", "5.0");
    bench_say_page(bench, "55 00 00 20 64 01 00 45", data, 256, "20");
    bench_hears(bench, "14 10");
    bench_hears(bench, "14");
    bench_hears(bench, "10");
    assert_page(bench, 0, data, 256);
    assert_int_equal(bench->eeprom[1], 0xff);
    bench_free(bench);
}

static void optiboot_8_hangs_at_eeprom(void **state)
{
    (void)state;
    uint8_t data[256];
    bench_ramp(data, sizeof data);
    struct bench *bench = optiboot("atmega1284p", "8.3");
    bench_say_page(bench, "64 01 00 45", data, 256, "20");
    bench_hears(bench, "14");
    bench_hears_nothing(bench, 2 * SECOND);
    assert_blank(bench, 0, 256);
    bench_free(bench);
}

static void optiboot_completes_a_short_page_with_what_the_buffer_held(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega328p", NULL);
    uint8_t data[128];
    memset(data, 0x11, sizeof data);
    bench_say_page(bench, "64 00 80 46", data, 128, "20");
    bench_hears(bench, "14");
    bench_hears(bench, "10");
    bench_exchange(bench, "55 40 00 20", "14 10");
    memset(data, 0x22, sizeof data);
    bench_say_page(bench, "64 00 04 46", data, 4, "20");
    bench_hears(bench, "14");
    bench_hears(bench, "10");
    memset(data + 4, 0x11, sizeof data - 4);
    assert_page(bench, 128, data, 128);
    bench_free(bench);
}

static void optiboot_erases_what_it_writes_and_takes_the_time(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", "8.3");
    uint8_t data[256], byte;
    memset(bench->flash, 0x00, 512);
    bench_ramp(data, sizeof data);
    bench_say_page(bench, "64 01 00 46", data, 256, "20");
    bench_listen(bench, &byte, 1);
    uint64_t insync = bench_now(bench);
    bench_listen(bench, &byte, 1);
    assert_int_equal(byte, 0x10);
    assert_in_range(bench_now(bench) - insync, 9000, 9100); /* erase, then write */
    assert_page(bench, 0, data, 256);
    assert_int_equal(bench->flash[256], 0x00);
    bench_free(bench);
}

static void optiboot_5_erases_while_the_data_arrives(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", "5.0");
    uint8_t data[256], byte;
    bench_ramp(data, sizeof data);
    bench_say_page(bench, "64 01 00 46", data, 256, "20");
    bench_listen(bench, &byte, 1);
    uint64_t insync = bench_now(bench);
    bench_listen(bench, &byte, 1);
    assert_in_range(bench_now(bench) - insync, 4500, 4600);
    bench_free(bench);
}

static void optiboot_loses_the_second_of_two_pages_sent_at_once(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega328p", NULL);
    uint8_t data[128];
    bench_ramp(data, sizeof data);
    bench_say_page(bench, "55 00 00 20 64 00 80 46", data, 128, "20");
    bench_say_page(bench, "55 40 00 20 64 00 80 46", data, 128, "20");
    bench_wait(bench, SECOND);
    assert_page(bench, 0, data, 128);
    assert_blank(bench, 128, 256);
    bench_free(bench);
}

static void optiboot_reaches_above_128k_from_version_8(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega2560", NULL);
    bench->flash[0x20000] = 0xa5;
    bench_exchange(bench, "56 4D 00 01 00 20", "14 00 10");
    bench_exchange(bench, "55 00 00 20", "14 10");
    bench_exchange(bench, "74 00 01 46 20", "14 A5 10");
    bench_free(bench);
    bench = optiboot("atmega2560", "5.0");
    bench->flash[0x20000] = 0xa5;
    bench_exchange(bench, "56 4D 00 01 00 20", "14 00 10");
    bench_exchange(bench, "55 00 00 20", "14 10");
    bench_exchange(bench, "74 00 01 46 20", "14 FF 10");
    bench_free(bench);
}

static void optiboot_writes_itself_away_unless_locked(void **state)
{
    (void)state;
    uint8_t data[256] = {0};
    struct bench *bench = optiboot("atmega1284p", NULL);
    bench_say_page(bench, "55 00 FE 20 64 01 00 46", data, 256, "20"); /* 1FC00 */
    bench_hears(bench, "14 10");
    bench_hears(bench, "14");
    bench_hears(bench, "10");
    assert_blank(bench, 0x1fc00, 0x1fd00); /* lock CF: nothing happened */
    bench_free(bench);

    bench = bench_new(&vmodel_optiboot, "atmega1284p", NULL);
    bench->fuses[3] = 0xff;
    bench_start(bench, OPTIBOOT_UP);
    bench_say_page(bench, "55 00 FE 20 64 01 00 46", data, 256, "20");
    bench_hears(bench, "14 10");
    bench_hears_nothing(bench, SECOND);
    bench_pulse(bench, OPTIBOOT_UP);
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void optiboot_acts_out_faults(void **state)
{
    (void)state;
    uint8_t data[128];
    memset(data, 0, sizeof data);
    struct bench *bench = bench_new(&vmodel_optiboot, "atmega328p", NULL);
    bench->config.faults = (struct vfaults){.nak = 2, .wrong_id = true};
    bench->config.flash.stuck = 5;
    bench_start(bench, OPTIBOOT_UP);
    bench_exchange(bench, "75 20", "14 1E 97 03 10");
    bench_exchange(bench, SYNC, "14 11");
    bench_say_page(bench, "64 00 80 46", data, 128, "20");
    bench_hears(bench, "14");
    bench_hears(bench, "10");
    assert_int_equal(bench->flash[5], 0xff);
    assert_int_equal(bench->flash[4], 0x00);
    bench_free(bench);
}

static void optiboot_locked_acknowledges_and_writes_nothing(void **state)
{
    (void)state;
    uint8_t data[128] = {0};
    struct bench *bench = bench_new(&vmodel_optiboot, "atmega328p", NULL);
    bench->config.faults.locked = true;
    bench_start(bench, OPTIBOOT_UP);
    bench_say_page(bench, "64 00 80 46", data, 128, "20");
    bench_hears(bench, "14");
    bench_hears(bench, "10");
    assert_blank(bench, 0, 128);
    bench_free(bench);
}

static void optiboot_ends_in_the_application_at_a_wrong_rate(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", NULL);
    struct serial_settings slow = {.baud = 57600, .stop_bits = 1};
    struct serial_settings right = {.baud = 115200, .stop_bits = 1};
    bench->serial->ops->configure(bench->serial, &slow, NULL);
    bench_say(bench, SYNC);
    bench_wait(bench, 1100 * MILLISECOND);
    bench->serial->ops->drop_input(bench->serial);
    bench->serial->ops->configure(bench->serial, &right, NULL);
    bench_say(bench, SYNC);
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void optiboot_watchdog_is_not_fed_by_a_framing_error(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", NULL);
    struct serial_settings slow = {.baud = 57600, .stop_bits = 1};
    struct serial_settings right = {.baud = 115200, .stop_bits = 1};
    bench_wait(bench, 800 * MILLISECOND);
    bench->serial->ops->configure(bench->serial, &slow, NULL);
    bench_say(bench, "00"); /* heard as 00 with its stop bit low: a command, but no food */
    bench_wait(bench, 300 * MILLISECOND);
    bench->serial->ops->configure(bench->serial, &right, NULL);
    bench_say(bench, "20");
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void optiboot_turns_an_unaligned_page_round(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega328p", NULL);
    uint8_t data[128];
    bench_ramp(data, sizeof data);
    bench_say_page(bench, "55 08 00 20 64 00 80 46", data, 128, "20"); /* byte 16 */
    bench_hears(bench, "14 10");
    bench_hears(bench, "14");
    bench_hears(bench, "10");
    assert_page(bench, 16, data, 112);
    assert_page(bench, 0, data + 112, 16);
    assert_blank(bench, 128, 256);
    bench_free(bench);
}

static void optiboot_starts_at_address_zero(void **state)
{
    (void)state;
    struct bench *bench = optiboot("atmega1284p", NULL);
    bench->flash[0] = 0x0c;
    bench_exchange(bench, "55 00 10 20", "14 10");
    bench_pulse(bench, OPTIBOOT_UP);
    bench_exchange(bench, "74 00 01 46 20", "14 0C 10");
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optiboot_speaks_the_worked_exchange),
        cmocka_unit_test(optiboot_takes_the_merged_form),
        cmocka_unit_test(optiboot_versions_tell_themselves_apart),
        cmocka_unit_test(optiboot_answers_one_early_request_after_its_leds),
        cmocka_unit_test(optiboot_dies_of_requests_sprayed_into_its_leds),
        cmocka_unit_test(optiboot_hears_nothing_before_its_oscillator_runs),
        cmocka_unit_test(optiboot_starts_the_application_after_a_silent_second),
        cmocka_unit_test(optiboot_needs_the_reset_pin),
        cmocka_unit_test(optiboot_dies_of_a_bad_end),
        cmocka_unit_test(optiboot_dies_of_set_parameter),
        cmocka_unit_test(optiboot_loses_a_pulse_that_meets_its_own_watchdog),
        cmocka_unit_test(optiboot_still_answers_while_it_leaves),
        cmocka_unit_test(optiboot_reads_lengths_of_eight_bits_before_version_6),
        cmocka_unit_test(optiboot_goes_on_reading_without_an_address),
        cmocka_unit_test(optiboot_ignores_the_memory_type_before_version_6),
        cmocka_unit_test(optiboot_8_hangs_at_eeprom),
        cmocka_unit_test(optiboot_completes_a_short_page_with_what_the_buffer_held),
        cmocka_unit_test(optiboot_erases_what_it_writes_and_takes_the_time),
        cmocka_unit_test(optiboot_5_erases_while_the_data_arrives),
        cmocka_unit_test(optiboot_loses_the_second_of_two_pages_sent_at_once),
        cmocka_unit_test(optiboot_reaches_above_128k_from_version_8),
        cmocka_unit_test(optiboot_writes_itself_away_unless_locked),
        cmocka_unit_test(optiboot_acts_out_faults),
        cmocka_unit_test(optiboot_locked_acknowledges_and_writes_nothing),
        cmocka_unit_test(optiboot_ends_in_the_application_at_a_wrong_rate),
        cmocka_unit_test(optiboot_watchdog_is_not_fed_by_a_framing_error),
        cmocka_unit_test(optiboot_turns_an_unaligned_page_round),
        cmocka_unit_test(optiboot_starts_at_address_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
