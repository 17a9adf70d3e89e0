/*
 * What an image tells about itself. The images are made here: a vector table, code, a dictionary
 * that zlib compressed, the word that points to it.
 */
#include "image_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <cmocka.h>

#include "base/bytes.h"

static struct file file;
static struct image image;

static int fresh(void **state)
{
    (void)state;
    file_clear(&file);
    image = (struct image){0};
    return 0;
}

static int freed(void **state)
{
    (void)state;
    image_free(&image);
    return 0;
}

#define COMMANDS "\"commands\":{\"identify offset=%u count=%c\":1}"
#define DICTIONARY                                                  \
    "{\"app\":\"Klipper\"," COMMANDS                                \
    ",\"config\":{\"MCU\":\"stm32f103xe\",\"CLOCK_FREQ\":72000000}" \
    ",\"version\":\"v0.12.0-200-gabcdef12\"}"

/* Appends a zlib stream of `json`; returns its offset. */
static size_t stream(const char *json)
{
    uint8_t out[32768];
    uLongf length = sizeof out;
    size_t at = file.length;
    assert_int_equal(compress2(out, &length, (const uint8_t *)json, (uLong)strlen(json), 9), Z_OK);
    assert_memory_equal(out, "\x78\xda", 2);
    file_bytes(&file, out, length);
    return at;
}

/* A vector table of 16 words, with handlers spread from `low` to `high`. */
static void vectors(uint32_t sp, uint32_t reset, uint32_t low, uint32_t high)
{
    file_le32(&file, sp);
    file_le32(&file, reset);
    for (unsigned i = 2; i < 16; i++)
        file_le32(&file, i == 2 ? low | 1 : i == 3 ? high | 1 : i > 6 && i < 11 ? 0 : low | 1);
}

static void pad_to(size_t length)
{
    assert_true(length >= file.length);
    file_fill(&file, 0x11, length - file.length);
}

/* A program of `size` bytes for `base`: table, stored pointer to the dictionary, dictionary. */
static size_t klipper_program(uint32_t base, size_t size, const char *json)
{
    vectors(0x20005000, base + 0x1001, base + 0x800, base + 0x2000);
    pad_to(0x3000);
    size_t at = stream(json);
    pad_to(size);
    file_put_le32(&file, 0x2480, base + (uint32_t)at);
    return at;
}

/* ---- vector table ---- */

static void a_vector_table_is_read(void **state)
{
    (void)state;
    vectors(0x20005000, 0x08002101, 0x08002050, 0x08003000);
    pad_to(0x2000);
    image = parsed(&file, NULL);
    assert_true(image.vectors.plausible);
    assert_int_equal(image.vectors.sp, 0x20005000);
    assert_int_equal(image.vectors.reset, 0x08002101);
    assert_int_equal(image.vectors.low, 0x08002050);
    assert_int_equal(image.vectors.high, 0x08003000);
}

static void reserved_vectors_say_nothing(void **state)
{
    (void)state;
    vectors(0x10007fe0, 0x101, 0x111, 0x200);
    file_put_le32(&file, 7 * 4, 0xeffff89d); /* the checksum of NXP's LPC parts */
    file_put_le32(&file, 13 * 4, 0xdeadbeef);
    pad_to(0x400);
    image = parsed(&file, NULL);
    assert_true(image.vectors.plausible);
    assert_int_equal(image.vectors.low, 0x100);
    assert_int_equal(image.vectors.high, 0x200);
}

static void implausible_tables_are_no_vectors(void **state)
{
    static const uint32_t tables[][2] = {
        {0x20005002, 0x08000101}, /* stack not aligned */
        {0x00000000, 0x08000101}, /* no RAM */
        {0x40000000, 0x08000101}, /* peripherals */
        {0x20005000, 0x08000100}, /* no Thumb bit */
        {0x20005000, 0xe0000001}, /* no code there */
        {0xffffffff, 0xffffffff}, /* erased */
    };
    (void)state;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        file_clear(&file);
        vectors(tables[i][0], tables[i][1], 0x08000100, 0x08000100);
        image = parsed(&file, NULL);
        assert_false(image.vectors.plausible);
        image_free(&image);
    }
}

