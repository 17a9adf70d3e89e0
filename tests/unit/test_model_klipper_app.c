/* A Klipper program on a virtual board: its blocks byte for byte, what it answers with nak or not
 * at all, and its two ways into the bootloader. */
#include "katapult_bench.h"

#include <string.h>

#include "klipper_app.h"
#include "base/bytes.h"
#include "klipper/crc16.h"

#define UART_BUILD "\"MCU\":\"stm32f103xe\",\"SERIAL_BAUD\":250000,\"RECEIVE_WINDOW\":192"
#define USB_BUILD  "\"MCU\":\"stm32f103xe\",\"CLOCK_FREQ\":72000000"
#define CAN_BUILD  "\"MCU\":\"stm32f103xe\",\"CANBUS_FREQUENCY\":1000000"

#define IDENTIFY_0 "08 10 01 00 28 5e 9f 7e"
#define ACK_1      "05 11 8f 08 7e"
#define REQUEST                                                                                 \
    "7e 20 1c 20 52 65 71 75 65 73 74 20 53 65 72 69 61 6c 20 42 6f 6f 74 6c 6f 61 64 65 72 21" \
    " 21 20 7e"

enum { OFFSET = 0x2000 };

/* ---- blocks, on a line of their own ---- */

static uint8_t sent[256];
static size_t sent_count;

static void keep(struct vline *line, uint8_t byte)
{
    (void)line;
    assert_true(sent_count < sizeof sent);
    sent[sent_count++] = byte;
}

static struct vline line = {.send = keep};

static struct klipper_app app_with(const uint8_t *dictionary, uint32_t length)
{
    sent_count = 0;
    return (struct klipper_app){
        .running = true,
        .link = KLIPPER_UART,
        .dictionary = dictionary,
        .length = length,
        .leave_at = UINT64_MAX,
    };
}

static void app_hears(struct klipper_app *app, const char *hex)
{
    uint8_t bytes[128];
    size_t count = bench_hex(hex, bytes, sizeof bytes);
    sent_count = 0;
    for (size_t i = 0; i < count; i++)
        klipper_app_receive(app, &line, bytes[i]);
}

static void app_said(const char *hex)
{
    uint8_t bytes[128];
    size_t count = bench_hex(hex, bytes, sizeof bytes);
    assert_int_equal(sent_count, count);
    assert_memory_equal(sent, bytes, count);
}

/* The first 40 bytes of a real image's dictionary, and then some. */
static const uint8_t f446[] = {
    0x78, 0xda, 0x9d, 0x3a, 0x8b, 0x6e, 0xe3, 0xc8, 0x91, 0xbf, 0x42, 0x08, 0x58, 0xdc,
    0x25, 0xb1, 0x37, 0x22, 0xa9, 0xa7, 0x81, 0x45, 0x20, 0xcb, 0x9a, 0x1d, 0x63, 0xc7,
    0x63, 0x47, 0xf2, 0xec, 0x06, 0x77, 0x38, 0x10, 0x34, 0xd9, 0x92, 0x88, 0x01, 0x02,
};

static void worked_exchange_goes_byte_for_byte(void **state)
{
    (void)state;
    struct klipper_app app = app_with(f446, sizeof f446);
    app_hears(&app, IDENTIFY_0);
    app_said("30 11 00 00 28 78 da 9d 3a 8b 6e e3 c8 91 bf 42 08 58 dc 25 b1 37 22 a9 a7 81 45 20 "
             "cb 9a 1d 63 c7 63 47 f2 ec 06 77 38 10 34 d9 92 88 f5 e7 7e " ACK_1);
    app_hears(&app, "08 11 01 28 28 af d7 7e");
    assert_memory_equal(sent + 2, "\x00\x28\x02\x01\x02", 5); /* what is left of it */
    assert_int_equal(sent_count, 10 + 5);
}

