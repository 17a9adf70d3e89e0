/* A USB model behind mflash's own USB link: its backend's promises, on virtual time. */
#include "loop_usb.h"

#include <string.h>

#include "virtual_usb.h"

struct rig {
    struct loop_usb loop;
    struct usb *usb;
    struct error err;
};

static struct rig *rig_new(const struct line_faults *faults)
{
    static struct rig rig;
    memset(&rig, 0, sizeof rig);
    loop_usb_init(&rig.loop);
    rig.usb = virtual_usb(&rig.loop.usb, faults);
    assert_non_null(rig.usb);
    return &rig;
}

static void rig_close(struct rig *rig)
{
    rig->usb->ops->close(rig->usb);
}

static uint64_t now(const struct rig *rig)
{
    return clock_now(rig->usb->clock);
}

static void submit(struct rig *rig, struct usb_transfer *transfer)
{
    assert_int_equal(rig->usb->ops->submit(rig->usb, transfer, &rig->err), OK);
}

static enum usb_end await(struct rig *rig, struct usb_transfer *transfer, uint64_t microseconds)
{
    uint64_t deadline = clock_in(rig->usb->clock, microseconds);
    assert_int_equal(rig->usb->ops->await(rig->usb, transfer, deadline, &rig->err), OK);
    return transfer->end;
}

static enum usb_end move(struct rig *rig, uint8_t endpoint, void *bytes, size_t length)
{
    struct usb_transfer transfer = {.endpoint = endpoint, .bytes = bytes, .length = length};
    submit(rig, &transfer);
    return await(rig, &transfer, SECOND);
}

static enum usb_end leave(struct rig *rig)
{
    struct usb_transfer transfer = {.setup = {LOOP_VENDOR_OUT, LOOP_LEAVE, 0, 0, 0}};
    submit(rig, &transfer);
    return await(rig, &transfer, SECOND);
}

static void opening_enumerates_and_configures(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    assert_int_equal(rig->usb->device.vid, 0x1d50);
    assert_int_equal(rig->usb->device.pid, 0x614e);
    assert_int_equal(rig->usb->configuration_length, 64);
    assert_int_equal(rig->loop.configuration, 1);
    assert_in_range(now(rig), 3 * MILLISECOND, SECOND); /* requests take frames */
    rig_close(rig);
}

static void transfers_reach_the_device_and_come_back(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint8_t out[100], in[128];
    struct usb_transfer back = {.endpoint = 0x81, .bytes = in, .length = sizeof in};
    memset(out, 0xa5, sizeof out);
    submit(rig, &back); /* under way before there is anything to fetch */
    assert_int_equal(move(rig, 0x01, out, sizeof out), USB_DONE);
    assert_int_equal(await(rig, &back, SECOND), USB_DONE);
    assert_int_equal(back.actual, 100);
    assert_memory_equal(in, out, 100);
    rig_close(rig);
}

static void await_ends_at_the_deadline_and_the_transfer_lives_on(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint8_t in[64];
    struct usb_transfer back = {.endpoint = 0x81, .bytes = in, .length = sizeof in};
    uint64_t before = now(rig);
    submit(rig, &back);
    assert_int_equal(await(rig, &back, 10 * SECOND), USB_PENDING);
    assert_int_equal(now(rig) - before, 10 * SECOND);
    assert_int_equal(move(rig, 0x01, "late", 4), USB_DONE);
    assert_int_equal(await(rig, &back, SECOND), USB_DONE);
    rig_close(rig);
}

static void cancelled_transfer_says_what_went_before(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    static uint8_t out[LOOP_PACKET * (LOOP_PACKETS + 2)];
    struct usb_transfer there = {.endpoint = 0x01, .bytes = out, .length = sizeof out};
    submit(rig, &there);
    assert_int_equal(await(rig, &there, SECOND), USB_PENDING);
    rig->usb->ops->cancel(rig->usb, &there);
    assert_int_equal(await(rig, &there, 0), USB_CANCELLED);
    assert_int_equal(there.actual, LOOP_PACKET * LOOP_PACKETS);
    rig_close(rig);
}

