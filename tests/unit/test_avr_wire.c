/*
 * What crosses the wire, byte for byte as AVR061, AVR068 and AVR109 show it, and what is made of
 * answers that no bootloader gives: garbage, text, old replies, damaged and overlong messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "avr/heard.h"
#include "avr/stk500v2_frame.h"
#include "method.h"
#include "scripted_serial.h"

extern const struct method method_stk500v1, method_stk500v2, method_avr109;

/* A session on a script. The caller closes session.serial. */
static struct session session_on(const struct script_turn *turns, const struct method *method,
                                 const char *chip, const struct loader *loader)
{
    struct serial *serial = scripted_serial(turns);
    return (struct session){.method = method,
                            .chip = chip_find(chip),
                            .loader = loader,
                            .serial = serial,
                            .clock = serial->clock};
}

static const struct loader by_dtr = {.enter = "dtr", .bauds = {115200}, .baud_count = 1};

/* ---- STK500v1 ---- */

static void stk500v1_joins_address_and_page_and_reads_on_without_address(void **state)
{
    (void)state;
    static char block[3 * 256 + 16], page[3 * 128 + 64];
    static const struct script_turn turns[] = {
        {"30 20", "14 10"},
        {"41 81 20", "14 04 10"},
        {"41 82 20", "14 04 10"},
        {"75 20", "14 1e 95 0f 10"},
        {page, "14 10 14 10"},
        {"55 00 00 20 74 01 00 46 20", block},
        {"74 01 00 46 20", block + 6}, /* without the answer to 55 */
        {"51 20", "14 10"},
        {NULL, NULL},
    };
    strcpy(block, "14 10 14");
    strcpy(page, "55 00 00 20 64 00 80 46");
    for (size_t i = 0; i < 256; i++)
        strcat(block, " 10");
    for (size_t i = 0; i < 128; i++)
        strcat(page, " 10");
    strcat(block, " 10");
    strcat(page, " 20");
    struct session session = session_on(turns, &method_stk500v1, "atmega328p", &by_dtr);
    struct image image = {.count = 0};
    const struct job job = {.image = &image, .region = chip_region(session.chip, MEM_FLASH)};
    uint8_t bytes[512];
    memset(bytes, 0x10, sizeof bytes);
    assert_int_equal(image_add(&image, MEM_FLASH, 0, bytes, 128, NULL), OK);
    assert_int_equal(method_stk500v1.connect(&session, NULL), OK);
    assert_int_equal(method_stk500v1.write(&session, &job, NULL), OK);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(method_stk500v1.read(&session, MEM_FLASH, 0, bytes, 512, NULL), OK);
    assert_int_equal(bytes[511], 0x10);
    assert_int_equal(method_stk500v1.run(&session, NULL), OK);
    assert_true(scripted_serial_done(session.serial));
    method_stk500v1.disconnect(&session);
    serial_close(session.serial);
    image_free(&image);
}

/* A page that ends on a 128 KiB border may have moved the loader's extended address. */
static void stk500v1_sends_the_extended_address_anew_after_a_bank(void **state)
{
    (void)state;
    static char last[4 * 270], first[4 * 270];
    static const struct script_turn turns[] = {
        {"30 20", "14 10"},
        {"41 81 20", "14 08 10"},
        {"41 82 20", "14 03 10"},
        {"75 20", "14 1e 98 01 10"},
        {"56 4d 00 00 00 20", "14 00 10"},
        {last, "14 10 14 10"},
        {"56 4d 00 00 00 20", "14 00 10"},
        {first, "14 10 14 10"},
        {NULL, NULL},
    };
    strcpy(last, "55 80 ff 20 64 01 00 46");
    strcpy(first, "55 00 00 20 64 01 00 46");
    for (size_t i = 0; i < 256; i++) {
        strcat(last, " 33");
        strcat(first, " 33");
    }
    strcat(last, " 20");
    strcat(first, " 20");
    struct session session = session_on(turns, &method_stk500v1, "atmega2560", &by_dtr);
    struct image image = {.count = 0};
    const struct job job = {
        .image = &image, .region = chip_region(session.chip, MEM_FLASH), .erased = true};
    uint8_t bytes[256];
    memset(bytes, 0x33, sizeof bytes);
    assert_int_equal(image_add(&image, MEM_FLASH, 0, bytes, sizeof bytes, NULL), OK);
    assert_int_equal(image_add(&image, MEM_FLASH, 0x1ff00, bytes, sizeof bytes, NULL), OK);
    assert_int_equal(method_stk500v1.connect(&session, NULL), OK);
    assert_int_equal(method_stk500v1.write(&session, &job, NULL), OK);
    assert_true(scripted_serial_done(session.serial));
    method_stk500v1.disconnect(&session);
    serial_close(session.serial);
    image_free(&image);
}

