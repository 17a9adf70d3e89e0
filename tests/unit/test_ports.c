/*
 * Listing ports, finding who holds one, and FTDI's latency timer, on machines made of a few files:
 * laid out as Linux 6 lays them out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/latency.h"
#include "link/ports.h"
#include "machine_tree.h"

static struct serial_port *list(const struct machine_tree *tree, size_t *count)
{
    struct serial_port *ports;
    struct error err;
    if (ports_list(&ports, count, &tree->host, &err) != OK ||
        ports_holders(ports, *count, &tree->host, &err) != OK)
        fail_msg("%s", err.message);
    return ports;
}

static void a_machine_without_ports_has_none(void **state)
{
    const struct machine_tree *tree = *state;
    size_t count;
    struct serial_port *ports = list(tree, &count);
    assert_int_equal(count, 0);
    free(ports);
    assert_int_equal(serial_ports(&ports, &count, "/nonexistent", NULL), OK);
    assert_int_equal(count, 0);
    free(ports);
}

static void a_cdc_acm_board_is_described_in_full(void **state)
{
    const struct machine_tree *tree = *state;
    size_t count;
    tree_plug_in_mega(tree);
    struct serial_port *ports = list(tree, &count);
    assert_int_equal(count, 1);
    assert_string_equal(ports[0].path, "/dev/ttyACM0");
    assert_string_equal(ports[0].by_id, "/dev/serial/by-id/usb-Arduino_Mega_2560_7583-if00");
    assert_string_equal(ports[0].driver, "cdc_acm");
    assert_true(ports[0].usb);
    assert_int_equal(ports[0].vid, 0x2341);
    assert_int_equal(ports[0].pid, 0x0042);
    assert_string_equal(ports[0].serial, "75833353035351F0A1B2");
    assert_string_equal(ports[0].manufacturer, "Arduino (www.arduino.cc)");
    assert_string_equal(ports[0].product, "Arduino Mega 2560");
    assert_string_equal(ports[0].bus_path, "1-1.4");
    assert_string_equal(ports[0].holder, "");
    free(ports);
}

static void a_usb_serial_bridge_without_strings_is_described(void **state)
{
    const struct machine_tree *tree = *state;
    size_t count;
    tree_plug_in_ftdi(tree, "ttyUSB0", "16\n");
    struct serial_port *ports = list(tree, &count);
    assert_int_equal(count, 1);
    assert_string_equal(ports[0].path, "/dev/ttyUSB0");
    assert_string_equal(ports[0].driver, "ftdi_sio");
    assert_int_equal(ports[0].vid, 0x0403);
    assert_int_equal(ports[0].pid, 0x6001);
    assert_string_equal(ports[0].bus_path, "1-2");
    assert_string_equal(ports[0].by_id, "");
    assert_string_equal(ports[0].serial, "");
    free(ports);
}

static void ports_are_sorted_as_people_count(void **state)
{
    const struct machine_tree *tree = *state;
    size_t count;
    tree_plug_in_ftdi(tree, "ttyUSB10", "1\n");
    tree_plug_in_ftdi(tree, "ttyUSB2", "1\n");
    tree_plug_in_mega(tree);
    struct serial_port *ports = list(tree, &count);
    assert_int_equal(count, 3);
    assert_string_equal(ports[0].path, "/dev/ttyACM0");
    assert_string_equal(ports[1].path, "/dev/ttyUSB2");
    assert_string_equal(ports[2].path, "/dev/ttyUSB10");
    free(ports);
}

static void make_uart(const struct machine_tree *tree, const char *tty, const char *type,
                      const char *port, const char *memory)
{
    char name[HOST_PATH_MAX];
    const char *const facts[][2] = {{"type", type}, {"port", port}, {"iomem_base", memory}};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof name, "sys/class/tty/%s/%s", tty, facts[i][0]);
        tree_put(tree, name, facts[i][1]);
    }
    (void)snprintf(name, sizeof name, "sys/class/tty/%s/device", tty);
    tree_link(tree, name, "%/sys/devices/platform/serial8250");
}

static void uarts_without_hardware_are_left_out(void **state)
{
    const struct machine_tree *tree = *state;
    size_t count;
    tree_put(tree, "sys/devices/platform/serial8250/uevent", "");
    make_uart(tree, "ttyS0", "4\n", "0x3F8\n", "0x0\n");         /* a 16550A */
    make_uart(tree, "ttyS1", "0\n", "0x2F8\n", "0x0\n");         /* compiled in, nothing there */
    make_uart(tree, "ttyS2", "4\n", "0x0\n", "0x0\n");           /* no resources */
    make_uart(tree, "ttyAMA0", "32\n", "0x0\n", "0xFE201000\n"); /* memory mapped */
    struct serial_port *ports = list(tree, &count);
    assert_int_equal(count, 2);
    assert_string_equal(ports[0].path, "/dev/ttyAMA0");
    assert_string_equal(ports[1].path, "/dev/ttyS0");
    assert_false(ports[1].usb);
    free(ports);
}

static void the_driver_of_a_uart_is_found_behind_the_serial_core(void **state)
{
    const struct machine_tree *tree = *state;
    size_t count;
    tree_put(tree, "sys/devices/pnp0/00:00/00:00:0/00:00:0.0/uevent", "");
    tree_link(tree, "sys/devices/pnp0/00:00/driver", "../../../bus/pnp/drivers/serial");
    tree_link(tree, "sys/devices/pnp0/00:00/00:00:0/subsystem", "../../../../bus/serial-base");
    tree_link(tree, "sys/devices/pnp0/00:00/00:00:0/driver", "../../serial-base/drivers/ctrl");
    tree_link(tree, "sys/devices/pnp0/00:00/00:00:0/00:00:0.0/subsystem",
              "../../../../../bus/serial-base");
    tree_link(tree, "sys/devices/pnp0/00:00/00:00:0/00:00:0.0/driver",
              "../../../serial-base/drivers/port");
    tree_link(tree, "sys/class/tty/ttyS0/device", "%/sys/devices/pnp0/00:00/00:00:0/00:00:0.0");
    struct serial_port *ports = list(tree, &count);
    assert_int_equal(count, 1);
    assert_string_equal(ports[0].driver, "serial");
    free(ports);
}

