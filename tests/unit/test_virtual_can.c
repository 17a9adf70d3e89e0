/* A CAN bus on virtual time under several threads: time, order, and no deadlock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "can_node.h"
#include "virtual_can.h"

enum { THREADS = 4, ROUNDS = 200 };

struct bench {
    struct virtual_bus *bus;
    struct can_node nodes[THREADS];
};

static int make(void **state)
{
    static struct bench bench;
    bench.bus = virtual_bus_new(0, NULL);
    assert_non_null(bench.bus);
    for (unsigned i = 0; i < THREADS; i++) {
        bench.nodes[i] = can_node(0x200 + 2 * i, 0x201 + 2 * i, 2, 300 + 10 * i);
        assert_true(virtual_bus_add(bench.bus, &bench.nodes[i].vcan));
    }
    *state = &bench;
    return 0;
}

static int discard(void **state)
{
    struct bench *bench = *state;
    virtual_bus_free(bench->bus);
    return 0;
}

static uint64_t now(const struct bench *bench)
{
    return clock_now(virtual_bus_clock(bench->bus));
}

static struct can *open_to(const struct bench *bench, unsigned node)
{
    const uint16_t id = (uint16_t)(0x201 + 2 * node);
    struct error err;
    struct can *can = virtual_can(bench->bus);
    assert_non_null(can);
    assert_int_equal(can_listen(can, &id, 1, &err), OK);
    return can;
}

/* ---- one thread ---- */

static void answer_comes_at_its_time(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct error err;
    struct can *can = open_to(bench, 0);
    assert_int_equal(can_send(can, 0x200, (const uint8_t *)"?", 1, &err), OK);
    assert_int_equal(can_receive(can, &frame, clock_in(can->clock, SECOND), &err), 1);
    assert_int_equal(frame.can_id, 0x201);
    const struct can_frame question = can_frame_of(0x200, "?");
    uint64_t wire = can_frame_bits(&question) - 3 + can_frame_bits(&frame) - 3;
    assert_int_equal(now(bench), wire + 300);
    can_close(can);
}

static void silence_lasts_to_the_deadline(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct error err;
    struct can *can = open_to(bench, 0);
    assert_int_equal(can_receive(can, &frame, 12345678, &err), 0);
    assert_int_equal(now(bench), 12345678);
    assert_int_equal(can_receive(can, &frame, 0, &err), 0);
    assert_int_equal(now(bench), 12345678);
    can_close(can);
}

static void full_queue_loses_and_reorders_nothing(void **state)
{
    struct bench *bench = *state;
    struct error err;
    struct can *can = open_to(bench, 0);
    for (uint8_t i = 0; i < 60; i++)
        assert_int_equal(can_send(can, 0x100, &i, 1, &err), OK);
    can_close(can); /* what was sent goes out all the same */
    assert_int_equal(bench->nodes[0].heard_count, 60);
    for (uint8_t i = 0; i < 60; i++)
        assert_int_equal(bench->nodes[0].heard[i].data[0], i);
}

static void two_conversations_of_one_thread_do_not_block_each_other(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct error err;
    struct can *first = open_to(bench, 0), *second = open_to(bench, 1);
    assert_int_equal(can_send(first, 0x202, (const uint8_t *)"?", 1, &err), OK);
    assert_int_equal(can_receive(second, &frame, clock_in(second->clock, SECOND), &err), 1);
    assert_int_equal(can_receive(first, &frame, clock_in(first->clock, SECOND), &err), 0);
    can_close(first);
    can_close(second);
}

static void cut_bus_is_gone_and_comes_back(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct error err;
    virtual_bus_wire(bench->bus)->faults.cut = 1;
    struct can *can = open_to(bench, 0);
    assert_int_equal(can_send(can, 0x200, (const uint8_t *)"?", 1, &err), OK);
    assert_int_equal(can_receive(can, &frame, clock_in(can->clock, SECOND), &err), ERR_GONE);
    assert_int_equal(can_send(can, 0x200, (const uint8_t *)"?", 1, &err), ERR_GONE);
    can_close(can);
    can = open_to(bench, 0);
    assert_in_range(now(bench), CAN_REPLUG_TIME, CAN_REPLUG_TIME + 1000);
    assert_int_equal(can_send(can, 0x200, (const uint8_t *)"?", 1, &err), OK);
    assert_int_equal(can_receive(can, &frame, clock_in(can->clock, SECOND), &err), 1);
    can_close(can);
}

