/* The model of the Mega 2560's bootloader against its sheet: worked exchanges byte for byte, the
 * erase counter, what it loses and what derails it, and the build of 2011. */
#include "loader_bench.h"

#include <string.h>

#define SIGN_ON   "1B 01 00 01 0E 01 14"
#define SIGNED_ON "1B 01 00 0B 0E 01 00 08 41 56 52 49 53 50 5F 32 74"

enum { UP = 100 * MILLISECOND, FRAME_MAX = 400 };

static struct bench *mega(const char *variant)
{
    struct bench *bench = bench_new(&vmodel_stk500boot, "atmega2560", variant);
    bench_start(bench, UP);
    return bench;
}

/* Sends a body as frame `sequence`. */
static void say(struct bench *bench, uint8_t sequence, const uint8_t *body, size_t length)
{
    uint8_t frame[FRAME_MAX] = {0x1b, sequence, (uint8_t)(length >> 8), (uint8_t)length, 0x0e};
    uint8_t sum = 0;
    memcpy(frame + 5, body, length);
    for (size_t i = 0; i < length + 5; i++)
        sum ^= frame[i];
    frame[length + 5] = sum;
    bench_send(bench, frame, length + 6);
}

/* Body of the reply: its bytes behind the head; the frame must be whole. */
static size_t hear(struct bench *bench, uint8_t sequence, uint8_t *body)
{
    uint8_t frame[FRAME_MAX], sum = 0;
    size_t count = bench_listen(bench, frame, sizeof frame);
    assert_true(count >= 6);
    for (size_t i = 0; i < count; i++)
        sum ^= frame[i];
    assert_int_equal(sum, 0);
    assert_int_equal(frame[1], sequence);
    assert_int_equal(frame[2] << 8 | frame[3], count - 6);
    memcpy(body, frame + 5, count - 6);
    return count - 6;
}

/* Says a body given as hex and expects one, both without frame. */
static void body(struct bench *bench, const char *say_hex, const char *hear_hex)
{
    uint8_t bytes[FRAME_MAX] = {0}, heard[FRAME_MAX], expected[FRAME_MAX];
    say(bench, 1, bytes, bench_hex(say_hex, bytes, sizeof bytes));
    size_t length = hear(bench, 1, heard);
    assert_int_equal(length, bench_hex(hear_hex, expected, sizeof expected));
    assert_memory_equal(heard, expected, length);
}

static void load(struct bench *bench, uint32_t address)
{
    uint8_t bytes[5] = {0x06, 0x80, (uint8_t)(address >> 17), (uint8_t)(address >> 9),
                        (uint8_t)(address >> 1)};
    uint8_t heard[FRAME_MAX];
    say(bench, 1, bytes, 5);
    assert_int_equal(hear(bench, 1, heard), 2);
}

static void say_page(struct bench *bench, const uint8_t *data, size_t length)
{
    uint8_t bytes[FRAME_MAX] = {
        0x13, (uint8_t)(length >> 8), (uint8_t)length, 0xc1, 0x0a, 0x40, 0x4c, 0x20};
    memcpy(bytes + 10, data, length);
    say(bench, 1, bytes, length + 10);
}

static void program(struct bench *bench, const uint8_t *data, size_t length)
{
    uint8_t heard[FRAME_MAX];
    say_page(bench, data, length);
    assert_int_equal(hear(bench, 1, heard), 2);
    assert_memory_equal(heard, "\x13\0", 2);
}

