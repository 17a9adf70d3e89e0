/* The dfu method on a bad line and on boards that fail: each run ends with a code that fits, and
 * the same command repairs the board. */
#include "dfu_bench.h"
#include "fault_turns.h"

#include <string.h>

#define CASE(test) cmocka_unit_test(test)

enum { LENGTH = 5000, TOUCHED = 32 * KIB, FAULT_LIMIT = 30 * SECOND };

static const struct device {
    const struct vmodel *model;
    const char *chip, *variant;
    bool tells; /* a wrong answer can only be one of its own */
} boards[] = {
    {&vmodel_dfu_st, "stm32f407xx", NULL, true},
    {&vmodel_dfu_st, "stm32f407xx", "stalls", true},
    {&vmodel_dfu_st, "stm32f072xb", "strict", true},
    {&vmodel_dfu_st, "stm32h743xx", NULL, true},
    {&vmodel_dfu_st, "stm32f042x6", "gd32", true},
    {&vmodel_dfu_maple, "stm32f103xb", NULL, true},
    {&vmodel_dfu_plain, "lpc1769", NULL, false},
};

static struct dfu_bench *bench_for(const struct device *board, const struct vfaults *faults)
{
    struct vconfig options = {.variant = board->variant};
    if (faults)
        options.faults = *faults;
    struct dfu_bench *bench = dfu_bench_new(board->model, board->chip, &options);
    dfu_image(bench, bench->loader.start, LENGTH);
    return bench;
}

/* ---- every fault at every message ---- */

struct fault {
    const char *kind;
    unsigned n;
    struct line_faults line;
};

/* Gone is gone; silence, a stall or a wrong answer otherwise. */
static bool fits(const struct fault *fault, int rc)
{
    if (rc == OK)
        return true;
    if (fault->line.cut || fault->line.power)
        return rc == ERR_GONE;
    if (fault->line.stall)
        return rc == ERR_NO_ANSWER;
    return rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL || rc == ERR_PROTECTED || rc == ERR_VERIFY ||
           rc == ERR_STALL || rc == ERR_REFUSED || rc == ERR_FAILED;
}

static void run_with_fault(struct dfu_bench *bench, const struct device *board,
                           const struct fault *fault, const uint8_t *old)
{
    memcpy(bench->flash, old, TOUCHED);
    dfu_bench_remake(bench);
    int rc = dfu_runs(bench, &fault->line);
    const char *name = rc ? error_code_name((enum error_code)rc) : "OK";
    if (!fits(fault, rc))
        fail_msg("%s %s %s:%u: %s: %s", board->chip, board->variant, fault->kind, fault->n, name,
                 bench->err.message);
    if (rc == OK && !dfu_holds_image(bench))
        fail_msg("%s %s %s:%u: success, but the chip does not hold the image", board->chip,
                 board->variant, fault->kind, fault->n);
    if (bench->whole > FAULT_LIMIT)
        fail_msg("%s %s %s:%u: took %u ms: %s %s", board->chip, board->variant, fault->kind,
                 fault->n, (unsigned)(bench->whole / MILLISECOND), name, bench->err.message);
    dfu_bench_remake(bench); /* unplugged, and back in its loader */
    dfu_assert_ok(bench, dfu_runs(bench, NULL));
    if (!dfu_holds_image(bench))
        fail_msg("%s %s %s:%u: the next run does not repair it", board->chip, board->variant,
                 fault->kind, fault->n);
}

static void a_fault_at_any_message_ends_well(void **state)
{
    (void)state;
    uint8_t old[TOUCHED];
    for (size_t b = 0; b < sizeof boards / sizeof boards[0]; b++) {
        struct dfu_bench *bench = bench_for(&boards[b], NULL);
        memcpy(old, bench->flash, TOUCHED);
        dfu_assert_ok(bench, dfu_runs(bench, NULL));
        unsigned messages = bench->messages;
        assert_in_range(messages, 10, 300);
        for (unsigned n = 1; n <= messages; n++) {
            const struct fault faults[] = {{"drop", n, {.drop = n}},
                                           {"corrupt", n, {.corrupt = n}},
                                           {"stall", n, {.stall = n}},
                                           {"cut", n, {.cut = n}},
                                           {"power", n, {.power = n}}};
            for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
                if ((n + i) % FAULT_TURNS == 0)
                    run_with_fault(bench, &boards[b], &faults[i], old);
        }
        dfu_bench_free(bench);
    }
}

/* The device refuses one download: commands and blocks are given again, or the run fails and says
 * what the device said; the next run is well. */
static void every_refused_download_ends_well(void **state)
{
    (void)state;
    for (size_t b = 0; b < sizeof boards / sizeof boards[0]; b++)
        for (unsigned n = 1; n < 12; n++) {
            const struct vfaults faults = {.nak = n};
            struct dfu_bench *bench = bench_for(&boards[b], &faults);
            int rc = dfu_runs(bench, NULL);
            if (rc == OK && !dfu_holds_image(bench))
                fail_msg("%s nak:%u: success, but the chip does not hold the image", boards[b].chip,
                         n);
            if (rc != OK) {
                assert_int_equal(rc, ERR_PROTOCOL);
                dfu_assert_says(bench, "errWRITE (0x03)");
            }
            bench->config.faults.nak = 0;
            dfu_bench_remake(bench);
            dfu_assert_ok(bench, dfu_runs(bench, NULL));
            assert_true(dfu_holds_image(bench));
            dfu_bench_free(bench);
        }
}

static void a_block_that_is_refused_once_is_sent_again(void **state)
{
    (void)state;
    const struct vfaults faults = {.nak = 4}; /* erase, address, block, block */
    struct dfu_bench *bench = bench_for(&boards[0], &faults);
    dfu_assert_ok(bench, dfu_runs(bench, NULL));
    assert_true(dfu_holds_image(bench));
    dfu_bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_fault_at_any_message_ends_well),
        CASE(every_refused_download_ends_well),
        CASE(a_block_that_is_refused_once_is_sent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
