/*
 * The USB/IP client against a server that speaks what the protocol's documentation shows, and
 * against servers that lie, cut their answers short, or say nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/usb_backend.h"
#include "usbip_peer.h"

static const struct usb_setup get_status = {0xa1, 3, 0, 0, 6};
#define GET_STATUS(seq) SUBMIT_IN(seq, "00", "00000006", "a1 03 00 00 00 00 06 00")
#define IDLE            "00 00 00 00 02 00"

struct session {
    struct usbip_peer *peer;
    struct usb *usb;
    struct error err;
};

static void begin(struct session *session, const struct peer_turn *turns)
{
    memset(session, 0, sizeof *session);
    session->peer = usbip_peer(turns);
    int rc = usb_open(&session->usb, usbip_peer_name(session->peer, "/1-1"), NULL, &session->err);
    if (rc != OK)
        print_error("%s\n", session->err.message);
    assert_int_equal(rc, OK);
}

static void end(struct session *session)
{
    usb_close(session->usb);
    assert_true(usbip_peer_done(session->peer));
}

static uint64_t in_ms(const struct session *session, unsigned ms)
{
    return clock_in(session->usb->clock, (uint64_t)ms * MILLISECOND);
}

/* usb_control of GETSTATUS. */
static ssize_t ask(struct session *session, uint8_t bytes[6], unsigned ms)
{
    memset(bytes, 0xee, 6);
    return usb_control(session->usb, &get_status, bytes, in_ms(session, ms), &session->err);
}

/* ---- as it should be ---- */

static void a_device_is_imported_asked_and_configured(void **state)
{
    (void)state;
    struct session s;
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU, {.what = PEER_AWAIT_CLOSE}, {.what = PEER_END}};
    begin(&s, turns);
    const struct usb_device *device = &s.usb->device;
    assert_int_equal(device->vid, 0x0483);
    assert_int_equal(device->pid, 0xdf11);
    assert_int_equal(device->bcd, 0x2200);
    assert_string_equal(device->bus_path, "1-1");
    assert_string_equal(device->name, s.usb->name);
    assert_int_equal(device->interface_count, 1);
    assert_int_equal(device->interfaces[0].class, 0xfe);
    assert_int_equal(device->interfaces[0].protocol, 2);
    assert_int_equal(s.usb->configuration_length, 27);
    assert_int_equal(s.usb->configured, 1);
    end(&s);
}

static void a_control_read_is_the_documented_packet(void **state)
{
    (void)state;
    struct session s;
    uint8_t bytes[6];
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.host = "00 00 00 01 00 00 00 05 00 01 00 02 00 00 00 01 00 00 00 00"
                 "00 00 02 00 00 00 00 06 00 00 00 00 00 00 00 00 00 00 00 00"
                 "a1 03 00 00 00 00 06 00",
         .device = "00 00 00 03 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00 00"
                   "00 00 00 00 00 00 00 06 00 00 00 00 00 00 00 00 00 00 00 00"
                   "00 00 00 00 00 00 00 00   00 00 00 00 02 00"},
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    assert_int_equal(ask(&s, bytes, 1000), 6);
    assert_memory_equal(bytes, "\0\0\0\0\2\0", 6);
    end(&s);
}

static void a_refused_write_is_a_stall_and_the_link_lives_on(void **state)
{
    (void)state;
    struct session s;
    uint8_t bytes[6], block[2048] = {0};
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.host = SUBMIT_OUT("00000005", "00", "00000800", "21 01 02 00 00 00 00 08"),
         .zeros = 2048,
         .device = RETURN("00000005", "ffffffe0", "00000000")},
        {.host = GET_STATUS("00000006"), .device = RETURN("00000006", "00000000", "00000006") IDLE},
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    const struct usb_setup download = {0x21, 1, 2, 0, sizeof block};
    begin(&s, turns);
    assert_int_equal(usb_control(s.usb, &download, block, in_ms(&s, 1000), &s.err), ERR_STALL);
    assert_int_equal(s.usb->last, USB_STALL);
    assert_non_null(strstr(s.err.message, "(0483:df11): request 21 01 (value 0x0002, index 0x0000, "
                                          "2048 bytes): the device refused it (stall)"));
    assert_int_equal(ask(&s, bytes, 1000), 6);
    end(&s);
}

