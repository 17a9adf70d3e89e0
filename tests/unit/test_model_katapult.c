/* The model of a Katapult node against its protocol: the worked exchange byte for byte, the parser
 * and what wedges it, buffers, times, and its ways into and out of the loader. */
#include "katapult_bench.h"

#include <string.h>

#include "arm/katapult.h"
#include "base/bytes.h"

enum { START = 0x08002000, OFFSET = 0x2000, PAGE = 2048 };

static struct bench *uart(const char *variant)
{
    struct bench *bench = bench_new(&vmodel_katapult_serial, "stm32f103xe", variant);
    memset(bench->flash, 0x77, OFFSET); /* the loader's own */
    return bench;
}

static struct bench *started(const char *variant)
{
    struct bench *bench = uart(variant);
    bench_start(bench, 0);
    return bench;
}

static void is_wedged(struct bench *bench)
{
    for (unsigned i = 0; i < 40; i++) {
        bench_say(bench, CONNECT);
        bench_hears_nothing(bench, 20 * MILLISECOND);
    }
}

/* ---- the exchange ---- */

static void worked_exchange_goes_byte_for_byte(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    uint8_t ramp[128];
    bench_ramp(ramp, sizeof ramp);
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_say_page(bench, "01 88 12 11 00 20 00 08", ramp, 64, "D2 F3 99 03");
    bench_hears(bench, "01 88 A0 02 12 00 00 00 00 20 00 08 5A D6 99 03");
    bench_say_page(bench, "01 88 12 11 40 20 00 08", ramp + 64, 64, "10 09 99 03");
    bench_hears(bench, "01 88 A0 02 12 00 00 00 40 20 00 08 ED C0 99 03");
    bench_exchange(bench, SEND_EOF, "01 88 A0 02 13 00 00 00 01 00 00 00 2D C4 99 03");
    bench_exchange(bench, "01 88 14 01 40 20 00 08 EC C8 99 03",
                   "01 88 A0 12 14 00 00 00 40 20 00 08 40 41 42 43 44 45 46 47 48 49 4A 4B 4C 4D "
                   "4E 4F 50 51 52 53 54 55 56 57 58 59 5A 5B 5C 5D 5E 5F 60 61 62 63 64 65 66 67 "
                   "68 69 6A 6B 6C 6D 6E 6F 70 71 72 73 74 75 76 77 78 79 7A 7B 7C 7D 7E 7F 30 91 "
                   "99 03");
    bench_say_page(bench, "01 88 12 11 40 20 00 08", ramp, 64, "7C 84 99 03");
    bench_hears(bench, COMMAND_ERROR); /* the flash is not blank there */
    assert_memory_equal(bench->flash + OFFSET, ramp, 128);
    bench_exchange(bench, COMPLETE, COMPLETED);
    bench_free(bench);
}

static void versions_differ_in_their_connect_reply(void **state)
{
    (void)state;
    struct bench *bench = started("1.0");
    bench_exchange(bench, CONNECT,
                   "01 88 A0 08 11 00 00 00 00 00 01 00 00 20 00 08 40 00 00 00 73 74 6D 33 32 66 "
                   "31 30 33 78 65 00 00 00 00 00 0C 08 99 03");
    bench_free(bench);
    bench = started("no-version,4k");
    bench_exchange(bench, CONNECT,
                   "01 88 A0 08 11 00 00 00 00 01 01 00 00 10 00 08 40 00 00 00 73 74 6D 33 32 66 "
                   "31 30 33 78 65 00 00 00 00 00 7D 36 99 03");
    bench_free(bench);
}

static void unknown_commands_are_refused_and_do_no_harm(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    bench_exchange(bench, "01 88 90 00 E5 E9 99 03", COMMAND_ERROR);
    bench_exchange(bench, "01 88 16 00 F9 31 99 03", COMMAND_ERROR); /* no CAN */
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_free(bench);
}

static void packets_hold_up_to_128_bytes(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    uint8_t payload[124] = {0}, bytes[136];
    bench_send(bench, bytes, packet(bytes, 0x11, payload, 120));
    bench_hears(bench, CONNECTED);
    bench_send(bench, bytes, packet(bytes, 0x11, payload, 124));
    bench_hears(bench, NACK);
    is_wedged(bench);
    bench_free(bench);
}

/* ---- the parser ---- */

