/* AVR fuses: names of bits, refusal of values that lock the user out, masks, clock floors.
 * The expected values are worked from the data sheets' tables, not from fuses.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "avr/fuses.h"

static const struct chip *chip(const char *name)
{
    const struct chip *found = chip_find(name);
    assert_non_null(found);
    return found;
}

static void assert_decoded(const char *name, const char *fuse, uint8_t value, const char *expected)
{
    char text[192];
    fuse_decode(chip(name), fuse, value, text, sizeof text);
    assert_string_equal(text, expected);
}

static void assert_dangerous(const char *name, const char *fuse, uint32_t value, const char *word)
{
    const char *reason = fuse_danger(chip(name), fuse, value);
    assert_non_null(reason);
    assert_non_null(strstr(reason, word));
}

static void assert_harmless(const char *name, const char *fuse, uint32_t value)
{
    assert_null(fuse_danger(chip(name), fuse, value));
}

static void decode_names_the_bits_of_a_2560(void **state)
{
    (void)state;
    assert_decoded("atmega2560", "lfuse", 0xff,
                   "CKDIV8=1 CKOUT=1 SUT=11 CKSEL=1111 (crystal, 8 MHz or more)");
    assert_decoded("atmega2560", "lfuse", 0x62,
                   "CKDIV8=0 CKOUT=1 SUT=10 CKSEL=0010 (internal 8 MHz)");
    assert_decoded("atmega2560", "hfuse", 0xd8,
                   "OCDEN=1 JTAGEN=1 SPIEN=0 WDTON=1 EESAVE=1 BOOTSZ=00 (8192 bytes at 0x3e000) "
                   "BOOTRST=0 (starts in the bootloader)");
    assert_decoded("atmega2560", "efuse", 0xfd, "BODLEVEL=101");
    assert_decoded("atmega2560", "lock", 0xcf, "BLB1=00 BLB0=11 LB=11 (open)");
}

static void decode_follows_the_part_where_bits_moved(void **state)
{
    (void)state;
    assert_decoded("at90usb162", "hfuse", 0xd9,
                   "DWEN=1 RSTDISBL=1 SPIEN=0 WDTON=1 EESAVE=1 BOOTSZ=00 (4096 bytes at 0x3000) "
                   "BOOTRST=1 (starts in the application)");
    assert_decoded("atmega168", "efuse", 0xf8,
                   "BOOTSZ=00 (2048 bytes at 0x3800) BOOTRST=0 (starts in the bootloader)");
    assert_decoded("atmega168", "hfuse", 0xdd,
                   "RSTDISBL=1 DWEN=1 SPIEN=0 WDTON=1 EESAVE=1 BODLEVEL=101");
    assert_decoded("atmega32", "lfuse", 0xe1,
                   "BODLEVEL=1 BODEN=1 SUT=10 CKSEL=0001 (internal 1 MHz)");
    assert_decoded("atmega32u4", "efuse", 0xcb, "HWBE=1 BODLEVEL=011");
    assert_decoded("atmega328pb", "efuse", 0xf7, "CFD=0 BODLEVEL=111");
    assert_decoded("attiny85", "lock", 0xfc, "LB=00 (reading and writing are off)");
    assert_decoded("attiny85", "lfuse", 0xf1, "CKDIV8=1 CKOUT=1 SUT=11 CKSEL=0001 (PLL, 16 MHz)");
}

static void decode_of_a_fuse_the_chip_lacks_is_empty(void **state)
{
    (void)state;
    assert_decoded("atmega32", "efuse", 0xff, "");
    assert_decoded("lgt8f328p", "lfuse", 0xff, "");
    assert_decoded("atmega2560", "ufuse", 0xff, "");
}

static void every_chip_decodes_its_fuses_within_the_text_of_a_fuse(void **state)
{
    (void)state;
    size_t parts = 0;
    for (size_t n = 0; chip_at(n); n++) {
        const struct avr_fuse *fuse;
        for (size_t k = 0; (fuse = avr_fuse_at(chip_at(n), k)); k++)
            for (unsigned value = 0; value < 256; value++) {
                char text[192];
                fuse_decode(chip_at(n), fuse->name, (uint8_t)value, text, sizeof text);
                assert_in_range(strlen(text), 1, sizeof text - 2);
            }
        if (chip_at(n)->avr && strcmp(chip_at(n)->name, "lgt8f328p") != 0) {
            assert_non_null(avr_fuse_find(chip_at(n), "lfuse"));
            assert_non_null(avr_fuse_find(chip_at(n), "lock"));
            parts++;
        }
    }
    assert_true(parts > 0);
}

static void every_bit_named_exists_and_every_bit_that_exists_is_named(void **state)
{
    (void)state;
    for (size_t n = 0; chip_at(n); n++) {
        const struct avr_fuse *fuse;
        for (size_t k = 0; (fuse = avr_fuse_at(chip_at(n), k)); k++) {
            /* A bit is named if the text changes when the bit does. */
            uint8_t named = 0;
            for (unsigned bit = 0; bit < 8; bit++) {
                char ones[192], other[192];
                fuse_decode(chip_at(n), fuse->name, 0xff, ones, sizeof ones);
                fuse_decode(chip_at(n), fuse->name, (uint8_t) ~(1u << bit), other, sizeof other);
                if (strcmp(ones, other) != 0)
                    named |= (uint8_t)(1u << bit);
            }
            uint8_t mask = avr_fuse_mask(chip_at(n), fuse->name);
            /* The upper bits of the 162's extended fuse are writable and mean nothing; the
             * tiny's boot lock bits do not exist. */
            assert_int_equal(named & ~mask, 0);
            if (strcmp(chip_at(n)->name, "at90usb162") && strcmp(chip_at(n)->name, "attiny85"))
                assert_int_equal(named, mask);
        }
    }
}

