/* USB/IP before a device is ours: see usbip.h. One connection carries one request. */
#include "link/usbip.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "link/descriptor.h"
#include "link/host.h"
#include "link/usb_backend.h"

#define PREFIX "usbip:"
#define PORT   "3240"

enum {
    VERSION = 0x0111,
    OP_REQ_DEVLIST = 0x8005,
    OP_REP_DEVLIST = 0x0005,
    OP_REQ_IMPORT = 0x8003,
    OP_REP_IMPORT = 0x0003,
    OP_BYTES = 8,
    RECORD_BYTES = 312,
    RECORD_BUSID = 256,
    INTERFACE_BYTES = 4,
    STATUS_NOT_AVAILABLE = 1,
    STATUS_BUSY = 2,
    STATUS_ERROR = 3,
    STATUS_NO_DEVICE = 4,
    OP_DEADLINE = 5 * SECOND,
    TEXTS_DEADLINE = 5 * SECOND, /* for the texts of all devices together */
    BUSY_INTERVAL = 20 * MILLISECOND,
    DEVICES_MAX = 256,
    CLASS_HUB = 9,
};

/* ---- names ---- */

bool usbip_parse(struct usbip_name *name, const char *text)
{
    char server[sizeof name->address.host + sizeof name->address.port + 4];
    if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
        return false;
    text += strlen(PREFIX);
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    const char *busid = slash ? slash + 1 : "";
    if (length >= sizeof server || strlen(busid) >= sizeof name->busid || (slash && !*busid))
        return false;
    memcpy(server, text, length);
    server[length] = '\0';
    host_printable(name->busid, sizeof name->busid, busid);
    return strcmp(name->busid, busid) == 0 && tcp_address(&name->address, server, PORT);
}

bool usbip_is_name(const char *text)
{
    struct usbip_name ignored;
    return usbip_parse(&ignored, text);
}

/* ---- one request and its answer ---- */

struct conversation {
    const char *text; /* what the user calls it */
    struct clock *clock;
    uint64_t deadline;
    int fd;
};

static int no_answer(const char *text, struct error *err)
{
    error_set(err, ERR_NO_ANSWER, "asking %s: the server says nothing", text);
    error_hint(err, "is it a USB/IP server that listens there, and not something else?");
    return ERR_NO_ANSWER;
}

static int wrong_answer(const char *text, const char *what, struct error *err)
{
    error_set(err, ERR_PROTOCOL, "asking %s: %s", text, what);
    error_hint(err, "is it a USB/IP server (protocol 1.1.1) that listens there?");
    return ERR_PROTOCOL;
}

static int say(const struct conversation *with, const uint8_t *bytes, size_t length,
               struct error *err)
{
    size_t done = 0;
    while (done < length) {
        int what = descriptor_wait(with->clock, with->fd, POLLOUT, with->deadline);
        if (what == 0)
            return no_answer(with->text, err);
        ssize_t sent = send(with->fd, bytes + done, length - done, MSG_NOSIGNAL);
        if (sent > 0)
            done += (size_t)sent;
        else if (errno != EAGAIN && errno != EINTR)
            return wrong_answer(with->text, "the server closed the connection", err);
    }
    return OK;
}

static int hear(const struct conversation *with, uint8_t *bytes, size_t length, struct error *err)
{
    size_t done = 0;
    while (done < length) {
        if (descriptor_wait(with->clock, with->fd, POLLIN, with->deadline) == 0)
            return no_answer(with->text, err);
        ssize_t got = recv(with->fd, bytes + done, length - done, 0);
        if (got > 0)
            done += (size_t)got;
        else if (got == 0 || (errno != EAGAIN && errno != EINTR))
            return wrong_answer(with->text,
                                done ? "the server closed the connection in the middle of an answer"
                                     : "the server closed the connection",
                                err);
    }
    return OK;
}

/* Connects; on failure with->fd is -1. */
static int call(struct conversation *with, const struct usbip_name *name, struct error *err)
{
    struct error told = {.code = OK};
    with->fd = tcp_connect(with->text, &name->address, with->clock, &told);
    if (with->fd >= 0) {
        with->deadline = clock_in(with->clock, OP_DEADLINE);
        return OK;
    }
    with->fd = -1;
    error_set(err, ERR_NO_ANSWER, "%s", told.message);
    if (told.hint[0])
        error_hint(err, "%s", told.hint);
    else
        error_hint(err,
                   "is the USB/IP server (`usbipd`, `vboard`) running there, on port %s, and not "
                   "blocked by a firewall?",
                   name->address.port);
    return ERR_NO_ANSWER;
}

