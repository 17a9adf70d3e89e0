/* The wire of a CAN bus: order, times, acknowledgement and faults (ISO 11898-1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/can/error.h>
#include <string.h>

#include "can_bus.h"
#include "can_node.h"

enum { MS = 1000, FOREVER = 10000000 };

struct bench {
    struct can_bus bus;
    struct can_node nodes[3];
    struct can_station *host;
};

static void start(struct bench *bench, unsigned nodes, const struct can_bus_faults *faults)
{
    can_bus_init(&bench->bus, 0, true, faults);
    for (unsigned i = 0; i < nodes; i++) {
        bench->nodes[i] = can_node(0x200 + 2 * i, 0x201 + 2 * i, 1, 500);
        assert_true(can_bus_add(&bench->bus, &bench->nodes[i].vcan));
    }
    bench->host = can_bus_plug(&bench->bus);
    assert_non_null(bench->host);
    can_bus_listen(bench->host, NULL, 0);
}

static void put(struct bench *bench, canid_t id, const char *text)
{
    struct can_frame frame = can_frame_of(id, text);
    assert_true(can_bus_put(bench->host, &frame));
}

static void expect_frame(struct can_station *host, canid_t id)
{
    struct can_frame frame;
    assert_true(can_bus_take(host, &frame));
    assert_int_equal(frame.can_id, id);
}

static void expect_nothing(struct can_station *host)
{
    struct can_frame frame;
    assert_false(can_bus_take(host, &frame));
}

/* ---- bits ---- */

/* Counted by hand for id 0 without data: 19 dominant bits of the header and 15 of a CRC that is 0
 * make 34 equal ones, so six times five. */
static void all_dominant_frame_has_a_stuff_bit_for_every_five(void **state)
{
    (void)state;
    const struct can_frame frame = {.can_id = 0};
    assert_int_equal(can_frame_bits(&frame), 47 + 6);
}

/* Lengths from a second implementation, on strings, whose CRC gives CRC-15/CAN's check value. */
static void frame_lengths_are_exact(void **state)
{
    (void)state;
    const struct {
        struct can_frame frame;
        unsigned bits;
    } known[] = {
        {{.can_id = 0x123, .len = 8, .data = {1, 2, 3, 4, 5, 6, 7, 8}}, 119},
        {{.can_id = 0x202, .len = 8, .data = {0x01, 0x88, 0x11, 0x00, 0xf1, 0x7c, 0x99, 0x03}},
         118},
        {{.can_id = 0x3f0, .len = 1, .data = {0x11}}, 58},
        {{.can_id = 0x15555555 | CAN_EFF_FLAG}, 68},
        {{.can_id = 0x555 | CAN_RTR_FLAG, .len = 8}, 48},
        {{.can_id = 0x1abcdef0 | CAN_EFF_FLAG,
          .len = 8,
          .data = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
         146},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(can_frame_bits(&known[i].frame), known[i].bits);
}

static void frame_length_stays_between_its_bounds(void **state)
{
    (void)state;
    for (unsigned id = 0; id <= CAN_SFF_MASK; id += 7)
        for (unsigned n = 0; n <= 8; n++) {
            struct can_frame frame = {.can_id = id, .len = (uint8_t)n};
            memset(frame.data, (int)(id * 31), sizeof frame.data);
            unsigned bits = can_frame_bits(&frame);
            assert_in_range(bits, 47 + 8 * n, 47 + 8 * n + (34 + 8 * n - 1) / 4);
        }
}

/* ---- order and time ---- */

static void frame_takes_its_bits_and_reaches_everybody_else(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 2, NULL);
    struct can_station *other = can_bus_plug(&bench.bus);
    can_bus_listen(other, NULL, 0);
    put(&bench, 0x100, "abcdefgh");
    const struct can_frame sent = can_frame_of(0x100, "abcdefgh");
    unsigned bits = can_frame_bits(&sent) - 3; /* it is there before the intermission */
    can_bus_advance(&bench.bus, bits - 1);
    assert_int_equal(bench.nodes[0].heard_count, 0);
    can_bus_advance(&bench.bus, bits);
    assert_int_equal(bench.nodes[0].heard_count, 1);
    assert_int_equal(bench.nodes[1].heard_count, 1);
    assert_memory_equal(&bench.nodes[1].heard[0], &sent, sizeof sent);
    expect_frame(other, 0x100);
    expect_nothing(bench.host);
    can_bus_free(&bench.bus);
}

static void slow_bus_takes_longer(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, NULL);
    bench.bus.bitrate = 250000;
    put(&bench, 0x100, "abcdefgh");
    const struct can_frame sent = can_frame_of(0x100, "abcdefgh");
    can_bus_advance(&bench.bus, FOREVER);
    assert_int_equal(bench.nodes[0].heard_at[0], 4 * (can_frame_bits(&sent) - 3));
    can_bus_free(&bench.bus);
}