static void an_out_transfer_needs_no_count_of_what_went(void **state)
{
    (void)state;
    struct session s;
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.host = SUBMIT_OUT("00000005", "01", "00000003", ZEROS_8) "61 62 63",
         .device = RETURN("00000005", "00000000", "00000000")},
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    assert_int_equal(usb_out(s.usb, 1, (const uint8_t *)"abc", 3, in_ms(&s, 1000), &s.err), OK);
    end(&s);
}

static void several_transfers_are_under_way_at_once(void **state)
{
    (void)state;
    struct session s;
    uint8_t first[64], second[64];
    struct usb_transfer a = {.endpoint = 0x81, .bytes = first, .length = sizeof first};
    struct usb_transfer b = {.endpoint = 0x81, .bytes = second, .length = sizeof second};
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.host = SUBMIT_IN("00000005", "01", "00000040", ZEROS_8)
             SUBMIT_IN("00000006", "01", "00000040", ZEROS_8),
         .device = RETURN("00000005", "00000000", "00000001") "11" RETURN("00000006", "00000000",
                                                                          "00000002") "22 33"},
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    assert_int_equal(usb_submit(s.usb, &a, &s.err), OK);
    assert_int_equal(usb_submit(s.usb, &b, &s.err), OK);
    assert_int_equal(usb_await(s.usb, &b, in_ms(&s, 1000), &s.err), OK);
    assert_int_equal(a.end, USB_DONE);
    assert_int_equal(a.actual, 1);
    assert_int_equal(first[0], 0x11);
    assert_int_equal(b.actual, 2);
    assert_int_equal(second[1], 0x33);
    end(&s);
}

/* ---- cancelling ---- */

static void silence_ends_at_the_deadline_by_a_cancellation(void **state)
{
    (void)state;
    struct session s;
    uint8_t bytes[6];
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.host = GET_STATUS("00000005")},
        {.host = "00 00 00 02 00 00 00 06 00 01 00 02 00 00 00 00 00 00 00 00"
                 "00 00 00 05" ZEROS_24,
         .device = "00 00 00 04 00 00 00 06 00 00 00 00 00 00 00 00 00 00 00 00"
                   "ff ff ff 98" ZEROS_24},
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    uint64_t start = clock_now(s.usb->clock);
    assert_int_equal(ask(&s, bytes, 50), ERR_NO_ANSWER);
    uint64_t took = clock_now(s.usb->clock) - start;
    assert_true(took >= 50 * MILLISECOND && took < 1 * SECOND);
    assert_int_equal(s.usb->last, USB_CANCELLED);
    end(&s);
}

static void an_answer_that_crosses_the_cancellation_counts(void **state)
{
    (void)state;
    struct session s;
    uint8_t bytes[6];
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.host = GET_STATUS("00000005")},
        {.host = UNLINK("00000006", "00000005"),
         .device = RETURN("00000005", "00000000", "00000006") IDLE},
        {.host = GET_STATUS("00000007"),
         .device = UNLINKED("00000006", "00000000")
             RETURN("00000007", "00000000", "00000006") "00 00 00 00 05 00"},
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    assert_int_equal(ask(&s, bytes, 20), 6);
    assert_int_equal(bytes[4], 2);
    assert_int_equal(ask(&s, bytes, 1000), 6);
    assert_int_equal(bytes[4], 5);
    end(&s);
}

static void an_answer_after_the_cancellation_is_swallowed(void **state)
{
    (void)state;
    struct session s;
    uint8_t bytes[6];
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.host = GET_STATUS("00000005")},
        {.host = UNLINK("00000006", "00000005"), .device = UNLINKED("00000006", "00000000")},
        {.host = GET_STATUS("00000007"),
         .device = RETURN("00000005", "00000000", "00000006")
             IDLE RETURN("00000007", "00000000", "00000006") "00 00 00 00 05 00"},
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    assert_int_equal(ask(&s, bytes, 20), ERR_NO_ANSWER);
    assert_int_equal(ask(&s, bytes, 1000), 6);
    assert_int_equal(bytes[4], 5);
    end(&s);
}

