/* katapult-can when frames are lost or destroyed, and how long it takes, on virtual time. */
#include <stdio.h>
#include <string.h>

#include "can_rig.h"

enum { KIB = 1024, F103_START = 0x08002000, MBIT = 1000000 };

/* ---- faults ---- */

static void assert_fits(const struct rig_node *node, const char *kind, unsigned n, bool silent)
{
    int rc = node->rc;
    bool fits = rc == OK || (silent && (rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL)) ||
                (strcmp(kind, "cut") == 0 && rc == ERR_GONE) ||
                (strcmp(kind, "bus-off") == 0 && rc == ERR_FAILED);
    if (!fits || (rc != OK && !node->err.message[0]))
        fail_msg("%s:%u: %s: %s", kind, n, error_code_name((enum error_code)rc), node->err.message);
    if (rc == OK && !rig_node_holds_image(node))
        fail_msg("%s:%u: success, but the chip does not hold the image", kind, n);
    if (node->whole > 12 * SECOND)
        fail_msg("%s:%u: took %u ms", kind, n, (unsigned)(node->whole / MILLISECOND));
}

static void run_with_fault(struct can_rig *rig, const char *kind, unsigned n,
                           struct can_bus_faults faults)
{
    struct rig_node *node = &rig->nodes[0];
    bool silent = faults.drop || faults.stall || faults.power;
    can_rig_bus(rig, &faults);
    (void)rig_node_run(node);
    assert_fits(node, kind, n, silent);
    can_rig_reset(rig);
    (void)rig_node_run(node);
    if (node->rc != OK || !rig_node_holds_image(node))
        fail_msg("%s:%u: the next run does not repair it: %s", kind, n, node->err.message);
    can_rig_reset(rig);
}

static void every_fault_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_f103(1);
    rig_node_image(&rig->nodes[0], F103_START, 2500);
    rig_node_assert_run(&rig->nodes[0]);
    unsigned frames = virtual_bus_wire(rig->bus)->frames;
    can_rig_reset(rig);
    assert_true(frames > 40 * 24);
    for (unsigned n = 1; n <= frames; n += n < 30 ? 1 : 29) {
        run_with_fault(rig, "drop", n, (struct can_bus_faults){.drop = n});
        run_with_fault(rig, "corrupt", n, (struct can_bus_faults){.corrupt = n});
        run_with_fault(rig, "stall", n, (struct can_bus_faults){.stall = n});
        run_with_fault(rig, "cut", n, (struct can_bus_faults){.cut = n});
        run_with_fault(rig, "power", n, (struct can_bus_faults){.power = n});
        run_with_fault(rig, "bus-off", n, (struct can_bus_faults){.bus_off = n});
    }
    can_rig_free(rig);
}

/* Counts the packets of several frames that go to the node behind a lost frame. */
struct losses {
    bool lost;
    unsigned blocks;
};

static void watch(void *context, const struct can_station *from, const struct can_frame *frame,
                  const char *fate)
{
    struct losses *losses = context;
    if (strcmp(fate, "lost") == 0)
        losses->lost = true;
    else if (losses->lost && !from->node && frame->len == 8 && frame->data[0] == 0x01 &&
             frame->data[1] == 0x88 && (frame->data[2] == 0x12 || frame->data[2] == 0x14))
        losses->blocks++;
}

static void behind_a_lost_frame_no_block_is_sent(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_f103(1);
    struct losses losses = {false, 0};
    rig_node_image(&rig->nodes[0], F103_START, 2500);
    const struct can_bus_faults faults = {.drop = 170}; /* in the middle of a block */
    can_rig_bus(rig, &faults);
    virtual_bus_wire(rig->bus)->watch = watch;
    virtual_bus_wire(rig->bus)->watch_context = &losses;
    assert_int_equal(rig_node_run(&rig->nodes[0]), ERR_NO_ANSWER);
    assert_true(losses.lost);
    assert_true(losses.blocks <= 1); /* one was under way */
    assert_non_null(strstr(rig->nodes[0].err.message, "answers nothing any more"));
    assert_non_null(strstr(rig->nodes[0].err.hint, "off and on"));
    can_rig_free(rig);
}

