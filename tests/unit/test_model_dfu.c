/*
 * The virtual boards in ST's DfuSe loader against ST AN3156 and what recorders saw: the first tests
 * are dfu-util's conversations request by request; the others are what a careless host would not
 * notice.
 */
#include "dfu_bench.h"

#include <string.h>

#include "base/bytes.h"

#define CASE(test) cmocka_unit_test(test)

static struct dfu_bench *opened(const char *chip, const char *variant)
{
    const struct vconfig options = {.variant = variant};
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_st, chip, &options);
    dfu_bench_open(bench, NULL);
    return bench;
}

static struct dfu_bench *with_faults(const char *chip, const struct vfaults *faults)
{
    const struct vconfig options = {.faults = *faults};
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_st, chip, &options);
    dfu_bench_open(bench, NULL);
    return bench;
}

static bool blank(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0xff)
            return false;
    return true;
}

/* ---- conversations ---- */

static void dfu_util_writes_5000_bytes_to_an_f4_and_leaves(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    uint8_t behind = bench->flash[0x4000];
    dfu_trace(bench, "01 0b 0000 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n"
                     "21 01 0000 0000 0005 [41 00 00 00 08]\n"
                     "a1 03 0000 0000 0006 -> 00 64 00 00 04 00\n"
                     "sleep 500\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0000 0000 0005 [21 00 00 00 08]\n"
                     "a1 03 0000 0000 0006 -> 00 68 00 00 04 00\n"
                     "sleep 104\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0002 0000 0800 <\n"
                     "a1 03 0000 0000 0006 -> 00 68 00 00 04 00\n"
                     "sleep 104\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0000 0000 0005 [21 00 08 00 08]\n"
                     "a1 03 0000 0000 0006 -> 00 68 00 00 04 00\n"
                     "sleep 104\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0002 0000 0800 <\n"
                     "a1 03 0000 0000 0006 -> 00 68 00 00 04 00\n"
                     "sleep 104\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0000 0000 0005 [21 00 10 00 08]\n"
                     "a1 03 0000 0000 0006 -> 00 68 00 00 04 00\n"
                     "sleep 104\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0002 0000 0388 <\n"
                     "a1 03 0000 0000 0006 -> 00 68 00 00 04 00\n"
                     "sleep 104\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 06 0000 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n"
                     "21 01 0000 0000 0005 [21 00 00 00 08]\n"
                     "a1 03 0000 0000 0006 -> 00 68 00 00 04 00\n"
                     "sleep 104\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0002 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 01 00 00 07 00\n"
                     "sleep 6\n"
                     "21 00 03e8 0000 0000 gone\n");
    assert_memory_equal(bench->flash, bench->out, 5000);
    assert_true(blank(bench->flash + 5000, 0x4000 - 5000));
    assert_int_equal(bench->flash[0x4000], behind); /* the next sector */
    assert_int_equal(bench->device->back_at, UINT64_MAX);
    dfu_bench_free(bench);
}

static void dfu_util_reads_5000_bytes(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    dfu_trace(bench, "21 01 0000 0000 0005 [21 00 00 00 08]\n"
                     "a1 03 0000 0000 0006 -> 00 68 00 00 04 00\n"
                     "sleep 104\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 06 0000 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n"
                     "a1 02 0002 0000 0800 >\n"
                     "a1 02 0003 0000 0800 >\n"
                     "a1 02 0004 0000 0388 >\n"
                     "21 06 0000 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n");
    assert_int_equal(bench->heard, 5000);
    assert_memory_equal(bench->in, bench->flash, 5000);
    dfu_bench_free(bench);
}

