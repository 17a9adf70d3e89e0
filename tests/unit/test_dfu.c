/* The dfu method against virtual boards: what is written and in which order, what is read, what is
 * refused, and how long it takes. What becomes of a bad line is in test_dfu_faults.c. */
#include "dfu_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define CASE(test) cmocka_unit_test(test)

static struct dfu_bench *st(const char *chip, const char *variant)
{
    const struct vconfig options = {.variant = variant};
    return dfu_bench_new(&vmodel_dfu_st, chip, &options);
}

static struct dfu_bench *st_with(const char *chip, const char *variant, size_t length)
{
    struct dfu_bench *bench = st(chip, variant);
    dfu_image(bench, bench->base, length);
    return bench;
}

static bool blank(const uint8_t *bytes, size_t length)
{
    return bytes_blank(bytes, length, 0xff);
}

/* ---- writing ---- */

static const struct {
    const struct vmodel *model;
    const char *chip, *variant;
} boards[] = {
    {&vmodel_dfu_st, "stm32f042x6", NULL},
    {&vmodel_dfu_st, "stm32f070xb", NULL},
    {&vmodel_dfu_st, "stm32f072xb", NULL},
    {&vmodel_dfu_st, "stm32f072xb", "strict"},
    {&vmodel_dfu_st, "stm32f072xb", "at32"},
    {&vmodel_dfu_st, "stm32f072xb", "apm32"},
    {&vmodel_dfu_st, "stm32f401xc", NULL},
    {&vmodel_dfu_st, "stm32f405xx", NULL},
    {&vmodel_dfu_st, "stm32f407xx", NULL},
    {&vmodel_dfu_st, "stm32f407xx", "poll0"},
    {&vmodel_dfu_st, "stm32f407xx", "poll-huge"},
    {&vmodel_dfu_st, "stm32f407xx", "poll0,stalls"},
    {&vmodel_dfu_st, "stm32f407xx", "poll-huge,stalls"},
    {&vmodel_dfu_st, "stm32f407xx", "garbage"},
    {&vmodel_dfu_st, "stm32f407xx", "gd32"},
    {&vmodel_dfu_st, "stm32f042x6", "gd32"},
    {&vmodel_dfu_st, "stm32f042x6", "gd32,half"},
    {&vmodel_dfu_st, "stm32f407xx", "silent"},
    {&vmodel_dfu_st, "stm32f407xx", "stalls"},
    {&vmodel_dfu_st, "stm32f407xx", "strict"},
    {&vmodel_dfu_st, "stm32f429xx", NULL},
    {&vmodel_dfu_st, "stm32f429xx", "short-string"},
    {&vmodel_dfu_st, "stm32f446xx", NULL},
    {&vmodel_dfu_st, "stm32g0b1xx", NULL},
    {&vmodel_dfu_st, "stm32g0b1xx", "strict"},
    {&vmodel_dfu_st, "stm32h723xx", NULL},
    {&vmodel_dfu_st, "stm32h743xx", NULL},
    {&vmodel_dfu_st, "stm32h750xx", NULL},
    {&vmodel_dfu_maple, "stm32f103xb", NULL},
    {&vmodel_dfu_maple, "stm32f103xe", NULL},
    {&vmodel_dfu_plain, "lpc1769", NULL},
    {&vmodel_dfu_plain, "lpc1768", NULL},
};

static void every_board_is_written_verified_and_started(void **state)
{
    (void)state;
    static const size_t lengths[] = {8, 1024, 2047, 2049, 9000};
    for (size_t i = 0; i < sizeof boards / sizeof boards[0]; i++)
        for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
            const struct vconfig options = {.variant = boards[i].variant};
            struct dfu_bench *bench = dfu_bench_new(boards[i].model, boards[i].chip, &options);
            dfu_image(bench, bench->loader.start, lengths[k]);
            int rc = dfu_runs(bench, NULL);
            if (rc != OK || !dfu_holds_image(bench) || bench->advanced != lengths[k] ||
                bench->notes[0])
                fail_msg("%s %s: %zu bytes: %s, %zu, %s", boards[i].chip, boards[i].variant,
                         lengths[k], rc ? bench->err.message : "OK", bench->advanced, bench->notes);
            assert_int_equal(bench->device->back_at, UINT64_MAX); /* the program runs */
            dfu_bench_free(bench);
        }
}

