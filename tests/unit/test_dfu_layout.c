/* Memory layout strings: those of devices in the field, and those that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "dfu/layout.h"

#define CASE(test) cmocka_unit_test(test)

enum { K = 1024, R = 1, E = 2, W = 4, ALL = 7, RUNS = 6 };

static struct dfu_layout parsed(const char *text)
{
    struct dfu_layout layout;
    if (!dfu_layout_parse(text, &layout))
        fail_msg("no layout: %s", text);
    return layout;
}

static const struct {
    const char *text, *name;
    struct dfu_run runs[RUNS]; /* up to a size of 0 */
} field[] = {
    {"@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg",
     "Internal Flash",
     {{0x08000000, 64 * K, 16 * K, ALL},
      {0x08010000, 64 * K, 64 * K, ALL},
      {0x08020000, 896 * K, 128 * K, ALL}}},
    {"@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg,04*016Kg,01*064Kg,07*128Kg",
     "Internal Flash",
     {{0x08000000, 64 * K, 16 * K, ALL},
      {0x08010000, 64 * K, 64 * K, ALL},
      {0x08020000, 896 * K, 128 * K, ALL},
      {0x08100000, 64 * K, 16 * K, ALL},
      {0x08110000, 64 * K, 64 * K, ALL},
      {0x08120000, 896 * K, 128 * K, ALL}}},
    {"@Internal Flash   /0x08000000/04*032Kg,01*128Kg,03*256Kg",
     "Internal Flash",
     {{0x08000000, 128 * K, 32 * K, ALL},
      {0x08020000, 128 * K, 128 * K, ALL},
      {0x08040000, 768 * K, 256 * K, ALL}}},
    {"@Internal Flash  /0x08000000/04*016Kg,01*64Kg,03*128Kg",
     "Internal Flash",
     {{0x08000000, 64 * K, 16 * K, ALL},
      {0x08010000, 64 * K, 64 * K, ALL},
      {0x08020000, 384 * K, 128 * K, ALL}}},
    {"@Internal Flash  /0x08000000/032*0001Kg", "Internal Flash", {{0x08000000, 32 * K, K, ALL}}},
    {"@Internal Flash  /0x08000000/064*0002Kg",
     "Internal Flash",
     {{0x08000000, 128 * K, 2 * K, ALL}}},
    {"@Internal Flash  /0x08000000/16*128Kg",
     "Internal Flash",
     {{0x08000000, 2048 * K, 128 * K, ALL}}},
    {"@Internal Flash  /0x08000000/1536*0128 g",
     "Internal Flash",
     {{0x08000000, 192 * K, 128, ALL}}},
    {"@Internal Flash    /0x08000000/128*02Kg",
     "Internal Flash",
     {{0x08000000, 256 * K, 2 * K, ALL}}},
    {"@OB Bytes          /0x40022020/01*136 e", "OB Bytes", {{0x40022020, 136, 136, R | W}}},
    {"@OTP Memory        /0x1FFF6800/01*1024 e", "OTP Memory", {{0x1fff6800, K, K, R | W}}},
    {"@ENGI Bytes        /0x1FFF6C00/01*1024.e", "ENGI Bytes", {{0x1fff6c00, K, K, R | W}}},
    {"@Option Bytes  /0x1FFFF800/01*016 e", "Option Bytes", {{0x1ffff800, 16, 16, R | W}}},
    {"@Option Bytes  /0x1FFFC000/01*016 e/0x1FFEC000/01*016 e",
     "Option Bytes",
     {{0x1fffc000, 16, 16, R | W}, {0x1ffec000, 16, 16, R | W}}},
    {"@Option Bytes  /0x1FF00000/01*040 e/0x1FF01000/01*040 e",
     "Option Bytes",
     {{0x1ff00000, 40, 40, R | W}, {0x1ff01000, 40, 40, R | W}}},
    {"@Option Bytes   /0x5200201C/01*128 e", "Option Bytes", {{0x5200201c, 128, 128, R | W}}},
    {"@OTP Memory /0x1FFF7800/01*512 e,01*016 e",
     "OTP Memory",
     {{0x1fff7800, 512, 512, R | W}, {0x1fff7a00, 16, 16, R | W}}},
    {"@Device Feature/0xFFFF0000/01*004 e", "Device Feature", {{0xffff0000, 4, 4, R | W}}},
    {"@Device Feature/0xFFFF0000/01*004 g", "Device Feature", {{0xffff0000, 4, 4, R | W}}},
    {"@DATA Memory /0x08080000/2*3Ke", "DATA Memory", {{0x08080000, 6 * K, 3 * K, R | W}}},
    {"@Read only Memory /0x08FFF800/01.5*01Kg", "Read only Memory", {{0x08fff800, 1536, K, ALL}}},
    {"@OTP Memory /0x08FFE000/04.5*01Kg", "OTP Memory", {{0x08ffe000, 4608, K, ALL}}},
    {"@Option Bytes /0x40022050/01*432e", "Option Bytes", {{0x40022050, 432, 432, R | W}}},
    {"@Internal Flash   /0x08000000/08*04Ka,1000*04Kg",
     "Internal Flash",
     {{0x08000000, 32 * K, 4 * K, R}, {0x08008000, 4000 * K, 4 * K, ALL}}},
    {"@Option byte   /0x1FFFC000/01*4096 g", "Option byte", {{0x1fffc000, 4 * K, 4 * K, ALL}}},
    {"@Internal Flash  /0x08000000/512*002Kg",
     "Internal Flash",
     {{0x08000000, 1024 * K, 2 * K, ALL}}},
    {"@Internal Flash   /0x08000000/8*001Ka,56*001Kg",
     "Internal Flash",
     {{0x08000000, 8 * K, K, R}, {0x08002000, 56 * K, K, ALL}}},
    {"@Internal Flash   /0x08000000/64*128Ba,448*128Bg",
     "Internal Flash",
     {{0x08000000, 8 * K, 128, R}, {0x08002000, 56 * K, 128, ALL}}},
    {"@SPI Flash : SST25x/0x00000000/512*4Kg", "SPI Flash : SST25x", {{0, 2048 * K, 4 * K, ALL}}},
    {"@Serial Flash   /0x00000000/256*004Kg", "Serial Flash", {{0, 1024 * K, 4 * K, ALL}}},
    {"@External Flash /0x90000000/998*128Kg,1*128Kg,4*128Kg,21*128Ka",
     "External Flash",
     {{0x90000000, 998 * 128 * K, 128 * K, ALL},
      {0x97cc0000, 128 * K, 128 * K, ALL},
      {0x97ce0000, 512 * K, 128 * K, ALL},
      {0x97d60000, 21 * 128 * K, 128 * K, R}}},
    {"@Flash /0x90000000/64*4Kg/0x90040000/60*64Kg/0x90400000/60*64Kg",
     "Flash",
     {{0x90000000, 256 * K, 4 * K, ALL},
      {0x90040000, 3840 * K, 64 * K, ALL},
      {0x90400000, 3840 * K, 64 * K, ALL}}},
    {"@Internal Flash  2MB   /0x08000000/01*128Ka,15*128Kg",
     "Internal Flash  2MB",
     {{0x08000000, 128 * K, 128 * K, R}, {0x08020000, 1920 * K, 128 * K, ALL}}},
    {"@Ext RAW  Flash 16MB   /0x90000000/4096*4Kg",
     "Ext RAW  Flash 16MB",
     {{0x90000000, 16384 * K, 4 * K, ALL}}},
};

