/* The bus of virtual USB devices: requests of chapter 9, packets, stalls, frames, faults. The
 * device gives back what it gets, so that only the bus is on trial. Unpaced unless time is the
 * matter. */
#include "loop_usb.h"

#include <string.h>

#include "usb_bus.h"

struct rig {
    struct loop_usb loop;
    struct usb_bus bus;
    uint8_t bytes[1024];
    struct bus_transfer last;
};

static struct rig *rig_new(bool paced, const struct line_faults *faults)
{
    static struct rig rig;
    memset(&rig, 0, sizeof rig);
    loop_usb_init(&rig.loop);
    usb_bus_init(&rig.bus, &rig.loop.usb, paced, faults);
    return &rig;
}

static void elapse(struct rig *rig, uint64_t microseconds)
{
    usb_bus_advance(&rig->bus, rig->bus.v.now + microseconds);
}

static void finish(struct rig *rig, struct bus_transfer *transfer)
{
    uint64_t limit = rig->bus.v.now + 10 * SECOND, next;
    while (transfer->end == BUS_PENDING && (next = usb_bus_next(&rig->bus)) <= limit)
        usb_bus_advance(&rig->bus, next);
}

static enum bus_end control(struct rig *rig, uint8_t type, uint8_t request, uint16_t value,
                            uint16_t index, uint16_t length)
{
    rig->last = (struct bus_transfer){
        .setup = {type, request, value, index, length}, .bytes = rig->bytes, .length = length};
    usb_bus_submit(&rig->bus, &rig->last);
    finish(rig, &rig->last);
    return rig->last.end;
}

static void start(struct rig *rig, struct bus_transfer *transfer, uint8_t endpoint, uint8_t *bytes,
                  size_t length)
{
    *transfer = (struct bus_transfer){.endpoint = endpoint, .bytes = bytes, .length = length};
    usb_bus_submit(&rig->bus, transfer);
}

static enum bus_end move(struct rig *rig, uint8_t endpoint, const char *text, size_t length)
{
    if (text)
        memcpy(rig->bytes, text, length);
    start(rig, &rig->last, endpoint, rig->bytes, length);
    finish(rig, &rig->last);
    return rig->last.end;
}

static void configure(struct rig *rig)
{
    assert_int_equal(control(rig, 0x00, 9, 1, 0, 0), BUS_DONE);
}

static void assert_answer(struct rig *rig, const void *bytes, size_t length)
{
    assert_int_equal(rig->last.end, BUS_DONE);
    assert_int_equal(rig->last.actual, length);
    assert_memory_equal(rig->bytes, bytes, length);
}

/* ---- chapter 9 ---- */

static void descriptors_are_cut_to_what_the_host_asks_for(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    control(rig, 0x80, 6, 0x0100, 0, 64);
    assert_answer(rig, rig->loop.usb.identity->device, 18);
    control(rig, 0x80, 6, 0x0100, 0, 8);
    assert_answer(rig, rig->loop.usb.identity->device, 8);
    control(rig, 0x80, 6, 0x0200, 0, 9);
    assert_answer(rig, rig->loop.usb.identity->configuration, 9);
    control(rig, 0x80, 6, 0x0200, 0, 255);
    assert_answer(rig, rig->loop.usb.identity->configuration, 64);
    assert_int_equal(control(rig, 0x80, 6, 0x0201, 0, 255), BUS_STALL);
}

static void strings_are_utf16_and_may_be_wrong(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    control(rig, 0x80, 6, 0x0300, 0, 255);
    assert_answer(rig, "\x04\x03\x09\x04", 4);
    control(rig, 0x80, 6, 0x0302, 0x409, 255);
    assert_answer(rig, "\x0a\x03L\0o\0o\0p\0", 10);
    control(rig, 0x80, 6, 0x0303, 0x409, 255);
    assert_answer(rig,
                  "\x06\x03"
                  "A\0B\0",
                  6);
    assert_int_equal(control(rig, 0x80, 6, 0x0304, 0x409, 255), BUS_STALL);
    assert_int_equal(control(rig, 0x80, 6, 0x0305, 0x409, 255), BUS_STALL);
}

