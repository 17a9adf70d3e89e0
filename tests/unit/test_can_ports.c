/* Where hosts meet a served CAN bus: clients of a unix socket, driven step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/can/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "can_node.h"
#include "link/can.h"
#include "serve/can_ports.h"

enum { MS = 1000 };

struct bench {
    char folder[64], name[96];
    struct can_bus bus;
    struct can_ports ports;
    struct can_node node;
};

static int make(void **state)
{
    static struct bench bench;
    (void)snprintf(bench.folder, sizeof bench.folder, "/tmp/mflash-bus-XXXXXX");
    assert_non_null(mkdtemp(bench.folder));
    (void)snprintf(bench.name, sizeof bench.name, "unix:%s/bus", bench.folder);
    can_bus_init(&bench.bus, 0, true, NULL);
    bench.node = can_node(0x202, 0x203, 2, 100);
    assert_true(can_bus_add(&bench.bus, &bench.node.vcan));
    assert_true(can_ports_open(&bench.ports, &bench.bus, bench.name));
    *state = &bench;
    return 0;
}

static int discard(void **state)
{
    struct bench *bench = *state;
    can_ports_close(&bench->ports);
    can_bus_free(&bench->bus);
    return rmdir(bench->folder); /* nothing is left behind */
}

/* The server's loop for so many microseconds. */
static void live(struct bench *bench, uint64_t microseconds)
{
    uint64_t end = bench->bus.v.now + microseconds;
    while (bench->bus.v.now < end) {
        assert_true(can_ports_serve(&bench->ports));
        uint64_t next = can_bus_next(&bench->bus);
        next = next > bench->bus.v.now ? next : bench->bus.v.now + 1;
        can_bus_advance(&bench->bus, next < end ? next : end);
    }
    assert_true(can_ports_serve(&bench->ports));
}

static struct can *join(struct bench *bench)
{
    struct can *can;
    struct error err;
    const uint16_t ids[] = {0x202, 0x203};
    assert_int_equal(can_open(&can, bench->name, NULL, &err), OK);
    assert_int_equal(can_listen(can, ids, 2, &err), OK);
    assert_true(can_ports_serve(&bench->ports));
    return can;
}

static int look(struct can *can, struct can_frame *frame)
{
    struct error err;
    return can_receive(can, frame, clock_now(can->clock), &err);
}

static void ask(struct can *can, uint8_t number)
{
    struct error err;
    assert_int_equal(can_send(can, 0x202, &number, 1, &err), OK);
}

static void client_speaks_with_the_node(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct can *can = join(bench);
    ask(can, 7);
    live(bench, MS);
    assert_int_equal(bench->node.heard[0].data[0], 7);
    for (uint8_t i = 0; i < 2; i++) {
        assert_int_equal(look(can, &frame), 1);
        assert_int_equal(frame.can_id, 0x203);
        assert_int_equal(frame.data[0], i);
    }
    assert_int_equal(look(can, &frame), 0);
    can_close(can);
}

static void clients_hear_each_other_as_on_a_bus(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct can *first = join(bench), *second = join(bench);
    ask(first, 7);
    live(bench, MS);
    assert_int_equal(look(second, &frame), 1);
    assert_int_equal(frame.can_id, 0x202);
    assert_int_equal(look(second, &frame), 1);
    assert_int_equal(frame.can_id, 0x203);
    assert_int_equal(look(first, &frame), 1); /* but not itself */
    assert_int_equal(frame.can_id, 0x203);
    can_close(first);
    can_close(second);
}

static void client_that_leaves_makes_room_for_the_next(void **state)
{
    struct bench *bench = *state;
    for (int i = 0; i < 2 * PORTS_MAX; i++) {
        struct can *can = join(bench);
        assert_int_equal(bench->ports.count, 1);
        can_close(can);
        assert_true(can_ports_serve(&bench->ports));
    }
    assert_int_equal(bench->ports.count, 0);
}

static void frames_beyond_the_queue_wait_in_the_socket(void **state)
{
    struct bench *bench = *state;
    struct can *can = join(bench);
    bench->node.delay = UINT64_MAX;
    for (uint8_t i = 0; i < 40; i++)
        ask(can, i);
    assert_true(can_ports_serve(&bench->ports));
    assert_int_equal(bench->ports.list[0].station->out.count, CAN_HOST_QUEUE);
    live(bench, 10 * MS);
    assert_int_equal(bench->node.heard_count, 40);
    for (uint8_t i = 0; i < 40; i++)
        assert_int_equal(bench->node.heard[i].data[0], i);
    can_close(can);
}