static void mass_erase_and_unprotect_are_one_byte(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f072xb", NULL);
    dfu_trace(bench, "21 01 0000 0000 0001 [41]\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "sleep 50000\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n");
    assert_true(blank(bench->flash, 128 * KIB));
    bench->flash[5] = 0;
    dfu_trace(bench, "21 01 0000 0000 0001 [92]\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "sleep 50000\n"
                     "a1 03 0000 0000 0006 gone\n");
    assert_int_equal(bench->flash[5], 0xff);
    dfu_bench_close(bench);
    dfu_bench_open(bench, NULL); /* its loader is back */
    assert_int_equal(bench->usb->device.vid, 0x0483);
    dfu_bench_free(bench);
}

/* ---- what it is on the bus ---- */

static void descriptors_are_those_of_the_roms(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *flash, *options;
        uint16_t transfer;
    } cases[] = {
        {"stm32f407xx", "@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg",
         "@Option Bytes  /0x1FFFC000/01*016 e", 2048},
        {"stm32f401xc", "@Internal Flash  /0x08000000/04*016Kg,01*064Kg,01*128Kg",
         "@Option Bytes  /0x1FFFC000/01*016 e", 2048},
        {"stm32f042x6", "@Internal Flash  /0x08000000/032*0001Kg",
         "@Option Bytes  /0x1FFFF800/01*016 e", 2048},
        {"stm32f072xb", "@Internal Flash  /0x08000000/064*0002Kg",
         "@Option Bytes  /0x1FFFF800/01*016 e", 2048},
        {"stm32h743xx", "@Internal Flash  /0x08000000/16*128Kg", NULL, 1024},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dfu_bench *bench = opened(cases[i].chip, NULL);
        const uint8_t *c = bench->usb->configuration;
        char text[256];
        const uint8_t functional[] = {
            9, 0x21, 0x0b, 0xff, 0, 0, (uint8_t)(cases[i].transfer >> 8), 0x1a, 0x01};
        assert_memory_equal(c + bench->usb->configuration_length - 9, functional, 9);
        assert_memory_equal(c + 9, "\x09\x04\x00\x00\x00\xfe\x01\x02\x04", 9);
        assert_true(usb_string(bench->usb, 4, text, sizeof text));
        assert_string_equal(text, cases[i].flash);
        assert_int_equal(usb_string(bench->usb, 5, text, sizeof text), cases[i].options != NULL);
        if (cases[i].options)
            assert_string_equal(text, cases[i].options);
        assert_int_equal(strlen(bench->usb->device.serial), 12);
        dfu_bench_free(bench);
    }
}

static void an_alternate_that_does_not_exist_stalls(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    dfu_trace(bench, "01 0b 0001 0000 0000\n"
                     "01 0b 0002 0000 0000 stall\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n"
                     "a1 03 0000 0001 0006 stall\n"); /* another interface */
    dfu_bench_free(bench);
}

static void a_short_string_says_that_it_is_longer(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f429xx", "short-string");
    uint8_t bytes[255];
    char text[256];
    const struct usb_setup setup = {0x80, 6, 0x0304, 0x0409, sizeof bytes};
    ssize_t came =
        usb_control(bench->usb, &setup, bytes, clock_in(bench->usb->clock, SECOND), &bench->err);
    assert_in_range(came, 100, 254);
    assert_int_equal(bytes[0], 255);
    assert_true(usb_string(bench->usb, 4, text, sizeof text));
    assert_non_null(strstr(text, ",07*128Kg,04*016Kg,01*064Kg,07*128Kg"));
    dfu_bench_free(bench);
}

static void gd32_has_ids_and_a_serial_of_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *variant, *serial, *layout;
    } cases[] = {
        {"stm32f042x6", "gd32", "3C6J", "512*002Kg"},
        {"stm32f042x6", "gd32,half", "3C4J", "512*002Kg"},
        {"stm32f072xb", "gd32", "3CBJ", "512*002Kg"},
        {"stm32f072xb", "gd32,half", "3C8J", "512*002Kg"},
        {"stm32f407xx", "gd32", "3CGJ", "04*016Kg"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dfu_bench *bench = opened(cases[i].chip, cases[i].variant);
        char text[256];
        assert_int_equal(bench->usb->device.vid, 0x28e9);
        assert_int_equal(bench->usb->device.pid, 0x0189);
        assert_string_equal(bench->usb->device.serial, cases[i].serial);
        assert_true(usb_string(bench->usb, 4, text, sizeof text));
        assert_non_null(strstr(text, cases[i].layout));
        dfu_bench_free(bench);
    }
}

static void a_wrong_one_is_divided_otherwise(void **state)
{
    (void)state;
    const struct vfaults faults = {.wrong_id = true};
    struct dfu_bench *bench = with_faults("stm32f407xx", &faults);
    char text[256];
    assert_true(usb_string(bench->usb, 4, text, sizeof text));
    assert_string_equal(text, "@Internal Flash  /0x08000000/04*008Kg,01*032Kg,07*064Kg");
    dfu_bench_free(bench);
}