static void full_speed_device_has_no_qualifier(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    assert_int_equal(control(rig, 0x80, 6, 0x0600, 0, 10), BUS_STALL);
    assert_int_equal(rig->loop.controls, 0);
}

static void configuration_is_chosen_and_told(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    control(rig, 0x80, 8, 0, 0, 1);
    assert_answer(rig, "\0", 1);
    assert_int_equal(control(rig, 0x00, 9, 2, 0, 0), BUS_STALL);
    configure(rig);
    assert_int_equal(rig->loop.configuration, 1);
    control(rig, 0x80, 8, 0, 0, 1);
    assert_answer(rig, "\1", 1);
}

static void alternate_is_chosen_among_those_there_are(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    assert_int_equal(control(rig, 0x01, 11, 1, 1, 0), BUS_STALL);
    configure(rig);
    assert_int_equal(control(rig, 0x01, 11, 1, 1, 0), BUS_DONE);
    assert_int_equal(rig->loop.alternate, 1);
    assert_int_equal(control(rig, 0x01, 11, 2, 1, 0), BUS_STALL);
    assert_int_equal(control(rig, 0x01, 11, 0, 2, 0), BUS_STALL);
    control(rig, 0x81, 10, 0, 1, 1);
    assert_answer(rig, "\1", 1);
    configure(rig);
    control(rig, 0x81, 10, 0, 1, 1);
    assert_answer(rig, "\0", 1);
}

static void unconfigured_device_knows_no_endpoints_and_no_interface_requests(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    assert_int_equal(move(rig, 0x01, "x", 1), BUS_STALL);
    assert_int_equal(move(rig, 0x81, NULL, 64), BUS_STALL);
    assert_int_equal(control(rig, 0x21, 1, 0, 0, 0), BUS_STALL);
    configure(rig);
    assert_int_equal(move(rig, 0x01, "x", 1), BUS_DONE);
    assert_int_equal(control(rig, 0x21, 1, 0, 0, 0), BUS_DONE);
}

static void status_tells_power_and_halt(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    configure(rig);
    control(rig, 0x80, 0, 0, 0, 2);
    assert_answer(rig, "\1\0", 2);
    assert_int_equal(control(rig, 0x02, 3, 0, 0x81, 0), BUS_DONE);
    control(rig, 0x82, 0, 0, 0x81, 2);
    assert_answer(rig, "\1\0", 2);
    assert_int_equal(control(rig, 0x82, 0, 0, 0x83, 2), BUS_STALL);
}

/* ---- transfers ---- */

static void stall_of_an_endpoint_lasts_until_it_is_cleared(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    configure(rig);
    assert_int_equal(move(rig, 0x01, "HALT", 4), BUS_STALL);
    assert_int_equal(move(rig, 0x01, "good", 4), BUS_STALL);
    assert_int_equal(control(rig, 0x02, 1, 0, 0x01, 0), BUS_DONE);
    assert_int_equal(move(rig, 0x01, "good", 4), BUS_DONE);
    assert_int_equal(rig->loop.outs, 1);
}

static void stall_of_a_request_ends_with_the_next_one(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    assert_int_equal(control(rig, 0x40, 99, 0, 0, 0), BUS_STALL);
    memcpy(rig->bytes, "abc", 3);
    assert_int_equal(control(rig, 0x40, 1, 0, 0, 3), BUS_DONE);
    memset(rig->bytes, 0, 3);
    control(rig, 0xc0, 1, 0, 0, 64);
    assert_answer(rig, "abc", 3);
}

static void long_transfer_travels_in_packets(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    uint8_t out[200], in[512];
    struct bus_transfer there, back;
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)i;
    configure(rig);
    start(rig, &there, 0x01, out, sizeof out);
    finish(rig, &there);
    assert_int_equal(there.actual, 200);
    assert_int_equal(rig->loop.outs, 4); /* 64 64 64 8 */
    start(rig, &back, 0x81, in, sizeof in);
    finish(rig, &back);
    assert_int_equal(back.end, BUS_DONE); /* the short packet */
    assert_int_equal(back.actual, 200);
    assert_memory_equal(in, out, 200);
}

