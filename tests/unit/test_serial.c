/*
 * The serial link over ptys and sockets: deadlines, hang-ups, locks, reset, and the error texts.
 * The far end is the test itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link/serial.h"

static const struct serial_settings usual = {115200, PARITY_NONE, 1};

/* A pty: the test holds the master, the link opens the slave. */
struct far {
    int master;
    char slave[64];
    struct serial *serial;
};

static void make_pty(struct far *far)
{
    far->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(far->master >= 0);
    assert_int_equal(grantpt(far->master), 0);
    assert_int_equal(unlockpt(far->master), 0);
    assert_int_equal(ptsname_r(far->master, far->slave, sizeof far->slave), 0);
    far->serial = NULL;
}

static struct serial *open_ok(const char *device)
{
    struct serial *serial;
    struct error err;
    if (serial_open(&serial, device, &usual, NULL, &err) != OK)
        fail_msg("%s", err.message);
    return serial;
}

static int with_pty(void **state)
{
    struct far *far = calloc(1, sizeof *far);
    make_pty(far);
    far->serial = open_ok(far->slave);
    *state = far;
    return 0;
}

static int without_pty(void **state)
{
    struct far *far = *state;
    serial_close(far->serial);
    if (far->master >= 0)
        close(far->master);
    free(far);
    return 0;
}

static void far_sends(const struct far *far, const char *bytes, size_t length)
{
    assert_int_equal(write(far->master, bytes, length), length);
}

static uint64_t now(void)
{
    return clock_now(clock_monotonic());
}

static uint64_t in(uint64_t microseconds)
{
    return clock_in(clock_monotonic(), microseconds);
}

static void read_returns_what_the_far_end_sent(void **state)
{
    struct far *far = *state;
    uint8_t bytes[4];
    struct error err;
    far_sends(far, "\x14\x00\r\n", 4);
    assert_int_equal(serial_read(far->serial, bytes, 4, in(5 * SECOND), &err), OK);
    assert_memory_equal(bytes, "\x14\x00\r\n", 4);
    assert_int_equal(far->serial->received, 4);
}

static void written_bytes_reach_the_far_end_unchanged(void **state)
{
    struct far *far = *state;
    uint8_t all[256], got[256];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    assert_int_equal(serial_write(far->serial, all, sizeof all, NULL), OK);
    for (size_t done = 0; done < sizeof got;) {
        ssize_t part = read(far->master, got + done, sizeof got - done);
        assert_true(part > 0);
        done += (size_t)part;
    }
    assert_memory_equal(got, all, sizeof all);
}

static void read_gives_up_at_its_deadline(void **state)
{
    struct far *far = *state;
    uint8_t bytes[4];
    struct error err;
    uint64_t start = now();
    assert_int_equal(serial_read(far->serial, bytes, 4, start + 30 * MILLISECOND, &err),
                     ERR_NO_ANSWER);
    uint64_t taken = now() - start;
    assert_true(taken >= 30 * MILLISECOND && taken < 5 * SECOND);
    assert_non_null(strstr(err.message, far->slave));
    assert_non_null(strstr(err.message, "no answer (0 of 4 bytes came)"));
}

static void read_says_how_far_a_short_answer_came(void **state)
{
    struct far *far = *state;
    uint8_t bytes[4];
    struct error err;
    far_sends(far, "\x14\x01", 2);
    assert_int_equal(serial_read(far->serial, bytes, 4, in(50 * MILLISECOND), &err), ERR_NO_ANSWER);
    assert_non_null(strstr(err.message, "stopped after 2 of 4 bytes: 14 01"));
}

static void a_deadline_in_the_past_still_takes_what_is_there(void **state)
{
    struct far *far = *state;
    uint8_t bytes[8];
    far_sends(far, "abc", 3);
    assert_int_equal(serial_read(far->serial, bytes, 1, in(5 * SECOND), NULL), OK);
    assert_int_equal(serial_read_some(far->serial, bytes, sizeof bytes, 0, NULL), 2);
    assert_memory_equal(bytes, "bc", 2);
    assert_int_equal(serial_read_some(far->serial, bytes, sizeof bytes, 0, NULL), 0);
}

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    (void)number;
    alarms++;
}

