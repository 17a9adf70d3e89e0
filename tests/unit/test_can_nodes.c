/* Who is on a bus: UUIDs, ids, discovery, a running Klipper's dictionary, and a printer.cfg's
 * nodes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "can_nodes.h"
#include "can_rig.h"
#include "image/format.h"
#include "klipper/printer_cfg.h"

#define CONFIG "\"MCU\":\"stm32f103xe\",\"CANBUS_FREQUENCY\":1000000"

static struct can *open_host(struct can_rig *rig)
{
    rig->host = virtual_can(rig->bus);
    assert_non_null(rig->host);
    return rig->host;
}

static uint64_t now(const struct can_rig *rig)
{
    return clock_now(rig->host->clock);
}

/* ---- UUIDs ---- */

static void a_uuid_follows_from_the_usb_serial_number(void **state)
{
    (void)state;
    static const struct {
        const char *serial, *uuid;
    } vectors[] = {{"404142434445464748494A4B", "87e84657e676"},
                   {"505152535455565758595a5b", "9e20e60576f6"},
                   {"1900380002504A5356303220", "96e5ccbe95cd"},
                   {"E660D4A0A72C6F2A", "bbee84d596cc"}};
    uint8_t uuid[KLIPPER_UUID];
    char text[KLIPPER_UUID_TEXT];
    for (size_t i = 0; i < 4; i++) {
        assert_true(can_uuid_of_chip_id(vectors[i].serial, uuid));
        can_uuid_text(uuid, text);
        assert_string_equal(text, vectors[i].uuid);
    }
    assert_false(can_uuid_of_chip_id("", uuid));
    assert_false(can_uuid_of_chip_id("12345", uuid));
    assert_false(can_uuid_of_chip_id("404142434445464748494A4B4C", uuid));
    assert_false(can_uuid_of_chip_id("404142434445464748494A4x", uuid));
}

static void a_uuid_has_twelve_digits(void **state)
{
    (void)state;
    uint8_t uuid[KLIPPER_UUID];
    assert_true(can_uuid_parse("87E84657e676", uuid));
    assert_memory_equal(uuid, ((uint8_t[]){0x87, 0xe8, 0x46, 0x57, 0xe6, 0x76}), 6);
    assert_false(can_uuid_parse("87E84657e67", uuid));
    assert_false(can_uuid_parse("87E84657e6760", uuid));
    assert_false(can_uuid_parse("87E84657e67g", uuid));
    assert_false(can_uuid_parse("", uuid));
}

/* ---- ids ---- */

static void no_two_conversations_have_one_id_or_one_node(void **state)
{
    (void)state;
    enum { ALL = 0x100 - 0x82 };
    static struct can_claim claims[ALL + 1];
    struct error err;
    bool taken[0x100] = {false};
    for (unsigned i = 0; i < ALL; i++) {
        const uint8_t uuid[KLIPPER_UUID] = {(uint8_t)i, 1, 2, 3, 4, 5};
        assert_int_equal(can_claim(&claims[i], "a test's own bus", uuid, 0, &err), OK);
        assert_true(claims[i].node >= 0x82);
        assert_false(taken[claims[i].node]);
        taken[claims[i].node] = true;
    }
    const uint8_t one_more[KLIPPER_UUID] = {ALL, 1, 2, 3, 4, 5},
                  known[KLIPPER_UUID] = {3, 1, 2, 3, 4, 5};
    assert_int_equal(can_claim(&claims[ALL], "a test's own bus", one_more, 0, &err), ERR_BUSY);
    assert_int_equal(can_claim(&claims[ALL], "a test's own bus", known, 0, &err), ERR_BUSY);
    assert_non_null(strstr(err.message, "030102030405"));
    assert_int_equal(can_claim(&claims[ALL], "another bus", known, 0, &err), OK);
    for (unsigned i = 0; i <= ALL; i++)
        can_claim_end(&claims[i]);
    assert_int_equal(can_claim(&claims[0], "a test's own bus", known, 0, &err), OK);
    can_claim_end(&claims[0]);
}

/* ---- the query ---- */