/* Sends a request, reads the head of the answer and hands out its status. */
static int ask(const struct conversation *with, const uint8_t *request, size_t length,
               uint16_t answer, uint32_t *status, struct error *err)
{
    uint8_t head[OP_BYTES];
    int rc = say(with, request, length, err);
    if (rc == OK)
        rc = hear(with, head, sizeof head, err);
    if (rc != OK)
        return rc;
    if (get_be16(head) != VERSION || get_be16(head + 2) != answer)
        return wrong_answer(with->text, "the answer is not that of USB/IP 1.1.1", err);
    *status = get_be32(head + 4);
    return OK;
}

static void read_record(struct usbip_record *record, const uint8_t bytes[RECORD_BYTES])
{
    const uint8_t *at = bytes + RECORD_BUSID;
    char busid[USBIP_BUSID_MAX + 1] = "";
    memcpy(busid, at, USBIP_BUSID_MAX);
    host_printable(record->busid, sizeof record->busid, busid);
    at += USBIP_BUSID_MAX;
    record->bus = get_be32(at);
    record->address = get_be32(at + 4);
    record->speed = get_be32(at + 8);
    record->vid = get_be16(at + 12);
    record->pid = get_be16(at + 14);
    record->bcd = get_be16(at + 16);
    record->class = at[18];
    record->configuration = at[21];
    record->interfaces = at[23];
}

/* ---- the list ---- */

static void list_device(struct usb_device *device, const char *server,
                        const struct usbip_record *record, const uint8_t *interfaces)
{
    *device = (struct usb_device){.vid = record->vid, .pid = record->pid, .bcd = record->bcd};
    device->bus = record->bus;
    device->address = record->address;
    (void)snprintf(device->bus_path, sizeof device->bus_path, "%s", record->busid);
    (void)snprintf(device->name, sizeof device->name, "%.*s/%s", (int)strcspn(server, "/"), server,
                   record->busid);
    for (uint8_t i = 0; i < record->interfaces && i < USB_INTERFACES_MAX; i++)
        device->interfaces[device->interface_count++] =
            (struct usb_interface){.number = i,
                                   .class = interfaces[INTERFACE_BYTES * i],
                                   .subclass = interfaces[INTERFACE_BYTES * i + 1],
                                   .protocol = interfaces[INTERFACE_BYTES * i + 2]};
}

static int hear_list(const struct conversation *with, const char *busid, struct usb_device *devices,
                     size_t *count, struct error *err)
{
    uint8_t bytes[RECORD_BYTES], interfaces[UINT8_MAX * INTERFACE_BYTES], number[4];
    struct usbip_record record;
    int rc = hear(with, number, sizeof number, err);
    if (rc != OK)
        return rc;
    uint32_t left = get_be32(number);
    if (left > DEVICES_MAX)
        return wrong_answer(with->text, "the server claims to have more devices than can be", err);
    for (; left > 0; left--) {
        rc = hear(with, bytes, sizeof bytes, err);
        if (rc != OK)
            return rc;
        read_record(&record, bytes);
        rc = hear(with, interfaces, (size_t)record.interfaces * INTERFACE_BYTES, err);
        if (rc != OK)
            return rc;
        if (record.class != CLASS_HUB && (!busid[0] || strcmp(busid, record.busid) == 0))
            list_device(&devices[(*count)++], with->text, &record, interfaces);
    }
    return OK;
}

static int by_bus_path(const void *a, const void *b)
{
    return strverscmp(((const struct usb_device *)a)->bus_path,
                      ((const struct usb_device *)b)->bus_path);
}

static int list(struct usb_device *devices, size_t *count, const char *server, struct error *err)
{
    static const uint8_t request[OP_BYTES] = {VERSION >> 8, VERSION & 0xff, OP_REQ_DEVLIST >> 8,
                                              OP_REQ_DEVLIST & 0xff};
    struct conversation with = {.text = server, .clock = clock_monotonic()};
    struct usbip_name name;
    uint32_t status = 0;
    if (!usbip_parse(&name, server)) {
        error_set(err, ERR_USAGE, "%s is not usbip:HOST[:PORT][/BUSID]", server);
        error_hint(err, "for example usbip:localhost, usbip:192.168.1.20:3240/1-1.4");
        return ERR_USAGE;
    }
    int rc = call(&with, &name, err);
    if (rc != OK)
        return rc;
    rc = ask(&with, request, sizeof request, OP_REP_DEVLIST, &status, err);
    if (rc == OK && status != 0)
        rc = wrong_answer(server, "the server does not tell its devices", err);
    if (rc == OK)
        rc = hear_list(&with, name.busid, devices, count, err);
    (void)close(with.fd);
    return rc;
}

