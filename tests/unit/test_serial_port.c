/*
 * The backend for real ports, over a pty that is dressed up as one: this program's own lstat,
 * readlink and ioctl come before the C library's, also for libserialport. They make the kernel know
 * the pty as /sys/class/tty/pts/N and give it modem lines, whose every change is noted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "link/backend.h"
#include "link/serial.h"

static const struct serial_settings usual = {250000, PARITY_NONE, 1};

enum { EDGES_MAX = 64, OUT2 = 0x4000 /* TIOCM_OUT2, which the C library does not name */ };

static struct {
    int lines;            /* TIOCM_ bits */
    int edges[EDGES_MAX]; /* DTR and RTS after each change */
    size_t edge_count;
    bool exclusive; /* TIOCEXCL was asked for */
} wire;

static bool is_dressed_up(const char *path)
{
    return strncmp(path, "/sys/class/tty/pts/", 19) == 0;
}

int __lxstat(int version, const char *path, struct stat *is);
ssize_t readlink(const char *path, char *target, size_t size);
int ioctl(int fd, unsigned long request, ...);

/* What lstat is called in programs built against the C library of before 2.33. */
int __lxstat(int version, const char *path, struct stat *is)
{
    (void)version;
    if (!is_dressed_up(path))
        return fstatat(AT_FDCWD, path, is, AT_SYMLINK_NOFOLLOW);
    *is = (struct stat){.st_mode = S_IFLNK | 0777};
    return 0;
}

ssize_t readlink(const char *path, char *target, size_t size)
{
    static const char device[] = "../../devices/platform/board/tty/pts";
    if (!is_dressed_up(path))
        return readlinkat(AT_FDCWD, path, target, size);
    size_t length = size < sizeof device - 1 ? size : sizeof device - 1;
    memcpy(target, device, length);
    return (ssize_t)length;
}

static int set_lines(int lines)
{
    const int both = TIOCM_DTR | TIOCM_RTS;
    if ((lines & both) != (wire.lines & both) && wire.edge_count < EDGES_MAX)
        wire.edges[wire.edge_count++] = lines & both;
    wire.lines = lines;
    return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*real)(int, unsigned long, ...);
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    int *lines = argument;
    switch (request) {
    case TIOCMGET:
        *lines = wire.lines;
        return 0;
    case TIOCMSET:
        return set_lines(*lines);
    case TIOCMBIS:
        return set_lines(wire.lines | *lines);
    case TIOCMBIC:
        return set_lines(wire.lines & ~*lines);
    case TIOCEXCL: /* it would outlive the test on a pty */
        wire.exclusive = true;
        return 0;
    default:
        if (!real)
            *(void **)&real = dlsym(RTLD_NEXT, "ioctl");
        return real(fd, request, argument);
    }
}

struct board {
    int master;
    char slave[64];
    struct serial *serial;
};

static int with_port(void **state)
{
    struct board *board = calloc(1, sizeof *board);
    struct error err;
    memset(&wire, 0, sizeof wire);
    wire.lines = TIOCM_DTR | TIOCM_RTS | OUT2; /* as the kernel does on open */
    board->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(board->master >= 0 && grantpt(board->master) == 0);
    assert_int_equal(unlockpt(board->master), 0);
    assert_int_equal(ptsname_r(board->master, board->slave, sizeof board->slave), 0);
    if (serial_port_open(&board->serial, "the-port", board->slave, &err) != OK)
        fail_msg("%s", err.message);
    assert_int_equal(serial_configure(board->serial, &usual, NULL), OK);
    *state = board;
    return 0;
}

static int without_port(void **state)
{
    struct board *board = *state;
    serial_close(board->serial);
    if (board->master >= 0)
        close(board->master);
    free(board);
    return 0;
}

static uint64_t in(uint64_t microseconds)
{
    return clock_in(clock_monotonic(), microseconds);
}

static void it_is_libserialport_that_opens_it(void **state)
{
    struct board *board = *state;
    assert_string_equal(board->serial->ops->name, "libserialport");
    assert_string_equal(board->serial->name, "the-port");
    assert_true(wire.exclusive);
}

static void opening_and_configuring_move_no_line(void **state)
{
    struct board *board = *state;
    assert_int_equal(serial_set_baud(board->serial, 115200, NULL), OK);
    assert_int_equal(wire.edge_count, 0);
    assert_true(board->serial->dtr && board->serial->rts);
}

static void bytes_pass_unchanged_both_ways(void **state)
{
    struct board *board = *state;
    uint8_t bytes[5];
    const uint8_t odd[5] = {0x00, 0x0d, 0x11, 0x13, 0xff}; /* what a tty likes to interpret */
    assert_int_equal(write(board->master, odd, 5), 5);
    assert_int_equal(serial_read(board->serial, bytes, 5, in(5 * SECOND), NULL), OK);
    assert_memory_equal(bytes, odd, 5);
    assert_int_equal(serial_write(board->serial, odd, 5, NULL), OK);
    assert_int_equal(read(board->master, bytes, 5), 5);
    assert_memory_equal(bytes, odd, 5);
}

static void silence_ends_at_the_deadline(void **state)
{
    struct board *board = *state;
    uint8_t byte;
    uint64_t start = clock_now(board->serial->clock);
    assert_int_equal(serial_read(board->serial, &byte, 1, start + 30 * MILLISECOND, NULL),
                     ERR_NO_ANSWER);
    uint64_t taken = clock_now(board->serial->clock) - start;
    assert_true(taken >= 30 * MILLISECOND && taken < 5 * SECOND);
}

