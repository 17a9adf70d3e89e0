/* The wire of virtual boards: byte times, receiver depth, wrong rates, packets, faults, hang-ups.
 * The device is an echo that can be made busy, so that only the line is on trial. */
#include "katapult_bench.h"

#include <string.h>

#include "wrong_rate.h"

struct echo {
    struct vserial serial;
    uint64_t busy_until;
    unsigned resets, heard;
    enum vreset cause;
    bool misframed, drops, mute;
    enum vprogram program;
    uint8_t last[64];
};

static struct echo *echo_of(struct vserial *dev)
{
    return (struct echo *)dev;
}

static void echo_reset(struct vserial *dev, enum vreset cause)
{
    echo_of(dev)->resets++;
    echo_of(dev)->cause = cause;
}

static void echo_receive(struct vserial *dev, uint8_t byte)
{
    struct echo *echo = echo_of(dev);
    echo->last[echo->heard++ % sizeof echo->last] = byte;
    echo->misframed |= dev->line->framing_error;
    if (!echo->mute)
        dev->line->send(dev->line, byte);
    if (echo->drops)
        dev->line->drop_packet(dev->line);
}

static uint64_t echo_next(const struct vserial *dev)
{
    const struct echo *echo = (const struct echo *)dev;
    return echo->busy_until ? echo->busy_until : UINT64_MAX;
}

static void echo_tick(struct vserial *dev)
{
    echo_of(dev)->busy_until = 0;
}

static bool echo_busy(const struct vserial *dev)
{
    return ((const struct echo *)dev)->busy_until != 0;
}

static enum vprogram echo_runs(const struct vserial *dev)
{
    return ((const struct echo *)dev)->program;
}

static const struct vserial_ops echo_ops = {
    .reset = echo_reset,
    .receive = echo_receive,
    .next = echo_next,
    .tick = echo_tick,
    .busy = echo_busy,
    .runs = echo_runs,
};

static struct echo uart_echo(void)
{
    return (struct echo){.serial = {.ops = &echo_ops, .baud = 115200, .rx_depth = 3}};
}

static struct echo usb_echo(void)
{
    return (struct echo){.serial = {.ops = &echo_ops}};
}

static struct bench *bench_of(struct echo *echo, const struct line_faults *faults)
{
    static const struct vmodel model = {.name = "echo", .baud = 115200};
    static struct bench bench;
    memset(&bench, 0, sizeof bench);
    bench.model = &model;
    bench.device = &echo->serial;
    bench_open(&bench, faults);
    return &bench;
}

static void set_baud(struct bench *bench, uint32_t baud)
{
    struct serial_settings settings = {.baud = baud, .stop_bits = 1};
    assert_int_equal(bench->serial->ops->configure(bench->serial, &settings, NULL), OK);
}

static void bytes_take_their_time_on_the_wire(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct bench *bench = bench_of(&echo, NULL);
    bench_say(bench, "01 02 03 04 05 06 07 08 09 0A");
    bench_wait(bench, 868); /* ten bytes of ten bits at 115200 baud: 868.06 us */
    assert_int_equal(echo.heard, 9);
    bench_wait(bench, 1);
    assert_int_equal(echo.heard, 10);
    bench_hears(bench, "01 02 03 04 05 06 07 08 09 0A");
    bench_close(bench);
}

static void read_returns_at_the_first_byte_and_at_the_deadline(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct bench *bench = bench_of(&echo, NULL);
    uint8_t bytes[8];
    bench_say(bench, "55");
    assert_int_equal(bench->serial->ops->read(bench->serial, bytes, 8, 10 * SECOND, NULL), 1);
    assert_int_equal(bench_now(bench), 174); /* there and back: 173.6 us */
    assert_int_equal(bench->serial->ops->read(bench->serial, bytes, 8, 10 * SECOND, NULL), 0);
    assert_int_equal(bench_now(bench), 10 * SECOND);
    bench_close(bench);
}

static void receiver_keeps_three_bytes_for_a_busy_device(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    echo.busy_until = 10 * MILLISECOND;
    struct bench *bench = bench_of(&echo, NULL);
    bench_say(bench, "01 02 03 04 05");
    bench_hears(bench, "01 02 03");
    assert_true(bench_now(bench) >= 10 * MILLISECOND);
    bench_close(bench);
}