static void speaks_the_worked_exchange(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    uint8_t data[256], heard[300];
    bench_ramp(data, sizeof data);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_exchange(bench, "1B 02 00 0C 0E 10 C8 64 19 20 00 53 03 AC 53 00 00 31",
                   "1B 02 00 02 0E 10 00 05");
    bench_exchange(bench, "1B 03 00 06 0E 1B 04 30 00 00 00 3F", "1B 03 00 04 0E 1B 00 1E 00 17");
    bench_exchange(bench, "1B 04 00 06 0E 1B 04 30 00 01 00 39", "1B 04 00 04 0E 1B 00 98 00 96");
    bench_exchange(bench, "1B 05 00 06 0E 1B 04 30 00 02 00 3B", "1B 05 00 04 0E 1B 00 01 00 0E");
    bench_exchange(bench, "1B 06 00 05 0E 06 80 00 00 00 90", "1B 06 00 02 0E 06 00 17");
    bench_say_page(bench, "1B 07 01 0A 0E 13 01 00 C1 0A 40 4C 20 00 00", data, 256, "EC");
    bench_hears(bench, "1B 07 00 02 0E 13 00 03");
    bench_exchange(bench, "1B 06 00 05 0E 06 80 00 00 00 90", "1B 06 00 02 0E 06 00 17");
    bench_say(bench, "1B 08 00 04 0E 14 01 00 20 2C");
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 265);
    assert_memory_equal(heard, "\x1b\x08\x01\x03\x0e\x14\x00", 7);
    assert_memory_equal(heard + 7, data, 256);
    assert_memory_equal(heard + 263, "\x00\x0b", 2);
    bench_exchange(bench, "1B 02 00 07 0E 12 09 00 AC 80 00 00 27", "1B 02 00 02 0E 12 C0 C7");
    bench_exchange(bench, "1B 03 00 08 0E 1D 04 04 00 30 00 00 00 33",
                   "1B 03 00 07 0E 1D 00 00 30 00 1E 00 22");
    bench_exchange(bench, "1B 09 00 03 0E 11 01 01 0E", "1B 09 00 02 0E 11 00 0F");
    bench_free(bench);
}

static void answers_parameters_fuses_and_lock(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL); /* fuses FF D8 FD, lock CF */
    body(bench, "03 90", "03 00 0F");
    body(bench, "03 91", "03 00 02");
    body(bench, "03 92", "03 00 0A");
    body(bench, "03 98", "03 00 00");
    body(bench, "02 9E 01", "02 00");
    body(bench, "18 04 50 00 00 00", "18 00 FF 00");
    body(bench, "18 04 50 08 00 00", "18 00 FD 00");
    body(bench, "18 04 58 08 00 00", "18 00 D8 00");
    body(bench, "1A 04 58 00 00 00", "1A 00 CF 00");
    body(bench, "17 AC A4 00 FD", "17 C0");
    body(bench, "1C 04 38 00 00 00", "1C C0");
    body(bench, "77", "77 C0");
    body(bench, "1D 04 04 00 58 08 00 00", "1D 00 00 58 00 D8 00");
    body(bench, "1D 04 04 00 50 08 00 00", "1D 00 00 50 00 FF 00"); /* not the efuse */
    bench_free(bench);
}

static void each_write_erases_the_page_of_its_counter(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    uint8_t data[256];
    memset(bench->flash, 0xf0, 0x1000);
    memset(data, 0x3c, sizeof data);
    load(bench, 0x200);
    program(bench, data, 256); /* erases page 0, writes onto page 2 */
    assert_int_equal(bench->flash[0], 0xff);
    assert_int_equal(bench->flash[0x100], 0xf0);
    assert_int_equal(bench->flash[0x200], 0x30);
    program(bench, data, 256); /* the address went on by itself */
    assert_int_equal(bench->flash[0x100], 0xff);
    assert_int_equal(bench->flash[0x300], 0x30);
    bench_free(bench);
}

static void chip_erase_only_sets_the_counter_back(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    uint8_t data[256];
    memset(bench->flash, 0, 0x400);
    bench_ramp(data, sizeof data);
    load(bench, 0x100);
    program(bench, data, 256);
    body(bench, "12 09 00 AC 80 00 00", "12 C0");
    assert_int_equal(bench->flash[0x300], 0);
    memset(bench->flash, 0, 0x400);
    load(bench, 0);
    program(bench, data, 256); /* the counter is at page 0 again */
    program(bench, data, 256);
    assert_memory_equal(bench->flash, data, 256);
    assert_memory_equal(bench->flash + 0x100, data, 256);
    bench_free(bench);
}

