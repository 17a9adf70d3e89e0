/*
 * ISP: flash, EEPROM, fuses and lock bits of every part through every programmer, and the recipe of
 * a bootloader, without one violation of the chip's data sheet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "isp_bench.h"

enum { BOOT_BYTES = 5928 }; /* as large as the usual loader of the Mega 2560 */

static struct isp_bench *stk500(const char *chip)
{
    return isp_bench_new(ISP_BENCH_STK500, chip, NULL, UINT64_MAX);
}

/* ---- the recipe ---- */

static void the_recipe_installs_a_bootloader_without_a_violation(void **state)
{
    (void)state;
    for (size_t k = 0; k < isp_bench_kinds; k++) {
        struct isp_bench *bench = isp_bench_new(k, "atmega2560", NULL, UINT64_MAX);
        memset(bench->flash, 0x00, FLASH_MAX); /* an old program, to be erased */
        struct image image;
        uint8_t boot[BOOT_BYTES];
        isp_bench_image(&image, MEM_FLASH, ISP_BENCH_BOOT, boot, sizeof boot);
        isp_bench_connect(bench);
        uint64_t begun = isp_bench_now(bench);
        isp_bench_ok(bench, isp_bench_recipe(bench, &image));
        double seconds = (double)(isp_bench_now(bench) - begun) / SECOND;
        isp_bench_close(bench);
        isp_bench_assert_installed(bench, boot, sizeof boot);
        assert_int_equal(isp_bench_violations(bench), 0);
        print_message("recipe over %s: %.2f simulated seconds\n", bench->probe, seconds);
        assert_true(seconds < (k == ISP_BENCH_ARDUINO ? 14 : 3));
        image_free(&image);
        isp_bench_free(bench);
    }
}

static void lock_bits_read_back_with_unused_bits_as_ones(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega2560");
    struct fuse fuses[FUSES_MAX];
    size_t count;
    isp_bench_connect(bench);
    isp_bench_ok(bench, method_isp.set_fuse(&bench->session, "lock", 0x0f, &bench->err));
    isp_bench_ok(bench, method_isp.fuses(&bench->session, fuses, &count, &bench->err));
    assert_int_equal(count, 4);
    assert_string_equal(fuses[3].name, "lock");
    assert_int_equal(fuses[3].value, 0xcf);
    assert_int_equal(fuses[3].mask, 0x3f);
    assert_string_equal(fuses[3].text, "BLB1=00 BLB0=11 LB=11 (open)");
    isp_bench_free(bench);
}

/* The fault of a user: the recipe of a crystal board on one whose fuses then select a clock that is
 * not there. */
static void restart_says_that_the_clock_fuse_is_wrong(void **state)
{
    (void)state;
    for (size_t k = 0; k < isp_bench_kinds; k++) {
        struct isp_bench *bench = isp_bench_new(k, "atmega2560", NULL, UINT64_MAX);
        isp_bench_connect(bench);
        isp_bench_ok(bench, method_isp.set_fuse(&bench->session, "lfuse", 0xe0, &bench->err));
        assert_int_equal(method_isp.restart(&bench->session, &bench->err), ERR_NO_ANSWER);
        assert_non_null(strstr(bench->err.message, "wrong clock fuse"));
        assert_non_null(strstr(bench->err.message, "external clock"));
        assert_non_null(strstr(bench->err.hint, "XTAL1"));
        isp_bench_free(bench);
    }
}

/* ---- memories ---- */

/* Bytes on both sides of 64 KiB and 128 KiB, where addresses of 16 bits end. */
static void flash_is_written_and_read_across_every_bank(void **state)
{
    (void)state;
    static const uint32_t places[] = {0x00000, 0x0ff80, 0x1ff80, 0x20080, 0x3ff00};
    for (size_t k = 0; k < isp_bench_kinds; k++) {
        struct isp_bench *bench = isp_bench_new(k, "atmega2560", NULL, UINT64_MAX);
        isp_bench_fuse(bench, LFUSE, 0xff);
        struct image image;
        uint8_t bytes[256];
        isp_bench_image(&image, MEM_FLASH, places[0], bytes, sizeof bytes);
        for (size_t n = 1; n < 5; n++)
            assert_int_equal(image_add(&image, MEM_FLASH, places[n], bytes, sizeof bytes, NULL),
                             OK);
        const struct job job = {&image, chip_region(bench->chip, MEM_FLASH), true};
        isp_bench_connect(bench);
        isp_bench_ok(bench, method_isp.erase_chip(&bench->session, &bench->err));
        isp_bench_ok(bench, method_isp.write(&bench->session, &job, &bench->err));
        assert_int_equal(bench->advanced, 5 * sizeof bytes);
        isp_bench_ok(bench, verify_by_reading(&bench->session, &job, &bench->err));
        for (size_t n = 0; n < 5; n++)
            assert_memory_equal(bench->flash + places[n], bytes, sizeof bytes);
        assert_int_equal(isp_bench_violations(bench), 0);
        image_free(&image);
        isp_bench_free(bench);
    }
}