static void signals_do_not_end_a_wait(void **state)
{
    struct far *far = *state;
    uint8_t byte;
    struct error err;
    struct sigaction action = {.sa_handler = count_alarm}, before;
    const struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    alarms = 0;
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &often, NULL);
    uint64_t start = now();
    int rc = serial_read(far->serial, &byte, 1, start + 50 * MILLISECOND, &err);
    uint64_t taken = now() - start;
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    assert_int_equal(rc, ERR_NO_ANSWER);
    assert_true(alarms > 0);
    assert_true(taken >= 50 * MILLISECOND && taken < 5 * SECOND);
}

static void a_hung_up_line_is_gone(void **state)
{
    struct far *far = *state;
    uint8_t byte = 0;
    struct error err;
    close(far->master);
    far->master = -1;
    assert_int_equal(serial_read(far->serial, &byte, 1, in(5 * SECOND), &err), ERR_GONE);
    assert_non_null(strstr(err.message, "is gone"));
    assert_true(err.hint[0] != '\0');
    assert_int_equal(serial_write(far->serial, &byte, 1, &err), ERR_GONE);
    assert_int_equal(serial_pulse_reset(far->serial, 0, &err), ERR_GONE);
    assert_non_null(strstr(err.message, "resetting the board: "));
}

static void *hang_up(void *argument)
{
    const struct far *far = argument;
    struct clock *clock = clock_monotonic();
    clock->sleep_until(clock, clock_in(clock, 20 * MILLISECOND));
    close(far->master);
    return NULL;
}

static void a_hang_up_ends_a_wait_at_once(void **state)
{
    struct far *far = *state;
    uint8_t byte;
    pthread_t thread;
    uint64_t start = now();
    assert_int_equal(pthread_create(&thread, NULL, hang_up, far), 0);
    int rc = serial_read(far->serial, &byte, 1, in(60 * (uint64_t)SECOND), NULL);
    pthread_join(thread, NULL);
    far->master = -1;
    assert_int_equal(rc, ERR_GONE);
    assert_true(now() - start < 30 * (uint64_t)SECOND);
}

