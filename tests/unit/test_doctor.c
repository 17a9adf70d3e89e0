/* Findings of the doctor on machines made of a few files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "doctor.h"
#include "machine_tree.h"

static const struct user root = {0, NULL, 0};

static struct finding *examine(const struct machine_tree *tree, const struct user *user,
                               size_t *count)
{
    struct finding *findings;
    struct error err;
    if (doctor(&findings, count, &tree->host, user, &err) != OK)
        fail_msg("%s", err.message);
    return findings;
}

/* The one finding there is, with these words in it. */
static void only_finding(const struct machine_tree *tree, const struct user *user,
                         enum severity severity, const char *what, const char *remedy)
{
    size_t count;
    struct finding *findings = examine(tree, user, &count);
    if (count > 1)
        print_message("also found: %s\n", findings[1].what);
    assert_int_equal(count, 1);
    assert_string_equal(severity_name(findings[0].severity), severity_name(severity));
    assert_string_equal(findings[0].what, what);
    assert_string_equal(findings[0].remedy, remedy);
    free(findings);
}

static void nothing_found(const struct machine_tree *tree, const struct user *user)
{
    size_t count;
    struct finding *findings = examine(tree, user, &count);
    if (count > 0)
        print_message("found: %s\n", findings[0].what);
    assert_int_equal(count, 0);
    free(findings);
}

static void a_healthy_machine_has_no_findings(void **state)
{
    const struct machine_tree *tree = *state;
    tree_plug_in_mega(tree);
    tree_plug_in_ftdi(tree, "ttyUSB0", "1\n");
    nothing_found(tree, &root);
}

/* A node with that mode, in the group of the files this test makes; returns that group. */
static gid_t make_node(const struct machine_tree *tree, const char *name, mode_t mode,
                       const char *group)
{
    char path[HOST_PATH_MAX], line[64];
    struct stat is;
    tree_put(tree, name, "");
    host_path(path, "%s/%s", tree->root, name);
    if (geteuid() == 0)
        assert_int_equal(chown(path, 0, 20), 0);
    assert_int_equal(chmod(path, mode), 0);
    assert_int_equal(stat(path, &is), 0);
    (void)snprintf(line, sizeof line, "root:x:0:\n%s:x:%u:pi\n", group, (unsigned)is.st_gid);
    tree_put(tree, "etc/group", line);
    return is.st_gid;
}

static void a_user_outside_the_group_is_told_the_command(void **state)
{
    const struct machine_tree *tree = *state;
    const struct user stranger = {54321, NULL, 0};
    tree_plug_in_mega(tree);
    gid_t group = make_node(tree, "dev/ttyACM0", 0660, "dialout");
    only_finding(tree, &stranger, SEVERITY_PROBLEM,
                 "you may not open /dev/ttyACM0 (group dialout, mode 0660)",
                 group != 0 ? "sudo usermod -aG dialout $USER, then log in again"
                            : "a udev rule that gives the node to the group dialout, or sudo");
    const struct user member = {54321, &group, 1};
    nothing_found(tree, &member);
    nothing_found(tree, &root);
}

static void a_node_for_its_owner_alone_needs_a_rule(void **state)
{
    const struct machine_tree *tree = *state;
    const struct user stranger = {54321, NULL, 0};
    tree_plug_in_mega(tree);
    make_node(tree, "dev/ttyACM0", 0600, "dialout");
    only_finding(tree, &stranger, SEVERITY_PROBLEM,
                 "you may not open /dev/ttyACM0 (group dialout, mode 0600)",
                 "a udev rule that gives the node to the group dialout, or sudo");
}

static void many_nodes_of_one_group_are_one_finding(void **state)
{
    const struct machine_tree *tree = *state;
    const struct user stranger = {54321, NULL, 0};
    size_t count;
    tree_plug_in_mega(tree);
    tree_plug_in_ftdi(tree, "ttyUSB0", "1\n");
    make_node(tree, "dev/ttyUSB0", 0660, "dialout");
    make_node(tree, "dev/ttyACM0", 0660, "dialout");
    free(examine(tree, &stranger, &count));
    assert_int_equal(count, 1);
}

static void a_held_port_names_the_service_to_stop(void **state)
{
    const struct machine_tree *tree = *state;
    tree_plug_in_mega(tree);
    tree_put(tree, "proc/4312/comm", "octoprint\n");
    tree_put(tree, "proc/4312/cgroup", "0::/system.slice/octoprint.service\n");
    tree_link(tree, "proc/4312/fd/9", "/dev/ttyACM0");
    only_finding(tree, &root, SEVERITY_WARNING, "/dev/ttyACM0 is held by octoprint (pid 4312)",
                 "sudo systemctl stop octoprint.service while you flash");
}