static void any_address_and_length_can_be_read(void **state)
{
    (void)state;
    for (size_t k = 0; k < isp_bench_kinds; k++) {
        struct isp_bench *bench = isp_bench_new(k, "atmega2560", NULL, UINT64_MAX);
        static const struct span spans[] = {{1, 1},     {0xffff, 2},  {0x1fffd, 7},
                                            {255, 515}, {0x3ffff, 1}, {0x1fe01, 1023}};
        isp_bench_fill(bench->flash, FLASH_MAX);
        isp_bench_fill(bench->eeprom, EEPROM_MAX);
        isp_bench_connect(bench);
        for (size_t n = 0; n < sizeof spans / sizeof spans[0]; n++) {
            uint8_t bytes[1024];
            isp_bench_ok(bench, method_isp.read(&bench->session, MEM_FLASH, spans[n].start, bytes,
                                                (size_t)spans[n].size, &bench->err));
            assert_memory_equal(bytes, bench->flash + spans[n].start, spans[n].size);
        }
        uint8_t bytes[300];
        isp_bench_ok(bench, method_isp.read(&bench->session, MEM_EEPROM, 3, bytes, sizeof bytes,
                                            &bench->err));
        assert_memory_equal(bytes, bench->eeprom + 3, sizeof bytes);
        assert_int_equal(
            method_isp.read(&bench->session, MEM_FLASH, FLASH_MAX - 1, bytes, 2, &bench->err),
            ERR_NOT_POSSIBLE);
        isp_bench_free(bench);
    }
}

static void eeprom_keeps_the_bytes_around_those_written(void **state)
{
    (void)state;
    static const char *const chips[] = {"atmega2560", "atmega1284p", "atmega328p", "atmega32"};
    for (size_t n = 0; n < 4; n++)
        for (size_t k = 0; k < isp_bench_kinds; k++) {
            struct isp_bench *bench = isp_bench_new(k, chips[n], NULL, UINT64_MAX);
            uint8_t before[EEPROM_MAX], bytes[37];
            struct image image;
            isp_bench_fill(bench->eeprom, bench->config.eeprom.size);
            memcpy(before, bench->eeprom, sizeof before);
            isp_bench_image(&image, MEM_EEPROM, 0x105, bytes, sizeof bytes);
            memcpy(before + 0x105, bytes, sizeof bytes);
            const struct job job = {&image, chip_region(bench->chip, MEM_EEPROM), false};
            isp_bench_connect(bench);
            isp_bench_ok(bench, method_isp.write(&bench->session, &job, &bench->err));
            assert_memory_equal(bench->eeprom, before, bench->config.eeprom.size);
            assert_int_equal(isp_bench_violations(bench), 0);
            image_free(&image);
            isp_bench_free(bench);
        }
}

/* Every part: its own page sizes, busy times, and with or without polling. */
static void every_part_is_erased_written_and_verified(void **state)
{
    (void)state;
    for (size_t n = 0; isp_bench_chips[n]; n++)
        for (size_t k = 0; k < isp_bench_kinds; k++) {
            struct isp_bench *bench = isp_bench_new(k, isp_bench_chips[n], NULL, UINT64_MAX);
            const struct region *flash = chip_region(bench->chip, MEM_FLASH);
            struct image image;
            uint8_t bytes[700];
            memset(bench->flash, 0x00, FLASH_MAX);
            isp_bench_image(&image, MEM_FLASH, flash->size - sizeof bytes, bytes, sizeof bytes);
            const struct job job = {&image, flash, true};
            isp_bench_connect(bench);
            isp_bench_ok(bench, method_isp.erase_chip(&bench->session, &bench->err));
            isp_bench_ok(bench, method_isp.write(&bench->session, &job, &bench->err));
            isp_bench_ok(bench, verify_by_reading(&bench->session, &job, &bench->err));
            isp_bench_ok(bench, method_isp.set_fuse(&bench->session, "hfuse",
                                                    bench->chip->avr->hfuse_default ^ HFUSE_EESAVE,
                                                    &bench->err));
            assert_memory_equal(bench->flash + flash->size - sizeof bytes, bytes, sizeof bytes);
            assert_int_equal(bench->fuses[HFUSE] & HFUSE_EESAVE, 0);
            assert_int_equal(isp_bench_violations(bench), 0);
            image_free(&image);
            isp_bench_free(bench);
        }
}

