/*
 * The udev rules that scripts/gen-udev makes of boards.ini: every bootloader is in them, and no
 * adapter that anything might hang on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/board.h"

struct rules {
    char text[65536];
    struct board_db *db;
};

static int make_rules(void **state)
{
    static const char *const shipped[] = {"boards.ini"};
    static struct rules rules;
    struct error err;
    FILE *pipe = popen("scripts/gen-udev boards.ini", "r");
    assert_non_null(pipe);
    size_t length = fread(rules.text, 1, sizeof rules.text - 1, pipe);
    rules.text[length] = '\0';
    assert_int_equal(pclose(pipe), 0);
    assert_true(length > 0 && length < sizeof rules.text - 1);
    assert_int_equal(board_db_load(&rules.db, shipped, 1, &err), OK);
    *state = &rules;
    return 0;
}

static int drop_rules(void **state)
{
    board_db_free(((struct rules *)*state)->db);
    return 0;
}

static bool matched(const struct rules *rules, uint16_t vid, uint16_t pid)
{
    char match[96];
    (void)snprintf(match, sizeof match, "ATTRS{idVendor}==\"%04x\", ATTRS{idProduct}==\"%04x\"",
                   vid, pid);
    return strstr(rules->text, match) != NULL;
}

/* Serial adapters that come with everything: by the makers' data sheets. */
static const struct usb_id adapters[] = {
    {0x1a86, 0x7523}, {0x1a86, 0x55d4}, {0x0403, 0x6001}, {0x0403, 0x6015},
    {0x10c4, 0xea60}, {0x067b, 0x2303}, {0x04d8, 0x00df},
};

static bool is_adapter(struct usb_id id)
{
    for (size_t i = 0; i < sizeof adapters / sizeof adapters[0]; i++)
        if (adapters[i].vid == id.vid && adapters[i].pid == id.pid)
            return true;
    return false;
}

static void every_loader_and_every_board_of_its_own_id_is_there(void **state)
{
    const struct rules *rules = *state;
    const struct board *board;
    size_t seen = 0;
    for (size_t i = 0; (board = board_at(rules->db, i)) != NULL; i++) {
        for (size_t k = 0; k < board->usb_count; k++)
            if (!is_adapter(board->usb[k]) && !matched(rules, board->usb[k].vid, board->usb[k].pid))
                fail_msg("%s: %04x:%04x is missing", board->name, board->usb[k].vid,
                         board->usb[k].pid);
        for (size_t n = 0; n < board->loader_count; n++)
            for (size_t k = 0; k < board->loaders[n].usb_count; k++, seen++)
                if (!matched(rules, board->loaders[n].usb[k].vid, board->loaders[n].usb[k].pid))
                    fail_msg("%s/%s: %04x:%04x is missing", board->name, board->loaders[n].method,
                             board->loaders[n].usb[k].vid, board->loaders[n].usb[k].pid);
    }
    assert_true(seen > 100);
}

static void no_adapter_that_anything_may_hang_on_is_there(void **state)
{
    for (size_t i = 0; i < sizeof adapters / sizeof adapters[0]; i++)
        assert_false(matched(*state, adapters[i].vid, adapters[i].pid));
}

static void probes_are_there(void **state)
{
    const struct rules *rules = *state;
    assert_true(matched(rules, 0x0483, 0x3748)); /* ST-Link V2 */
    assert_true(matched(rules, 0x2e8a, 0x000c)); /* debugprobe */
    assert_true(matched(rules, 0x16c0, 0x05dc)); /* USBasp */
    assert_non_null(strstr(rules->text, "ATTRS{product}==\"*CMSIS-DAP*\""));
}

static void devices_are_given_to_the_seat_and_the_group_and_kept_from_modem_manager(void **state)
{
    const struct rules *rules = *state;
    assert_non_null(strstr(rules->text, "TAG+=\"uaccess\""));
    assert_non_null(strstr(rules->text, "ENV{ID_MM_DEVICE_IGNORE}=\"1\""));
    assert_non_null(strstr(rules->text, "MODE=\"0660\", GROUP=\"plugdev\""));
    /* ttys stay with their own group */
    assert_null(strstr(rules->text, "SUBSYSTEM==\"tty\""));
}

static void an_id_is_named_once(void **state)
{
    const struct rules *rules = *state;
    const char *first = strstr(rules->text, "\"0483\", ATTRS{idProduct}==\"df11\"");
    assert_non_null(first);
    assert_null(strstr(first + 1, "\"0483\", ATTRS{idProduct}==\"df11\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_loader_and_every_board_of_its_own_id_is_there),
        cmocka_unit_test(no_adapter_that_anything_may_hang_on_is_there),
        cmocka_unit_test(probes_are_there),
        cmocka_unit_test(devices_are_given_to_the_seat_and_the_group_and_kept_from_modem_manager),
        cmocka_unit_test(an_id_is_named_once),
    };
    return cmocka_run_group_tests(tests, make_rules, drop_rules);
}