static void the_table_behind_the_second_stage_of_an_rp2040_is_found(void **state)
{
    (void)state;
    file_bytes(&file, "\x00\xb5\x32\x4b\x21\x20\x58\x60", 8);
    pad_to(0x100);
    vectors(0x20042000, 0x10000159, 0x10000150, 0x10000200);
    pad_to(0x1000);
    image = parsed(&file, NULL);
    assert_true(image.vectors.plausible);
    assert_int_equal(image.vectors.reset, 0x10000159);
}

static void a_table_of_a_few_bytes_is_none(void **state)
{
    (void)state;
    file_bytes(&file, "\x00\x50\x00\x20\x01\x00\x00", 7);
    image = parsed(&file, NULL);
    assert_false(image.vectors.plausible);
}

/* ---- dictionary ---- */

static void a_dictionary_is_read(void **state)
{
    (void)state;
    size_t at = klipper_program(0x08007000, 0x5000, DICTIONARY);
    image = parsed(&file, NULL);
    assert_true(image.klipper.present);
    assert_string_equal(image.klipper.mcu, "stm32f103xe");
    assert_string_equal(image.klipper.version, "v0.12.0-200-gabcdef12");
    assert_int_equal(image.klipper.address, at);
    assert_int_equal(image.klipper.memory, MEM_FLASH);
    assert_int_equal(image.klipper.crc, crc32_z(0, file.bytes + at, image.klipper.length));
    assert_string_equal(klipper_transport(&image.klipper), "USB");
    image_place(&image, 0x08007000);
    assert_int_equal(image.klipper.address, 0x08007000 + at);
}

