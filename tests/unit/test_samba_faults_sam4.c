/* Faults at every message of SAM-BA: SAM4E. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "samba_rig.h"

static void every_fault_on_duet_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    every_fault_ends_in_time_and_is_repaired_on(&duet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_on_duet_ends_in_time_and_is_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