static void whole_packets_end_a_transfer_only_with_an_empty_one(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    uint8_t out[128] = {0}, in[512];
    struct bus_transfer there = {.endpoint = 1, .bytes = out, .length = 128}, back;
    configure(rig);
    start(rig, &back, 0x81, in, sizeof in);
    usb_bus_submit(&rig->bus, &there);
    finish(rig, &there);
    elapse(rig, SECOND);
    assert_int_equal(rig->loop.outs, 2);
    assert_int_equal(back.end, BUS_PENDING); /* all bytes are there, but is it the end? */
    there.zero_packet = true;
    there.length = 64;
    usb_bus_submit(&rig->bus, &there);
    finish(rig, &back);
    assert_int_equal(rig->loop.outs, 4);
    assert_int_equal(back.end, BUS_DONE);
    assert_int_equal(back.actual, 192);
}

static void packet_longer_than_the_room_is_babble(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    configure(rig);
    move(rig, 0x01, "0123456789", 10);
    assert_int_equal(move(rig, 0x81, NULL, 9), BUS_BABBLE);
    assert_int_equal(rig->last.actual, 0);
}

static void transfers_of_an_endpoint_end_in_order(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    uint8_t in[3][64];
    struct bus_transfer back[3];
    configure(rig);
    for (size_t i = 0; i < 3; i++)
        start(rig, &back[i], 0x81, in[i], 64);
    move(rig, 0x01, "one", 3);
    move(rig, 0x01, "two", 3);
    elapse(rig, 1);
    assert_int_equal(back[0].end, BUS_DONE);
    assert_int_equal(back[1].end, BUS_DONE);
    assert_int_equal(back[2].end, BUS_PENDING);
    assert_memory_equal(in[0], "one", 3);
    assert_memory_equal(in[1], "two", 3);
    usb_bus_cancel(&rig->bus, &back[2]);
    assert_int_equal(back[2].end, BUS_CANCELLED);
}

static void cancelling_one_in_the_middle_keeps_the_others(void **state)
{
    (void)state;
    struct rig *rig = rig_new(true, NULL);
    uint8_t in[3][64];
    struct bus_transfer back[3];
    configure(rig);
    for (size_t i = 0; i < 3; i++)
        start(rig, &back[i], 0x81, in[i], 64);
    usb_bus_cancel(&rig->bus, &back[0]);
    usb_bus_cancel(&rig->bus, &back[1]);
    assert_int_equal(move(rig, 0x01, "late", 4), BUS_DONE);
    finish(rig, &back[2]);
    assert_int_equal(back[2].end, BUS_DONE);
    assert_memory_equal(in[2], "late", 4);
}

static void busy_device_is_asked_again(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    configure(rig);
    rig->loop.busy_until = rig->bus.v.now + 20 * MILLISECOND;
    assert_int_equal(control(rig, 0xc0, 1, 0, 0, 64), BUS_DONE);
    assert_int_equal(rig->bus.v.now, 20 * MILLISECOND);
    assert_int_equal(rig->loop.controls, 1);
}

/* ---- time ---- */

static void bulk_moves_19_packets_a_millisecond(void **state)
{
    (void)state;
    struct rig *rig = rig_new(true, NULL);
    static uint8_t out[19 * 64 * 3];
    struct bus_transfer there;
    configure(rig);
    elapse(rig, MILLISECOND - rig->bus.v.now % MILLISECOND);
    uint64_t before = rig->bus.v.now;
    start(rig, &there, 0x01, out, sizeof out);
    finish(rig, &there);
    assert_in_range(rig->bus.v.now - before, 3 * MILLISECOND, 3 * MILLISECOND + 1);
}

static void two_endpoints_share_the_wire(void **state)
{
    (void)state;
    struct rig *rig = rig_new(true, NULL);
    static uint8_t out[19 * 64], in[19 * 64];
    struct bus_transfer there, back;
    configure(rig);
    elapse(rig, MILLISECOND - rig->bus.v.now % MILLISECOND);
    uint64_t before = rig->bus.v.now;
    start(rig, &back, 0x81, in, sizeof in);
    start(rig, &there, 0x01, out, sizeof out);
    finish(rig, &back);
    assert_int_equal(there.end, BUS_DONE);
    assert_in_range(rig->bus.v.now - before, 2 * MILLISECOND, 2 * MILLISECOND + 1);
}