static void bus_off_is_told_and_ends(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct error err;
    virtual_bus_wire(bench->bus)->faults.bus_off = 1;
    struct can *can = open_to(bench, 0);
    assert_int_equal(can_send(can, 0x200, (const uint8_t *)"?", 1, &err), OK);
    assert_int_equal(can_receive(can, &frame, clock_in(can->clock, SECOND), &err), ERR_FAILED);
    assert_non_null(strstr(err.message, "the bus is off"));
    assert_non_null(strstr(err.hint, "60 ohm"));
    assert_int_equal(can_send(can, 0x200, (const uint8_t *)"?", 1, &err), ERR_FAILED);
    virtual_bus_elapse(bench->bus, 2 * CAN_RESTART_TIME);
    assert_int_equal(can_receive(can, &frame, clock_in(can->clock, 1000), &err), 0);
    assert_int_equal(can_send(can, 0x200, (const uint8_t *)"?", 1, &err), OK);
    assert_int_equal(can_receive(can, &frame, clock_in(can->clock, SECOND), &err), 1);
    assert_true(can->trouble.bus_off);
    can_close(can);
}

static void silence_of_an_empty_bus_is_explained(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct error err = {0};
    for (unsigned i = 0; i < THREADS; i++)
        bench->nodes[i].vcan.deaf = true;
    struct can *can = open_to(bench, 0);
    assert_int_equal(can_send(can, 0x200, (const uint8_t *)"?", 1, &err), OK);
    assert_int_equal(can_receive(can, &frame, clock_in(can->clock, SECOND), &err), 0);
    assert_true(can->trouble.no_acknowledge && can->trouble.passive);
    assert_int_equal(can->trouble.tx_errors, 128);
    can_explain_silence(can, &err);
    assert_non_null(strstr(err.hint, "acknowledges"));
    can_close(can);
}

/* A queue that never empties: with nobody to acknowledge, ten frames are all that fit. */
static void frame_that_never_fits_is_an_error_after_two_seconds(void **state)
{
    struct bench *bench = *state;
    struct error err = {0};
    int rc = OK;
    unsigned taken = 0;
    for (unsigned i = 0; i < THREADS; i++)
        bench->nodes[i].vcan.deaf = true;
    struct can *can = open_to(bench, 0);
    while (taken < 20 && (rc = can_send(can, 0x200, (const uint8_t *)"?", 1, &err)) == OK)
        taken++;
    assert_int_equal(rc, ERR_NO_ANSWER);
    assert_int_equal(taken, CAN_HOST_QUEUE);
    assert_in_range(now(bench), 2 * SECOND, 2 * SECOND + 1000);
    assert_non_null(strstr(err.hint, "acknowledges"));
    can_close(can);
}

/* ---- threads ---- */

struct talk {
    const struct bench *bench;
    unsigned node, rounds;
    uint64_t began, ended;
    uint64_t sum; /* of the moments of all answers */
    unsigned answers;
};

static void *talk(void *argument)
{
    struct talk *talk = argument;
    struct can_frame frame;
    struct error err;
    struct can *can = open_to(talk->bench, talk->node);
    talk->began = clock_now(can->clock);
    for (unsigned i = 0; i < talk->rounds; i++) {
        uint16_t to = (uint16_t)(0x200 + 2 * talk->node);
        if (can_send(can, to, (const uint8_t *)&i, 4, &err) != OK)
            break;
        for (int n = 0; n < 2; n++)
            if (can_receive(can, &frame, clock_in(can->clock, SECOND), &err) == 1) {
                talk->answers++;
                talk->sum += clock_now(can->clock) * (talk->answers + 1);
            }
    }
    talk->ended = clock_now(can->clock);
    can_close(can);
    return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    assert_int_equal(pthread_create(thread, NULL, run, argument), 0);
}

