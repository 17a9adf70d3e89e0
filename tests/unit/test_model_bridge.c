/* The virtual USB-to-CAN bridge against what Klipper's bridge and Linux's gs_usb driver agree on.
 */
#include "bridge_bench.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "klipper/can.h"

enum {
    BRIDGE = 0x606f,
    KATAPULT = 0x6177,
    KLIPPER = 0x614e,
    VENDOR_OUT = 0x41,
    VENDOR_IN = 0xc1,
    CDC_OUT_ENDPOINT = 0x02,
    CDC_IN_ENDPOINT = 0x81,
};

static struct bridge_bench *running(void)
{
    struct bridge_bench *bench = bridge_bench_new(BRIDGE_CONFIG, NULL);
    assert_int_equal(bridge_bench_open(bench), BRIDGE);
    return bench;
}

/* An admin frame with a UUID behind its first byte. */
static void commands(struct bridge_bench *bench, uint8_t command, const uint8_t *uuid, int node)
{
    char hex[48];
    int used = snprintf(hex, sizeof hex, "%02x", command);
    for (size_t i = 0; i < CAN_UUID; i++)
        used += snprintf(hex + used, sizeof hex - (size_t)used, " %02x", uuid[i]);
    if (node >= 0)
        (void)snprintf(hex + used, sizeof hex - (size_t)used, " %02x", node);
    bridge_says(bench, 0, 0x3f0, hex);
}

static bool is_gone(struct bridge_bench *bench, uint64_t microseconds)
{
    unsigned lost = virtual_usb_bus(bench->usb)->lost;
    bridge_bench_wait(bench, microseconds);
    return virtual_usb_bus(bench->usb)->lost != lost;
}

/* ---- what it is ---- */

static void it_has_the_descriptors_of_klippers_bridge(void **state)
{
    (void)state;
    static const uint8_t device[] = {18,   1,    0x00, 0x02, 0, 0, 0, 16, 0x50,
                                     0x1d, 0x6f, 0x60, 0,    0, 1, 2, 3,  1};
    static const uint8_t configuration[] = {9,  2, 32, 0,   1,   1,    0, 0xc0, 50, 9, 4,
                                            0,  0, 2,  255, 255, 255,  0, 7,    5,  2, 2,
                                            64, 0, 0,  7,   5,   0x81, 2, 64,   0,  0};
    char text[USB_TEXT_MAX];
    struct bridge_bench *bench = running();
    assert_memory_equal(bench->usb->device_descriptor, device, sizeof device);
    assert_int_equal(bench->usb->configuration_length, sizeof configuration);
    assert_memory_equal(bench->usb->configuration, configuration, sizeof configuration);
    assert_true(usb_string(bench->usb, 1, text, sizeof text));
    assert_string_equal(text, "Klipper");
    assert_true(usb_string(bench->usb, 2, text, sizeof text));
    assert_string_equal(text, "stm32f446xx");
    bridge_bench_free(bench);
}

/* As the driver asks when the device comes and when the interface is taken up. */
static void it_answers_what_the_driver_asks(void **state)
{
    (void)state;
    static const uint8_t config[] = {0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0};
    struct bridge_bench *bench = running();
    uint8_t bytes[64] = {0xef, 0xbe, 0, 0};
    assert_int_equal(bridge_asks(bench, VENDOR_OUT, 0, bytes, 4), 4);
    assert_int_equal(bridge_asks(bench, VENDOR_IN, 5, bytes, 12), 12);
    assert_memory_equal(bytes, config, sizeof config);
    assert_int_equal(bridge_asks(bench, VENDOR_IN, 4, bytes, 40), 40);
    assert_int_equal(get_le32(bytes), 0);
    assert_int_equal(get_le32(bytes + 4), 48000000);
    assert_int_equal(get_le32(bytes + 12), 16);
    assert_int_equal(get_le32(bytes + 32), 1024);
    assert_int_equal(bridge_asks(bench, VENDOR_OUT, 1, bytes, 20), 20);
    assert_int_equal(bridge_asks(bench, VENDOR_OUT, 2, bytes, 8), 8);
    bridge_bench_free(bench);
}

static void it_refuses_what_klipper_does_not_know(void **state)
{
    (void)state;
    static const struct {
        uint8_t type, request;
        uint16_t length;
    } refused[] = {
        {VENDOR_OUT, 3, 4},  /* bus errors */
        {VENDOR_IN, 6, 4},   /* the time */
        {VENDOR_OUT, 2, 4},  /* half a mode */
        {VENDOR_OUT, 1, 32}, /* bit timing with more */
        {0x21, 0x22, 0},     /* it is no serial port */
    };
    struct bridge_bench *bench = running();
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        uint8_t bytes[64] = {0};
        assert_int_equal(
            bridge_asks(bench, refused[i].type, refused[i].request, bytes, refused[i].length),
            ERR_STALL);
    }
    bridge_bench_free(bench);
}

