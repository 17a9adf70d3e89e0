/* A CDC-ACM function of a USB/IP device as a serial line, byte for byte on the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "link/serial.h"
#include "usbip_peer.h"

/* Klipper's: control interface 0 with an interrupt endpoint 0x81, data interface 1 with bulk
 * endpoints 0x83 and 0x02 of 64 bytes. */
#define CDC_DEVICE          "12 01 00 02 02 00 00 40 50 1d 4e 61 00 01 00 00 00 01"
#define CDC_CONFIGURATION_9 "09 02 3e 00 02 01 00 c0 32"
#define CDC_CONFIGURATION                            \
    CDC_CONFIGURATION_9 "09 04 00 00 01 02 02 01 00" \
                        "05 24 00 10 01"             \
                        "04 24 02 06"                \
                        "05 24 06 00 01"             \
                        "07 05 81 03 08 00 10"       \
                        "09 04 01 00 02 0a 00 00 00" \
                        "07 05 02 02 40 00 00"       \
                        "07 05 83 02 40 00 00"
#define RECORD_CDC RECORD("1d50 614e 0100", "02 00 00", "01")
#define IMPORT_CDC                                                   \
    {                                                                \
        PEER_TURN, OP_IMPORT BUSID_1_1, OP_IMPORTED RECORD_CDC, 0, 0 \
    }
#define ENUMERATE_CDC                                                                              \
    IMPORT_CDC,                                                                                    \
        {PEER_TURN, GET_DEVICE("00000001"), RETURN("00000001", "00000000", "00000012") CDC_DEVICE, \
         0, 0},                                                                                    \
        {PEER_TURN, GET_CONFIGURATION_9("00000002"),                                               \
         RETURN("00000002", "00000000", "00000009") CDC_CONFIGURATION_9, 0, 0},                    \
    {                                                                                              \
        PEER_TURN, SUBMIT_IN("00000003", "00", "0000003e", "80 06 00 02 00 00 3e 00"),             \
            RETURN("00000003", "00000000", "0000003e") CDC_CONFIGURATION, 0, 0                     \
    }

#define LINES(seq, lines)         SUBMIT_OUT(seq, "00", "00000000", "21 22" lines "00 00 00 00")
#define CODING(seq, coding)       SUBMIT_OUT(seq, "00", "00000007", "21 20 00 00 00 00 07 00") coding
#define READ(seq)                 SUBMIT_IN(seq, "03", "00000040", ZEROS_8)
#define WRITE(seq, length, bytes) SUBMIT_OUT(seq, "02", length, ZEROS_8) bytes
#define OK_OUT(seq)               RETURN(seq, "00000000", "00000000")
#define CAME(seq, length, bytes)  RETURN(seq, "00000000", length) bytes

/* Opening: DTR and RTS first, four reads, the line coding of 250000 8N1. */
#define OPEN_CDC                                                                      \
    ENUMERATE_CDC, {PEER_TURN, LINES("00000004", "03 00"), OK_OUT("00000004"), 0, 0}, \
    {                                                                                 \
        PEER_TURN,                                                                    \
            READ("00000005") READ("00000006") READ("00000007") READ("00000008")       \
                CODING("00000009", "90 d0 03 00 00 00 08"),                           \
            OK_OUT("00000009"), 0, 0                                                  \
    }

/* Closing: the lines fall, the reads are cancelled. */
#define UNLINK_READ(seq, of)                                        \
    {                                                               \
        PEER_TURN, UNLINK(seq, of), UNLINKED(seq, "ffffff98"), 0, 0 \
    }

static const struct serial_settings klipper = {250000, PARITY_NONE, 1};

struct session {
    struct usbip_peer *peer;
    struct serial *serial;
    struct error err;
};

static void begin(struct session *session, const struct peer_turn *turns)
{
    memset(session, 0, sizeof *session);
    session->peer = usbip_peer(turns);
    int rc = serial_open(&session->serial, usbip_peer_name(session->peer, "/1-1"), &klipper, NULL,
                         &session->err);
    if (rc != OK)
        print_error("%s\n", session->err.message);
    assert_int_equal(rc, OK);
}

static void end(struct session *session)
{
    serial_close(session->serial);
    assert_true(usbip_peer_done(session->peer));
}

