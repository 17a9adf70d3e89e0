/* What is waited for after a bridge was flashed: never longer than was said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "bridge.h"
#include "machine_tree.h"

enum { PATIENCE = 300 * MILLISECOND, SLACK = 700 * MILLISECOND };

/* As after its application was started, at a place of that machine; how long it was waited. */
static int identify(const struct machine_tree *tree, struct error *err, uint64_t *waited)
{
    const struct klipper_facts wanted = {
        .present = true, .can_bridge = true, .can_bitrate = 250000};
    struct engine engine = {.target = {.known = true, .place = "1-6", .sysfs = tree->sys}};
    struct klipper_facts facts;
    struct clock *clock = clock_monotonic();
    uint64_t begun = clock_now(clock);
    *err = (struct error){0};
    int status = bridge_identify(&engine, &wanted, begun + PATIENCE, &facts, err);
    *waited = clock_now(clock) - begun;
    return status;
}

static void interface_that_does_not_come_back_is_waited_for_until_the_deadline(void **state)
{
    struct error err;
    uint64_t waited;
    assert_int_equal(identify(*state, &err, &waited), ERR_NO_ANSWER);
    assert_non_null(strstr(err.message, "1-6"));
    assert_in_range(waited, PATIENCE, PATIENCE + SLACK);
}

static void interface_that_stays_down_is_no_second_patience(void **state)
{
    struct error err;
    uint64_t waited;
    tree_put(*state, "sys/bus/usb/devices/1-6:1.0/net/nocan7/type", "280\n");
    assert_int_equal(identify(*state, &err, &waited), ERR_NO_ANSWER);
    assert_non_null(strstr(err.message, "nocan7 is back, but down"));
    assert_non_null(strstr(err.hint, "bitrate 250000")); /* the image's: nobody knows another */
    assert_in_range(waited, PATIENCE, PATIENCE + SLACK);
}

static void who_stops_it_does_not_wait(void **state)
{
    const struct machine_tree *tree = *state;
    const struct klipper_facts wanted = {
        .present = true, .can_bridge = true, .can_bitrate = 250000};
    const volatile sig_atomic_t stop = 1;
    struct engine engine = {.target = {.known = true, .place = "1-6", .sysfs = tree->sys},
                            .stop = &stop};
    struct klipper_facts facts;
    struct error err = {0};
    struct clock *clock = clock_monotonic();
    uint64_t begun = clock_now(clock);
    assert_int_equal(bridge_identify(&engine, &wanted, begun + 10 * (uint64_t)SECOND, &facts, &err),
                     ERR_INTERRUPTED);
    assert_in_range(clock_now(clock) - begun, 0, SECOND);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_make, tree_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(interface_that_does_not_come_back_is_waited_for_until_the_deadline),
        TEST(interface_that_stays_down_is_no_second_patience),
        TEST(who_stops_it_does_not_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