static void frames_follow_each_other_without_a_gap(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, NULL);
    bench.bus.bitrate = 800000; /* 1.25 us a bit: ends fall between microseconds */
    const struct can_frame sent = can_frame_of(0x100, "abcdefgh");
    for (int i = 0; i < 8; i++)
        put(&bench, 0x100, "abcdefgh");
    can_bus_advance(&bench.bus, FOREVER);
    uint64_t ns = (uint64_t)can_frame_bits(&sent) * 8 * 1250 - 3 * 1250;
    assert_int_equal(bench.nodes[0].heard_at[7], (ns + 999) / 1000);
    can_bus_free(&bench.bus);
}

static void lowest_identifier_among_those_waiting_goes_first(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 3, NULL);
    for (unsigned i = 0; i < 3; i++) { /* all ask for the wire while it is busy */
        bench.nodes[i].answer = 0x300 - i;
        bench.nodes[i].speak_at = 50;
    }
    put(&bench, 0x7ff, "busy");
    can_bus_advance(&bench.bus, FOREVER);
    for (canid_t id = 0x2fe; id <= 0x300; id++)
        expect_frame(bench.host, id);
    can_bus_free(&bench.bus);
}

static void standard_frame_wins_over_the_extended_one_that_begins_alike(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 3, NULL);
    bench.nodes[0].answer = (0x123u << 18) | CAN_EFF_FLAG;
    bench.nodes[1].answer = 0x123 | CAN_RTR_FLAG;
    bench.nodes[2].answer = 0x123;
    for (unsigned i = 0; i < 3; i++)
        bench.nodes[i].speak_at = 50;
    can_bus_advance(&bench.bus, FOREVER);
    expect_frame(bench.host, 0x123);
    expect_frame(bench.host, 0x123 | CAN_RTR_FLAG);
    expect_frame(bench.host, (0x123u << 18) | CAN_EFF_FLAG);
    can_bus_free(&bench.bus);
}

static void one_stations_frames_keep_their_order(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, NULL);
    put(&bench, 0x300, "first");
    put(&bench, 0x100, "second");
    can_bus_advance(&bench.bus, FOREVER);
    assert_int_equal(bench.nodes[0].heard[0].can_id, 0x300);
    assert_int_equal(bench.nodes[0].heard[1].can_id, 0x100);
    can_bus_free(&bench.bus);
}

static void host_queue_holds_ten_frames(void **state)
{
    (void)state;
    struct bench bench;
    struct can_frame frame = can_frame_of(0x100, "x");
    start(&bench, 1, NULL);
    for (int i = 0; i < CAN_HOST_QUEUE; i++)
        assert_true(can_bus_put(bench.host, &frame));
    assert_false(can_bus_put(bench.host, &frame));
    can_bus_advance(&bench.bus, 100); /* one of them is over */
    assert_true(can_bus_put(bench.host, &frame));
    can_bus_free(&bench.bus);
}

static void mailbox_is_free_when_its_frame_is_out(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, NULL);
    bench.nodes[0].answers = 3;
    bench.nodes[0].steady = true;
    put(&bench, 0x200, "go");
    can_bus_advance(&bench.bus, FOREVER);
    assert_int_equal(bench.nodes[0].sent, 3);
    for (int i = 0; i < 3; i++)
        expect_frame(bench.host, 0x201);
    can_bus_free(&bench.bus);
}

static void aborted_mailboxes_stay_silent(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 2, NULL);
    bench.nodes[0].answers = 3;
    put(&bench, 0x200, "go");
    while (bench.host->arrived.count == 0)
        can_bus_advance(&bench.bus, bench.bus.v.now + 1);
    bench.bus.v.abort(&bench.bus.v, &bench.nodes[0].vcan);
    can_bus_advance(&bench.bus, FOREVER);
    assert_int_equal(bench.host->arrived.count, 1);
    assert_int_equal(bench.nodes[0].sent, 1);
    can_bus_free(&bench.bus);
}

static void unpaced_frames_need_no_time(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, NULL);
    bench.bus.v.paced = false;
    for (int i = 0; i < 5; i++)
        put(&bench, 0x200, "go");
    can_bus_advance(&bench.bus, 0);
    assert_int_equal(bench.nodes[0].heard_count, 5);
    can_bus_free(&bench.bus);
}

