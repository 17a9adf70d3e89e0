/* Katapult's packets and one whole conversation byte for byte, as the protocol's document and the
 * loader's sources have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "katapult/packet.h"
#include "method.h"
#include "scripted_serial.h"

extern const struct method method_katapult_serial;

static void short_packets_are_the_documented_bytes(void **state)
{
    (void)state;
    static const struct {
        uint8_t word, bytes[8];
    } packets[] = {{KAT_CONNECT, {0x01, 0x88, 0x11, 0x00, 0xf1, 0x7c, 0x99, 0x03}},
                   {KAT_SEND_EOF, {0x01, 0x88, 0x13, 0x00, 0x41, 0x4f, 0x99, 0x03}},
                   {KAT_COMPLETE, {0x01, 0x88, 0x15, 0x00, 0x91, 0x1b, 0x99, 0x03}},
                   {KAT_GET_CANBUS_ID, {0x01, 0x88, 0x16, 0x00, 0xf9, 0x31, 0x99, 0x03}},
                   {KAT_NACK, {0x01, 0x88, 0xf1, 0x00, 0x68, 0x95, 0x99, 0x03}},
                   {KAT_COMMAND_ERROR, {0x01, 0x88, 0xf2, 0x00, 0x00, 0xbf, 0x99, 0x03}}};
    for (size_t i = 0; i < sizeof packets / sizeof packets[0]; i++) {
        uint8_t out[KATAPULT_PACKET_LONGEST];
        assert_int_equal(katapult_packet_put(out, packets[i].word, NULL, 0), 8);
        assert_memory_equal(out, packets[i].bytes, 8);
    }
}

static void a_packet_is_found_behind_what_is_none(void **state)
{
    (void)state;
    uint8_t bytes[64] = {0x99, 0x03, 0x01, 0x01, 0x88};
    struct katapult_packet packet;
    bool found;
    size_t junk, size = 5 + katapult_packet_put(bytes + 5, KAT_ACK, (const uint8_t *)"1234", 4);
    /* The pretended header claims 4 * 0x88 more bytes: until they have come it may be a packet. */
    (void)katapult_packet_get(bytes, size, &packet, &found, &junk);
    assert_false(found);
    bytes[4] = 0x00;
    for (size_t length = 0; length < size; length++) {
        (void)katapult_packet_get(bytes, length, &packet, &found, &junk);
        assert_false(found);
    }
    assert_int_equal(katapult_packet_get(bytes, size, &packet, &found, &junk), size);
    assert_true(found);
    assert_int_equal(junk, 5);
    assert_int_equal(packet.word, KAT_ACK);
    assert_int_equal(packet.length, 4);
    assert_memory_equal(packet.payload, "1234", 4);
    for (size_t i = 5; i < size; i++) { /* any changed byte makes it none */
        bytes[i] ^= 0x10;
        (void)katapult_packet_get(bytes, size, &packet, &found, &junk);
        assert_false(found);
        bytes[i] ^= 0x10;
    }
}

#define HEX_00_3F                                                      \
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" \
    "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
#define HEX_40_7F                                                      \
    "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f" \
    "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
#define CONNECTED                              \
    "0188a00d11000000000101000020000840000000" \
    "73746d3332663130337865000000000076302e30" \
    "2e312d3131302d67623062663432310028dd9903"

/* 128 bytes for an F103. What is late or double is passed over. */
static void a_whole_run_is_the_documented_exchange(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {
        {"018811 00f17c9903", CONNECTED},
        {"0188121100200008" HEX_00_3F "d2f39903", CONNECTED "0188a00212000000002000085ad69903"},
        {"0188121140200008" HEX_40_7F "10099903", "0188a00212000000002000085ad69903"
                                                  "0188a0021200000040200008edc09903"},
        {"01881300414f9903", "0188a00213000000010000002dc49903"},
        {"01881401002000085bde9903", "0188a0121400000000200008" HEX_00_3F "f26b9903"},
        {"0188140140200008ecc89903", "0188a0121400000040200008" HEX_40_7F "30919903"},
        {"01881401002000085bde9903", "0188a0121400000000200008" HEX_00_3F "f26b9903"},
        {"01881500911b9903", "0188a00115000000002e9903"},
        {NULL, NULL}};
    static const struct loader loader = {.has_start = true, .start = 0x08002000};
    struct serial *serial = scripted_serial(turns);
    struct session session = {.method = &method_katapult_serial,
                              .chip = chip_find("stm32f103xe"),
                              .loader = &loader,
                              .serial = serial,
                              .clock = serial->clock};
    struct image image = {0};
    uint8_t bytes[128];
    struct error err;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(image_add(&image, MEM_FLASH, 0x08002000, bytes, sizeof bytes, &err), OK);
    const struct job job = {.image = &image, .region = chip_region(session.chip, MEM_FLASH)};
    assert_int_equal(session.method->connect(&session, &err), OK);
    assert_int_equal(serial->settings.baud, 250000);
    assert_int_equal(session.method->write(&session, &job, &err), OK);
    assert_int_equal(verify_by_reading(&session, &job, &err), OK);
    assert_int_equal(session.method->run(&session, &err), OK);
    assert_true(scripted_serial_done(serial));
    session.method->disconnect(&session);
    serial_close(serial);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_packets_are_the_documented_bytes),
        cmocka_unit_test(a_packet_is_found_behind_what_is_none),
        cmocka_unit_test(a_whole_run_is_the_documented_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