static void pages_from_3c000_on_are_never_erased(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    uint8_t data[256];
    memset(bench->flash, 0x0f, 0x3e000);
    memset(data, 0xff, sizeof data);
    load(bench, 0);
    for (size_t page = 0; page < 0x3c100 / 256; page++)
        program(bench, data, 256);
    assert_int_equal(bench->flash[0x3bfff], 0xff);
    assert_int_equal(bench->flash[0x3c000], 0x0f);
    bench_free(bench);
}

static void short_page_leaves_the_rest_erased(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    uint8_t data[16] = {0};
    load(bench, 0);
    program(bench, data, sizeof data);
    assert_int_equal(bench->flash[15], 0);
    assert_int_equal(bench->flash[16], 0xff);
    bench_free(bench);
}

static void page_takes_erase_and_write_time(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    uint8_t data[256] = {0}, heard[FRAME_MAX];
    load(bench, 0);
    uint64_t start = bench_now(bench);
    say_page(bench, data, 256);
    hear(bench, 1, heard);
    uint64_t wire = 272 * 8681 / 100 + 8 * 8500 / 100; /* out at 115200, back at 117647 */
    assert_in_range(bench_now(bench) - start, wire + 9000, wire + 9000 + 2100);
    bench_free(bench);
}

static void bytes_sent_while_it_programs_are_lost(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    uint8_t data[256] = {0}, heard[FRAME_MAX];
    load(bench, 0);
    say_page(bench, data, 256);
    bench_say(bench, SIGN_ON);
    assert_int_equal(hear(bench, 1, heard), 2);
    bench_hears_nothing(bench, 100 * MILLISECOND);
    bench_free(bench);
}

static void second_of_two_frames_is_lost(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    bench_exchange(bench, SIGN_ON " " SIGN_ON, SIGNED_ON);
    bench_hears_nothing(bench, SECOND);
    bench_say(bench, SIGN_ON); /* eaten by the three bytes of the second that were kept */
    bench_hears_nothing(bench, SECOND);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_free(bench);
}

static void bad_frames_are_dropped_silently(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    bench_say(bench, "1B 01 00 01 0E 01 15");
    bench_say(bench, "1B 01 00 01 0F 01 15");
    bench_say(bench, "00 FF 55");
    bench_hears_nothing(bench, SECOND);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_free(bench);
}

static void assert_derailed_by(const char *frame)
{
    struct bench *bench = mega(NULL);
    bench_say(bench, frame);
    bench_hears_nothing(bench, 100 * MILLISECOND);
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, 20 * SECOND);
    bench_pulse(bench, UP);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_free(bench);
}

static void impossible_sizes_derail_it(void **state)
{
    (void)state;
    assert_derailed_by("1B 01 00 00 0E 14");
    assert_derailed_by("1B 01 01 1E 0E 01");
    assert_derailed_by("1B 01 00 04 0E 14 00 00 20 24"); /* read of no bytes */
    assert_derailed_by("1B 01 00 04 0E 14 01 1C 20 39"); /* read of 284 */
}

static void body_of_285_is_still_taken(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    uint8_t bytes[285] = {0x01}, heard[FRAME_MAX];
    say(bench, 1, bytes, sizeof bytes);
    assert_int_equal(hear(bench, 1, heard), 11);
    bench_free(bench);
}

static void sequence_is_echoed_whatever_it_is(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    uint8_t sign_on = 1, heard[FRAME_MAX];
    static const uint8_t sequences[] = {1, 0x77, 0x77, 0x05, 0xff, 0};
    for (size_t i = 0; i < sizeof sequences; i++) {
        say(bench, sequences[i], &sign_on, 1);
        assert_int_equal(hear(bench, sequences[i], heard), 11);
    }
    bench_free(bench);
}

static void application_starts_unless_a_byte_comes_in_time(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_stk500boot, "atmega2560", NULL);
    bench->flash[0] = 0x0c;
    bench_start(bench, 880 * MILLISECOND); /* 66 + 770 ms */
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, SECOND);
    bench_pulse(bench, 700 * MILLISECOND);
    bench_say(bench, "55"); /* any byte holds the window open */
    bench_wait(bench, 8 * SECOND);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_wait(bench, 9100 * MILLISECOND);
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, SECOND);
    virtual_reset(bench->device, VRESET_WATCHDOG); /* straight into the application */
    bench_wait(bench, UP);
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void blank_chip_waits_for_ever(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    bench_wait(bench, 60 * SECOND);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_free(bench);
}

