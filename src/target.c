/*
 * Which method, which device. Passive: sysfs only, nothing is opened, and never a guess among
 * several.
 */
#include "engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

/* ---- what -d can look like ---- */

enum device_form { FORM_NONE, FORM_PATH, FORM_TCP, FORM_USB_ID, FORM_BUS_PATH, FORM_OTHER };

static bool is_bus_path(const char *text)
{
    /* "1-1.4": bus, dash, ports */
    size_t n = strspn(text, "0123456789");
    return n && text[n] == '-' && text[n + 1] && !text[n + 1 + strspn(text + n + 1, "0123456789.")];
}

static bool is_usb_id(const char *text)
{
    unsigned vid, pid;
    int used = 0;
    return sscanf(text, "%4x:%4x%n", &vid, &pid, &used) == 2 && used == 9 &&
           (text[9] == '\0' || text[9] == ':');
}

static enum device_form device_form(const char *device)
{
    if (!device || !*device)
        return FORM_NONE;
    if (strncmp(device, "tcp:", 4) == 0)
        return FORM_TCP;
    if (strchr(device, '/') && strncmp(device, "usbip:", 6) != 0)
        return FORM_PATH;
    if (is_usb_id(device))
        return FORM_USB_ID;
    if (is_bus_path(device))
        return FORM_BUS_PATH;
    return FORM_OTHER;
}

/* ---- which method ---- */

static bool fits_form(const struct method *method, const struct target_request *request,
                      enum device_form form)
{
    if (request->probe)
        return method->probe;
    if (method->probe)
        return false; /* a programmer is never guessed */
    return form == FORM_NONE || form == FORM_USB_ID || form == FORM_BUS_PATH ||
           method->link == LINK_SERIAL;
}

static bool has_id(const struct usb_id *ids, size_t count, const struct serial_port *port)
{
    for (size_t i = 0; i < count; i++)
        if (port->usb && ids[i].vid == port->vid && ids[i].pid == port->pid)
            return true;
    return false;
}

static bool names_port(const struct target_request *request, enum device_form form,
                       const struct serial_port *port)
{
    const char *device = request->device;
    unsigned vid, pid;
    if (form == FORM_BUS_PATH)
        return strcmp(port->bus_path, device) == 0;
    if (form != FORM_USB_ID || sscanf(device, "%4x:%4x", &vid, &pid) != 2)
        return false;
    return port->usb && port->vid == vid && port->pid == pid &&
           (!device[9] || strcmp(port->serial, device + 10) == 0);
}

/* A port this board could be on, by this loader: named by the user, or carrying one of its ids. */
static bool is_candidate(const struct target_request *request, enum device_form form,
                         const struct loader *loader, const struct serial_port *port)
{
    if (form == FORM_USB_ID || form == FORM_BUS_PATH)
        return names_port(request, form, port);
    return has_id(loader->usb, loader->usb_count, port) ||
           has_id(request->board->usb, request->board->usb_count, port);
}

static void describe_port(char *out, size_t size, const struct serial_port *port)
{
    text_append(out, size, "%s", port->by_id[0] ? port->by_id : port->path);
    if (port->usb)
        text_append(out, size, " (%04x:%04x %s)", port->vid, port->pid, port->product);
}

struct candidates {
    const struct serial_port *first;
    size_t count;
    char list[ERROR_HINT_MAX];
};

static struct candidates find_candidates(const struct target_request *request,
                                         enum device_form form, const struct loader *loader,
                                         const struct serial_port *ports, size_t count)
{
    struct candidates found = {0};
    for (size_t i = 0; i < count; i++) {
        if (!is_candidate(request, form, loader, &ports[i]))
            continue;
        text_append(found.list, sizeof found.list, "%s", found.count ? "\n" : "");
        describe_port(found.list, sizeof found.list, &ports[i]);
        if (!found.count++)
            found.first = &ports[i];
    }
    return found;
}

static void take_port(struct target *target, const struct serial_port *port)
{
    (void)snprintf(target->device, sizeof target->device, "%s",
                   port->by_id[0] ? port->by_id : port->path);
    (void)snprintf(target->bus_path, sizeof target->bus_path, "%s", port->bus_path);
    target->known = true;
    target->in_loader = has_id(target->loader->usb, target->loader->usb_count, port);
}

/* What makes the device appear, for each method of the board that this build has. */
static int report_absent(const struct target_request *request, enum device_form form,
                         const struct serial_port *ports, size_t count, struct error *err)
{
    char hint[ERROR_HINT_MAX] = "";
    for (size_t i = 0; i < request->board->loader_count; i++) {
        const struct loader *loader = &request->board->loaders[i];
        const struct method *method = method_find(loader->method);
        if (!method || (request->method && strcmp(request->method, method->name) != 0))
            continue;
        const char *how = loader->ask     ? loader->ask
                          : method->probe ? "wire a programmer and name it with --probe"
                                          : "connect its cable, or name the port with --device";
        text_append(hint, sizeof hint, "%s%s: %s", hint[0] ? "\n" : "", method->name, how);
    }
    for (size_t i = 0; i < count; i++) {
        text_append(hint, sizeof hint, "\nthere is  ");
        describe_port(hint, sizeof hint, &ports[i]);
    }
    if (form == FORM_USB_ID || form == FORM_BUS_PATH)
        error_set(err, ERR_NO_DEVICE, "there is no serial port of %s", request->device);
    else
        error_set(err, ERR_NO_DEVICE, "no device for %s is here", request->board->name);
    return error_hint(err, "%s", hint);
}