static void run_all(struct bench *bench, struct talk talks[THREADS], const unsigned *rounds)
{
    pthread_t threads[THREADS];
    virtual_bus_expect(bench->bus, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        talks[i] = (struct talk){.bench = bench, .node = i, .rounds = rounds[i]};
        start(&threads[i], talk, &talks[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void threads_share_the_wire_and_lose_nothing(void **state)
{
    struct bench *bench = *state;
    struct talk talks[THREADS];
    run_all(bench, talks, (const unsigned[]){ROUNDS, ROUNDS, ROUNDS, ROUNDS});
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(talks[i].began, 0);
        assert_int_equal(talks[i].answers, 2 * ROUNDS);
    }
    assert_int_equal(virtual_bus_wire(bench->bus)->frames, 3 * ROUNDS * THREADS);
}

static void every_run_is_like_the_first(void **state)
{
    struct bench *bench = *state;
    struct talk first[THREADS], again[THREADS];
    const unsigned rounds[] = {ROUNDS, ROUNDS / 2, ROUNDS / 4, ROUNDS / 3};
    run_all(bench, first, rounds);
    for (int run = 0; run < 5; run++) {
        void *fresh = bench;
        virtual_bus_free(bench->bus);
        (void)make(&fresh);
        run_all(bench, again, rounds);
        for (unsigned i = 0; i < THREADS; i++) {
            assert_int_equal(again[i].ended, first[i].ended);
            assert_int_equal(again[i].sum, first[i].sum);
        }
    }
}

/* While one waits for a second, the others' answers come in between. */
static void sleeper_does_not_hold_others_up(void **state)
{
    struct bench *bench = *state;
    struct talk talks[2] = {{.bench = bench, .node = 0, .rounds = 1},
                            {.bench = bench, .node = 1, .rounds = ROUNDS}};
    pthread_t threads[2];
    bench->nodes[0].delay = SECOND / 2;
    virtual_bus_expect(bench->bus, 2);
    for (int i = 0; i < 2; i++)
        start(&threads[i], talk, &talks[i]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(talks[0].answers, 2);
    assert_int_equal(talks[1].answers, 2 * ROUNDS);
    assert_true(talks[1].ended < talks[0].ended);
}

static void *open_and_end(void *argument)
{
    struct can_frame frame;
    struct error err;
    struct can **can = argument;
    (void)can_receive(*can, &frame, clock_in((*can)->clock, 1000), &err);
    return NULL; /* and does not close it */
}

static void thread_that_ends_stops_nobody(void **state)
{
    struct bench *bench = *state;
    struct can_frame frame;
    struct error err;
    pthread_t thread;
    struct can *mine = open_to(bench, 0), *other = open_to(bench, 1);
    can_close(mine);
    start(&thread, open_and_end, &other); /* it takes the conversation over */
    assert_int_equal(pthread_join(thread, NULL), 0);
    mine = open_to(bench, 0);
    assert_int_equal(can_receive(mine, &frame, clock_in(mine->clock, SECOND), &err), 0);
    can_close(mine);
    can_close(other);
}

static void conversation_opened_here_is_used_there(void **state)
{
    struct bench *bench = *state;
    pthread_t threads[2];
    struct can *cans[2] = {open_to(bench, 0), open_to(bench, 1)};
    for (int i = 0; i < 2; i++)
        start(&threads[i], open_and_end, &cans[i]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_in_range(now(bench), 1000, 2000);
    can_close(cans[0]);
    can_close(cans[1]);
}

int main(void)
{
#define on_bus(test) cmocka_unit_test_setup_teardown(test, make, discard)
    const struct CMUnitTest tests[] = {
        on_bus(answer_comes_at_its_time),
        on_bus(silence_lasts_to_the_deadline),
        on_bus(full_queue_loses_and_reorders_nothing),
        on_bus(two_conversations_of_one_thread_do_not_block_each_other),
        on_bus(cut_bus_is_gone_and_comes_back),
        on_bus(bus_off_is_told_and_ends),
        on_bus(silence_of_an_empty_bus_is_explained),
        on_bus(frame_that_never_fits_is_an_error_after_two_seconds),
        on_bus(threads_share_the_wire_and_lose_nothing),
        on_bus(every_run_is_like_the_first),
        on_bus(sleeper_does_not_hold_others_up),
        on_bus(thread_that_ends_stops_nobody),
        on_bus(conversation_opened_here_is_used_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