static void stk500v1_recognises_the_arduino_isp_sketch(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {
        {"30 20", "14 10"},          {"41 81 20", "14 01 10"}, {"41 82 20", "14 12 10"},
        {"75 20", "14 1e 95 0f 10"}, {"41 93 20", "14 53 10"}, {NULL, NULL},
    };
    struct session session = session_on(turns, &method_stk500v1, "atmega328p", &by_dtr);
    struct error err;
    assert_int_equal(method_stk500v1.connect(&session, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "ArduinoISP"));
    assert_non_null(strstr(err.hint, "-p arduino-isp:"));
    assert_null(session.state);
    serial_close(session.serial);
}

/* Ends without an answer, having heard what the script says; returns the error. */
static struct error connect_to(const struct script_turn *turns, const struct method *method)
{
    struct session session = session_on(turns, method, "atmega328p", &by_dtr);
    struct error err;
    assert_int_equal(method->connect(&session, &err), ERR_NO_ANSWER);
    assert_null(session.state);
    serial_close(session.serial);
    return err;
}

static void silence_garbage_and_text_are_told_apart(void **state)
{
    (void)state;
    static const struct script_turn silence[] = {{NULL, NULL}};
    static const struct script_turn garbage[] = {{NULL, "e0 1c fc 00 fe 80 ff e3 1f 77"},
                                                 {NULL, NULL}};
    static const struct script_turn text[] = {
        {NULL, "73 74 61 72 74 0d 0a 4d 61 72 6c 69 6e 20 31 2e 31"}, {NULL, NULL}};
    const struct method *const methods_by_dtr[] = {&method_stk500v1, &method_stk500v2};
    for (size_t i = 0; i < 2; i++) {
        struct error err = connect_to(silence, methods_by_dtr[i]);
        assert_non_null(strstr(err.message, "nothing at all came back"));
        assert_non_null(strstr(err.hint, "RESET"));
        err = connect_to(garbage, methods_by_dtr[i]);
        assert_non_null(strstr(err.message, "e0 1c fc 00 fe 80 ff e3 …"));
        assert_non_null(strstr(err.hint, "--baud"));
        err = connect_to(text, methods_by_dtr[i]);
        assert_non_null(strstr(err.message, "text came back: \"start  Marlin 1.1\""));
        assert_non_null(strstr(err.hint, "application runs"));
    }
}

/* ---- STK500v2 ---- */

static struct stk500v2 link_on(const struct script_turn *turns)
{
    return (struct stk500v2){.serial = scripted_serial(turns), .seq = 1};
}

/* LOAD_ADDRESS 0 as it goes out with the seq 01, 02, 03. */
static const char load_1[] = "1b 01 00 05 0e 06 00 00 00 00 17",
                  load_2[] = "1b 02 00 05 0e 06 00 00 00 00 14",
                  load_ok_1[] = "1b 01 00 02 0e 06 00 10", load_ok_2[] = "1b 02 00 02 0e 06 00 13";
static const uint8_t load[5] = {CMD_LOAD_ADDRESS};

