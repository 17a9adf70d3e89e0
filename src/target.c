/*
 * Which method, which device. Passive: sysfs or a USB/IP server's list, nothing is opened, and
 * never a guess among several.
 */
#include "engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "presence.h"
#include "target.h"

/* ---- what -d can look like ---- */

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

enum device_form target_device_form(const char *device)
{
    if (!device || !*device)
        return FORM_NONE;
    if (strncmp(device, "tcp:", 4) == 0)
        return FORM_TCP;
    if (usbip_is_name(device))
        return FORM_USBIP;
    if (target_is_can(device))
        return FORM_CAN;
    if (strchr(device, '/'))
        return FORM_PATH;
    if (is_usb_id(device))
        return FORM_USB_ID;
    if (is_bus_path(device))
        return FORM_BUS_PATH;
    return FORM_OTHER;
}

/* ---- what is there, as this request sees it ---- */

struct search {
    const struct target_request *request;
    enum device_form form;
    struct presence *list;
    size_t count;
    char *node; /* FORM_PATH: the port behind the links; NULL if it is not there */
};

/* udev's name of a port that is gone tells the serial number of what had it:
 * usb-Klipper_stm32f072xb_2B0048001251323432363638-if00. */
static bool was_port_of(const char *path, const struct presence *presence)
{
    char name[256];
    const char *base = strrchr(path, '/');
    (void)snprintf(name, sizeof name, "%s", base ? base + 1 : path);
    char *end = strstr(name, "-if");
    if (strncmp(path, "/dev/serial/by-id/usb-", 22) != 0 || !end)
        return false;
    *end = '\0';
    const char *serial = strrchr(name, '_');
    return serial && presence_same_serial(serial + 1, presence->serial);
}

static bool is_named(const struct search *search, const struct presence *presence)
{
    const char *device = search->request->device;
    unsigned vid, pid;
    switch (search->form) {
    case FORM_BUS_PATH:
        return strcmp(presence->place, device) == 0;
    case FORM_USB_ID:
        if (sscanf(device, "%4x:%4x", &vid, &pid) != 2 || !presence->usb)
            return false;
        if (device[9] && presence_same_serial(presence->serial, device + 10))
            return true; /* the same board in another mode has another id */
        return !device[9] && presence->vid == vid && presence->pid == pid;
    case FORM_PATH:
        return search->node ? strcmp(presence->path, search->node) == 0
                            : was_port_of(device, presence);
    default:
        return true; /* FORM_NONE; FORM_USBIP: the list holds nothing else */
    }
}

static bool is_loader(const struct loader *loader, const struct presence *presence)
{
    return presence_has_id(presence, loader->usb, loader->usb_count);
}

/* Over USB: the loader itself, or an application that can be asked to leave. A port that is merely
 * named may be a serial adapter, which cannot. */
static bool is_usb_candidate(const struct search *search, const struct loader *loader,
                             const struct presence *presence, bool named, bool runs)
{
    bool touch = presence->tty[0] && text_has_word(loader->enter, "touch-1200");
    return (is_loader(loader, presence) && presence->device[0]) ||
           (presence->dfu_runtime && (runs || named)) ||
           (touch && (runs || (named && search->request->method)));
}

/* Named by the user, or carrying one of the board's ids; and of a kind that the method reaches. */
static bool is_candidate(const struct search *search, const struct loader *loader,
                         const struct presence *presence)
{
    const struct board *board = search->request->board;
    bool named = search->form != FORM_NONE && is_named(search, presence);
    bool runs = presence_has_id(presence, board->usb, board->usb_count);
    if (search->form != FORM_NONE && !named)
        return false;
    if (method_find(loader->method)->link == LINK_USB)
        return is_usb_candidate(search, loader, presence, named, runs);
    return presence->tty[0] && (named || is_loader(loader, presence) || runs);
}

struct candidates {
    const struct presence *first;
    size_t count;
    char list[ERROR_HINT_MAX];
};

static struct candidates find_candidates(const struct search *search, const struct loader *loader)
{
    struct candidates found = {0};
    for (size_t i = 0; i < search->count; i++) {
        if (!is_candidate(search, loader, &search->list[i]))
            continue;
        text_append(found.list, sizeof found.list, "%s", found.count ? "\n" : "");
        presence_text(&search->list[i], found.list, sizeof found.list);
        if (!found.count++)
            found.first = &search->list[i];
    }
    return found;
}