static void the_transport_follows_from_the_configuration(void **state)
{
    static const struct {
        const char *config, *transport;
        uint32_t baud, bitrate;
    } cases[] = {
        {"\"SERIAL_BAUD\":250000", "UART", 250000, 0},
        {"\"CANBUS_FREQUENCY\":1000000", "CAN", 0, 1000000},
        {"\"CANBUS_FREQUENCY\":500000,\"CANBUS_BRIDGE\":1", "USB-CAN bridge", 0, 500000},
        {"\"CLOCK_FREQ\":1", "USB", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[400];
        snprintf(json, sizeof json, "{\"app\":\"Klipper\",%s,\"config\":{%s}}", COMMANDS,
                 cases[i].config);
        file_clear(&file);
        pad_to(100);
        stream(json);
        image = parsed(&file, NULL);
        assert_true(image.klipper.present);
        assert_string_equal(klipper_transport(&image.klipper), cases[i].transport);
        assert_int_equal(image.klipper.serial_baud, cases[i].baud);
        assert_int_equal(image.klipper.can_bitrate, cases[i].bitrate);
        image_free(&image);
    }
}

static void values_of_the_wrong_kind_are_ignored(void **state)
{
    (void)state;
    pad_to(10);
    stream("{\"app\":\"Klipper\"," COMMANDS ",\"version\":[],\"config\":{\"MCU\":7,"
           "\"SERIAL_BAUD\":-1,\"CANBUS_FREQUENCY\":\"fast\",\"CANBUS_BRIDGE\":99999999999}}");
    image = parsed(&file, NULL);
    assert_true(image.klipper.present);
    assert_string_equal(image.klipper.mcu, "");
    assert_string_equal(image.klipper.version, "");
    assert_string_equal(klipper_transport(&image.klipper), "USB");
}

static void long_and_unprintable_texts_are_tamed(void **state)
{
    char json[600];
    (void)state;
    snprintf(
        json, sizeof json,
        "{\"app\":\"Klipper\",%s,\"version\":\"a\\u001b[2Jb\",\"config\":{\"MCU\":\"%0200d\"}}",
        COMMANDS, 7);
    pad_to(10);
    stream(json);
    image = parsed(&file, NULL);
    assert_string_equal(image.klipper.version, "a?[2Jb");
    assert_int_equal(strlen(image.klipper.mcu), sizeof image.klipper.mcu - 1);
}

static void decoys_before_the_stream_are_passed_over(void **state)
{
    (void)state;
    pad_to(64);
    for (unsigned i = 0; i < 40; i++) {
        file_bytes(&file, "\x78\xda", 2);
        file_fill(&file, (uint8_t)(i * 37), i % 7);
    }
    stream("{\"a json\":\"but no dictionary\"}");
    stream("no json at all");
    size_t at = stream(DICTIONARY);
    image = parsed(&file, NULL);
    assert_true(image.klipper.present);
    assert_int_equal(image.klipper.address, at);
}

static void a_truncated_stream_is_no_dictionary(void **state)
{
    (void)state;
    pad_to(64);
    size_t at = stream(DICTIONARY);
    size_t whole = file.length;
    for (size_t length = at + 2; length < whole; length++) {
        file.length = length;
        image = parsed(&file, NULL);
        assert_false(image.klipper.present);
        image_free(&image);
    }
}

static void a_stream_with_a_wrong_checksum_is_no_dictionary(void **state)
{
    (void)state;
    pad_to(64);
    stream(DICTIONARY);
    file.bytes[file.length - 1] ^= 1;
    image = parsed(&file, NULL);
    assert_false(image.klipper.present);
}

static void dictionaries_of_others_are_not_klippers(void **state)
{
    static const char *const others[] = {
        "{\"app\":\"Katapult\"," COMMANDS ",\"config\":{\"MCU\":\"stm32f103xe\"}}",
        "{" COMMANDS ",\"config\":{\"MCU\":\"stm32f103xe\"}}",
        "{\"app\":\"Klipper\",\"config\":{\"MCU\":\"stm32f103xe\"}}",
        "{\"app\":\"Klipper\"," COMMANDS "}",
        "{\"app\":\"Klipper\"," COMMANDS ",\"config\":7}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        file_clear(&file);
        pad_to(64);
        stream(others[i]);
        image = parsed(&file, NULL);
        assert_false(image.klipper.present);
        image_free(&image);
    }
}

/* A stream that inflates to `size` bytes, all blanks behind a brace. */
static void bomb(size_t size)
{
    char *json = malloc(size + 1);
    assert_non_null(json);
    memset(json, ' ', size);
    json[0] = '{';
    json[size] = '\0';
    stream(json);
    free(json);
}

static void a_bomb_is_left_alone_and_the_real_one_found(void **state)
{
    (void)state;
    pad_to(64);
    bomb(20 * 1024 * 1024);
    size_t at = stream(DICTIONARY);
    image = parsed(&file, NULL);
    assert_true(image.klipper.present);
    assert_int_equal(image.klipper.address, at);
}

static void a_dictionary_is_read_up_to_64_kib(void **state)
{
    static const int sizes[] = {65000, 65536};
    static char json[80 * 1024];
    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(json, sizeof json, "{\"app\":\"Klipper\",%s,\"config\":{},\"x\":\"%0*d\"}",
                 COMMANDS, sizes[i], 7);
        file_clear(&file);
        pad_to(64);
        stream(json);
        image = parsed(&file, NULL);
        assert_int_equal(image.klipper.present, sizes[i] == 65000);
        image_free(&image);
    }
}

static void thousands_of_bombs_end_the_search(void **state)
{
    (void)state;
    pad_to(64);
    bomb(64000);
    size_t one = file.length - 64;
    while (file.length + one + 4096 < sizeof file.bytes)
        file_bytes(&file, file.bytes + 64, one);
    stream(DICTIONARY); /* behind 64 MiB of others: never reached */
    image = parsed(&file, NULL);
    assert_false(image.klipper.present);
}

/* ---- Katapult ---- */

static void katapult_is_known_by_the_place_of_its_mark(void **state)
{
    (void)state;
    vectors(0x20004ff8, 0x080000a1, 0x080000a0, 0x08000200);
    pad_to(0x98);
    file_text(&file, "CanBoot!");
    pad_to(4864);
    image = parsed(&file, NULL);
    assert_true(image.katapult);
    image_place(&image, 0x08000000);
    assert_true(image.katapult);
}

static void katapult_of_an_rp2040_is_known(void **state)
{
    (void)state;
    file_bytes(&file, "\x00\xb5\x32\x4b\x21\x20\x58\x60", 8);
    pad_to(0x100);
    vectors(0x20041c00, 0x10000161, 0x10000160, 0x10000200);
    pad_to(0x158);
    file_text(&file, "CanBoot!");
    pad_to(4864);
    image = parsed(&file, NULL);
    assert_true(image.katapult);
}

