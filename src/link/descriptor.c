/* Descriptors with deadlines: see descriptor.h. */
#include "link/descriptor.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static bool means_gone(int number)
{
    switch (number) {
    case EIO: /* a tty after its device left, a pty without its master */
    case ENODEV:
    case ENXIO:
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case ESHUTDOWN:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETDOWN:
        return true;
    default:
        return false;
    }
}

int descriptor_failed(const struct serial *serial, const char *doing, int number, struct error *err)
{
    if (!means_gone(number))
        return error_set(err, ERR_FAILED, "%s %s: %s", doing, serial->name, strerror(number));
    error_set(err, ERR_GONE, "%s %s: the device is gone (%s)", doing, serial->name,
              strerror(number));
    error_hint(err,
               "check the cable and the board's power; `mflash detect` shows what is there now");
    return ERR_GONE;
}

int descriptor_wait(struct clock *clock, int fd, short events, uint64_t deadline)
{
    struct pollfd wait = {.fd = fd, .events = events};
    for (;;) {
        uint64_t now = clock_now(clock);
        uint64_t left = now < deadline ? deadline - now : 0;
        struct timespec time = {.tv_sec = (time_t)(left / SECOND),
                                .tv_nsec = (long)(left % SECOND) * 1000};
        int ready = ppoll(&wait, 1, &time, NULL);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0)
            return -errno;
        if (ready == 0 && left > 0)
            continue;
        return ready > 0 ? wait.revents : 0;
    }
}

int descriptor_await(const struct serial *serial, int fd, short events, uint64_t deadline,
                     short *happened, struct error *err)
{
    int what = descriptor_wait(serial->clock, fd, events, deadline);
    *happened = what > 0 ? (short)what : 0;
    return what < 0 ? descriptor_failed(serial, "waiting for", -what, err) : OK;
}

static bool would_block(int number)
{
    return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

ssize_t descriptor_read(const struct serial *serial, int fd, uint8_t *bytes, size_t max,
                        uint64_t deadline, struct error *err)
{
    for (;;) {
        short happened;
        int rc = descriptor_await(serial, fd, POLLIN | POLLRDHUP, deadline, &happened, err);
        if (rc != OK)
            return rc;
        if (happened == 0)
            return 0;
        ssize_t got = read(fd, bytes, max);
        if (got > 0)
            return got;
        if (got < 0 && !would_block(errno))
            return descriptor_failed(serial, "reading from", errno, err);
        /* Nothing to read although something happened: the far end hung up. Without these flags
         * another reader was faster, or a tty with VMIN 0 woke up early. */
        if (happened & (POLLHUP | POLLERR | POLLNVAL | POLLRDHUP))
            return descriptor_failed(serial, "reading from", EIO, err);
    }
}

/* A socket whose far end is gone must not kill the process with SIGPIPE. */
static ssize_t put(int fd, const uint8_t *bytes, size_t length)
{
    ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
    return sent < 0 && errno == ENOTSOCK ? write(fd, bytes, length) : sent;
}

int descriptor_write(const struct serial *serial, int fd, const uint8_t *bytes, size_t length,
                     uint64_t deadline, struct error *err)
{
    size_t done = 0;
    while (done < length) {
        short happened;
        int rc = descriptor_await(serial, fd, POLLOUT, deadline, &happened, err);
        if (rc != OK)
            return rc;
        if (happened == 0)
            return error_set(err, ERR_NO_ANSWER,
                             "writing to %s: the line took only %zu of %zu bytes", serial->name,
                             done, length);
        ssize_t sent = put(fd, bytes + done, length - done);
        if (sent > 0)
            done += (size_t)sent;
        else if (sent < 0 && !would_block(errno))
            return descriptor_failed(serial, "writing to", errno, err);
        else if (happened & (POLLHUP | POLLERR | POLLNVAL))
            return descriptor_failed(serial, "writing to", EIO, err);
    }
    return OK;
}