static void an_image_behind_a_bootloader_leaves_that_alone(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32f407xx", NULL);
    uint8_t before[32 * KIB];
    memcpy(before, bench->flash, sizeof before);
    dfu_image(bench, 0x08008000, 20000);
    dfu_assert_ok(bench, dfu_runs(bench, NULL));
    assert_true(dfu_holds_image(bench));
    assert_memory_equal(bench->flash, before, sizeof before);
    assert_true(blank(bench->flash + 0x8000 + 20000, 0x10000 - 0x8000 - 20000));
    dfu_bench_free(bench);
}

/* Whatever is broken off, the chip has no program before it has a whole one. */
static void the_vectors_come_last(void **state)
{
    (void)state;
    struct dfu_bench *bench = st_with("stm32f407xx", NULL, 20000);
    for (size_t stop = 1; stop < 20000 - 2048; stop += 2048) {
        bench->stop_at = stop;
        dfu_assert_ok(bench, dfu_connects(bench, NULL));
        dfu_assert_ok(bench, dfu_erases(bench));
        assert_int_equal(dfu_writes(bench), ERR_INTERRUPTED);
        assert_true(blank(bench->flash, 2048));
        assert_false(blank(bench->flash + 2048, 2048));
        assert_int_equal(method_dfu.run(&bench->session, &bench->err), ERR_FAILED);
        dfu_ends(bench);
        bench->stop_at = 0;
    }
    dfu_assert_ok(bench, dfu_runs(bench, NULL));
    assert_true(dfu_holds_image(bench));
    dfu_bench_free(bench);
}

static void blank_blocks_are_passed_over(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32f407xx", NULL);
    uint8_t *bytes = malloc(64 * KIB);
    assert_non_null(bytes);
    memset(bytes, 0xff, 64 * KIB);
    put_le32(bytes, 0x20002000);
    bytes[64 * KIB - 1] = 0x55;
    dfu_assert_ok(bench,
                  image_add(&bench->image, MEM_FLASH, bench->base, bytes, 64 * KIB, &bench->err));
    free(bytes);
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    dfu_assert_ok(bench, dfu_erases(bench));
    unsigned before = virtual_usb_bus(bench->usb)->messages;
    dfu_assert_ok(bench, dfu_writes(bench));
    assert_in_range(virtual_usb_bus(bench->usb)->messages - before, 6, 12);
    assert_int_equal(bench->advanced, 64 * KIB);
    assert_true(dfu_holds_image(bench));
    dfu_bench_free(bench);
}

static void pieces_of_an_image_are_written_where_they_belong(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32f407xx", NULL);
    dfu_image(bench, 0x08000000, 392);
    dfu_image(bench, 0x080001f1, 3); /* in the same block, at an odd address */
    dfu_image(bench, 0x08004000, 5000);
    dfu_image(bench, 0x08040100, 300);
    dfu_assert_ok(bench, dfu_runs(bench, NULL));
    assert_true(dfu_holds_image(bench));
    assert_int_equal(bench->flash[0x1f0], 0xff);
    assert_int_equal(bench->flash[0x1f4], 0xff);
    assert_true(blank(bench->flash + 0x40000, 0x100));
    dfu_bench_free(bench);
}

static void two_memories_are_written_from_one_image(void **state)
{
    (void)state;
    const struct vconfig options = {.qspi = {.size = 2}};
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_st, "stm32h750xx", &options);
    uint8_t behind = bench->qspi[12 * KIB];
    dfu_image(bench, 0x08000000, 3000);
    dfu_image(bench, 0x90000000, 9000);
    dfu_assert_ok(bench, dfu_runs(bench, NULL));
    assert_true(dfu_holds_image(bench));
    assert_true(blank(bench->qspi + 9000, 12 * KIB - 9000));
    assert_int_equal(bench->qspi[12 * KIB], behind);
    dfu_bench_remake(bench);
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    dfu_assert_ok(bench, dfu_verifies(bench));
    bench->qspi[8999] ^= 1;
    assert_int_equal(dfu_verifies(bench), ERR_VERIFY);
    dfu_bench_free(bench);
}

