/*
 * The trace, judged by tshark: what it reads back is compared with what crossed the wire. Without
 * tshark those tests are skipped, and counted as that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

#include "link/serial.h"
#include "link/trace.h"

struct capture {
    char path[64];
    struct trace *trace;
};

static int with_trace(void **state)
{
    struct capture *capture = calloc(1, sizeof *capture);
    (void)snprintf(capture->path, sizeof capture->path, "/tmp/mflash-trace-XXXXXX");
    int fd = mkstemp(capture->path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(trace_open(&capture->trace, capture->path, NULL), OK);
    *state = capture;
    return 0;
}

static int without_trace(void **state)
{
    struct capture *capture = *state;
    (void)trace_close(capture->trace, NULL);
    unlink(capture->path);
    free(capture);
    return 0;
}

/* Closes the trace and runs tshark over it; its standard output, up to what fits. */
static void dissect(struct capture *capture, const char *arguments, char *text, size_t size)
{
    char command[512];
    assert_int_equal(trace_close(capture->trace, NULL), OK);
    capture->trace = NULL;
    if (system("command -v tshark >/dev/null") != 0)
        skip();
    (void)snprintf(command, sizeof command, "tshark -n -r %s %s 2>/dev/null", capture->path,
                   arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(text, 1, size - 1, pipe);
    text[length] = '\0';
    assert_int_equal(pclose(pipe), 0);
}

static void bytes_directions_and_lines_come_back(void **state)
{
    struct capture *capture = *state;
    char text[1024];
    int port = trace_add_serial(capture->trace, "/dev/ttyACM0");
    trace_serial(capture->trace, port, TRACE_LINES, 0, NULL, 0);
    trace_serial(capture->trace, port, TRACE_LINES, 1, NULL, 0);
    trace_serial(capture->trace, port, TRACE_SENT, 3, (const uint8_t *)"\x30\x20", 2);
    trace_serial(capture->trace, port, TRACE_RECEIVED, 2, (const uint8_t *)"\x14\x10\x00", 3);
    dissect(capture,
            "-T fields -E separator=, -e rtacser.eventtype -e rtacser.dtr -e rtacser.rts "
            "-e rtacser.cts -e rtacser.footer -e frame.packet_flags_direction "
            "-e frame.interface_name -e data.data",
            text, sizeof text);
    assert_string_equal(text, "0x00,0,0,0,0x0000,0x00000002,/dev/ttyACM0,\n"
                              "0x00,1,0,0,0x0000,0x00000002,/dev/ttyACM0,\n"
                              "0x01,1,1,0,0x0000,0x00000002,/dev/ttyACM0,3020\n"
                              "0x02,0,1,0,0x0000,0x00000001,/dev/ttyACM0,141000\n");
}

static void each_port_is_an_interface_of_its_own(void **state)
{
    struct capture *capture = *state;
    char text[1024];
    int first = trace_add_serial(capture->trace, "/dev/ttyUSB0");
    int second = trace_add_serial(capture->trace, "tcp:[::1]:2000");
    assert_int_not_equal(first, second);
    trace_serial(capture->trace, second, TRACE_SENT, 0, (const uint8_t *)"b", 1);
    trace_serial(capture->trace, first, TRACE_SENT, 0, (const uint8_t *)"a", 1);
    dissect(capture, "-T fields -E separator=, -e frame.interface_name -e data.data", text,
            sizeof text);
    assert_string_equal(text, "tcp:[::1]:2000,62\n/dev/ttyUSB0,61\n");
}

static void time_stamps_are_now_and_agree_with_the_serial_header(void **state)
{
    struct capture *capture = *state;
    char text[256];
    double frame = 0, header = 0;
    int port = trace_add_serial(capture->trace, "p");
    time_t before = time(NULL);
    trace_serial(capture->trace, port, TRACE_SENT, 0, (const uint8_t *)"a", 1);
    time_t after = time(NULL);
    dissect(capture, "-T fields -E separator=, -e frame.time_epoch -e rtacser.timestamp", text,
            sizeof text);
    assert_int_equal(sscanf(text, "%lf,%lf", &frame, &header), 2);
    assert_true(frame >= (double)before && frame < (double)after + 1);
    assert_true(header <= frame + 1e-6 && frame - header < 2e-6);
}

static void a_long_run_is_split_and_nothing_is_lost(void **state)
{
    struct capture *capture = *state;
    enum { LENGTH = 100001 };
    uint8_t *bytes = malloc(LENGTH);
    char text[256];
    memset(bytes, 0x55, LENGTH);
    int port = trace_add_serial(capture->trace, "p");
    trace_serial(capture->trace, port, TRACE_SENT, 0, bytes, LENGTH);
    free(bytes);
    dissect(capture, "-T fields -e data.len", text, sizeof text);
    assert_string_equal(text, "32768\n32768\n32768\n1697\n");
}

enum { THREADS = 4, PACKETS = 500 };

static void *trace_many(void *argument)
{
    struct trace *trace = argument;
    int port = trace_add_serial(trace, "thread");
    for (int i = 0; i < PACKETS; i++)
        trace_serial(trace, port, TRACE_SENT, 0, (const uint8_t *)"abcde", 5);
    return NULL;
}

static void threads_do_not_tear_each_others_packets(void **state)
{
    struct capture *capture = *state;
    pthread_t threads[THREADS];
    static char text[THREADS * PACKETS * 16];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, trace_many, capture->trace), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    dissect(capture, "-T fields -e data.data", text, sizeof text);
    size_t lines = 0;
    for (const char *at = text; *at; at += 11, lines++)
        assert_memory_equal(at, "6162636465\n", 11);
    assert_int_equal(lines, THREADS * PACKETS);
}

