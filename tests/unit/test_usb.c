/*
 * What the USB link does for every backend: deadlines, ends, claims, strings and descriptors of
 * devices that lie. The backend is a device of a few lines on virtual time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link/usb_backend.h"

/* A device: answers control requests with these descriptors, other endpoints as the test says. */
struct fake {
    struct usb usb; /* first */
    struct clock clock;
    uint64_t now;
    const uint8_t *device, *configuration, *string;
    size_t device_length, configuration_length, string_length;
    bool silent;            /* transfers stay pending until they are cancelled */
    bool too_late;          /* the answer crosses the cancellation */
    enum usb_end end;       /* of transfers to other endpoints */
    size_t actual;          /* and what they say went */
    bool link_breaks;       /* await() fails */
    struct usb_setup asked; /* the last control request */
    unsigned claims, releases, requests;
    int claim_fails;
};

static struct fake *of_clock(struct clock *clock)
{
    return (struct fake *)((char *)clock - offsetof(struct fake, clock));
}

static uint64_t fake_now(struct clock *clock)
{
    return of_clock(clock)->now;
}

static void fake_sleep_until(struct clock *clock, uint64_t moment)
{
    if (of_clock(clock)->now < moment)
        of_clock(clock)->now = moment;
}

static void hand_out(struct usb_transfer *transfer, const uint8_t *bytes, size_t length)
{
    transfer->actual = length < transfer->length ? length : transfer->length;
    if (transfer->actual > 0)
        memcpy(transfer->bytes, bytes, transfer->actual);
    transfer->end = USB_DONE;
}

static void answer_control(struct fake *fake, struct usb_transfer *transfer)
{
    const struct usb_setup *setup = &transfer->setup;
    fake->asked = *setup;
    fake->requests++;
    transfer->end = USB_STALL;
    if (setup->type == 0x80 && setup->request == 6 && setup->value >> 8 == USB_DT_DEVICE)
        hand_out(transfer, fake->device, fake->device_length);
    else if (setup->type == 0x80 && setup->request == 6 &&
             setup->value >> 8 == USB_DT_CONFIGURATION)
        hand_out(transfer, fake->configuration, fake->configuration_length);
    else if (setup->type == 0x80 && setup->request == 6 && setup->value == 0x0300)
        hand_out(transfer, (const uint8_t *)"\x04\x03\x09\x04", 4);
    else if (setup->type == 0x80 && setup->request == 6 && setup->value >> 8 == USB_DT_STRING)
        hand_out(transfer, fake->string, fake->string_length);
    else if (!(setup->type & 0x80) && setup->length == 0)
        transfer->end = USB_DONE;
}

static int fake_submit(struct usb *usb, struct usb_transfer *transfer, struct error *err)
{
    (void)err;
    struct fake *fake = (struct fake *)usb;
    if (fake->silent)
        return OK;
    fake->now += 100;
    if (transfer->endpoint == 0) {
        answer_control(fake, transfer);
    } else {
        transfer->actual = fake->actual;
        transfer->end = fake->end;
    }
    return OK;
}

static int fake_await(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline,
                      struct error *err)
{
    struct fake *fake = (struct fake *)usb;
    if (fake->link_breaks)
        return error_set(err, ERR_GONE, "the link broke");
    if (transfer->end == USB_PENDING)
        fake_sleep_until(&fake->clock, deadline);
    return OK;
}

static void fake_cancel(struct usb *usb, struct usb_transfer *transfer)
{
    transfer->end = ((struct fake *)usb)->too_late ? USB_DONE : USB_CANCELLED;
    transfer->actual = ((struct fake *)usb)->actual;
}

static int fake_claim(struct usb *usb, uint8_t interface, struct error *err)
{
    (void)interface;
    struct fake *fake = (struct fake *)usb;
    if (fake->claim_fails)
        return error_set(err, ERR_BUSY, "somebody has it");
    fake->claims++;
    return OK;
}

static void fake_release(struct usb *usb, uint8_t interface)
{
    (void)interface;
    ((struct fake *)usb)->releases++;
}

static void fake_close(struct usb *usb)
{
    struct fake *fake = (struct fake *)usb;
    assert_int_equal(fake->claims, fake->releases);
    free(fake);
}