/* ---- frames ---- */

static void a_frame_of_the_host_comes_back_as_it_was(void **state)
{
    (void)state;
    struct bridge_bench *bench = running();
    uint8_t bytes[GS_FRAME];
    bridge_says(bench, 7, 0x123, "01 02 03 04 05");
    assert_true(bridge_hears(bench, bytes));
    static const uint8_t echo[GS_FRAME] = {7, 0, 0, 0, 0x23, 1, 0, 0, 5, 0, 0, 0, 1, 2, 3, 4, 5};
    assert_memory_equal(bytes, echo, sizeof echo);
    assert_false(bridge_hears(bench, bytes));
    bridge_bench_free(bench);
}

static void its_node_tells_the_uuid_that_the_serial_number_spells(void **state)
{
    (void)state;
    struct bridge_bench *bench = running();
    uint8_t bytes[GS_FRAME];
    bridge_says(bench, 1, 0x3f0, "00");
    assert_true(bridge_hears(bench, bytes));
    assert_int_equal(get_le32(bytes), 1);
    assert_true(bridge_hears(bench, bytes));
    assert_int_equal(get_le32(bytes), UINT32_MAX);
    assert_int_equal(get_le32(bytes + 4), 0x3f1);
    assert_int_equal(bytes[8], 8);
    assert_int_equal(bytes[12], 0x20);
    assert_memory_equal(bytes + 13, bench->uuid, CAN_UUID);
    assert_int_equal(bytes[19], 0x01);
    bridge_bench_free(bench);
}

static void what_is_not_fetched_holds_the_host_up(void **state)
{
    (void)state;
    struct bridge_bench *bench = running();
    uint8_t bytes[GS_FRAME] = {0};
    for (uint8_t i = 0; i < GS_ECHOES; i++)
        bridge_says(bench, i, 0x123, "00");
    assert_int_equal(usb_out(bench->usb, GS_OUT, bytes, sizeof bytes,
                             clock_in(bench->usb->clock, SECOND), &bench->err),
                     ERR_NO_ANSWER);
    for (uint8_t i = 0; i < GS_ECHOES; i++) {
        assert_true(bridge_hears(bench, bytes));
        assert_int_equal(bytes[0], i);
    }
    bridge_says(bench, 9, 0x123, "00");
    assert_true(bridge_hears(bench, bytes));
    bridge_bench_free(bench);
}

static void a_new_configuration_forgets_what_waited(void **state)
{
    (void)state;
    struct bridge_bench *bench = running();
    uint8_t bytes[GS_FRAME];
    bridge_says(bench, 1, 0x3f0, "00");
    bridge_bench_wait(bench, 10 * MILLISECOND);
    assert_int_equal(bridge_bench_open(bench), BRIDGE);
    assert_false(bridge_hears(bench, bytes));
    bridge_says(bench, 2, 0x3f0, "00"); /* and the node's mailboxes are free */
    assert_true(bridge_hears(bench, bytes));
    assert_true(bridge_hears(bench, bytes));
    assert_int_equal(get_le32(bytes + 4), 0x3f1);
    bridge_bench_free(bench);
}

/* ---- what runs ---- */

/* mflash's client asks, and restarts it afterwards: the adapter goes along. */
static void klipper_tells_its_dictionary_and_restarts_as_itself(void **state)
{
    (void)state;
    struct bridge_bench *bench = running();
    struct klipper_facts facts;
    struct can *can = bridge_can(bench);
    assert_int_equal(can_klipper_identify(can, bench->uuid, &facts, &bench->err), OK);
    assert_true(facts.can_bridge);
    assert_int_equal(facts.can_bitrate, 1000000);
    assert_int_equal(virtual_usb_bus(bench->usb)->lost, 1);
    can_close(can);
    assert_int_equal(bridge_bench_open(bench), BRIDGE);
    bridge_bench_free(bench);
}

static void asked_for_its_bootloader_it_comes_back_as_katapult(void **state)
{
    (void)state;
    struct bridge_bench *bench = running();
    bridge_bench_wait(bench, 10 * SECOND);
    commands(bench, 0x02, bench->uuid, -1);
    assert_true(is_gone(bench, 50 * MILLISECOND));
    uint64_t left = clock_now(bench->usb->clock);
    assert_int_equal(bridge_bench_open(bench), KATAPULT);
    assert_in_range(clock_now(bench->usb->clock) - left, 200 * MILLISECOND, SECOND);
    bridge_bench_free(bench);
}

