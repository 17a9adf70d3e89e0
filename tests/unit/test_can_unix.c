/* The virtual bus on a unix socket: frames as packets, what may go wrong, and the trace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "link/can.h"

struct bus {
    char folder[64], name[96];
    int listener, far; /* the far end of the first client */
};

static int make(void **state)
{
    static struct bus bus;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(bus.folder, sizeof bus.folder, "/tmp/mflash-can-XXXXXX");
    assert_non_null(mkdtemp(bus.folder));
    (void)snprintf(bus.name, sizeof bus.name, "unix:%s/bus", bus.folder);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", bus.name + 5);
    bus.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(bus.listener >= 0);
    assert_int_equal(bind(bus.listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(bus.listener, 4), 0);
    bus.far = -1;
    *state = &bus;
    return 0;
}

static int discard(void **state)
{
    const struct bus *bus = *state;
    if (bus->far >= 0)
        close(bus->far);
    close(bus->listener);
    (void)unlink(bus->name + 5);
    return rmdir(bus->folder);
}

static struct can *connect_to(struct bus *bus, struct trace *trace)
{
    struct can *can;
    struct error err;
    const uint16_t id = 0x203;
    assert_int_equal(can_open(&can, bus->name, trace, &err), OK);
    assert_int_equal(can_listen(can, &id, 1, &err), OK);
    bus->far = accept(bus->listener, NULL, NULL);
    assert_true(bus->far >= 0);
    return can;
}

static void give(const struct bus *bus, canid_t id, const char *text)
{
    struct can_frame frame = {.can_id = id, .len = (uint8_t)strlen(text)};
    memcpy(frame.data, text, frame.len);
    assert_int_equal(send(bus->far, &frame, sizeof frame, 0), sizeof frame);
}

static uint64_t soon(const struct can *can)
{
    return clock_in(can->clock, 5 * SECOND);
}

static void frames_cross_as_packets_of_sixteen_bytes(void **state)
{
    struct bus *bus = *state;
    struct can *can = connect_to(bus, NULL);
    struct can_frame frame;
    uint8_t packet[32];
    assert_int_equal(can_send(can, 0x202, (const uint8_t *)"abc", 3, NULL), OK);
    assert_int_equal(recv(bus->far, packet, sizeof packet, 0), 16);
    memcpy(&frame, packet, sizeof frame);
    assert_int_equal(frame.can_id, 0x202);
    assert_int_equal(frame.len, 3);
    give(bus, 0x205, "other");
    give(bus, 0x203, "mine");
    assert_int_equal(can_receive(can, &frame, soon(can), NULL), 1);
    assert_memory_equal(frame.data, "mine", 4);
    can_close(can);
}

static void packets_that_are_no_frames_are_passed_over(void **state)
{
    struct bus *bus = *state;
    struct can *can = connect_to(bus, NULL);
    struct can_frame frame;
    assert_int_equal(send(bus->far, "short", 5, 0), 5);
    assert_int_equal(send(bus->far, "longer than a frame", 19, 0), 19);
    give(bus, 0x203, "right");
    assert_int_equal(can_receive(can, &frame, soon(can), NULL), 1);
    assert_memory_equal(frame.data, "right", 5);
    can_close(can);
}

static void deadline_passes_in_silence(void **state)
{
    struct bus *bus = *state;
    struct can *can = connect_to(bus, NULL);
    struct can_frame frame;
    uint64_t deadline = clock_in(can->clock, 20 * MILLISECOND);
    assert_int_equal(can_receive(can, &frame, deadline, NULL), 0);
    assert_true(clock_now(can->clock) >= deadline);
    can_close(can);
}

static void bus_that_ends_is_gone(void **state)
{
    struct bus *bus = *state;
    struct can *can = connect_to(bus, NULL);
    struct can_frame frame;
    struct error err;
    give(bus, 0x203, "last");
    close(bus->far);
    bus->far = -1;
    assert_int_equal(can_receive(can, &frame, soon(can), &err), 1); /* what was there comes first */
    assert_int_equal(can_receive(can, &frame, soon(can), &err), ERR_GONE);
    assert_int_equal(can_send(can, 0x202, NULL, 0, &err), ERR_GONE);
    assert_non_null(strstr(err.message, bus->name));
    can_close(can);
}

enum { MANY = 5000 };

static void *read_late(void *argument)
{
    const int *far = argument;
    static unsigned wrong;
    struct can_frame frame;
    struct pollfd wait = {.fd = *far, .events = POLLIN};
    (void)poll(&wait, 1, 5000);
    usleep(20000); /* meanwhile the sender fills what the socket holds */
    wrong = 0;
    for (unsigned i = 0; i < MANY; i++) {
        unsigned number = MANY;
        if (recv(*far, &frame, sizeof frame, 0) == (ssize_t)sizeof frame)
            memcpy(&number, frame.data, sizeof number);
        wrong += number != i;
    }
    return &wrong;
}

static void slow_bus_gets_every_frame_in_order(void **state)
{
    struct bus *bus = *state;
    struct can *can = connect_to(bus, NULL);
    struct error err;
    pthread_t reader;
    void *wrong;
    assert_int_equal(pthread_create(&reader, NULL, read_late, &bus->far), 0);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(can_send(can, 0x202, (const uint8_t *)&i, sizeof i, &err), OK);
    assert_int_equal(pthread_join(reader, &wrong), 0);
    assert_int_equal(*(unsigned *)wrong, 0);
    can_close(can);
}

static void bus_that_is_not_there_is_told(void **state)
{
    const struct bus *bus = *state;
    struct can *can;
    struct error err;
    char name[200];
    (void)snprintf(name, sizeof name, "%s.not", bus->name);
    assert_int_equal(can_open(&can, name, NULL, &err), ERR_NO_DEVICE);
    assert_null(can);
    assert_non_null(strstr(err.hint, "vboard"));
    memset(name + 5, 'x', 150);
    name[155] = '\0';
    assert_int_equal(can_open(&can, name, NULL, &err), ERR_USAGE);
    assert_int_equal(can_open(&can, "unix:", NULL, &err), ERR_USAGE);
}

static void socket_with_nobody_behind_it_is_told(void **state)
{
    const struct bus *bus = *state;
    struct can *can;
    struct error err;
    int closed = dup(bus->listener);
    shutdown(closed, SHUT_RDWR);
    close(closed);
    assert_int_equal(can_open(&can, bus->name, NULL, &err), ERR_NO_ANSWER);
}

static void virtual_bus_is_up_and_has_no_rate(void **state)
{
    (void)state;
    struct can_status status;
    char text[256];
    assert_int_equal(can_status(&status, "unix:/x", NULL), OK);
    assert_true(status.up);
    assert_false(status.physical);
    assert_int_equal(status.bitrate, 0);
    assert_false(can_advice(&status, text, sizeof text));
    assert_int_equal(can_bring_up("unix:/x", 500000, NULL), OK);
}

/* SocketCAN's header in a trace: the id in network order, the length, then the bytes. */
static void trace_has_what_was_sent_and_what_was_handed_out(void **state)
{
    struct bus *bus = *state;
    struct trace *trace;
    struct can_frame frame;
    char path[128];
    static uint8_t bytes[4096];
    (void)snprintf(path, sizeof path, "%s/trace", bus->folder);
    assert_int_equal(trace_open(&trace, path, NULL), OK);
    struct can *can = connect_to(bus, trace);
    assert_int_equal(can_send(can, 0x202, (const uint8_t *)"ab", 2, NULL), OK);
    give(bus, 0x205, "zz");
    give(bus, 0x203, "cd");
    assert_int_equal(can_receive(can, &frame, soon(can), NULL), 1);
    can_close(can);
    assert_int_equal(trace_close(trace, NULL), OK);
    FILE *file = fopen(path, "rb");
    size_t length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_non_null(memmem(bytes, length, "\0\0\x02\x02\x02\0\0\0ab", 10));
    assert_non_null(memmem(bytes, length, "\0\0\x02\x03\x02\0\0\0cd", 10));
    assert_null(memmem(bytes, length, "zz", 2));
    assert_non_null(memmem(bytes, length, bus->name, strlen(bus->name)));
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
#define on_bus(test) cmocka_unit_test_setup_teardown(test, make, discard)
    const struct CMUnitTest tests[] = {
        on_bus(frames_cross_as_packets_of_sixteen_bytes),
        on_bus(packets_that_are_no_frames_are_passed_over),
        on_bus(deadline_passes_in_silence),
        on_bus(bus_that_ends_is_gone),
        on_bus(slow_bus_gets_every_frame_in_order),
        on_bus(bus_that_is_not_there_is_told),
        on_bus(socket_with_nobody_behind_it_is_told),
        cmocka_unit_test(virtual_bus_is_up_and_has_no_rate),
        on_bus(trace_has_what_was_sent_and_what_was_handed_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