static void what_the_device_has_no_memory_for_is_refused_before_anything_is_written(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32h750xx", NULL); /* without the external flash */
    dfu_image(bench, 0x08000000, 3000);
    dfu_image(bench, 0x90000000, 100);
    uint8_t before = bench->flash[0];
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    assert_int_equal(dfu_writes(bench), ERR_REFUSED);
    assert_string_equal(bench->err.check, "size");
    dfu_assert_says(bench, "0x90000000");
    assert_int_equal(bench->flash[0], before);
    dfu_bench_free(bench);
}

static void programs_of_maple_at_5000_go_there(void **state)
{
    (void)state;
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_maple, "stm32f103xb", NULL);
    bench->loader.start = 0x08005000;
    dfu_image(bench, 0x08005000, 5000);
    dfu_assert_ok(bench, dfu_runs(bench, NULL));
    assert_true(dfu_holds_image(bench));
    dfu_bench_free(bench);
}

static void the_holes_of_a_plain_image_are_filled(void **state)
{
    (void)state;
    static const struct vmodel *const models[] = {&vmodel_dfu_maple, &vmodel_dfu_plain};
    static const char *const chips[] = {"stm32f103xb", "lpc1769"};
    for (size_t i = 0; i < 2; i++) {
        struct dfu_bench *bench = dfu_bench_new(models[i], chips[i], NULL);
        uint64_t start = bench->loader.start, at = start - bench->base;
        dfu_image(bench, start, 100);
        dfu_image(bench, start + 5000, 100);
        dfu_assert_ok(bench, dfu_runs(bench, NULL));
        assert_true(dfu_holds_image(bench));
        assert_true(blank(bench->flash + at + 100, 4900));
        dfu_bench_free(bench);
    }
}

/* ---- reading ---- */

static void any_address_and_length_can_be_read(void **state)
{
    (void)state;
    static const struct {
        const struct vmodel *model;
        const char *chip;
    } cases[] = {{&vmodel_dfu_st, "stm32f407xx"},
                 {&vmodel_dfu_st, "stm32f072xb"},
                 {&vmodel_dfu_st, "stm32h743xx"},
                 {&vmodel_dfu_maple, "stm32f103xb"},
                 {&vmodel_dfu_plain, "lpc1769"}};
    static const struct {
        uint32_t offset, length;
    } spans[] = {{0, 1}, {0, 4096}, {1, 5000}, {0x3fff, 2}, {2047, 1}, {0x8001, 2048}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dfu_bench *bench = dfu_bench_new(cases[i].model, cases[i].chip, NULL);
        dfu_assert_ok(bench, dfu_connects(bench, NULL));
        for (size_t k = 0; k < sizeof spans / sizeof spans[0]; k++) {
            uint8_t bytes[8192] = {0};
            uint64_t from = bench->loader.start + spans[k].offset;
            dfu_assert_ok(bench, method_dfu.read(&bench->session, MEM_FLASH, from, bytes,
                                                 spans[k].length, &bench->err));
            assert_memory_equal(bytes, bench->flash + (from - bench->base), spans[k].length);
        }
        dfu_bench_free(bench);
    }
}

static void the_end_of_the_memory_can_be_read_and_no_more(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32f072xb", NULL);
    uint8_t bytes[64];
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    dfu_assert_ok(bench,
                  method_dfu.read(&bench->session, MEM_FLASH, 0x0801ffc0, bytes, 64, &bench->err));
    assert_memory_equal(bytes, bench->flash + 0x1ffc0, 64);
    assert_true(method_dfu.read(&bench->session, MEM_FLASH, 0x0801ffc1, bytes, 64, &bench->err) !=
                OK);
    assert_true(method_dfu.read(&bench->session, MEM_EEPROM, 0, bytes, 1, &bench->err) ==
                ERR_NOT_POSSIBLE);
    dfu_bench_free(bench);
}

