/*
 * Opening: which backend a name means, the lock, and what to tell the user when it cannot be had.
 */
#include "link/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "link/host.h"

enum { NEAREST_MAX = 4 };

struct serial *serial_allocate(size_t size, const struct serial_ops *ops, const char *name)
{
    struct serial *serial = calloc(1, size);
    if (!serial)
        return NULL;
    serial->ops = ops;
    serial->clock = clock_monotonic();
    serial->trace_port = -1;
    serial->dtr = serial->rts = true; /* the kernel asserts both when a port is opened */
    (void)snprintf(serial->name, sizeof serial->name, "%s", name);
    return serial;
}

bool serial_holder(const char *path, char *text, size_t size)
{
    const struct held node = host_holder(host_here(), path);
    text[0] = '\0';
    if (node.pid == 0)
        return false;
    host_holder_text(&node, text, size);
    return true;
}

static int busy_with(const char *name, const struct held *node, struct error *err)
{
    char text[128];
    host_holder_text(node, text, sizeof text);
    error_set(err, ERR_BUSY, "opening %s: %s has it open", name, text);
    if (node->unit[0])
        error_hint(err, "stop it while you flash: `sudo systemctl stop %s`", node->unit);
    else
        error_hint(err, "close that program, or end it: `kill %d`", (int)node->pid);
    return ERR_BUSY;
}

int serial_busy(const char *name, const char *path, struct error *err)
{
    const struct held node = host_holder(host_here(), path);
    if (node.pid != 0)
        return busy_with(name, &node, err);
    error_set(err, ERR_BUSY, "opening %s: it is in use", name);
    error_hint(err,
               "by this very mflash, or by a process you may not look into: "
               "`sudo fuser -v %s` names it",
               path);
    return ERR_BUSY;
}

int serial_check_free(const char *name, const char *path, struct error *err)
{
    const struct held node = host_holder(host_here(), path);
    return node.pid != 0 ? busy_with(name, &node, err) : OK;
}

static int no_permission(const char *name, const char *path, struct error *err)
{
    struct stat is;
    if (stat(path, &is) != 0)
        return error_set(err, ERR_PERMISSION, "opening %s: permission denied", name);
    char group[64];
    host_group(is.st_gid, group, sizeof group);
    error_set(err, ERR_PERMISSION, "opening %s: permission denied (%s, group %s, mode %04o)", name,
              path, group, (unsigned)(is.st_mode & 07777));
    if (is.st_gid == 0 || (is.st_mode & 0060) != 0060)
        error_hint(err, "only root may use it: run mflash by sudo, or add a udev rule that "
                        "gives it to the group dialout");
    else
        error_hint(err, "`sudo usermod -aG %s $USER`, then log in again", group);
    return ERR_PERMISSION;
}

/* How much of the asked-for name a port shares from the start. */
static size_t likeness(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] != '\0' && a[n] == b[n])
        n++;
    return n;
}

static const char *port_label(const struct serial_port *port)
{
    return port->by_id[0] ? port->by_id : port->path;
}

/* Names of the existing ports that look most like `path`, best first. */
static void nearest_ports(const char *path, char *text, size_t size)
{
    struct serial_port *ports = NULL;
    size_t count = 0, used = 0;
    text[0] = '\0';
    if (serial_ports(&ports, &count, host_here()->sys, NULL) != OK)
        return;
    for (size_t shown = 0; shown < NEAREST_MAX && shown < count; shown++) {
        size_t best = shown;
        for (size_t i = shown + 1; i < count; i++)
            if (likeness(port_label(&ports[i]), path) > likeness(port_label(&ports[best]), path))
                best = i;
        struct serial_port swapped = ports[shown];
        ports[shown] = ports[best];
        ports[best] = swapped;
        int length = snprintf(text + used, size - used, "%s%s", shown ? ", " : "",
                              port_label(&ports[shown]));
        if (length < 0 || (size_t)length >= size - used)
            break;
        used += (size_t)length;
    }
    free(ports);
}

static int no_device(const char *name, const char *what, struct error *err)
{
    char near[ERROR_HINT_MAX - 128];
    nearest_ports(name, near, sizeof near);
    error_set(err, ERR_NO_DEVICE, "opening %s: %s", name, what);
    if (near[0])
        error_hint(err, "the ports of this machine are: %s", near);
    else
        error_hint(err, "this machine has no serial port now: is the board plugged in, and the "
                        "cable one that carries data?");
    return ERR_NO_DEVICE;
}

int serial_open_failed(const char *name, const char *path, int number, struct error *err)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return no_device(name, "there is no such port", err);
    case ENXIO:
    case ENODEV:
    case EIO:
        return no_device(name, "the node has no device behind it", err);
    case ENOTTY: /* a virtual console */
        return no_device(name, "this is not a serial port", err);
    case EACCES:
    case EPERM:
        return no_permission(name, path, err);
    case EBUSY:
    case EWOULDBLOCK:
        return serial_busy(name, path, err);
    default:
        return error_set(err, ERR_FAILED, "opening %s: %s", name, strerror(number));
    }
}

int serial_open_node(const char *name, const char *path, struct error *err)
{
    int fd;
    do
        fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return serial_open_failed(name, path, errno, err);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int number = errno;
        (void)close(fd);
        return serial_open_failed(name, path, number, err);
    }
    return fd;
}

static int open_path(struct serial **serial, const char *name, struct error *err)
{
    char *path = realpath(name, NULL);
    if (!path)
        return serial_open_failed(name, name, errno, err);
    struct stat is;
    int rc;
    if (stat(path, &is) != 0)
        rc = serial_open_failed(name, path, errno, err);
    else if (!S_ISCHR(is.st_mode))
        rc = no_device(name, "this is not a serial port", err);
    else if (host_is_pty(is.st_rdev))
        rc = serial_pty_open(serial, name, path, err);
    else
        rc = serial_port_open(serial, name, path, err);
    free(path);
    return rc;
}

int serial_open(struct serial **serial, const char *device, const struct serial_settings *settings,
                struct trace *trace, struct error *err)
{
    *serial = NULL;
    struct serial *made = NULL;
    if (strlen(device) >= sizeof made->name)
        return error_set(err, ERR_USAGE, "the device name is longer than %zu bytes",
                         sizeof made->name - 1);
    int rc;
    if (strncmp(device, "tcp:", 4) == 0)
        rc = serial_tcp_open(&made, device, err);
    else if (strncmp(device, "usbip:", 6) == 0)
        rc = serial_cdc_open(&made, device, trace, err);
    else
        rc = open_path(&made, device, err);
    if (rc != OK || !made)
        return rc;
    made->trace = trace;
    made->trace_port = trace_add_serial(trace, device);
    rc = serial_configure(made, settings, err);
    if (rc != OK) {
        serial_close(made);
        return rc;
    }
    trace_serial(trace, made->trace_port, TRACE_LINES, 3, NULL, 0);
    *serial = made;
    return OK;
}