static void blank_pages_are_skipped_only_after_an_erase(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega328p");
    struct image image = {0};
    uint8_t blank[4096];
    memset(blank, 0xff, sizeof blank);
    assert_int_equal(image_add(&image, MEM_FLASH, 0, blank, sizeof blank, NULL), OK);
    struct job job = {&image, chip_region(bench->chip, MEM_FLASH), true};
    isp_bench_connect(bench);
    isp_bench_ok(bench, method_isp.write(&bench->session, &job, &bench->err));
    assert_int_equal(bench->advanced, 0);
    job.erased = false;
    isp_bench_ok(bench, method_isp.write(&bench->session, &job, &bench->err));
    assert_int_equal(bench->advanced, sizeof blank);
    image_free(&image);
    isp_bench_free(bench);
}

static void a_cell_that_does_not_take_is_found(void **state)
{
    (void)state;
    struct isp_bench *bench = isp_bench_new(ISP_BENCH_STK500, "atmega328p", NULL, 0x104);
    struct image image;
    uint8_t bytes[1024];
    isp_bench_image(&image, MEM_FLASH, 0, bytes, sizeof bytes);
    const struct job job = {&image, chip_region(bench->chip, MEM_FLASH), true};
    isp_bench_connect(bench);
    isp_bench_ok(bench, method_isp.write(&bench->session, &job, &bench->err));
    assert_int_equal(verify_by_reading(&bench->session, &job, &bench->err), ERR_VERIFY);
    assert_non_null(strstr(bench->err.message, "0x00000104"));
    image_free(&image);
    isp_bench_free(bench);
}

/* ---- lock bits and fuses ---- */

static void a_locked_chip_refuses_everything_but_unlock(void **state)
{
    (void)state;
    const struct vfaults faults = {.locked = true};
    for (size_t k = 0; k < isp_bench_kinds; k++) {
        struct isp_bench *bench = isp_bench_new(k, "atmega328p", &faults, UINT64_MAX);
        struct session *s = &bench->session;
        struct image image;
        uint8_t bytes[64];
        isp_bench_fill(bench->flash, FLASH_MAX);
        isp_bench_image(&image, MEM_FLASH, 0, bytes, sizeof bytes);
        const struct job job = {&image, chip_region(bench->chip, MEM_FLASH), false};
        isp_bench_connect(bench);
        assert_non_null(strstr(bench->notes, "lock bits are set"));
        assert_int_equal(method_isp.write(s, &job, &bench->err), ERR_PROTECTED);
        assert_non_null(strstr(bench->err.hint, "mflash unlock"));
        assert_int_equal(method_isp.read(s, MEM_FLASH, 0, bytes, 64, &bench->err), ERR_PROTECTED);
        assert_non_null(strstr(bench->err.hint, "mflash unlock"));
        assert_int_equal(method_isp.set_fuse(s, "hfuse", 0xd0, &bench->err), ERR_PROTECTED);
        assert_int_equal(method_isp.set_fuse(s, "lock", 0x3f, &bench->err), ERR_PROTECTED);
        isp_bench_ok(bench, method_isp.unlock(s, &bench->err));
        assert_true(bytes_blank(bench->flash, bench->config.flash.size, 0xff));
        isp_bench_ok(bench, method_isp.read(s, MEM_FLASH, 0, bytes, 64, &bench->err));
        isp_bench_ok(bench, method_isp.set_fuse(s, "hfuse", 0xd0, &bench->err));
        assert_int_equal(isp_bench_violations(bench), 0);
        image_free(&image);
        isp_bench_free(bench);
    }
}