static const struct usb_ops fake_ops = {
    .name = "fake",
    .submit = fake_submit,
    .await = fake_await,
    .cancel = fake_cancel,
    .claim = fake_claim,
    .release = fake_release,
    .close = fake_close,
};

static const uint8_t device[18] = {18,   1,    0,    1, 0,    0, 0, 64, 0x83,
                                   0x04, 0x11, 0xdf, 0, 0x22, 1, 2, 3,  1};
static const uint8_t configuration[] = {
    9, 2, 41,   0, 2,  1,    0,  0xc0, 50, /* two interfaces; configuration 1 */
    9, 4, 0,    0, 0,  0xfe, 1,  2,    0,  /* DFU, alternates 0 and 1 */
    9, 4, 0,    1, 0,  0xfe, 1,  2,    0,  /**/
    7, 5, 0x81, 3, 64, 0,    10,           /* an interrupt endpoint */
    7, 5, 0x02, 2, 64, 0,    0,            /* a bulk one */
};

static int plug_in(void **state)
{
    struct fake *fake = (struct fake *)usb_allocate(sizeof *fake, &fake_ops, "1-1.4");
    assert_non_null(fake);
    fake->clock = (struct clock){fake_now, fake_sleep_until};
    fake->usb.clock = &fake->clock;
    fake->device = device;
    fake->device_length = sizeof device;
    fake->configuration = configuration;
    fake->configuration_length = sizeof configuration;
    fake->string = (const uint8_t *)"\x08\x03\x44\x00\x46\x00\x55\x00";
    fake->string_length = 8;
    fake->end = USB_DONE;
    *state = fake;
    return 0;
}

static int unplug(void **state)
{
    usb_close(*state);
    return 0;
}

static struct fake *begun(void **state)
{
    struct error err;
    assert_int_equal(usb_begin(*state, NULL, &err), OK);
    return *state;
}

static const struct usb_setup get_status = {0xa1, 3, 0, 0, 6};

/* ---- what it says of itself ---- */

static void it_is_asked_for_its_descriptors_and_configured(void **state)
{
    const struct fake *fake = begun(state);
    assert_int_equal(fake->usb.device.vid, 0x0483);
    assert_int_equal(fake->usb.device.pid, 0xdf11);
    assert_int_equal(fake->usb.configured, 1);
    assert_int_equal(fake->usb.device.interface_count, 1); /* two alternates of one */
    assert_string_equal(fake->usb.device.product, "DFU");
    assert_string_equal(fake->usb.device.serial, "DFU");
}

static void a_configured_device_is_not_configured_again(void **state)
{
    struct fake *fake = *state;
    struct error err;
    fake->usb.configured = 1;
    (void)snprintf(fake->usb.device.product, sizeof fake->usb.device.product, "known already");
    assert_int_equal(usb_begin(&fake->usb, NULL, &err), OK);
    assert_int_equal(fake->requests, 3); /* device, head of the configuration, all of it */
    assert_string_equal(fake->usb.device.product, "known already");
}

static void a_configuration_longer_than_the_room_is_cut(void **state)
{
    struct fake *fake = *state;
    static uint8_t endless[65536];
    struct error err;
    for (size_t i = 9; i + 9 <= sizeof endless; i += 9)
        memcpy(endless + i, configuration + 9, 9);
    memcpy(endless, configuration, 9);
    endless[2] = endless[3] = 0xff;
    fake->configuration = endless;
    fake->configuration_length = sizeof endless;
    assert_int_equal(usb_begin(&fake->usb, NULL, &err), OK);
    assert_int_equal(fake->usb.configuration_length, USB_CONFIGURATION_MAX);
    assert_int_equal(fake->usb.device.interface_count, 1);
}

static void must_refuse(struct fake *fake, const uint8_t *head, size_t length, const char *which)
{
    struct error err;
    fake->configuration = head;
    fake->configuration_length = length;
    assert_int_equal(usb_begin(&fake->usb, NULL, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.message, which));
    assert_true(err.hint[0] != '\0');
}

static void a_head_that_is_none_is_refused(void **state)
{
    struct fake *fake = *state;
    static const uint8_t short_total[9] = {9, 2, 8, 0, 1, 1, 0, 0, 0};
    static const uint8_t other_type[9] = {9, 4, 41, 0, 1, 1, 0, 0, 0};
    must_refuse(fake, configuration, 8, "configuration descriptor: 8 bytes");
    must_refuse(fake, short_total, 9, "configuration descriptor");
    must_refuse(fake, other_type, 9, "configuration descriptor");
    fake->device_length = 17;
    must_refuse(fake, configuration, sizeof configuration, "device descriptor: 17 bytes");
}