static void others_are_not_meant(void **state)
{
    (void)state;
    struct bridge_bench *bench = running();
    const uint8_t other[CAN_UUID] = {1, 2, 3, 4, 5, 6};
    commands(bench, 0x02, other, -1);
    bridge_says(bench, 0, 0x3f0, "02");
    assert_false(is_gone(bench, SECOND));
    bridge_bench_free(bench);
}

static void katapult_exchanges(struct bridge_bench *bench, const char *said, uint8_t first)
{
    uint8_t bytes[128];
    size_t length = bench_hex(said, bytes, sizeof bytes);
    assert_int_equal(usb_out(bench->usb, CDC_OUT_ENDPOINT, bytes, length,
                             clock_in(bench->usb->clock, SECOND), &bench->err),
                     OK);
    assert_true(usb_in(bench->usb, CDC_IN_ENDPOINT, bytes, sizeof bytes,
                       clock_in(bench->usb->clock, SECOND), &bench->err) > 8);
    assert_int_equal(bytes[2], first);
}

static void enter_katapult(struct bridge_bench *bench)
{
    commands(bench, 0x02, bench->uuid, -1);
    assert_true(is_gone(bench, 50 * MILLISECOND));
    assert_int_equal(bridge_bench_open(bench), KATAPULT);
    katapult_exchanges(bench, CONNECT, 0xa0);
}

static void after_complete_it_is_what_its_flash_holds(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        uint16_t product;
    } programs[] = {
        {BRIDGE_CONFIG, BRIDGE},
        {"\"MCU\":\"stm32f446xx\"", KLIPPER},
        {"\"MCU\":\"stm32f446xx\",\"CANBUS_FREQUENCY\":1000000", 0x0001}, /* silent on USB */
    };
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        size_t at;
        struct bridge_bench *bench = running();
        enter_katapult(bench);
        (void)put_klipper(&bench->program, BRIDGE_START, programs[i].config, &at);
        katapult_exchanges(bench, COMPLETE, 0xa0);
        assert_true(is_gone(bench, 200 * MILLISECOND));
        assert_int_equal(bridge_bench_open(bench), programs[i].product);
        bridge_bench_free(bench);
    }
}

static void an_empty_board_waits_in_katapult(void **state)
{
    (void)state;
    struct bridge_bench *bench = bridge_bench_new(NULL, NULL);
    assert_int_equal(bridge_bench_open(bench), KATAPULT);
    virtual_usb_reset(bench->device, VRESET_POWER);
    assert_int_equal(bridge_bench_open(bench), KATAPULT);
    bridge_bench_free(bench);
}

/* Katapult waits half a second for a second press. */
static void power_brings_it_back_as_a_bridge(void **state)
{
    (void)state;
    struct bridge_bench *bench = running();
    uint64_t before = clock_now(bench->usb->clock);
    virtual_usb_reset(bench->device, VRESET_POWER);
    assert_int_equal(bridge_bench_open(bench), BRIDGE);
    assert_in_range(clock_now(bench->usb->clock) - before, 700 * MILLISECOND, 2 * SECOND);
    bridge_bench_free(bench);
}

static void two_presses_lead_into_katapult(void **state)
{
    (void)state;
    struct bridge_bench *bench = running();
    virtual_usb_reset(bench->device, VRESET_PIN);
    bridge_bench_wait(bench, 100 * MILLISECOND);
    virtual_usb_reset(bench->device, VRESET_PIN);
    assert_int_equal(bridge_bench_open(bench), KATAPULT);
    bridge_bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_the_descriptors_of_klippers_bridge),
        cmocka_unit_test(it_answers_what_the_driver_asks),
        cmocka_unit_test(it_refuses_what_klipper_does_not_know),
        cmocka_unit_test(a_frame_of_the_host_comes_back_as_it_was),
        cmocka_unit_test(its_node_tells_the_uuid_that_the_serial_number_spells),
        cmocka_unit_test(what_is_not_fetched_holds_the_host_up),
        cmocka_unit_test(a_new_configuration_forgets_what_waited),
        cmocka_unit_test(klipper_tells_its_dictionary_and_restarts_as_itself),
        cmocka_unit_test(asked_for_its_bootloader_it_comes_back_as_katapult),
        cmocka_unit_test(others_are_not_meant),
        cmocka_unit_test(after_complete_it_is_what_its_flash_holds),
        cmocka_unit_test(an_empty_board_waits_in_katapult),
        cmocka_unit_test(power_brings_it_back_as_a_bridge),
        cmocka_unit_test(two_presses_lead_into_katapult),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