static void bytes_before_a_packet_cost_one_nack(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    bench_exchange(bench, "7E 7E 7E " CONNECT,
                   NACK
                   " 01 88 A0 0D 11 00 00 00 00 01 01 00 00 20 00 "
                   "08 40 00 00 00 73 74 6D 33 32 66 31 30 33 78 65 00 00 00 00 00 76 30 2E 30 2E "
                   "31 2D 31 31 30 2D 67 62 30 62 66 34 32 31 00 28 DD 99 03");
    bench_exchange(bench,
                   "7e 20 1c 20 52 65 71 75 65 73 74 20 53 65 72 69 61 6c 20 42 6f 6f 74 6c 6f 61 "
                   "64 65 72 21 21 20 7e",
                   NACK);
    bench_say(bench, "7E 7E 7E 7E 7E 7E 7E 7E 7E");
    bench_hears_nothing(bench, SECOND); /* still the same run of errors */
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_free(bench);
}

static void wrong_crc_wedges_until_reset(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    bench_exchange(bench, "01 88 11 00 F1 7D 99 03", NACK);
    is_wedged(bench);
    bench_say(bench, COMPLETE);
    bench_hears_nothing(bench, SECOND);
    double_reset(bench);
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_free(bench);
}

static void wrong_trailer_wedges(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    bench_exchange(bench, "01 88 11 00 F1 7C 99 04", NACK);
    is_wedged(bench);
    bench_free(bench);
}

static void byte_lost_in_a_block_wedges_with_the_next_packet(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    uint8_t bytes[76], payload[68] = {0};
    put_le32(payload, START);
    packet(bytes, 0x12, payload, sizeof payload);
    memmove(bytes + 20, bytes + 21, sizeof bytes - 21);
    bench_send(bench, bytes, sizeof bytes - 1);
    bench_hears_nothing(bench, 5 * SECOND);
    bench_exchange(bench, CONNECT, NACK);
    is_wedged(bench);
    bench_free(bench);
}

static void klippers_identify_wedges(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    bench_exchange(bench, "08 10 01 00 28 5e 9f 7e", NACK);
    is_wedged(bench);
    bench_free(bench);
}

static void wedged_usb_takes_no_more_than_its_buffer(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_katapult_usb, "stm32f407xx", NULL);
    bench_start(bench, 0);
    bench_exchange(bench, "01 88 11 00 F1 7D 99 03", NACK);
    is_wedged(bench);
    assert_int_equal(virtual_line(bench->serial)->receiver.count, 8 + 40 * 8 - 128);
    bench_free(bench);
}

static void a_lost_command_of_one_frame_does_no_harm(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    bench_close(bench);
    bench_open(bench, &(struct line_faults){.drop = 1});
    bench_say(bench, CONNECT);
    bench_hears(bench, CONNECTED + 3); /* the reply's first byte is lost */
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_free(bench);
}

/* ---- what is refused, what is fatal ---- */

static void blocks_out_of_place_are_refused(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    uint8_t payload[64] = {0}, bytes[72];
    block_is_refused(bench, START - 64, 0); /* the loader's own */
    block_is_refused(bench, START + 32, 0);
    put_le32(payload, START);
    bench_send(bench, bytes, packet(bytes, 0x12, payload, 64)); /* 60 bytes of data */
    bench_hears(bench, COMMAND_ERROR);
    assert_int_equal(bench->flash[OFFSET - 1], 0x77);
    block_reads(bench, START, 0xff);
    block_reads(bench, START - 64, 0x77);
    block_reads(bench, START - 32 - 64, 0x77); /* unaligned is fine */
    block_reads(bench, 0x20000000, 0);
    bench_free(bench);
}

static void writing_behind_the_flash_is_fatal(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    uint8_t data[64] = {0};
    block_is_done(bench, 0x08080000 - 64, 0);
    say_block(bench, 0x08080000, data);
    bench_hears_nothing(bench, SECOND);
    is_wedged(bench);
    double_reset(bench);
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_free(bench);
}

static void reading_what_is_not_there_is_fatal(void **state)
{
    (void)state;
    static const char *const fatal[] = {
        "01 88 14 01 E0 FF 07 08",                /* its last bytes lie behind the flash */
        "01 88 14 01 00 00 00 60", "01 88 14 00", /* no address: it is taken from CRC and trailer */
    };
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
        struct bench *bench = started(NULL);
        uint8_t head[8], bytes[16];
        size_t length = bench_hex(fatal[i], head, sizeof head) - 4;
        bench_send(bench, bytes, packet(bytes, 0x14, head + 4, length));
        bench_hears_nothing(bench, SECOND);
        is_wedged(bench);
        bench_free(bench);
    }
}

