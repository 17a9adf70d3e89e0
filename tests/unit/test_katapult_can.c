/* katapult-can against the strict model of a node on a virtual bus, on virtual time. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "can_rig.h"

enum { KIB = 1024, F103_START = 0x08002000 };

static void one_node_is_written(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_new("stm32f103xe", 1, 1000000, "button", true);
    rig_node_image(&rig->nodes[0], F103_START, 40 * KIB);
    (void)rig_node_run(&rig->nodes[0]);
    rig_node_assert_ok(&rig->nodes[0]);
    assert_true(rig_node_holds_image(&rig->nodes[0]));
    print_message("connect %u us write %.3f s verify %.3f\n", (unsigned)rig->nodes[0].connecting, (double)rig->nodes[0].writing/SECOND, (double)rig->nodes[0].verifying/SECOND);
    can_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