/* Another process opens the port, says so on the pipe, and keeps it until it is killed. */
static pid_t hold_elsewhere(const char *slave)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct serial *serial;
        if (serial_open(&serial, slave, &usual, NULL, NULL) == OK && write(ready[1], "x", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void a_port_that_another_process_holds_is_busy_and_names_it(void **state)
{
    (void)state;
    struct far far;
    struct serial *serial;
    struct error err;
    char wanted[32], holder[128] = "";
    make_pty(&far);
    pid_t child = hold_elsewhere(far.slave);
    int rc = serial_open(&serial, far.slave, &usual, NULL, &err);
    bool held = serial_holder(far.slave, holder, sizeof holder);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(rc, ERR_BUSY);
    assert_null(serial);
    (void)snprintf(wanted, sizeof wanted, "%.15s (pid %d)", program_invocation_short_name,
                   (int)child);
    assert_non_null(strstr(err.message, wanted));
    assert_true(err.hint[0] != '\0');
    assert_true(held);
    assert_string_equal(holder, wanted);
    /* The lock died with its owner. */
    serial_close(open_ok(far.slave));
    assert_false(serial_holder(far.slave, holder, sizeof holder));
    close(far.master);
}

static void a_second_open_by_the_same_process_is_busy(void **state)
{
    struct far *far = *state;
    struct serial *serial;
    struct error err;
    assert_int_equal(serial_open(&serial, far->slave, &usual, NULL, &err), ERR_BUSY);
    assert_non_null(strstr(err.message, "it is in use"));
    assert_non_null(strstr(err.hint, "fuser"));
}

static void links_are_followed(void **state)
{
    (void)state;
    struct far far;
    char directory[] = "/tmp/mflash-link-XXXXXX", link[64];
    make_pty(&far);
    assert_non_null(mkdtemp(directory));
    (void)snprintf(link, sizeof link, "%s/board", directory);
    assert_int_equal(symlink(far.slave, link), 0);
    struct serial *serial = open_ok(link);
    assert_string_equal(serial->name, link);
    assert_string_equal(serial->ops->name, "pty");
    serial_close(serial);
    unlink(link);
    rmdir(directory);
    close(far.master);
}

static unsigned rate_at_far_end(const struct far *far)
{
    struct termios2 line;
    assert_int_equal(ioctl(far->master, TCGETS2, &line), 0);
    assert_int_equal(line.c_ispeed, line.c_ospeed);
    return line.c_ospeed;
}

static void any_rate_can_be_set(void **state)
{
    struct far *far = *state;
    static const uint32_t rates[] = {250000, 57600, 1200, 76923, 2000000};
    assert_int_equal(rate_at_far_end(far), 115200);
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        assert_int_equal(serial_set_baud(far->serial, rates[i], NULL), OK);
        assert_int_equal(rate_at_far_end(far), rates[i]);
        assert_int_equal(far->serial->settings.baud, rates[i]);
    }
}

static void impossible_settings_are_refused(void **state)
{
    struct far *far = *state;
    const struct serial_settings three = {9600, PARITY_NONE, 3};
    assert_int_equal(serial_set_baud(far->serial, 0, NULL), ERR_USAGE);
    assert_int_equal(serial_configure(far->serial, &three, NULL), ERR_USAGE);
    assert_int_equal(far->serial->settings.baud, 115200);
}

/* Waits until the slave is closed, then until it is opened again. */
static void *see_reopen(void *argument)
{
    const struct far *far = argument;
    struct pollfd hangup = {.fd = far->master, .events = 0};
    if (poll(&hangup, 1, 10000) != 1 || !(hangup.revents & POLLHUP))
        return NULL;
    uint64_t end = in(10 * SECOND);
    do
        (void)poll(&hangup, 1, 0);
    while ((hangup.revents & POLLHUP) && now() < end);
    return hangup.revents & POLLHUP ? NULL : argument;
}

static void reset_of_a_pty_is_seen_as_close_and_open(void **state)
{
    struct far *far = *state;
    pthread_t thread;
    void *seen;
    uint8_t byte;
    assert_int_equal(serial_set_baud(far->serial, 57600, NULL), OK);
    far_sends(far, "old", 3);
    assert_int_equal(serial_read(far->serial, &byte, 1, in(5 * SECOND), NULL), OK);
    assert_int_equal(pthread_create(&thread, NULL, see_reopen, far), 0);
    assert_int_equal(serial_pulse_reset(far->serial, 0, NULL), OK);
    pthread_join(thread, &seen);
    assert_non_null(seen);
    assert_int_equal(far->serial->received, 0);
    assert_int_equal(rate_at_far_end(far), 57600);
    far_sends(far, "n", 1);
    assert_int_equal(serial_read(far->serial, &byte, 1, in(5 * SECOND), NULL), OK);
    assert_int_equal(byte, 'n');
}

static void dropped_input_is_not_read_later(void **state)
{
    struct far *far = *state;
    uint8_t byte;
    far_sends(far, "garbage", 7);
    assert_int_equal(serial_read(far->serial, &byte, 1, in(5 * SECOND), NULL), OK);
    serial_drop_input(far->serial);
    assert_int_equal(far->serial->received, 0);
    far_sends(far, "!", 1);
    assert_int_equal(serial_read(far->serial, &byte, 1, in(5 * SECOND), NULL), OK);
    assert_int_equal(byte, '!');
}

static void *chatter(void *argument)
{
    const struct far *far = argument;
    struct clock *clock = clock_monotonic();
    for (int i = 0; i < 5; i++) {
        clock->sleep_until(clock, clock_in(clock, 10 * MILLISECOND));
        if (write(far->master, "\xfe\xfe", 2) != 2)
            return argument;
    }
    return NULL;
}

static void drain_goes_on_until_the_line_is_silent(void **state)
{
    struct far *far = *state;
    pthread_t thread;
    void *failed;
    assert_int_equal(pthread_create(&thread, NULL, chatter, far), 0);
    ssize_t dropped = serial_drain(far->serial, SECOND / 2, 20 * SECOND, NULL);
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_int_equal(dropped, 10);
}

static void *flood(void *argument)
{
    const struct far *far = argument;
    char block[64];
    memset(block, 'x', sizeof block);
    /* Ends when the slave is closed for good: nothing takes the bytes any more. */
    while (write(far->master, block, sizeof block) > 0)
        continue;
    return NULL;
}

static void drain_ends_at_its_limit_on_a_chattering_line(void **state)
{
    struct far *far = *state;
    pthread_t thread;
    (void)fcntl(far->master, F_SETFL, O_NONBLOCK);
    far_sends(far, "x", 1);
    assert_int_equal(pthread_create(&thread, NULL, flood, far), 0);
    uint64_t start = now();
    ssize_t dropped = serial_drain(far->serial, SECOND / 2, 100 * MILLISECOND, NULL);
    uint64_t taken = now() - start;
    pthread_join(thread, NULL);
    assert_true(dropped > 0);
    assert_true(taken < 10 * (uint64_t)SECOND);
}

static void a_line_that_takes_nothing_ends_a_write_at_its_deadline(void **state)
{
    struct far *far = *state;
    static const uint8_t much[256 * 1024];
    struct error err;
    uint64_t start = now();
    int rc =
        far->serial->ops->write(far->serial, much, sizeof much, start + 50 * MILLISECOND, &err);
    assert_int_equal(rc, ERR_NO_ANSWER);
    assert_true(now() - start >= 50 * MILLISECOND);
    assert_non_null(strstr(err.message, "the line took only "));
    assert_non_null(strstr(err.message, " of 262144 bytes"));
}

static void a_pty_has_no_modem_lines(void **state)
{
    struct far *far = *state;
    struct error err;
    assert_int_equal(serial_set_lines(far->serial, true, false, &err), ERR_NOT_POSSIBLE);
    assert_non_null(strstr(err.message, "a pty line has no DTR and RTS"));
}

static void wire_time_counts_start_parity_and_stop_bits(void **state)
{
    (void)state;
    struct serial serial = {.settings = {115200, PARITY_NONE, 1}};
    assert_int_equal(serial_wire_time(&serial, 0), 0);
    assert_int_equal(serial_wire_time(&serial, 1), 87);      /* 86.8 */
    assert_int_equal(serial_wire_time(&serial, 272), 23612); /* 23611.1 */
    serial.settings = (struct serial_settings){9600, PARITY_EVEN, 2};
    assert_int_equal(serial_wire_time(&serial, 8), 10000);
    serial.settings = (struct serial_settings){1, PARITY_NONE, 1};
    assert_int_equal(serial_wire_time(&serial, 1000), 10000 * (uint64_t)SECOND);
}

static void touch_1200_shows_1200_baud_and_hangs_up(void **state)
{
    (void)state;
    struct far far;
    struct pollfd hangup;
    make_pty(&far);
    assert_int_equal(serial_touch_1200(far.slave, NULL, NULL), OK);
    assert_int_equal(rate_at_far_end(&far), 1200);
    hangup = (struct pollfd){.fd = far.master, .events = 0};
    assert_int_equal(poll(&hangup, 1, 5000), 1);
    assert_true(hangup.revents & POLLHUP);
    close(far.master);
}

static void open_fails(const char *device, int code, struct error *err)
{
    struct serial *serial = (struct serial *)&usual;
    assert_int_equal(serial_open(&serial, device, &usual, NULL, err), code);
    assert_int_equal(err->code, code);
    assert_null(serial);
}

static void a_missing_port_is_no_device_and_says_what_there_is(void **state)
{
    (void)state;
    struct error err;
    struct serial_port *ports;
    size_t count;
    open_fails("/dev/ttyMISSING7", ERR_NO_DEVICE, &err);
    assert_string_equal(err.message, "opening /dev/ttyMISSING7: there is no such port");
    assert_int_equal(serial_ports(&ports, &count, "/sys", NULL), OK);
    assert_non_null(
        strstr(err.hint, count ? "the ports of this machine are: /dev/" : "no serial port now"));
    free(ports);
    assert_int_equal(serial_touch_1200("/dev/ttyMISSING7", NULL, &err), ERR_NO_DEVICE);
}

static void what_is_no_port_is_not_opened(void **state)
{
    (void)state;
    struct error err;
    char name[400];
    open_fails("/tmp", ERR_NO_DEVICE, &err);
    assert_non_null(strstr(err.message, "this is not a serial port"));
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    open_fails(name, ERR_USAGE, &err);
}

/* In a process that is not root: 0 if the open was refused in the right words. */
static int refusal_of(const char *slave, const char *hint)
{
    struct serial *serial;
    struct error err;
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 1;
    if (serial_open(&serial, slave, &usual, NULL, &err) != ERR_PERMISSION)
        return 2;
    if (!strstr(err.message, slave) || !strstr(err.message, "group "))
        return 3;
    return strstr(err.hint, hint) ? 0 : 4;
}

static void refusal_is(const char *slave, mode_t mode, const char *hint)
{
    assert_int_equal(chmod(slave, mode), 0);
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(refusal_of(slave, hint));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void no_permission_names_the_group_and_the_command(void **state)
{
    (void)state;
    struct far far;
    struct stat is;
    char hint[128], buffer[4096];
    make_pty(&far);
    if (geteuid() == 0)
        assert_int_equal(chown(far.slave, 0, 5), 0); /* tty, the group of all ptys in Debian */
    assert_int_equal(stat(far.slave, &is), 0);
    struct group entry, *group = NULL;
    assert_int_equal(getgrgid_r(is.st_gid, &entry, buffer, sizeof buffer, &group), 0);
    assert_non_null(group);
    (void)snprintf(hint, sizeof hint, "`sudo usermod -aG %s $USER`, then log in again",
                   group->gr_name);
    refusal_is(far.slave, 0060, hint);
    refusal_is(far.slave, 0000, "udev rule");
    close(far.master);
}

/* ---- tcp ---- */

struct server {
    int listening, connected;
    char name[64];
};

static void serve(struct server *server, int family)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr *address = family == AF_INET6 ? (void *)&six : (void *)&four;
    socklen_t size = family == AF_INET6 ? sizeof six : sizeof four;
    server->connected = -1;
    server->listening = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->listening < 0 || bind(server->listening, address, size) != 0)
        skip(); /* no IPv6 here */
    assert_int_equal(listen(server->listening, 1), 0);
    assert_int_equal(getsockname(server->listening, address, &size), 0);
    unsigned port = ntohs(family == AF_INET6 ? six.sin6_port : four.sin_port);
    (void)snprintf(server->name, sizeof server->name,
                   family == AF_INET6 ? "tcp:[::1]:%u" : "tcp:127.0.0.1:%u", port);
}

