/*
 * The client of a running Klipper: blocks and numbers as docs/Protocol.md writes them, and whole
 * conversations with the firmware of a virtual board.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "klipper/block.h"
#include "klipper/crc16.h"
#include "klipper/klipper.h"
#include "method_rig.h"
#include "scripted_serial.h"

extern const struct method method_katapult_serial, method_katapult_usb;
extern const struct vmodel vmodel_katapult_serial, vmodel_katapult_usb;

/* ---- numbers and blocks ---- */

static void crc_has_its_check_value(void **state)
{
    (void)state;
    assert_int_equal(klipper_crc16((const uint8_t *)"123456789", 9), 0x6f91);
}

static void numbers_are_written_as_in_the_document(void **state)
{
    (void)state;
    static const struct {
        uint32_t value;
        size_t length;
        uint8_t bytes[5];
    } numbers[] = {{0, 1, {0x00}},
                   {0x28, 1, {0x28}},
                   {95, 1, {0x5f}},
                   {96, 2, {0x80, 0x60}},
                   {120, 2, {0x80, 0x78}},
                   {(uint32_t)-32, 1, {0x60}},
                   {(uint32_t)-33, 2, {0xff, 0x5f}},
                   {12287, 2, {0xdf, 0x7f}},
                   {12288, 3, {0x80, 0xe0, 0x00}},
                   {UINT32_C(0x7fffffff), 5, {0x87, 0xff, 0xff, 0xff, 0x7f}},
                   {UINT32_C(0x80000000), 5, {0x88, 0x80, 0x80, 0x80, 0x00}}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint8_t out[8];
        size_t length = (size_t)(klipper_vlq_put(out, numbers[i].value) - out);
        assert_int_equal(length, numbers[i].length);
        assert_memory_equal(out, numbers[i].bytes, length);
        const uint8_t *cursor = out;
        uint32_t value;
        assert_true(klipper_vlq_get(&cursor, out + length, &value));
        assert_int_equal(value, numbers[i].value);
        assert_ptr_equal(cursor, out + length);
        cursor = out;
        assert_false(klipper_vlq_get(&cursor, out + length - 1, &value));
    }
}

static void a_number_without_an_end_is_refused(void **state)
{
    (void)state;
    static const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    const uint8_t *cursor = endless;
    uint32_t value;
    assert_false(klipper_vlq_get(&cursor, endless + sizeof endless, &value));
}

static void a_block_is_found_behind_what_is_none(void **state)
{
    (void)state;
    uint8_t bytes[80] = {0x40, 0x07, 0x05, 0x7e};
    struct klipper_block block;
    bool found;
    size_t size = klipper_block_put(bytes + 4, 0x1b, (const uint8_t *)"abc", 3);
    assert_int_equal(size, 8);
    for (size_t length = 4; length < 4 + size; length++) {
        size_t used = klipper_block_get(bytes, length, &block, &found);
        assert_false(found);
        assert_true(used <= 4);
    }
    assert_int_equal(klipper_block_get(bytes, 4 + size + 9, &block, &found), 4 + size);
    assert_true(found);
    assert_int_equal(block.number, 0xb);
    assert_int_equal(block.length, 3);
    assert_memory_equal(block.content, "abc", 3);
    for (size_t i = 4; i < 4 + size; i++) { /* any changed byte makes it none */
        bytes[i] ^= 0x20;
        (void)klipper_block_get(bytes, 4 + size, &block, &found);
        assert_false(found);
        bytes[i] ^= 0x20;
    }
}

/* ---- scripted firmware ---- */

static int identify_script(const struct script_turn *turns, struct error *err)
{
    struct serial *serial = scripted_serial(turns);
    struct klipper_facts facts;
    error_clear(err);
    int rc = klipper_identify(serial, &facts, err);
    if (rc == OK)
        assert_true(facts.present);
    else
        assert_false(facts.present);
    assert_true(scripted_serial_done(serial));
    serial_close(serial);
    return rc;
}

/* The exchange of docs/Protocol.md: the first two questions, and an end that is none. */
static void identify_asks_byte_for_byte(void **state)
{
    (void)state;
    struct error err;
    static const struct script_turn turns[] = {
        {"08 10 01 00 28 5e 9f 7e", "05 11 8f 08 7e"
                                    "30 11 00 00 28 78 da 9d 3a 8b 6e e3 c8 91 bf 42 08 58 dc 25 "
                                    "b1 37 22 a9 a7 81 45 20 cb 9a "
                                    "1d 63 c7 63 47 f2 ec 06 77 38 10 34 d9 92 88 f5 e7 7e"},
        {"08 11 01 28 28 af d7 7e", NULL},
        {"08 11 01 28 28 af d7 7e", NULL},
        {"08 11 01 28 28 af d7 7e", NULL},
        {"08 11 01 28 28 af d7 7e", NULL},
        {"08 11 01 28 28 af d7 7e", NULL},
        {"08 11 01 28 28 af d7 7e", NULL},
        {"08 11 01 28 28 af d7 7e", NULL},
        {"08 11 01 28 28 af d7 7e", NULL},
        {"08 11 01 28 28 af d7 7e", NULL},
        {"08 11 01 28 28 af d7 7e", NULL},
        {NULL, NULL}};
    assert_int_equal(identify_script(turns, &err), ERR_NO_ANSWER);
    assert_non_null(strstr(err.message, "byte 40"));
}