static void a_program_that_looks_for_katapult_is_not_katapult(void **state)
{
    (void)state;
    klipper_program(0x08002000, 0x5000, DICTIONARY);
    memcpy(file.bytes + 0x2800, "CanBoot!", 8);
    image = parsed(&file, NULL);
    assert_false(image.katapult);
    image_place(&image, 0x08002000);
    assert_false(image.katapult);
}

static void klipper_with_a_reset_vector_like_a_deployer_is_klipper(void **state)
{
    (void)state;
    klipper_program(0x08002000, 0x5000, DICTIONARY);
    memcpy(file.bytes + 0x2800, "CanBoot!", 8);
    file_put_le32(&file, 4, 0x08002109);
    image = parsed(&file, NULL);
    assert_false(image.katapult);
}

static void the_deployer_is_known_and_knows_its_place(void **state)
{
    static const uint64_t bases[] = {0x08000000, 0x08002000, 0x08004000};
    uint64_t found = 0;
    (void)state;
    file_le32(&file, 0x20024000);
    file_le32(&file, 0x08002009);
    pad_to(0x570);
    file_text(&file, "CanBoot!");
    pad_to(5808);
    image = parsed(&file, NULL);
    assert_true(image.katapult);
    assert_int_equal(image.vectors.low, 0x08002008);
    assert_int_equal(image.vectors.high, 0x08002008);
    assert_int_equal(image_link_address(&image, bases, 3, &found), 1);
    assert_int_equal(found, 0x08002000);
}

/* ---- link address ---- */

static const uint64_t f103_bases[] = {0x08000000, 0x08000800, 0x08001000, 0x08002000,
                                      0x08004000, 0x08005000, 0x08007000, 0x08008000,
                                      0x08008800, 0x08009000, 0x08010000};
enum { F103_BASES = sizeof f103_bases / sizeof f103_bases[0] };

static void the_pointer_to_the_dictionary_gives_the_link_address(void **state)
{
    (void)state;
    for (size_t i = 0; i < F103_BASES; i++) {
        uint64_t found = 0;
        file_clear(&file);
        klipper_program((uint32_t)f103_bases[i], 0xa000, DICTIONARY);
        image = parsed(&file, NULL);
        assert_int_equal(image_link_address(&image, f103_bases, F103_BASES, &found), 1);
        assert_int_equal(found, f103_bases[i]);
        image_place(&image, f103_bases[i]);
        found = 0;
        assert_int_equal(image_link_address(&image, f103_bases, F103_BASES, &found), 1);
        assert_int_equal(found, f103_bases[i]);
        image_free(&image);
    }
}

static void a_base_that_the_pointer_denies_does_not_fit(void **state)
{
    static const uint64_t wrong[] = {0x08000800};
    uint64_t found = 77;
    (void)state;
    klipper_program(0x08007000, 0xa000, DICTIONARY); /* its vectors alone would fit 0x08000800 */
    image = parsed(&file, NULL);
    assert_int_equal(image_link_address(&image, wrong, 1, &found), 0);
    assert_int_equal(found, 77);
}

static void a_chance_pointer_outside_the_vectors_does_not_count(void **state)
{
    uint64_t found = 0;
    (void)state;
    size_t at = klipper_program(0x08002000, 0x5000, DICTIONARY);
    file_put_le32(&file, 0x2400, 0x08010000 + (uint32_t)at);
    image = parsed(&file, NULL);
    assert_int_equal(image_link_address(&image, f103_bases, F103_BASES, &found), 1);
    assert_int_equal(found, 0x08002000);
}

static void vectors_decide_only_if_one_base_fits(void **state)
{
    static const uint64_t far[] = {0x08000000, 0x08008000};
    uint64_t found = 0;
    (void)state;
    vectors(0x20005000, 0x0800a101, 0x08009000, 0x0800b000);
    pad_to(0xa000);
    image = parsed(&file, NULL);
    assert_int_equal(image_link_address(&image, far, 2, &found), 1);
    assert_int_equal(found, 0x08008000);
    assert_true(image_link_address(&image, f103_bases, F103_BASES, &found) > 1);
    assert_int_equal(image_link_address(&image, (const uint64_t[]){0x08010000}, 1, &found), 0);
}

