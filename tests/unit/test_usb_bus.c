/* USB devices of a machine made of a few files, and waiting for them to come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/usb.h"
#include "machine_tree.h"

#define DFU_USB "sys/devices/pci0000:00/0000:00:14.0/usb1/1-10"

static void plug_in_dfu(const struct machine_tree *tree)
{
    tree_put(tree, DFU_USB "/idVendor", "0483\n");
    tree_put(tree, DFU_USB "/idProduct", "df11\n");
    tree_put(tree, DFU_USB "/bcdDevice", "2200\n");
    tree_put(tree, DFU_USB "/bDeviceClass", "00\n");
    tree_put(tree, DFU_USB "/busnum", "1\n");
    tree_put(tree, DFU_USB "/devnum", "23\n");
    tree_put(tree, DFU_USB "/product", "STM32  BOOTLOADER\n");
    tree_put(tree, DFU_USB "/serial", "387E365D\x01\n");
    tree_put(tree, DFU_USB "/1-10:1.0/bInterfaceNumber", "00\n");
    tree_put(tree, DFU_USB "/1-10:1.0/bInterfaceClass", "fe\n");
    tree_put(tree, DFU_USB "/1-10:1.0/bInterfaceSubClass", "01\n");
    tree_put(tree, DFU_USB "/1-10:1.0/bInterfaceProtocol", "02\n");
    tree_link(tree, "sys/bus/usb/devices/1-10", "%/" DFU_USB);
    tree_link(tree, "sys/bus/usb/devices/1-10:1.0", "%/" DFU_USB "/1-10:1.0");
}

static void plug_in_hubs(const struct machine_tree *tree)
{
    tree_put(tree, "sys/devices/usb1/idVendor", "1d6b\n");
    tree_put(tree, "sys/devices/usb1/bDeviceClass", "09\n");
    tree_link(tree, "sys/bus/usb/devices/usb1", "%/sys/devices/usb1");
    tree_put(tree, "sys/devices/usb1/1-1/idVendor", "05e3\n");
    tree_put(tree, "sys/devices/usb1/1-1/bDeviceClass", "09\n");
    tree_link(tree, "sys/bus/usb/devices/1-1", "%/sys/devices/usb1/1-1");
}

static void list(const struct machine_tree *tree, struct usb_device **devices, size_t *count)
{
    struct error err;
    assert_int_equal(usb_devices(devices, count, &tree->host, &err), OK);
    assert_int_equal(usb_holders(*devices, *count, &tree->host, &err), OK);
}

static void devices_are_listed_by_bus_path_without_hubs(void **state)
{
    const struct machine_tree *tree = *state;
    struct usb_device *devices;
    size_t count;
    plug_in_hubs(tree);
    plug_in_dfu(tree);
    tree_plug_in_mega(tree);
    list(tree, &devices, &count);
    assert_int_equal(count, 2);
    assert_string_equal(devices[0].name, "1-1.4");
    assert_int_equal(devices[0].interface_count, 1);
    assert_string_equal(devices[0].interfaces[0].driver, "cdc_acm");
    assert_string_equal(devices[1].bus_path, "1-10");
    assert_int_equal(devices[1].vid, 0x0483);
    assert_int_equal(devices[1].pid, 0xdf11);
    assert_int_equal(devices[1].bcd, 0x2200);
    assert_int_equal(devices[1].bus, 1);
    assert_int_equal(devices[1].address, 23);
    assert_string_equal(devices[1].product, "STM32  BOOTLOADER");
    assert_string_equal(devices[1].serial, "387E365D?");
    assert_int_equal(devices[1].interfaces[0].class, 0xfe);
    assert_int_equal(devices[1].interfaces[0].protocol, 2);
    assert_string_equal(devices[1].interfaces[0].driver, "");
    assert_string_equal(devices[1].holder, "");
    free(devices);
}

static void a_program_that_has_the_node_open_is_named(void **state)
{
    const struct machine_tree *tree = *state;
    struct usb_device *devices;
    size_t count;
    plug_in_dfu(tree);
    tree_put(tree, "proc/812/comm", "dfu-util\n");
    tree_link(tree, "proc/812/fd/7", "/dev/bus/usb/001/023");
    list(tree, &devices, &count);
    assert_int_equal(count, 1);
    assert_string_equal(devices[0].holder, "dfu-util (pid 812)");
    free(devices);
}

static void interfaces_are_in_order_and_no_more_than_there_is_room_for(void **state)
{
    const struct machine_tree *tree = *state;
    char name[HOST_PATH_MAX], number[8];
    struct usb_device *devices;
    size_t count;
    plug_in_dfu(tree);
    for (unsigned i = 1; i < 40; i++) {
        host_path(name, DFU_USB "/1-10:1.%u/bInterfaceNumber", i);
        (void)snprintf(number, sizeof number, "%02x\n", i);
        tree_put(tree, name, number);
    }
    list(tree, &devices, &count);
    assert_int_equal(devices[0].interface_count, USB_INTERFACES_MAX);
    for (size_t i = 1; i < USB_INTERFACES_MAX; i++)
        assert_true(devices[0].interfaces[i - 1].number < devices[0].interfaces[i].number);
    free(devices);
}

static void a_device_that_leaves_meanwhile_is_left_out(void **state)
{
    const struct machine_tree *tree = *state;
    struct usb_device *devices;
    size_t count;
    plug_in_dfu(tree);
    tree_link(tree, "sys/bus/usb/devices/1-4", "%/sys/devices/gone");
    list(tree, &devices, &count);
    assert_int_equal(count, 1);
    free(devices);
}

static void a_machine_without_usb_has_no_devices(void **state)
{
    const struct machine_tree *tree = *state;
    struct usb_device *devices;
    size_t count;
    list(tree, &devices, &count);
    assert_int_equal(count, 0);
    free(devices);
}

/* ---- watching ---- */