static void halt_is_cleared(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    assert_int_equal(move(rig, 0x01, "HALT", 4), USB_STALL);
    assert_int_equal(move(rig, 0x01, "good", 4), USB_STALL);
    assert_int_equal(rig->usb->ops->clear_halt(rig->usb, 0x01, &rig->err), OK);
    assert_int_equal(move(rig, 0x01, "good", 4), USB_DONE);
    rig_close(rig);
}

static void alternate_is_set_or_refused(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    assert_int_equal(rig->usb->ops->set_alternate(rig->usb, 1, 1, &rig->err), OK);
    assert_int_equal(rig->loop.alternate, 1);
    assert_int_equal(rig->usb->ops->set_alternate(rig->usb, 1, 2, &rig->err), ERR_STALL);
    rig_close(rig);
}

static void reset_of_the_bus_keeps_the_device_open(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig->loop.configuration = 0;
    assert_int_equal(rig->usb->ops->reset(rig->usb, &rig->err), OK);
    assert_int_equal(rig->loop.bus_resets, 1);
    assert_int_equal(rig->loop.configuration, 1);
    assert_int_equal(move(rig, 0x01, "x", 1), USB_DONE);
    rig_close(rig);
}

static void handle_of_a_device_that_left_is_dead_and_the_next_one_meets_another(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint8_t in[64];
    struct usb_transfer back = {.endpoint = 0x81, .bytes = in, .length = sizeof in};
    submit(rig, &back);
    assert_int_equal(leave(rig), USB_DONE);
    assert_int_equal(await(rig, &back, SECOND), USB_GONE);
    rig->usb->clock->sleep_until(rig->usb->clock, now(rig) + SECOND);
    assert_int_equal(rig->usb->ops->submit(rig->usb, &back, &rig->err), ERR_GONE);
    rig_close(rig);
    rig->usb = virtual_usb(&rig->loop.usb, NULL);
    assert_int_equal(rig->usb->device.pid, 0x6177);
    rig_close(rig);
}

static void opening_waits_for_a_device_off_the_bus(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    virtual_usb_reset(&rig->loop.usb, VRESET_PIN);
    uint64_t before = now(rig);
    rig_close(rig);
    rig->usb = virtual_usb(&rig->loop.usb, NULL);
    assert_non_null(rig->usb);
    assert_true(now(rig) - before >= 300 * MILLISECOND);
    rig_close(rig);
}

static void device_lives_on_while_nobody_has_it_open(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    leave(rig);
    rig_close(rig);
    virtual_usb_elapse(&rig->loop.usb, SECOND);
    virtual_usb_reset(&rig->loop.usb, VRESET_POWER);
    assert_int_equal(rig->loop.cause, VRESET_POWER);
    rig->usb = virtual_usb(&rig->loop.usb, NULL);
    assert_int_equal(rig->usb->device.pid, 0x6177);
    rig_close(rig);
}

static void closing_ends_what_is_under_way(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint8_t in[64];
    struct usb_transfer back = {.endpoint = 0x81, .bytes = in, .length = sizeof in};
    submit(rig, &back);
    rig_close(rig);
    assert_int_equal(back.end, USB_GONE);
}

static void device_that_never_comes_back_cannot_be_opened(void **state)
{
    (void)state;
    struct loop_usb loop;
    loop_usb_init(&loop);
    loop.usb.back_at = UINT64_MAX;
    assert_null(virtual_usb(&loop.usb, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_enumerates_and_configures),
        cmocka_unit_test(transfers_reach_the_device_and_come_back),
        cmocka_unit_test(await_ends_at_the_deadline_and_the_transfer_lives_on),
        cmocka_unit_test(cancelled_transfer_says_what_went_before),
        cmocka_unit_test(halt_is_cleared),
        cmocka_unit_test(alternate_is_set_or_refused),
        cmocka_unit_test(reset_of_the_bus_keeps_the_device_open),
        cmocka_unit_test(handle_of_a_device_that_left_is_dead_and_the_next_one_meets_another),
        cmocka_unit_test(opening_waits_for_a_device_off_the_bus),
        cmocka_unit_test(device_lives_on_while_nobody_has_it_open),
        cmocka_unit_test(closing_ends_what_is_under_way),
        cmocka_unit_test(device_that_never_comes_back_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