static void a_server_that_ignores_cancellations_is_given_up(void **state)
{
    (void)state;
    struct session s;
    uint8_t bytes[6];
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.host = GET_STATUS("00000005")},
        {.host = UNLINK("00000006", "00000005"), .what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    uint64_t start = clock_now(s.usb->clock);
    assert_int_equal(ask(&s, bytes, 20), ERR_GONE);
    assert_true(clock_now(s.usb->clock) - start < 3 * SECOND);
    assert_int_equal(ask(&s, bytes, 1000), ERR_GONE);
    assert_non_null(strstr(s.err.message, "does not even answer to a cancellation"));
    end(&s);
}

/* ---- lies ---- */

static void must_end_the_link(const char *answer, enum error_code code, const char *what)
{
    struct session s;
    uint8_t bytes[6];
    const struct peer_turn turns[] = {ENUMERATE_DFU,
                                      {.host = GET_STATUS("00000005"), .device = answer},
                                      {.what = code == ERR_GONE ? PEER_CLOSE : PEER_AWAIT_CLOSE},
                                      {.what = PEER_END}};
    begin(&s, turns);
    assert_int_equal(ask(&s, bytes, 2000), code);
    assert_non_null(strstr(s.err.message, what));
    assert_true(s.err.hint[0] != '\0');
    /* and stays ended */
    assert_int_equal(ask(&s, bytes, 2000), code);
    end(&s);
}

static void answers_that_are_none_end_the_link(void **state)
{
    (void)state;
    must_end_the_link(RETURN("00000009", "00000000", "00000006") IDLE, ERR_PROTOCOL,
                      "an answer to nothing that was asked");
    must_end_the_link(RETURN("00000005", "00000000", "00000007") IDLE "00", ERR_PROTOCOL,
                      "more data than were asked for");
    must_end_the_link(RETURN("00000005", "00000000", "ffffffff"), ERR_PROTOCOL,
                      "more data than were asked for");
    must_end_the_link(UNLINKED("00000005", "ffffff98"), ERR_PROTOCOL,
                      "a cancellation of nothing that was cancelled");
    must_end_the_link("00000001" ZEROS_24 "00 00 00 00" ZEROS_8 ZEROS_8, ERR_PROTOCOL,
                      "an answer of no known kind");
}

static void a_connection_that_ends_means_that_the_device_is_gone(void **state)
{
    (void)state;
    must_end_the_link(NULL, ERR_GONE, "the USB/IP server closed the connection");
    must_end_the_link("00 00 00 03 00 00 00 05", ERR_GONE,
                      "the USB/IP server closed the connection");
    must_end_the_link(RETURN("00000005", "00000000", "00000006") "00 00 00", ERR_GONE,
                      "the USB/IP server closed the connection");
}

static void an_answer_counts_even_if_the_connection_ends_behind_it(void **state)
{
    (void)state;
    struct session s;
    uint8_t bytes[6];
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.what = PEER_CLOSE,
         .host = GET_STATUS("00000005"),
         .device = RETURN("00000005", "00000000", "00000006") IDLE},
        {.what = PEER_END}};
    for (int i = 0; i < 20; i++) {
        begin(&s, turns);
        assert_int_equal(ask(&s, bytes, 1000), 6);
        assert_int_equal(ask(&s, bytes, 1000), ERR_GONE);
        end(&s);
    }
}

static void every_status_has_its_end(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        int code;
        enum usb_end end;
    } cases[] = {{"ffffff87", 3, USB_DONE}, /* EREMOTEIO */
                 {"ffffffb5", ERR_PROTOCOL, USB_BABBLE},
                 {"ffffffed", ERR_GONE, USB_GONE},      /* ENODEV */
                 {"ffffff94", ERR_GONE, USB_GONE},      /* ESHUTDOWN */
                 {"ffffffb9", ERR_FAILED, USB_FAILED},  /* EPROTO */
                 {"ffffff92", ERR_FAILED, USB_FAILED}}; /* ETIMEDOUT */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct session s;
        uint8_t bytes[6];
        char answer[512];
        (void)snprintf(answer, sizeof answer,
                       "00000003 00000005 00000000 00000000 00000000 %s 00000003 00000000 00000000 "
                       "00000000" ZEROS_8 "01 02 03",
                       cases[i].status);
        const struct peer_turn turns[] = {ENUMERATE_DFU,
                                          {.host = GET_STATUS("00000005"), .device = answer},
                                          {.what = PEER_AWAIT_CLOSE},
                                          {.what = PEER_END}};
        begin(&s, turns);
        assert_int_equal(ask(&s, bytes, 1000), cases[i].code);
        assert_int_equal(s.usb->last, cases[i].end);
        end(&s);
    }
}