static void a_query_finds_those_without_an_id(void **state)
{
    (void)state;
    static struct can_nodes nodes;
    struct can_rig *rig = can_rig_new("stm32f103xe", 4, 0, NULL, false);
    struct error err;
    can_rig_klipper(rig, 1, CONFIG, NULL);
    can_rig_klipper(rig, 2, CONFIG, "assigned");
    can_rig_klipper(rig, 3, CONFIG, "untagged");
    struct can *can = open_host(rig);
    assert_int_equal(can_nodes_query(can, &nodes, &err), OK);
    assert_int_equal(nodes.count, 3);
    for (size_t i = 1; i < nodes.count; i++)
        assert_true(strcmp(nodes.list[i - 1].text, nodes.list[i].text) < 0);
    assert_string_equal(nodes.list[0].text, "87e84657e676");
    assert_int_equal(nodes.list[0].program, CAN_PROGRAM_KATAPULT);
    assert_int_equal(nodes.list[1].program, CAN_PROGRAM_KLIPPER); /* of old, without a tag */
    assert_string_equal(nodes.list[2].text, "9e20e60576f6");
    assert_int_equal(nodes.list[2].program, CAN_PROGRAM_KLIPPER);
    assert_true(now(rig) < 100 * MILLISECOND);
    can_rig_free(rig);
}

static void a_silent_bus_is_waited_for_less_than_half_a_second_and_explained(void **state)
{
    (void)state;
    static struct can_nodes nodes;
    struct can_rig *rig = can_rig_new("stm32f103xe", 1, 0, NULL, false);
    struct error err;
    char text[1024], none[1024];
    can_rig_klipper(rig, 0, CONFIG, "assigned");
    struct can *can = open_host(rig);
    assert_int_equal(can_nodes_query(can, &nodes, &err), OK);
    assert_int_equal(nodes.count, 0);
    assert_true(now(rig) <= SECOND / 2);
    can_nodes_explain(&nodes, can, NULL, text, sizeof text);
    assert_non_null(strstr(text, "without an id"));
    nodes.others = 100;
    can_nodes_explain(&nodes, can, NULL, text, sizeof text);
    assert_non_null(strstr(text, "Klipper host is at work"));
    nodes.others = 0;
    can->trouble.no_acknowledge = true;
    can_nodes_explain(&nodes, can, NULL, none, sizeof none);
    assert_non_null(strstr(none, "acknowledges"));
    can->trouble.bus_off = true;
    can_nodes_explain(&nodes, can, NULL, none, sizeof none);
    assert_non_null(strstr(none, "60 ohms"));
    can_rig_free(rig);
}

static void a_bus_where_nobody_acknowledges_is_told_as_such(void **state)
{
    (void)state;
    static struct can_nodes nodes;
    struct can_rig *rig = can_rig_new("stm32f103xe", 0, 0, NULL, false);
    struct error err;
    char text[1024];
    struct can *can = open_host(rig);
    assert_int_equal(can_nodes_query(can, &nodes, &err), OK);
    can_nodes_explain(&nodes, can, NULL, text, sizeof text);
    assert_non_null(strstr(text, "Nobody on"));
    can_rig_free(rig);
}

static void traffic_of_nodes_with_ids_is_seen(void **state)
{
    (void)state;
    static struct can_nodes nodes;
    struct can_rig *rig = can_rig_new("stm32f103xe", 2, 0, "button", false);
    struct error err;
    can_rig_play(rig, (const char *const[]){"> 3F0 11 87 E8 46 57 E6 76 04", "- 6",
                                            "> 108 01 88 11 00 F1 7C 99 03",
                                            "> 108 01 88 11 00 F1 7C 99 03", NULL});
    struct can *can = virtual_can(rig->bus);
    assert_int_equal(can_nodes_query(can, &nodes, &err), OK);
    assert_true(nodes.others >= 8);
    assert_int_equal(nodes.count, 1);
    can_close(can);
    can_rig_free(rig);
}