static void a_walk_stays_inside_and_ends_at_a_lie(void **state)
{
    (void)state;
    static const uint8_t zero_length[] = {3, 9, 1, 0, 5};
    static const uint8_t one_byte[] = {3, 9, 1, 1, 5};
    static const uint8_t too_long[] = {3, 9, 1, 4, 5, 6};
    static const uint8_t lonely_byte[] = {3, 9, 1, 2};
    const struct {
        const uint8_t *bytes;
        size_t length;
    } lies[] = {{zero_length, 5}, {one_byte, 5}, {too_long, 6}, {lonely_byte, 4}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        const uint8_t *at = NULL;
        assert_true(usb_descriptor_next(lies[i].bytes, lies[i].length, &at));
        assert_ptr_equal(at, lies[i].bytes);
        assert_false(usb_descriptor_next(lies[i].bytes, lies[i].length, &at));
    }
    const uint8_t *at = NULL;
    assert_false(usb_descriptor_next(zero_length, 0, &at));
    size_t count = 0;
    while (usb_descriptor_next(configuration, sizeof configuration, &at))
        count++;
    assert_int_equal(count, 5);
}

static void must_read(struct fake *fake, const char *descriptor, size_t length, const char *text)
{
    char got[USB_TEXT_MAX];
    fake->string = (const uint8_t *)descriptor;
    fake->string_length = length;
    (void)usb_string(&fake->usb, 1, got, sizeof got);
    assert_string_equal(got, text);
}

static void strings_are_clamped_to_what_came_and_printable(void **state)
{
    struct fake *fake = *state;
    must_read(fake, "\x06\x03\x41\x00\x42\x00", 6, "AB");
    must_read(fake, "\xff\x03\x41\x00\x42\x00", 6, "AB");   /* says it is longer */
    must_read(fake, "\x04\x03\x41\x00\x42\x00", 6, "A");    /* says it is shorter */
    must_read(fake, "\x05\x03\x41\x00\x42", 5, "A");        /* half a letter */
    must_read(fake, "\x06\x03\x1b\x00\xe9\x00", 6, "??");   /* an escape, an accent */
    must_read(fake, "\x06\x03\x3d\xd8\x00\xde", 6, "??");   /* a surrogate pair */
    must_read(fake, "\x06\x03\x33\x43\x42\x4a", 6, "3CBJ"); /* ASCII, as GD32 loaders send it */
    must_read(fake, "\x06\x03\x41\x00\x00\x00", 6, "A");
    must_read(fake, "\x02\x03", 2, "");
    must_read(fake, "\x01\x03", 2, "");
    must_read(fake, "\x00", 1, "");
    must_read(fake, "\x06\x04\x41\x00\x42\x00", 6, ""); /* no string */
}

static void a_string_is_cut_to_its_place(void **state)
{
    struct fake *fake = *state;
    char text[3] = "xx";
    assert_true(usb_string(&fake->usb, 1, text, sizeof text));
    assert_string_equal(text, "DF");
    assert_false(usb_string(&fake->usb, 0, text, sizeof text));
    assert_string_equal(text, "");
}

/* ---- transfers ---- */

static void silence_is_cancelled_exactly_at_the_deadline(void **state)
{
    struct fake *fake = begun(state);
    uint8_t bytes[6];
    struct error err;
    fake->silent = true;
    uint64_t deadline = fake->now + 700 * MILLISECOND;
    assert_int_equal(usb_control(&fake->usb, &get_status, bytes, deadline, &err), ERR_NO_ANSWER);
    assert_int_equal(fake->now, deadline);
    assert_int_equal(fake->usb.last, USB_CANCELLED);
    assert_non_null(strstr(err.message, "1-1.4 (0483:df11): request a1 03 (value 0x0000, index "
                                        "0x0000, 6 bytes): no answer before the deadline"));
    assert_true(err.hint[0] != '\0');
}

