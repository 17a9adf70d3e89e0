/* The CAN link: what all backends share, and the stream of bytes between two ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/can/error.h>
#include <string.h>

#include "scripted_can.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static struct can_frame frame(canid_t id, const char *text)
{
    struct can_frame made = {.can_id = id, .len = (uint8_t)strlen(text)};
    memcpy(made.data, text, made.len);
    return made;
}

static struct can_frame bus_error(canid_t class, uint8_t controller, uint8_t tx, uint8_t rx)
{
    return (struct can_frame){.can_id = CAN_ERR_FLAG | class,
                              .len = CAN_ERR_DLC,
                              .data = {0, controller, 0, 0, 0, 0, tx, rx}};
}

static void listen_to(struct scripted_can *script, uint16_t id)
{
    assert_int_equal(can_listen(&script->can, &id, 1, NULL), OK);
}

static int receive(struct scripted_can *script, struct can_frame *got, struct error *err)
{
    return can_receive(&script->can, got, script->now + 10 * MILLISECOND, err);
}

/* ---- sending ---- */

static void frame_goes_out_as_it_is(void **state)
{
    (void)state;
    struct scripted_can script;
    scripted_can_start(&script, NULL, 0);
    assert_int_equal(can_send(&script.can, 0x202, (const uint8_t *)"abc", 3, NULL), OK);
    assert_int_equal(can_send(&script.can, 0x7ff, NULL, 0, NULL), OK);
    assert_int_equal(script.sent_count, 2);
    const struct can_frame expected = frame(0x202, "abc");
    assert_memory_equal(&script.sent[0], &expected, sizeof expected);
    assert_int_equal(script.sent[1].len, 0);
}

static void full_queue_is_waited_out_without_losing_or_reordering(void **state)
{
    (void)state;
    struct scripted_can script;
    scripted_can_start(&script, NULL, 0);
    for (uint8_t i = 0; i < 40; i++) {
        script.full = i % 4;
        assert_int_equal(can_send(&script.can, 0x100, &i, 1, NULL), OK);
    }
    assert_int_equal(script.sent_count, 40);
    for (uint8_t i = 0; i < 40; i++)
        assert_int_equal(script.sent[i].data[0], i);
}

static void room_is_found_soon(void **state)
{
    (void)state;
    struct scripted_can script;
    scripted_can_start(&script, NULL, 0);
    script.room_at = 100 * MILLISECOND;
    assert_int_equal(can_send(&script.can, 0x100, NULL, 0, NULL), OK);
    assert_in_range(script.now, 100 * MILLISECOND, 101 * MILLISECOND);
}

static void queue_that_stays_full_is_an_error_that_says_why(void **state)
{
    (void)state;
    struct scripted_can script;
    struct error err;
    const struct can_frame incoming[] = {bus_error(CAN_ERR_ACK, 0, 0, 0)};
    scripted_can_start(&script, incoming, COUNT(incoming));
    script.room_at = UINT64_MAX;
    assert_int_equal(can_send(&script.can, 0x202, NULL, 0, &err), ERR_NO_ANSWER);
    assert_int_equal(script.now / SECOND, 2);
    assert_non_null(strstr(err.message, "sending to 202"));
    assert_non_null(strstr(err.hint, "acknowledges"));
}

static void what_is_no_frame_is_refused(void **state)
{
    (void)state;
    struct scripted_can script;
    struct error err;
    uint8_t bytes[9] = {0};
    scripted_can_start(&script, NULL, 0);
    assert_int_equal(can_send(&script.can, 0x202, bytes, 9, &err), ERR_FAILED);
    assert_int_equal(can_send(&script.can, 0x800, bytes, 8, &err), ERR_FAILED);
    assert_int_equal(script.sent_count, 0);
}

/* ---- receiving ---- */

static void only_ids_listened_to_are_handed_out(void **state)
{
    (void)state;
    struct scripted_can script;
    struct can_frame got;
    struct can_frame too_long = frame(0x203, "12345678");
    too_long.len = 9;
    const struct can_frame incoming[] = {
        frame(0x205, "other"),
        frame(0x203 | CAN_EFF_FLAG, "extended"),
        frame(0x203 | CAN_RTR_FLAG, ""),
        too_long,
        frame(0x203, "mine"),
    };
    scripted_can_start(&script, incoming, COUNT(incoming));
    listen_to(&script, 0x203);
    assert_int_equal(receive(&script, &got, NULL), 1);
    assert_memory_equal(got.data, "mine", 4);
    assert_int_equal(script.can.received, 1);
    assert_int_equal(receive(&script, &got, NULL), 0);
}

static void nothing_is_heard_before_listening(void **state)
{
    (void)state;
    struct scripted_can script;
    struct can_frame got;
    const struct can_frame incoming[] = {frame(0, "x")};
    scripted_can_start(&script, incoming, COUNT(incoming));
    assert_int_equal(receive(&script, &got, NULL), 0);
}

