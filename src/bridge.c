/* See bridge.h. */
#include "bridge.h"

#include <dirent.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "enter.h"
#include "klipper/can.h"

enum {
    LEAVE_US = SECOND,     /* from Klipper's restart until its interface is gone */
    AGAIN_US = 5 * SECOND, /* from there until it is back and up */
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
    const struct target *target = &engine->target;
    struct can *can;
    char holder[128];
    if (can_holder(target->interface, holder, sizeof holder)) {
        error_set(err, ERR_BUSY, "%s is in use by %s", target->interface, holder);
        return error_hint(err, "stop it first (`sudo systemctl stop klipper`): the bus goes away "
                               "with its bridge");
    }
    if (can_open(&can, target->interface, engine->trace, err))
        return error_status(err);
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

static int await_interface(struct engine *engine, uint64_t deadline, struct error *err)
{
    struct clock *clock = clock_monotonic();
    struct target *target = &engine->target;
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

/* At the bit rate that its firmware has. Many machines take it up by a rule of their own: where we
 * may not, what they have set is as good, because Klipper does not look at it. */
static int await_up(struct engine *engine, uint32_t bitrate, uint64_t deadline, struct error *err)
{
    struct clock *clock = clock_monotonic();
    const struct target *target = &engine->target;
    struct can_status status;
    for (;;) {
        if (can_bring_up(target->interface, bitrate, err) == OK ||
            (can_status(&status, target->interface, err) == OK && status.up)) {
            error_clear(err);
            return OK;
        }
        if (clock_now(clock) >= deadline || stopped(engine))
            break;
        clock->sleep_until(clock, clock_in(clock, LOOK_US));
    }
    if (stopped(engine))
        return session_interrupted(err);
    error_set(err, ERR_NO_ANSWER, "%s is back, but down", target->interface);
    return error_hint(err, "sudo ip link set %s up type can bitrate %u", target->interface,
                      (unsigned)bitrate);
}

/* Who was asked is restarted, and takes the interface along: it is left as it was found. That it is
 * not is nothing against the firmware. */
static void await_restart(struct engine *engine, uint32_t bitrate, unsigned index)
{
    struct clock *clock = clock_monotonic();
    uint64_t leaving = clock_in(clock, LEAVE_US);
    struct error err = {0};
    while (if_nametoindex(engine->target.interface) == index) {
        if (clock_now(clock) >= leaving || stopped(engine))
            return;
        clock->sleep_until(clock, clock_in(clock, LOOK_US));
    }
    uint64_t deadline = clock_in(clock, AGAIN_US);
    if ((await_interface(engine, deadline, &err) || await_up(engine, bitrate, deadline, &err)) &&
        !stopped(engine) && engine->events.note) {
        char text[ERROR_MESSAGE_MAX + ERROR_HINT_MAX + 4];
        (void)snprintf(text, sizeof text, "%s%s%s", err.message, err.hint[0] ? ": " : "", err.hint);
        engine->events.note(engine->events.user, text);
    }
}

static int ask(struct engine *engine, uint32_t bitrate, struct klipper_facts *facts,
               struct error *err)
{
    struct target *target = &engine->target;
    unsigned index = if_nametoindex(target->interface);
    struct can *can;
    if (can_open(&can, target->interface, engine->trace, err))
        return error_status(err);
    int rc = can_klipper_identify(can, target->uuid, facts, err);
    can_close(can);
    if (rc == OK && facts->reset)
        await_restart(engine, bitrate, index);
    return rc;
}

int bridge_identify(struct engine *engine, const struct klipper_facts *wanted, uint64_t deadline,
                    struct klipper_facts *facts, struct error *err)
{
    if (await_interface(engine, deadline, err) ||
        await_up(engine, wanted->can_bitrate, deadline, err))
        return error_status(err);
    return ask(engine, wanted->can_bitrate, facts, err);
}

int bridge_ask(struct engine *engine, const struct klipper_facts *wanted,
               struct klipper_facts *facts, struct error *err)
{
    struct can_status status;
    if (can_status(&status, engine->target.interface, err))
        return error_status(err);
    return ask(engine, status.bitrate ? status.bitrate : wanted->can_bitrate, facts, err);
}
