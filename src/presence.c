/* See presence.h. */
#include "presence.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "link/ports.h"
#include "link/serial.h"

enum { CLASS_CDC = 0x02, CDC_ACM = 0x02, CLASS_APPLICATION = 0xfe, DFU = 0x01, DFU_RUNTIME = 0x01 };

enum { CHIP_ID_BYTES = 12, CHIP_ID_DIGITS = 24, DFU_SERIAL_DIGITS = 12 };

/* ---- a port or a device as a presence ---- */

static void from_port(struct presence *presence, const struct serial_port *port)
{
    *presence = (struct presence){.usb = port->usb, .vid = port->vid, .pid = port->pid};
    (void)snprintf(presence->place, sizeof presence->place, "%s", port->bus_path);
    (void)snprintf(presence->tty, sizeof presence->tty, "%s",
                   port->by_id[0] ? port->by_id : port->path);
    (void)snprintf(presence->path, sizeof presence->path, "%s", port->path);
    (void)snprintf(presence->serial, sizeof presence->serial, "%s", port->serial);
    (void)snprintf(presence->product, sizeof presence->product, "%s", port->product);
    (void)snprintf(presence->holder, sizeof presence->holder, "%s", port->holder);
}

static bool has_interface(const struct usb_device *device, uint8_t class, uint8_t subclass,
                          uint8_t protocol)
{
    for (size_t i = 0; i < device->interface_count; i++) {
        const struct usb_interface *interface = &device->interfaces[i];
        if (interface->class == class && interface->subclass == subclass &&
            (protocol == 0xff || interface->protocol == protocol))
            return true;
    }
    return false;
}

static void add_device(struct presence *presence, const struct usb_device *device)
{
    (void)snprintf(presence->device, sizeof presence->device, "%s", device->name);
    if (!presence->holder[0])
        (void)snprintf(presence->holder, sizeof presence->holder, "%s", device->holder);
    presence->dfu_runtime = has_interface(device, CLASS_APPLICATION, DFU, DFU_RUNTIME);
}

/* `remote`: its serial function, if it has one, is opened by the device's own name. */
static void from_device(struct presence *presence, const struct usb_device *device, bool remote)
{
    *presence = (struct presence){.usb = true, .vid = device->vid, .pid = device->pid};
    (void)snprintf(presence->place, sizeof presence->place, "%s",
                   remote ? device->name : device->bus_path);
    if (remote && has_interface(device, CLASS_CDC, CDC_ACM, 0xff))
        (void)snprintf(presence->tty, sizeof presence->tty, "%s", device->name);
    (void)snprintf(presence->serial, sizeof presence->serial, "%s", device->serial);
    (void)snprintf(presence->product, sizeof presence->product, "%s", device->product);
    add_device(presence, device);
}

/* ---- the list ---- */

struct buses {
    struct serial_port *ports;
    size_t port_count;
    struct usb_device *devices;
    size_t device_count;
};

static int look(struct buses *buses, const struct presence_scope *scope, struct error *err)
{
    struct host host = *host_here();
    if (scope->server) {
        int rc = usbip_devices(&buses->devices, &buses->device_count, scope->server, err);
        if (rc == OK && scope->texts)
            usbip_texts(buses->devices, buses->device_count);
        return rc;
    }
    host.sys = scope->sysfs ? scope->sysfs : host.sys;
    if (serial_ports(&buses->ports, &buses->port_count, host.sys, err) ||
        usb_devices(&buses->devices, &buses->device_count, &host, err))
        return error_status(err);
    if (!scope->holders)
        return OK;
    int status = ports_holders(buses->ports, buses->port_count, &host, err);
    return status ? status : usb_holders(buses->devices, buses->device_count, &host, err);
}

/* True if the device is there as one or more ports already, which then know of it. */
static bool join_ports(struct presence *list, size_t count, const struct usb_device *device)
{
    bool joined = false;
    for (size_t i = 0; i < count; i++) {
        if (!list[i].usb || strcmp(list[i].place, device->bus_path) != 0)
            continue;
        add_device(&list[i], device);
        joined = true;
    }
    return joined;
}

static int by_place(const void *a, const void *b)
{
    const struct presence *first = a, *second = b;
    int order = strverscmp(first->place, second->place);
    return order ? order : strverscmp(first->path, second->path);
}

int presence_list(struct presence **list, size_t *count, const struct presence_scope *scope,
                  struct error *err)
{
    struct buses buses = {0};
    *list = NULL;
    *count = 0;
    int status = look(&buses, scope, err);
    if (!status)
        *list = calloc(buses.port_count + buses.device_count + 1, sizeof **list);
    if (!status && !*list)
        status = error_memory(err);
    if (!status) {
        for (size_t i = 0; i < buses.port_count; i++)
            from_port(&(*list)[(*count)++], &buses.ports[i]);
        size_t ports = *count;
        for (size_t i = 0; i < buses.device_count; i++)
            if (!join_ports(*list, ports, &buses.devices[i]))
                from_device(&(*list)[(*count)++], &buses.devices[i], scope->server != NULL);
        qsort(*list, *count, sizeof **list, by_place);
    }
    free(buses.ports);
    free(buses.devices);
    return status;
}

bool presence_at(struct presence *found, const char *place, const char *sysfs)
{
    struct presence *list;
    size_t count;
    struct error ignored;
    const struct presence_scope scope = {.sysfs = sysfs,
                                         .server = usbip_is_name(place) ? place : NULL};
    if (!place[0] || presence_list(&list, &count, &scope, &ignored))
        return false;
    bool is = false;
    for (size_t i = 0; i < count && !is; i++) {
        is = strcmp(list[i].place, place) == 0;
        if (is)
            *found = list[i];
    }
    free(list);
    return is;
}

bool presence_has_id(const struct presence *presence, const struct usb_id *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (presence->usb && ids[i].vid == presence->vid && ids[i].pid == presence->pid)
            return true;
    return false;
}

/* ---- serial numbers ---- */

/* False if the text is not `CHIP_ID_DIGITS` hex digits. */
static bool chip_id(const char *text, uint8_t id[CHIP_ID_BYTES])
{
    if (strlen(text) != CHIP_ID_DIGITS)
        return false;
    for (size_t i = 0; i < CHIP_ID_BYTES; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        if (!isxdigit((unsigned char)digits[0]) || !isxdigit((unsigned char)digits[1]))
            return false;
        id[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return true;
}

static bool is_dfu_serial_of(const char *serial, const char *text)
{
    uint8_t id[CHIP_ID_BYTES];
    char made[DFU_SERIAL_DIGITS + 1];
    if (!chip_id(text, id))
        return false;
    (void)snprintf(made, sizeof made, "%02X%02X%02X%02X%02X%02X", id[11], (uint8_t)(id[10] + id[2]),
                   id[9], (uint8_t)(id[8] + id[0]), id[7], id[6]);
    return strcasecmp(made, serial) == 0;
}

bool presence_same_serial(const char *a, const char *b)
{
    if (!a[0] || !b[0])
        return false;
    return strcasecmp(a, b) == 0 || is_dfu_serial_of(a, b) || is_dfu_serial_of(b, a);
}

void presence_text(const struct presence *presence, char *text, size_t size)
{
    text_append(text, size, "%s", presence->tty[0] ? presence->tty : presence->device);
    if (presence->usb)
        text_append(text, size, " (%04x:%04x%s%s)", presence->vid, presence->pid,
                    presence->product[0] ? " " : "", presence->product);
}