/* ---- the import ---- */

static void must_not_open(const struct peer_turn *turns, const char *rest, enum error_code code,
                          const char *message, const char *hint)
{
    struct usbip_peer *peer = usbip_peer(turns);
    struct usb *usb;
    struct error err;
    assert_int_equal(usb_open(&usb, usbip_peer_name(peer, rest), NULL, &err), code);
    assert_null(usb);
    assert_non_null(strstr(err.message, message));
    assert_non_null(strstr(err.hint, hint));
    assert_true(usbip_peer_done(peer));
}

static void a_missing_device_is_answered_with_those_there_are(void **state)
{
    (void)state;
    static const struct peer_turn turns[] = {
        {PEER_AWAIT_CLOSE, OP_IMPORT "39 2d 39 00" ZEROS_28, "0111 0003 00000004", 0, 0},
        {PEER_AWAIT_CLOSE, OP_DEVLIST,
         OP_DEVICES "00000001" RECORD("0483 df11 2200", "00 00 00", "01") "fe 01 02 00", 0, 0},
        {.what = PEER_END}};
    must_not_open(turns, "/9-9", ERR_NO_DEVICE, "there is no such USB device", "/1-1 (0483:df11)");
}

static void a_device_in_use_is_busy_after_a_moment_of_patience(void **state)
{
    (void)state;
    struct peer_turn turns[128];
    size_t n = 0;
    /* patience is half a second, asked every 20 ms: a quarter of the script is enough to see it */
    static const struct peer_turn busy = {PEER_AWAIT_CLOSE, OP_IMPORT BUSID_1_1,
                                          "0111 0003 00000002", 0, 0};
    static const struct peer_turn rest[] = {
        ENUMERATE_DFU, {.what = PEER_AWAIT_CLOSE}, {.what = PEER_END}};
    struct session s;
    for (; n < 3; n++)
        turns[n] = busy;
    memcpy(turns + n, rest, sizeof rest);
    begin(&s, turns);
    end(&s);
}

static void a_refused_import_says_why(void **state)
{
    (void)state;
    static const struct peer_turn in_error[] = {
        {PEER_AWAIT_CLOSE, OP_IMPORT BUSID_1_1, "0111 0003 00000003", 0, 0}, {.what = PEER_END}};
    static const struct peer_turn old[] = {
        {PEER_AWAIT_CLOSE, OP_IMPORT BUSID_1_1, "0106 0003 00000000", 0, 0}, {.what = PEER_END}};
    static const struct peer_turn cut[] = {
        {PEER_CLOSE, OP_IMPORT BUSID_1_1, OP_IMPORTED "00 00 00", 0, 0}, {.what = PEER_END}};
    static const struct peer_turn shut[] = {{PEER_CLOSE, OP_IMPORT BUSID_1_1, NULL, 0, 0},
                                            {.what = PEER_END}};
    must_not_open(in_error, "/1-1", ERR_FAILED, "the device is in error, status 3", "unplug");
    must_not_open(old, "/1-1", ERR_PROTOCOL, "not that of USB/IP 1.1.1", "USB/IP server");
    must_not_open(cut, "/1-1", ERR_PROTOCOL, "in the middle of an answer", "USB/IP server");
    must_not_open(shut, "/1-1", ERR_PROTOCOL, "closed the connection", "USB/IP server");
}

static void descriptors_that_are_none_are_refused(void **state)
{
    (void)state;
    static const struct peer_turn turns[] = {
        {PEER_TURN, OP_IMPORT BUSID_1_1, OP_IMPORTED RECORD_DFU, 0, 0},
        {PEER_AWAIT_CLOSE, GET_DEVICE("00000001"),
         RETURN("00000001", "00000000", "00000008") "12 01 00 01 00 00 00 40", 0, 0},
        {.what = PEER_END}};
    must_not_open(turns, "/1-1", ERR_PROTOCOL, "device descriptor: 8 bytes came that are none",
                  "another cable");
}