static void stop_serving(struct server *server)
{
    if (server->connected >= 0)
        close(server->connected);
    close(server->listening);
}

static void exchange_over(int family)
{
    struct server server;
    uint8_t bytes[4];
    serve(&server, family);
    struct serial *serial = open_ok(server.name);
    server.connected = accept(server.listening, NULL, NULL);
    assert_true(server.connected >= 0);
    assert_int_equal(serial_write(serial, (const uint8_t *)"ping", 4, NULL), OK);
    assert_int_equal(recv(server.connected, bytes, 4, MSG_WAITALL), 4);
    assert_memory_equal(bytes, "ping", 4);
    assert_int_equal(send(server.connected, "pong", 4, 0), 4);
    assert_int_equal(serial_read(serial, bytes, 4, in(5 * SECOND), NULL), OK);
    assert_memory_equal(bytes, "pong", 4);
    serial_close(serial);
    stop_serving(&server);
}

static void tcp_carries_bytes_both_ways(void **state)
{
    (void)state;
    exchange_over(AF_INET);
}

static void tcp_takes_ipv6_addresses_in_brackets(void **state)
{
    (void)state;
    exchange_over(AF_INET6);
}

static void reset_over_tcp_only_drops_input(void **state)
{
    (void)state;
    struct server server;
    uint8_t byte;
    serve(&server, AF_INET);
    struct serial *serial = open_ok(server.name);
    server.connected = accept(server.listening, NULL, NULL);
    assert_int_equal(send(server.connected, "boot", 4, 0), 4);
    assert_int_equal(serial_read(serial, &byte, 1, in(5 * SECOND), NULL), OK);
    assert_int_equal(serial_pulse_reset(serial, SECOND, NULL), OK);
    assert_int_equal(send(server.connected, "k", 1, 0), 1);
    assert_int_equal(serial_read(serial, &byte, 1, in(5 * SECOND), NULL), OK);
    assert_int_equal(byte, 'k');
    assert_int_equal(serial_set_lines(serial, true, true, NULL), ERR_NOT_POSSIBLE);
    serial_close(serial);
    stop_serving(&server);
}