static void slow_client_gets_everything_in_order(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct can *can = join(bench);
    bench->node.answers = 2000; /* more than a socket holds */
    ask(can, 0);
    live(bench, 1000 * MS);
    assert_true(bench->ports.list[0].full);
    for (unsigned i = 0; i < 2000; i++) {
        assert_int_equal(look(can, &frame), 1);
        assert_int_equal(frame.data[0], (uint8_t)i);
        assert_true(can_ports_serve(&bench->ports));
    }
    assert_int_equal(look(can, &frame), 0);
    can_close(can);
}

static void what_is_no_frame_goes_nowhere(void **state)
{
    struct bench *bench = *state;
    struct can *can = join(bench);
    struct can_frame frame = {.can_id = 0x202, .len = 9};
    assert_int_equal(can->ops->send(can, &frame, NULL), 1);
    frame = (struct can_frame){.can_id = 0x202 | CAN_ERR_FLAG, .len = 8};
    assert_int_equal(can->ops->send(can, &frame, NULL), 1);
    ask(can, 7);
    live(bench, MS);
    assert_int_equal(bench->node.heard_count, 1);
    can_close(can);
}

static void cut_hangs_up_and_the_bus_is_back_later(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct error err;
    struct can *can = join(bench), *again;
    bench->bus.faults.cut = 1;
    ask(can, 7);
    live(bench, MS);
    assert_int_equal(look(can, &frame), ERR_GONE);
    can_close(can);
    assert_int_equal(can_open(&again, bench->name, NULL, &err), ERR_NO_DEVICE);
    live(bench, CAN_REPLUG_TIME);
    can = join(bench);
    ask(can, 8);
    live(bench, MS);
    assert_int_equal(look(can, &frame), 1);
    can_close(can);
}

static void bus_off_is_told_to_the_clients(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct error err;
    struct can *can = join(bench);
    bench->bus.faults.bus_off = 1;
    ask(can, 7);
    live(bench, MS);
    assert_int_equal(look(can, &frame), ERR_FAILED);
    assert_true(can->trouble.bus_off);
    live(bench, 2 * CAN_RESTART_TIME);
    assert_int_equal(can_receive(can, &frame, clock_now(can->clock), &err), 0);
    ask(can, 8);
    live(bench, MS);
    assert_int_equal(look(can, &frame), 1);
    can_close(can);
}

static void only_a_socket_that_nobody_serves_is_taken_away(void **state)
{
    struct bench *bench = *state;
    struct can_ports other;
    struct can_bus bus;
    char path[96];
    struct stat file;
    (void)snprintf(path, sizeof path, "%s/file", bench->folder);
    FILE *made = fopen(path, "w");
    assert_non_null(made);
    fclose(made);
    can_bus_init(&bus, 0, true, NULL);
    (void)snprintf(path, sizeof path, "unix:%s/file", bench->folder);
    assert_false(can_ports_open(&other, &bus, path));
    can_ports_close(&other);
    assert_int_equal(stat(path + 5, &file), 0);
    assert_int_equal(unlink(path + 5), 0);
    assert_false(can_ports_open(&other, &bus, bench->name));
    can_ports_close(&other);
    close(bench->ports.listener); /* as if it had crashed */
    bench->ports.listener = -1;
    assert_true(can_ports_open(&other, &bus, bench->name));
    can_ports_close(&other);
    can_bus_free(&bus);
}

static void missing_interface_is_refused(void **state)
{
    (void)state;
    struct can_ports ports;
    struct can_bus bus;
    can_bus_init(&bus, 0, true, NULL);
    assert_false(can_ports_open(&ports, &bus, "no-such-can"));
    can_ports_close(&ports);
    can_bus_free(&bus);
}

int main(void)
{
#define on_bus(test) cmocka_unit_test_setup_teardown(test, make, discard)
    const struct CMUnitTest tests[] = {
        on_bus(client_speaks_with_the_node),
        on_bus(clients_hear_each_other_as_on_a_bus),
        on_bus(client_that_leaves_makes_room_for_the_next),
        on_bus(frames_beyond_the_queue_wait_in_the_socket),
        on_bus(slow_client_gets_everything_in_order),
        on_bus(what_is_no_frame_goes_nowhere),
        on_bus(cut_hangs_up_and_the_bus_is_back_later),
        on_bus(bus_off_is_told_to_the_clients),
        on_bus(only_a_socket_that_nobody_serves_is_taken_away),
        cmocka_unit_test(missing_interface_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