/* ---- refusals ---- */

static void a_download_is_taken_in_two_states_only(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    dfu_trace(bench, "21 01 0000 0000 0005 [21 00 00 00 08]\n"
                     "21 01 0000 0000 0005 [21 00 00 00 08] stall\n" /* dfuDNLOAD-SYNC */
                     "a1 05 0000 0000 0001 -> 03\n"
                     "a1 02 0002 0000 0800 stall\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "a1 02 0002 0000 0800 stall\n" /* upload wants dfuIDLE */
                     "21 06 0000 0000 0000\n"
                     "a1 02 0002 0000 0800 >\n"
                     "a1 05 0000 0000 0001 -> 09\n"
                     "21 01 0000 0000 0005 [21 00 00 00 08] stall\n"
                     "21 06 0000 0000 0000\n"
                     "a1 05 0000 0000 0001 -> 02\n");
    dfu_bench_free(bench);
}

static void more_than_a_block_stalls(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *lines;
    } cases[] = {{"stm32f407xx", "21 01 0002 0000 0801 < stall\na1 02 0002 0000 0801 stall\n"},
                 {"stm32g0b1xx", "21 01 0002 0000 0401 < stall\na1 02 0002 0000 0401 stall\n"},
                 {"stm32h743xx", "21 01 0002 0000 0800 < stall\na1 02 0002 0000 0800 stall\n"}};
    for (size_t i = 0; i < 3; i++) {
        struct dfu_bench *bench = opened(cases[i].chip, NULL);
        dfu_trace(bench, cases[i].lines);
        dfu_trace(bench, "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n");
        dfu_bench_free(bench);
    }
}

static void block_1_means_nothing(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    dfu_trace(bench, "21 01 0001 0000 0010 < stall\n"
                     "a1 03 0000 0000 0006 -> 0f 00 00 00 0a 00\n"
                     "21 04 0000 0000 0000\n"
                     "a1 02 0001 0000 0800 stall\n"
                     "a1 03 0000 0000 0006 -> 0f 00 00 00 0a 00\n");
    dfu_bench_free(bench);
}

/* Says the command, lets its time pass, and wants this end of it. */
static void command_ends(struct dfu_bench *bench, const char *command, uint8_t code, uint8_t state)
{
    dfu_trace(bench, command);
    (void)dfu_status_is(bench, 0, 4);
    dfu_bench_wait(bench, 50 * (uint64_t)SECOND);
    (void)dfu_status_is(bench, code, state);
    dfu_trace(bench, state == 10 ? "21 04 0000 0000 0000\n" : "21 06 0000 0000 0000\n");
    (void)dfu_status_is(bench, 0, 2);
}

static void commands_that_cannot_be_end_in_an_error(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        uint8_t code;
    } cases[] = {
        {"21 01 0000 0000 0005 [21 00 00 00 20]", 0x08}, /* RAM */
        {"21 01 0000 0000 0005 [21 00 00 10 08]", 0x08}, /* behind the flash */
        {"21 01 0000 0000 0005 [41 00 00 10 08]", 0x08},
        {"21 01 0000 0000 0005 [21 00 c0 ff 1f]", 0x08}, /* the other alternate's */
        {"21 01 0000 0000 0005 [33 00 00 00 08]", 0x0f},
        {"21 01 0000 0000 0004 [21 00 00 08]", 0x0f},
        {"21 01 0000 0000 0001 [21]", 0x0f},
        {"21 01 0000 0000 0002 [92 00]", 0x0f},
    };
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        command_ends(bench, cases[i].command, cases[i].code, 10);
    dfu_trace(bench, "01 0b 0001 0000 0000\n");
    command_ends(bench, "21 01 0000 0000 0005 [41 00 c0 ff 1f]", 0x04, 10); /* option bytes */
    command_ends(bench, "21 01 0000 0000 0005 [21 00 c0 ff 1f]", 0x00, 5);
    dfu_bench_free(bench);
}

