/* Faults at every message of SAM-BA: SAM7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "samba_rig.h"

static void every_fault_on_sam7s_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    every_fault_ends_in_time_and_is_repaired_on(&sam7s);
}

static void every_fault_on_sam7x_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    every_fault_ends_in_time_and_is_repaired_on(&sam7x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_on_sam7s_ends_in_time_and_is_repaired),
        cmocka_unit_test(every_fault_on_sam7x_ends_in_time_and_is_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
