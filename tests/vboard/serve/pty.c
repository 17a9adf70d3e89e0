/*
 * The pty of a virtual board. tty_ioctl(4), pty(7). Linux answers TCGETS2 on the master with the
 * settings of the slave, and sets POLLHUP on the master while the slave has been opened before and
 * is open no longer. inotify(7) tells of each open and close between two looks.
 */
#include "pty.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool set_raw(int master)
{
    struct termios2 settings;

    if (ioctl(master, TCGETS2, &settings) < 0)
        return false;
    settings.c_iflag = 0;
    settings.c_oflag = 0;
    settings.c_lflag = 0;
    settings.c_cflag = CS8 | CREAD | CLOCAL | B9600;
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    return ioctl(master, TCSETS2, &settings) == 0;
}

/* Replaces the link in one step, but never anything that is not a link. */
static bool point_link(const char *link, const char *target)
{
    char temporary[4096];
    struct stat there;

    if (lstat(link, &there) == 0 && !S_ISLNK(there.st_mode)) {
        errno = EEXIST;
        return false;
    }
    if (snprintf(temporary, sizeof temporary, "%s.%d", link, (int)getpid()) >=
        (int)sizeof temporary) {
        errno = ENAMETOOLONG;
        return false;
    }
    unlink(temporary);
    return symlink(target, temporary) == 0 && rename(temporary, link) == 0;
}

/* Opened and closed once, the slave shows POLLHUP until a host opens it. */
static bool hang_up_once(const char *slave)
{
    int fd = open(slave, O_RDWR | O_NOCTTY | O_CLOEXEC);

    return fd >= 0 && close(fd) == 0;
}

static int watch_opens(const char *slave)
{
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (watch >= 0 && inotify_add_watch(watch, slave, IN_OPEN | IN_CLOSE) < 0) {
        close(watch);
        return -1;
    }
    return watch;
}

bool pty_attach(struct pty *pty)
{
    char slave[64];

    pty->opened = false;
    pty->watch = -1;
    pty->master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (pty->master < 0 || grantpt(pty->master) < 0 || unlockpt(pty->master) < 0 ||
        ptsname_r(pty->master, slave, sizeof slave) != 0 || !set_raw(pty->master) ||
        !hang_up_once(slave) || (pty->watch = watch_opens(slave)) < 0) {
        fprintf(stderr, "vboard: making a pty: %s\n", strerror(errno));
        return false;
    }
    if (!point_link(pty->link, slave)) {
        fprintf(stderr, "vboard: %s: %s\n", pty->link, strerror(errno));
        return false;
    }
    return true;
}

void pty_detach(struct pty *pty)
{
    if (pty->master < 0)
        return;
    unlink(pty->link);
    close(pty->master);
    close(pty->watch);
    pty->master = -1;
    pty->opened = false;
}

/* Opens and closes since the last look. A second host that opens and closes meanwhile is an open
 * before a close; a close before an open is the port let go and taken again. */
struct opens {
    bool open, close, close_then_open;
};

static struct opens drain_watch(const struct pty *pty)
{
    struct opens seen = {0};
    _Alignas(struct inotify_event) char events[4096];
    ssize_t length;

    while ((length = read(pty->watch, events, sizeof events)) > 0) {
        for (ssize_t at = 0; at < length;) {
            const struct inotify_event *event = (const struct inotify_event *)(events + at);
            seen.open |= (event->mask & IN_OPEN) != 0;
            seen.close_then_open |= (event->mask & IN_OPEN) && seen.close;
            seen.close |= (event->mask & IN_CLOSE) != 0;
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
    return seen;
}

enum pty_change pty_look(struct pty *pty)
{
    struct pollfd look = {.fd = pty->master, .events = POLLIN};
    bool was_open = pty->opened;

    if (pty->master < 0)
        return PTY_SAME;
    struct opens seen = drain_watch(pty);
    pty->opened = poll(&look, 1, 0) >= 0 && !(look.revents & POLLHUP);
    if (pty->opened != was_open)
        return was_open ? PTY_CLOSED : PTY_OPENED;
    if (was_open)
        return seen.close_then_open ? PTY_REOPENED : PTY_SAME;
    return seen.open ? PTY_TOUCHED : PTY_SAME;
}

size_t pty_read(struct pty *pty, uint8_t *bytes, size_t max)
{
    ssize_t count = pty->master < 0 ? 0 : read(pty->master, bytes, max);

    return count > 0 ? (size_t)count : 0;
}

size_t pty_write(struct pty *pty, const uint8_t *bytes, size_t length)
{
    ssize_t count = write(pty->master, bytes, length);

    return count > 0 ? (size_t)count : 0;
}

uint32_t pty_rate(const struct pty *pty)
{
    struct termios2 settings;

    if (pty->master < 0 || ioctl(pty->master, TCGETS2, &settings) < 0)
        return 0;
    return settings.c_ospeed;
}

void pty_forget_unread(struct pty *pty)
{
    char slave[64];

    if (pty->master < 0 || ptsname_r(pty->master, slave, sizeof slave) != 0)
        return;
    int fd = open(slave, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    ioctl(fd, TCFLSH, 0 /* TCIFLUSH, which <termios.h> would define */);
    close(fd);
    drain_watch(pty);
}
