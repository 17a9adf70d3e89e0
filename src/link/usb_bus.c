/*
 * USB devices as sysfs shows them (Documentation/ABI/{stable,testing}/sysfs-bus-usb):
 *
 *     bus/usb/devices/1-1.4 -> the device's directory: idVendor, busnum, devnum, product …
 *     bus/usb/devices/1-1.4/1-1.4:1.0: an interface, with a link to its driver
 *
 * Nothing is opened: opening a node wakes the device and takes it from nobody, but tells nothing
 * that is not here.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "link/usb.h"

enum { DEVICES_MAX = 512, CLASS_HUB = 9, USB_DEVICE_MAJOR = 189, DEVICES_A_BUS = 128 };

/* "1-1.4", neither an interface ("1-1.4:1.0") nor a root hub ("usb1"). */
static bool is_bus_path(const char *name)
{
    return isdigit((unsigned char)name[0]) && strspn(name, "0123456789-.") == strlen(name) &&
           strlen(name) < sizeof((struct usb_device *)0)->bus_path;
}

static void read_interface(const char *directory, const char *entry,
                           struct usb_interface *interface)
{
    char inside[HOST_PATH_MAX], path[HOST_PATH_MAX];
    host_path(inside, "%s/%s", directory, entry);
    interface->number = (uint8_t)host_id(inside, "bInterfaceNumber");
    interface->class = (uint8_t)host_id(inside, "bInterfaceClass");
    interface->subclass = (uint8_t)host_id(inside, "bInterfaceSubClass");
    interface->protocol = (uint8_t)host_id(inside, "bInterfaceProtocol");
    host_path(path, "%s/driver", inside);
    (void)host_link_name(path, interface->driver, sizeof interface->driver);
}

static int by_number(const void *a, const void *b)
{
    return ((const struct usb_interface *)a)->number - ((const struct usb_interface *)b)->number;
}

/* Interfaces are the directories "1-1.4:1.0" inside the device's own, "1-1.4". */
static void read_interfaces(const char *directory, struct usb_device *device)
{
    size_t length = strlen(device->bus_path);
    DIR *dir = opendir(directory);
    const char *entry;
    while (dir && device->interface_count < USB_INTERFACES_MAX &&
           (entry = host_next_name(dir)) != NULL)
        if (strncmp(entry, device->bus_path, length) == 0 && entry[length] == ':')
            read_interface(directory, entry, &device->interfaces[device->interface_count++]);
    if (dir)
        (void)closedir(dir);
    if (device->interface_count > 1)
        qsort(device->interfaces, device->interface_count, sizeof device->interfaces[0], by_number);
}

static unsigned read_decimal(const char *directory, const char *name)
{
    char path[HOST_PATH_MAX];
    unsigned long number = 0;
    host_path(path, "%s/%s", directory, name);
    (void)host_number(path, 10, &number);
    return number < 1000 ? (unsigned)number : 0;
}

/* False: a hub, or it left just now. */
static bool read_device(const char *directory, const char *name, struct usb_device *device)
{
    char text[8];
    *device = (struct usb_device){.vid = host_id(directory, "idVendor")};
    host_text(directory, "idVendor", text, sizeof text);
    if (text[0] == '\0' || host_id(directory, "bDeviceClass") == CLASS_HUB)
        return false;
    device->pid = host_id(directory, "idProduct");
    device->bcd = host_id(directory, "bcdDevice");
    device->bus = read_decimal(directory, "busnum");
    device->address = read_decimal(directory, "devnum");
    host_text(directory, "serial", device->serial, sizeof device->serial);
    host_text(directory, "manufacturer", device->manufacturer, sizeof device->manufacturer);
    host_text(directory, "product", device->product, sizeof device->product);
    (void)snprintf(device->bus_path, sizeof device->bus_path, "%s", name);
    (void)snprintf(device->name, sizeof device->name, "%s", name);
    read_interfaces(directory, device);
    return true;
}

/* Minor numbers count addresses through all buses: Linux Documentation/admin-guide/devices.txt. */
static dev_t node_number(const struct usb_device *device)
{
    if (device->bus == 0 || device->address == 0)
        return 0;
    return makedev(USB_DEVICE_MAJOR, (device->bus - 1) * DEVICES_A_BUS + (device->address - 1));
}

int usb_holders(struct usb_device *devices, size_t count, const struct host *host,
                struct error *err)
{
    enum { NODE_PATH = 32 };
    struct held *nodes = calloc(count ? count : 1, sizeof *nodes);
    char(*paths)[NODE_PATH] = calloc(count ? count : 1, sizeof *paths);
    for (size_t i = 0; nodes && paths && i < count; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "/dev/bus/usb/%03u/%03u", devices[i].bus,
                       devices[i].address);
        nodes[i].path = paths[i];
        nodes[i].device = node_number(&devices[i]);
    }
    if (nodes && paths)
        host_holders(host, nodes, count);
    for (size_t i = 0; nodes && paths && i < count; i++)
        if (nodes[i].pid != 0)
            host_holder_text(&nodes[i], devices[i].holder, sizeof devices[i].holder);
    int rc = nodes && paths ? OK : error_memory(err);
    free(nodes);
    free(paths);
    return rc;
}

static int by_bus_path(const void *a, const void *b)
{
    return strverscmp(((const struct usb_device *)a)->bus_path,
                      ((const struct usb_device *)b)->bus_path);
}

/* Adds one device. False: out of memory. */
static bool append(struct usb_device **devices, size_t *count, const struct host *host,
                   const char *name)
{
    char directory[HOST_PATH_MAX];
    struct usb_device *more = realloc(*devices, (*count + 1) * sizeof *more);
    if (!more)
        return false;
    *devices = more;
    host_path(directory, "%s/bus/usb/devices/%s", host->sys, name);
    if (read_device(directory, name, &more[*count]))
        ++*count;
    return true;
}

int usb_devices(struct usb_device **devices, size_t *count, const struct host *host,
                struct error *err)
{
    char directory[HOST_PATH_MAX];
    *devices = NULL;
    *count = 0;
    host_path(directory, "%s/bus/usb/devices", host->sys);
    DIR *dir = opendir(directory);
    if (!dir)
        return errno == ENOENT
                   ? OK
                   : error_set(err, ERR_FAILED, "reading %s: %s", directory, strerror(errno));
    int rc = OK;
    const char *entry;
    while (rc == OK && *count < DEVICES_MAX && (entry = host_next_name(dir)) != NULL)
        if (is_bus_path(entry) && !append(devices, count, host, entry))
            rc = error_memory(err);
    (void)closedir(dir);
    if (rc != OK) {
        free(*devices);
        *devices = NULL;
        *count = 0;
        return rc;
    }
    if (*count > 1)
        qsort(*devices, *count, sizeof **devices, by_bus_path);
    return OK;
}