int usbip_devices(struct usb_device **devices, size_t *count, const char *server, struct error *err)
{
    *count = 0;
    *devices = calloc(DEVICES_MAX, sizeof **devices);
    if (!*devices)
        return error_memory(err);
    int rc = list(*devices, count, server, err);
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

/* ---- import ---- */

static int not_exported(const char *text, struct error *err)
{
    char server[USB_NAME_MAX];
    struct usb_device *devices;
    size_t count;
    if (!err)
        return ERR_NO_DEVICE;
    (void)snprintf(server, sizeof server, "%.*s", (int)strcspn(text, "/"), text);
    (void)usbip_devices(&devices, &count, server, NULL);
    int rc = usb_no_device(text, devices, count, err);
    if (count == 0)
        error_hint(err, "that server exports nothing now: is the board plugged in there, and bound "
                        "(`usbip bind`)?");
    free(devices);
    return rc;
}

static int import_refused(const char *text, uint32_t status, struct error *err)
{
    switch (status) {
    case STATUS_BUSY:
        error_set(err, ERR_BUSY, "opening %s: another program has imported it", text);
        error_hint(err, "close that program; a kernel that has it lets go by `usbip port` "
                        "and `sudo usbip detach -p PORT` on the machine that imported it");
        return ERR_BUSY;
    case STATUS_NOT_AVAILABLE:
    case STATUS_NO_DEVICE:
        return not_exported(text, err);
    default:
        error_set(err, ERR_FAILED, "opening %s: the server refuses it (%s, status %u)", text,
                  status == STATUS_ERROR ? "the device is in error" : "no reason given",
                  (unsigned)status);
        error_hint(err, "unplug the board there and plug it in again");
        return ERR_FAILED;
    }
}

static int import_once(struct conversation *with, const struct usbip_name *name,
                       struct usbip_record *record, uint32_t *status, struct error *err)
{
    uint8_t request[OP_BYTES + USBIP_BUSID_MAX] = {0}, bytes[RECORD_BYTES];
    int rc = call(with, name, err);
    if (rc != OK)
        return rc;
    put_be16(request, VERSION);
    put_be16(request + 2, OP_REQ_IMPORT);
    memcpy(request + OP_BYTES, name->busid, strlen(name->busid));
    rc = ask(with, request, sizeof request, OP_REP_IMPORT, status, err);
    if (rc != OK || *status != 0)
        return rc; /* nothing more comes */
    rc = hear(with, bytes, sizeof bytes, err);
    if (rc == OK)
        read_record(record, bytes);
    return rc;
}

int usbip_import(const char *text, const struct usbip_name *name, struct clock *clock,
                 uint64_t patience, struct usbip_record *record, struct error *err)
{
    struct conversation with = {.text = text, .clock = clock};
    for (;;) {
        uint32_t status = 0;
        int rc = import_once(&with, name, record, &status, err);
        if (rc == OK && status == 0)
            return with.fd;
        if (with.fd >= 0)
            (void)close(with.fd);
        if (rc != OK)
            return rc;
        if (status != STATUS_BUSY || clock_now(clock) >= patience)
            return import_refused(text, status, err);
        clock->sleep_until(clock, clock_in(clock, BUSY_INTERVAL));
    }
}

/* ---- texts ---- */

void usbip_texts(struct usb_device *devices, size_t count)
{
    struct clock *clock = clock_monotonic();
    uint64_t deadline = clock_in(clock, TEXTS_DEADLINE);
    for (size_t i = 0; i < count && clock_now(clock) < deadline; i++) {
        struct usb *usb;
        if (usb_usbip_open(&usb, devices[i].name, 0, NULL) != OK)
            continue;
        (void)usb_begin(usb, NULL, NULL);
        memcpy(devices[i].manufacturer, usb->device.manufacturer, USB_TEXT_MAX);
        memcpy(devices[i].product, usb->device.product, USB_TEXT_MAX);
        memcpy(devices[i].serial, usb->device.serial, USB_TEXT_MAX);
        usb_close(usb);
    }
}