static int report_several(const struct target_request *request, const char *list, struct error *err)
{
    error_set(err, ERR_AMBIGUOUS, "several devices could be %s", request->board->name);
    return error_hint(err, "say which with --device:\n%s", list);
}

/* The loaders worth trying, best first. */
struct shortlist {
    const struct loader *loaders[16];
    size_t count;
};

static int report_no_method(const struct target_request *request, struct error *err)
{
    char names[256] = "";
    for (size_t i = 0; i < request->board->loader_count; i++)
        text_append(names, sizeof names, "%s%s", i ? " " : "", request->board->loaders[i].method);
    error_set(err, request->method ? ERR_USAGE : ERR_NOT_POSSIBLE,
              "%s cannot be reached that way: it has %s", request->board->name, names);
    if (!request->method)
        return error_hint(err,
                          "`mflash methods` lists what this build speaks; a programmer is named "
                          "with --probe, a method with --method");
    return error_hint(err, "`mflash boards %s` shows everything known about it",
                      request->board->name);
}

static int make_shortlist(struct shortlist *list, const struct target_request *request,
                          enum device_form form, struct error *err)
{
    const struct board *board = request->board;
    bool only_probe = true; /* every method of this board needs a programmer */
    for (size_t i = 0; i < board->loader_count; i++) {
        const struct method *method = method_find(board->loaders[i].method);
        only_probe = only_probe && (!method || method->probe);
    }
    for (int wanted = 1; wanted >= 0; wanted--) {
        for (size_t i = 0; i < board->loader_count && list->count < 16; i++) {
            const struct loader *loader = &board->loaders[i];
            const struct method *method = method_find(loader->method);
            if (!method || (request->method && strcmp(method->name, request->method) != 0))
                continue;
            if (!request->method && !fits_form(method, request, form) &&
                !(only_probe && request->offline))
                continue;
            /* Those the image was linked for first, the others behind them. */
            bool suits = !request->suits || request->suits(request->context, loader);
            if (suits != (wanted == 1))
                continue;
            list->loaders[list->count++] = loader;
        }
    }
    return list->count ? OK : report_no_method(request, err);
}

static void take_loader(struct target *target, const struct loader *loader)
{
    target->loader = loader;
    target->method = method_find(loader->method);
}

/* "KIND:PORT" names the port itself; probes on USB find their device by themselves. */
static int take_probe(struct target *target, const struct target_request *request,
                      struct error *err)
{
    (void)snprintf(target->probe, sizeof target->probe, "%s", request->probe ? request->probe : "");
    const char *port = request->probe ? strchr(request->probe, ':') : NULL;
    if (port && port[1])
        (void)snprintf(target->device, sizeof target->device, "%s", port + 1);
    else if (request->device)
        (void)snprintf(target->device, sizeof target->device, "%s", request->device);
    if (target->device[0])
        return OK;
    error_set(err, ERR_NO_DEVICE, "which port the programmer is on is not said");
    return error_hint(err, "name it: --probe avrisp2:/dev/ttyUSB0, or arduino-isp:/dev/ttyUSB0");
}

/* The port as the user named it, and what sysfs knows of the node behind that link. */
static void take_path(struct target *target, const char *path, const struct serial_port *ports,
                      size_t count)
{
    char *node = realpath(path, NULL);
    for (size_t i = 0; node && i < count; i++)
        if (strcmp(ports[i].path, node) == 0)
            take_port(target, &ports[i]);
    free(node);
    (void)snprintf(target->device, sizeof target->device, "%s", path);
}

static int take_device(struct target *target, const struct target_request *request,
                       enum device_form form, const struct shortlist *list,
                       const struct serial_port *ports, size_t count, struct error *err)
{
    if (form == FORM_PATH || form == FORM_TCP) {
        take_path(target, request->device, ports, count);
        return OK;
    }
    for (size_t i = 0; i < list->count; i++) {
        struct candidates found = find_candidates(request, form, list->loaders[i], ports, count);
        if (!found.count)
            continue;
        if (found.count > 1)
            return report_several(request, found.list, err);
        take_loader(target, list->loaders[i]);
        take_port(target, found.first);
        return OK;
    }
    return report_absent(request, form, ports, count, err);
}

int target_select(struct target *target, const struct target_request *request, struct error *err)
{
    struct shortlist list = {0};
    enum device_form form = device_form(request->device);
    *target = (struct target){.board = request->board};
    if (form == FORM_OTHER) {
        error_set(err, ERR_USAGE, "--device %s is none of the forms that are known",
                  request->device);
        return error_hint(err, "a path, VID:PID[:SERIAL], a USB bus path like 1-1.4, or "
                               "tcp:HOST:PORT");
    }
    if (make_shortlist(&list, request, form, err))
        return error_status(err);
    take_loader(target, list.loaders[0]);
    if (request->offline)
        return OK;
    if (target->method->probe)
        return take_probe(target, request, err);
    struct serial_port *ports = NULL;
    size_t count = 0;
    if (serial_ports(&ports, &count, request->sysfs, err))
        return error_status(err);
    int status = take_device(target, request, form, &list, ports, count, err);
    free(ports);
    return status;
}