static void take_presence(struct target *target, const struct presence *presence)
{
    target->known = presence->place[0] != '\0';
    target->in_loader = is_loader(target->loader, presence);
    target->dfu_runtime = presence->dfu_runtime;
    bool usb = target->method->link == LINK_USB && (target->in_loader || presence->dfu_runtime);
    (void)snprintf(target->device, sizeof target->device, "%s",
                   usb ? presence->device : presence->tty);
    (void)snprintf(target->place, sizeof target->place, "%s", presence->place);
}

/* ---- which method ---- */

static bool fits_form(const struct method *method, const struct target_request *request,
                      enum device_form form)
{
    if (request->probe)
        return method->probe;
    if (method->probe)
        return false; /* a programmer is never guessed */
    if (request->interface || request->uuid || form == FORM_CAN)
        return method->link == LINK_CAN;
    if (method->link == LINK_CAN)
        return form == FORM_NONE;
    return form != FORM_TCP || method->link == LINK_SERIAL;
}

/* A path that no bus knows (a pty, a UART of the board) is a serial line and nothing else. */
static bool fits_path(const struct search *search, const struct loader *loader)
{
    bool usb = method_find(loader->method)->link == LINK_USB;
    return search->form != FORM_PATH || !usb || find_candidates(search, loader).count > 0;
}

/* The loaders worth trying, best first. */
struct shortlist {
    const struct loader *loaders[16];
    unsigned ranks[16];
    size_t count;
};

/* Those that are present now before those that the image was linked for, both before the rest. */
static unsigned rank_of(const struct search *search, const struct loader *loader)
{
    const struct target_request *request = search->request;
    bool suits = !request->suits || request->suits(request->context, loader);
    bool present = false, loads = false;
    for (size_t i = 0; i < search->count; i++) {
        bool is = is_candidate(search, loader, &search->list[i]);
        present |= is;
        loads |= is && is_loader(loader, &search->list[i]);
    }
    return (loads ? 4u : 0u) + (present ? 2u : 0u) + (suits ? 1u : 0u);
}

static void insert(struct shortlist *list, const struct loader *loader, unsigned rank)
{
    size_t at = list->count++;
    for (; at > 0 && list->ranks[at - 1] < rank; at--) {
        list->loaders[at] = list->loaders[at - 1];
        list->ranks[at] = list->ranks[at - 1];
    }
    list->loaders[at] = loader;
    list->ranks[at] = rank;
}

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

/* Every method of this board needs a programmer. */
static bool needs_probe(const struct board *board)
{
    bool only = true;
    for (size_t i = 0; i < board->loader_count; i++) {
        const struct method *method = method_find(board->loaders[i].method);
        only = only && (!method || method->probe);
    }
    return only;
}

static int make_shortlist(struct shortlist *list, const struct search *search, struct error *err)
{
    const struct target_request *request = search->request;
    const struct board *board = request->board;
    bool probe_offline = request->offline && needs_probe(board);
    for (size_t i = 0; i < board->loader_count && list->count < 16; i++) {
        const struct loader *loader = &board->loaders[i];
        const struct method *method = method_find(loader->method);
        if (!method || (request->method && strcmp(method->name, request->method) != 0))
            continue;
        bool fits = request->method || probe_offline ||
                    (fits_form(method, request, search->form) && fits_path(search, loader));
        if (fits)
            insert(list, loader, rank_of(search, loader));
    }
    return list->count ? OK : report_no_method(request, err);
}

static bool take_loader(struct target *target, const struct loader *loader)
{
    target->loader = loader;
    target->method = loader ? method_find(loader->method) : NULL;
    return target->method != NULL;
}

/* ---- nothing there, or too much ---- */

static const char *how_to_appear(const struct loader *loader)
{
    const struct method *method = method_find(loader->method);
    if (method->link == LINK_CAN)
        return "name its bus and its node: -i can0 -u UUID (`mflash query` lists nodes)";
    if (loader->ask)
        return loader->ask;
    return method->probe ? "wire a programmer and name it with --probe"
                         : "connect its cable, or name the port with --device";
}