static void a_closed_connection_is_gone(void **state)
{
    (void)state;
    struct server server;
    const struct linger at_once = {1, 0}; /* close sends RST */
    uint8_t byte = 0;
    struct error err;
    serve(&server, AF_INET);
    struct serial *serial = open_ok(server.name);
    server.connected = accept(server.listening, NULL, NULL);
    assert_int_equal(send(server.connected, "z", 1, 0), 1);
    close(server.connected);
    assert_int_equal(serial_read(serial, &byte, 1, in(5 * SECOND), &err), OK);
    assert_int_equal(serial_read(serial, &byte, 1, in(5 * SECOND), &err), ERR_GONE);
    serial_close(serial);

    serial = open_ok(server.name);
    server.connected = accept(server.listening, NULL, NULL);
    setsockopt(server.connected, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(server.connected);
    server.connected = -1;
    assert_int_equal(serial_read(serial, &byte, 1, in(5 * SECOND), &err), ERR_GONE);
    assert_int_equal(serial_write(serial, &byte, 1, &err), ERR_GONE); /* and no SIGPIPE */
    serial_close(serial);
    stop_serving(&server);
}

static void tcp_with_nobody_listening_is_no_device(void **state)
{
    (void)state;
    struct server server;
    struct error err;
    serve(&server, AF_INET);
    stop_serving(&server);
    open_fails(server.name, ERR_NO_DEVICE, &err);
    assert_non_null(strstr(err.message, "Connection refused"));
    assert_non_null(strstr(err.hint, "serial server"));
}

static void malformed_tcp_names_are_usage_errors(void **state)
{
    (void)state;
    static const char *const names[] = {
        "tcp:",           "tcp:host",        "tcp::2000", "tcp:host:",        "tcp:host:20x",
        "tcp:host:99999", "tcp:host:123456", "tcp:[]:1",  "tcp:fe80::1:2000", "tcp:[::1:2000",
    };
    struct error err;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        open_fails(names[i], ERR_USAGE, &err);
        assert_non_null(strstr(err.message, "is not tcp:HOST:PORT"));
    }
}