static void strings_of_the_field_are_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++) {
        const struct dfu_layout layout = parsed(field[i].text);
        size_t count = 0;
        while (count < RUNS && field[i].runs[count].size)
            count++;
        assert_string_equal(layout.name, field[i].name);
        if (layout.count != count)
            fail_msg("%s: %zu runs", field[i].text, layout.count);
        for (size_t k = 0; k < count; k++) {
            const struct dfu_run *want = &field[i].runs[k], *got = &layout.runs[k];
            if (got->start != want->start || got->size != want->size ||
                got->sector != want->sector || got->access != want->access)
                fail_msg("%s: run %zu: %#jx %#jx %#jx %u", field[i].text, k, (uintmax_t)got->start,
                         (uintmax_t)got->size, (uintmax_t)got->sector, got->access);
        }
    }
}

static void texts_that_are_no_memory_are_none(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "@",
        "@/",
        "Flash",
        "Internal Flash  /0x08000000/04*016Kg",
        "STM32duino bootloader v1.0  Upload to Flash 0x8002000",
        "@Device ID/0x44E,@Revision ID/0x0001",
        "@Ext File Flash  0MB   /0x00000000/0*4Kg",
        "@Flash /0x08000000",
        "@Flash /0x08000000/",
        "@Flash /0x/1*1Kg",
        "@Flash /08000000/1*1Kg",
        "@Flash /0x08000000/x*1Kg",
        "@Flash /0x08000000/1*",
        "@Flash /0x08000000/*1Kg",
        "@Flash /0x08000000/1Kg",
        "@Flash /0x08000000/99999999999999999999*1Kg",
        "@Flash /0x08000000/1*99999999999999999999Kg",
        "@Flash /0x08000000/1000000*64Mg",
        "@Flash /0xffffffffffffffffffff/1*1Kg",
        "@Flash /0x180000000/1*1Kg",
        "@Flash /0xfffffc00/2*1Kg",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct dfu_layout layout;
        if (dfu_layout_parse(texts[i], &layout))
            fail_msg("%s: %zu runs", texts[i], layout.count);
    }
}