static void data_from_outside_the_memory_is_refused(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f072xb", NULL);
    dfu_trace(bench, "21 01 0000 0000 0005 [21 00 f8 01 08]\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "sleep 10\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 01 0003 0000 0800 <\n" /* the block behind the last one */
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "sleep 200\n"
                     "a1 03 0000 0000 0006 -> 08 00 00 00 0a 00\n"
                     "21 04 0000 0000 0000\n"
                     "a1 02 0003 0000 0800 stall\n"
                     "a1 03 0000 0000 0006 -> 08 00 00 00 0a 00\n");
    dfu_bench_free(bench);
}

static void an_upload_ends_where_the_memory_ends(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f072xb", NULL);
    dfu_trace(bench, "21 01 0000 0000 0005 [21 00 fc 01 08]\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "sleep 10\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n"
                     "21 06 0000 0000 0000\n"
                     "a1 02 0002 0000 0800 >\n"
                     "a1 05 0000 0000 0001 -> 02\n");
    assert_int_equal(bench->heard, 1024);
    assert_memory_equal(bench->in, bench->flash + 127 * KIB, 1024);
    dfu_trace(bench, "a1 02 0000 0000 0010 -> 00 21 41 92\n");
    dfu_bench_free(bench);
}

static void clrstatus_outside_of_an_error_is_one(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    dfu_trace(bench, "21 04 0000 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 0e 00 00 00 0a 00\n"
                     "21 06 0000 0000 0000\n" /* means nothing here */
                     "a1 05 0000 0000 0001 -> 0a\n"
                     "21 04 0000 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n"
                     "21 00 03e8 0000 0000 stall\n"); /* DETACH in DFU mode */
    dfu_bench_free(bench);
}

static void flash_only_loses_bits(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    memset(bench->flash, 0x0f, 16);
    memset(bench->out, 0x33, 16);
    command_ends(bench, "21 01 0000 0000 0005 [21 00 00 00 08]", 0, 5);
    command_ends(bench, "21 01 0002 0000 0010 <", 0, 5);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(bench->flash[i], 0x03);
    dfu_bench_free(bench);
}

static void data_goes_where_the_block_number_says(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32h743xx", NULL);
    memset(bench->flash, 0xff, 128 * KIB);
    command_ends(bench, "21 01 0000 0000 0005 [21 00 01 00 08]", 0, 5);
    command_ends(bench, "21 01 0005 0000 0400 <", 0, 5);
    assert_memory_equal(bench->flash + 0x100 + 3 * KIB, bench->out, KIB);
    assert_true(blank(bench->flash, 0x100 + 3 * KIB));
    dfu_bench_free(bench);
}

/* ---- protection ---- */

static void a_protected_chip_takes_nothing_but_unprotect(void **state)
{
    (void)state;
    static const char *const commands[] = {"21 01 0000 0000 0005 [21 00 00 00 08]",
                                           "21 01 0000 0000 0005 [41 00 00 00 08]",
                                           "21 01 0000 0000 0001 [41]", "21 01 0002 0000 0010 <"};
    const struct vfaults faults = {.locked = true};
    struct dfu_bench *bench = with_faults("stm32f072xb", &faults);
    uint8_t before[4 * KIB];
    memcpy(before, bench->flash, sizeof before);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        command_ends(bench, commands[i], 0x0b, 10);
    dfu_trace(bench, "a1 02 0002 0000 0010 stall\n"
                     "a1 03 0000 0000 0006 -> 0b 00 00 00 0a 00\n"
                     "21 04 0000 0000 0000\n");
    assert_memory_equal(bench->flash, before, sizeof before);
    dfu_trace(bench, "21 01 0000 0000 0001 [92]\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "sleep 50000\n");
    assert_true(blank(bench->flash, 128 * KIB));
    dfu_bench_close(bench);
    dfu_bench_open(bench, NULL);
    command_ends(bench, "21 01 0000 0000 0005 [21 00 00 00 08]", 0, 5);
    dfu_bench_free(bench);
}

static void the_nth_download_fails_if_told_so(void **state)
{
    (void)state;
    const struct vfaults faults = {.nak = 2};
    struct dfu_bench *bench = with_faults("stm32f407xx", &faults);
    command_ends(bench, "21 01 0000 0000 0005 [21 00 00 00 08]", 0, 5);
    command_ends(bench, "21 01 0000 0000 0005 [21 00 00 00 08]", 0x03, 10);
    command_ends(bench, "21 01 0000 0000 0005 [21 00 00 00 08]", 0, 5);
    dfu_bench_free(bench);
}

static void a_stuck_byte_stays(void **state)
{
    (void)state;
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_st, "stm32f407xx", NULL);
    bench->config.flash.stuck = 3;
    dfu_bench_remake(bench);
    dfu_bench_open(bench, NULL);
    memset(bench->flash, 0xff, 16);
    memset(bench->out, 0, 16);
    command_ends(bench, "21 01 0000 0000 0005 [21 00 00 00 08]", 0, 5);
    command_ends(bench, "21 01 0002 0000 0010 <", 0, 5);
    assert_int_equal(bench->flash[2], 0);
    assert_int_equal(bench->flash[3], 0xff);
    dfu_bench_free(bench);
}