static void host_hears_the_ids_it_listens_to(void **state)
{
    (void)state;
    struct bench bench;
    const uint16_t wanted = 0x203;
    start(&bench, 2, NULL);
    can_bus_listen(bench.host, &wanted, 1);
    put(&bench, 0x200, "go");
    put(&bench, 0x202, "go");
    can_bus_advance(&bench.bus, FOREVER);
    expect_frame(bench.host, 0x203);
    expect_nothing(bench.host);
    can_bus_free(&bench.bus);
}

/* ---- nobody there ---- */

static void lone_host_is_told_that_nobody_acknowledges(void **state)
{
    (void)state;
    struct bench bench;
    struct can_frame frame;
    start(&bench, 0, NULL);
    put(&bench, 0x100, "x");
    can_bus_advance(&bench.bus, FOREVER);
    assert_true(can_bus_take(bench.host, &frame));
    assert_true(frame.can_id & CAN_ERR_ACK);
    assert_true(can_bus_take(bench.host, &frame));
    assert_int_equal(frame.data[1], CAN_ERR_CRTL_TX_WARNING);
    assert_true(can_bus_take(bench.host, &frame));
    assert_int_equal(frame.data[1], CAN_ERR_CRTL_TX_PASSIVE);
    assert_int_equal(frame.data[6], 128);
    expect_nothing(bench.host);
    assert_int_equal(bench.bus.frames, 0);
    can_bus_free(&bench.bus);
}

static void frame_goes_out_when_somebody_joins(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, NULL);
    bench.nodes[0].vcan.deaf = true;
    put(&bench, 0x100, "x");
    can_bus_advance(&bench.bus, 500 * MS);
    assert_int_equal(bench.nodes[0].heard_count, 0);
    bench.nodes[0].vcan.deaf = false;
    can_bus_advance(&bench.bus, 501 * MS);
    assert_int_equal(bench.nodes[0].heard_count, 1);
    assert_in_range(bench.nodes[0].heard_at[0], 500 * MS + 1, 501 * MS);
    can_bus_free(&bench.bus);
}

/* ---- faults ---- */

static void dropped_frame_is_lost_and_its_sender_believes_it_out(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, &(struct can_bus_faults){.drop = 2});
    put(&bench, 0x100, "1");
    put(&bench, 0x100, "2");
    put(&bench, 0x100, "3");
    can_bus_advance(&bench.bus, FOREVER);
    assert_int_equal(bench.nodes[0].heard_count, 2);
    assert_int_equal(bench.nodes[0].heard[1].data[0], '3');
    can_bus_free(&bench.bus);
}

static void destroyed_frame_is_sent_again(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, &(struct can_bus_faults){.corrupt = 1});
    const struct can_frame sent = can_frame_of(0x100, "1");
    put(&bench, 0x100, "1");
    put(&bench, 0x100, "2");
    can_bus_advance(&bench.bus, FOREVER);
    assert_int_equal(bench.nodes[0].heard_count, 2);
    assert_int_equal(bench.nodes[0].heard[0].data[0], '1');
    assert_true(bench.nodes[0].heard_at[0] > 2 * (can_frame_bits(&sent) - 3));
    assert_int_equal(bench.bus.frames, 2);
    can_bus_free(&bench.bus);
}

static void stalled_nodes_say_nothing_until_a_reset(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, &(struct can_bus_faults){.stall = 1});
    put(&bench, 0x200, "?");
    can_bus_advance(&bench.bus, MS);
    assert_int_equal(bench.bus.frames, 1); /* acknowledged all the same */
    assert_int_equal(bench.nodes[0].heard_count, 0);
    can_bus_reset(&bench.bus, &bench.nodes[0].vcan, VRESET_PIN);
    put(&bench, 0x200, "?");
    can_bus_advance(&bench.bus, FOREVER);
    expect_frame(bench.host, 0x201);
    can_bus_free(&bench.bus);
}

static void cut_leaves_the_host_without_a_bus(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, &(struct can_bus_faults){.cut = 1});
    struct can_frame frame = can_frame_of(0x200, "?");
    put(&bench, 0x200, "?");
    put(&bench, 0x200, "?");
    can_bus_advance(&bench.bus, 10 * MS);
    assert_true(bench.host->gone);
    assert_false(can_bus_put(bench.host, &frame));
    assert_int_equal(bench.nodes[0].heard_count, 1);
    expect_nothing(bench.host);
    assert_in_range(bench.bus.plug_at, CAN_REPLUG_TIME, CAN_REPLUG_TIME + 10 * MS);
    can_bus_free(&bench.bus);
}