static void answer_repeats_offsets_of_any_size(void **state)
{
    (void)state;
    static const struct {
        const char *vlq;
    } offsets[] = {{"50"}, {"80 60"}, {"80 78"}, {"DF 7F"}, {"E0 00"}, {"80 E0 00"}};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        struct klipper_app app = app_with(f446, 1); /* all lie behind the end: no data */
        uint8_t block[16] = {0, 0x10, 1}, vlq[4];
        size_t length = bench_hex(offsets[i].vlq, vlq, sizeof vlq);
        memcpy(block + 3, vlq, length);
        block[3 + length] = 0x28;
        block[0] = (uint8_t)(length + 7);
        put_be16(block + 4 + length, klipper_crc16(block, 4 + length));
        block[6 + length] = 0x7e;
        sent_count = 0;
        for (size_t k = 0; k < length + 7; k++)
            klipper_app_receive(&app, &line, block[k]);
        assert_int_equal(sent[0], 5 + 1 + length + 1);
        assert_memory_equal(sent + 3, vlq, length);
        assert_int_equal(sent[3 + length], 0);
    }
}

static void block_to_the_host_is_never_longer_than_64(void **state)
{
    (void)state;
    struct klipper_app app = app_with(f446, sizeof f446);
    uint8_t long_one[256] = {0};
    uint8_t block[9] = {9, 0x10, 1, 0, 0x81, 0x7f, 0, 0, 0x7e}; /* 255 bytes are asked for */
    app.dictionary = long_one;
    app.length = sizeof long_one;
    put_be16(block + 6, klipper_crc16(block, 6));
    for (size_t i = 0; i < sizeof block; i++)
        klipper_app_receive(&app, &line, block[i]);
    assert_int_equal(sent[0], 64);
    assert_int_equal(sent[4], 64 - 5 - 3);
    assert_int_equal(sent[63], 0x7e);
    assert_int_equal(sent_count, 64 + 5);
}

static void wrong_sequence_gets_the_expected_one(void **state)
{
    (void)state;
    struct klipper_app app = app_with(f446, sizeof f446);
    app_hears(&app, "08 11 01 28 28 af d7 7e");
    app_said("05 10 9e 81 7e");
    app_hears(&app, IDENTIFY_0);
    app_hears(&app, IDENTIFY_0); /* its ack was lost */
    app_said(ACK_1);
}

static void wrong_crc_gets_one_nak_until_a_block_is_right(void **state)
{
    (void)state;
    struct klipper_app app = app_with(f446, sizeof f446);
    app_hears(&app, "08 10 01 00 28 5e 9e 7e");
    app_said("05 10 9e 81 7e");
    app_hears(&app, "08 10 01 00 28 5e 9d 7e 03 04 05 06 07 7e");
    app_said("");
    app_hears(&app, IDENTIFY_0);
    assert_int_equal(sent_count, 48 + 5);
    app_hears(&app, "08 11 01 28 28 af d6 7e");
    app_said(ACK_1);
}

static void without_sync_everything_is_dropped_up_to_the_next(void **state)
{
    (void)state;
    struct klipper_app app = app_with(f446, sizeof f446);
    app_hears(&app, "08 10 01 00 28 5e 9f 00 " IDENTIFY_0); /* no sync: goes with what follows */
    app_said("05 10 9e 81 7e");
    app_hears(&app, IDENTIFY_0);
    assert_int_equal(sent_count, 48 + 5);
}

static void lengths_out_of_5_to_64_are_errors(void **state)
{
    (void)state;
    static const char *const bad[] = {"04 10 01 00 28 7e", "41 10 01 00 28 7e", "08 20 01 00 28 7e",
                                      "00 00 00 00 00 7e"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct klipper_app app = app_with(f446, sizeof f446);
        app_hears(&app, bad[i]);
        app_said("05 10 9e 81 7e");
        app_hears(&app, IDENTIFY_0);
        assert_int_equal(sent_count, 48 + 5);
    }
}

static void request_counts_as_a_block_of_its_own_only(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        bool counts;
    } cases[] = {
        {REQUEST, true},
        {REQUEST " " REQUEST, true},
        {"20 1c 41 " REQUEST, true}, /* the sync before it ends what was there */
        {"08 10 01 " REQUEST, true},
        {"41 " REQUEST, true},
        {REQUEST " 41", false},
        {REQUEST " " IDENTIFY_0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct klipper_app app = app_with(f446, sizeof f446);
        app_hears(&app, cases[i].bytes);
        assert_int_equal(app.leave_at != UINT64_MAX, cases[i].counts);
    }
    struct klipper_app app = app_with(f446, sizeof f446);
    app_hears(&app, "41 " /* and no sync */
                    "20 1c 20 52 65 71 75 65 73 74 20 53 65 72 69 61 6c 20 42 6f 6f 74 6c 6f 61 "
                    "64 65 72 21 21 20 7e");
    assert_true(app.leave_at == UINT64_MAX);
    app = app_with(f446, sizeof f446);
    app.link = KLIPPER_USB; /* has no such check */
    app_hears(&app, REQUEST);
    assert_true(app.leave_at == UINT64_MAX);
}