static void below_its_start_a_plain_loader_shows_nothing(void **state)
{
    (void)state;
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_maple, "stm32f103xb", NULL);
    uint8_t bytes[16];
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    assert_int_equal(
        method_dfu.read(&bench->session, MEM_FLASH, 0x08000000, bytes, 16, &bench->err),
        ERR_FAILED);
    dfu_bench_free(bench);
}

static void a_difference_is_found(void **state)
{
    (void)state;
    struct dfu_bench *bench = st_with("stm32f407xx", NULL, 5000);
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    dfu_assert_ok(bench, dfu_erases(bench));
    dfu_assert_ok(bench, dfu_writes(bench));
    bench->flash[4321] ^= 0x10;
    assert_int_equal(dfu_verifies(bench), ERR_VERIFY);
    dfu_assert_says(bench, "080010e1");
    dfu_bench_free(bench);
}

static void a_stuck_byte_is_found(void **state)
{
    (void)state;
    struct dfu_bench *bench = st_with("stm32f407xx", NULL, 5000);
    bench->config.flash.stuck = 1000;
    dfu_bench_remake(bench);
    int rc = dfu_runs(bench, NULL);
    assert_int_equal(rc, ERR_VERIFY);
    dfu_bench_free(bench);
}

/* ---- erasing ---- */

static void a_range_is_erased_by_the_device_s_sectors(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32f407xx", NULL);
    const struct span ranges[] = {{0x08004000, 0x8000}, {0x08020000, 0x20000}};
    uint8_t first = bench->flash[0x3fff], behind = bench->flash[0xc000];
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    dfu_assert_ok(bench, method_dfu.erase(&bench->session, ranges, 2, &bench->err));
    assert_true(blank(bench->flash + 0x4000, 0x8000));
    assert_true(blank(bench->flash + 0x20000, 0x20000));
    assert_int_equal(bench->flash[0x3fff], first);
    assert_int_equal(bench->flash[0xc000], behind);
    dfu_bench_free(bench);
}

static void the_whole_chip_is_erased(void **state)
{
    (void)state;
    static const char *const variants[] = {NULL, "stalls", "strict", "poll0", "poll-huge"};
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        struct dfu_bench *bench = st("stm32f407xx", variants[i]);
        dfu_assert_ok(bench, dfu_connects(bench, NULL));
        int rc = method_dfu.erase_chip(&bench->session, &bench->err);
        if (rc != OK || !blank(bench->flash, 1024 * KIB))
            fail_msg("%s: %s", variants[i], rc ? bench->err.message : "not blank");
        dfu_bench_free(bench);
    }
}

static void loaders_without_commands_say_so(void **state)
{
    (void)state;
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_maple, "stm32f103xb", NULL);
    const struct span range = {0x08002000, 0x400};
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    assert_int_equal(method_dfu.erase(&bench->session, &range, 1, &bench->err), ERR_NOT_POSSIBLE);
    assert_int_equal(method_dfu.erase_chip(&bench->session, &bench->err), ERR_NOT_POSSIBLE);
    assert_int_equal(method_dfu.unlock(&bench->session, &bench->err), ERR_NOT_POSSIBLE);
    dfu_assert_says(bench, "stm32duino");
    dfu_bench_free(bench);
}

/* ---- protection and option bytes ---- */

static void a_protected_chip_says_what_to_do_and_can_be_unlocked(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f407xx", "stm32f072xb", "stm32g0b1xx"};
    for (size_t i = 0; i < 3; i++) {
        const struct vconfig options = {.faults = {.locked = true}};
        struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_st, chips[i], &options);
        dfu_image(bench, bench->base, 3000);
        assert_int_equal(dfu_runs(bench, NULL), ERR_PROTECTED);
        dfu_assert_says(bench, "mflash unlock");
        dfu_assert_ok(bench, dfu_connects(bench, NULL));
        dfu_assert_ok(bench, method_dfu.unlock(&bench->session, &bench->err));
        dfu_ends(bench);
        assert_true(blank(bench->flash, 128 * KIB));
        dfu_assert_ok(bench, dfu_runs(bench, NULL));
        assert_true(dfu_holds_image(bench));
        dfu_bench_free(bench);
    }
}

