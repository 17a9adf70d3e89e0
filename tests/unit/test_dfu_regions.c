/*
 * One image for internal and external flash: how it is planned, and whole runs of it over a DFU
 * device that reaches both. See regions.h.
 */
#include "dfu_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine.h"

#define CASE(test) cmocka_unit_test(test)

enum { INTERNAL = 0x08000000, SECTOR = 128 * KIB, EXTERNAL_SECTOR = 4 * KIB };

static const uint64_t EXTERNAL = 0x90000000;

struct run {
    struct dfu_bench *bench;
    struct board board;
    struct plan plan;
    struct plan_options options;
    struct engine engine;
    struct error err;
    char warnings[1024];
};

static void keep_warning(void *user, const char *text)
{
    struct run *run = user;
    size_t used = strlen(run->warnings);
    (void)snprintf(run->warnings + used, sizeof run->warnings - used, "%s\n", text);
}

/* An H743 whose loader has 1 MiB of serial flash at 0x90000000, and says so. */
static struct run *run_new(void)
{
    const struct vconfig options = {.qspi = {.size = 2}};
    struct run *run = calloc(1, sizeof *run);
    assert_non_null(run);
    run->bench = dfu_bench_new(&vmodel_dfu_st, "stm32h743xx", &options);
    run->board = (struct board){.name = "h743-qspi",
                                .chip = run->bench->config.chip,
                                .loaders = &run->bench->loader,
                                .loader_count = 1};
    run->options = (struct plan_options){.no_run = true, .warn = keep_warning, .user = run};
    run->engine.target = (struct target){.board = &run->board,
                                         .loader = &run->bench->loader,
                                         .method = &method_dfu,
                                         .device = "virtual"};
    return run;
}

static void run_free(struct run *run)
{
    plan_free(&run->plan);
    dfu_bench_free(run->bench);
    free(run);
}

/* A piece of the image, as a file would bring it. */
static void add(struct run *run, uint64_t address, size_t length)
{
    struct image *image = &run->bench->image;
    dfu_image(run->bench, address, length);
    if (!image->source_count) {
        image->sources = calloc(1, sizeof *image->sources);
        assert_non_null(image->sources);
        image->sources[0].name = strdup("app.elf");
        image->source_count = 1;
    }
    image->placed = true;
    const uint8_t *table = image->segments[0].data;
    if (image->segments[0].address == INTERNAL)
        image->vectors = (struct vector_facts){
            .plausible = true, .sp = get_le32(table), .reset = get_le32(table + 4)};
}

static int plan(struct run *run)
{
    plan_free(&run->plan);
    run->warnings[0] = '\0';
    return plan_flash(&run->plan, &run->board, &run->bench->loader, &method_dfu, &run->bench->image,
                      &run->options, &run->err);
}

static int execute(struct run *run, const struct line_faults *faults)
{
    struct engine *engine = &run->engine;
    engine->session = (struct session){.usb = virtual_usb(run->bench->device, faults)};
    engine->state = STATE_UNTOUCHED;
    engine->result = (struct engine_result){0};
    int status = engine_execute(engine, &run->plan, &run->err);
    engine_close(engine);
    return status;
}

static void flash(struct run *run)
{
    if (plan(run) || execute(run, NULL))
        fail_msg("%s | %s", run->err.message, run->err.hint);
    assert_true(dfu_holds_image(run->bench));
}

static void assert_ranges(const struct step *step, const struct span *spans, size_t count)
{
    assert_int_equal(step->kind, STEP_ERASE);
    assert_int_equal(step->range_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(step->ranges[i].start, spans[i].start);
        assert_int_equal(step->ranges[i].size, spans[i].size);
    }
}

/* ---- plans ---- */

static void the_erase_is_planned_by_each_region_s_own_sectors(void **state)
{
    (void)state;
    struct run *run = run_new();
    add(run, INTERNAL, 3000);
    add(run, INTERNAL + 3 * SECTOR, 100);
    add(run, EXTERNAL + 100, 5000);
    add(run, EXTERNAL + 10 * EXTERNAL_SECTOR, 1);
    assert_int_equal(plan(run), OK);
    assert_ranges(&run->plan.steps[1],
                  (struct span[]){{INTERNAL, SECTOR},
                                  {INTERNAL + 3 * SECTOR, SECTOR},
                                  {EXTERNAL, 2 * EXTERNAL_SECTOR},
                                  {EXTERNAL + 10 * EXTERNAL_SECTOR, EXTERNAL_SECTOR}},
                  4);
    run->options.erase = ERASE_IMAGE;
    assert_int_equal(plan(run), OK);
    assert_ranges(&run->plan.steps[1],
                  (struct span[]){{INTERNAL, 4 * SECTOR}, {EXTERNAL, 11 * EXTERNAL_SECTOR}}, 2);
    run->options.erase = ERASE_CHIP;
    assert_int_equal(plan(run), OK);
    assert_true(run->plan.steps[1].whole_chip);
    assert_ranges(&run->plan.steps[2],
                  (struct span[]){{EXTERNAL, 2 * EXTERNAL_SECTOR},
                                  {EXTERNAL + 10 * EXTERNAL_SECTOR, EXTERNAL_SECTOR}},
                  2);
    run_free(run);
}

