/* Faults at every message of SAM-BA: SAM D51 with and without X, Y and Z. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "samba_rig.h"

static void every_fault_on_metro_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    every_fault_ends_in_time_and_is_repaired_on(&metro);
}

static void every_fault_on_metro_plain_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    every_fault_ends_in_time_and_is_repaired_on(&metro_plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_on_metro_ends_in_time_and_is_repaired),
        cmocka_unit_test(every_fault_on_metro_plain_ends_in_time_and_is_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