static void a_wait_for_usbip_is_short(void **state)
{
    (void)state;
    struct clock *clock = clock_monotonic();
    struct usb_watch *watch = usb_watch_open("usbip:127.0.0.1/1-1");
    uint64_t start = clock_now(clock);
    usb_watch_wait(watch, start + 5 * SECOND);
    uint64_t took = clock_now(clock) - start;
    assert_true(took >= 20 * MILLISECOND && took < 1 * SECOND);
    usb_watch_close(watch);
    usb_watch_close(NULL);
}

static void no_wait_is_longer_than_its_deadline(void **state)
{
    (void)state;
    struct clock *clock = clock_monotonic();
    const char *const names[] = {"1-1.4", "/dev/ttyACM0", "usbip:127.0.0.1/1-1", NULL};
    for (size_t i = 0; i < 3; i++) {
        struct usb_watch *watch = usb_watch_open(names[i]);
        usb_watch_wait(watch, clock_in(clock, 3 * MILLISECOND));
        uint64_t start = clock_now(clock);
        usb_watch_wait(watch, start); /* an event of the machine may have come */
        usb_watch_wait(watch, start);
        assert_true(clock_now(clock) - start < 15 * MILLISECOND);
        usb_watch_close(watch);
    }
}

static void an_event_ends_the_wait(void **state)
{
    (void)state;
    struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_groups = 2};
    struct clock *clock = clock_monotonic();
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    struct usb_watch *watch = usb_watch_open("1-1.4");
    /* Only root may send, as udev does. */
    if (fd < 0 || sendto(fd, "libudev", 8, 0, (struct sockaddr *)&to, sizeof to) != 8)
        skip();
    uint64_t start = clock_now(clock);
    usb_watch_wait(watch, start + 5 * SECOND);
    assert_true(clock_now(clock) - start < 100 * MILLISECOND);
    start = clock_now(clock);
    usb_watch_wait(watch, start + 60 * MILLISECOND); /* it is used up */
    assert_true(clock_now(clock) - start >= 60 * MILLISECOND);
    usb_watch_close(watch);
    (void)close(fd);
}

#define ON_A_MACHINE(test) cmocka_unit_test_setup_teardown(test, tree_make, tree_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_A_MACHINE(devices_are_listed_by_bus_path_without_hubs),
        ON_A_MACHINE(a_program_that_has_the_node_open_is_named),
        ON_A_MACHINE(interfaces_are_in_order_and_no_more_than_there_is_room_for),
        ON_A_MACHINE(a_device_that_leaves_meanwhile_is_left_out),
        ON_A_MACHINE(a_machine_without_usb_has_no_devices),
        cmocka_unit_test(a_wait_for_usbip_is_short),
        cmocka_unit_test(no_wait_is_longer_than_its_deadline),
        cmocka_unit_test(an_event_ends_the_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