static void nodes_without_power_start_anew(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, &(struct can_bus_faults){.power = 1});
    put(&bench, 0x200, "?");
    can_bus_advance(&bench.bus, 10 * MS);
    put(&bench, 0x200, "?");
    can_bus_advance(&bench.bus, CAN_REPLUG_TIME - 1);
    assert_int_equal(bench.nodes[0].heard_count, 1);
    assert_int_equal(bench.nodes[0].resets, 0);
    can_bus_advance(&bench.bus, FOREVER);
    assert_int_equal(bench.nodes[0].resets, 1);
    assert_int_equal(bench.nodes[0].cause, VRESET_POWER);
    assert_int_equal(bench.nodes[0].heard_count, 2); /* the host's controller kept trying */
    can_bus_free(&bench.bus);
}

static void bus_off_host_restarts(void **state)
{
    (void)state;
    struct bench bench;
    struct can_frame frame = can_frame_of(0x200, "?");
    start(&bench, 1, &(struct can_bus_faults){.bus_off = 1});
    put(&bench, 0x200, "?");
    can_bus_advance(&bench.bus, 10 * MS);
    assert_false(can_bus_put(bench.host, &frame));
    assert_true(can_bus_take(bench.host, &frame));
    assert_true(frame.can_id & CAN_ERR_BUSOFF);
    can_bus_advance(&bench.bus, FOREVER);
    assert_int_equal(bench.nodes[0].heard_count, 0);
    assert_true(can_bus_take(bench.host, &frame));
    assert_true(frame.can_id & CAN_ERR_RESTARTED);
    put(&bench, 0x200, "?");
    can_bus_advance(&bench.bus, 2 * FOREVER);
    assert_int_equal(bench.nodes[0].heard_count, 1);
    can_bus_free(&bench.bus);
}

/* ---- life ---- */

static void reset_drops_what_the_node_had_to_say(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, NULL);
    bench.nodes[0].answers = 3;
    bench.nodes[0].delay = 0;
    put(&bench, 0x200, "?");
    while (!bench.bus.sender || !bench.bus.sender->node)
        can_bus_advance(&bench.bus, bench.bus.v.now + 1);
    can_bus_reset(&bench.bus, NULL, VRESET_PIN);
    can_bus_advance(&bench.bus, FOREVER);
    expect_nothing(bench.host);
    assert_int_equal(bench.nodes[0].cause, VRESET_PIN);
    can_bus_free(&bench.bus);
}

static void time_goes_on_where_the_last_bus_ended(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench, 1, NULL);
    can_bus_advance(&bench.bus, FOREVER);
    can_bus_free(&bench.bus);
    assert_null(bench.nodes[0].vcan.bus);
    can_bus_init(&bench.bus, 0, true, NULL);
    assert_true(can_bus_add(&bench.bus, &bench.nodes[0].vcan));
    assert_int_equal(bench.bus.v.now, FOREVER);
    can_bus_free(&bench.bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_dominant_frame_has_a_stuff_bit_for_every_five),
        cmocka_unit_test(frame_length_stays_between_its_bounds),
        cmocka_unit_test(frame_lengths_are_exact),
        cmocka_unit_test(frame_takes_its_bits_and_reaches_everybody_else),
        cmocka_unit_test(slow_bus_takes_longer),
        cmocka_unit_test(frames_follow_each_other_without_a_gap),
        cmocka_unit_test(lowest_identifier_among_those_waiting_goes_first),
        cmocka_unit_test(standard_frame_wins_over_the_extended_one_that_begins_alike),
        cmocka_unit_test(one_stations_frames_keep_their_order),
        cmocka_unit_test(host_queue_holds_ten_frames),
        cmocka_unit_test(mailbox_is_free_when_its_frame_is_out),
        cmocka_unit_test(aborted_mailboxes_stay_silent),
        cmocka_unit_test(unpaced_frames_need_no_time),
        cmocka_unit_test(host_hears_the_ids_it_listens_to),
        cmocka_unit_test(lone_host_is_told_that_nobody_acknowledges),
        cmocka_unit_test(frame_goes_out_when_somebody_joins),
        cmocka_unit_test(dropped_frame_is_lost_and_its_sender_believes_it_out),
        cmocka_unit_test(destroyed_frame_is_sent_again),
        cmocka_unit_test(stalled_nodes_say_nothing_until_a_reset),
        cmocka_unit_test(cut_leaves_the_host_without_a_bus),
        cmocka_unit_test(nodes_without_power_start_anew),
        cmocka_unit_test(bus_off_host_restarts),
        cmocka_unit_test(reset_drops_what_the_node_had_to_say),
        cmocka_unit_test(time_goes_on_where_the_last_bus_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
