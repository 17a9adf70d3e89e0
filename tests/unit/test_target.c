/*
 * Which method and which device, from what stands on the buses: a machine made of a few files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "machine_tree.h"
#include "presence.h"

/* The same chip: as Klipper tells it, and as the STM32 ROM makes 12 digits of it. */
#define CHIP_ID    "2B0048001251323432363638"
#define DFU_SERIAL "387E365D3432"
#define UUID_CHIP  "404142434445464748494A4B" /* of which the UUID is 87e84657e676 */

struct bench {
    const struct machine_tree *tree;
    struct board_db *db;
    struct target target;
    struct error err;
};

static void begin(struct bench *bench, void **state)
{
    static const char *const shipped[] = {"boards.ini"};
    *bench = (struct bench){.tree = *state};
    if (board_db_load(&bench->db, shipped, 1, &bench->err))
        fail_msg("%s", bench->err.message);
}

static void end(struct bench *bench)
{
    board_db_free(bench->db);
}

/* A USB device at a port of the root hub. */
static void plug_in(const struct bench *bench, const char *place, const char *vid, const char *pid,
                    const char *serial)
{
    const struct {
        const char *name, *content;
    } files[] = {{"idVendor", vid}, {"idProduct", pid}, {"serial", serial},  {"bcdDevice", "0300"},
                 {"busnum", "1"},   {"devnum", "7"},    {"product", "thing"}};
    char name[256], target[256];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        (void)snprintf(name, sizeof name, "sys/devices/usb1/%s/%s", place, files[i].name);
        tree_put(bench->tree, name, files[i].content);
    }
    (void)snprintf(name, sizeof name, "sys/bus/usb/devices/%s", place);
    (void)snprintf(target, sizeof target, "%%/sys/devices/usb1/%s", place);
    tree_link(bench->tree, name, target);
}

/* The same with a serial port. */
static void plug_in_port(const struct bench *bench, const char *place, const char *pid,
                         const char *serial, const char *tty)
{
    char name[256], target[256];
    plug_in(bench, place, "1d50", pid, serial);
    (void)snprintf(name, sizeof name, "sys/devices/usb1/%s/%s:1.0/tty/%s/dev", place, place, tty);
    tree_put(bench->tree, name, "166:9");
    (void)snprintf(name, sizeof name, "sys/devices/usb1/%s/%s:1.0/tty/%s/device", place, place,
                   tty);
    (void)snprintf(target, sizeof target, "../../../%s:1.0", place);
    tree_link(bench->tree, name, target);
    (void)snprintf(name, sizeof name, "sys/class/tty/%s", tty);
    (void)snprintf(target, sizeof target, "%%/sys/devices/usb1/%s/%s:1.0/tty/%s", place, place,
                   tty);
    tree_link(bench->tree, name, target);
}

static int choose(struct bench *bench, const char *name, struct target_request request)
{
    if (board_find(bench->db, name, &request.board, &bench->err))
        fail_msg("%s", bench->err.message);
    request.sysfs = bench->tree->sys;
    error_clear(&bench->err);
    return target_select(&bench->target, &request, &bench->err);
}

static void bootloader_on_usb_is_taken_by_its_place(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in(&b, "1-4", "1209", "beba", "");
    assert_int_equal(choose(&b, "skr-mini-e3", (struct target_request){0}), OK);
    assert_string_equal(b.target.method->name, "hid");
    assert_string_equal(b.target.device, "1-4");
    assert_string_equal(b.target.place, "1-4");
    assert_true(b.target.in_loader);
    end(&b);
}

static void running_application_is_where_the_bootloader_will_be(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in_port(&b, "1-4", "614e", CHIP_ID, "ttyACM9");
    assert_int_equal(choose(&b, "skr-mini-e3", (struct target_request){0}), OK);
    assert_string_equal(b.target.method->name, "hid");
    assert_string_equal(b.target.device, "/dev/ttyACM9");
    assert_string_equal(b.target.place, "1-4");
    assert_false(b.target.in_loader);
    end(&b);
}

static bool is_katapult(const void *context, const struct loader *loader)
{
    (void)context;
    return strcmp(loader->method, "katapult-usb") == 0;
}

