/* Which node of which bus: see target.h. */
#include "target.h"

#include <stdio.h>
#include <string.h>

#include "bridge.h"
#include "klipper/can.h"

/* Where the UUID begins in "can0:UUID", "unix:PATH:UUID"; NULL if the text is none. */
static const char *uuid_in(const char *device)
{
    uint8_t uuid[KLIPPER_UUID];
    const char *colon = strrchr(device, ':');
    bool named = colon && colon != device && can_uuid_parse(colon + 1, uuid);
    bool bus = strncmp(device, "unix:", 5) == 0 || !strchr(device, '/');
    return named && bus ? colon + 1 : NULL;
}

bool target_is_can(const char *device)
{
    return uuid_in(device) != NULL;
}

static int take_uuid(struct target *target, const char *text, struct error *err)
{
    if (can_uuid_parse(text, target->uuid))
        return OK;
    error_set(err, ERR_USAGE, "--uuid %s: that is no UUID of a CAN node", text);
    return error_hint(err, "twelve hex digits, as in canbus_uuid of printer.cfg; `mflash query` "
                           "lists the nodes that can be seen");
}

static int no_node_named(const struct target *target, struct error *err)
{
    error_set(err, ERR_NO_DEVICE, "which node of %s is not said", target->interface);
    return error_hint(err,
                      "name it with --uuid UUID, or all that wait in their bootloader with "
                      "--all; `mflash query -i %s` lists them",
                      target->interface);
}

/* The bootloader in which a bridge is flashed: the one in which it waits; else one that the image
 * was linked for, and rather one that starts programs nowhere else: its Klipper leads there, while
 * the ROM loader takes what any bootloader starts. NULL: the board has none on USB. */
static const struct loader *usb_loader(const struct target_request *request,
                                       const struct presence *presence)
{
    enum { WAITS = 4, SUITS = 2, ONE_START = 1 };
    const struct loader *best = NULL;
    int best_rank = -1;
    for (size_t i = 0; i < request->board->loader_count; i++) {
        const struct loader *loader = &request->board->loaders[i];
        const struct method *method = method_find(loader->method);
        if (!method || method->probe || !loader->usb_count)
            continue;
        bool suits = !request->suits || request->suits(request->context, loader);
        int rank = (presence_has_id(presence, loader->usb, loader->usb_count) ? WAITS : 0) +
                   (suits ? SUITS : 0) + (loader->has_start ? ONE_START : 0);
        if (rank > best_rank)
            best = loader;
        best_rank = rank > best_rank ? rank : best_rank;
    }
    return best;
}

static int take_bridge(struct target *target, const struct target_request *request,
                       const struct presence *presence, struct error *err)
{
    const struct loader *loader = usb_loader(request, presence);
    if (!loader)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "%s is the bridge of its own bus (USB, %s), and %s has no bootloader on "
                         "USB that this build speaks",
                         target->device, presence->place, request->board->name);
    target->loader = loader;
    target->method = method_find(loader->method);
    target->in_loader = presence_has_id(presence, loader->usb, loader->usb_count);
    target->bridge = !target->in_loader;
    target->known = true;
    (void)snprintf(target->place, sizeof target->place, "%s", presence->place);
    if (target->in_loader)
        (void)snprintf(target->device, sizeof target->device, "%s",
                       target->method->link == LINK_USB ? presence->device : presence->tty);
    return OK;
}

bool target_has_bus(const struct target *target)
{
    return target->interface[0] && (target->method->link == LINK_CAN || target->bridge);
}

int target_take_node(struct target *target, const struct target_request *request, struct error *err)
{
    const char *device = request->device;
    const char *uuid = device ? uuid_in(device) : request->uuid;
    if (device && uuid)
        (void)snprintf(target->interface, sizeof target->interface, "%.*s",
                       (int)(uuid - 1 - device), device);
    else
        (void)snprintf(target->interface, sizeof target->interface, "%s",
                       request->interface ? request->interface : "can0");
    if (!uuid)
        return no_node_named(target, err);
    if (take_uuid(target, uuid, err))
        return error_status(err);
    char text[KLIPPER_UUID_TEXT];
    can_uuid_text(target->uuid, text);
    (void)snprintf(target->device, sizeof target->device, "%s:%s", target->interface, text);
    struct presence presence;
    return bridge_find(&presence, target->uuid, request->sysfs)
               ? take_bridge(target, request, &presence, err)
               : OK;
}
