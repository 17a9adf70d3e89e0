/* The model of the Arduino M0's loader against its sheet: what erases, what is dropped, empty
 * replies, and its two lives on the USB bus. */
#include "loader_bench.h"

#include <stdio.h>
#include <string.h>

#define SIGN_ON   "1B 01 00 01 0E 01 14"
#define SIGNED_ON "1B 01 00 0B 0E 01 00 08 41 56 52 49 53 50 5F 32 74"

static struct bench *m0(const char *variant)
{
    struct bench *bench = bench_new(&vmodel_m0, "atmega2560", variant);
    memset(bench->flash, 0x77, 0x4000); /* the loader's own */
    return bench;
}

static void put_application(struct bench *bench)
{
    memset(bench->flash + 0x4000, 0x20, 64);
}

/* Body of 256 bytes programmed at the loaded address; both frames by their sums. */
static void say_block(struct bench *bench, const uint8_t *data)
{
    uint8_t head[15];
    bench_hex("1B 01 01 0A 0E 13 01 00 C1 0A 40 4C 20 00 00", head, sizeof head);
    uint8_t sum = 0;
    for (size_t i = 0; i < sizeof head; i++)
        sum ^= head[i];
    for (size_t i = 0; i < 256; i++)
        sum ^= data[i];
    char tail[4];
    snprintf(tail, sizeof tail, "%02X", sum);
    bench_say_page(bench, "1B 01 01 0A 0E 13 01 00 C1 0A 40 4C 20 00 00", data, 256, tail);
    bench_hears(bench, "1B 01 00 02 0E 13 00 05");
}

#define LOAD_4000 "1B 01 00 05 0E 06 00 00 20 00 37"
#define LOADED    "1B 01 00 02 0E 06 00 10"
#define ERASE     "1B 01 00 07 0E 12 00 00 00 00 00 00 01"
#define ERASED    "1B 01 00 02 0E 12 00 04"

static void claims_to_be_an_atmega2560(void **state)
{
    (void)state;
    struct bench *bench = m0(NULL);
    bench_start(bench, 0);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_exchange(bench, "1B 03 00 06 0E 1B 04 30 00 00 00 3F", "1B 03 00 04 0E 1B 00 1E 00 17");
    bench_exchange(bench, "1B 04 00 06 0E 1B 04 30 00 01 00 39", "1B 04 00 04 0E 1B 00 98 00 96");
    bench_exchange(bench, "1B 03 00 08 0E 1D 04 04 00 30 00 00 00 33",
                   "1B 03 00 07 0E 1D 00 00 30 00 1E 00 22");
    bench_exchange(bench, "1B 03 00 02 0E 03 92 85", "1B 03 00 03 0E 03 00 05 13");
    bench_free(bench);
}

static void unknown_commands_get_a_frame_without_a_body(void **state)
{
    (void)state;
    struct bench *bench = m0(NULL);
    bench_start(bench, 0);
    bench_exchange(bench, "1B 05 00 01 0E 77 66", "1B 05 00 00 0E 10");
    bench_exchange(bench, "1B 05 00 04 0E 16 00 02 A0 A0", "1B 05 00 00 0E 10"); /* EEPROM */
    bench_free(bench);
}

static void writing_without_erase_only_clears_bits(void **state)
{
    (void)state;
    struct bench *bench = m0(NULL);
    uint8_t data[256];
    memset(bench->flash + 0x4000, 0xf0, 256);
    memset(data, 0x3c, sizeof data);
    bench_start(bench, 0);
    bench_exchange(bench, LOAD_4000, LOADED);
    say_block(bench, data);
    assert_int_equal(bench->flash[0x4000], 0x30);
    bench_free(bench);
}

static void chip_erase_erases_the_application_and_takes_seconds(void **state)
{
    (void)state;
    struct bench *bench = m0(NULL);
    uint8_t data[256];
    put_application(bench);
    bench_ramp(data, sizeof data);
    bench_start(bench, 0);
    uint64_t start = bench_now(bench);
    bench_exchange(bench, ERASE, ERASED);
    assert_in_range(bench_now(bench) - start, 5760 * MILLISECOND, 5800 * MILLISECOND);
    assert_int_equal(bench->flash[0x4000], 0xff);
    assert_int_equal(bench->flash[0x3fff], 0x77);
    bench_exchange(bench, LOAD_4000, LOADED);
    say_block(bench, data);
    say_block(bench, data); /* the address goes on by itself */
    assert_memory_equal(bench->flash + 0x4000, data, 256);
    assert_memory_equal(bench->flash + 0x4100, data, 256);
    bench_free(bench);
}

static void loader_below_4000_is_neither_written_nor_read(void **state)
{
    (void)state;
    struct bench *bench = m0(NULL);
    uint8_t data[256] = {0};
    bench_start(bench, 0);
    bench_exchange(bench, "1B 01 00 05 0E 06 00 00 1F 80 88", LOADED); /* 3F00 */
    say_block(bench, data);
    assert_int_equal(bench->flash[0x3f00], 0x77);
    assert_int_equal(bench->flash[0x4000], 0xff);
    put_application(bench);
    bench_exchange(bench, "1B 01 00 05 0E 06 00 00 1F FF F7", LOADED); /* 3FFE */
    bench_exchange(bench, "1B 01 00 04 0E 14 00 04 20 20",
                   "1B 01 00 07 0E 14 00 FF FF 20 20 00 07");
    bench_free(bench);
}