static void leaving_starts_the_application(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_stk500boot, "atmega2560", NULL);
    bench->flash[0] = 0x0c;
    bench_start(bench, UP);
    body(bench, "11 01 01", "11 00");
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, SECOND);
    bench_pulse(bench, UP);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_free(bench);
}

static void eeprom_is_read_at_twice_its_address(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    body(bench, "06 00 00 00 10", "06 00");
    body(bench, "15 00 02 C1 0A C1 C2 A0 00 00 A1 A2", "15 00");
    assert_memory_equal(bench->eeprom + 0x10, "\xa1\xa2", 2);
    body(bench, "06 00 00 00 08", "06 00");
    body(bench, "16 00 02 A0", "16 00 A1 A2 00");
    bench_free(bench);
}

static void lock_command_really_locks(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    body(bench, "19 AC E0 00 FB", "19 00 00");
    body(bench, "1A 04 58 00 00 00", "1A 00 CB 00");
    body(bench, "19 AC E0 00 FF", "19 00 00");
    body(bench, "1A 04 58 00 00 00", "1A 00 CB 00");
    bench_free(bench);
}

static void writing_over_itself_derails_it_unless_locked(void **state)
{
    (void)state;
    uint8_t data[256] = {0}, heard[FRAME_MAX];
    struct bench *bench = mega(NULL);
    load(bench, 0x3e000);
    program(bench, data, 256);
    assert_int_equal(bench->flash[0x3e000], 0xff);
    bench_free(bench);
    bench = bench_new(&vmodel_stk500boot, "atmega2560", NULL);
    bench->fuses[3] = 0xff;
    bench_start(bench, UP);
    load(bench, 0x3e000);
    say_page(bench, data, 256);
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 0);
    assert_int_equal(bench->flash[0x3e000], 0);
    bench_pulse(bench, UP);
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void faults_are_acted_out(void **state)
{
    (void)state;
    uint8_t data[256] = {0};
    struct bench *bench = bench_new(&vmodel_stk500boot, "atmega2560", NULL);
    bench->config.faults = (struct vfaults){.nak = 2, .wrong_id = true};
    bench->config.flash.stuck = 7;
    bench_start(bench, UP);
    body(bench, "1B 04 30 00 01 00", "1B 00 97 00");
    body(bench, "10", "10 C0");
    load(bench, 0);
    program(bench, data, 256);
    assert_int_equal(bench->flash[6], 0);
    assert_int_equal(bench->flash[7], 0xff);
    bench_free(bench);
}

static void locked_chip_says_so_and_keeps_its_flash(void **state)
{
    (void)state;
    uint8_t data[256] = {0};
    struct bench *bench = bench_new(&vmodel_stk500boot, "atmega2560", NULL);
    bench->config.faults.locked = true;
    bench_start(bench, UP);
    body(bench, "1A 04 58 00 00 00", "1A 00 CB 00");
    load(bench, 0);
    program(bench, data, 256);
    assert_int_equal(bench->flash[0], 0xff);
    bench_free(bench);
}

/* ---- monitor, and the build of 2011 ---- */

static void three_marks_open_the_monitor_early_only(void **state)
{
    (void)state;
    struct bench *bench = mega(NULL);
    uint8_t data[256], heard[FRAME_MAX];
    memset(data, '!', sizeof data);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    load(bench, 0);
    program(bench, data, 256); /* harmless by now */
    bench_pulse(bench, UP);
    bench_say(bench, "21 21 21");
    assert_int_equal(bench_listen(bench, heard, 20), 20);
    bench_free(bench);
}

static void old_build_claims_to_have_erased(void **state)
{
    (void)state;
    struct bench *bench = mega("2011");
    memset(bench->flash, 0, 512);
    body(bench, "12 09 00 AC 80 00 00", "12 00");
    assert_int_equal(bench->flash[0], 0);
    body(bench, "1D 04 04 00 50 00 00 00", "1D 00 00 50 00 00 00");
    bench_free(bench);
}