/* ---- buffers and times ---- */

static void erase_and_programming_take_their_time(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    bench->flash[OFFSET + PAGE - 1] = 0;
    uint64_t start = bench_now(bench);
    block_is_done(bench, START, 0x11); /* 92 bytes on the wire: 3.7 ms; and 2 ms of listening */
    assert_in_range(bench_now(bench) - start, 37300, 37500);
    assert_int_equal(bench->flash[OFFSET + PAGE - 1], 0xff);
    start = bench_now(bench);
    block_is_done(bench, START + 64, 0x11);
    assert_in_range(bench_now(bench) - start, 7300, 7500);
    bench_free(bench);
}

static void uart_is_deaf_while_flash_works(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    uint8_t data[64] = {0};
    bench->flash[OFFSET] = 0;
    say_block(bench, START, data);
    bench_say(bench, CONNECT); /* but for its first byte nothing of it is heard */
    bench_wait(bench, 20 * MILLISECOND);
    assert_int_equal(virtual_line(bench->serial)->receiver.count, 1);
    hears_block_done(bench, START);
    bench_exchange(bench, CONNECT, NACK);
    is_wedged(bench);
    bench_free(bench);
}

static void usb_loses_nothing_while_flash_works(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_katapult_usb, "stm32f407xx", NULL);
    uint8_t data[64] = {0};
    memset(bench->flash, 0x55, 0x100000);
    bench_start(bench, 0);
    for (uint32_t i = 0; i < 4; i++)
        say_block(bench, 0x08008000 + 64 * i, data);
    for (uint32_t i = 0; i < 4; i++)
        bench_wait(bench, SECOND);
    uint8_t heard[128];
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 64); /* four answers */
    block_reads(bench, 0x080080c0, 0);
    bench_free(bench);
}

/* The second of two replies of 80 bytes fits when 16 bytes of the first are left: 64 bytes, or
 * 2560 us, after it began. Asking takes 12 bytes itself. */
static void second_reply_fits_when_16_bytes_are_left(void **state)
{
    (void)state;
    static const struct {
        uint64_t pause;
        size_t replies;
    } cases[] = {{2480, 1}, {2600, 2}};
    for (size_t i = 0; i < 2; i++) {
        struct bench *bench = started(NULL);
        uint8_t payload[4], bytes[12], heard[256];
        put_le32(payload, START);
        packet(bytes, 0x14, payload, 4);
        bench_send(bench, bytes, sizeof bytes);
        bench_wait(bench, cases[i].pause);
        bench_send(bench, bytes, sizeof bytes);
        assert_int_equal(bench_listen(bench, heard, sizeof heard), 80 * cases[i].replies);
        bench_free(bench);
    }
}

static void reply_that_finds_no_room_is_lost_and_no_more(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    uint8_t payload[4], bytes[24], heard[256];
    put_le32(payload, START);
    packet(bytes, 0x14, payload, 4);
    packet(bytes + 12, 0x14, payload, 4);
    bench_send(bench, bytes, sizeof bytes);
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 80);
    block_reads(bench, START, 0xff);
    bench_free(bench);
    bench = bench_new(&vmodel_katapult_usb, "stm32f407xx", NULL); /* 192 bytes there */
    bench_start(bench, 0);
    bench_send(bench, bytes, sizeof bytes);
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 160);
    bench_free(bench);
}

static void usbfs_holds_its_first_packet_back(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_katapult_usb, "stm32f103xe", NULL);
    bench_start(bench, 0);
    bench_say(bench, CONNECT);
    bench_hears_nothing(bench, SECOND);
    bench_exchange(bench, "01 88 90 00 E5 E9 99 03", CONNECTED " " COMMAND_ERROR);
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_close(bench); /* what the device holds survives that */
    bench_open(bench, NULL);
    bench_exchange(bench, CONNECT, CONNECTED);
    double_reset(bench);
    bench_say(bench, CONNECT);
    bench_hears_nothing(bench, SECOND);
    bench_exchange(bench, CONNECT, CONNECTED " " CONNECTED);
    bench_free(bench);
}

