/* FTDI's latency timer: see latency.h. */
#include "link/latency.h"

#include <fcntl.h>
#include <linux/serial.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LOWEST = 1 }; /* millisecond; 0 is refused by the older chips */

static bool write_number(const char *path, unsigned long number)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%lu\n", number);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool written = write(fd, text, (size_t)length) == length;
    return close(fd) == 0 && written;
}

/* The driver takes this flag from any user, and sets the timer to 1 ms by itself. */
static bool set_flag(int fd, bool on)
{
    struct serial_struct port;
    if (ioctl(fd, TIOCGSERIAL, &port) != 0)
        return false;
    unsigned before = (unsigned)port.flags;
    unsigned after = on ? before | ASYNC_LOW_LATENCY : before & ~ASYNC_LOW_LATENCY;
    port.flags = (int)after;
    return after != before && ioctl(fd, TIOCSSERIAL, &port) == 0;
}

void latency_lower(struct latency *latency, const struct host *host, const char *tty, int fd)
{
    char path[HOST_PATH_MAX];
    *latency = (struct latency){.path = ""};
    host_path(path, "%s/class/tty/%s/device/latency_timer", host->sys, tty);
    if (!host_number(path, 10, &latency->before) || latency->before <= LOWEST)
        return;
    if (write_number(path, LOWEST))
        host_path(latency->path, "%s", path);
    else
        latency->flag_set = set_flag(fd, true);
}

void latency_restore(const struct latency *latency, int fd)
{
    if (latency->path[0])
        (void)write_number(latency->path, latency->before);
    else if (latency->flag_set)
        (void)set_flag(fd, false);
}
