/*
 * Arrival and departure: the kernel's uevents (netlink(7), NETLINK_KOBJECT_UEVENT), and those that
 * udev sends on once its rules have run. What they say is not looked at: the caller looks at the
 * bus itself. Containers often get none of either, so a wait never rests on them alone.
 */
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/descriptor.h"
#include "link/usb.h"

enum {
    GROUP_KERNEL = 1,
    GROUP_UDEV = 2, /* permissions are set by then */
    INTERVAL_WITH_EVENTS = 200 * MILLISECOND,
    INTERVAL = 20 * MILLISECOND,
    EVENTS_AT_ONCE = 256,
};

struct usb_watch {
    int fd; /* -1: no events */
};

static int listen_to_events(void)
{
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK,
                                        .nl_groups = GROUP_KERNEL | GROUP_UDEV};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

struct usb_watch *usb_watch_open(const char *name)
{
    struct usb_watch *watch = calloc(1, sizeof *watch);
    if (watch)
        watch->fd = usbip_is_name(name) ? -1 : listen_to_events();
    return watch;
}

/* All that came at once is one reason to look. A queue that ran over (ENOBUFS) is one too. */
static void drop_events(int fd)
{
    char event[64];
    int left = EVENTS_AT_ONCE;
    while (left-- > 0 && recv(fd, event, sizeof event, MSG_DONTWAIT | MSG_TRUNC) >= 0)
        continue;
}

void usb_watch_wait(struct usb_watch *watch, uint64_t deadline)
{
    struct clock *clock = clock_monotonic();
    uint64_t moment = clock_in(clock, watch->fd >= 0 ? INTERVAL_WITH_EVENTS : INTERVAL);
    if (moment > deadline)
        moment = deadline;
    if (watch->fd < 0) {
        clock->sleep_until(clock, moment);
        return;
    }
    if (descriptor_wait(clock, watch->fd, POLLIN, moment) != 0)
        drop_events(watch->fd);
}

void usb_watch_close(struct usb_watch *watch)
{
    if (!watch)
        return;
    if (watch->fd >= 0)
        (void)close(watch->fd);
    free(watch);
}