/* ---- on a board ---- */

static struct bench *running(const struct vmodel *model, const char *chip, size_t offset,
                             const char *config, size_t *length, size_t *at)
{
    struct bench *bench = bench_new(model, chip, NULL);
    *length = put_klipper(bench, offset, config, at);
    bench->config.app = true;
    bench_start(bench, 0);
    return bench;
}

/* The whole dictionary, as a host asks for it. */
static void tells_dictionary(struct bench *bench, const uint8_t *dictionary, size_t length)
{
    uint8_t sequence = 0, heard[128];
    for (size_t at = 0; at <= length;) {
        uint8_t block[9] = {at < 96 ? 8 : 9, (uint8_t)(0x10 | sequence), 1};
        size_t n = 3;
        if (at >= 96)
            block[n++] = (uint8_t)(0x80 | at >> 7);
        block[n++] = at & 0x7f;
        block[n++] = 40;
        put_be16(block + n, klipper_crc16(block, n));
        block[n + 2] = 0x7e;
        bench_send(bench, block, n + 3);
        size_t count = bench_listen(bench, heard, sizeof heard);
        size_t data = length - at < 40 ? length - at : 40;
        assert_int_equal(count, n + 3 + data + 5);
        assert_int_equal(heard[n - 1], data);
        assert_memory_equal(heard + n, dictionary + at, data);
        sequence = (sequence + 1) & 15;
        if (data == 0)
            return;
        at += data;
    }
    fail_msg("no end");
}

static void board_tells_the_dictionary_of_its_flash(void **state)
{
    (void)state;
    size_t length, at;
    struct bench *bench =
        running(&vmodel_katapult_serial, "stm32f103xe", OFFSET, UART_BUILD, &length, &at);
    tells_dictionary(bench, bench->flash + at, length);
    bench_free(bench);
    bench = running(&vmodel_katapult_usb, "rp2040", 0x4000, USB_BUILD, &length, &at);
    tells_dictionary(bench, bench->flash + at, length);
    bench_free(bench);
}

static void builds_for_other_links_are_silent(void **state)
{
    (void)state;
    static const struct {
        const struct vmodel *model;
        const char *config;
    } silent[] = {
        {&vmodel_katapult_serial, USB_BUILD},
        {&vmodel_katapult_serial, CAN_BUILD},
        {&vmodel_katapult_usb, UART_BUILD},
        {&vmodel_katapult_usb, CAN_BUILD},
        {&vmodel_katapult_usb, USB_BUILD ",\"CANBUS_FREQUENCY\":1000000,\"CANBUS_BRIDGE\":1"},
    };
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++) {
        size_t length, at;
        struct bench *bench =
            running(silent[i].model, "stm32f103xe", OFFSET, silent[i].config, &length, &at);
        bench_say(bench, IDENTIFY_0);
        bench_hears_nothing(bench, SECOND);
        bench_free(bench);
    }
}

static void uart_speaks_at_the_rate_it_was_built_for(void **state)
{
    (void)state;
    size_t length, at;
    struct bench *bench = running(&vmodel_katapult_serial, "stm32f103xe", OFFSET,
                                  "\"MCU\":\"stm32f103xe\",\"SERIAL_BAUD\":115200", &length, &at);
    uint8_t heard[64];
    bench_say(bench, IDENTIFY_0);
    size_t count = bench_listen(bench, heard, sizeof heard);
    assert_true(count != 53 || memcmp(heard, "\x30\x10", 2) != 0);
    struct serial_settings settings = {.baud = 115200, .stop_bits = 1};
    bench_wait(bench, SECOND);
    virtual_reset(bench->device, VRESET_POWER);
    bench_wait(bench, SECOND);
    assert_int_equal(bench->serial->ops->configure(bench->serial, &settings, NULL), OK);
    tells_dictionary(bench, bench->flash + at, length);
    bench_say(bench, REQUEST);
    bench_wait(bench, 200 * MILLISECOND);
    settings.baud = 250000; /* Katapult's own */
    assert_int_equal(bench->serial->ops->configure(bench->serial, &settings, NULL), OK);
    bench->serial->ops->drop_input(bench->serial);
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_free(bench);
}