static void the_nearest_uuid_is_named(void **state)
{
    (void)state;
    static struct can_nodes nodes;
    struct can_rig *rig = can_rig_new("stm32f103xe", 2, 0, NULL, false);
    struct error err;
    char near[128];
    assert_int_equal(can_nodes_query(open_host(rig), &nodes, &err), OK);
    can_nodes_nearest(&nodes, "87e84675e676", near, sizeof near);
    assert_string_equal(near, "87e84657e676");
    can_nodes_nearest(&nodes, "000000000000", near, sizeof near);
    assert_string_equal(near, "");
    can_rig_free(rig);
}

/* ---- asking ---- */

static void katapult_nodes_tell_chip_and_version_and_answer_again(void **state)
{
    (void)state;
    static struct can_nodes nodes;
    struct can_rig *rig = can_rig_new("stm32g0b1xx", 3, 0, NULL, false);
    struct error err;
    struct can *can = open_host(rig);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(can_nodes_query(can, &nodes, &err), OK);
        assert_int_equal(nodes.count, 3);
        assert_int_equal(can_nodes_ask_katapult(can, &nodes, &err), OK);
        for (size_t n = 0; n < 3; n++) {
            assert_true(nodes.list[n].asked);
            assert_string_equal(nodes.list[n].mcu, "stm32g0b1xx");
            assert_string_equal(nodes.list[n].version, "v0.0.1-110-gb0bf421");
            assert_int_equal(nodes.list[n].start, 0x08002000);
        }
        can->clock->sleep_until(can->clock, now(rig) + 10 * MILLISECOND);
    }
    can_rig_free(rig);
}

static void a_klipper_is_asked_by_its_uuid_and_left_as_it_was(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_new("stm32f103xe", 2, 0, NULL, false);
    struct can_node_info node;
    struct error err;
    can_rig_klipper(rig, 0, CONFIG, "assigned");
    struct can *can = open_host(rig);
    assert_int_equal(can_nodes_ask(can, rig->nodes[0].uuid, &node, &err), OK);
    assert_int_equal(node.program, CAN_PROGRAM_KLIPPER);
    assert_string_equal(node.mcu, "stm32f103xe");
    assert_string_equal(node.version, "v0.12.0-200-gabcdef12");
    can_close(can);
    rig->host = NULL;
    /* Restarted: it has no id, and is still Klipper. */
    can_rig_play(rig,
                 (const char *const[]){"- 300", "- 300", "> 3F0 11 9E 20 E6 05 76 F6 04", "- 6",
                                       "> 3F0 00", "< 3F1 20 87 E8 46 57 E6 76 01", NULL});
    can_rig_free(rig);
}

static void a_katapult_that_has_an_id_is_asked_by_its_uuid(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_new("rp2040", 1, 0, NULL, false);
    struct can_node_info node;
    struct error err;
    can_rig_play(rig, (const char *const[]){"> 3F0 11 BB EE 84 D5 96 CC 20", "- 6", NULL});
    assert_int_equal(can_nodes_ask(rig->host, rig->nodes[0].uuid, &node, &err), OK);
    assert_int_equal(node.program, CAN_PROGRAM_KATAPULT);
    assert_string_equal(node.mcu, "rp2040");
    assert_int_equal(node.start, 0x10004000);
    can_rig_free(rig);
}

static void nobody_of_that_uuid_is_told_in_time(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_new("stm32f103xe", 1, 0, NULL, false);
    struct can_node_info node;
    struct error err;
    rig->nodes[0].uuid[0] ^= 1;
    assert_int_equal(can_nodes_ask(open_host(rig), rig->nodes[0].uuid, &node, &err), ERR_NO_ANSWER);
    assert_non_null(strstr(err.message, node.text));
    assert_true(now(rig) < 3 * SECOND);
    can_rig_free(rig);
}

static void the_dictionary_comes_over_can_and_is_the_flashed_one(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_new("stm32f103xe", 2, 0, NULL, false);
    struct klipper_facts facts, flashed;
    struct image image = {.count = 0};
    struct error err;
    can_rig_klipper(rig, 0, CONFIG, NULL);
    assert_int_equal(image_add(&image, MEM_FLASH, 0, rig->nodes[0].flash, 0x4000, &err), OK);
    klipper_find(&image, &flashed);
    assert_true(flashed.present);
    assert_int_equal(can_klipper_identify(open_host(rig), rig->nodes[0].uuid, &facts, &err), OK);
    assert_int_equal(facts.length, flashed.length);
    assert_int_equal(facts.crc, flashed.crc);
    assert_int_equal(facts.can_bitrate, 1000000);
    image_free(&image);
    can_rig_free(rig);
}