static void only_parts_with_usbfs_hold_it_back(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        bool holds;
    } chips[] = {
        {"stm32f072xb", true},  {"stm32g0b1xx", true},  {"stm32g431xx", true},
        {"stm32f446xx", false}, {"stm32h723xx", false}, {"stm32f207xx", false},
        {"rp2040", false},      {"lpc1769", false},
    };
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) {
        struct bench *bench = bench_new(&vmodel_katapult_usb, chips[i].chip, NULL);
        uint8_t heard[64];
        bench_start(bench, 0);
        bench_say(bench, CONNECT);
        assert_int_equal(bench_listen(bench, heard, sizeof heard) == 0, chips[i].holds);
        bench_free(bench);
    }
}

/* ---- in and out ---- */

static void completing_starts_the_application_after_100_ms(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    block_is_done(bench, START, 0x20);
    bench_exchange(bench, COMPLETE, COMPLETED);
    bench_wait(bench, 90 * MILLISECOND);
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_wait(bench, 20 * MILLISECOND);
    is_wedged(bench); /* silent: no Klipper */
    double_reset(bench);
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_free(bench);
}

static void completing_without_a_program_hangs(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_katapult_usb, "stm32f407xx", NULL);
    bench_start(bench, 0);
    bench_exchange(bench, COMPLETE, COMPLETED);
    bench_wait(bench, SECOND);
    assert_false(virtual_line(bench->serial)->up);
    bench_wait(bench, 100 * SECOND);
    assert_false(virtual_line(bench->serial)->up);
    virtual_reset(bench->device, VRESET_PIN);
    bench_wait(bench, SECOND);
    assert_true(virtual_line(bench->serial)->up);
    bench_free(bench);
}

static void single_reset_starts_a_program_and_stays_without_one(void **state)
{
    (void)state;
    struct bench *bench = started(NULL);
    virtual_reset(bench->device, VRESET_PIN);
    bench_say(bench, CONNECT);
    bench_hears_nothing(bench, 90 * MILLISECOND);
    bench_wait(bench, 20 * MILLISECOND);
    bench_exchange(bench, CONNECT, CONNECTED);
    put_program(bench, OFFSET);
    virtual_reset(bench->device, VRESET_PIN);
    bench_wait(bench, SECOND);
    is_wedged(bench); /* the program, which is no Klipper */
    virtual_reset(bench->device, VRESET_POWER);
    bench_wait(bench, SECOND);
    is_wedged(bench);
    memset(bench->flash + OFFSET, 0, 4);
    virtual_reset(bench->device, VRESET_POWER);
    bench_wait(bench, SECOND);
    bench_exchange(bench, CONNECT, CONNECTED);
    bench_free(bench);
}

/* True if a second reset so long after the first leads into the loader. */
static bool second_reset_counts(uint64_t after, enum vreset cause)
{
    struct bench *bench = uart(NULL);
    uint8_t heard[64];
    put_program(bench, OFFSET);
    bench->config.app = true;
    bench_start(bench, 0);
    virtual_reset(bench->device, VRESET_PIN);
    bench_wait(bench, after);
    virtual_reset(bench->device, cause);
    bench_wait(bench, 200 * MILLISECOND);
    bench_say(bench, CONNECT);
    bool counts = bench_listen(bench, heard, sizeof heard) == 60;
    bench_free(bench);
    return counts;
}

static void second_reset_counts_from_10_to_500_ms(void **state)
{
    (void)state;
    assert_false(second_reset_counts(5 * MILLISECOND, VRESET_PIN));
    assert_true(second_reset_counts(15 * MILLISECOND, VRESET_PIN));
    assert_true(second_reset_counts(490 * MILLISECOND, VRESET_PIN));
    assert_false(second_reset_counts(510 * MILLISECOND, VRESET_PIN));
    assert_false(second_reset_counts(100 * MILLISECOND, VRESET_POWER));
}

static void held_button_keeps_the_loader(void **state)
{
    (void)state;
    struct bench *bench = uart("1.0,button");
    put_program(bench, OFFSET);
    bench->config.app = true;
    bench_start(bench, 0);
    is_wedged(bench);
    virtual_reset(bench->device, VRESET_PIN);
    bench_wait(bench, SECOND);
    end_is_done(bench, 0);
    bench_free(bench);
}