static void request_on_the_uart_leads_into_the_loader(void **state)
{
    (void)state;
    size_t length, at;
    struct bench *bench =
        running(&vmodel_katapult_serial, "stm32f103xe", OFFSET, UART_BUILD, &length, &at);
    bench_exchange(bench, REQUEST, "05 10 9e 81 7e");
    bench_say(bench, CONNECT);
    bench_hears_nothing(bench, 60 * MILLISECOND);
    bench_wait(bench, 50 * MILLISECOND);
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_exchange(bench, COMPLETE, COMPLETED);
    bench_wait(bench, 200 * MILLISECOND);
    tells_dictionary(bench, bench->flash + at, length);
    bench_free(bench);
}

static void configure(struct bench *bench, uint32_t baud)
{
    struct serial_settings settings = {.baud = baud, .stop_bits = 1};
    assert_int_equal(bench->serial->ops->configure(bench->serial, &settings, NULL), OK);
}

/* USB: gone from the bus within `microseconds` of now? */
static bool leaves(struct bench *bench, uint64_t microseconds)
{
    bench_wait(bench, microseconds);
    return !virtual_line(bench->serial)->up;
}

static void touch_leads_into_the_loader_in_either_order(void **state)
{
    (void)state;
    for (int order = 0; order < 3; order++) {
        size_t length, at;
        struct bench *bench =
            running(&vmodel_katapult_usb, "rp2040", 0x4000, USB_BUILD, &length, &at);
        if (order == 0)
            configure(bench, 1200);
        assert_false(leaves(bench, 20 * MILLISECOND));
        if (order < 2)
            assert_int_equal(bench->serial->ops->set_lines(bench->serial, false, true, NULL), OK);
        if (order == 1) {
            assert_false(leaves(bench, 20 * MILLISECOND));
            configure(bench, 1200);
        }
        if (order == 2) { /* closing drops DTR too */
            configure(bench, 1200);
            bench_close(bench);
            virtual_elapse(bench->device, 20 * MILLISECOND);
            assert_true(bench->device->back_at > bench->device->parked);
        } else {
            assert_true(leaves(bench, 6 * MILLISECOND));
            assert_true(leaves(bench, 380 * MILLISECOND));
            bench_close(bench);
        }
        bench_open(bench, NULL);
        end_is_done(bench, 0);
        bench_free(bench);
    }
}

static void closing_at_another_rate_is_no_touch(void **state)
{
    (void)state;
    size_t length, at;
    struct bench *bench = running(&vmodel_katapult_usb, "rp2040", 0x4000, USB_BUILD, &length, &at);
    configure(bench, 9600);
    bench_close(bench);
    bench_open(bench, NULL);
    tells_dictionary(bench, bench->flash + at, length);
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_exchange_goes_byte_for_byte),
        cmocka_unit_test(answer_repeats_offsets_of_any_size),
        cmocka_unit_test(block_to_the_host_is_never_longer_than_64),
        cmocka_unit_test(wrong_sequence_gets_the_expected_one),
        cmocka_unit_test(wrong_crc_gets_one_nak_until_a_block_is_right),
        cmocka_unit_test(without_sync_everything_is_dropped_up_to_the_next),
        cmocka_unit_test(lengths_out_of_5_to_64_are_errors),
        cmocka_unit_test(request_counts_as_a_block_of_its_own_only),
        cmocka_unit_test(board_tells_the_dictionary_of_its_flash),
        cmocka_unit_test(builds_for_other_links_are_silent),
        cmocka_unit_test(uart_speaks_at_the_rate_it_was_built_for),
        cmocka_unit_test(request_on_the_uart_leads_into_the_loader),
        cmocka_unit_test(touch_leads_into_the_loader_in_either_order),
        cmocka_unit_test(closing_at_another_rate_is_no_touch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