static void a_base_given_twice_counts_once(void **state)
{
    static const uint64_t twice[] = {0x08008000, 0x08008000};
    uint64_t found = 0;
    (void)state;
    vectors(0x20005000, 0x0800a101, 0x08009000, 0x0800b000);
    pad_to(0xa000);
    image = parsed(&file, NULL);
    assert_int_equal(image_link_address(&image, twice, 2, &found), 1);
}

static void bytes_that_say_nothing_have_no_link_address(void **state)
{
    uint64_t found = 0;
    (void)state;
    file_fill(&file, 0x80, 4096);
    image = parsed(&file, NULL);
    assert_int_equal(image_link_address(&image, f103_bases, F103_BASES, &found), 0);
}

static void an_rp2040_program_is_placed_by_its_second_stage(void **state)
{
    static const uint64_t bases[] = {0x10000000, 0x10004000};
    static const char json[] = "{\"app\":\"Klipper\"," COMMANDS ",\"config\":{\"MCU\":\"rp2040\"}}";
    uint64_t found = 0;
    (void)state;
    vectors(0x20042000, 0x10004059, 0x10004100, 0x10005000);
    stream(json);
    pad_to(0xb000);
    image = parsed(&file, NULL);
    assert_int_equal(image_link_address(&image, bases, 2, &found), 1);
    assert_int_equal(found, 0x10004000);
    image_free(&image);

    file_clear(&file);
    file_bytes(&file, "\x00\xb5\x32\x4b\x21\x20\x58\x60", 8);
    pad_to(0x100);
    vectors(0x20042000, 0x10000159, 0x10000150, 0x10004200);
    stream(json);
    pad_to(0xb000);
    image = parsed(&file, NULL);
    assert_int_equal(image_link_address(&image, bases, 2, &found), 1);
    assert_int_equal(found, 0x10000000);
}

static void an_avr_program_begins_at_0(void **state)
{
    static const uint64_t bases[] = {0, 0x4000};
    uint64_t found = 7;
    (void)state;
    file_fill(&file, 0x0c, 0x7ba);
    stream("{\"app\":\"Klipper\"," COMMANDS ",\"config\":{\"MCU\":\"atmega2560\"}}");
    image = parsed(&file, NULL);
    assert_int_equal(image_link_address(&image, bases, 2, &found), 1);
    assert_int_equal(found, 0);
    assert_int_equal(image_link_address(&image, bases + 1, 1, &found), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, freed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_vector_table_is_read),
        TEST(reserved_vectors_say_nothing),
        TEST(implausible_tables_are_no_vectors),
        TEST(the_table_behind_the_second_stage_of_an_rp2040_is_found),
        TEST(a_table_of_a_few_bytes_is_none),
        TEST(a_dictionary_is_read),
        TEST(the_transport_follows_from_the_configuration),
        TEST(values_of_the_wrong_kind_are_ignored),
        TEST(long_and_unprintable_texts_are_tamed),
        TEST(decoys_before_the_stream_are_passed_over),
        TEST(a_truncated_stream_is_no_dictionary),
        TEST(a_stream_with_a_wrong_checksum_is_no_dictionary),
        TEST(dictionaries_of_others_are_not_klippers),
        TEST(a_bomb_is_left_alone_and_the_real_one_found),
        TEST(a_dictionary_is_read_up_to_64_kib),
        TEST(thousands_of_bombs_end_the_search),
        TEST(katapult_is_known_by_the_place_of_its_mark),
        TEST(katapult_of_an_rp2040_is_known),
        TEST(a_program_that_looks_for_katapult_is_not_katapult),
        TEST(klipper_with_a_reset_vector_like_a_deployer_is_klipper),
        TEST(the_deployer_is_known_and_knows_its_place),
        TEST(the_pointer_to_the_dictionary_gives_the_link_address),
        TEST(a_base_that_the_pointer_denies_does_not_fit),
        TEST(a_chance_pointer_outside_the_vectors_does_not_count),
        TEST(vectors_decide_only_if_one_base_fits),
        TEST(a_base_given_twice_counts_once),
        TEST(bytes_that_say_nothing_have_no_link_address),
        TEST(an_rp2040_program_is_placed_by_its_second_stage),
        TEST(an_avr_program_begins_at_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
