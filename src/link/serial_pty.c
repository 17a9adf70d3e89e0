/*
 * The descriptor backend for ptys: virtual boards, and serial lines that another program forwards.
 * Rates by termios2 (Linux Documentation: ioctl_tty(2), TCSETS2), so that 250000 works as well; the
 * kernel's <asm/termbits.h> and the C library's <termios.h> exclude each other.
 *
 * A pty has no wire: the far end may look at the rate, but there is no parity and no modem line.
 * Being closed and opened is the only edge its far end sees. TIOCEXCL is not used: on a pty it
 * outlives the one who set it as long as the master is open, and would lock out the next user.
 */
#include "link/backend.h"

#include <asm/termbits.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "link/descriptor.h"

/* Closed this long at a reset, so that a far end that polls its master sees the hang-up. */
enum { CLOSED_AT_RESET = 20 * MILLISECOND };

struct pty {
    struct serial serial;
    int fd;
    char path[64];
};

static int pty_configure(struct serial *serial, const struct serial_settings *settings,
                         struct error *err)
{
    const struct pty *pty = (const struct pty *)serial;
    struct termios2 raw;
    if (ioctl(pty->fd, TCGETS2, &raw) != 0)
        return descriptor_failed(serial, "configuring", errno, err);
    raw.c_iflag = 0;
    raw.c_oflag = 0;
    raw.c_lflag = 0;
    raw.c_cflag = CS8 | CREAD | CLOCAL | BOTHER | (BOTHER << IBSHIFT);
    raw.c_cflag |= settings->stop_bits == 2 ? CSTOPB : 0;
    raw.c_ispeed = raw.c_ospeed = settings->baud;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (ioctl(pty->fd, TCSETS2, &raw) != 0)
        return descriptor_failed(serial, "configuring", errno, err);
    return OK;
}

static ssize_t pty_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                        struct error *err)
{
    return descriptor_read(serial, ((const struct pty *)serial)->fd, bytes, max, deadline, err);
}

static int pty_write(struct serial *serial, const uint8_t *bytes, size_t length, uint64_t deadline,
                     struct error *err)
{
    return descriptor_write(serial, ((const struct pty *)serial)->fd, bytes, length, deadline, err);
}

static int pty_reopen(struct serial *serial, struct error *err)
{
    struct pty *pty = (struct pty *)serial;
    short happened = POLLHUP;
    if (pty->fd >= 0) {
        int rc = descriptor_await(serial, pty->fd, 0, 0, &happened, err);
        if (rc != OK)
            return rc;
    }
    /* Without its master the pty is gone, and its name may be another program's terminal now. */
    if (happened & (POLLHUP | POLLERR))
        return descriptor_failed(serial, "opening", EIO, err);
    (void)close(pty->fd);
    serial->clock->sleep_until(serial->clock, clock_in(serial->clock, CLOSED_AT_RESET));
    pty->fd = serial_open_node(serial->name, pty->path, err);
    if (pty->fd < 0) {
        int rc = pty->fd;
        pty->fd = -1;
        /* It was there a moment ago. */
        return rc == ERR_NO_DEVICE ? descriptor_failed(serial, "opening", EIO, err) : rc;
    }
    return serial_configure(serial, &serial->settings, err);
}

static void pty_drop_input(struct serial *serial)
{
    (void)ioctl(((const struct pty *)serial)->fd, TCFLSH, TCIFLUSH);
}

static void pty_close(struct serial *serial)
{
    const struct pty *pty = (const struct pty *)serial;
    if (pty->fd >= 0)
        (void)close(pty->fd);
    free(serial);
}

static const struct serial_ops pty_ops = {
    .name = "pty",
    .configure = pty_configure,
    .read = pty_read,
    .write = pty_write,
    .reopen = pty_reopen,
    .drop_input = pty_drop_input,
    .close = pty_close,
};

int serial_pty_open(struct serial **serial, const char *name, const char *path, struct error *err)
{
    struct pty *pty = (struct pty *)serial_allocate(sizeof *pty, &pty_ops, name);
    if (!pty)
        return error_memory(err);
    if (strlen(path) >= sizeof pty->path) {
        free(pty);
        return error_set(err, ERR_NO_DEVICE, "opening %s: this is not a serial port", name);
    }
    memcpy(pty->path, path, strlen(path) + 1);
    pty->fd = serial_open_node(name, path, err);
    if (pty->fd < 0) {
        int rc = pty->fd;
        free(pty);
        return rc;
    }
    *serial = &pty->serial;
    return OK;
}