static void stays_eight_seconds_then_starts_the_application(void **state)
{
    (void)state;
    struct bench *bench = m0(NULL);
    struct error err;
    uint8_t byte;
    put_application(bench);
    bench_start(bench, 7 * SECOND);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_wait(bench, 7900 * MILLISECOND);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    ssize_t got =
        bench->serial->ops->read(bench->serial, &byte, 1, bench_now(bench) + 9 * SECOND, &err);
    assert_int_equal(got, ERR_GONE);
    bench_close(bench);
    bench_open(bench, NULL);
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void leaving_comes_half_a_second_after_its_reply(void **state)
{
    (void)state;
    struct bench *bench = m0(NULL);
    struct error err;
    uint8_t byte;
    put_application(bench);
    bench_start(bench, 0);
    bench_exchange(bench, "1B 09 00 03 0E 11 01 01 0E", "1B 09 00 02 0E 11 00 0F");
    bench_hears_nothing(bench, 490 * MILLISECOND);
    ssize_t got =
        bench->serial->ops->read(bench->serial, &byte, 1, bench_now(bench) + SECOND, &err);
    assert_int_equal(got, ERR_GONE);
    bench_free(bench);
}

static void reset_button_leads_into_the_loader_power_does_not(void **state)
{
    (void)state;
    struct bench *bench = m0("klipper");
    put_application(bench);
    bench->config.app = true;
    bench_start(bench, 0);
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, SECOND);
    virtual_reset(bench->device, VRESET_PIN);
    bench_close(bench);
    bench_open(bench, NULL);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    virtual_reset(bench->device, VRESET_POWER);
    bench_close(bench);
    bench_open(bench, NULL);
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

/* Opens at 1200 baud and closes. */
static void touch(struct bench *bench)
{
    struct serial_settings settings = {.baud = 1200, .stop_bits = 1};
    assert_int_equal(bench->serial->ops->configure(bench->serial, &settings, NULL), OK);
    bench_close(bench);
    virtual_elapse(bench->device, SECOND);
    bench_open(bench, NULL);
}

static void touch_works_on_the_arduino_core_only(void **state)
{
    (void)state;
    struct bench *bench = m0(NULL);
    put_application(bench);
    bench->config.app = true;
    bench_start(bench, 0);
    touch(bench);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_free(bench);
    bench = m0("klipper");
    put_application(bench);
    bench->config.app = true;
    bench_start(bench, 0);
    touch(bench);
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, SECOND);
    bench_free(bench);
}

static void bad_frames_are_dropped_and_bad_sizes_derail(void **state)
{
    (void)state;
    struct bench *bench = m0(NULL);
    bench_start(bench, 0);
    bench_say(bench, "1B 01 00 01 0E 01 15");
    bench_hears_nothing(bench, SECOND);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    uint8_t body[287] = {0x01}; /* one more than the buffer takes, otherwise a good frame */
    bench_say_page(bench, "1B 01 01 1F 0E", body, sizeof body, "0B");
    bench_hears_nothing(bench, SECOND);
    bench_say(bench, SIGN_ON);
    bench_hears_nothing(bench, SECOND);
    virtual_reset(bench->device, VRESET_PIN);
    bench_close(bench);
    bench_open(bench, NULL);
    bench_exchange(bench, SIGN_ON, SIGNED_ON);
    bench_free(bench);
}

static void faults_are_acted_out(void **state)
{
    (void)state;
    struct bench *bench = m0(NULL);
    uint8_t data[256] = {0};
    bench->config.faults = (struct vfaults){.nak = 1, .wrong_id = true};
    bench->config.flash.stuck = 0x4001;
    bench_start(bench, 0);
    bench_exchange(bench, SIGN_ON, "1B 01 00 02 0E 01 C0 D7");
    bench_exchange(bench, "1B 04 00 06 0E 1B 04 30 00 01 00 39", "1B 04 00 04 0E 1B 00 97 00 99");
    bench_exchange(bench, LOAD_4000, LOADED);
    say_block(bench, data);
    assert_memory_equal(bench->flash + 0x4000, "\0\xff\0", 3);
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_to_be_an_atmega2560),
        cmocka_unit_test(unknown_commands_get_a_frame_without_a_body),
        cmocka_unit_test(writing_without_erase_only_clears_bits),
        cmocka_unit_test(chip_erase_erases_the_application_and_takes_seconds),
        cmocka_unit_test(loader_below_4000_is_neither_written_nor_read),
        cmocka_unit_test(stays_eight_seconds_then_starts_the_application),
        cmocka_unit_test(leaving_comes_half_a_second_after_its_reply),
        cmocka_unit_test(reset_button_leads_into_the_loader_power_does_not),
        cmocka_unit_test(touch_works_on_the_arduino_core_only),
        cmocka_unit_test(bad_frames_are_dropped_and_bad_sizes_derail),
        cmocka_unit_test(faults_are_acted_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
