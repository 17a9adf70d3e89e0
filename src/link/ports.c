/*
 * Serial ports as sysfs shows them (Documentation/ABI/testing/sysfs-bus-usb, sysfs-tty):
 *
 *     class/tty/ttyACM0/device -> the interface 1-1.4:1.0, in the directory of the device 1-1.4
 *     class/tty/ttyUSB0/device -> the port ttyUSB0, in the directory of the interface
 *
 * Nothing is opened: opening a port resets half of all boards.
 */
#include "link/ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PORTS_MAX = 1024, DEPTH_MAX = 32 };

static bool exists(const char *directory, const char *name)
{
    char path[HOST_PATH_MAX];
    host_path(path, "%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

/* The directory of the device, all links resolved. */
static bool device_directory(const struct host *host, const char *tty, char path[HOST_PATH_MAX])
{
    char link[HOST_PATH_MAX];
    host_path(link, "%s/class/tty/%s/device", host->sys, tty);
    char *resolved = realpath(link, NULL);
    if (!resolved)
        return false;
    host_path(path, "%s", resolved);
    free(resolved);
    return path[0] != '\0';
}

bool ports_usb_device(const struct host *host, const char *tty, char path[HOST_PATH_MAX])
{
    if (!device_directory(host, tty, path))
        return false;
    for (int depth = 0; depth < DEPTH_MAX; depth++) {
        if (exists(path, "idVendor") && exists(path, "idProduct"))
            return true;
        char *slash = strrchr(path, '/');
        if (!slash || slash == path)
            return false;
        *slash = '\0';
    }
    return false;
}

/* Virtual consoles have no device; UARTs that are compiled in but not there have no hardware. */
static bool is_real(const struct host *host, const char *tty)
{
    char directory[HOST_PATH_MAX], path[HOST_PATH_MAX];
    unsigned long type, port = 0, memory = 0;
    if (!device_directory(host, tty, path))
        return false;
    host_path(directory, "%s/class/tty/%s", host->sys, tty);
    host_path(path, "%s/type", directory);
    if (!host_number(path, 10, &type))
        return true; /* not a UART of the serial core */
    if (type == 0)
        return false; /* PORT_UNKNOWN: nothing answered there */
    host_path(path, "%s/port", directory);
    bool told = host_number(path, 0, &port);
    host_path(path, "%s/iomem_base", directory);
    told = host_number(path, 0, &memory) || told;
    return !told || port != 0 || memory != 0;
}

/* Since Linux 6.5 each UART has two devices of the core's own between the port and its driver. */
static bool is_core_device(const char *directory)
{
    char path[HOST_PATH_MAX], name[32];
    host_path(path, "%s/subsystem", directory);
    return host_link_name(path, name, sizeof name) && strcmp(name, "serial-base") == 0;
}

/* The nearest driver from the port's device upwards. */
static void read_driver(const struct host *host, const char *tty, struct serial_port *port)
{
    char directory[HOST_PATH_MAX], path[HOST_PATH_MAX];
    if (!device_directory(host, tty, directory))
        return;
    for (int depth = 0; depth < 4 && port->driver[0] == '\0'; depth++) {
        host_path(path, "%s/driver", directory);
        if (!is_core_device(directory))
            (void)host_link_name(path, port->driver, sizeof port->driver);
        char *slash = strrchr(directory, '/');
        if (!slash || slash == directory)
            return;
        *slash = '\0';
    }
}

static void read_usb(const struct host *host, const char *tty, struct serial_port *port)
{
    char directory[HOST_PATH_MAX];
    port->usb = ports_usb_device(host, tty, directory);
    if (!port->usb)
        return;
    port->vid = host_id(directory, "idVendor");
    port->pid = host_id(directory, "idProduct");
    host_text(directory, "serial", port->serial, sizeof port->serial);
    host_text(directory, "manufacturer", port->manufacturer, sizeof port->manufacturer);
    host_text(directory, "product", port->product, sizeof port->product);
    host_printable(port->bus_path, sizeof port->bus_path, strrchr(directory, '/') + 1);
}

/* udev's link with the lowest name that leads to this port. */
static void read_by_id(const struct host *host, const char *tty, struct serial_port *port)
{
    char path[HOST_PATH_MAX], name[sizeof port->by_id], target[64];
    host_path(path, "%s/serial/by-id", host->dev);
    DIR *dir = opendir(path);
    const char *entry;
    while (dir && (entry = host_next_name(dir)) != NULL) {
        host_path(path, "%s/serial/by-id/%s", host->dev, entry);
        if (!host_link_name(path, target, sizeof target) || strcmp(target, tty) != 0)
            continue;
        int length = snprintf(name, sizeof name, "/dev/serial/by-id/%s", entry);
        if (length > 0 && (size_t)length < sizeof name &&
            (port->by_id[0] == '\0' || strcmp(name, port->by_id) < 0))
            memcpy(port->by_id, name, (size_t)length + 1);
    }
    if (dir)
        (void)closedir(dir);
}

static void read_port(const struct host *host, const char *tty, struct serial_port *port)
{
    *port = (struct serial_port){.path = ""};
    (void)snprintf(port->path, sizeof port->path, "/dev/%.32s", tty);
    read_driver(host, tty, port);
    read_usb(host, tty, port);
    read_by_id(host, tty, port);
}

int ports_holders(struct serial_port *ports, size_t count, const struct host *host,
                  struct error *err)
{
    char path[HOST_PATH_MAX];
    struct held *nodes = calloc(count ? count : 1, sizeof *nodes);
    if (!nodes)
        return error_memory(err);
    for (size_t i = 0; i < count; i++) {
        nodes[i].path = ports[i].path;
        host_path(path, "%s/class/tty/%s/dev", host->sys, strrchr(ports[i].path, '/') + 1);
        nodes[i].device = host_device_number(path);
    }
    host_holders(host, nodes, count);
    for (size_t i = 0; i < count; i++)
        if (nodes[i].pid != 0)
            host_holder_text(&nodes[i], ports[i].holder, sizeof ports[i].holder);
    free(nodes);
    return OK;
}

static int by_path(const void *a, const void *b)
{
    return strverscmp(((const struct serial_port *)a)->path, ((const struct serial_port *)b)->path);
}

/* Adds one port. False: out of memory. */
static bool append(struct serial_port **ports, size_t *count, const struct host *host,
                   const char *tty)
{
    struct serial_port *more = realloc(*ports, (*count + 1) * sizeof *more);
    if (!more)
        return false;
    *ports = more;
    read_port(host, tty, &more[(*count)++]);
    return true;
}

int ports_list(struct serial_port **ports, size_t *count, const struct host *host,
               struct error *err)
{
    char directory[HOST_PATH_MAX];
    *ports = NULL;
    *count = 0;
    host_path(directory, "%s/class/tty", host->sys);
    DIR *dir = opendir(directory);
    if (!dir)
        return errno == ENOENT
                   ? OK
                   : error_set(err, ERR_FAILED, "reading %s: %s", directory, strerror(errno));
    int rc = OK;
    const char *entry;
    while (rc == OK && *count < PORTS_MAX && (entry = host_next_name(dir)) != NULL)
        if (entry[0] != '.' && strlen(entry) <= 32 && is_real(host, entry) &&
            !append(ports, count, host, entry))
            rc = error_memory(err);
    (void)closedir(dir);
    if (rc != OK) {
        free(*ports);
        *ports = NULL;
        *count = 0;
        return rc;
    }
    if (*count > 1)
        qsort(*ports, *count, sizeof **ports, by_path);
    return OK;
}

int serial_ports(struct serial_port **ports, size_t *count, const char *sysfs, struct error *err)
{
    struct host host = *host_here();
    host.sys = sysfs;
    return ports_list(ports, count, &host, err);
}