static const struct fuse *fuse_named(const struct fuse *fuses, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fuses[i].name, name) == 0)
            return &fuses[i];
    fail_msg("there is no %s", name);
    return NULL;
}

static void option_bytes_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *name;
        uint32_t value;
    } cases[] = {{"stm32f072xb", "data0", 0x5a}, {"stm32f407xx", "user", 0xe8}};
    for (size_t i = 0; i < 2; i++) {
        struct dfu_bench *bench = st(cases[i].chip, NULL);
        struct fuse fuses[FUSES_MAX];
        size_t count;
        dfu_assert_ok(bench, dfu_connects(bench, NULL));
        dfu_assert_ok(bench, method_dfu.fuses(&bench->session, fuses, &count, &bench->err));
        assert_int_equal(fuse_named(fuses, count, "rdp")->value, 0xaa);
        dfu_assert_ok(bench, method_dfu.set_fuse(&bench->session, cases[i].name, cases[i].value,
                                                 &bench->err));
        assert_true(bench->session.comes_back);
        dfu_ends(bench);
        dfu_assert_ok(bench, dfu_connects(bench, NULL));
        dfu_assert_ok(bench, method_dfu.fuses(&bench->session, fuses, &count, &bench->err));
        const struct fuse *fuse = fuse_named(fuses, count, cases[i].name);
        assert_int_equal(fuse->value & fuse->mask, cases[i].value & fuse->mask);
        assert_int_equal(fuse_named(fuses, count, "rdp")->value, 0xaa);
        assert_true(method_dfu.set_fuse(&bench->session, "nonsense", 1, &bench->err) == ERR_USAGE);
        dfu_bench_free(bench);
    }
}

static void a_loader_that_shows_no_option_bytes_says_so(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32h743xx", NULL);
    struct fuse fuses[FUSES_MAX];
    size_t count;
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    assert_int_equal(method_dfu.fuses(&bench->session, fuses, &count, &bench->err),
                     ERR_NOT_POSSIBLE);
    dfu_bench_free(bench);
}

/* ---- who it is ---- */

static void info_tells_loader_memories_and_block(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32f407xx", NULL);
    struct device_info info = {0};
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    dfu_assert_ok(bench, method_dfu.info(&bench->session, &info, &bench->err));
    assert_string_equal(info.lines[0].text, "STM32  BOOTLOADER (DfuSe)");
    assert_string_equal(info.lines[1].text, "22.00");
    assert_string_equal(info.lines[3].text,
                        "0  @Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg");
    assert_string_equal(info.lines[5].text, "2048 bytes");
    dfu_bench_free(bench);
}

static void another_chip_is_refused_unless_forced(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.wrong_id = true}};
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_st, "stm32f407xx", &options);
    assert_int_equal(dfu_connects(bench, NULL), ERR_REFUSED);
    assert_string_equal(bench->err.check, "signature");
    dfu_assert_says(bench, "008Kg");
    dfu_ends(bench);
    bench->session.force_signature = true;
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    assert_non_null(strstr(bench->notes, "forced"));
    dfu_bench_free(bench);
}

static void the_board_s_layout_wins_over_a_device_that_lies(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.wrong_id = true}};
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_st, "stm32f407xx", &options);
    dfu_image(bench, bench->base, 40000);
    dfu_set(bench, "layout", "@Flash /0x08000000/04*016Kg,01*064Kg,07*128Kg");
    dfu_assert_ok(bench, dfu_runs(bench, NULL));
    assert_true(dfu_holds_image(bench));
    dfu_bench_remake(bench);
    bench->settings[0].value = "nonsense";
    assert_int_equal(dfu_connects(bench, NULL), ERR_BOARDS_FILE);
    dfu_bench_free(bench);
}