static void identify_adopts_the_firmwares_number(void **state)
{
    (void)state;
    struct error err;
    uint8_t question[KLIPPER_BLOCK_MAX], nak[KLIPPER_BLOCK_MAX], empty[KLIPPER_BLOCK_MAX];
    char hex[3][3 * KLIPPER_BLOCK_MAX + 1] = {"", "", ""};
    const uint8_t *blocks[] = {question, nak, empty};
    size_t sizes[] = {klipper_block_put(question, 9, (const uint8_t *)"\x01\x00\x28", 3),
                      klipper_block_put(nak, 9, NULL, 0),
                      klipper_block_put(empty, 10, (const uint8_t *)"\x00\x00\x00", 3)};
    for (size_t i = 0; i < 3; i++)
        for (size_t n = 0; n < sizes[i]; n++)
            (void)snprintf(hex[i] + 3 * n, 4, "%02x ", blocks[i][n]);
    const struct script_turn turns[] = {
        {"08 10 01 00 28 5e 9f 7e", hex[1]}, {hex[0], hex[2]}, {NULL, NULL}};
    assert_int_equal(identify_script(turns, &err), ERR_PROTOCOL); /* no bytes: no dictionary */
    assert_non_null(strstr(err.message, "0 bytes"));
}

static void silence_is_told_with_its_rate(void **state)
{
    (void)state;
    struct error err;
    static const struct script_turn silent[] = {
        {"08 10 01 00 28 5e 9f 7e 08 10 01 00 28 5e 9f 7e 08 10 01 00 28 5e 9f 7e "
         "08 10 01 00 28 5e 9f 7e 08 10 01 00 28 5e 9f 7e 08 10 01 00 28 5e 9f 7e "
         "08 10 01 00 28 5e 9f 7e 08 10 01 00 28 5e 9f 7e 08 10 01 00 28 5e 9f 7e "
         "08 10 01 00 28 5e 9f 7e",
         NULL},
        {NULL, NULL}};
    assert_int_equal(identify_script(silent, &err), ERR_NO_ANSWER);
    assert_non_null(strstr(err.message, "115200"));
    assert_non_null(strstr(err.hint, "SERIAL_BAUD"));
}

static void the_request_is_the_documented_33_bytes(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {
        {"7e 20 1c 20 52 65 71 75 65 73 74 20 53 65 72 69 61 6c 20 42 6f 6f 74 6c 6f 61 64 65 72 "
         "21 21 20 7e",
         NULL},
        {NULL, NULL}};
    struct serial *serial = scripted_serial(turns);
    struct error err;
    assert_int_equal(klipper_request_bootloader(serial, &err), OK);
    assert_true(scripted_serial_done(serial));
    assert_true(clock_now(serial->clock) >= serial_wire_time(serial, 33));
    serial_close(serial);
}

/* ---- the firmware of a virtual board ---- */

enum { START = 0x08002000, OFFSET = 0x2000, STREAM_AT = 0x100, PADDING = 4000 };

/* A program with a dictionary of some size; zlib makes little of the noise in it. */
static void put_klipper(struct rig *rig, const char *config)
{
    char json[PADDING + 512], noise[PADDING + 1];
    uint32_t seed = 7;
    for (size_t i = 0; i < PADDING; i++) {
        seed = seed * 1664525u + 1013904223u;
        noise[i] = (char)('a' + (seed >> 24) % 26);
    }
    noise[PADDING] = '\0';
    int length = snprintf(json, sizeof json,
                          "{\"app\":\"Klipper\",\"version\":\"v0.13.0-7\",\"commands\":{},"
                          "\"noise\":\"%s\",\"config\":{%s\"MCU\":\"stm32f103xe\"}}",
                          noise, config);
    uint8_t program[STREAM_AT + 2 * PADDING] = {0x00, 0x50, 0x00, 0x20, 0x01, 0x21, 0x00, 0x08};
    uLongf size = sizeof program - STREAM_AT;
    assert_int_equal(compress2(program + STREAM_AT, &size, (const Bytef *)json, (uLong)length, 9),
                     Z_OK);
    memset(rig->flash + OFFSET, 0xff, 0x4000);
    memcpy(rig->flash + OFFSET, program, STREAM_AT + size);
    rig_image_bytes(rig, MEM_FLASH, START, program, STREAM_AT + size);
    assert_true(klipper_dictionary(program + STREAM_AT, size, &rig->image.klipper));
}

