/* The engine on virtual time: steps are executed, what is there is skipped, the state is true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine.h"
#include "method_rig.h"

extern const struct vmodel vmodel_optiboot;
extern const struct vmodel vmodel_stk500boot;
extern const struct vmodel vmodel_sam3x, vmodel_samd21, vmodel_stm32_rom;

struct bench {
    struct rig *rig; /* the board; its session is not used, the engine has its own */
    struct board_db *db;
    struct engine engine;
    struct plan plan;
    struct plan_options options;
    volatile sig_atomic_t stop;
    size_t stop_at;
    size_t sum, before; /* progress over all phases */
    struct error err;
};

static void stop_when(void *user, size_t done, size_t total)
{
    struct bench *bench = user;
    (void)total;
    if (bench->stop_at && done >= bench->stop_at)
        bench->stop = 1;
}

/* Over all phases. */
static void stop_when_sum(void *user, size_t done, size_t total)
{
    struct bench *bench = user;
    (void)total;
    bench->sum += done > bench->before ? done - bench->before : done;
    bench->before = done;
    if (bench->stop_at && bench->sum >= bench->stop_at)
        bench->stop = 1;
}

/* Noise behind a stack pointer and a reset vector. */
static void program_image(struct rig *rig, uint64_t start, size_t length)
{
    uint32_t sp = (uint32_t)rig->chip->ram[0].start + 0x2000, reset = (uint32_t)start + 0x101;
    rig_image(rig, MEM_FLASH, start, length);
    put_le32(rig->image.segments[0].data, sp);
    put_le32(rig->image.segments[0].data + 4, reset);
    rig->image.vectors = (struct vector_facts){.plausible = true, .sp = sp, .reset = reset};
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
    if (status) {
        print_message("%s\n", bench->err.message);
        return status;
    }
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
    assert_int_equal(bench->engine.result.bytes, 2 * 128); /* and the one with the vectors */
    assert_int_equal(bench->engine.result.skipped, 3000 - 2 * 128);
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

/* The chip's own checksums tell: nobody has to ask for it. */
static void auto_skips_what_the_chip_says_is_there(void **state)
{
    (void)state;
    static const struct {
        const struct vmodel *model;
        const char *board;
        uint64_t base, start;
    } boards[] = {{&vmodel_sam3x, "arduino-due-native", 0x80000, 0x80000},
                  {&vmodel_samd21, "arduino-zero", 0, 0x2000}};
    for (size_t i = 0; i < sizeof boards / sizeof boards[0]; i++) {
        struct bench *bench = bench_new(boards[i].model, boards[i].board, "samba");
        uint64_t offset = boards[i].start - boards[i].base;
        uint8_t *app = bench->rig->flash + offset;
        memset(bench->rig->flash, 0xff, (size_t)offset); /* the model's own loader */
        memset(app, 0xff, 4);                            /* no application starts */
        rig_remake(bench->rig);
        program_image(bench->rig, boards[i].start, 20001);
        assert_int_equal(flash(bench, NULL), OK);
        assert_int_equal(bench->engine.result.skipped, 0);
        app[5000] ^= 0x55;
        app[20000] ^= 0x55; /* of the last sector the image has 33 bytes */
        app[20001] ^= 0x55; /* not the image's */
        rig_remake(bench->rig);
        assert_int_equal(flash(bench, NULL), OK);
        assert_true(rig_holds_image(bench->rig));
        assert_int_equal(bench->engine.result.bytes, 2 * 256 + 33);
        assert_int_equal(bench->engine.result.skipped, 20001 - 2 * 256 - 33);
        assert_int_equal(bench->engine.result.verified, TRI_TRUE);
        rig_remake(bench->rig);
        assert_int_equal(flash(bench, NULL), OK);
        assert_int_equal(bench->engine.result.bytes, 0);
        assert_int_equal(bench->engine.result.skipped, 20001);
        assert_int_equal(bench->engine.result.verified, TRI_TRUE);
        rig_remake(bench->rig);
        bench->options.diff = DIFF_NO;
        assert_int_equal(flash(bench, NULL), OK);
        assert_int_equal(bench->engine.result.bytes, 20001);
        bench_free(bench);
    }
}

static void an_interrupted_run_goes_on_where_it_was(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_sam3x, "arduino-due-native", "samba");
    program_image(bench->rig, 0x80000, 40000);
    bench->stop_at = 40000 + 16384; /* compared, and two slabs written */
    bench->engine.events.progress = stop_when_sum;
    assert_int_equal(flash(bench, NULL), ERR_INTERRUPTED);
    bench->stop = 0;
    bench->stop_at = 0;
    rig_remake(bench->rig);
    assert_int_equal(flash(bench, NULL), OK);
    assert_true(rig_holds_image(bench->rig));
    assert_true(bench->engine.result.skipped >= 16384 - 256);
    assert_int_equal(bench->engine.result.skipped + bench->engine.result.bytes, 40000);
    bench_free(bench);
}

/* What a whole erase takes away must be written again, equal or not. */
static void diff_with_a_chip_erase_is_all_or_nothing(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_stm32_rom, "generic-stm32f103xe", "stm32-uart");
    program_image(bench->rig, 0x08000000, 5000);
    assert_int_equal(flash(bench, NULL), OK);
    bench->rig->flash[3000] ^= 0x55;
    bench->options.diff = DIFF_YES;
    bench->options.erase = ERASE_CHIP;
    rig_remake(bench->rig);
    assert_int_equal(flash(bench, NULL), OK);
    assert_true(rig_holds_image(bench->rig));
    assert_int_equal(bench->engine.result.bytes, 5000);
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

static int refuse(struct session *session, const struct job *job, struct error *err)
{
    (void)session;
    (void)job;
    return error_refuse(err, "size", "too much for this chip");
}

static void a_method_that_refuses_to_write_leaves_the_board_untouched(void **state)
{
    (void)state;
    struct bench *bench = bench_new(&vmodel_optiboot, "arduino-uno", "stk500v1");
    struct method refusing = *bench->engine.target.method;
    refusing.write = refuse;
    bench->engine.target.method = &refusing;
    rig_image(bench->rig, MEM_FLASH, 0, 3000);
    assert_int_equal(flash(bench, NULL), ERR_REFUSED);
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
        cmocka_unit_test(auto_skips_what_the_chip_says_is_there),
        cmocka_unit_test(an_interrupted_run_goes_on_where_it_was),
        cmocka_unit_test(diff_with_a_chip_erase_is_all_or_nothing),
        cmocka_unit_test(an_interruption_before_the_first_write_leaves_the_board_untouched),
        cmocka_unit_test(an_interruption_while_writing_leaves_the_bootloader_alive),
        cmocka_unit_test(a_link_that_goes_away_leaves_an_unknown_state),
        cmocka_unit_test(a_board_that_never_answers_is_untouched),
        cmocka_unit_test(a_method_that_refuses_to_write_leaves_the_board_untouched),
        cmocka_unit_test(a_cell_that_does_not_hold_fails_the_verify_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