static void an_answer_just_before_the_cancellation_counts(void **state)
{
    struct fake *fake = begun(state);
    uint8_t bytes[6];
    struct error err;
    fake->silent = fake->too_late = true;
    fake->actual = 6;
    assert_int_equal(usb_control(&fake->usb, &get_status, bytes, fake->now + 10, &err), 6);
    assert_int_equal(fake->usb.last, USB_DONE);
}

static void every_end_has_its_code(void **state)
{
    struct fake *fake = begun(state);
    static const struct {
        enum usb_end end;
        enum error_code code;
    } cases[] = {{USB_STALL, ERR_STALL},
                 {USB_BABBLE, ERR_PROTOCOL},
                 {USB_GONE, ERR_GONE},
                 {USB_FAILED, ERR_FAILED},
                 {USB_CANCELLED, ERR_NO_ANSWER}};
    uint8_t bytes[64];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err;
        fake->end = cases[i].end;
        assert_int_equal(usb_in(&fake->usb, 0x81, bytes, sizeof bytes, fake->now, &err),
                         cases[i].code);
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(fake->usb.last, cases[i].end);
        assert_non_null(strstr(err.message, "reading up to 64 bytes from endpoint 0x81"));
        assert_true(err.hint[0] != '\0');
    }
}

static void a_backend_cannot_claim_more_than_there_was_room_for(void **state)
{
    struct fake *fake = begun(state);
    uint8_t bytes[8];
    struct error err;
    fake->actual = 4096;
    assert_int_equal(usb_in(&fake->usb, 0x81, bytes, sizeof bytes, fake->now, &err), 8);
}

static void half_a_write_is_no_write(void **state)
{
    struct fake *fake = begun(state);
    struct error err;
    fake->actual = 3;
    assert_int_equal(usb_out(&fake->usb, 2, (const uint8_t *)"abcdef", 6, fake->now, &err),
                     ERR_FAILED);
    assert_non_null(strstr(err.message, "writing 6 bytes to endpoint 0x02, 3 went"));
    fake->silent = true;
    assert_int_equal(usb_out(&fake->usb, 2, (const uint8_t *)"abcdef", 6, fake->now, &err),
                     ERR_NO_ANSWER);
    assert_non_null(strstr(err.message, "3 went"));
}

static void an_empty_packet_is_a_read_of_nothing(void **state)
{
    struct fake *fake = begun(state);
    uint8_t bytes[8];
    struct error err;
    assert_int_equal(usb_in(&fake->usb, 0x81, bytes, sizeof bytes, fake->now, &err), 0);
    assert_int_equal(fake->usb.last, USB_DONE);
}

static void a_broken_link_ends_what_was_under_way(void **state)
{
    struct fake *fake = begun(state);
    uint8_t bytes[6];
    struct error err;
    fake->silent = fake->link_breaks = true;
    assert_int_equal(usb_control(&fake->usb, &get_status, bytes, fake->now, &err), ERR_GONE);
    assert_string_equal(err.message, "the link broke");
    assert_int_equal(fake->usb.last, USB_GONE);
}

static void an_awaited_transfer_goes_on_after_the_deadline(void **state)
{
    struct fake *fake = begun(state);
    uint8_t bytes[8];
    struct error err;
    struct usb_transfer transfer = {.endpoint = 0x81, .bytes = bytes, .length = sizeof bytes};
    fake->silent = true;
    assert_int_equal(usb_submit(&fake->usb, &transfer, &err), OK);
    assert_int_equal(usb_await(&fake->usb, &transfer, fake->now + 5, &err), ERR_NO_ANSWER);
    assert_int_equal(transfer.end, USB_PENDING);
    transfer.end = USB_DONE; /* as if it came now */
    transfer.actual = 2;
    assert_int_equal(usb_await(&fake->usb, &transfer, fake->now, &err), OK);
    assert_int_equal(usb_ended(&fake->usb, &transfer, &err), OK);
    usb_cancel(&fake->usb, &transfer); /* nothing to cancel */
    assert_int_equal(transfer.end, USB_DONE);
}

static void a_data_stage_has_the_length_of_its_setup(void **state)
{
    struct fake *fake = begun(state);
    uint8_t bytes[6];
    struct error err;
    struct usb_transfer transfer = {.setup = get_status, .bytes = bytes, .length = 5};
    assert_int_equal(usb_submit(&fake->usb, &transfer, &err), ERR_USAGE);
}