/* ---- manners and time ---- */

/* An erase of F4's first sector, and a question before it is done. */
static void begin_erase(struct dfu_bench *bench)
{
    dfu_trace(bench, "21 01 0000 0000 0005 [41 00 00 00 08]\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n"
                     "sleep 5\n");
}

static void one_that_withholds_answers_when_it_is_done(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    begin_erase(bench);
    uint64_t begun = dfu_bench_now(bench);
    (void)dfu_status_is(bench, 0, 5);
    assert_in_range(dfu_bench_now(bench) - begun, 380 * MILLISECOND, 400 * MILLISECOND);
    assert_true(blank(bench->flash, 0x4000));
    dfu_bench_free(bench);
}

static void one_that_stalls_can_be_asked_again(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", "stalls");
    begin_erase(bench);
    dfu_trace(bench, "a1 03 0000 0000 0006 stall\n"
                     "sleep 50\n"
                     "a1 03 0000 0000 0006 stall\n"
                     "sleep 500\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n");
    dfu_bench_free(bench);
}

static void a_strict_one_fails_when_it_is_asked_too_early(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", "strict");
    begin_erase(bench);
    dfu_trace(bench, "a1 03 0000 0000 0006 stall\n"
                     "sleep 500\n"
                     "a1 03 0000 0000 0006 -> 0f 00 00 00 0a 00\n"
                     "21 04 0000 0000 0000\n");
    begin_erase(bench);
    dfu_trace(bench, "sleep 500\na1 03 0000 0000 0006 -> 00 00 00 00 05 00\n");
    dfu_bench_free(bench);
}

static void nothing_begins_before_the_first_question(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    uint8_t before = bench->flash[0];
    dfu_trace(bench, "21 01 0000 0000 0005 [41 00 00 00 08]\n"
                     "sleep 5000\n");
    assert_int_equal(bench->flash[0], before);
    dfu_trace(bench, "21 06 0000 0000 0000\n" /* and it is forgotten */
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n"
                     "sleep 5000\n");
    assert_int_equal(bench->flash[0], before);
    dfu_bench_free(bench);
}

static void poll_timeouts_are_as_wrong_as_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *variant;
        uint32_t erase, write;
    } cases[] = {{"stm32f407xx", NULL, 100, 104},
                 {"stm32f407xx", "poll0", 0, 0},
                 {"stm32f407xx", "poll-huge", 0xffffff, 0xffffff}};
    for (size_t i = 0; i < 3; i++) {
        struct dfu_bench *bench = opened(cases[i].chip, cases[i].variant);
        dfu_trace(bench, "21 01 0000 0000 0005 [41 00 00 00 08]");
        assert_int_equal(dfu_status_is(bench, 0, 4), cases[i].erase);
        (void)dfu_status_is(bench, 0, 5);
        dfu_trace(bench, "21 01 0002 0000 0800 <");
        assert_int_equal(dfu_status_is(bench, 0, 4), cases[i].write);
        (void)dfu_status_is(bench, 0, 5);
        dfu_bench_free(bench);
    }
}