static void modem_manager_matters_unless_udev_ignores_the_port(void **state)
{
    const struct machine_tree *tree = *state;
    tree_put(tree, "proc/600/comm", "ModemManager\n");
    nothing_found(tree, &root); /* no port, nothing to spoil */
    tree_plug_in_mega(tree);
    only_finding(tree, &root, SEVERITY_WARNING,
                 "ModemManager (pid 600) runs and may talk to /dev/ttyACM0, also in the middle of "
                 "a flash",
                 "sudo systemctl disable --now ModemManager, or a udev rule: "
                 "ATTRS{idVendor}==\"2341\", ENV{ID_MM_DEVICE_IGNORE}=\"1\"");
    tree_put(tree, "run/udev/data/c166:0", "S:serial/by-id/x\nE:ID_MM_DEVICE_IGNORE=1\n");
    nothing_found(tree, &root);
}

static void brltty_is_told(void **state)
{
    const struct machine_tree *tree = *state;
    size_t count;
    tree_put(tree, "proc/601/comm", "brltty\n");
    struct finding *findings = examine(tree, &root, &count);
    assert_int_equal(count, 1);
    assert_non_null(strstr(findings[0].what, "brltty (pid 601)"));
    assert_non_null(strstr(findings[0].remedy, "systemctl mask --now brltty"));
    free(findings);
}

static void a_slow_latency_timer_is_a_note(void **state)
{
    const struct machine_tree *tree = *state;
    tree_plug_in_ftdi(tree, "ttyUSB0", "16\n");
    only_finding(tree, &root, SEVERITY_NOTE,
                 "/dev/ttyUSB0 holds every short answer back for 16 ms (FTDI latency timer)",
                 "mflash lowers it while it runs; for good: echo 1 | sudo tee "
                 "/sys/class/tty/ttyUSB0/device/latency_timer");
}

static void autosuspend_is_a_note_unless_its_delay_is_never(void **state)
{
    const struct machine_tree *tree = *state;
    tree_plug_in_mega(tree);
    tree_put(tree, MEGA_USB "/power/control", "auto\n");
    tree_put(tree, MEGA_USB "/power/autosuspend_delay_ms", "2000\n");
    only_finding(tree, &root, SEVERITY_NOTE, "/dev/ttyACM0 may be put to sleep by USB autosuspend",
                 "if it drops out: echo on | sudo tee /sys/bus/usb/devices/1-1.4/power/control");
    tree_put(tree, MEGA_USB "/power/autosuspend_delay_ms", "-1000\n");
    nothing_found(tree, &root);
}

static void an_adapter_without_a_driver_is_a_problem(void **state)
{
    const struct machine_tree *tree = *state;
    tree_put(tree, "sys/bus/usb/devices/1-3/idVendor", "1a86\n");
    tree_put(tree, "sys/bus/usb/devices/1-3:1.0/bInterfaceClass", "ff\n");
    tree_put(tree, "sys/bus/usb/devices/1-4/idVendor", "046d\n"); /* a mouse */
    tree_put(tree, "sys/bus/usb/devices/1-4:1.0/bInterfaceClass", "03\n");
    only_finding(tree, &root, SEVERITY_PROBLEM,
                 "a WCH CH34x serial adapter is plugged in at 1-3, but no driver has taken it",
                 "sudo modprobe ch341; if that does not help, look for brltty or a virtual machine "
                 "that took the device");
    tree_link(tree, "sys/bus/usb/devices/1-3:1.0/driver", "../../drivers/ch341");
    nothing_found(tree, &root);
}

static void a_can_interface_that_is_down_is_told(void **state)
{
    const struct machine_tree *tree = *state;
    tree_put(tree, "sys/class/net/eth0/type", "1\n");
    tree_put(tree, "sys/class/net/eth0/flags", "0x1002\n");
    tree_put(tree, "sys/class/net/can1/type", "280\n");
    tree_put(tree, "sys/class/net/can1/flags", "0x40081\n");
    nothing_found(tree, &root);
    tree_put(tree, "sys/class/net/can0/type", "280\n");
    tree_put(tree, "sys/class/net/can0/flags", "0x40080\n");
    only_finding(tree, &root, SEVERITY_WARNING, "the CAN interface can0 is down",
                 "sudo ip link set can0 up type can bitrate 1000000 (the rate of your nodes)");
}