static void a_failed_write_is_never_started(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_f103(1);
    struct rig_node *node = &rig->nodes[0];
    virtual_bus_free(rig->bus);
    rig->bus = NULL;
    node->config.flash.stuck = 0x2400;
    can_rig_remake(rig, 0);
    can_rig_bus(rig, NULL);
    rig_node_image(node, F103_START, 6 * KIB);
    (void)rig_node_connect(node);
    rig_node_assert_ok(node);
    const struct job job = rig_node_job(node);
    assert_int_equal(method_katapult_can.write(&node->session, &job, &node->err), ERR_PROTOCOL);
    assert_non_null(strstr(node->err.message, "0x08002400"));
    assert_non_null(strstr(node->err.message, "COMMAND_ERROR"));
    assert_int_equal(method_katapult_can.run(&node->session, &node->err), ERR_FAILED);
    can_rig_free(rig);
}

/* ---- time ---- */

static void print_ratio(const char *what, uint64_t took, double limit, double most)
{
    double ratio = (double)took / SECOND / limit;
    print_message("%-36s %6.3f s, limit %6.3f s, ratio %.3f\n", what, (double)took / SECOND, limit,
                  ratio);
    assert_true(ratio < most);
}

/* Bits without stuffing: 47 + 8n a frame (ISO 11898-1). A block is nine full frames and one of four
 * bytes, its answer two; a question is one and one of four, its answer ten. */
static const double full = 111, four = 79;

static double write_bits(void)
{
    return 9 * full + four + 2 * full;
}

static double read_bits(void)
{
    return full + four + 10 * full;
}

/* Data sheet of the F103: 30 ms a page erase, 1.7 ms a block. While it erases nothing is sent: the
 * block that erases waits for its answer with nothing behind it. */
static void one_node_is_as_fast_as_bus_and_flash(void **state)
{
    (void)state;
    static const uint32_t rates[] = {MBIT, MBIT / 2};
    for (size_t i = 0; i < 2; i++) {
        struct can_rig *rig = can_rig_new("stm32f103xe", 1, rates[i], "button", true);
        struct rig_node *node = &rig->nodes[0];
        rig_node_image(node, F103_START, 40 * KIB);
        rig_node_assert_run(node);
        char what[40];
        double wire = write_bits() / rates[i], program = 1700e-6, blocks = 40 * KIB / 64;
        (void)snprintf(what, sizeof what, "F103 at %u bit/s, 40 KiB write", rates[i]);
        print_ratio(what, node->writing, blocks * (wire > program ? wire : program) + 20 * 30e-3,
                    1.2);
        (void)snprintf(what, sizeof what, "F103 at %u bit/s, 40 KiB verify", rates[i]);
        print_ratio(what, node->verifying, blocks * read_bits() / rates[i], 1.2);
        can_rig_free(rig);
    }
}

static void twenty_nodes_fill_the_bus(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_f103(RIG_NODES);
    const unsigned bytes = 6 * KIB, blocks = bytes / 64;
    for (size_t n = 0; n < rig->count; n++)
        rig_node_image(&rig->nodes[n], F103_START, bytes);
    uint64_t whole = can_rig_run_all(rig);
    for (size_t n = 0; n < rig->count; n++) {
        rig_node_assert_ok(&rig->nodes[n]);
        assert_true(rig_node_holds_image(&rig->nodes[n]));
    }
    print_ratio("20 nodes at once, 6 KiB each", whole,
                RIG_NODES * blocks * (write_bits() + read_bits()) / MBIT, 1.15);
    can_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_ends_in_time_and_is_repaired),
        cmocka_unit_test(behind_a_lost_frame_no_block_is_sent),
        cmocka_unit_test(a_failed_write_is_never_started),
        cmocka_unit_test(one_node_is_as_fast_as_bus_and_flash),
        cmocka_unit_test(twenty_nodes_fill_the_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
