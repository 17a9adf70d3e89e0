/*
 * usb_link BUS-PATH: the libusb backend on a real kernel, against clients/echo.py, a CDC-ACM device
 * that cdc_acm has bound. Prints `ok NAME` or `not ok NAME: …` for each behaviour.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/host.h"
#include "link/usb.h"

static struct error err;
static const struct usb_setup get_status = {0xa1, 3, 0, 0, 6}, unknown = {0xc1, 0x55, 0, 0, 4},
                              leave = {0x41, 0x77, 0, 0, 0};

static void is(const char *name, long got, long wanted)
{
    if (got == wanted)
        printf("ok %s\n", name);
    else
        printf("not ok %s: %ld, not %ld; %s\n", name, got, wanted, err.message);
}

/* 1 if all interfaces of the device have this driver, as sysfs has it. */
static long all_have(const char *name, const char *driver)
{
    struct usb_device *devices;
    size_t count, same = 0, interfaces = 1;
    if (usb_devices(&devices, &count, host_here(), &err) != OK)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(devices[i].name, name) != 0)
            continue;
        interfaces = devices[i].interface_count;
        for (size_t k = 0; k < interfaces; k++)
            same += strcmp(devices[i].interfaces[k].driver, driver) == 0;
    }
    free(devices);
    return same == interfaces;
}

static uint64_t in(const struct usb *usb, uint64_t microseconds)
{
    return clock_in(usb->clock, microseconds);
}

static void transfers(struct usb *usb)
{
    uint8_t bytes[64], more[64];
    is("control_read", usb_control(usb, &get_status, bytes, in(usb, 5 * SECOND), &err), 6);
    is("control_read_has_the_bytes", bytes[4], 2);
    is("stall", usb_control(usb, &unknown, bytes, in(usb, 5 * SECOND), &err), ERR_STALL);
    is("bulk_write", usb_out(usb, 2, (const uint8_t *)"hello", 5, in(usb, 5 * SECOND), &err), OK);
    is("bulk_read", usb_in(usb, 0x83, bytes, 64, in(usb, 5 * SECOND), &err), 5);
    is("bulk_read_has_the_bytes", memcmp(bytes, "hello", 5), 0);
    uint64_t start = clock_now(usb->clock);
    is("silence", usb_in(usb, 0x83, bytes, 64, in(usb, 100 * MILLISECOND), &err), ERR_NO_ANSWER);
    uint64_t took = clock_now(usb->clock) - start;
    is("silence_ends_at_the_deadline", took >= 100 * MILLISECOND && took < 3 * SECOND, 1);
    is("interrupt_silence", usb_in(usb, 0x81, bytes, 8, in(usb, 50 * MILLISECOND), &err),
       ERR_NO_ANSWER);
    struct usb_transfer first = {.endpoint = 0x83, .bytes = bytes, .length = 64};
    struct usb_transfer second = {.endpoint = 0x83, .bytes = more, .length = 64};
    is("two_at_once", usb_submit(usb, &first, &err) == OK && usb_submit(usb, &second, &err) == OK,
       1);
    is("pending_stays_pending", usb_await(usb, &first, in(usb, 50 * MILLISECOND), &err),
       ERR_NO_ANSWER);
    is("write_meanwhile", usb_out(usb, 2, (const uint8_t *)"xy", 2, in(usb, 5 * SECOND), &err), OK);
    is("first_ends", usb_await(usb, &first, in(usb, 5 * SECOND), &err), OK);
    is("first_has_what_came", (long)first.actual, 2);
    usb_cancel(usb, &second);
    is("second_is_cancelled", second.end, USB_CANCELLED);
    is("alternate", usb_set_alternate(usb, 1, 0, &err), OK);
    is("clear_halt", usb_clear_halt(usb, 0x83, &err), OK);
    is("bus_reset", usb_reset(usb, &err), OK);
    is("alive_after_reset", usb_control(usb, &get_status, bytes, in(usb, 5 * SECOND), &err), 6);
}

static void unplug(struct usb *usb)
{
    uint8_t bytes[64];
    struct usb_transfer pending = {.endpoint = 0x83, .bytes = bytes, .length = 64};
    struct usb_watch *watch = usb_watch_open(usb->name);
    is("claimed_again", usb_claim(usb, 1, &err), OK);
    is("submitted", usb_submit(usb, &pending, &err), OK);
    (void)usb_control(usb, &leave, NULL, in(usb, 5 * SECOND), &err);
    usb_watch_wait(watch, in(usb, 5 * SECOND));
    usb_watch_close(watch);
    is("unplugged_ends_what_is_pending", usb_await(usb, &pending, in(usb, 5 * SECOND), &err), OK);
    is("unplugged_is_gone", usb_ended(usb, &pending, &err), ERR_GONE);
    is("gone_stays_gone", usb_control(usb, &get_status, bytes, in(usb, SECOND), &err), ERR_GONE);
    is("gone_is_not_reset", usb_reset(usb, &err), ERR_GONE);
}

int main(int argc, char **argv)
{
    struct usb *usb = NULL, *other;
    const char *name = argc > 1 ? argv[1] : "";
    is("kernel_driver_has_it", all_have(name, "cdc_acm"), 1);
    is("no_such_device", usb_open(&other, "9-9", NULL, &err), ERR_NO_DEVICE);
    is("opened", usb_open(&usb, name, NULL, &err), OK);
    if (!usb)
        return 1;
    is("configured", usb->configured, 1);
    is("a_second_one_is_busy", usb_open(&other, name, NULL, &err), ERR_BUSY);
    is("claims_the_control_interface", usb_claim(usb, 0, &err), OK);
    is("claims_the_data_interface", usb_claim(usb, 1, &err), OK);
    is("kernel_driver_is_detached", all_have(name, "usbfs"), 1);
    transfers(usb);
    usb_close(usb);
    is("kernel_driver_is_attached_again", all_have(name, "cdc_acm"), 1);
    is("opened_again", usb_open(&usb, name, NULL, &err), OK);
    if (usb)
        unplug(usb);
    usb_close(usb);
    return 0;
}