static void undervoltage_of_a_raspberry_pi_is_told(void **state)
{
    const struct machine_tree *tree = *state;
    tree_put(tree, "sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
    tree_put(tree, "sys/class/hwmon/hwmon1/name", "rpi_volt\n");
    tree_put(tree, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n");
    nothing_found(tree, &root);
    tree_put(tree, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
    only_finding(tree, &root, SEVERITY_WARNING,
                 "this Raspberry Pi gets too little voltage: USB devices may drop out",
                 "a stronger supply or a shorter, thicker cable; power boards on their own");
}

static void the_gravest_comes_first(void **state)
{
    const struct machine_tree *tree = *state;
    size_t count;
    tree_plug_in_ftdi(tree, "ttyUSB0", "16\n");
    tree_put(tree, "proc/601/comm", "brltty\n");
    tree_put(tree, "sys/bus/usb/devices/1-3/idVendor", "1a86\n");
    tree_put(tree, "sys/bus/usb/devices/1-3:1.0/bInterfaceClass", "ff\n");
    struct finding *findings = examine(tree, &root, &count);
    assert_int_equal(count, 3);
    assert_int_equal(findings[0].severity, SEVERITY_PROBLEM);
    assert_int_equal(findings[1].severity, SEVERITY_WARNING);
    assert_int_equal(findings[2].severity, SEVERITY_NOTE);
    free(findings);
}

static void findings_are_bounded_however_much_is_plugged_in(void **state)
{
    const struct machine_tree *tree = *state;
    char name[128];
    size_t count;
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "sys/class/net/can%d/type", i);
        tree_put(tree, name, "280\n");
        (void)snprintf(name, sizeof name, "sys/class/net/can%d/flags", i);
        tree_put(tree, name, "0x80\n");
    }
    struct finding *findings = examine(tree, &root, &count);
    assert_true(count >= 100 && count < 300);
    for (size_t i = 0; i < count; i++)
        assert_true(findings[i].what[0] != '\0' && findings[i].remedy[0] != '\0');
    free(findings);
}

static void this_machine_can_be_examined(void **state)
{
    (void)state;
    struct finding *findings;
    size_t count;
    assert_int_equal(doctor(&findings, &count, NULL, NULL, NULL), OK);
    free(findings);
}

#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, tree_make, tree_remove)

static void a_loader_on_usb_that_belongs_to_root_is_told_with_its_remedy(void **state)
{
    const struct machine_tree *tree = *state;
    const gid_t none[] = {12345};
    const struct user pi = {54321, none, 1};
    tree_put(tree, "sys/devices/usb1/1-4/idVendor", "1209\n");
    tree_put(tree, "sys/devices/usb1/1-4/idProduct", "beba\n");
    tree_put(tree, "sys/devices/usb1/1-4/busnum", "1\n");
    tree_put(tree, "sys/devices/usb1/1-4/devnum", "9\n");
    tree_link(tree, "sys/bus/usb/devices/1-4", "%/sys/devices/usb1/1-4");
    (void)make_node(tree, "dev/bus/usb/001/009", 0664, "root");
    only_finding(tree, &pi, SEVERITY_PROBLEM,
                 "you may not open the bootloader at 1-4 (1209:beba, mode 0664)",
                 "`sudo make install` puts mflash's udev rules in place; then plug the board in "
                 "again");
    nothing_found(tree, &root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MACHINE(a_healthy_machine_has_no_findings),
        ON_MACHINE(a_user_outside_the_group_is_told_the_command),
        ON_MACHINE(a_node_for_its_owner_alone_needs_a_rule),
        ON_MACHINE(many_nodes_of_one_group_are_one_finding),
        ON_MACHINE(a_loader_on_usb_that_belongs_to_root_is_told_with_its_remedy),
        ON_MACHINE(a_held_port_names_the_service_to_stop),
        ON_MACHINE(modem_manager_matters_unless_udev_ignores_the_port),
        ON_MACHINE(brltty_is_told),
        ON_MACHINE(a_slow_latency_timer_is_a_note),
        ON_MACHINE(autosuspend_is_a_note_unless_its_delay_is_never),
        ON_MACHINE(an_adapter_without_a_driver_is_a_problem),
        ON_MACHINE(a_can_interface_that_is_down_is_told),
        ON_MACHINE(undervoltage_of_a_raspberry_pi_is_told),
        ON_MACHINE(the_gravest_comes_first),
        ON_MACHINE(findings_are_bounded_however_much_is_plugged_in),
        cmocka_unit_test(this_machine_can_be_examined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