static uint64_t in_ms(const struct session *session, unsigned ms)
{
    return clock_in(session->serial->clock, (uint64_t)ms * MILLISECOND);
}

static void bytes_go_and_come_in_packets(void **state)
{
    (void)state;
    struct session s;
    uint8_t bytes[5];
    static const struct peer_turn turns[] = {
        OPEN_CDC,
        {.host = WRITE("0000000a", "00000003", "61 62 63"),
         .device = OK_OUT("0000000a") CAME("00000005", "00000004", "01 02 03 04")
             CAME("00000006", "00000000", "") CAME("00000007", "00000001", "05")},
        {.host = READ("0000000b") READ("0000000c") READ("0000000d")},
        {.host = LINES("0000000e", "00 00"), .device = OK_OUT("0000000e")},
        UNLINK_READ("0000000f", "0000000b"),
        UNLINK_READ("00000010", "0000000c"),
        UNLINK_READ("00000011", "0000000d"),
        UNLINK_READ("00000012", "00000008"),
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    assert_string_equal(s.serial->ops->name, "cdc-acm");
    assert_int_equal(serial_write(s.serial, (const uint8_t *)"abc", 3, &s.err), OK);
    /* over a packet's end, and over an empty one */
    assert_int_equal(serial_read(s.serial, bytes, 3, in_ms(&s, 2000), &s.err), OK);
    assert_int_equal(serial_read(s.serial, bytes + 3, 2, in_ms(&s, 2000), &s.err), OK);
    assert_memory_equal(bytes, "\1\2\3\4\5", 5);
    end(&s);
}

static void silence_is_told_at_the_deadline_and_nothing_is_lost(void **state)
{
    (void)state;
    struct session s;
    uint8_t byte;
    static const struct peer_turn turns[] = {
        OPEN_CDC,
        {.device = CAME("00000005", "00000001", "2a"), .delay = 120},
        {.host = READ("0000000a")},
        {.host = LINES("0000000b", "00 00"), .device = OK_OUT("0000000b")},
        UNLINK_READ("0000000c", "0000000a"),
        UNLINK_READ("0000000d", "00000006"),
        UNLINK_READ("0000000e", "00000007"),
        UNLINK_READ("0000000f", "00000008"),
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    begin(&s, turns);
    uint64_t start = clock_now(s.serial->clock);
    assert_int_equal(serial_read_some(s.serial, &byte, 1, start + 30 * MILLISECOND, &s.err), 0);
    uint64_t took = clock_now(s.serial->clock) - start;
    assert_true(took >= 30 * MILLISECOND && took < 100 * MILLISECOND);
    assert_int_equal(serial_read_some(s.serial, &byte, 1, in_ms(&s, 2000), &s.err), 1);
    assert_int_equal(byte, 0x2a);
    end(&s);
}

static void a_device_that_leaves_is_gone(void **state)
{
    (void)state;
    struct session s;
    uint8_t bytes[2];
    static const struct peer_turn turns[] = {
        OPEN_CDC,
        {.what = PEER_CLOSE,
         .host = WRITE("0000000a", "00000001", "61"),
         .device = OK_OUT("0000000a") CAME("00000005", "00000001", "07")},
        {.what = PEER_END}};
    begin(&s, turns);
    assert_int_equal(serial_write(s.serial, (const uint8_t *)"a", 1, &s.err), OK);
    assert_int_equal(serial_read(s.serial, bytes, 1, in_ms(&s, 2000), &s.err), OK);
    assert_int_equal(bytes[0], 7);
    assert_int_equal(serial_read(s.serial, bytes, 1, in_ms(&s, 2000), &s.err), ERR_GONE);
    assert_non_null(strstr(s.err.message, "(1d50:614e)"));
    assert_true(s.err.hint[0] != '\0');
    assert_int_equal(serial_write(s.serial, (const uint8_t *)"a", 1, &s.err), ERR_GONE);
    end(&s);
}

static void the_touch_is_what_a_tty_would_do(void **state)
{
    (void)state;
    static const struct peer_turn turns[] = {
        ENUMERATE_CDC,
        {PEER_TURN, LINES("00000004", "03 00"), OK_OUT("00000004"), 0, 0},
        {PEER_TURN,
         READ("00000005") READ("00000006") READ("00000007") READ("00000008")
             CODING("00000009", "b0 04 00 00 00 00 08"),
         OK_OUT("00000009"), 0, 0},
        /* DTR falls; the board restarts and its status stage is never seen */
        {PEER_CLOSE, LINES("0000000a", "02 00"), NULL, 0, 0},
        {.what = PEER_END}};
    struct usbip_peer *peer = usbip_peer(turns);
    struct error err;
    assert_int_equal(serial_touch_1200(usbip_peer_name(peer, "/1-1"), NULL, &err), OK);
    assert_true(usbip_peer_done(peer));
}

static void refused_lines_are_no_failure(void **state)
{
    (void)state;
    struct session s;
    static const struct peer_turn turns[] = {
        ENUMERATE_CDC,
        {PEER_TURN, LINES("00000004", "03 00"), RETURN("00000004", "ffffffe0", "00000000"), 0, 0},
        {PEER_TURN,
         READ("00000005") READ("00000006") READ("00000007") READ("00000008")
             CODING("00000009", "90 d0 03 00 00 00 08"),
         RETURN("00000009", "ffffffe0", "00000000"), 0, 0},
        {PEER_TURN, CODING("0000000a", "00 c2 01 00 02 02 08"), OK_OUT("0000000a"), 0, 0},
        {PEER_TURN, LINES("0000000b", "01 00"), OK_OUT("0000000b"), 0, 0},
        {PEER_TURN, LINES("0000000c", "00 00"), OK_OUT("0000000c"), 0, 0},
        UNLINK_READ("0000000d", "00000005"),
        UNLINK_READ("0000000e", "00000006"),
        UNLINK_READ("0000000f", "00000007"),
        UNLINK_READ("00000010", "00000008"),
        {.what = PEER_AWAIT_CLOSE},
        {.what = PEER_END}};
    const struct serial_settings even = {115200, PARITY_EVEN, 2};
    begin(&s, turns);
    assert_int_equal(serial_configure(s.serial, &even, &s.err), OK);
    assert_int_equal(serial_set_lines(s.serial, true, false, &s.err), OK);
    end(&s);
}

static void must_not_be_a_serial_port(const struct peer_turn *turns, const char *ids)
{
    struct usbip_peer *peer = usbip_peer(turns);
    struct serial *serial;
    struct error err;
    assert_int_equal(serial_open(&serial, usbip_peer_name(peer, "/1-1"), &klipper, NULL, &err),
                     ERR_NO_DEVICE);
    assert_null(serial);
    assert_non_null(strstr(err.message, ids));
    assert_non_null(strstr(err.message, "as a serial port: it has no CDC-ACM function"));
    assert_true(err.hint[0] != '\0');
    assert_true(usbip_peer_done(peer));
}

/* and is not sent a single class request, which its bootloader might take amiss */
static void a_device_without_the_function_is_no_serial_port(void **state)
{
    (void)state;
    static const struct peer_turn dfu[] = {
        ENUMERATE_DFU, {.what = PEER_AWAIT_CLOSE}, {.what = PEER_END}};
    /* a control interface whose data interface has no endpoints */
    static const struct peer_turn half[] = {
        IMPORT_CDC,
        {PEER_TURN, GET_DEVICE("00000001"), CAME("00000001", "00000012", CDC_DEVICE), 0, 0},
        {PEER_TURN, GET_CONFIGURATION_9("00000002"),
         CAME("00000002", "00000009", "09 02 12 00 02 01 00 c0 32"), 0, 0},
        {PEER_AWAIT_CLOSE, SUBMIT_IN("00000003", "00", "00000012", "80 06 00 02 00 00 12 00"),
         CAME("00000003", "00000012",
              "09 02 12 00 02 01 00 c0 32"
              "09 04 00 00 01 02 02 01 00"),
         0, 0},
        {.what = PEER_END}};
    must_not_be_a_serial_port(dfu, "(0483:df11)");
    must_not_be_a_serial_port(half, "(1d50:614e)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_and_come_in_packets),
        cmocka_unit_test(silence_is_told_at_the_deadline_and_nothing_is_lost),
        cmocka_unit_test(a_device_that_leaves_is_gone),
        cmocka_unit_test(the_touch_is_what_a_tty_would_do),
        cmocka_unit_test(refused_lines_are_no_failure),
        cmocka_unit_test(a_device_without_the_function_is_no_serial_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
