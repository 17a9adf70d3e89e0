/* What this machine knows of its CAN interfaces: sysfs, netlink, /proc, and the advice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/can/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "link/can_backend.h"
#include "machine_tree.h"

#define NET "sys/class/net/"

static void plug_in(const struct machine_tree *tree, const char *name, const char *flags)
{
    char path[128];
    const char *const files[][2] = {{"type", "280\n"},
                                    {"flags", flags},
                                    {"tx_queue_len", "10\n"},
                                    {"statistics/rx_packets", "123\n"},
                                    {"statistics/tx_packets", "45\n"}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        (void)snprintf(path, sizeof path, NET "%s/%s", name, files[i][0]);
        tree_put(tree, path, files[i][1]);
    }
}

/* ---- sysfs ---- */

static void interface_is_read_from_sysfs(void **state)
{
    const struct machine_tree *tree = *state;
    struct can_status status;
    plug_in(tree, "can0", "0x40081\n");
    tree_put(tree, "sys/bus/usb/x", "");
    tree_link(tree, NET "can0/device/subsystem", "%/sys/bus/usb");
    assert_int_equal(can_status_on(&tree->host, &status, "can0", NULL), OK);
    assert_string_equal(status.name, "can0");
    assert_true(status.up && status.physical);
    assert_int_equal(status.queue, 10);
    assert_int_equal(status.received, 123);
    assert_int_equal(status.sent, 45);
    assert_int_equal(status.state, CAN_BUS_UNKNOWN);
}

static void virtual_interface_that_is_down_is_neither_up_nor_physical(void **state)
{
    const struct machine_tree *tree = *state;
    struct can_status status;
    plug_in(tree, "vcan0", "0x80\n");
    assert_int_equal(can_status_on(&tree->host, &status, "vcan0", NULL), OK);
    assert_false(status.up || status.physical);
}

static void interfaces_are_those_of_can_sorted_by_name(void **state)
{
    const struct machine_tree *tree = *state;
    struct can_status list[4];
    plug_in(tree, "can1", "0x1\n");
    plug_in(tree, "can0", "0x0\n");
    tree_put(tree, NET "eth0/type", "1\n");
    assert_int_equal(can_interfaces_on(&tree->host, list, 4), 2);
    assert_string_equal(list[0].name, "can0");
    assert_string_equal(list[1].name, "can1");
    assert_int_equal(can_interfaces_on(&tree->host, list, 1), 1);
}