static void v2_skips_old_damaged_and_foreign_bytes(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {
        {load_1, load_ok_1},
        {load_2, "41 1b 1b 01 00 02 0e 06 00 10 "    /* noise, a false start, an old reply */
                 "1b 02 00 02 0e 06 00 12 "          /* damaged */
                 "1b 02 40 02 0e 1b 02 00 02 0f 06 " /* too long, wrong token */
                 "1b 02 00 02 0e 06 00 13"},
        {NULL, NULL},
    };
    struct stk500v2 link = link_on(turns);
    struct error err = {.message = ""};
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(stk500v2_command(&link, load, sizeof load, 2, 0, SECOND, &err), OK);
    assert_int_equal(link.seq, 3);
    assert_true(scripted_serial_done(link.serial));
    serial_close(link.serial);
}

/* A damaged message that holds an old reply and then what looks like the head of an endless one. */
static void v2_bounds_what_it_finds_inside_a_damaged_message(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {
        {load_1, load_ok_1},
        {load_2, "1b 02 00 12 0e  1b 01 00 02 0e 06 00 10  1b 02 ff ff 0e 00 00 00 00 00  00 "
                 "1b 02 00 02 0e 06 00 13"},
        {NULL, NULL},
    };
    struct stk500v2 link = link_on(turns);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(stk500v2_command(&link, load, sizeof load, 2, 0, SECOND, NULL), OK);
    serial_close(link.serial);
}

static void v2_sends_again_under_seq_1_after_silence(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {{load_1, load_ok_1},
                                               {load_2, NULL},
                                               {load_1, load_ok_1},
                                               {load_2, load_ok_2},
                                               {NULL, NULL}};
    struct stk500v2 link = link_on(turns);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(stk500v2_command(&link, load, sizeof load, 2, 1, SECOND, NULL), OK);
    assert_true(scripted_serial_done(link.serial));
    serial_close(link.serial);
}

static void v2_sends_again_what_arrived_damaged_even_without_retries(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {
        {load_1, "1b 01 00 02 0e b0 c1 67"}, {load_2, load_ok_2}, {NULL, NULL}};
    struct stk500v2 link = link_on(turns);
    assert_int_equal(stk500v2_command(&link, load, sizeof load, 2, 0, SECOND, NULL), OK);
    assert_true(scripted_serial_done(link.serial));
    serial_close(link.serial);
}

static void v2_gives_up_when_everything_arrives_damaged(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {{NULL, "1b 01 00 02 0e b0 c1 67"},
                                               {NULL, "1b 02 00 02 0e b0 c1 64"},
                                               {NULL, "1b 03 00 02 0e b0 c1 65"},
                                               {NULL, "1b 04 00 02 0e b0 c1 62"},
                                               {NULL, NULL}};
    struct stk500v2 link = link_on(turns);
    struct error err;
    assert_int_equal(stk500v2_command(&link, load, sizeof load, 2, 5, SECOND, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "damaged"));
    assert_true(scripted_serial_done(link.serial));
    serial_close(link.serial);
}

static void v2_names_the_status_and_survives_an_empty_body(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {
        {load_1, "1b 01 00 02 0e 06 c0 d0"}, {load_2, "1b 02 00 00 0e 17"}, {NULL, NULL}};
    struct stk500v2 link = link_on(turns);
    struct error err;
    assert_int_equal(stk500v2_command(&link, load, sizeof load, 2, 0, SECOND, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "status c0 (CMD_FAILED)"));
    assert_int_equal(stk500v2_command(&link, load, sizeof load, 2, 0, SECOND, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "lacks the command"));
    serial_close(link.serial);
}

static void v2_refuses_the_reply_to_another_command(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {{load_1, "1b 01 00 02 0e 13 00 05"}, {NULL, NULL}};
    struct stk500v2 link = link_on(turns);
    struct error err;
    assert_int_equal(stk500v2_command(&link, load, sizeof load, 2, 0, SECOND, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "command 06 with a reply to 13"));
    serial_close(link.serial);
}