/* ---- interfaces and standard requests ---- */

static void claims_are_given_back_on_close(void **state)
{
    struct fake *fake = begun(state);
    struct error err;
    assert_int_equal(usb_claim(&fake->usb, 0, &err), OK);
    assert_int_equal(usb_claim(&fake->usb, 0, &err), OK); /* once is enough */
    assert_int_equal(fake->claims, 1);
    /* fake_close() sees that it is released */
}

static void a_released_interface_is_released_once(void **state)
{
    struct fake *fake = begun(state);
    struct error err;
    assert_int_equal(usb_claim(&fake->usb, 0, &err), OK);
    usb_release(&fake->usb, 0);
    usb_release(&fake->usb, 0);
    usb_release(&fake->usb, 200);
    assert_int_equal(fake->releases, 1);
}

static void an_interface_that_is_not_there_cannot_be_claimed(void **state)
{
    struct fake *fake = begun(state);
    struct error err;
    assert_int_equal(usb_claim(&fake->usb, 1, &err), ERR_NO_DEVICE);
    assert_non_null(strstr(err.message, "claiming interface 1 of 1-1.4 (0483:df11)"));
    assert_int_equal(usb_claim(&fake->usb, 255, &err), ERR_NO_DEVICE);
    fake->claim_fails = 1;
    assert_int_equal(usb_claim(&fake->usb, 0, &err), ERR_BUSY);
    assert_int_equal(fake->usb.claimed, 0);
}

static void a_backend_without_own_ways_gets_standard_requests(void **state)
{
    struct fake *fake = begun(state);
    struct error err;
    assert_int_equal(usb_set_alternate(&fake->usb, 3, 2, &err), OK);
    assert_int_equal(fake->asked.type, 0x01);
    assert_int_equal(fake->asked.request, 11);
    assert_int_equal(fake->asked.value, 2);
    assert_int_equal(fake->asked.index, 3);
    assert_int_equal(usb_clear_halt(&fake->usb, 0x81, &err), OK);
    assert_int_equal(fake->asked.type, 0x02);
    assert_int_equal(fake->asked.request, 1);
    assert_int_equal(fake->asked.value, 0);
    assert_int_equal(fake->asked.index, 0x81);
    assert_int_equal(usb_reset(&fake->usb, &err), ERR_NOT_POSSIBLE);
}

/* ---- texts ---- */

static void a_device_that_is_not_there_is_answered_with_those_that_are(void **state)
{
    (void)state;
    struct error err;
    const struct usb_device there[] = {
        {.name = "1-1.4", .vid = 0x0483, .pid = 0xdf11, .product = "STM32  BOOTLOADER"},
        {.name = "2-1", .vid = 0x1d50, .pid = 0x614e}};
    assert_int_equal(usb_no_device("1-1.3", there, 2, &err), ERR_NO_DEVICE);
    assert_string_equal(err.message, "opening 1-1.3: there is no such USB device");
    assert_string_equal(err.hint, "on the bus are: 1-1.4 (0483:df11 STM32  BOOTLOADER), 2-1 "
                                  "(1d50:614e)");
    assert_int_equal(usb_no_device("1-1.3", NULL, 0, &err), ERR_NO_DEVICE);
    assert_non_null(strstr(err.hint, "no USB device is there at all"));
}

static void a_refused_node_prints_the_rule_and_the_commands(void **state)
{
    (void)state;
    struct error err;
    const struct usb_device refused = {.name = "1-1.4", .vid = 0x0483, .pid = 0xdf11};
    struct stat is = {.st_mode = S_IFCHR | 0664, .st_gid = 0};
    assert_int_equal(usb_no_permission(&refused, "/dev/bus/usb/001/005", &is, &err),
                     ERR_PERMISSION);
    assert_string_equal(err.message, "opening 1-1.4 (0483:df11): permission denied "
                                     "(/dev/bus/usb/001/005, group root, mode 0664)");
    assert_non_null(strstr(
        err.hint, "'SUBSYSTEM==\"usb\", ATTR{idVendor}==\"0483\", ATTR{idProduct}==\"df11\", "
                  "MODE=\"0660\", GROUP=\"plugdev\", TAG+=\"uaccess\"'"));
    assert_non_null(strstr(err.hint, "sudo udevadm control --reload"));
    assert_non_null(strstr(err.hint, "--attr-match=idVendor=0483"));
    assert_non_null(strstr(err.hint, "for all boards")); /* nothing was cut */
    is = (struct stat){.st_mode = S_IFCHR | 0660, .st_gid = 65533};
    (void)usb_no_permission(&refused, "/dev/bus/usb/001/005", &is, &err);
    assert_string_equal(err.hint, "`sudo usermod -aG 65533 $USER`, then log in again");
}