/* ---- printer.cfg ---- */

static char folder[] = "/tmp/mflash-cfg-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[64];
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) == 0 ? 0 : -1;
}

static const char *file(const char *name, const char *text)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
    return path;
}

static void nodes_of_a_configuration_and_of_what_it_includes(void **state)
{
    (void)state;
    static struct printer_nodes nodes;
    struct error err;
    (void)file("tool-a.cfg",
               "[mcu EBB]\ncanbus_uuid = 9E20E60576F6 # right\ncanbus_interface: can1\n");
    (void)file("tool-b.cfg", "canbus_uuid: bbee84d596cc\n\n[fan]\npin: EBB:PA0\n");
    const char *path =
        file("printer.cfg", "# canbus_uuid: 000000000000\n[mcu]\ncanbus_uuid:87e84657e676\n"
                            "[gcode_macro X]\ngcode:\n  canbus_uuid: none\n[include tool-*.cfg]\n"
                            "[include nothing*.cfg]\n[printer]\nkinematics: corexy\n");
    if (printer_cfg_nodes(&nodes, path, &err))
        fail_msg("%s", err.message);
    assert_int_equal(nodes.count, 3);
    assert_string_equal(nodes.list[0].section, "mcu");
    assert_string_equal(nodes.list[0].interface, "can0");
    assert_int_equal(nodes.list[0].uuid[0], 0x87);
    assert_string_equal(nodes.list[1].section, "mcu EBB");
    assert_string_equal(nodes.list[1].interface, "can1");
    assert_int_equal(nodes.list[1].uuid[5], 0xf6);
    assert_string_equal(nodes.list[2].section, "");
}

static void a_broken_configuration_is_refused_with_file_and_line(void **state)
{
    (void)state;
    static struct printer_nodes nodes;
    struct error err;
    const char *path = file("bad.cfg", "[mcu]\n\ncanbus_uuid: 87e84657e67\n");
    assert_int_equal(printer_cfg_nodes(&nodes, path, &err), ERR_FAILED);
    assert_non_null(strstr(err.message, "bad.cfg, line 3"));
    path = file("missing.cfg", "[include not-there.cfg]\n");
    assert_int_equal(printer_cfg_nodes(&nodes, path, &err), ERR_FAILED);
    assert_non_null(strstr(err.message, "not-there.cfg"));
    path = file("loop.cfg", "[include loop.cfg]\n");
    assert_int_equal(printer_cfg_nodes(&nodes, path, &err), ERR_FAILED);
    assert_non_null(strstr(err.message, "include each other"));
    assert_int_equal(printer_cfg_nodes(&nodes, "/nowhere/printer.cfg", &err), ERR_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uuid_follows_from_the_usb_serial_number),
        cmocka_unit_test(a_uuid_has_twelve_digits),
        cmocka_unit_test(no_two_conversations_have_one_id_or_one_node),
        cmocka_unit_test(a_query_finds_those_without_an_id),
        cmocka_unit_test(a_silent_bus_is_waited_for_less_than_half_a_second_and_explained),
        cmocka_unit_test(a_bus_where_nobody_acknowledges_is_told_as_such),
        cmocka_unit_test(traffic_of_nodes_with_ids_is_seen),
        cmocka_unit_test(the_nearest_uuid_is_named),
        cmocka_unit_test(katapult_nodes_tell_chip_and_version_and_answer_again),
        cmocka_unit_test(a_klipper_is_asked_by_its_uuid_and_left_as_it_was),
        cmocka_unit_test(a_katapult_that_has_an_id_is_asked_by_its_uuid),
        cmocka_unit_test(nobody_of_that_uuid_is_told_in_time),
        cmocka_unit_test(the_dictionary_comes_over_can_and_is_the_flashed_one),
        cmocka_unit_test(nodes_of_a_configuration_and_of_what_it_includes),
        cmocka_unit_test(a_broken_configuration_is_refused_with_file_and_line),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