/* F4's data sheet, x8: 16 KiB some 0.4 s, 128 KiB 2 s, a byte 16 us. */
static void erasing_and_programming_take_their_time(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        uint32_t least, most;
    } cases[] = {{"21 01 0000 0000 0005 [41 00 00 00 08]", 390, 410},
                 {"21 01 0000 0000 0005 [41 00 00 02 08]", 1900, 2500},
                 {"21 01 0002 0000 0800 <", 32, 35}};
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    for (size_t i = 0; i < 3; i++) {
        dfu_trace(bench, cases[i].line);
        (void)dfu_status_is(bench, 0, 4);
        uint64_t begun = dfu_bench_now(bench);
        (void)dfu_status_is(bench, 0, 5);
        assert_in_range(dfu_bench_now(bench) - begun, cases[i].least * MILLISECOND,
                        cases[i].most * MILLISECOND);
    }
    dfu_bench_free(bench);
}

static void behind_its_flash_a_small_part_has_nothing(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f042x6", "gd32,half");
    command_ends(bench, "21 01 0000 0000 0005 [21 00 3c 00 08]", 0, 5);
    command_ends(bench, "21 01 0000 0000 0005 [21 00 40 00 08]", 8, 10);
    dfu_bench_free(bench);
}

static void one_that_looks_programs_nothing_twice(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f072xb", "looks");
    memset(bench->flash, 0xff, 4096);
    command_ends(bench, "21 01 0000 0000 0005 [21 00 00 00 08]", 0, 5);
    command_ends(bench, "21 01 0002 0000 0004 [01 02 03 04]", 0, 5);
    command_ends(bench, "21 01 0002 0000 0004 [01 02 03 04]", 6, 10);
    dfu_bench_free(bench);
}

/* ---- leaving ---- */

static void a_silent_one_leaves_without_an_answer(void **state)
{
    (void)state;
    static const char *const variants[] = {"silent", "gd32"};
    for (size_t i = 0; i < 2; i++) {
        struct dfu_bench *bench = opened("stm32f407xx", variants[i]);
        dfu_trace(bench, "21 01 0002 0000 0000\n"
                         "a1 03 0000 0000 0006 gone\n");
        dfu_bench_free(bench);
    }
}

static void a_bus_reset_begins_anew(void **state)
{
    (void)state;
    struct dfu_bench *bench = opened("stm32f407xx", NULL);
    command_ends(bench, "21 01 0000 0000 0005 [21 00 40 00 08]", 0, 5);
    dfu_trace(bench, "21 01 0000 0000 0005 [21 00 00 00 08]\n"
                     "reset\n"
                     "a1 03 0000 0000 0006 -> 00 00 00 00 02 00\n"
                     "a1 02 0002 0000 0010 >\n");
    assert_memory_equal(bench->in, bench->flash, 16);
    dfu_bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(dfu_util_writes_5000_bytes_to_an_f4_and_leaves),
        CASE(dfu_util_reads_5000_bytes),
        CASE(mass_erase_and_unprotect_are_one_byte),
        CASE(descriptors_are_those_of_the_roms),
        CASE(an_alternate_that_does_not_exist_stalls),
        CASE(a_short_string_says_that_it_is_longer),
        CASE(one_that_looks_programs_nothing_twice),
        CASE(behind_its_flash_a_small_part_has_nothing),
        CASE(gd32_has_ids_and_a_serial_of_its_own),
        CASE(a_wrong_one_is_divided_otherwise),
        CASE(a_download_is_taken_in_two_states_only),
        CASE(more_than_a_block_stalls),
        CASE(block_1_means_nothing),
        CASE(commands_that_cannot_be_end_in_an_error),
        CASE(data_from_outside_the_memory_is_refused),
        CASE(an_upload_ends_where_the_memory_ends),
        CASE(clrstatus_outside_of_an_error_is_one),
        CASE(flash_only_loses_bits),
        CASE(data_goes_where_the_block_number_says),
        CASE(a_protected_chip_takes_nothing_but_unprotect),
        CASE(the_nth_download_fails_if_told_so),
        CASE(a_stuck_byte_stays),
        CASE(one_that_withholds_answers_when_it_is_done),
        CASE(one_that_stalls_can_be_asked_again),
        CASE(a_strict_one_fails_when_it_is_asked_too_early),
        CASE(nothing_begins_before_the_first_question),
        CASE(poll_timeouts_are_as_wrong_as_asked_for),
        CASE(erasing_and_programming_take_their_time),
        CASE(a_silent_one_leaves_without_an_answer),
        CASE(a_bus_reset_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