static void usb_holds_packets_back_for_a_busy_device(void **state)
{
    (void)state;
    struct echo echo = usb_echo();
    echo.busy_until = 10 * MILLISECOND;
    struct bench *bench = bench_of(&echo, NULL);
    bench_say(bench, "01 02 03 04 05");
    bench_hears(bench, "01 02 03 04 05");
    bench_close(bench);
}

static void dropping_a_packet_spares_the_next_one(void **state)
{
    (void)state;
    struct echo echo = usb_echo();
    echo.drops = true;
    struct bench *bench = bench_of(&echo, NULL);
    uint8_t bytes[70] = {0};
    bytes[0] = 0xa0;
    bytes[64] = 0xa1; /* a write of 70 bytes travels as 64 and 6 */
    bench_send(bench, bytes, sizeof bytes);
    bench_say(bench, "B0 B1");
    bench_hears(bench, "A0 A1 B0");
    bench_close(bench);
}

static void unknown_packet_borders_drop_nothing(void **state)
{
    (void)state;
    struct echo echo = usb_echo();
    echo.drops = true;
    struct bench *bench = bench_of(&echo, NULL);
    virtual_line(bench->serial)->stream = true;
    bench_exchange(bench, "01 02 03", "01 02 03");
    bench_close(bench);
}

static void rate_within_four_percent_is_understood(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    echo.serial.baud = 117647; /* 16 MHz, U2X, UBRR 16 */
    struct bench *bench = bench_of(&echo, NULL);
    bench_exchange(bench, "30 20", "30 20");
    bench_close(bench);
}

static void wrong_rate_arrives_as_other_bytes(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct bench *bench = bench_of(&echo, NULL);
    set_baud(bench, 57600);
    echo.mute = true;
    bench_say(bench, "30");
    bench_wait(bench, 5 * MILLISECOND);
    /* Start bit and 30 at half the speed: low for five bits of 57600, then two high, two low. */
    assert_int_equal(echo.heard, 2);
    assert_int_equal(echo.last[0], 0x00);
    assert_true(echo.misframed);
    bench_close(bench);
}

static void fast_byte_is_heard_as_one_without_framing_error(void **state)
{
    (void)state;
    struct misheard heard[MISHEARD_MAX];
    /* At twice the rate the receiver meets d1, d3, d5, d7 (its samples fall on bit borders, where
     * the later bit counts), then the idle line. */
    assert_int_equal(mishear(0x20, 115200, 57600, heard), 1);
    assert_false(heard[0].framing_error);
    assert_int_equal(heard[0].value & 0xf0, 0xf0);
    assert_int_not_equal(heard[0].value, 0x20);
}

static void same_rate_mishears_nothing(void **state)
{
    (void)state;
    struct misheard heard[MISHEARD_MAX];
    for (unsigned byte = 0; byte < 256; byte++) {
        assert_int_equal(mishear((uint8_t)byte, 115200, 115200, heard), 1);
        assert_int_equal(heard[0].value, byte);
        assert_false(heard[0].framing_error);
    }
}

static void host_at_a_wrong_rate_hears_garbage(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct bench *bench = bench_of(&echo, NULL);
    bench_say(bench, "30");
    bench_wait(bench, 100); /* heard at the right rate, answered while the host changes its own */
    set_baud(bench, 57600);
    uint8_t byte = 0x30;
    assert_int_equal(bench_listen(bench, &byte, 1), 1);
    assert_int_not_equal(byte, 0x30);
    bench_close(bench);
}

static void dtr_edge_resets_its_level_does_not(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    echo.serial.reset_on_dtr = true;
    struct bench *bench = bench_of(&echo, NULL);
    assert_int_equal(echo.resets, 1); /* opening asserts DTR */
    assert_int_equal(echo.cause, VRESET_PIN);
    bench->serial->ops->set_lines(bench->serial, true, false, NULL);
    assert_int_equal(echo.resets, 1);
    bench->serial->ops->set_lines(bench->serial, false, false, NULL);
    assert_int_equal(echo.resets, 1);
    bench->serial->ops->set_lines(bench->serial, true, false, NULL);
    assert_int_equal(echo.resets, 2);
    bench_close(bench);
}

static void drop_loses_a_byte_of_the_nth_reply_only(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct bench *bench = bench_of(&echo, &(struct line_faults){.drop = 2});
    bench_exchange(bench, "01", "01");
    bench_say(bench, "02");
    bench_hears_nothing(bench, SECOND);
    bench_exchange(bench, "03", "03");
    bench_close(bench);
}

