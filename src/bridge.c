/* See bridge.h. */
#include "bridge.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "enter.h"
#include "klipper/can.h"

enum {
    RETURN_US = 10 * SECOND, /* from the start until the interface is there and up */
    LINK_UP_US = 3 * SECOND, /* until the machine's own rules have taken it up */
    LOOK_US = 50 * MILLISECOND,
};

bool bridge_find(struct presence *found, const uint8_t uuid[CAN_UUID], const char *sysfs)
{
    const struct presence_scope scope = {.sysfs = sysfs};
    struct presence *list;
    size_t count;
    struct error ignored;
    bool is = false;
    if (presence_list(&list, &count, &scope, &ignored))
        return false;
    for (size_t i = 0; i < count && !is; i++) {
        uint8_t own[CAN_UUID];
        is = list[i].usb && can_uuid_of_chip_id(list[i].serial, own) &&
             memcmp(own, uuid, CAN_UUID) == 0;
        if (is)
            *found = list[i];
    }
    free(list);
    return is;
}

int bridge_request(struct engine *engine, struct error *err)
{
    struct target *target = &engine->target;
    struct can_status status;
    struct can *can;
    char holder[128];
    if (can_holder(target->interface, holder, sizeof holder)) {
        error_set(err, ERR_BUSY, "%s is in use by %s", target->interface, holder);
        return error_hint(err, "stop it first (`sudo systemctl stop klipper`): the bus goes away "
                               "with its bridge");
    }
    if (can_status(&status, target->interface, err) ||
        can_open(&can, target->interface, engine->trace, err))
        return error_status(err);
    target->bitrate = status.bitrate;
    int rc = can_admin_request_bootloader(can, target->uuid, err);
    can_close(can);
    return rc;
}

/* ---- the interface afterwards ---- */

/* The network interface of the USB device at a place: in a folder of one of its interfaces. */
static bool find_interface(const struct target *target, char *name, size_t size)
{
    char path[HOST_PATH_MAX];
    bool found = false;
    for (unsigned number = 0; number < 4 && !found; number++) {
        host_path(path, "%s/bus/usb/devices/%s:1.%u/net", target->sysfs, target->place, number);
        DIR *dir = opendir(path);
        const char *entry;
        while (dir && !found && (entry = host_next_name(dir)) != NULL) {
            found = entry[0] != '.';
            if (found)
                host_printable(name, size, entry);
        }
        if (dir)
            (void)closedir(dir);
    }
    return found;
}

static bool stopped(const struct engine *engine)
{
    return engine->stop && *engine->stop;
}

static int await_interface(struct engine *engine, struct error *err)
{
    struct clock *clock = clock_monotonic();
    struct target *target = &engine->target;
    uint64_t deadline = clock_in(clock, RETURN_US);
    struct usb_watch *watch = usb_watch_open(target->place);
    bool found;
    while (!(found = find_interface(target, target->interface, sizeof target->interface)) &&
           clock_now(clock) < deadline && !stopped(engine) && watch)
        usb_watch_wait(watch, deadline);
    usb_watch_close(watch);
    if (found)
        return OK;
    if (stopped(engine))
        return session_interrupted(err);
    return error_set(err, ERR_NO_ANSWER, "no CAN interface came back at %s", target->place);
}

/* Many machines take it up by a rule of their own; else it is taken up as it was before. */
static int await_up(struct engine *engine, struct error *err)
{
    struct clock *clock = clock_monotonic();
    const struct target *target = &engine->target;
    uint64_t deadline = clock_in(clock, LINK_UP_US);
    struct can_status status;
    if (target->bitrate && can_bring_up(target->interface, target->bitrate, err) == OK)
        return OK;
    for (;;) {
        if (can_status(&status, target->interface, err) == OK && status.up)
            return OK;
        if (clock_now(clock) >= deadline || stopped(engine))
            break;
        clock->sleep_until(clock, clock_in(clock, LOOK_US));
    }
    error_set(err, ERR_NO_ANSWER, "%s is back, but down", target->interface);
    return error_hint(err, "sudo ip link set %s up type can bitrate %u", target->interface,
                      target->bitrate ? target->bitrate : 1000000U);
}

int bridge_identify(struct engine *engine, struct klipper_facts *facts, struct error *err)
{
    struct can *can;
    if (await_interface(engine, err) || await_up(engine, err) ||
        can_open(&can, engine->target.interface, engine->trace, err))
        return error_status(err);
    int rc = can_klipper_identify(can, engine->target.uuid, facts, err);
    can_close(can);
    return rc;
}