/* Two that follow each other are one stretch of addresses. */
static void a_piece_may_go_on_from_one_region_into_the_next(void **state)
{
    (void)state;
    static const struct region two[] = {
        {.name = "a", .memory = MEM_FLASH, .start = 0x90000000, .size = 8192, .sector = 4096},
        {.name = "b", .memory = MEM_FLASH, .start = 0x90002000, .size = 65536, .sector = 65536}};
    struct run *run = run_new();
    run->bench->loader.regions = two;
    run->bench->loader.region_count = 2;
    add(run, INTERNAL, 3000);
    add(run, EXTERNAL + 4096, 5000);
    assert_int_equal(plan(run), OK);
    assert_ranges(
        &run->plan.steps[1],
        (struct span[]){{INTERNAL, SECTOR}, {EXTERNAL + 4096, 4096}, {EXTERNAL + 8192, 65536}}, 3);
    assert_int_equal(
        regions_bytes(&run->plan.regions, &run->plan.regions.list[1], &run->bench->image), 4096);
    assert_int_equal(
        regions_bytes(&run->plan.regions, &run->plan.regions.list[2], &run->bench->image), 904);
    run_free(run);
}

static void what_lies_in_no_region_is_refused_and_all_are_named(void **state)
{
    (void)state;
    static const struct {
        uint64_t address;
        size_t length;
    } cases[] = {{0x90100000, 1}, {0x900fffff, 2}, {0x70000000, 16}, {0x081fffff, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run *run = run_new();
        add(run, INTERNAL, 3000);
        add(run, cases[i].address, cases[i].length);
        assert_int_equal(plan(run), ERR_REFUSED);
        assert_string_equal(run->err.check, "size");
        assert_non_null(strstr(run->err.message, "flash 0x8000000..0x81fffff"));
        assert_non_null(strstr(run->err.message, "qspi 0x90000000..0x900fffff"));
        assert_int_equal(run->plan.count, 0);
        run_free(run);
    }
}

static void without_its_region_external_flash_is_refused(void **state)
{
    (void)state;
    struct run *run = run_new();
    run->bench->loader.region_count = 0;
    add(run, INTERNAL, 3000);
    add(run, EXTERNAL, 100);
    assert_int_equal(plan(run), ERR_REFUSED);
    assert_string_equal(run->err.check, "size");
    assert_null(strstr(run->err.message, "qspi"));
    run->options.forced = 1U << CHECK_SIZE;
    assert_int_equal(plan(run), OK);
    assert_non_null(strstr(run->warnings, "forced: size"));
    run_free(run);
}

/* Pictures, say: they begin nowhere and have no vectors. The program's own rules stay. */
static void data_for_the_external_flash_is_no_program(void **state)
{
    (void)state;
    struct run *run = run_new();
    add(run, EXTERNAL + 4096, 3000);
    assert_int_equal(plan(run), OK);
    assert_string_equal(run->warnings, "");
    add(run, INTERNAL + 0x100, 3000);
    assert_int_equal(plan(run), ERR_REFUSED);
    assert_string_equal(run->err.check, "start");
    run_free(run);
}

/* A board whose flash chip lies below the chip's own memory in the address space. */
static void the_program_s_vectors_are_looked_at_wherever_it_lies(void **state)
{
    (void)state;
    static const struct region below = {
        .name = "spi", .memory = MEM_FLASH, .start = 0, .size = 1024 * 1024, .sector = 4096};
    struct run *run = run_new();
    run->bench->loader.regions = &below;
    add(run, 0x1000, 500);
    add(run, INTERNAL, 3000);
    assert_int_equal(plan(run), OK);
    struct segment *program = &run->bench->image.segments[1];
    program->data[7] = 0x70; /* a reset vector into nowhere */
    assert_int_equal(plan(run), ERR_REFUSED);
    assert_string_equal(run->err.check, "vectors");
    run_free(run);
}

/* ---- runs ---- */

static void both_memories_are_flashed_verified_and_compared(void **state)
{
    (void)state;
    struct run *run = run_new();
    add(run, INTERNAL, 3000);
    add(run, EXTERNAL, 9000);
    const uint8_t behind = run->bench->qspi[12 * KIB];
    flash(run);
    assert_int_equal(run->engine.result.bytes, 12000);
    assert_int_equal(run->engine.result.verified, TRI_TRUE);
    assert_int_equal(run->bench->qspi[12 * KIB], behind);
    flash(run); /* all is there: read is sooner than erased, in both */
    assert_int_equal(run->engine.result.bytes, 0);
    assert_int_equal(run->engine.result.skipped, 12000);
    assert_int_equal(run->engine.result.verified, TRI_TRUE);
    run->bench->qspi[5000] ^= 0x55;
    flash(run); /* the sector, and that with the vectors, which come last */
    assert_int_equal(run->engine.result.bytes, 3000 + EXTERNAL_SECTOR);
    assert_int_equal(run->engine.result.skipped, 9000 - EXTERNAL_SECTOR);
    run->options.erase = ERASE_CHIP;
    run->options.diff = DIFF_YES;
    run->bench->qspi[8500] ^= 0x55;
    flash(run);
    run_free(run);
}

static void a_difference_in_either_memory_is_found(void **state)
{
    (void)state;
    struct run *run = run_new();
    add(run, INTERNAL, 3000);
    add(run, EXTERNAL, 9000);
    flash(run);
    uint8_t *const places[] = {&run->bench->flash[2999], &run->bench->qspi[8999]};
    run->options.diff = DIFF_NO;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(plan(run), OK);
        struct step *verify = &run->plan.steps[3];
        assert_int_equal(verify->kind, STEP_VERIFY);
        free(run->plan.steps[1].ranges); /* nothing but comparing */
        run->plan.steps[1] = *verify;
        run->plan.count = 2;
        *places[i] ^= 1;
        assert_int_equal(execute(run, NULL), ERR_VERIFY);
        assert_non_null(strstr(run->err.message, i ? "0x90002327" : "0x08000bb7"));
        *places[i] ^= 1;
    }
    run_free(run);
}