static void too_many_ids_are_refused(void **state)
{
    (void)state;
    struct scripted_can script;
    uint16_t ids[CAN_LISTEN_MAX + 1] = {0};
    struct error err;
    scripted_can_start(&script, NULL, 0);
    assert_int_equal(can_listen(&script.can, ids, CAN_LISTEN_MAX, &err), OK);
    assert_int_equal(can_listen(&script.can, ids, CAN_LISTEN_MAX + 1, &err), ERR_FAILED);
}

static void flood_of_others_does_not_outlast_the_deadline(void **state)
{
    (void)state;
    struct scripted_can script;
    struct can_frame got;
    const struct can_frame incoming[] = {frame(0x300, "noise")};
    scripted_can_start(&script, incoming, COUNT(incoming));
    script.repeats = true;
    listen_to(&script, 0x203);
    assert_int_equal(receive(&script, &got, NULL), 0);
    assert_in_range(script.now, 10 * MILLISECOND, 100 * MILLISECOND);
}

/* ---- what the bus says of itself ---- */

static void error_frames_are_taken_note_of(void **state)
{
    (void)state;
    struct scripted_can script;
    struct can_frame got;
    const struct can_frame incoming[] = {
        bus_error(CAN_ERR_CRTL | CAN_ERR_CNT, CAN_ERR_CRTL_TX_PASSIVE, 130, 7),
        bus_error(CAN_ERR_CRTL, CAN_ERR_CRTL_RX_OVERFLOW, 99, 99), /* no counters in this one */
        bus_error(CAN_ERR_ACK, 0, 0, 0),
        frame(0x203, "x"),
    };
    scripted_can_start(&script, incoming, COUNT(incoming));
    listen_to(&script, 0x203);
    assert_int_equal(receive(&script, &got, NULL), 1);
    const struct can_trouble *trouble = &script.can.trouble;
    assert_true(trouble->passive && trouble->overflow && trouble->no_acknowledge);
    assert_false(trouble->bus_off);
    assert_int_equal(trouble->tx_errors, 130);
    assert_int_equal(trouble->rx_errors, 7);
}

static void bus_off_is_an_error_until_the_restart(void **state)
{
    (void)state;
    struct scripted_can script;
    struct can_frame got;
    struct error err;
    const struct can_frame incoming[] = {bus_error(CAN_ERR_BUSOFF, 0, 0, 0)};
    const struct can_frame later[] = {bus_error(CAN_ERR_RESTARTED, 0, 0, 0), frame(0x203, "x")};
    scripted_can_start(&script, incoming, COUNT(incoming));
    listen_to(&script, 0x203);
    assert_int_equal(receive(&script, &got, &err), ERR_FAILED);
    assert_int_equal(receive(&script, &got, &err), ERR_FAILED);
    assert_int_equal(script.now, 0); /* no use waiting */
    assert_int_equal(can_send(&script.can, 0x202, NULL, 0, &err), ERR_FAILED);
    assert_int_equal(script.sent_count, 0);
    script.incoming = later;
    script.incoming_count = COUNT(later);
    assert_int_equal(receive(&script, &got, &err), 1);
    assert_int_equal(can_send(&script.can, 0x202, NULL, 0, &err), OK);
    assert_true(script.can.trouble.bus_off); /* it was, once */
}

static void explain(const struct can_frame *incoming, size_t count, struct error *err)
{
    struct scripted_can script;
    struct can_frame got;
    scripted_can_start(&script, incoming, count);
    listen_to(&script, 0x203);
    while (receive(&script, &got, NULL) == 1)
        continue;
    error_set(err, ERR_NO_ANSWER, "no answer");
    error_hint(err, "is it on?");
    can_explain_silence(&script.can, err);
    assert_string_equal(err->message, "no answer");
}

static void silence_is_explained_by_what_was_seen(void **state)
{
    (void)state;
    struct error err;
    const struct can_frame lonely[] = {bus_error(CAN_ERR_ACK, 0, 0, 0)};
    const struct can_frame passive[] = {bus_error(CAN_ERR_CRTL, CAN_ERR_CRTL_RX_PASSIVE, 0, 0)};
    const struct can_frame lossy[] = {bus_error(CAN_ERR_CRTL, CAN_ERR_CRTL_RX_OVERFLOW, 0, 0)};
    const struct can_frame off[] = {bus_error(CAN_ERR_ACK, 0, 0, 0),
                                    bus_error(CAN_ERR_BUSOFF, 0, 0, 0)};
    explain(lonely, COUNT(lonely), &err);
    assert_non_null(strstr(err.hint, "nobody on script acknowledges"));
    explain(passive, COUNT(passive), &err);
    assert_non_null(strstr(err.hint, "script is ERROR-PASSIVE: the bit rate"));
    explain(lossy, COUNT(lossy), &err);
    assert_non_null(strstr(err.hint, "lost on this side"));
    explain(off, COUNT(off), &err);
    assert_non_null(strstr(err.hint, "script is BUS-OFF"));
    explain(NULL, 0, &err);
    assert_string_equal(err.hint, "is it on?");
}