static void old_build_wants_sequence_one_or_the_next(void **state)
{
    (void)state;
    struct bench *bench = mega("2011");
    uint8_t sign_on = 1, heard[FRAME_MAX];
    say(bench, 1, &sign_on, 1);
    hear(bench, 1, heard);
    say(bench, 2, &sign_on, 1);
    hear(bench, 2, heard);
    say(bench, 4, &sign_on, 1);
    bench_hears_nothing(bench, SECOND);
    say(bench, 3, &sign_on, 1);
    hear(bench, 3, heard);
    say(bench, 1, &sign_on, 1);
    hear(bench, 1, heard);
    bench_free(bench);
}

static void old_build_floods_text_at_three_marks_in_a_page(void **state)
{
    (void)state;
    struct bench *bench = mega("2011");
    uint8_t data[256] = {0}, heard[FRAME_MAX];
    memset(data + 100, '!', 3);
    load(bench, 0);
    say_page(bench, data, 256);
    size_t count = 0;
    for (uint64_t end = bench_now(bench) + SECOND; bench_now(bench) < end;)
        count += bench_listen(bench, heard, sizeof heard);
    assert_true(count > 1000);
    assert_int_equal(bench->flash[0], 0xff);
    bench_pulse(bench, UP);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_free(bench);
}

static void old_build_takes_a_page_in_two_passes(void **state)
{
    (void)state;
    struct bench *bench = mega("2011");
    uint8_t masked[256], rest[256];
    bench_ramp(masked, sizeof masked);
    memset(rest, 0xff, sizeof rest);
    memset(masked + 100, '!', 2);
    masked[102] = 0xff;
    rest[102] = '!';
    load(bench, 0);
    program(bench, masked, 256);
    load(bench, 0);
    program(bench, rest, 256); /* clears bits only: its erase hits the next page */
    assert_memory_equal(bench->flash + 100, "!!!", 3);
    assert_int_equal(bench->flash[103], 103);
    bench_free(bench);
}

static void old_build_forgets_eeprom(void **state)
{
    (void)state;
    struct bench *bench = mega("2011");
    body(bench, "06 00 00 00 10", "06 00");
    body(bench, "15 00 02 C1 0A C1 C2 A0 00 00 A1 A2", "15 00");
    assert_int_equal(bench->eeprom[0x10], 0xff);
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speaks_the_worked_exchange),
        cmocka_unit_test(answers_parameters_fuses_and_lock),
        cmocka_unit_test(each_write_erases_the_page_of_its_counter),
        cmocka_unit_test(chip_erase_only_sets_the_counter_back),
        cmocka_unit_test(pages_from_3c000_on_are_never_erased),
        cmocka_unit_test(short_page_leaves_the_rest_erased),
        cmocka_unit_test(page_takes_erase_and_write_time),
        cmocka_unit_test(bytes_sent_while_it_programs_are_lost),
        cmocka_unit_test(second_of_two_frames_is_lost),
        cmocka_unit_test(bad_frames_are_dropped_silently),
        cmocka_unit_test(impossible_sizes_derail_it),
        cmocka_unit_test(body_of_285_is_still_taken),
        cmocka_unit_test(sequence_is_echoed_whatever_it_is),
        cmocka_unit_test(application_starts_unless_a_byte_comes_in_time),
        cmocka_unit_test(blank_chip_waits_for_ever),
        cmocka_unit_test(leaving_starts_the_application),
        cmocka_unit_test(eeprom_is_read_at_twice_its_address),
        cmocka_unit_test(lock_command_really_locks),
        cmocka_unit_test(writing_over_itself_derails_it_unless_locked),
        cmocka_unit_test(faults_are_acted_out),
        cmocka_unit_test(locked_chip_says_so_and_keeps_its_flash),
        cmocka_unit_test(three_marks_open_the_monitor_early_only),
        cmocka_unit_test(old_build_claims_to_have_erased),
        cmocka_unit_test(old_build_wants_sequence_one_or_the_next),
        cmocka_unit_test(old_build_floods_text_at_three_marks_in_a_page),
        cmocka_unit_test(old_build_takes_a_page_in_two_passes),
        cmocka_unit_test(old_build_forgets_eeprom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