static void a_write_locked_chip_can_still_be_read(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega328p");
    uint8_t bytes[64];
    isp_bench_fill(bench->flash, FLASH_MAX);
    bench->fuses[LOCK] = 0xfe;
    isp_bench_connect(bench);
    isp_bench_ok(bench,
                 method_isp.read(&bench->session, MEM_FLASH, 0, bytes, sizeof bytes, &bench->err));
    assert_memory_equal(bytes, bench->flash, sizeof bytes);
    assert_int_equal(method_isp.set_fuse(&bench->session, "hfuse", 0xd0, &bench->err),
                     ERR_PROTECTED);
    isp_bench_free(bench);
}

static void a_fuse_that_does_not_take_is_a_verify_error(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega328p");
    isp_bench_connect(bench);
    /* SPIEN cannot be turned off by serial programming: the chip keeps it programmed. */
    assert_int_equal(method_isp.set_fuse(&bench->session, "hfuse", 0xf9, &bench->err), ERR_VERIFY);
    assert_non_null(strstr(bench->err.message, "hfuse"));
    isp_bench_free(bench);
}

static void fuses_are_compared_under_the_bits_that_exist(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega168"); /* efuse has three bits */
    isp_bench_connect(bench);
    isp_bench_ok(bench, method_isp.set_fuse(&bench->session, "efuse", 0x04, &bench->err));
    assert_int_equal(bench->fuses[EFUSE], 0xfc);
    isp_bench_ok(bench, method_isp.set_fuse(&bench->session, "efuse", 0xfc, &bench->err));
    isp_bench_free(bench);
}

static void a_fuse_the_chip_lacks_is_a_usage_error(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega32");
    isp_bench_connect(bench);
    assert_int_equal(method_isp.set_fuse(&bench->session, "efuse", 0xff, &bench->err), ERR_USAGE);
    assert_int_equal(method_isp.set_fuse(&bench->session, "hfuse", 0x199, &bench->err), ERR_USAGE);
    isp_bench_free(bench);
}

static void eeprom_survives_an_erase_under_eesave(void **state)
{
    (void)state;
    struct isp_bench *bench = stk500("atmega328p");
    uint8_t before[EEPROM_MAX];
    isp_bench_fill(bench->eeprom, EEPROM_MAX);
    memcpy(before, bench->eeprom, sizeof before);
    isp_bench_connect(bench);
    isp_bench_ok(bench, method_isp.set_fuse(&bench->session, "hfuse", 0xd1, &bench->err));
    isp_bench_ok(bench, method_isp.erase_chip(&bench->session, &bench->err));
    assert_memory_equal(bench->eeprom, before, 1024);
    assert_null(strstr(bench->notes, "EEPROM"));
    isp_bench_ok(bench, method_isp.set_fuse(&bench->session, "hfuse", 0xd9, &bench->err));
    isp_bench_ok(bench, method_isp.erase_chip(&bench->session, &bench->err));
    assert_true(bytes_blank(bench->eeprom, 1024, 0xff));
    assert_non_null(strstr(bench->notes, "EEPROM was erased"));
    isp_bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_recipe_installs_a_bootloader_without_a_violation),
        cmocka_unit_test(lock_bits_read_back_with_unused_bits_as_ones),
        cmocka_unit_test(restart_says_that_the_clock_fuse_is_wrong),
        cmocka_unit_test(flash_is_written_and_read_across_every_bank),
        cmocka_unit_test(any_address_and_length_can_be_read),
        cmocka_unit_test(eeprom_keeps_the_bytes_around_those_written),
        cmocka_unit_test(every_part_is_erased_written_and_verified),
        cmocka_unit_test(blank_pages_are_skipped_only_after_an_erase),
        cmocka_unit_test(a_cell_that_does_not_take_is_found),
        cmocka_unit_test(a_locked_chip_refuses_everything_but_unlock),
        cmocka_unit_test(a_write_locked_chip_can_still_be_read),
        cmocka_unit_test(a_fuse_that_does_not_take_is_a_verify_error),
        cmocka_unit_test(fuses_are_compared_under_the_bits_that_exist),
        cmocka_unit_test(a_fuse_the_chip_lacks_is_a_usage_error),
        cmocka_unit_test(eeprom_survives_an_erase_under_eesave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