static void stages_of_a_request_begin_with_a_frame(void **state)
{
    (void)state;
    struct rig *rig = rig_new(true, NULL);
    rig->loop.stored_length = 6;
    elapse(rig, 400);
    assert_int_equal(control(rig, 0xc0, 1, 0, 0, 6), BUS_DONE);
    assert_int_equal(rig->loop.heard_at, 2 * MILLISECOND); /* SETUP at 1, data at 2 */
    assert_in_range(rig->bus.v.now, 3 * MILLISECOND, 3 * MILLISECOND + 100);
    assert_int_equal(control(rig, 0x40, 1, 0, 0, 512), BUS_DONE);
    assert_int_equal(rig->loop.heard_at, 6 * MILLISECOND); /* 4, data at 5, status at 6 */
}

static void interrupt_endpoint_is_polled_at_its_interval(void **state)
{
    (void)state;
    struct rig *rig = rig_new(true, NULL);
    uint8_t in[8];
    struct bus_transfer back;
    configure(rig);
    elapse(rig, 12 * MILLISECOND);
    start(rig, &back, 0x82, in, sizeof in);
    assert_int_equal(usb_bus_next(&rig->bus), 20 * MILLISECOND);
}

/* ---- life ---- */

static void device_that_leaves_ends_what_is_under_way_and_comes_back_as_another(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    uint8_t in[64];
    struct bus_transfer back;
    configure(rig);
    start(rig, &back, 0x81, in, sizeof in);
    assert_int_equal(control(rig, 0x40, 2, 0, 0, 0), BUS_DONE);
    elapse(rig, 5 * MILLISECOND);
    assert_int_equal(back.end, BUS_GONE);
    assert_false(rig->bus.up);
    assert_int_equal(control(rig, 0x80, 6, 0x0100, 0, 18), BUS_GONE);
    elapse(rig, 299 * MILLISECOND);
    assert_false(rig->bus.up);
    elapse(rig, MILLISECOND);
    assert_true(rig->bus.up);
    control(rig, 0x80, 6, 0x0100, 0, 18);
    assert_int_equal(rig->bytes[10], 0x77);
    assert_int_equal(move(rig, 0x01, "x", 1), BUS_STALL); /* it is not configured any more */
}

static void bus_reset_takes_the_configuration_away(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    uint8_t in[64];
    struct bus_transfer back;
    configure(rig);
    start(rig, &back, 0x81, in, sizeof in);
    usb_bus_host_reset(&rig->bus);
    assert_int_equal(back.end, BUS_CANCELLED);
    assert_int_equal(rig->loop.bus_resets, 1);
    assert_int_equal(rig->loop.resets, 0);
    assert_int_equal(move(rig, 0x01, "x", 1), BUS_STALL);
}

static void reset_button_takes_it_off_the_bus_until_it_has_started(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, NULL);
    configure(rig);
    usb_bus_reset(&rig->bus, VRESET_PIN);
    assert_int_equal(rig->loop.cause, VRESET_PIN);
    assert_false(rig->bus.up);
    elapse(rig, 300 * MILLISECOND);
    assert_true(rig->bus.up);
    assert_int_equal(rig->bus.lost, 1);
}

/* ---- faults ---- */

static void store_and_read(struct rig *rig)
{
    rig->loop.stored_length = 4;
    memcpy(rig->loop.stored, "good", 4);
    memset(rig->bytes, 0, 8);
    control(rig, 0xc0, 1, 0, 0, 64);
}

static void standard_requests_are_not_counted(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, &(struct line_faults){.corrupt = 2});
    configure(rig);
    store_and_read(rig);
    assert_answer(rig, "good", 4);
    control(rig, 0x80, 6, 0x0100, 0, 18);
    assert_answer(rig, rig->loop.usb.identity->device, 18);
    store_and_read(rig);
    assert_answer(rig, "'ood", 4);
    store_and_read(rig);
    assert_answer(rig, "good", 4);
}