#define ON_PTY(test) cmocka_unit_test_setup_teardown(test, with_pty, without_pty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_PTY(read_returns_what_the_far_end_sent),
        ON_PTY(written_bytes_reach_the_far_end_unchanged),
        ON_PTY(read_gives_up_at_its_deadline),
        ON_PTY(read_says_how_far_a_short_answer_came),
        ON_PTY(a_deadline_in_the_past_still_takes_what_is_there),
        ON_PTY(signals_do_not_end_a_wait),
        ON_PTY(a_hung_up_line_is_gone),
        ON_PTY(a_hang_up_ends_a_wait_at_once),
        cmocka_unit_test(a_port_that_another_process_holds_is_busy_and_names_it),
        ON_PTY(a_second_open_by_the_same_process_is_busy),
        cmocka_unit_test(links_are_followed),
        ON_PTY(any_rate_can_be_set),
        ON_PTY(impossible_settings_are_refused),
        ON_PTY(reset_of_a_pty_is_seen_as_close_and_open),
        ON_PTY(dropped_input_is_not_read_later),
        ON_PTY(drain_goes_on_until_the_line_is_silent),
        ON_PTY(drain_ends_at_its_limit_on_a_chattering_line),
        ON_PTY(a_line_that_takes_nothing_ends_a_write_at_its_deadline),
        ON_PTY(a_pty_has_no_modem_lines),
        cmocka_unit_test(wire_time_counts_start_parity_and_stop_bits),
        cmocka_unit_test(touch_1200_shows_1200_baud_and_hangs_up),
        cmocka_unit_test(a_missing_port_is_no_device_and_says_what_there_is),
        cmocka_unit_test(what_is_no_port_is_not_opened),
        cmocka_unit_test(no_permission_names_the_group_and_the_command),
        cmocka_unit_test(tcp_carries_bytes_both_ways),
        cmocka_unit_test(tcp_takes_ipv6_addresses_in_brackets),
        cmocka_unit_test(reset_over_tcp_only_drops_input),
        cmocka_unit_test(a_closed_connection_is_gone),
        cmocka_unit_test(tcp_with_nobody_listening_is_no_device),
        cmocka_unit_test(malformed_tcp_names_are_usage_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