static struct rig *running(const struct vmodel *model, const struct method *method,
                           const char *config)
{
    struct rig *rig = rig_new(model, method, "stm32f103xe", 0x80000, NULL);
    put_klipper(rig, config);
    rig->config.app = true;
    rig_remake(rig);
    rig->loader.end = 0;
    return rig;
}

static struct rig *on_uart(void)
{
    return running(&vmodel_katapult_serial, &method_katapult_serial, "\"SERIAL_BAUD\":250000,");
}

static int ask(struct rig *rig, const struct line_faults *faults, struct klipper_facts *facts)
{
    rig->serial = virtual_serial(rig->device, faults);
    assert_non_null(rig->serial);
    int rc = serial_set_baud(rig->serial, 250000, &rig->err);
    uint64_t begun = clock_now(rig->serial->clock);
    if (rc == OK)
        rc = klipper_identify(rig->serial, facts, &rig->err);
    rig->whole = clock_now(rig->serial->clock) - begun;
    rig->messages = virtual_line(rig->serial)->messages;
    rig_close(rig);
    return rc;
}

static void identify_tells_what_runs(void **state)
{
    (void)state;
    struct rig *rigs[] = {on_uart(), running(&vmodel_katapult_usb, &method_katapult_usb, "")};
    for (size_t i = 0; i < 2; i++) {
        struct klipper_facts facts, other = rigs[i]->image.klipper;
        for (unsigned again = 0; again < 3; again++) { /* its number is another each time */
            rig_assert_ok(rigs[i], ask(rigs[i], NULL, &facts));
            assert_string_equal(facts.mcu, "stm32f103xe");
            assert_string_equal(facts.version, "v0.13.0-7");
            assert_true(klipper_same(&facts, &rigs[i]->image.klipper));
        }
        other.crc++;
        assert_false(klipper_same(&facts, &other));
        rig_free(rigs[i]);
    }
}

static void identify_survives_the_loss_of_any_one_byte(void **state)
{
    (void)state;
    struct rig *rig = on_uart();
    struct klipper_facts facts;
    rig_assert_ok(rig, ask(rig, NULL, &facts));
    for (unsigned n = 1, messages = rig->messages; n <= messages; n++) {
        const struct line_faults faults[] = {{.drop = n}, {.corrupt = n}};
        for (size_t i = 0; i < 2; i++) {
            rig_assert_ok(rig, ask(rig, &faults[i], &facts));
            assert_true(klipper_same(&facts, &rig->image.klipper));
        }
        const struct line_faults stall = {.stall = n}, cut = {.cut = n};
        assert_int_equal(ask(rig, &stall, &facts), ERR_NO_ANSWER);
        assert_true(rig->whole < 3 * SECOND);
        assert_int_equal(ask(rig, &cut, &facts), ERR_GONE);
    }
    rig_free(rig);
}

static void identify_takes_no_longer_than_the_wire(void **state)
{
    (void)state;
    struct rig *rig = on_uart();
    struct klipper_facts facts;
    rig_assert_ok(rig, ask(rig, NULL, &facts));
    double chunks = facts.length / 40.0 + 1;
    double limit = chunks * (9 + 50) * 10 / 250000; /* the acknowledgement follows the answer */
    print_message("%u bytes in %.3f s, limit %.3f s, ratio %.3f\n", (unsigned)facts.length,
                  (double)rig->whole / SECOND, limit, (double)rig->whole / SECOND / limit);
    assert_true((double)rig->whole / SECOND < 1.15 * limit);
    rig_free(rig);
}

static void a_request_brings_klipper_into_katapult(void **state)
{
    (void)state;
    struct rig *rig = on_uart();
    assert_int_equal(rig_connect(rig, NULL), ERR_NO_ANSWER); /* Klipper is no Katapult */
    rig_close(rig);
    rig->serial = virtual_serial(rig->device, NULL);
    rig_assert_ok(rig, serial_set_baud(rig->serial, 250000, &rig->err));
    rig_assert_ok(rig, klipper_request_bootloader(rig->serial, &rig->err));
    rig_close(rig);
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_has_its_check_value),
        cmocka_unit_test(numbers_are_written_as_in_the_document),
        cmocka_unit_test(a_number_without_an_end_is_refused),
        cmocka_unit_test(a_block_is_found_behind_what_is_none),
        cmocka_unit_test(identify_asks_byte_for_byte),
        cmocka_unit_test(identify_adopts_the_firmwares_number),
        cmocka_unit_test(silence_is_told_with_its_rate),
        cmocka_unit_test(the_request_is_the_documented_33_bytes),
        cmocka_unit_test(identify_tells_what_runs),
        cmocka_unit_test(identify_survives_the_loss_of_any_one_byte),
        cmocka_unit_test(identify_takes_no_longer_than_the_wire),
        cmocka_unit_test(a_request_brings_klipper_into_katapult),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