static void corrupt_changes_a_byte_of_the_nth_reply_only(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct bench *bench = bench_of(&echo, &(struct line_faults){.corrupt = 1});
    bench_exchange(bench, "01", "41");
    bench_exchange(bench, "02", "02");
    bench_close(bench);
}

static void stall_is_silence_until_the_next_reset(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    echo.serial.reset_on_dtr = true;
    struct bench *bench = bench_of(&echo, &(struct line_faults){.stall = 2});
    bench_exchange(bench, "01", "01");
    bench_say(bench, "02");
    bench_hears_nothing(bench, 30 * SECOND);
    bench_pulse(bench, 0);
    bench_exchange(bench, "03", "03");
    bench_close(bench);
}

static void cut_hangs_up_before_the_reply(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct bench *bench = bench_of(&echo, &(struct line_faults){.cut = 2});
    struct error err;
    uint8_t byte;
    bench_exchange(bench, "01", "01");
    bench_say(bench, "02");
    assert_int_equal(bench->serial->ops->read(bench->serial, &byte, 1, SECOND, &err), ERR_GONE);
    assert_int_equal(bench->serial->ops->write(bench->serial, &byte, 1, SECOND, &err), ERR_GONE);
    assert_int_equal(bench->serial->ops->set_lines(bench->serial, false, false, &err), ERR_GONE);
    assert_int_equal(echo.resets, 0);
    bench_close(bench);
    bench_open(bench, NULL);
    bench_exchange(bench, "03", "03");
    bench_close(bench);
}

static void power_comes_back_with_a_power_on_reset(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct bench *bench = bench_of(&echo, &(struct line_faults){.power = 1});
    struct error err;
    uint8_t byte;
    bench_say(bench, "01");
    assert_int_equal(bench->serial->ops->read(bench->serial, &byte, 1, SECOND, &err), ERR_GONE);
    bench_close(bench);
    assert_int_equal(echo.resets, 1);
    assert_int_equal(echo.cause, VRESET_POWER);
}

static void time_goes_on_over_sessions(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct bench *bench = bench_of(&echo, NULL);
    bench_wait(bench, 5 * SECOND);
    bench_close(bench);
    virtual_elapse(&echo.serial, SECOND);
    bench_open(bench, NULL);
    assert_int_equal(bench_now(bench), 6 * SECOND);
    bench_close(bench);
}

static void device_off_the_bus_is_gone_until_the_port_is_opened_again(void **state)
{
    (void)state;
    struct echo echo = usb_echo();
    struct bench *bench = bench_of(&echo, NULL);
    struct error err;
    uint8_t byte;
    echo.serial.line->detach(echo.serial.line, SECOND);
    assert_int_equal(bench->serial->ops->read(bench->serial, &byte, 1, 3 * SECOND, &err), ERR_GONE);
    bench_wait(bench, 2 * SECOND); /* it is back, this descriptor is not */
    assert_int_equal(bench->serial->ops->read(bench->serial, &byte, 1, 3 * SECOND, &err), ERR_GONE);
    bench_close(bench);
    bench_open(bench, NULL);
    bench_exchange(bench, "07", "07");
    bench_close(bench);
}

static void opening_waits_for_a_device_to_come_back(void **state)
{
    (void)state;
    struct echo echo = usb_echo();
    struct bench *bench = bench_of(&echo, NULL);
    echo.serial.line->detach(echo.serial.line, 700 * MILLISECOND);
    bench_close(bench);
    bench_open(bench, NULL);
    assert_int_equal(bench_now(bench), 700 * MILLISECOND);
    bench_exchange(bench, "07", "07");
    bench_close(bench);
}

static void parity_makes_bytes_longer(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct bench *bench = bench_of(&echo, NULL);
    struct serial_settings settings = {.baud = 115200, .parity = PARITY_EVEN, .stop_bits = 2};
    assert_int_equal(bench->serial->ops->configure(bench->serial, &settings, NULL), OK);
    bench_say(bench, "01 02 03 04");
    bench_wait(bench, 416); /* four bytes of twelve bits: 416.7 us */
    assert_int_equal(echo.heard, 3);
    bench_wait(bench, 1);
    assert_int_equal(echo.heard, 4);
    bench_close(bench);
}

static void unpaced_line_needs_no_time(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct line line;
    uint8_t bytes[8];
    line_init(&line, &echo.serial, false, NULL);
    line_write(&line, (const uint8_t *)"abc", 3);
    line_advance(&line, 0);
    assert_int_equal(line_take(&line, bytes, sizeof bytes), 3);
    assert_memory_equal(bytes, "abc", 3);
    assert_int_equal(line_next(&line), UINT64_MAX);
    line_free(&line);
}

