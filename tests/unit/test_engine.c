/* The engine on virtual time: steps are executed, what is there is skipped, the state is true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "method_rig.h"

extern const struct vmodel vmodel_optiboot;
extern const struct vmodel vmodel_stk500boot;

struct bench {
    struct rig *rig; /* the board; its session is not used, the engine has its own */
    struct board_db *db;
    struct engine engine;
    struct plan plan;
    struct plan_options options;
    volatile sig_atomic_t stop;
    size_t stop_at;
    struct error err;
};

static void stop_when(void *user, size_t done, size_t total)
{
    struct bench *bench = user;
    (void)total;
    if (bench->stop_at && done >= bench->stop_at)
        bench->stop = 1;
}

static struct bench *bench_new(const struct vmodel *model, const char *board, const char *method)
{
    static const char *const shipped[] = {"boards.ini"};
    const struct board *found;
    struct bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    if (board_db_load(&bench->db, shipped, 1, &bench->err) ||
        board_find(bench->db, board, &found, &bench->err))
        fail_msg("%s", bench->err.message);
    const struct loader *loader = board_loader(found, method);
    assert_non_null(loader);
    bench->rig =
        rig_new(model, method_find(method), found->chip->name, (uint64_t)loader->end, NULL);
    bench->rig->image.placed = true;
    bench->engine.target = (struct target){
        .board = found, .loader = loader, .method = method_find(method), .device = "virtual"};
    bench->engine.stop = &bench->stop;
    bench->engine.events.progress = stop_when;
    bench->engine.events.user = bench;
    return bench;
}

static void bench_free(struct bench *bench)
{
    plan_free(&bench->plan);
    rig_free(bench->rig);
    board_db_free(bench->db);
    free(bench);
}

/* One run of mflash: plan, execute, close. */
static int flash(struct bench *bench, const struct line_faults *faults)
{
    struct engine *engine = &bench->engine;
    plan_free(&bench->plan);
    int status =
        plan_flash(&bench->plan, engine->target.board, engine->target.loader, engine->target.method,
                   &bench->rig->image, &bench->options, &bench->err);
    if (status)
        return status;
    engine->session.serial = virtual_serial(bench->rig->device, faults);
    engine->state = STATE_UNTOUCHED;
    engine->result = (struct engine_result){0};
    status = engine_execute(engine, &bench->plan, &bench->err);
    engine_close(engine);
    if (status)
        print_message("%s\n", bench->err.message);
    return status;
}

static void a_run_writes_verifies_and_starts_the_application(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "arduino-uno", "stk500v1");
    rig_image(bench->rig, MEM_FLASH, 0, 3000);
    if (flash(bench, NULL))
        fail_msg("%s", bench->err.message);
    assert_true(rig_holds_image(bench->rig));
    assert_int_equal(bench->engine.state, STATE_RUNNING);
    assert_int_equal(bench->engine.result.bytes, 3000);
    assert_int_equal(bench->engine.result.verified, TRI_TRUE);
    assert_int_equal(bench->engine.result.proven, TRI_NULL);
    assert_true(bench->engine.result.seconds > 0.2);
    bench_free(bench);
}

static void without_verify_nothing_is_said_to_be_verified(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "arduino-uno", "stk500v1");
    rig_image(bench->rig, MEM_FLASH, 0, 1000);
    bench->options.no_verify = true;
    bench->options.no_run = true;
    assert_int_equal(flash(bench, NULL), OK);
    assert_int_equal(bench->engine.result.verified, TRI_NULL);
    assert_int_equal(bench->engine.state, STATE_BOOTLOADER);
    bench_free(bench);
}

static void diff_skips_what_is_there(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "arduino-uno", "stk500v1");
    rig_image(bench->rig, MEM_FLASH, 0, 3000);
    assert_int_equal(flash(bench, NULL), OK);
    bench->rig->flash[1000] ^= 0x55; /* in the eighth page of 128 */
    bench->options.diff = DIFF_YES;
    assert_int_equal(flash(bench, NULL), OK);
    assert_true(rig_holds_image(bench->rig));
    assert_int_equal(bench->engine.result.bytes, 128);
    assert_int_equal(bench->engine.result.skipped, 3000 - 128);
    assert_int_equal(flash(bench, NULL), OK);
    assert_int_equal(bench->engine.result.bytes, 0);
    assert_int_equal(bench->engine.result.skipped, 3000);
    assert_int_equal(bench->engine.result.verified, TRI_TRUE);
    bench_free(bench);
}