static void hostile_strings_are_made_printable_and_bounded(void **state)
{
    const struct machine_tree *tree = *state;
    char longest[240];
    size_t count;
    memset(longest, 'A', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    tree_plug_in_mega(tree);
    tree_put(tree, MEGA_USB "/product", "x\033[2J\a\xff\nsecond line");
    tree_put(tree, MEGA_USB "/serial", longest);
    struct serial_port *ports = list(tree, &count);
    assert_int_equal(count, 1);
    assert_string_equal(ports[0].product, "x?[2J??");
    assert_int_equal(strlen(ports[0].serial), sizeof ports[0].serial - 1);
    free(ports);
}

static void the_holder_is_named_by_its_script_and_pid(void **state)
{
    const struct machine_tree *tree = *state;
    size_t count;
    tree_plug_in_mega(tree);
    tree_put(tree, "proc/812/comm", "python\n");
    static const char arguments[] = "/home/pi/env/bin/python\0-u\0/home/pi/klippy/klippy.py\0x";
    tree_put_bytes(tree, "proc/812/cmdline", arguments, sizeof arguments);
    tree_put(tree, "proc/812/cgroup", "0::/system.slice/klipper.service\n");
    tree_link(tree, "proc/812/fd/0", "/dev/null");
    tree_link(tree, "proc/812/fd/7", "/dev/ttyACM0");
    struct serial_port *ports = list(tree, &count);
    assert_string_equal(ports[0].holder, "klippy (pid 812)");
    free(ports);

    struct held node = {.path = "/dev/ttyACM0"};
    host_holders(&tree->host, &node, 1);
    assert_int_equal(node.pid, 812);
    assert_string_equal(node.unit, "klipper.service");
}

static void a_user_session_is_no_service_to_stop(void **state)
{
    const struct machine_tree *tree = *state;
    tree_put(tree, "proc/77/comm", "minicom\n");
    tree_put(tree, "proc/77/cgroup",
             "0::/user.slice/user-1000.slice/user@1000.service/app.scope\n");
    tree_link(tree, "proc/77/fd/3", "/dev/ttyUSB0");
    struct held node = {.path = "/dev/ttyUSB0"};
    host_holders(&tree->host, &node, 1);
    assert_int_equal(node.pid, 77);
    assert_string_equal(node.name, "minicom");
    assert_string_equal(node.unit, "");
}

static void a_running_program_is_found_by_name(void **state)
{
    const struct machine_tree *tree = *state;
    tree_put(tree, "proc/500/comm", "ModemManager\n");
    assert_int_equal(host_running(&tree->host, "ModemManager"), 500);
    assert_int_equal(host_running(&tree->host, "brltty"), 0);
}

static void the_latency_timer_is_lowered_and_put_back(void **state)
{
    const struct machine_tree *tree = *state;
    struct latency latency;
    char text[16];
    tree_plug_in_ftdi(tree, "ttyUSB0", "16\n");
    latency_lower(&latency, &tree->host, "ttyUSB0", -1);
    tree_get(tree, FTDI_USB "/1-2:1.0/ttyUSB0/latency_timer", text, sizeof text);
    assert_string_equal(text, "1");
    latency_restore(&latency, -1);
    tree_get(tree, FTDI_USB "/1-2:1.0/ttyUSB0/latency_timer", text, sizeof text);
    assert_string_equal(text, "16");
}

static void a_low_timer_and_a_port_without_one_are_left_alone(void **state)
{
    const struct machine_tree *tree = *state;
    struct latency latency;
    char text[16];
    tree_plug_in_mega(tree);
    tree_plug_in_ftdi(tree, "ttyUSB0", "1\n");
    latency_lower(&latency, &tree->host, "ttyUSB0", -1);
    tree_put(tree, FTDI_USB "/1-2:1.0/ttyUSB0/latency_timer", "5");
    latency_restore(&latency, -1);
    tree_get(tree, FTDI_USB "/1-2:1.0/ttyUSB0/latency_timer", text, sizeof text);
    assert_string_equal(text, "5");
    latency_lower(&latency, &tree->host, "ttyACM0", -1);
    assert_string_equal(latency.path, "");
    assert_false(latency.flag_set);
}

#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, tree_make, tree_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MACHINE(a_machine_without_ports_has_none),
        ON_MACHINE(a_cdc_acm_board_is_described_in_full),
        ON_MACHINE(a_usb_serial_bridge_without_strings_is_described),
        ON_MACHINE(ports_are_sorted_as_people_count),
        ON_MACHINE(uarts_without_hardware_are_left_out),
        ON_MACHINE(the_driver_of_a_uart_is_found_behind_the_serial_core),
        ON_MACHINE(hostile_strings_are_made_printable_and_bounded),
        ON_MACHINE(the_holder_is_named_by_its_script_and_pid),
        ON_MACHINE(a_user_session_is_no_service_to_stop),
        ON_MACHINE(a_running_program_is_found_by_name),
        ON_MACHINE(the_latency_timer_is_lowered_and_put_back),
        ON_MACHINE(a_low_timer_and_a_port_without_one_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