/* ---- Klipper as the application ---- */

#define IDENTIFY "08 10 01 00 28 5e 9f 7e"

enum { ACK = 5, RESPONSE = 0x30 };

static struct bench *application_of(struct echo *echo, struct vmemory *flash, const char *config)
{
    size_t at;
    struct bench *bench = bench_of(echo, NULL);
    echo->program = VPROGRAM_APPLICATION;
    (void)put_klipper(bench, 0, config, &at);
    *flash =
        (struct vmemory){.bytes = bench->flash, .size = sizeof bench->flash, .stuck = UINT64_MAX};
    line_watch_flash(virtual_line(bench->serial), flash);
    return bench;
}

static void klipper_answers_at_its_own_rate_until_a_reset_into_the_loader(void **state)
{
    (void)state;
    struct echo echo = uart_echo();
    struct vmemory flash;
    struct bench *bench = application_of(&echo, &flash, "\"SERIAL_BAUD\":250000");
    uint8_t heard[128];
    set_baud(bench, 250000);
    bench_say(bench, IDENTIFY);
    assert_int_equal(bench_listen(bench, heard, sizeof heard), RESPONSE + ACK);
    assert_int_equal(heard[0], RESPONSE);
    assert_int_equal(echo.heard, 0);
    echo.program = VPROGRAM_LOADER;
    line_reset(virtual_line(bench->serial), VRESET_PIN);
    set_baud(bench, 115200);
    bench_say(bench, "55");
    bench_hears(bench, "55");
    bench_close(bench);
}

static void klipper_of_another_link_is_silent(void **state)
{
    (void)state;
    struct vmemory flash;
    struct echo echo = usb_echo();
    echo.mute = true;
    struct bench *bench = application_of(&echo, &flash, "\"SERIAL_BAUD\":250000");
    bench_say(bench, IDENTIFY);
    uint8_t heard[8];
    assert_int_equal(bench_listen(bench, heard, sizeof heard), 0);
    assert_int_equal(echo.heard, 8);
    bench_close(bench);
}

static void device_that_judges_its_application_is_left_alone(void **state)
{
    (void)state;
    struct vmemory flash;
    struct echo echo = usb_echo();
    echo.serial.judges_application = true;
    struct bench *bench = application_of(&echo, &flash, "\"CLOCK_FREQ\":16000000");
    bench_say(bench, IDENTIFY);
    bench_hears(bench, IDENTIFY);
    bench_close(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_take_their_time_on_the_wire),
        cmocka_unit_test(read_returns_at_the_first_byte_and_at_the_deadline),
        cmocka_unit_test(receiver_keeps_three_bytes_for_a_busy_device),
        cmocka_unit_test(usb_holds_packets_back_for_a_busy_device),
        cmocka_unit_test(dropping_a_packet_spares_the_next_one),
        cmocka_unit_test(unknown_packet_borders_drop_nothing),
        cmocka_unit_test(rate_within_four_percent_is_understood),
        cmocka_unit_test(wrong_rate_arrives_as_other_bytes),
        cmocka_unit_test(fast_byte_is_heard_as_one_without_framing_error),
        cmocka_unit_test(same_rate_mishears_nothing),
        cmocka_unit_test(host_at_a_wrong_rate_hears_garbage),
        cmocka_unit_test(dtr_edge_resets_its_level_does_not),
        cmocka_unit_test(drop_loses_a_byte_of_the_nth_reply_only),
        cmocka_unit_test(corrupt_changes_a_byte_of_the_nth_reply_only),
        cmocka_unit_test(stall_is_silence_until_the_next_reset),
        cmocka_unit_test(cut_hangs_up_before_the_reply),
        cmocka_unit_test(power_comes_back_with_a_power_on_reset),
        cmocka_unit_test(time_goes_on_over_sessions),
        cmocka_unit_test(device_off_the_bus_is_gone_until_the_port_is_opened_again),
        cmocka_unit_test(opening_waits_for_a_device_to_come_back),
        cmocka_unit_test(parity_makes_bytes_longer),
        cmocka_unit_test(unpaced_line_needs_no_time),
        cmocka_unit_test(klipper_answers_at_its_own_rate_until_a_reset_into_the_loader),
        cmocka_unit_test(klipper_of_another_link_is_silent),
        cmocka_unit_test(device_that_judges_its_application_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