static void dropped_byte_is_missing_in_the_reply(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, &(struct line_faults){.drop = 1});
    configure(rig);
    move(rig, 0x01, "0123456789", 10);
    assert_int_equal(move(rig, 0x81, NULL, 64), BUS_DONE);
    assert_int_equal(rig->last.actual, 9);
}

static void stall_fault_is_silence_until_a_reset(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, &(struct line_faults){.stall = 2});
    configure(rig);
    assert_int_equal(move(rig, 0x01, "one", 3), BUS_DONE);
    assert_int_equal(move(rig, 0x01, "two", 3), BUS_PENDING);
    usb_bus_cancel(&rig->bus, &rig->last);
    assert_int_equal(control(rig, 0x80, 6, 0x0100, 0, 18), BUS_PENDING);
    usb_bus_reset(&rig->bus, VRESET_PIN);
    assert_int_equal(rig->last.end, BUS_GONE);
    elapse(rig, SECOND);
    assert_int_equal(control(rig, 0x80, 6, 0x0100, 0, 18), BUS_DONE);
}

static void cut_link_is_gone_until_it_is_plugged_in(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, &(struct line_faults){.cut = 2});
    configure(rig);
    assert_int_equal(move(rig, 0x01, "one", 3), BUS_DONE);
    assert_int_equal(move(rig, 0x01, "two", 3), BUS_GONE);
    assert_int_equal(rig->loop.outs, 2);
    elapse(rig, 10 * SECOND);
    assert_false(rig->bus.up);
    usb_bus_restore(&rig->bus);
    configure(rig);
    assert_int_equal(rig->loop.resets, 0);
}

static void power_fault_starts_the_chip_anew(void **state)
{
    (void)state;
    struct rig *rig = rig_new(false, &(struct line_faults){.power = 1});
    configure(rig);
    assert_int_equal(control(rig, 0x40, 1, 0, 0, 3), BUS_GONE);
    assert_int_equal(rig->loop.cause, VRESET_POWER);
    elapse(rig, 300 * MILLISECOND);
    configure(rig);
    assert_int_equal(control(rig, 0x40, 1, 0, 0, 3), BUS_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_are_cut_to_what_the_host_asks_for),
        cmocka_unit_test(strings_are_utf16_and_may_be_wrong),
        cmocka_unit_test(full_speed_device_has_no_qualifier),
        cmocka_unit_test(configuration_is_chosen_and_told),
        cmocka_unit_test(alternate_is_chosen_among_those_there_are),
        cmocka_unit_test(unconfigured_device_knows_no_endpoints_and_no_interface_requests),
        cmocka_unit_test(status_tells_power_and_halt),
        cmocka_unit_test(stall_of_an_endpoint_lasts_until_it_is_cleared),
        cmocka_unit_test(stall_of_a_request_ends_with_the_next_one),
        cmocka_unit_test(long_transfer_travels_in_packets),
        cmocka_unit_test(whole_packets_end_a_transfer_only_with_an_empty_one),
        cmocka_unit_test(packet_longer_than_the_room_is_babble),
        cmocka_unit_test(transfers_of_an_endpoint_end_in_order),
        cmocka_unit_test(cancelling_one_in_the_middle_keeps_the_others),
        cmocka_unit_test(busy_device_is_asked_again),
        cmocka_unit_test(bulk_moves_19_packets_a_millisecond),
        cmocka_unit_test(two_endpoints_share_the_wire),
        cmocka_unit_test(stages_of_a_request_begin_with_a_frame),
        cmocka_unit_test(interrupt_endpoint_is_polled_at_its_interval),
        cmocka_unit_test(device_that_leaves_ends_what_is_under_way_and_comes_back_as_another),
        cmocka_unit_test(bus_reset_takes_the_configuration_away),
        cmocka_unit_test(reset_button_takes_it_off_the_bus_until_it_has_started),
        cmocka_unit_test(standard_requests_are_not_counted),
        cmocka_unit_test(dropped_byte_is_missing_in_the_reply),
        cmocka_unit_test(stall_fault_is_silence_until_a_reset),
        cmocka_unit_test(cut_link_is_gone_until_it_is_plugged_in),
        cmocka_unit_test(power_fault_starts_the_chip_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