static void where_pages_have_an_order_diff_leaves_an_unchanged_tail_out(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_stk500boot, "arduino-mega2560", "stk500v2");
    rig_image(bench->rig, MEM_FLASH, 0, 5000);
    assert_int_equal(flash(bench, NULL), OK);
    bench->rig->flash[1000] ^= 0x55; /* in the fourth page of 256 */
    bench->options.diff = DIFF_YES;
    assert_int_equal(flash(bench, NULL), OK);
    assert_true(rig_holds_image(bench->rig));
    assert_int_equal(bench->engine.result.bytes, 1024);
    assert_int_equal(bench->engine.result.skipped, 5000 - 1024);
    bench_free(bench);
}

static void an_interruption_before_the_first_write_leaves_the_board_untouched(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "arduino-uno", "stk500v1");
    rig_image(bench->rig, MEM_FLASH, 0, 3000);
    bench->stop = 1;
    assert_int_equal(flash(bench, NULL), ERR_INTERRUPTED);
    assert_int_equal(bench->engine.state, STATE_UNTOUCHED);
    bench_free(bench);
}

static void an_interruption_while_writing_leaves_the_bootloader_alive(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "arduino-uno", "stk500v1");
    rig_image(bench->rig, MEM_FLASH, 0, 3000);
    bench->stop_at = 500;
    assert_int_equal(flash(bench, NULL), ERR_INTERRUPTED);
    assert_int_equal(bench->engine.state, STATE_BOOTLOADER);
    assert_false(rig_holds_image(bench->rig));
    bench->stop = 0;
    bench->stop_at = 0;
    assert_int_equal(flash(bench, NULL), OK);
    assert_true(rig_holds_image(bench->rig));
    bench_free(bench);
}

static void a_link_that_goes_away_leaves_an_unknown_state(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "arduino-uno", "stk500v1");
    rig_image(bench->rig, MEM_FLASH, 0, 3000);
    assert_int_equal(flash(bench, &(struct line_faults){.cut = 12}), ERR_GONE);
    assert_int_equal(bench->engine.state, STATE_UNKNOWN);
    assert_non_null(strstr(bench->err.message, "arduino-uno"));
    assert_int_equal(flash(bench, NULL), OK);
    assert_true(rig_holds_image(bench->rig));
    bench_free(bench);
}

static void a_board_that_never_answers_is_untouched(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "arduino-uno", "stk500v1");
    rig_image(bench->rig, MEM_FLASH, 0, 3000);
    bench->engine.baud = 9600;
    assert_true(flash(bench, NULL) < 0);
    assert_int_equal(bench->engine.state, STATE_UNTOUCHED);
    bench_free(bench);
}

static void a_cell_that_does_not_hold_fails_the_verify_and_says_so(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "arduino-uno", "stk500v1");
    rig_image(bench->rig, MEM_FLASH, 0, 3000);
    bench->rig->config.flash.stuck = 0x200;
    rig_remake(bench->rig);
    assert_int_equal(flash(bench, NULL), ERR_VERIFY);
    assert_int_equal(bench->engine.result.verified, TRI_FALSE);
    assert_int_equal(bench->engine.state, STATE_BOOTLOADER);
    assert_non_null(strstr(bench->err.message, "200"));
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_writes_verifies_and_starts_the_application),
        cmocka_unit_test(without_verify_nothing_is_said_to_be_verified),
        cmocka_unit_test(diff_skips_what_is_there),
        cmocka_unit_test(where_pages_have_an_order_diff_leaves_an_unchanged_tail_out),
        cmocka_unit_test(an_interruption_before_the_first_write_leaves_the_board_untouched),
        cmocka_unit_test(an_interruption_while_writing_leaves_the_bootloader_alive),
        cmocka_unit_test(a_link_that_goes_away_leaves_an_unknown_state),
        cmocka_unit_test(a_board_that_never_answers_is_untouched),
        cmocka_unit_test(a_cell_that_does_not_hold_fails_the_verify_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