static void faults_are_acted_out(void **state)
{
    (void)state;
    struct bench *bench = uart(NULL);
    bench->config.faults = (struct vfaults){.nak = 2, .wrong_id = true};
    bench->config.flash.stuck = OFFSET + 65;
    bench_start(bench, 0);
    uint8_t heard[64];
    bench_say(bench, CONNECT);
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 60);
    assert_memory_equal(heard + 20, "stm32f072xb", 12);
    bench_exchange(bench, CONNECT, COMMAND_ERROR);
    block_is_done(bench, START, 0);
    block_is_refused(bench, START + 64, 0);
    block_is_done(bench, START + 128, 0);
    bench_free(bench);
    bench = uart(NULL);
    bench->flash[OFFSET] = 0x12;
    bench->config.faults.locked = true;
    bench_start(bench, 0);
    block_is_refused(bench, START, 0);
    assert_int_equal(bench->flash[OFFSET], 0x12);
    bench_free(bench);
}

/* ---- a CAN node, as far as the loader goes ---- */

static uint8_t can_sent[64];
static size_t can_count;

static void can_send(struct katapult *k, const uint8_t *bytes, size_t length)
{
    (void)k;
    assert_true(can_count + length <= sizeof can_sent);
    memcpy(can_sent + can_count, bytes, length);
    can_count += length;
}

static size_t can_unsent(const struct katapult *k)
{
    (void)k;
    return 0;
}

static void can_restarted(struct katapult *k)
{
    (void)k;
}

static void a_can_node_tells_its_uuid(void **state)
{
    (void)state;
    static const struct katapult_link link = {
        .receive_buffer = 192,
        .transmit_buffer = 96,
        .send = can_send,
        .unsent = can_unsent,
        .restarted = can_restarted,
    };
    struct bench *bench = uart(NULL);
    struct katapult k = {0};
    uint8_t bytes[20], uuid[6];
    assert_true(katapult_init(&k, &bench->config, &link));
    bench_hex("87 E8 46 57 E6 76", uuid, sizeof uuid);
    k.uuid = uuid;
    can_count = 0;
    size_t length = bench_hex("01 88 16 00 F9 31 99 03", bytes, sizeof bytes);
    for (size_t i = 0; i < length; i++)
        katapult_take(&k, bytes[i]);
    bench_hex("01 88 A0 03 16 00 00 00 87 E8 46 57 E6 76 00 00 0A 34 99 03", bytes, sizeof bytes);
    assert_int_equal(can_count, sizeof bytes);
    assert_memory_equal(can_sent, bytes, sizeof bytes);
    bench_start(bench, 0);
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_exchange_goes_byte_for_byte),
        cmocka_unit_test(versions_differ_in_their_connect_reply),
        cmocka_unit_test(unknown_commands_are_refused_and_do_no_harm),
        cmocka_unit_test(packets_hold_up_to_128_bytes),
        cmocka_unit_test(bytes_before_a_packet_cost_one_nack),
        cmocka_unit_test(wrong_crc_wedges_until_reset),
        cmocka_unit_test(wrong_trailer_wedges),
        cmocka_unit_test(byte_lost_in_a_block_wedges_with_the_next_packet),
        cmocka_unit_test(klippers_identify_wedges),
        cmocka_unit_test(wedged_usb_takes_no_more_than_its_buffer),
        cmocka_unit_test(a_lost_command_of_one_frame_does_no_harm),
        cmocka_unit_test(blocks_out_of_place_are_refused),
        cmocka_unit_test(writing_behind_the_flash_is_fatal),
        cmocka_unit_test(reading_what_is_not_there_is_fatal),
        cmocka_unit_test(erase_and_programming_take_their_time),
        cmocka_unit_test(uart_is_deaf_while_flash_works),
        cmocka_unit_test(usb_loses_nothing_while_flash_works),
        cmocka_unit_test(second_reply_fits_when_16_bytes_are_left),
        cmocka_unit_test(reply_that_finds_no_room_is_lost_and_no_more),
        cmocka_unit_test(usbfs_holds_its_first_packet_back),
        cmocka_unit_test(only_parts_with_usbfs_hold_it_back),
        cmocka_unit_test(completing_starts_the_application_after_100_ms),
        cmocka_unit_test(completing_without_a_program_hangs),
        cmocka_unit_test(single_reset_starts_a_program_and_stays_without_one),
        cmocka_unit_test(second_reset_counts_from_10_to_500_ms),
        cmocka_unit_test(held_button_keeps_the_loader),
        cmocka_unit_test(faults_are_acted_out),
        cmocka_unit_test(a_can_node_tells_its_uuid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
