/*
 * katapult-can against the strict model of a node on a virtual bus, on virtual time. The chips have
 * been used before: what is not erased, or erased too late, shows.
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "can_rig.h"

enum { KIB = 1024, F103_START = 0x08002000, MBIT = 1000000 };

#define KLIPPER_CONFIG "\"MCU\":\"stm32f103xe\",\"CANBUS_FREQUENCY\":1000000"

static const uint8_t *at(const struct rig_node *node, uint64_t address)
{
    return node->flash + (address - node->rig->chip->regions[0].start);
}

/* ---- writing and reading ---- */

static void write_and_verify_on_each_family(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint32_t start;
    } chips[] = {{"stm32f103xe", 0x08002000}, {"stm32f072xb", 0x08002000},
                 {"stm32f042x6", 0x08002000}, {"stm32g0b1xx", 0x08002000},
                 {"stm32g431xx", 0x08002000}, {"stm32f446xx", 0x08008000},
                 {"stm32h723xx", 0x08020000}, {"rp2040", 0x10004000}};
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) {
        struct can_rig *rig = can_rig_new(chips[i].chip, 1, MBIT, "button", true);
        rig->nodes[0].loader.has_start = true;
        rig->nodes[0].loader.start = chips[i].start;
        rig_node_image(&rig->nodes[0], chips[i].start, 9 * KIB + 77);
        rig_node_assert_run(&rig->nodes[0]);
        assert_int_equal(rig->nodes[0].advanced, 2 * (9 * KIB + 77));
        can_rig_free(rig);
    }
}

static void stop_leaves_the_first_page_empty_and_the_node_alive(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_f103(1);
    struct rig_node *node = &rig->nodes[0];
    rig_node_image(node, F103_START, 12 * KIB);
    node->stop_at = 4 * KIB;
    assert_int_equal(rig_node_run(node), ERR_INTERRUPTED);
    assert_true(bytes_blank(at(node, F103_START), 2 * KIB, 0xff));
    node->stop_at = 0;
    rig_node_assert_run(node); /* with no reset between */
    can_rig_free(rig);
}

static void a_node_that_is_left_answers_queries_again(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_f103(1);
    rig_node_image(&rig->nodes[0], F103_START, 4 * KIB);
    (void)rig_node_connect(&rig->nodes[0]);
    rig_node_assert_ok(&rig->nodes[0]);
    rig_node_close(&rig->nodes[0]);
    can_rig_play(rig,
                 (const char *const[]){"- 6", "> 3F0 00", "< 3F1 20 87 E8 46 57 E6 76 11", NULL});
    can_rig_free(rig);
}

/* ---- connecting ---- */

static void a_running_klipper_is_asked(void **state)
{
    (void)state;
    static const char *const variants[] = {NULL, "assigned", "untagged"};
    for (size_t i = 0; i < 3; i++) {
        struct can_rig *rig = can_rig_f103(2); /* the other one acknowledges */
        can_rig_klipper(rig, 0, KLIPPER_CONFIG, variants[i]);
        rig_node_image(&rig->nodes[0], F103_START, 4 * KIB);
        rig_node_assert_run(&rig->nodes[0]);
        assert_true(rig->nodes[0].connecting < 350 * MILLISECOND);
        can_rig_free(rig);
    }
}

static void a_running_klipper_is_left_alone_where_the_board_says_so(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_f103(2);
    can_rig_klipper(rig, 0, KLIPPER_CONFIG, NULL);
    rig->nodes[0].loader.enter = "ask";
    assert_int_equal(rig_node_connect(&rig->nodes[0]), ERR_NO_ANSWER);
    assert_non_null(strstr(rig->nodes[0].err.message, "Klipper runs there"));
    assert_non_null(strstr(rig->nodes[0].err.hint, "RESET twice"));
    can_rig_free(rig);
}