static void reset_drops_both_lines_at_once_and_raises_them_at_once(void **state)
{
    struct board *board = *state;
    uint64_t start = clock_now(board->serial->clock);
    assert_int_equal(serial_pulse_reset(board->serial, 20 * MILLISECOND, NULL), OK);
    assert_true(clock_now(board->serial->clock) - start >= 20 * MILLISECOND);
    assert_int_equal(wire.edge_count, 2);
    assert_int_equal(wire.edges[0], 0);
    assert_int_equal(wire.edges[1], TIOCM_DTR | TIOCM_RTS);
    assert_int_equal(wire.lines & OUT2, OUT2); /* PC UARTs need it for interrupts */
}

static void lines_that_were_set_stay_through_a_new_rate(void **state)
{
    struct board *board = *state;
    assert_int_equal(serial_set_lines(board->serial, false, true, NULL), OK);
    assert_int_equal(serial_set_baud(board->serial, 57600, NULL), OK);
    assert_int_equal(wire.edge_count, 1);
    assert_int_equal(wire.edges[0], TIOCM_RTS);
    assert_false(board->serial->dtr);
    assert_true(board->serial->rts);
}

static void flow_control_left_over_by_another_program_is_switched_off(void **state)
{
    struct board *board = *state;
    struct termios line;
    serial_close(board->serial);
    board->serial = NULL;
    int fd = open(board->slave, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(tcgetattr(fd, &line), 0);
    line.c_cflag |= CRTSCTS;
    line.c_iflag |= IXON | IXOFF;
    assert_int_equal(tcsetattr(fd, TCSANOW, &line), 0);
    close(fd);
    assert_int_equal(serial_port_open(&board->serial, "the-port", board->slave, NULL), OK);
    assert_int_equal(serial_configure(board->serial, &usual, NULL), OK);
    assert_int_equal(tcgetattr(board->master, &line), 0); /* of the slave, that is */
    assert_int_equal(line.c_cflag & CRTSCTS, 0);
    assert_int_equal(line.c_iflag & (IXON | IXOFF), 0);
    assert_int_equal(wire.edge_count, 0);
}

/* A pty drops parity and says nothing. */
static void parity_that_the_driver_drops_silently_is_an_error(void **state)
{
    struct board *board = *state;
    const struct serial_settings even = {57600, PARITY_EVEN, 1};
    struct error err;
    assert_int_equal(serial_configure(board->serial, &even, &err), ERR_FAILED);
    assert_string_equal(err.message,
                        "setting the-port to 57600 baud 8E1: the driver set something else");
    assert_true(err.hint[0] != '\0');
    assert_int_equal(board->serial->settings.baud, 250000);
}

static void an_unplugged_port_is_gone(void **state)
{
    struct board *board = *state;
    uint8_t byte = 0;
    struct error err;
    close(board->master);
    board->master = -1;
    assert_int_equal(serial_read(board->serial, &byte, 1, in(5 * SECOND), &err), ERR_GONE);
    assert_int_equal(serial_write(board->serial, &byte, 1, &err), ERR_GONE);
    assert_int_equal(serial_set_baud(board->serial, 9600, &err), ERR_GONE);
    assert_non_null(strstr(err.message, "configuring the-port: the device is gone"));
}

static void a_second_open_is_busy(void **state)
{
    struct board *board = *state;
    struct serial *serial = NULL;
    struct error err;
    assert_int_equal(serial_port_open(&serial, "again", board->slave, &err), ERR_BUSY);
    assert_null(serial);
}

/* Others that do not lock at all (cat, an editor's serial monitor) would eat half the replies. */
static void a_reader_that_takes_no_lock_is_found_before_the_port_is_touched(void **state)
{
    struct board *board = *state;
    struct serial *serial = NULL;
    struct error err;
    char wanted[64];
    int ready[2];
    char byte;
    serial_close(board->serial);
    board->serial = NULL;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = open(board->slave, O_RDONLY | O_NOCTTY);
        if (fd >= 0 && write(ready[1], "x", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    int rc = serial_port_open(&serial, "the-port", board->slave, &err);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(rc, ERR_BUSY);
    (void)snprintf(wanted, sizeof wanted, "(pid %d) has it open", (int)child);
    assert_non_null(strstr(err.message, wanted));
}

static void a_port_the_kernel_does_not_know_is_no_device(void **state)
{
    (void)state;
    struct serial *serial = NULL;
    struct error err;
    assert_int_equal(serial_port_open(&serial, "null", "/dev/null", &err), ERR_NO_DEVICE);
    assert_non_null(strstr(err.message, "the kernel knows no serial port /dev/null"));
    assert_non_null(strstr(err.hint, "container"));
}

#define ON_PORT(test) cmocka_unit_test_setup_teardown(test, with_port, without_port)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_PORT(it_is_libserialport_that_opens_it),
        ON_PORT(opening_and_configuring_move_no_line),
        ON_PORT(bytes_pass_unchanged_both_ways),
        ON_PORT(silence_ends_at_the_deadline),
        ON_PORT(reset_drops_both_lines_at_once_and_raises_them_at_once),
        ON_PORT(lines_that_were_set_stay_through_a_new_rate),
        ON_PORT(flow_control_left_over_by_another_program_is_switched_off),
        ON_PORT(parity_that_the_driver_drops_silently_is_an_error),
        ON_PORT(an_unplugged_port_is_gone),
        ON_PORT(a_second_open_is_busy),
        ON_PORT(a_reader_that_takes_no_lock_is_found_before_the_port_is_touched),
        cmocka_unit_test(a_port_the_kernel_does_not_know_is_no_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