/* What makes the device appear, for each method of the board that this build has. */
static int report_absent(const struct search *search, struct error *err)
{
    const struct target_request *request = search->request;
    char hint[ERROR_HINT_MAX] = "";
    for (size_t i = 0; i < request->board->loader_count; i++) {
        const struct loader *loader = &request->board->loaders[i];
        const struct method *method = method_find(loader->method);
        if (method && (!request->method || strcmp(request->method, method->name) == 0))
            text_append(hint, sizeof hint, "%s%s: %s", hint[0] ? "\n" : "", method->name,
                        how_to_appear(loader));
    }
    for (size_t i = 0; i < search->count; i++) {
        text_append(hint, sizeof hint, "\nthere is  ");
        presence_text(&search->list[i], hint, sizeof hint);
    }
    if (search->form != FORM_NONE)
        error_set(err, ERR_NO_DEVICE, "%s is not there, or is none that %s could be",
                  request->device, request->board->name);
    else
        error_set(err, ERR_NO_DEVICE, "no device for %s is here", request->board->name);
    return error_hint(err, "%s", hint);
}

static int report_several(const struct target_request *request, const char *list, struct error *err)
{
    error_set(err, ERR_AMBIGUOUS, "several devices could be %s", request->board->name);
    return error_hint(err, "say which with --device:\n%s", list);
}

/* ---- the device ---- */

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

/* The port as the user named it, and what the buses know of the node behind that link. */
static int take_path(struct target *target, const struct search *search, struct error *err)
{
    const char *device = search->request->device;
    for (size_t i = 0; i < search->count; i++)
        if (is_candidate(search, target->loader, &search->list[i]))
            take_presence(target, &search->list[i]);
    if (!search->node && !target->known && search->form == FORM_PATH &&
        strncmp(device, "/dev/serial/by-id/", 18) == 0)
        return report_absent(search, err);
    if (!target->known || (search->node && target->method->link == LINK_SERIAL))
        (void)snprintf(target->device, sizeof target->device, "%s", device);
    return OK;
}

static int take_device(struct target *target, const struct search *search,
                       const struct shortlist *list, struct error *err)
{
    if (search->form == FORM_PATH || search->form == FORM_TCP)
        return take_path(target, search, err);
    for (size_t i = 0; i < list->count; i++) {
        struct candidates found = find_candidates(search, list->loaders[i]);
        if (!found.count)
            continue;
        if (found.count > 1)
            return report_several(search->request, found.list, err);
        if (!take_loader(target, list->loaders[i]))
            break;
        take_presence(target, found.first);
        return OK;
    }
    return report_absent(search, err);
}

static int look_around(struct search *search, struct error *err)
{
    const struct target_request *request = search->request;
    const struct presence_scope scope = {
        .sysfs = request->sysfs,
        .server = search->form == FORM_USBIP ? request->device : NULL,
        .texts = !request->offline,
    };
    if (request->probe || search->form == FORM_TCP || search->form == FORM_CAN)
        return OK;
    if (search->form == FORM_PATH)
        search->node = realpath(request->device, NULL);
    int status = presence_list(&search->list, &search->count, &scope, err);
    return request->offline ? OK : status;
}

static int choose(struct target *target, const struct search *search, struct error *err)
{
    struct shortlist list = {0};
    if (make_shortlist(&list, search, err))
        return error_status(err);
    if (!take_loader(target, list.loaders[0]))
        return report_no_method(search->request, err);
    if (search->request->offline)
        return OK;
    if (target->method->probe)
        return take_probe(target, search->request, err);
    if (target->method->link == LINK_CAN)
        return target_take_node(target, search->request, err);
    return take_device(target, search, &list, err);
}

int target_select(struct target *target, const struct target_request *request, struct error *err)
{
    struct search search = {.request = request, .form = target_device_form(request->device)};
    *target = (struct target){.board = request->board, .sysfs = request->sysfs};
    if (search.form == FORM_OTHER) {
        error_set(err, ERR_USAGE, "--device %s is none of the forms that are known",
                  request->device);
        return error_hint(err, "a path, VID:PID[:SERIAL], a USB bus path like 1-1.4, "
                               "tcp:HOST:PORT, usbip:HOST[:PORT]/BUSID, or can0:UUID");
    }
    int status = look_around(&search, err);
    if (!status)
        status = choose(target, &search, err);
    free(search.list);
    free(search.node);
    return status;
}