static void a_link_traces_what_it_sends_receives_and_drops(void **state)
{
    struct capture *capture = *state;
    const struct serial_settings settings = {115200, PARITY_NONE, 1};
    char slave[64], text[1024];
    uint8_t byte;
    struct serial *serial;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    assert_int_equal(ptsname_r(master, slave, sizeof slave), 0);
    assert_int_equal(serial_open(&serial, slave, &settings, capture->trace, NULL), OK);
    assert_int_equal(serial_write(serial, (const uint8_t *)"0 ", 2, NULL), OK);
    assert_int_equal(write(master, "noise", 5), 5);
    assert_int_equal(serial_read(serial, &byte, 1, clock_in(serial->clock, 5 * SECOND), NULL), OK);
    serial_drop_input(serial);
    serial_close(serial);
    close(master);
    dissect(capture, "-T fields -E separator=, -e rtacser.eventtype -e data.data", text,
            sizeof text);
    assert_string_equal(text, "0x00,\n0x01,3020\n0x02,6e\n0x02,6f697365\n");
}

static void a_full_disk_is_told_at_the_end(void **state)
{
    (void)state;
    struct trace *trace;
    struct error err;
    if (access("/dev/full", W_OK) != 0)
        skip();
    assert_int_equal(trace_open(&trace, "/dev/full", &err), OK);
    int port = trace_add_serial(trace, "p");
    for (int i = 0; i < 1000; i++)
        trace_serial(trace, port, TRACE_SENT, 0, (const uint8_t *)"abcdefgh", 8);
    assert_int_equal(trace_close(trace, &err), ERR_FAILED);
    assert_string_equal(err.message, "writing the trace file /dev/full: No space left on device");
    assert_non_null(strstr(err.hint, "incomplete"));
}

static void a_trace_file_that_cannot_be_made_is_told(void **state)
{
    (void)state;
    struct trace *trace;
    struct error err;
    assert_int_equal(trace_open(&trace, "/nonexistent/x.pcapng", &err), ERR_FAILED);
    assert_null(trace);
    assert_non_null(strstr(err.message, "/nonexistent/x.pcapng: No such file"));
}

static void no_trace_is_fine_everywhere(void **state)
{
    (void)state;
    assert_int_equal(trace_add_serial(NULL, "p"), -1);
    trace_serial(NULL, -1, TRACE_SENT, 0, (const uint8_t *)"a", 1);
    assert_int_equal(trace_add_usb(NULL, "p"), -1);
    trace_usb(NULL, -1, &(struct trace_usb){.id = 1});
    assert_int_equal(trace_add_can(NULL, "p"), -1);
    trace_can(NULL, -1, TRACE_SENT, 1, (const uint8_t *)"a", 1);
    assert_int_equal(trace_close(NULL, NULL), OK);
}