static void a_smaller_part_refuses_what_it_has_no_room_for(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32f072xb", NULL);
    dfu_set(bench, "layout", "@Flash /0x08000000/016*0002Kg");
    dfu_image(bench, bench->base, 40000);
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    assert_int_equal(dfu_writes(bench), ERR_REFUSED);
    assert_string_equal(bench->err.check, "size");
    dfu_bench_free(bench);
}

/* Its loader tells the same layout for every size; its serial number tells the truth. */
static void a_gd32_is_as_large_as_its_serial_number_says(void **state)
{
    (void)state;
    static const struct {
        const char *variant, *says;
        uint32_t room;
    } cases[] = {{"gd32", "32 KiB of flash, as its serial number 3C6J", 32 * KIB},
                 {"gd32,half", "16 KiB of flash, as its serial number 3C4J", 16 * KIB}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dfu_bench *bench = st("stm32f042x6", cases[i].variant);
        struct device_info info = {0};
        dfu_image(bench, bench->base, cases[i].room);
        dfu_assert_ok(bench, dfu_runs(bench, NULL));
        assert_true(dfu_holds_image(bench));
        uint8_t last = bench->flash[0];
        dfu_image(bench, bench->base + cases[i].room, 1);
        dfu_bench_remake(bench);
        dfu_assert_ok(bench, dfu_connects(bench, NULL));
        dfu_assert_ok(bench, method_dfu.info(&bench->session, &info, &bench->err));
        assert_non_null(strstr(info.lines[5].text, cases[i].says + 26));
        assert_int_equal(dfu_erases(bench), ERR_REFUSED);
        assert_string_equal(bench->err.check, "size");
        dfu_assert_says(bench, cases[i].says);
        assert_int_equal(dfu_writes(bench), ERR_REFUSED);
        dfu_assert_says(bench, cases[i].says);
        assert_int_equal(bench->flash[0], last);
        dfu_bench_free(bench);
    }
}

/* Pages of 1 KiB, and no sign of the chip: a row with other pages is none of these. */
static void a_gd32_is_checked_as_far_as_it_tells(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32f072xb", "gd32");
    assert_int_equal(dfu_connects(bench, NULL), ERR_REFUSED);
    assert_string_equal(bench->err.check, "signature");
    dfu_assert_says(bench, "128*001Kg");
    dfu_bench_free(bench);
    const struct vconfig wrong = {.variant = "gd32", .faults = {.wrong_id = true}};
    bench = dfu_bench_new(&vmodel_dfu_st, "stm32f407xx", &wrong);
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    assert_non_null(strstr(bench->notes, "serial number 3CGJ"));
    dfu_bench_free(bench);
}

/* ---- starting ---- */

static void an_empty_chip_is_not_started(void **state)
{
    (void)state;
    struct dfu_bench *bench = st("stm32f407xx", NULL);
    memset(bench->flash, 0xff, 64);
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    assert_int_equal(method_dfu.run(&bench->session, &bench->err), ERR_REFUSED);
    assert_string_equal(bench->err.check, "blank");
    bench->flash[1] = 0x20;
    dfu_assert_ok(bench, method_dfu.run(&bench->session, &bench->err));
    dfu_bench_wait(bench, SECOND);
    assert_false(virtual_usb_bus(bench->usb)->up);
    dfu_bench_free(bench);
}

static void maple_is_started_by_a_reset_of_the_bus(void **state)
{
    (void)state;
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_maple, "stm32f103xb", NULL);
    put_le32(bench->flash + 0x2000, 0x20002000);
    dfu_assert_ok(bench, dfu_connects(bench, NULL));
    dfu_assert_ok(bench, method_dfu.run(&bench->session, &bench->err));
    assert_int_equal(bench->device->back_at, UINT64_MAX);
    dfu_bench_free(bench);
}

/* ---- what an earlier host left ---- */