static void danger_is_what_ends_serial_programming(void **state)
{
    (void)state;
    assert_dangerous("atmega328p", "hfuse", 0x5e, "RSTDISBL");
    assert_dangerous("atmega328p", "hfuse", 0x9e, "DWEN");
    assert_dangerous("atmega328p", "hfuse", 0xfe, "SPIEN");
    assert_dangerous("atmega328p", "hfuse", 0xce, "WDTON");
    assert_dangerous("at90usb162", "hfuse", 0x99, "RSTDISBL");
    assert_dangerous("at90usb162", "hfuse", 0x59, "DWEN");
    assert_dangerous("attiny85", "hfuse", 0x5f, "RSTDISBL");
    assert_dangerous("atmega2560", "hfuse", 0xf8, "SPIEN");
}

static void danger_is_a_clock_that_boards_do_not_have(void **state)
{
    (void)state;
    assert_dangerous("atmega2560", "lfuse", 0xe0, "external clock");
    assert_dangerous("atmega2560", "lfuse", 0xe4, "watch crystal");
    assert_dangerous("atmega2560", "lfuse", 0xe3, "128 kHz");
    assert_dangerous("atmega2560", "lfuse", 0xe1, "reserved");
    assert_dangerous("atmega32", "lfuse", 0xe8, "external RC");
    assert_harmless("attiny85", "lfuse", 0xe1);
    assert_harmless("atmega32", "lfuse", 0xe1);
}

static void the_same_bits_are_harmless_where_they_mean_something_else(void **state)
{
    (void)state;
    /* 7 and 6 are OCDEN and JTAGEN here; bit 4 is CKOPT on the 32. */
    assert_harmless("atmega2560", "hfuse", 0x18);
    assert_harmless("atmega32", "hfuse", 0x89);
    assert_harmless("atmega2560", "efuse", 0x00);
    assert_harmless("atmega2560", "lock", 0x0f);
}