/* Somebody answered, so the bus is not empty. */
static void bus_with_answers_is_not_called_empty(void **state)
{
    (void)state;
    struct error err;
    const struct can_frame incoming[] = {bus_error(CAN_ERR_ACK, 0, 0, 0), frame(0x203, "x")};
    explain(incoming, COUNT(incoming), &err);
    assert_string_equal(err.hint, "is it on?");
}

/* ---- the stream ---- */

static void stream_cuts_what_is_written_into_frames_of_eight(void **state)
{
    (void)state;
    struct scripted_can script;
    struct serial *serial;
    scripted_can_start(&script, NULL, 0);
    assert_int_equal(can_stream_open(&serial, &script.can, 0x108, 0x109, NULL), OK);
    assert_int_equal(serial_write(serial, (const uint8_t *)"0123456789abcdefXY", 18, NULL), OK);
    serial_close(serial);
    assert_int_equal(script.sent_count, 3);
    assert_int_equal(script.sent[0].can_id, 0x108);
    assert_memory_equal(script.sent[1].data, "89abcdef", 8);
    assert_int_equal(script.sent[2].len, 2);
    assert_memory_equal(script.sent[2].data, "XY", 2);
}

static void stream_joins_frames_of_its_id(void **state)
{
    (void)state;
    struct scripted_can script;
    struct serial *serial;
    struct error err;
    uint8_t bytes[16];
    const uint16_t ids[] = {0x109, 0x3f1};
    const struct can_frame incoming[] = {frame(0x109, "01234567"), frame(0x3f1, "admin"),
                                         frame(0x109, ""),         frame(0x109, "89ab"),
                                         frame(0x109, "left"),     frame(0x109, "over")};
    scripted_can_start(&script, incoming, COUNT(incoming));
    assert_int_equal(can_listen(&script.can, ids, COUNT(ids), NULL), OK);
    assert_int_equal(can_stream_open(&serial, &script.can, 0x108, 0x109, NULL), OK);
    assert_int_equal(serial_read(serial, bytes, 3, 1000, &err), OK);
    assert_int_equal(serial_read(serial, bytes + 3, 9, 1000, &err), OK);
    assert_memory_equal(bytes, "0123456789ab", 12);
    assert_int_equal(serial_read(serial, bytes, 1, 1000, &err), OK);
    serial_drop_input(serial);
    assert_int_equal(serial_read(serial, bytes, 1, 1000, &err), ERR_NO_ANSWER);
    assert_int_equal(script.now, 1000);
    serial_close(serial);
}

static void stream_has_no_modem_lines_and_takes_any_settings(void **state)
{
    (void)state;
    struct scripted_can script;
    struct serial *serial;
    struct error err;
    scripted_can_start(&script, NULL, 0);
    assert_int_equal(can_stream_open(&serial, &script.can, 0x108, 0x109, NULL), OK);
    assert_int_equal(serial_set_lines(serial, false, false, &err), ERR_NOT_POSSIBLE);
    assert_int_equal(
        serial_configure(serial, &(struct serial_settings){250000, PARITY_NONE, 1}, &err), OK);
    serial_close(serial);
}

static void stream_hands_on_that_the_bus_is_off(void **state)
{
    (void)state;
    struct scripted_can script;
    struct serial *serial;
    struct error err;
    uint8_t byte;
    const struct can_frame incoming[] = {bus_error(CAN_ERR_BUSOFF, 0, 0, 0)};
    scripted_can_start(&script, incoming, COUNT(incoming));
    listen_to(&script, 0x109);
    assert_int_equal(can_stream_open(&serial, &script.can, 0x108, 0x109, NULL), OK);
    assert_int_equal(serial_read(serial, &byte, 1, 1000, &err), ERR_FAILED);
    assert_int_equal(serial_write(serial, &byte, 1, &err), ERR_FAILED);
    serial_close(serial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_goes_out_as_it_is),
        cmocka_unit_test(full_queue_is_waited_out_without_losing_or_reordering),
        cmocka_unit_test(room_is_found_soon),
        cmocka_unit_test(queue_that_stays_full_is_an_error_that_says_why),
        cmocka_unit_test(what_is_no_frame_is_refused),
        cmocka_unit_test(only_ids_listened_to_are_handed_out),
        cmocka_unit_test(nothing_is_heard_before_listening),
        cmocka_unit_test(too_many_ids_are_refused),
        cmocka_unit_test(flood_of_others_does_not_outlast_the_deadline),
        cmocka_unit_test(error_frames_are_taken_note_of),
        cmocka_unit_test(bus_off_is_an_error_until_the_restart),
        cmocka_unit_test(silence_is_explained_by_what_was_seen),
        cmocka_unit_test(bus_with_answers_is_not_called_empty),
        cmocka_unit_test(stream_cuts_what_is_written_into_frames_of_eight),
        cmocka_unit_test(stream_joins_frames_of_its_id),
        cmocka_unit_test(stream_has_no_modem_lines_and_takes_any_settings),
        cmocka_unit_test(stream_hands_on_that_the_bus_is_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