static void connect_understands_each_protocol(void **state)
{
    (void)state;
    static const struct {
        const char *variant, *bootloader, *protocol;
    } variants[] = {{"button", "Katapult v0.0.1-110-gb0bf421", "1.1.0"},
                    {"button,1.0", "Katapult ?", "1.0.0"},
                    {"button,no-version", "Katapult ?", "1.1.0"}};
    for (size_t i = 0; i < 3; i++) {
        struct device_info info = {.count = 0};
        struct can_rig *rig = can_rig_new("stm32f103xe", 1, MBIT, variants[i].variant, true);
        struct rig_node *node = &rig->nodes[0];
        (void)rig_node_connect(node);
        rig_node_assert_ok(node);
        assert_int_equal(method_katapult_can.info(&node->session, &info, &node->err), OK);
        assert_string_equal(info.lines[0].text, "87e84657e676");
        assert_string_equal(info.lines[1].text, variants[i].bootloader);
        assert_string_equal(info.lines[2].text, variants[i].protocol);
        can_rig_free(rig);
    }
}

static void an_old_loader_is_written_with_a_note(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_new("stm32f103xe", 1, MBIT, "button,no-canbus-id", true);
    rig_node_image(&rig->nodes[0], F103_START, 2 * KIB);
    rig_node_assert_run(&rig->nodes[0]);
    assert_non_null(strstr(rig->nodes[0].notes, "cannot be checked"));
    can_rig_free(rig);
}

static void another_chip_and_another_start_are_refused(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_new("stm32f103xe", 1, MBIT, "button,4k", true);
    struct rig_node *node = &rig->nodes[0];
    node->loader.has_start = true;
    node->loader.start = F103_START;
    assert_int_equal(rig_node_connect(node), ERR_REFUSED);
    assert_string_equal(node->err.check, "start");
    rig_node_close(node);
    can_rig_free(rig);
    rig = can_rig_f103(1);
    node = &rig->nodes[0];
    node->config.faults.wrong_id = true;
    virtual_bus_free(rig->bus);
    rig->bus = NULL;
    can_rig_remake(rig, 0);
    can_rig_bus(rig, NULL);
    assert_int_equal(rig_node_connect(node), ERR_REFUSED);
    assert_string_equal(node->err.check, "signature");
    rig_node_close(node);
    node->session.force_signature = true;
    assert_int_equal(rig_node_connect(node), OK);
    can_rig_free(rig);
}

static void a_stuck_node_is_told_and_a_power_cycle_cures_it(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_f103(1);
    can_rig_play(rig, (const char *const[]){"> 3F0 11 87 E8 46 57 E6 76 81", "- 6",
                                            "> 202 01 88 12 11 00 20 00 08", NULL});
    rig_node_image(&rig->nodes[0], F103_START, 500);
    assert_int_equal(rig_node_connect(&rig->nodes[0]), ERR_NO_ANSWER);
    assert_non_null(strstr(rig->nodes[0].err.message, "stuck"));
    assert_non_null(strstr(rig->nodes[0].err.hint, "off and on"));
    assert_true(rig->nodes[0].connecting < 4 * SECOND);
    rig_node_close(&rig->nodes[0]);
    can_rig_reset(rig);
    rig_node_assert_run(&rig->nodes[0]);
    can_rig_free(rig);
}

static void nobody_there_is_told_in_time(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_f103(2);
    rig->nodes[0].uuid[5] ^= 1;
    assert_int_equal(rig_node_connect(&rig->nodes[0]), ERR_NO_ANSWER);
    assert_non_null(strstr(rig->nodes[0].err.message, "nobody with that UUID"));
    assert_non_null(strstr(rig->nodes[0].err.hint, "bit rate"));
    assert_true(rig->nodes[0].connecting < 4 * SECOND);
    can_rig_free(rig);
}

static void an_empty_bus_is_told_as_such(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_new("stm32f103xe", 0, MBIT, NULL, true);
    struct rig_node *node = &rig->nodes[0];
    node->rig = rig;
    node->loader.enter = "klipper-can ask";
    int rc = rig_node_connect(node);
    assert_true(rc == ERR_NO_ANSWER || rc == ERR_FAILED);
    assert_non_null(strstr(node->err.hint, "60 ohm"));
    rig_node_close(node);
    can_rig_free(rig);
}