/* ---- the trace ---- */

static void a_conversation_is_decoded_by_wireshark(void **state)
{
    struct fake *fake = *state;
    char path[] = "/tmp/mflash-usb-XXXXXX", command[256], text[2048];
    struct trace *trace;
    struct error err;
    uint8_t bytes[64] = {0x5f, 0x2a};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(trace_open(&trace, path, &err), OK);
    fake->usb.device.bus = 1;
    fake->usb.device.address = 5;
    assert_int_equal(usb_begin(&fake->usb, trace, &err), OK);
    fake->actual = 2;
    (void)usb_in(&fake->usb, 0x81, bytes, sizeof bytes, fake->now, &err);
    fake->end = USB_STALL;
    (void)usb_out(&fake->usb, 2, (const uint8_t *)"abc", 3, fake->now, &err);
    assert_int_equal(trace_close(trace, &err), OK);
    (void)snprintf(command, sizeof command,
                   "tshark -n -r %s -T fields -E separator=, -e usb.urb_type -e usb.transfer_type "
                   "-e usb.endpoint_address -e usb.urb_status -e usb.idVendor "
                   "-e usb.bInterfaceClass -e usb.capdata 2>/dev/null",
                   path);
    if (system("command -v tshark >/dev/null") != 0)
        skip();
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(text, 1, sizeof text - 1, pipe);
    text[length] = '\0';
    assert_int_equal(pclose(pipe), 0);
    (void)unlink(path);
    const char *end = strstr(text, "'S',0x01,0x81"); /* an interrupt endpoint, by its descriptor */
    assert_non_null(end);
    assert_non_null(strstr(text, "'C',0x02,0x80,0,0x0483,,"));
    assert_non_null(strstr(text, "'C',0x02,0x80,0,,0xfe,0xfe,"));
    assert_string_equal(end, "'S',0x01,0x81,-115,,0xfe,\n'C',0x01,0x81,0,,0xfe,5f2a\n"
                             "'S',0x03,0x02,-115,,0xfe,616263\n'C',0x03,0x02,-32,,0xfe,\n");
}

#define PLUGGED(test) cmocka_unit_test_setup_teardown(test, plug_in, unplug)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLUGGED(it_is_asked_for_its_descriptors_and_configured),
        PLUGGED(a_configured_device_is_not_configured_again),
        PLUGGED(a_configuration_longer_than_the_room_is_cut),
        PLUGGED(a_head_that_is_none_is_refused),
        cmocka_unit_test(a_walk_stays_inside_and_ends_at_a_lie),
        PLUGGED(strings_are_clamped_to_what_came_and_printable),
        PLUGGED(a_string_is_cut_to_its_place),
        PLUGGED(silence_is_cancelled_exactly_at_the_deadline),
        PLUGGED(an_answer_just_before_the_cancellation_counts),
        PLUGGED(every_end_has_its_code),
        PLUGGED(a_backend_cannot_claim_more_than_there_was_room_for),
        PLUGGED(half_a_write_is_no_write),
        PLUGGED(an_empty_packet_is_a_read_of_nothing),
        PLUGGED(a_broken_link_ends_what_was_under_way),
        PLUGGED(an_awaited_transfer_goes_on_after_the_deadline),
        PLUGGED(a_data_stage_has_the_length_of_its_setup),
        PLUGGED(claims_are_given_back_on_close),
        PLUGGED(a_released_interface_is_released_once),
        PLUGGED(an_interface_that_is_not_there_cannot_be_claimed),
        PLUGGED(a_backend_without_own_ways_gets_standard_requests),
        cmocka_unit_test(a_device_that_is_not_there_is_answered_with_those_that_are),
        cmocka_unit_test(a_refused_node_prints_the_rule_and_the_commands),
        PLUGGED(a_conversation_is_decoded_by_wireshark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