static void what_does_not_fit_ends_the_string(void **state)
{
    (void)state;
    static const char *const tails[] = {"?,9/0xzz",     ",",    ",07",    "/0x",
                                        "/0x20000000/", "\x7f", ",x*1Kg", "//"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "@Flash /0x08000000/04*016Kg%s", tails[i]);
        const struct dfu_layout layout = parsed(text);
        assert_int_equal(layout.count, 1);
        assert_int_equal(layout.runs[0].size, 64 * K);
    }
}

static void no_string_has_more_runs_than_there_is_room_for(void **state)
{
    (void)state;
    char text[4096] = "@Flash /0x08000000/1*1Kg";
    for (size_t i = 0; i < 200; i++)
        strcat(text, ",1*1Kg");
    const struct dfu_layout layout = parsed(text);
    assert_int_equal(layout.count, DFU_RUNS_MAX);
    assert_int_equal(dfu_layout_extent(&layout), DFU_RUNS_MAX * K);
}

static void a_name_of_any_length_is_cut(void **state)
{
    (void)state;
    char text[512] = "@";
    memset(text + 1, 'n', 300);
    strcpy(text + 301, "/0x08000000/1*1Kg");
    const struct dfu_layout layout = parsed(text);
    assert_int_equal(strlen(layout.name), DFU_NAME_MAX - 1);
}

static void every_prefix_of_every_string_is_harmless(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
        for (size_t length = 0; length < strlen(field[i].text); length++) {
            char text[128];
            struct dfu_layout layout;
            (void)snprintf(text, sizeof text, "%.*s", (int)length, field[i].text);
            if (!dfu_layout_parse(text, &layout))
                continue;
            for (size_t k = 0; k < layout.count; k++)
                assert_true(layout.runs[k].size && layout.runs[k].sector);
        }
}

static void sectors_are_found_by_address(void **state)
{
    (void)state;
    const struct dfu_layout layout =
        parsed("@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg");
    static const struct {
        uint64_t address, start, size;
    } cases[] = {{0x08000000, 0x08000000, 16 * K},
                 {0x0800ffff, 0x0800c000, 16 * K},
                 {0x08010000, 0x08010000, 64 * K},
                 {0x08020001, 0x08020000, 128 * K},
                 {0x080fffff, 0x080e0000, 128 * K}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dfu_run *run = dfu_layout_at(&layout, cases[i].address);
        assert_non_null(run);
        const struct span sector = dfu_run_sector(run, cases[i].address);
        assert_int_equal(sector.start, cases[i].start);
        assert_int_equal(sector.size, cases[i].size);
    }
    assert_null(dfu_layout_at(&layout, 0x08100000));
    assert_null(dfu_layout_at(&layout, 0x07ffffff));
}

static void the_last_of_one_sector_and_a_half_is_half_a_sector(void **state)
{
    (void)state;
    const struct dfu_layout layout = parsed("@Read only Memory /0x08FFF800/01.5*01Kg");
    const struct span sector = dfu_run_sector(&layout.runs[0], 0x08fffc00);
    assert_int_equal(sector.start, 0x08fffc00);
    assert_int_equal(sector.size, 512);
}

static void access_is_that_of_every_byte(void **state)
{
    (void)state;
    const struct dfu_layout layout =
        parsed("@Flash /0x08000000/01*016Ka,03*016Kg/0x08020000/1*16Kg");
    static const struct {
        struct span span;
        uint8_t access;
        bool allowed;
    } cases[] = {
        {{0x08000000, 64 * K}, R, true},      {{0x08000000, 64 * K}, W, false},
        {{0x08004000, 48 * K}, W, true},      {{0x08003fff, 2}, E, false},
        {{0x08004000, 48 * K + 1}, R, false}, /* into the hole */
        {{0x0800f000, 0x12000}, R, false},    /* over it */
        {{0x08020000, 16 * K}, W | E, true},  {{0xffffffff, 16}, R, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (dfu_layout_allows(&layout, &cases[i].span, cases[i].access) != cases[i].allowed)
            fail_msg("case %zu", i);
    assert_int_equal(dfu_layout_extent(&layout), 64 * K);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(strings_of_the_field_are_understood),
        CASE(texts_that_are_no_memory_are_none),
        CASE(what_does_not_fit_ends_the_string),
        CASE(no_string_has_more_runs_than_there_is_room_for),
        CASE(a_name_of_any_length_is_cut),
        CASE(every_prefix_of_every_string_is_harmless),
        CASE(sectors_are_found_by_address),
        CASE(the_last_of_one_sector_and_a_half_is_half_a_sector),
        CASE(access_is_that_of_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