static void nobody_listening_is_no_answer(void **state)
{
    (void)state;
    static const struct peer_turn turns[] = {{.what = PEER_END}};
    struct usbip_peer *peer = usbip_peer(turns);
    struct usb_device *devices;
    size_t count;
    struct usb *usb;
    struct error err;
    char name[128];
    (void)snprintf(name, sizeof name, "%s", usbip_peer_name(peer, "/1-1"));
    assert_true(usbip_peer_done(peer));
    assert_int_equal(usb_open(&usb, name, NULL, &err), ERR_NO_ANSWER);
    assert_non_null(strstr(err.message, "Connection refused"));
    assert_non_null(strstr(err.hint, "usbipd"));
    assert_int_equal(usbip_devices(&devices, &count, name, &err), ERR_NO_ANSWER);
    assert_null(devices);
}

static void a_name_without_a_device_is_a_usage_error(void **state)
{
    (void)state;
    struct usb *usb;
    struct error err;
    assert_int_equal(usb_open(&usb, "usbip:127.0.0.1", NULL, &err), ERR_USAGE);
    assert_true(usbip_is_name("usbip:host"));
    assert_true(usbip_is_name("usbip:host:1/1-1.4"));
    assert_true(usbip_is_name("usbip:[::1]:3240/1-1"));
    assert_true(usbip_is_name("usbip:[::1]"));
    assert_false(usbip_is_name("usbip:"));
    assert_false(usbip_is_name("usbip:host:99999"));
    assert_false(usbip_is_name("usbip:host/"));
    assert_false(usbip_is_name("usbip:a:b:c/1-1"));
    assert_false(usbip_is_name("usbip:host/1-1.2.3.4.5.6.7.8.9.10.11.12.13.14"));
    assert_false(usbip_is_name("1-1.4"));
}

/* ---- the list ---- */

static void devices_are_listed_with_their_texts_and_without_hubs(void **state)
{
    (void)state;
    static const struct peer_turn turns[] = {
        {PEER_AWAIT_CLOSE, OP_DEVLIST,
         OP_DEVICES "00000002" RECORD("1d6b 0002 0100", "09 00 00", "01") "09 00 00 00" RECORD(
             "0483 df11 2200", "00 00 00", "01") "fe 01 02 00",
         0, 0},
        {PEER_TURN, OP_IMPORT BUSID_1_1, OP_IMPORTED RECORD("0483 df11 2200", "00 00 00", "01"), 0,
         0},
        {PEER_TURN, GET_DEVICE("00000001"),
         RETURN("00000001", "00000000",
                "00000012") "12 01 00 01 00 00 00 40 83 04 11 df 00 22 00 02 00 01",
         0, 0},
        {PEER_TURN, GET_CONFIGURATION_9("00000002"),
         RETURN("00000002", "00000000", "00000009") DFU_CONFIGURATION_9, 0, 0},
        {PEER_TURN, SUBMIT_IN("00000003", "00", "0000001b", "80 06 00 02 00 00 1b 00"),
         RETURN("00000003", "00000000", "0000001b") DFU_CONFIGURATION, 0, 0},
        {PEER_TURN, SUBMIT_IN("00000004", "00", "000000ff", "80 06 00 03 00 00 ff 00"),
         RETURN("00000004", "00000000", "00000004") "04 03 09 04", 0, 0},
        {PEER_AWAIT_CLOSE, SUBMIT_IN("00000005", "00", "000000ff", "80 06 02 03 09 04 ff 00"),
         RETURN("00000005", "00000000", "00000008") "08 03 44 00 46 00 55 00", 0, 0},
        {.what = PEER_END}};
    struct usbip_peer *peer = usbip_peer(turns);
    struct usb_device *devices;
    size_t count;
    struct error err;
    char name[128];
    (void)snprintf(name, sizeof name, "%s", usbip_peer_name(peer, ""));
    assert_int_equal(usbip_devices(&devices, &count, name, &err), OK);
    assert_int_equal(count, 1);
    assert_string_equal(devices[0].product, "");
    usbip_texts(devices, count);
    assert_string_equal(devices[0].bus_path, "1-1");
    assert_string_equal(devices[0].product, "DFU");
    assert_int_equal(devices[0].interface_count, 1);
    assert_int_equal(devices[0].interfaces[0].class, 0xfe);
    assert_string_equal(devices[0].name, usbip_peer_name(peer, "/1-1"));
    free(devices);
    assert_true(usbip_peer_done(peer));
}