static void a_loader_is_brought_to_idle_from_wherever_it_is(void **state)
{
    (void)state;
    static const char *const left[] = {
        "21 04 0000 0000 0000\n",                  /* dfuERROR */
        "a1 02 0002 0000 0800 >\n",                /* dfuUPLOAD-IDLE */
        "21 01 0000 0000 0005 [21 00 00 00 08]\n", /* dfuDNLOAD-SYNC */
        "21 01 0000 0000 0005 [21 00 00 00 08]\na1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n",
        "21 01 0000 0000 0005 [41 00 00 02 08]\na1 03 0000 0000 0006 -> 00 .. .. .. 04 00\n",
        "21 01 0001 0000 0010 < stall\n",
    };
    static const char *const variants[] = {NULL, "stalls"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
        for (size_t k = 0; k < 2; k++) {
            struct dfu_bench *bench = st_with("stm32f407xx", variants[k], 5000);
            dfu_bench_open(bench, NULL);
            dfu_trace(bench, left[i]);
            bench->session = (struct session){.method = &method_dfu,
                                              .chip = bench->config.chip,
                                              .loader = &bench->loader,
                                              .usb = bench->usb,
                                              .clock = bench->usb->clock};
            int rc = method_dfu.connect(&bench->session, &bench->err);
            if (rc != OK)
                fail_msg("%s%s: %s", left[i], variants[k], bench->err.message);
            bench->connected = true;
            dfu_assert_ok(bench, dfu_erases(bench));
            dfu_assert_ok(bench, dfu_writes(bench));
            assert_true(dfu_holds_image(bench));
            dfu_bench_free(bench);
        }
}

static void end_an_image(struct dfu_bench *bench)
{
    dfu_bench_open(bench, NULL);
    dfu_trace(bench, "01 0b 0002 0000 0000\n"
                     "21 01 0000 0000 0400 <\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 05 00\n"
                     "21 01 0001 0000 0000\n"
                     "a1 03 0000 0000 0006 -> 00 .. .. .. 08 00\n");
    dfu_bench_close(bench);
}

/* dfu-util without -R leaves stm32duino so: only a reset of the bus leads out. */
static void one_that_waits_for_a_reset_gets_it(void **state)
{
    (void)state;
    struct dfu_bench *bench = dfu_bench_new(&vmodel_dfu_maple, "stm32f103xb", NULL);
    dfu_image(bench, bench->loader.start, 5000);
    memset(bench->out, 0, 4); /* no program: the loader comes back */
    end_an_image(bench);
    assert_int_equal(dfu_connects(bench, NULL), ERR_GONE);
    assert_true(bench->session.comes_back);
    dfu_ends(bench);
    dfu_assert_ok(bench, dfu_runs(bench, NULL));
    assert_true(dfu_holds_image(bench));
    dfu_bench_free(bench);
    const struct vconfig options = {.variant = "runtime"}; /* its application, which can be asked */
    bench = dfu_bench_new(&vmodel_dfu_maple, "stm32f103xb", &options);
    dfu_image(bench, bench->loader.start, 5000);
    put_le32(bench->out, 0x20002000);
    end_an_image(bench);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dfu_connects(bench, NULL), ERR_GONE);
        assert_true(bench->session.comes_back);
        dfu_ends(bench);
    }
    dfu_assert_ok(bench, dfu_runs(bench, NULL));
    assert_true(dfu_holds_image(bench));
    dfu_bench_free(bench);
}

/* A strict device whose first work was over sooner than it was asked for seems patient. The block
 * that it fails over then is in its flash, which takes nothing twice. */
static void a_block_that_is_there_already_is_not_programmed_again(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f072xb", "stm32f407xx", "stm32g0b1xx"};
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) {
        struct dfu_bench *bench = st_with(chips[i], "strict,looks", 9000);
        memset(bench->flash, 0xff, sizeof bench->flash);
        dfu_assert_ok(bench, dfu_connects(bench, NULL));
        dfu_assert_ok(bench, dfu_writes(bench)); /* nothing was erased before */
        assert_true(dfu_holds_image(bench));
        assert_int_equal(bench->advanced, 9000);
        dfu_bench_free(bench);
    }
}

/* ---- speed ---- */

/* What 128 KiB need on F407: its sectors' erase times, 16 us a byte, and the blocks' way over the
 * bus with one question each that waits for the answer. */