static void the_usual_recipes_are_harmless(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint8_t efuse, hfuse, lfuse;
    } recipes[] = {
        {"atmega2560", 0xfd, 0xd8, 0xff},  {"atmega1280", 0xf5, 0xda, 0xff},
        {"atmega1284p", 0xfd, 0xde, 0xff}, {"atmega168", 0x04, 0xdd, 0xff},
        {"atmega328p", 0xfd, 0xde, 0xff},  {"atmega32u4", 0xcb, 0xd8, 0xff},
    };
    for (size_t n = 0; n < sizeof recipes / sizeof recipes[0]; n++) {
        assert_harmless(recipes[n].chip, "efuse", recipes[n].efuse);
        assert_harmless(recipes[n].chip, "hfuse", recipes[n].hfuse);
        assert_harmless(recipes[n].chip, "lfuse", recipes[n].lfuse);
    }
}

static void factory_fuses_are_harmless(void **state)
{
    (void)state;
    for (size_t n = 0; chip_at(n); n++) {
        if (!chip_at(n)->avr)
            continue;
        const struct avr_part *part = chip_at(n)->avr;
        assert_null(fuse_danger(chip_at(n), "lfuse", part->lfuse_default));
        assert_null(fuse_danger(chip_at(n), "hfuse", part->hfuse_default));
        assert_null(fuse_danger(chip_at(n), "efuse", part->efuse_default));
    }
}

static void clock_floor_is_the_data_sheets_lowest(void **state)
{
    (void)state;
    assert_int_equal(fuse_clock_floor(chip("atmega2560"), 0xff), 8000000);
    assert_int_equal(fuse_clock_floor(chip("atmega2560"), 0x7f), 1000000);
    assert_int_equal(fuse_clock_floor(chip("atmega2560"), 0x62), 900000); /* 1 MHz - 10 % */
    assert_int_equal(fuse_clock_floor(chip("atmega2560"), 0xe0), 0);
    assert_int_equal(fuse_clock_floor(chip("atmega32"), 0x61), 900000); /* has no CKDIV8 */
    assert_int_equal(fuse_clock_floor(chip("lgt8f328p"), 0xff), 0);
}

static void fuses_are_listed_with_the_clock_after_the_others_and_the_lock_last(void **state)
{
    (void)state;
    static const char *const order[] = {"efuse", "hfuse", "lfuse", "lock"};
    for (size_t n = 0; n < 4; n++)
        assert_string_equal(avr_fuse_at(chip("atmega2560"), n)->name, order[n]);
    assert_null(avr_fuse_at(chip("atmega2560"), 4));
    assert_string_equal(avr_fuse_at(chip("atmega32"), 0)->name, "hfuse");
    assert_null(avr_fuse_at(chip("lgt8f328p"), 0));
    assert_string_equal(avr_fuse_find(chip("atmega2560"), "LFUSE")->name, "lfuse");
    assert_null(avr_fuse_find(chip("atmega2560"), "lo"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_names_the_bits_of_a_2560),
        cmocka_unit_test(decode_follows_the_part_where_bits_moved),
        cmocka_unit_test(decode_of_a_fuse_the_chip_lacks_is_empty),
        cmocka_unit_test(every_chip_decodes_its_fuses_within_the_text_of_a_fuse),
        cmocka_unit_test(every_bit_named_exists_and_every_bit_that_exists_is_named),
        cmocka_unit_test(danger_is_what_ends_serial_programming),
        cmocka_unit_test(danger_is_a_clock_that_boards_do_not_have),
        cmocka_unit_test(the_same_bits_are_harmless_where_they_mean_something_else),
        cmocka_unit_test(the_usual_recipes_are_harmless),
        cmocka_unit_test(factory_fuses_are_harmless),
        cmocka_unit_test(clock_floor_is_the_data_sheets_lowest),
        cmocka_unit_test(fuses_are_listed_with_the_clock_after_the_others_and_the_lock_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