static void v2_recognises_a_programmer(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {
        {"1b 01 00 01 0e 01 14", "1b 01 00 0b 0e 01 00 08 53 54 4b 35 30 30 5f 32 02"},
        {NULL, NULL}};
    struct session session = session_on(turns, &method_stk500v2, "atmega2560", &by_dtr);
    struct error err;
    assert_int_equal(method_stk500v2.connect(&session, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "programmer"));
    assert_non_null(strstr(err.hint, "-p avrisp2:"));
    serial_close(session.serial);
}

/* ---- AVR109 ---- */

static void avr109_reads_the_signature_backwards_and_all_by_one_command(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {
        {"53", "43 41 54 45 52 49 4e"}, {"73", "87 95 1e"}, {"62", "59 00 80"}, {"41 00 10", "0d"},
        {"67 00 04 46", "01 02 03 04"}, {"45", "0d"},       {NULL, NULL}};
    struct session session = session_on(turns, &method_avr109, "atmega32u4", NULL);
    uint8_t bytes[4];
    assert_int_equal(method_avr109.connect(&session, NULL), OK);
    assert_int_equal(method_avr109.read(&session, MEM_FLASH, 0x20, bytes, 4, NULL), OK);
    assert_int_equal(bytes[3], 4);
    assert_int_equal(method_avr109.run(&session, NULL), OK);
    assert_true(scripted_serial_done(session.serial));
    method_avr109.disconnect(&session);
    serial_close(session.serial);
}

/* Three pages; the first of them comes last, and everything else is under way by then. */
static void avr109_sends_the_next_block_before_the_last_is_acknowledged(void **state)
{
    (void)state;
    static char block[3 * 132 + 1];
    static const struct script_turn turns[] = {{"53", "4c 55 46 41 43 44 43"},
                                               {"73", "87 95 1e"},
                                               {"62", "59 00 80"},
                                               {"41 00 40", NULL},
                                               {block, NULL},
                                               {block, NULL}, /* the loader stands there */
                                               {"41 00 00", "0d 0d 0d 0d"},
                                               {block, "0d"},
                                               {NULL, NULL}};
    strcpy(block, "42 00 80 46");
    for (size_t i = 0; i < 128; i++)
        strcat(block, " 33");
    struct session session = session_on(turns, &method_avr109, "atmega32u4", NULL);
    struct image image = {.count = 0};
    const struct job job = {
        .image = &image, .region = chip_region(session.chip, MEM_FLASH), .erased = true};
    uint8_t bytes[384];
    memset(bytes, 0x33, sizeof bytes);
    assert_int_equal(image_add(&image, MEM_FLASH, 0, bytes, sizeof bytes, NULL), OK);
    assert_int_equal(method_avr109.connect(&session, NULL), OK);
    assert_int_equal(method_avr109.write(&session, &job, NULL), OK);
    assert_true(scripted_serial_done(session.serial));
    method_avr109.disconnect(&session);
    serial_close(session.serial);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stk500v1_joins_address_and_page_and_reads_on_without_address),
        cmocka_unit_test(stk500v1_sends_the_extended_address_anew_after_a_bank),
        cmocka_unit_test(stk500v1_recognises_the_arduino_isp_sketch),
        cmocka_unit_test(silence_garbage_and_text_are_told_apart),
        cmocka_unit_test(v2_skips_old_damaged_and_foreign_bytes),
        cmocka_unit_test(v2_bounds_what_it_finds_inside_a_damaged_message),
        cmocka_unit_test(v2_sends_again_under_seq_1_after_silence),
        cmocka_unit_test(v2_sends_again_what_arrived_damaged_even_without_retries),
        cmocka_unit_test(v2_gives_up_when_everything_arrives_damaged),
        cmocka_unit_test(v2_names_the_status_and_survives_an_empty_body),
        cmocka_unit_test(v2_refuses_the_reply_to_another_command),
        cmocka_unit_test(v2_recognises_a_programmer),
        cmocka_unit_test(avr109_reads_the_signature_backwards_and_all_by_one_command),
        cmocka_unit_test(avr109_sends_the_next_block_before_the_last_is_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