static void a_device_in_use_is_listed_at_once_without_texts(void **state)
{
    (void)state;
    static const struct peer_turn turns[] = {
        {PEER_AWAIT_CLOSE, OP_DEVLIST, OP_DEVICES "00000001" RECORD_DFU "fe 01 02 00", 0, 0},
        {PEER_AWAIT_CLOSE, OP_IMPORT BUSID_1_1, "0111 0003 00000002", 0, 0},
        {.what = PEER_END}};
    struct usbip_peer *peer = usbip_peer(turns);
    struct usb_device *devices;
    size_t count;
    struct error err;
    assert_int_equal(usbip_devices(&devices, &count, usbip_peer_name(peer, "/1-1"), &err), OK);
    assert_int_equal(count, 1);
    usbip_texts(devices, count);
    assert_string_equal(devices[0].product, "");
    free(devices);
    assert_true(usbip_peer_done(peer));
}

/* A server that lists what it then does not know is not asked for its list again and again. */
static void a_list_that_contradicts_itself_is_taken_as_it_is(void **state)
{
    (void)state;
    static const struct peer_turn turns[] = {
        {PEER_AWAIT_CLOSE, OP_DEVLIST, OP_DEVICES "00000001" RECORD_DFU "fe 01 02 00", 0, 0},
        {PEER_AWAIT_CLOSE, OP_IMPORT BUSID_1_1, "0111 0003 00000004", 0, 0},
        {.what = PEER_END}};
    struct usbip_peer *peer = usbip_peer(turns);
    struct usb_device *devices;
    size_t count;
    struct error err;
    assert_int_equal(usbip_devices(&devices, &count, usbip_peer_name(peer, ""), &err), OK);
    assert_int_equal(count, 1);
    usbip_texts(devices, count);
    free(devices);
    assert_true(usbip_peer_done(peer));
}

static void must_not_list(const char *answer, const char *message)
{
    const struct peer_turn turns[] = {{PEER_CLOSE, OP_DEVLIST, answer, 0, 0}, {.what = PEER_END}};
    struct usbip_peer *peer = usbip_peer(turns);
    struct usb_device *devices;
    size_t count;
    struct error err;
    assert_int_equal(usbip_devices(&devices, &count, usbip_peer_name(peer, ""), &err),
                     ERR_PROTOCOL);
    assert_null(devices);
    assert_int_equal(count, 0);
    assert_non_null(strstr(err.message, message));
    assert_true(usbip_peer_done(peer));
}

static void lists_that_cannot_be_are_refused(void **state)
{
    (void)state;
    must_not_list(OP_DEVICES "ffffffff", "more devices than can be");
    must_not_list(OP_DEVICES "00000002" RECORD_DFU "fe 01 02 00",
                  "the server closed the connection");
    must_not_list(OP_DEVICES "00 00", "in the middle of an answer");
    must_not_list("0111 0003 00000000", "not that of USB/IP 1.1.1");
    must_not_list("0111 0005 00000001", "does not tell its devices");
    must_not_list("48 54 54 50 2f 31 2e 31", "not that of USB/IP 1.1.1");
}

/* ---- reset ---- */

#define HUB_RESET(seq)         SUBMIT_OUT(seq, "00", "00000000", "23 03 04 00 01 00 00 00")
#define GET_CONFIGURATION(seq) SUBMIT_IN(seq, "00", "00000001", "80 08 00 00 00 00 01 00")
#define SET_CONFIGURATION(seq) SUBMIT_OUT(seq, "00", "00000000", "00 09 01 00 00 00 00 00")

static void a_reset_device_is_configured_again(void **state)
{
    (void)state;
    struct session s;
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.host = HUB_RESET("00000005"), .device = RETURN("00000005", "00000000", "00000000")},
        {.host = GET_DEVICE("00000006"),
         .device = RETURN("00000006", "00000000", "00000012") DFU_DEVICE},
        {.host = GET_CONFIGURATION("00000007"),
         .device = RETURN("00000007", "00000000", "00000001") "00"},
        {.host = SET_CONFIGURATION("00000008"),
         .device = RETURN("00000008", "00000000", "00000000")},
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    assert_int_equal(usb_reset(s.usb, &s.err), OK);
    end(&s);
}