/* ---- others on the bus ---- */

static void a_node_has_one_conversation(void **state)
{
    (void)state;
    struct can_rig *rig = can_rig_f103(2);
    memcpy(rig->nodes[1].uuid, rig->nodes[0].uuid, KLIPPER_UUID);
    assert_int_equal(rig_node_connect(&rig->nodes[0]), OK);
    assert_int_equal(rig_node_connect(&rig->nodes[1]), ERR_BUSY);
    assert_non_null(strstr(rig->nodes[1].err.message, "87e84657e676"));
    can_rig_free(rig);
}

/* A host on another machine: what it sends when so many bytes are written. */
struct intruder {
    struct rig_node *node;
    const char *line;
};

static struct intruder intruder;

static void intrude(void *user, size_t bytes)
{
    struct rig_node *node = user;
    node->advanced += bytes;
    if (node->advanced / KIB == 1 && intruder.line) {
        can_rig_play(node->rig, (const char *const[]){intruder.line, NULL});
        intruder.line = NULL;
    }
}

static int write_with_company(struct rig_node *node, const char *line)
{
    intruder = (struct intruder){node, line};
    (void)rig_node_connect(node);
    rig_node_assert_ok(node);
    node->session.advance = intrude;
    const struct job job = rig_node_job(node);
    int rc = method_katapult_can.write(&node->session, &job, &node->err);
    assert_null(intruder.line);
    rig_node_close(node);
    return rc;
}

static void another_host_at_work_is_named(void **state)
{
    (void)state;
    static const char *const lines[] = {"> 3F0 12", "> 3F0 11 87 E8 46 57 E6 76 81"};
    for (size_t i = 0; i < 2; i++) {
        struct can_rig *rig = can_rig_f103(1);
        rig_node_image(&rig->nodes[0], F103_START, 4 * KIB);
        assert_int_equal(write_with_company(&rig->nodes[0], lines[i]), ERR_BUSY);
        assert_non_null(strstr(rig->nodes[0].err.message, "another program"));
        can_rig_free(rig);
    }
}

static void a_host_at_work_on_other_nodes_does_not_matter(void **state)
{
    (void)state;
    static const char *const lines[] = {"> 3F0 00", "> 3F0 11 9E 20 E6 05 76 F6 10",
                                        "> 3F0 01 9E 20 E6 05 76 F6 10", "> 120 01 02 03"};
    for (size_t i = 0; i < 4; i++) {
        struct can_rig *rig = can_rig_f103(1);
        rig_node_image(&rig->nodes[0], F103_START, 4 * KIB);
        assert_int_equal(write_with_company(&rig->nodes[0], lines[i]), OK);
        assert_true(rig_node_holds_image(&rig->nodes[0]));
        can_rig_free(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_verify_on_each_family),
        cmocka_unit_test(stop_leaves_the_first_page_empty_and_the_node_alive),
        cmocka_unit_test(a_node_that_is_left_answers_queries_again),
        cmocka_unit_test(a_running_klipper_is_asked),
        cmocka_unit_test(a_running_klipper_is_left_alone_where_the_board_says_so),
        cmocka_unit_test(connect_understands_each_protocol),
        cmocka_unit_test(an_old_loader_is_written_with_a_note),
        cmocka_unit_test(another_chip_and_another_start_are_refused),
        cmocka_unit_test(a_stuck_node_is_told_and_a_power_cycle_cures_it),
        cmocka_unit_test(nobody_there_is_told_in_time),
        cmocka_unit_test(an_empty_bus_is_told_as_such),
        cmocka_unit_test(a_node_has_one_conversation),
        cmocka_unit_test(another_host_at_work_is_named),
        cmocka_unit_test(a_host_at_work_on_other_nodes_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