static void image_decides_among_bootloaders_that_may_be_entered(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in_port(&b, "1-4", "614e", CHIP_ID, "ttyACM9");
    assert_int_equal(choose(&b, "skr-mini-e3", (struct target_request){.suits = is_katapult}), OK);
    assert_string_equal(b.target.method->name, "katapult-usb");
    end(&b);
}

static void bootloader_that_is_there_goes_before_what_the_image_was_linked_for(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in(&b, "1-4", "1209", "beba", "");
    assert_int_equal(choose(&b, "skr-mini-e3", (struct target_request){.suits = is_katapult}), OK);
    assert_string_equal(b.target.method->name, "hid");
    end(&b);
}

static void two_are_no_guess(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in(&b, "1-4", "1209", "beba", "");
    plug_in(&b, "1-5", "1209", "beba", "");
    assert_int_equal(choose(&b, "skr-mini-e3", (struct target_request){0}), ERR_AMBIGUOUS);
    assert_non_null(strstr(b.err.hint, "1-4"));
    assert_non_null(strstr(b.err.hint, "1-5"));
    assert_int_equal(choose(&b, "skr-mini-e3", (struct target_request){.device = "1-5"}), OK);
    assert_string_equal(b.target.device, "1-5");
    end(&b);
}

static void nothing_there_says_what_is_and_how_to_get_it(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in(&b, "1-4", "0483", "df11", DFU_SERIAL);
    assert_int_equal(choose(&b, "skr-mini-e3", (struct target_request){0}), ERR_NO_DEVICE);
    assert_non_null(strstr(b.err.hint, "hid: "));
    assert_non_null(strstr(b.err.hint, "0483:df11"));
    end(&b);
}

static void same_board_is_found_by_its_serial_number_in_another_mode(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in(&b, "1-4", "0483", "df11", DFU_SERIAL);
    plug_in(&b, "1-5", "0483", "df11", "FFFFFFFFFFFF");
    assert_int_equal(
        choose(&b, "generic-stm32f072xb", (struct target_request){.device = "1d50:614e:" CHIP_ID}),
        OK);
    assert_string_equal(b.target.device, "1-4");
    assert_int_equal(
        choose(&b, "generic-stm32f072xb",
               (struct target_request){
                   .device = "/dev/serial/by-id/usb-Klipper_stm32f072xb_" CHIP_ID "-if00"}),
        OK);
    assert_string_equal(b.target.method->name, "dfu");
    assert_string_equal(b.target.device, "1-4");
    end(&b);
}

static void serial_numbers_of_one_chip(void **state)
{
    (void)state;
    assert_true(presence_same_serial(CHIP_ID, DFU_SERIAL));
    assert_true(presence_same_serial("387e365d3432", CHIP_ID));
    assert_true(presence_same_serial(CHIP_ID, CHIP_ID));
    assert_false(presence_same_serial(CHIP_ID, "387E365D3433"));
    assert_false(presence_same_serial("", ""));
}

static void path_of_no_bus_is_a_serial_line(void **state)
{
    struct bench b;
    begin(&b, state);
    assert_int_equal(
        choose(&b, "generic-stm32f103xe", (struct target_request){.device = "/tmp/none"}), OK);
    assert_int_equal(b.target.method->link, LINK_SERIAL);
    assert_string_equal(b.target.device, "/tmp/none");
    end(&b);
}

static void node_is_named_by_interface_and_uuid(void **state)
{
    struct bench b;
    begin(&b, state);
    const struct target_request both = {.interface = "can1", .uuid = "87E84657E676"};
    assert_int_equal(choose(&b, "btt-ebb36-v1.2", both), OK);
    assert_string_equal(b.target.method->name, "katapult-can");
    assert_string_equal(b.target.device, "can1:87e84657e676");
    assert_int_equal(choose(&b, "btt-ebb36-v1.2",
                            (struct target_request){.device = "unix:/tmp/bus:87e84657e676"}),
                     OK);
    assert_string_equal(b.target.interface, "unix:/tmp/bus");
    assert_int_equal(choose(&b, "btt-ebb36-v1.2", (struct target_request){.interface = "can1"}),
                     ERR_NO_DEVICE);
    assert_int_equal(
        choose(&b, "btt-ebb36-v1.2", (struct target_request){.interface = "can1", .uuid = "87e8"}),
        ERR_USAGE);
    end(&b);
}