static void a_server_without_reset_has_the_device_let_go_and_taken_again(void **state)
{
    (void)state;
    struct session s;
    static const struct peer_turn turns[] = {
        ENUMERATE_DFU,
        {.what = PEER_AWAIT_CLOSE,
         .host = HUB_RESET("00000005"),
         .device = RETURN("00000005", "ffffffe0", "00000000")},
        {.what = PEER_AWAIT_CLOSE, .host = OP_IMPORT BUSID_1_1, .device = "0111 0003 00000002"},
        {.host = OP_IMPORT BUSID_1_1, .device = OP_IMPORTED RECORD_DFU},
        {.host = GET_DEVICE("00000006"),
         .device = RETURN("00000006", "00000000", "00000012") DFU_DEVICE},
        {.host = GET_CONFIGURATION("00000007"),
         .device = RETURN("00000007", "00000000", "00000001") "01"},
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    assert_int_equal(usb_reset(s.usb, &s.err), OK);
    end(&s);
}

static void a_device_that_comes_back_as_another_is_gone(void **state)
{
    (void)state;
    struct session s;
    static const struct peer_turn other[] = {
        ENUMERATE_DFU,
        {.host = HUB_RESET("00000005"), .device = RETURN("00000005", "00000000", "00000000")},
        {.what = PEER_AWAIT_CLOSE,
         .host = GET_DEVICE("00000006"),
         .device = RETURN("00000006", "00000000",
                          "00000012") "12 01 00 01 00 00 00 40 50 1d 4e 61 00 01 00 00 00 01"},
        {.what = PEER_END}};
    static const struct peer_turn left[] = {
        ENUMERATE_DFU, {.what = PEER_CLOSE, .host = HUB_RESET("00000005")}, {.what = PEER_END}};
    begin(&s, other);
    assert_int_equal(usb_reset(s.usb, &s.err), ERR_GONE);
    assert_non_null(strstr(s.err.message, "it came back as another device"));
    end(&s);
    begin(&s, left);
    assert_int_equal(usb_reset(s.usb, &s.err), ERR_GONE);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_is_imported_asked_and_configured),
        cmocka_unit_test(a_control_read_is_the_documented_packet),
        cmocka_unit_test(a_refused_write_is_a_stall_and_the_link_lives_on),
        cmocka_unit_test(an_out_transfer_needs_no_count_of_what_went),
        cmocka_unit_test(several_transfers_are_under_way_at_once),
        cmocka_unit_test(silence_ends_at_the_deadline_by_a_cancellation),
        cmocka_unit_test(an_answer_that_crosses_the_cancellation_counts),
        cmocka_unit_test(an_answer_after_the_cancellation_is_swallowed),
        cmocka_unit_test(a_server_that_ignores_cancellations_is_given_up),
        cmocka_unit_test(answers_that_are_none_end_the_link),
        cmocka_unit_test(a_connection_that_ends_means_that_the_device_is_gone),
        cmocka_unit_test(an_answer_counts_even_if_the_connection_ends_behind_it),
        cmocka_unit_test(every_status_has_its_end),
        cmocka_unit_test(a_missing_device_is_answered_with_those_there_are),
        cmocka_unit_test(a_device_in_use_is_busy_after_a_moment_of_patience),
        cmocka_unit_test(a_refused_import_says_why),
        cmocka_unit_test(descriptors_that_are_none_are_refused),
        cmocka_unit_test(nobody_listening_is_no_answer),
        cmocka_unit_test(a_name_without_a_device_is_a_usage_error),
        cmocka_unit_test(devices_are_listed_with_their_texts_and_without_hubs),
        cmocka_unit_test(a_device_in_use_is_listed_at_once_without_texts),
        cmocka_unit_test(a_list_that_contradicts_itself_is_taken_as_it_is),
        cmocka_unit_test(lists_that_cannot_be_are_refused),
        cmocka_unit_test(a_reset_device_is_configured_again),
        cmocka_unit_test(a_server_without_reset_has_the_device_let_go_and_taken_again),
        cmocka_unit_test(a_device_that_comes_back_as_another_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
