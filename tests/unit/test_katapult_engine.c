/*
 * Whole runs of a board's entry over Katapult, as the engine makes them: what is erased together is
 * also compared and written together.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "engine.h"
#include "method_rig.h"

extern const struct vmodel vmodel_katapult_usb;

enum { START = 0x08002000, SECTOR = 2048 };

struct bench {
    struct board_db *db;
    struct rig *rig;
    struct plan plan;
    struct plan_options options;
    struct engine engine;
    struct error err;
};

static void bench_open(struct bench *bench)
{
    static const char *const shipped[] = {"boards.ini"};
    static const struct vconfig options = {.variant = "button"};
    const struct board *board;
    memset(bench, 0, sizeof *bench);
    if (board_db_load(&bench->db, shipped, 1, &bench->err) ||
        board_find(bench->db, "btt-skr-mini", &board, &bench->err))
        fail_msg("%s", bench->err.message);
    const struct loader *loader = board_loader(board, "katapult-usb");
    const struct method *method = method_find("katapult-usb");
    assert_non_null(loader);
    bench->rig = rig_new(&vmodel_katapult_usb, method, "stm32f103xe", 0x80000, &options);
    bench->rig->image.placed = true;
    bench->options.forced = ~0u;  /* noise is no program */
    bench->options.no_run = true; /* it stays in its bootloader from one run to the next */
    bench->engine.target =
        (struct target){.board = board, .loader = loader, .method = method, .device = "virtual"};
}

static void bench_close(struct bench *bench)
{
    plan_free(&bench->plan);
    rig_free(bench->rig);
    board_db_free(bench->db);
}

static void flash(struct bench *bench)
{
    struct engine *engine = &bench->engine;
    plan_free(&bench->plan);
    int status =
        plan_flash(&bench->plan, engine->target.board, engine->target.loader, engine->target.method,
                   &bench->rig->image, &bench->options, &bench->err);
    engine->session.serial = virtual_serial(bench->rig->device, NULL);
    engine->state = STATE_UNTOUCHED;
    engine->result = (struct engine_result){0};
    if (!status)
        status = engine_execute(engine, &bench->plan, &bench->err);
    engine_close(engine);
    if (status)
        fail_msg("%s", bench->err.message);
    assert_true(rig_holds_image(bench->rig));
}

/* The first sector is written with whatever differs: its vectors go last, so that a board that is
 * interrupted stays in its bootloader. */
static void diff_writes_whole_sectors_and_the_first_one(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    rig_image(bench.rig, MEM_FLASH, START, 5 * SECTOR + 900);
    flash(&bench);
    bench.rig->flash[0x2000 + 2 * SECTOR + 1000] ^= 0x55; /* in the middle of the third */
    bench.options.diff = DIFF_YES;
    flash(&bench);
    assert_int_equal(bench.engine.result.bytes, 2 * SECTOR);
    assert_int_equal(bench.engine.result.skipped, 3 * SECTOR + 900);
    flash(&bench);
    assert_int_equal(bench.engine.result.bytes, 0);
    bench_close(&bench);
}

static void diff_keeps_the_other_piece_of_a_sector(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench);
    rig_image(bench.rig, MEM_FLASH, START, 700);
    rig_image(bench.rig, MEM_FLASH, START + 900, 300);
    flash(&bench);
    bench.rig->flash[0x2000 + 900] ^= 0x55;
    bench.options.diff = DIFF_YES;
    flash(&bench);
    assert_int_equal(bench.engine.result.bytes, 1000);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diff_writes_whole_sectors_and_the_first_one),
        cmocka_unit_test(diff_keeps_the_other_piece_of_a_sector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