static void missing_interface_names_those_there_are(void **state)
{
    const struct machine_tree *tree = *state;
    struct can_status status;
    struct error err;
    assert_int_equal(can_status_on(&tree->host, &status, "can0", &err), ERR_NO_DEVICE);
    assert_non_null(strstr(err.message, "no CAN interface"));
    assert_non_null(strstr(err.hint, "gs_usb"));
    plug_in(tree, "can1", "0x1\n");
    tree_put(tree, NET "eth0/type", "1\n");
    assert_int_equal(can_status_on(&tree->host, &status, "eth0", &err), ERR_NO_DEVICE);
    assert_non_null(strstr(err.message, "there is can1"));
    const char *const odd[] = {"", "..", "../net/can1", "can1/",
                               "an-interface-of-too-many-letters"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_int_equal(can_status_on(&tree->host, &status, odd[i], &err), ERR_NO_DEVICE);
}

static void open_of_what_is_not_there_is_no_device(void **state)
{
    (void)state;
    struct can *can;
    struct error err;
    assert_int_equal(can_open(&can, "no-such-can", NULL, &err), ERR_NO_DEVICE);
    assert_null(can);
}

/* ---- netlink ---- */

struct attributes {
    _Alignas(8) uint8_t bytes[512];
    size_t used;
};

static size_t begin(struct attributes *to, unsigned short type)
{
    size_t at = to->used;
    struct rtattr head = {.rta_len = sizeof head, .rta_type = type};
    memcpy(to->bytes + at, &head, sizeof head);
    to->used += sizeof head;
    return at;
}

static void end(struct attributes *to, size_t at)
{
    struct rtattr head;
    memcpy(&head, to->bytes + at, sizeof head);
    head.rta_len = (unsigned short)(to->used - at);
    memcpy(to->bytes + at, &head, sizeof head);
    while (to->used % RTA_ALIGNTO)
        to->bytes[to->used++] = 0;
}

static void put(struct attributes *to, unsigned short type, const void *value, size_t size)
{
    size_t at = begin(to, type);
    memcpy(to->bytes + to->used, value, size);
    to->used += size;
    end(to, at);
}

static void put_number(struct attributes *to, unsigned short type, uint32_t value)
{
    put(to, type, &value, sizeof value);
}

/* As the kernel answers for a gs_usb adapter at 500 kbit/s that is error-passive. */
static struct attributes answer_of(const char *kind)
{
    struct attributes all = {.used = 0};
    const struct can_bittiming timing = {.bitrate = 500000, .sample_point = 875};
    const struct can_berr_counter errors = {.txerr = 128, .rxerr = 3};
    put(&all, IFLA_IFNAME, "can0", 5);
    size_t info = begin(&all, IFLA_LINKINFO | NLA_F_NESTED);
    put(&all, IFLA_INFO_KIND, kind, strlen(kind) + 1);
    size_t data = begin(&all, IFLA_INFO_DATA);
    put(&all, IFLA_CAN_BITTIMING, &timing, sizeof timing);
    put_number(&all, IFLA_CAN_STATE, CAN_STATE_ERROR_PASSIVE);
    put_number(&all, IFLA_CAN_RESTART_MS, 100);
    put(&all, IFLA_CAN_BERR_COUNTER, &errors, sizeof errors);
    end(&all, data);
    end(&all, info);
    return all;
}

static void kernel_tells_rate_state_and_counters(void **state)
{
    (void)state;
    struct can_status status = {0};
    const struct attributes all = answer_of("can");
    can_link_decode(&status, all.bytes, all.used);
    assert_true(status.physical);
    assert_int_equal(status.bitrate, 500000);
    assert_int_equal(status.state, CAN_BUS_PASSIVE);
    assert_int_equal(status.restart_ms, 100);
    assert_int_equal(status.tx_errors, 128);
    assert_int_equal(status.rx_errors, 3);
}

static void what_is_not_of_the_can_kind_is_virtual(void **state)
{
    (void)state;
    const char *const kinds[] = {"vcan", "vxcan", "candy", "ca"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct can_status status = {.physical = true};
        const struct attributes all = answer_of(kinds[i]);
        can_link_decode(&status, all.bytes, all.used);
        assert_false(status.physical);
        assert_int_equal(status.bitrate, 0);
    }
}

/* An answer may be cut anywhere, and its lengths may lie: nothing is read behind its end (the
 * sanitizers look), and nothing hangs. */
static void broken_answer_does_no_harm(void **state)
{
    (void)state;
    struct can_status status = {0};
    const struct attributes whole = answer_of("can");
    for (size_t length = 0; length <= whole.used; length++) {
        uint8_t *cut = test_malloc(length + 1);
        memcpy(cut, whole.bytes, length);
        can_link_decode(&status, cut, length);
        test_free(cut);
    }
    for (size_t at = 0; at + 1 < whole.used; at++) {
        const uint8_t lies[] = {0, 1, 3, 0x7f, 0xff};
        for (size_t i = 0; i < sizeof lies; i++) {
            uint8_t *broken = test_malloc(whole.used);
            memcpy(broken, whole.bytes, whole.used);
            broken[at] = lies[i];
            can_link_decode(&status, broken, whole.used);
            test_free(broken);
        }
    }
}

static void this_machine_has_no_rate_for_its_loopback(void **state)
{
    (void)state;
    struct can_status status = {.name = "lo"};
    assert_true(can_link_ask(&status));
    assert_int_equal(status.bitrate, 0);
    (void)snprintf(status.name, sizeof status.name, "no-such-can");
    assert_false(can_link_ask(&status));
}

/* ---- advice ---- */

static const struct can_status healthy = {
    .name = "can0",
    .up = true,
    .physical = true,
    .bitrate = 500000,
    .state = CAN_BUS_ACTIVE,
    .restart_ms = 100,
    .queue = 128,
};

static void expect_advice(struct can_status status, const char *first, const char *second)
{
    char text[512];
    assert_true(can_advice(&status, text, sizeof text));
    assert_non_null(strstr(text, first));
    assert_non_null(strstr(text, second));
}

static void healthy_bus_gets_no_advice(void **state)
{
    (void)state;
    char text[512];
    assert_false(can_advice(&healthy, text, sizeof text));
    assert_string_equal(text, "");
    struct can_status other = healthy;
    other.state = CAN_BUS_WARNING;
    assert_false(can_advice(&other, text, sizeof text));
    other = (struct can_status){.name = "vcan0", .up = true};
    assert_false(can_advice(&other, text, sizeof text));
}

static void each_trouble_has_its_sentence_and_its_command(void **state)
{
    (void)state;
    struct can_status status = healthy;
    status.up = false;
    expect_advice(status, "can0 is down",
                  "`sudo ip link set can0 up type can bitrate 500000 restart-ms 100`");
    status.bitrate = 0;
    expect_advice(status, "bitrate BITRATE", "rate that the nodes' firmware has");
    status.physical = false;
    expect_advice(status, "can0 is down", "`sudo ip link set can0 up`");
    status = healthy;
    status.state = CAN_BUS_OFF;
    expect_advice(status, "can0 is BUS-OFF", "`sudo ip link set can0 down`");
    status.state = CAN_BUS_PASSIVE;
    status.tx_errors = 128;
    expect_advice(status, "can0 is ERROR-PASSIVE (error counters: 128 sending", "60 ohm");
    status.state = CAN_BUS_WARNING;
    expect_advice(status, "can0 is ERROR-WARNING", "bit rate");
    status = healthy;
    status.restart_ms = 0;
    expect_advice(status, "does not recover", "restart-ms 100");
    status = healthy;
    status.queue = 10;
    expect_advice(status, "queues 10 frames", "txqueuelen 128");
}

/* slcan on older kernels tells neither rate nor state: not known is not wrong. */
static void adapter_that_does_not_tell_is_not_blamed(void **state)
{
    (void)state;
    char text[512];
    struct can_status slcan = {.name = "slcan0", .up = true, .physical = true, .queue = 128};
    assert_false(can_advice(&slcan, text, sizeof text));
    slcan.line = slcan.restarts_itself = true; /* newer ones tell, and cannot restart */
    slcan.bitrate = 500000;
    slcan.state = CAN_BUS_ACTIVE;
    assert_false(can_advice(&slcan, text, sizeof text));
}

/* gs_usb refuses the whole command if restart-ms is in it. */
static void driver_that_knows_no_restart_is_not_told_of_one(void **state)
{
    const struct machine_tree *tree = *state;
    struct can_status status;
    struct error err;
    char text[512];
    plug_in(tree, "can3", "0x40080");
    tree_put(tree, "sys/bus/usb/drivers/gs_usb/x", "");
    tree_link(tree, NET "can3/device/subsystem", "%/sys/bus/usb");
    assert_int_equal(can_status_on(&tree->host, &status, "can3", &err), OK);
    assert_false(status.restarts_itself);
    tree_link(tree, NET "can3/device/driver", "%/sys/bus/usb/drivers/gs_usb");
    assert_int_equal(can_status_on(&tree->host, &status, "can3", &err), OK);
    assert_true(status.restarts_itself);
    assert_true(can_advice(&status, text, sizeof text));
    assert_non_null(strstr(text, "bitrate BITRATE`"));
    status.up = true;
    status.state = CAN_BUS_ACTIVE;
    status.queue = 128;
    assert_false(can_advice(&status, text, sizeof text));
}

static void interface_that_is_down_says_how_to_take_it_up(void **state)
{
    (void)state;
    struct can_status status = healthy;
    struct error err;
    status.up = false;
    assert_int_equal(can_interface_down(&status, &err), ERR_FAILED);
    assert_non_null(strstr(err.message, "opening can0"));
    assert_non_null(strstr(err.hint, "ip link set can0 up"));
}

/* ---- rights and holders ---- */

static void right_to_configure_is_a_capability(void **state)
{
    const struct machine_tree *tree = *state;
    assert_false(can_may_configure(&tree->host));
    tree_put(tree, "proc/self/status",
             "Name:\tmflash\nCapPrm:\tffffffff\nCapEff:\t0000000000000000\n");
    assert_false(can_may_configure(&tree->host));
    tree_put(tree, "proc/self/status", "Name:\tmflash\nCapEff:\t0000000000001000\n");
    assert_true(can_may_configure(&tree->host));
    tree_put(tree, "proc/self/status", "Name:\tmflash\nCapEff:\t000001ffffffefff\n");
    assert_false(can_may_configure(&tree->host));
}

static bool any_socket(const char *path, const char *process)
{
    (void)path;
    return strcmp(process, "candump") != 0;
}

static bool no_socket(const char *path, const char *process)
{
    (void)path, (void)process;
    return false;
}

#define LIST_HEAD "\nreceive list 'rx_fil':\n  device   can_id   can_mask  function  userdata  "
#define KLIPPY    "   can0      109    000007ff  0000000000000000  0000000000000000  12  raw\n"
#define GATEWAY   "   can0      109    000007ff  0000000000000000  0000000000000000  12  gw\n"

static void process_that_receives_is_named(void **state)
{
    const struct machine_tree *tree = *state;
    char text[128];
    assert_false(can_holder_on(&tree->host, "can0", any_socket, text, sizeof text));
    tree_put(tree, "proc/net/can/rcvlist_fil", LIST_HEAD "matches  ident\n" KLIPPY);
    assert_true(can_holder_on(&tree->host, "can0", no_socket, text, sizeof text));
    assert_string_equal(text, "another process");
    tree_put(tree, "proc/700/comm", "candump\n");
    tree_link(tree, "proc/700/fd/3", "socket:[70]");
    tree_put(tree, "proc/812/comm", "python3\n");
    tree_put_bytes(tree, "proc/812/cmdline", "python3\0/home/pi/klipper/klippy/klippy.py\0", 42);
    tree_link(tree, "proc/812/fd/5", "socket:[81]");
    assert_true(can_holder_on(&tree->host, "can0", any_socket, text, sizeof text));
    assert_string_equal(text, "klippy (pid 812)");
    assert_false(can_holder_on(&tree->host, "can1", any_socket, text, sizeof text));
}

static void socket_on_any_interface_counts_and_a_gateway_does_not(void **state)
{
    const struct machine_tree *tree = *state;
    char text[128];
    tree_put(tree, "proc/net/can/rcvlist_sff", GATEWAY);
    assert_false(can_holder_on(&tree->host, "can0", no_socket, text, sizeof text));
    tree_put(tree, "proc/net/can/rcvlist_fil", "   any   3f1  000007ff  0  0  0  raw\n");
    assert_true(can_holder_on(&tree->host, "can0", no_socket, text, sizeof text));
}

/* candump looks on; that is no reason to leave a bus alone. */
static void who_receives_everything_holds_nothing(void **state)
{
    const struct machine_tree *tree = *state;
    char text[128];
    tree_put(tree, "proc/net/can/rcvlist_all", "   can0  000  00000000  0  0  0  raw\n");
    assert_false(can_holder_on(&tree->host, "can0", no_socket, text, sizeof text));
}

int main(void)
{
#define on_tree(test) cmocka_unit_test_setup_teardown(test, tree_make, tree_remove)
    const struct CMUnitTest tests[] = {
        on_tree(interface_is_read_from_sysfs),
        on_tree(virtual_interface_that_is_down_is_neither_up_nor_physical),
        on_tree(interfaces_are_those_of_can_sorted_by_name),
        on_tree(missing_interface_names_those_there_are),
        cmocka_unit_test(open_of_what_is_not_there_is_no_device),
        cmocka_unit_test(kernel_tells_rate_state_and_counters),
        cmocka_unit_test(what_is_not_of_the_can_kind_is_virtual),
        cmocka_unit_test(broken_answer_does_no_harm),
        cmocka_unit_test(this_machine_has_no_rate_for_its_loopback),
        cmocka_unit_test(healthy_bus_gets_no_advice),
        cmocka_unit_test(each_trouble_has_its_sentence_and_its_command),
        cmocka_unit_test(adapter_that_does_not_tell_is_not_blamed),
        on_tree(driver_that_knows_no_restart_is_not_told_of_one),
        cmocka_unit_test(interface_that_is_down_says_how_to_take_it_up),
        on_tree(right_to_configure_is_a_capability),
        on_tree(process_that_receives_is_named),
        on_tree(socket_on_any_interface_counts_and_a_gateway_does_not),
        on_tree(who_receives_everything_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