/* Its UUID is made of the chip id that its USB serial number spells. */
static void bridge_is_flashed_over_its_usb_side(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in(&b, "1-6", "1d50", "606f", UUID_CHIP);
    const struct target_request request = {.interface = "can0", .uuid = "87e84657e676"};
    assert_int_equal(choose(&b, "generic-stm32f446xx", request), OK);
    assert_string_equal(b.target.method->name, "katapult-usb");
    assert_string_equal(b.target.place, "1-6");
    assert_true(b.target.bridge);
    assert_false(b.target.in_loader);
    assert_true(target_has_bus(&b.target));
    end(&b);
}

/* Both take what starts at 0x08008000; but what was linked for that runs behind Katapult. */
static bool starts_behind_katapult(const void *context, const struct loader *loader)
{
    (void)context;
    return strcmp(loader->method, "dfu") == 0 || strcmp(loader->method, "katapult-usb") == 0;
}

static bool starts_where_only_the_rom_does(const void *context, const struct loader *loader)
{
    (void)context;
    return strcmp(loader->method, "dfu") == 0;
}

static void bridge_with_two_bootloaders_leads_into_the_one_of_its_image(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in(&b, "1-6", "1d50", "606f", UUID_CHIP);
    struct target_request request = {
        .interface = "can0", .uuid = "87e84657e676", .suits = starts_behind_katapult};
    assert_int_equal(choose(&b, "btt-octopus-f446", request), OK);
    assert_string_equal(b.target.method->name, "katapult-usb");
    request.suits = starts_where_only_the_rom_does;
    assert_int_equal(choose(&b, "btt-octopus-f446", request), OK);
    assert_string_equal(b.target.method->name, "dfu");
    end(&b);
}

static void bridge_that_waits_in_its_bootloader_is_taken_there(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in_port(&b, "1-6", "6177", UUID_CHIP, "ttyACM3");
    const struct target_request request = {.interface = "can0", .uuid = "87e84657e676"};
    assert_int_equal(choose(&b, "generic-stm32f446xx", request), OK);
    assert_string_equal(b.target.device, "/dev/ttyACM3");
    assert_false(b.target.bridge);
    assert_true(b.target.in_loader);
    assert_false(target_has_bus(&b.target)); /* can0 went away with it */
    end(&b);
}

static void waiting_bridge_is_taken_as_what_it_is_whatever_the_image_was_linked_for(void **state)
{
    struct bench b;
    begin(&b, state);
    plug_in_port(&b, "1-6", "6177", UUID_CHIP, "ttyACM3");
    const struct target_request request = {
        .interface = "can0", .uuid = "87e84657e676", .suits = starts_where_only_the_rom_does};
    assert_int_equal(choose(&b, "btt-octopus-f446", request), OK);
    assert_string_equal(b.target.method->name, "katapult-usb");
    assert_true(b.target.in_loader);
    end(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_make, tree_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bootloader_on_usb_is_taken_by_its_place),
        TEST(running_application_is_where_the_bootloader_will_be),
        TEST(image_decides_among_bootloaders_that_may_be_entered),
        TEST(bootloader_that_is_there_goes_before_what_the_image_was_linked_for),
        TEST(two_are_no_guess),
        TEST(nothing_there_says_what_is_and_how_to_get_it),
        TEST(same_board_is_found_by_its_serial_number_in_another_mode),
        TEST(serial_numbers_of_one_chip),
        TEST(path_of_no_bus_is_a_serial_line),
        TEST(node_is_named_by_interface_and_uuid),
        TEST(bridge_is_flashed_over_its_usb_side),
        TEST(bridge_with_two_bootloaders_leads_into_the_one_of_its_image),
        TEST(bridge_that_waits_in_its_bootloader_is_taken_there),
        TEST(waiting_bridge_is_taken_as_what_it_is_whatever_the_image_was_linked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