static void a_usb_control_transfer_is_decoded_with_its_setup_data_and_end(void **state)
{
    struct capture *capture = *state;
    char text[1024];
    const uint8_t get_status[8] = {0xa1, 3, 0, 0, 0, 0, 6, 0};
    const uint8_t idle[6] = {0, 0, 0, 0, 2, 0};
    int port = trace_add_usb(capture->trace, "1-1.4");
    struct trace_usb event = {.id = 7, .kind = TRACE_USB_CONTROL, .endpoint = 0x80, .bus = 1};
    event.address = 5;
    event.setup = get_status;
    event.length = 6;
    trace_usb(capture->trace, port, &event);
    event.ended = true;
    event.setup = NULL;
    event.bytes = idle;
    trace_usb(capture->trace, port, &event);
    dissect(capture,
            "-T fields -E separator=, -e usb.urb_id -e usb.urb_type -e usb.transfer_type "
            "-e usb.endpoint_address -e usb.src -e usb.dst -e usb.bmRequestType "
            "-e usb.setup.bRequest -e usb.setup.wLength -e usb.urb_status -e usb.urb_len "
            "-e usb.control.Response -e usb.request_in",
            text, sizeof text);
    assert_string_equal(text,
                        "0x0000000000000007,'S',0x02,0x80,host,1.5.0,0xa1,3,6,0,6,,\n"
                        "0x0000000000000007,'C',0x02,0x80,1.5.0,host,,,,0,6,000000000200,1\n");
}

static void usb_data_lie_with_the_event_that_carried_them(void **state)
{
    struct capture *capture = *state;
    char text[1024];
    int port = trace_add_usb(capture->trace, "1-1.4");
    struct trace_usb out = {.id = 1, .kind = TRACE_USB_BULK, .endpoint = 1, .bus = 3};
    out.address = 9;
    out.bytes = (const uint8_t *)"\x11\x22\x33";
    out.length = 3;
    struct trace_usb in = out;
    trace_usb(capture->trace, port, &out);
    out.ended = true;
    out.status = -32;
    out.length = 0;
    trace_usb(capture->trace, port, &out);
    in.id = 2;
    in.endpoint = 0x82;
    in.length = 64;
    trace_usb(capture->trace, port, &in);
    in.ended = true;
    in.length = 2;
    trace_usb(capture->trace, port, &in);
    dissect(capture,
            "-T fields -E separator=, -e usb.urb_type -e usb.transfer_type -e usb.endpoint_address "
            "-e usb.data_flag -e usb.urb_status -e usb.urb_len -e usb.data_len -e usb.capdata",
            text, sizeof text);
    assert_string_equal(text, "'S',0x03,0x01,'\\0',0,3,3,112233\n"
                              "'C',0x03,0x01,'>',-32,0,0,\n"
                              "'S',0x03,0x82,'<',0,64,0,\n"
                              "'C',0x03,0x82,'\\0',0,2,2,1122\n");
}

static void can_frames_come_back_with_id_and_flags(void **state)
{
    struct capture *capture = *state;
    char text[1024];
    int port = trace_add_can(capture->trace, "can0");
    trace_can(capture->trace, port, TRACE_SENT, 0x3f0, (const uint8_t *)"\x00", 1);
    trace_can(capture->trace, port, TRACE_RECEIVED, 0x3f1, (const uint8_t *)"abcdefgh", 8);
    trace_can(capture->trace, port, TRACE_RECEIVED, 0x20000004, (const uint8_t *)"\0\x20\0", 3);
    dissect(capture,
            "-T fields -E separator=, -e frame.interface_name -e frame.packet_flags_direction "
            "-e can.id -e can.flags.err -e can.len -e data.data",
            text, sizeof text);
    assert_string_equal(text, "can0,0x00000002,1008,0,1,00\n"
                              "can0,0x00000001,1009,0,8,6162636465666768\n"
                              "can0,0x00000001,,1,3,\n");
}

#define TRACED(test) cmocka_unit_test_setup_teardown(test, with_trace, without_trace)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRACED(bytes_directions_and_lines_come_back),
        TRACED(each_port_is_an_interface_of_its_own),
        TRACED(time_stamps_are_now_and_agree_with_the_serial_header),
        TRACED(a_long_run_is_split_and_nothing_is_lost),
        TRACED(threads_do_not_tear_each_others_packets),
        TRACED(a_link_traces_what_it_sends_receives_and_drops),
        TRACED(a_usb_control_transfer_is_decoded_with_its_setup_data_and_end),
        TRACED(usb_data_lie_with_the_event_that_carried_them),
        TRACED(can_frames_come_back_with_id_and_flags),
        cmocka_unit_test(a_full_disk_is_told_at_the_end),
        cmocka_unit_test(a_trace_file_that_cannot_be_made_is_told),
        cmocka_unit_test(no_trace_is_fine_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