static void writing_takes_what_flash_and_bus_need(void **state)
{
    (void)state;
    enum { LENGTH = 128 * KIB, BLOCKS = LENGTH / 2048 };
    static const struct {
        const char *chip, *variant;
        uint64_t erase, program; /* microseconds of 128 KiB */
        double limit;
    } cases[] = {{"stm32f407xx", NULL, 4 * 400000 + 1200000, LENGTH * 16, 1.1},
                 {"stm32f407xx", "stalls", 4 * 400000 + 1200000, LENGTH * 16, 1.25},
                 {"stm32f072xb", NULL, 64 * 30000, LENGTH / 2 * 53.5, 1.25}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dfu_bench *bench = st_with(cases[i].chip, cases[i].variant, LENGTH);
        dfu_bench_open(bench, NULL);
        dfu_trace(bench, "21 01 0000 0000 0005 [21 00 00 00 08]\n"
                         "a1 03 0000 0000 0006 -> 00 .. .. .. 04 00\nsleep 104\n"
                         "a1 03 0000 0000 0006 -> 00 00 00 00 05 00\n");
        uint64_t begun = dfu_bench_now(bench);
        dfu_trace(bench, "21 01 0002 0000 0800 <\n");
        uint64_t bus = (dfu_bench_now(bench) - begun) * BLOCKS;
        dfu_bench_close(bench);
        dfu_assert_ok(bench, dfu_runs(bench, NULL));
        double ratio = (double)(bench->erasing + bench->writing) /
                       (double)(cases[i].erase + cases[i].program + bus);
        print_message("%s %s: 128 KiB erased in %u ms, written in %u ms, %.2f times what it needs; "
                      "read in %u ms, all in %u ms\n",
                      cases[i].chip, cases[i].variant ? cases[i].variant : "",
                      (unsigned)(bench->erasing / MILLISECOND),
                      (unsigned)(bench->writing / MILLISECOND), ratio,
                      (unsigned)(bench->reading / MILLISECOND),
                      (unsigned)(bench->whole / MILLISECOND));
        assert_true(ratio > 0.95 && ratio < cases[i].limit);
        dfu_bench_free(bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_board_is_written_verified_and_started),
        CASE(an_image_behind_a_bootloader_leaves_that_alone),
        CASE(the_vectors_come_last),
        CASE(blank_blocks_are_passed_over),
        CASE(pieces_of_an_image_are_written_where_they_belong),
        CASE(two_memories_are_written_from_one_image),
        CASE(what_the_device_has_no_memory_for_is_refused_before_anything_is_written),
        CASE(programs_of_maple_at_5000_go_there),
        CASE(the_holes_of_a_plain_image_are_filled),
        CASE(any_address_and_length_can_be_read),
        CASE(the_end_of_the_memory_can_be_read_and_no_more),
        CASE(below_its_start_a_plain_loader_shows_nothing),
        CASE(a_difference_is_found),
        CASE(a_stuck_byte_is_found),
        CASE(a_range_is_erased_by_the_device_s_sectors),
        CASE(the_whole_chip_is_erased),
        CASE(loaders_without_commands_say_so),
        CASE(a_protected_chip_says_what_to_do_and_can_be_unlocked),
        CASE(option_bytes_are_read_and_written),
        CASE(a_loader_that_shows_no_option_bytes_says_so),
        CASE(info_tells_loader_memories_and_block),
        CASE(another_chip_is_refused_unless_forced),
        CASE(the_board_s_layout_wins_over_a_device_that_lies),
        CASE(a_smaller_part_refuses_what_it_has_no_room_for),
        CASE(a_gd32_is_as_large_as_its_serial_number_says),
        CASE(a_gd32_is_checked_as_far_as_it_tells),
        CASE(an_empty_chip_is_not_started),
        CASE(maple_is_started_by_a_reset_of_the_bus),
        CASE(a_loader_is_brought_to_idle_from_wherever_it_is),
        CASE(one_that_waits_for_a_reset_gets_it),
        CASE(a_block_that_is_there_already_is_not_programmed_again),
        CASE(writing_takes_what_flash_and_bus_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