static void a_device_without_the_region_is_left_as_it_is(void **state)
{
    (void)state;
    struct run *run = run_new();
    run->bench->config.qspi.size = 1; /* an ST ROM, say */
    dfu_bench_remake(run->bench);
    add(run, INTERNAL, 3000);
    add(run, EXTERNAL, 100);
    uint8_t before[4096];
    memcpy(before, run->bench->flash, sizeof before);
    run->options.diff = DIFF_NO;
    assert_int_equal(plan(run), OK);
    assert_int_equal(execute(run, NULL), ERR_REFUSED);
    assert_string_equal(run->err.check, "size");
    assert_non_null(strstr(run->err.message, "0x90000000"));
    assert_non_null(strstr(run->err.hint, "Internal Flash"));
    assert_memory_equal(run->bench->flash, before, sizeof before);
    run_free(run);
}

static void a_device_with_other_sectors_than_the_board_s_is_refused(void **state)
{
    (void)state;
    struct run *run = run_new();
    struct region region = run->bench->loader.regions[0];
    region.sector = 64 * KIB;
    run->bench->loader.regions = &region;
    add(run, EXTERNAL, 100);
    assert_int_equal(plan(run), OK);
    assert_int_equal(execute(run, NULL), ERR_REFUSED);
    assert_non_null(strstr(run->err.message, "region qspi"));
    assert_non_null(strstr(run->err.message, "External Flash"));
    run_free(run);
}

static void the_external_region_can_be_read(void **state)
{
    (void)state;
    struct run *run = run_new();
    struct engine *engine = &run->engine;
    uint8_t bytes[5000];
    engine->session = (struct session){.usb = virtual_usb(run->bench->device, NULL)};
    int status = engine_read(engine, &run->bench->loader.regions[0], EXTERNAL + 4001, bytes,
                             sizeof bytes, &run->err);
    engine_close(engine);
    if (status)
        fail_msg("%s", run->err.message);
    assert_memory_equal(bytes, run->bench->qspi + 4001, sizeof bytes);
    run_free(run);
}

/* After data alone the board's own program is started, and only if there is one. */
static void data_is_not_started(void **state)
{
    (void)state;
    struct run *run = run_new();
    run->options.no_run = false;
    add(run, EXTERNAL, 5000);
    memset(run->bench->flash, 0xff, 64);
    assert_int_equal(plan(run), OK);
    assert_int_equal(execute(run, NULL), ERR_REFUSED);
    assert_string_equal(run->err.check, "blank");
    assert_non_null(strstr(run->err.message, "0x08000000"));
    run->bench->flash[1] = 0x20;
    assert_int_equal(execute(run, NULL), OK);
    virtual_usb_elapse(run->bench->device, SECOND);
    assert_int_equal(run->bench->device->back_at, UINT64_MAX); /* it runs */
    run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_erase_is_planned_by_each_region_s_own_sectors),
        CASE(a_piece_may_go_on_from_one_region_into_the_next),
        CASE(what_lies_in_no_region_is_refused_and_all_are_named),
        CASE(without_its_region_external_flash_is_refused),
        CASE(data_for_the_external_flash_is_no_program),
        CASE(the_program_s_vectors_are_looked_at_wherever_it_lies),
        CASE(both_memories_are_flashed_verified_and_compared),
        CASE(a_difference_in_either_memory_is_found),
        CASE(a_device_without_the_region_is_left_as_it_is),
        CASE(a_device_with_other_sectors_than_the_board_s_is_refused),
        CASE(the_external_region_can_be_read),
        CASE(data_is_not_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
