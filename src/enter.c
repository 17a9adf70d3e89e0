/*
 * The 1200-baud touch and the return of the device. After the touch a board leaves the bus and
 * comes back as its bootloader, with another id and often another tty: the place on the bus stays.
 */
#include "enter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "bridge.h"
#include "klipper/klipper.h"
#include "presence.h"

/* Caterina's application leaves within 120 ms (watchdog) and is back in 0.3..1.5 s; slow hubs and
 * the udev rules take their time. */
enum {
    LEAVE_US = 2 * SECOND,         /* from the touch until the old port is gone */
    UNKNOWN_LEAVE_US = SECOND / 2, /* the same where we may be in the bootloader already */
    RETURN_US = 8 * SECOND,        /* until the bootloader is there */
    SETTLE_US = 3 * SECOND, /* something else came back: it may still be on its way elsewhere */
};

static bool stopped(const struct engine *engine)
{
    return engine->stop && *engine->stop;
}

/* Who is there now: the id at the place on the bus, or the node behind the device's name. */
static bool identity(const struct target *target, char *text, size_t size)
{
    struct presence presence;
    if (target->known) {
        if (!presence_at(&presence, target->place, target->sysfs))
            return false;
        (void)snprintf(text, size, "%04x:%04x", presence.vid, presence.pid);
        return true;
    }
    char *node = realpath(target->device, NULL);
    if (!node)
        return false;
    (void)snprintf(text, size, "%s", node);
    free(node);
    return true;
}

static bool wait_gone(struct engine *engine, const char *before, uint64_t deadline,
                      struct usb_watch *watch)
{
    struct clock *clock = clock_monotonic();
    char now[256];
    while (identity(&engine->target, now, sizeof now) && strcmp(now, before) == 0) {
        if (clock_now(clock) >= deadline || stopped(engine))
            return false;
        usb_watch_wait(watch, deadline);
    }
    return true;
}

/* ---- the return ---- */

/* True if what stands there is what the method opens: takes its name. */
static bool take_loader(struct target *target, const struct presence *presence)
{
    const struct loader *loader = target->loader;
    bool usb = target->method->link == LINK_USB;
    const char *name = usb ? presence->device : presence->tty;
    bool other = !presence_has_id(presence, loader->usb, loader->usb_count);
    if (!name[0] || (other && (usb || target->bridge)))
        return false;
    (void)snprintf(target->device, sizeof target->device, "%s", name);
    target->in_loader = !other;
    return true;
}

/* A node that udev has not yet given to this user is not there yet. */
static bool accessible(const struct target *target)
{
    return target->device[0] != '/' || access(target->device, R_OK | W_OK) == 0;
}

bool enter_refind(struct engine *engine)
{
    struct target *target = &engine->target;
    struct presence presence;
    if (!target->known)
        return true;
    if (!presence_at(&presence, target->place, target->sysfs) || !presence.tty[0])
        return false;
    (void)snprintf(target->device, sizeof target->device, "%s", presence.tty);
    return true;
}

static bool is_back(struct engine *engine, struct presence *presence)
{
    struct target *target = &engine->target;
    if (!target->known)
        return access(target->device, F_OK) == 0 && accessible(target);
    return presence_at(presence, target->place, target->sysfs) && take_loader(target, presence) &&
           accessible(target);
}

static int report_lost(const struct engine *engine, struct error *err)
{
    const struct target *target = &engine->target;
    if (stopped(engine))
        return session_interrupted(err);
    error_set(err, ERR_NO_DEVICE, "%s left the bus and did not come back within %d s",
              target->known ? target->place : target->device, RETURN_US / SECOND);
    return error_hint(err, "unplug the board and plug it in again%s%s",
                      target->loader->ask ? ", then " : "",
                      target->loader->ask ? target->loader->ask : "");
}

/* Another of the board's bootloaders came: its application was built for that one. */
static int report_other(const struct engine *engine, const struct presence *presence,
                        struct error *err)
{
    const struct target *target = &engine->target;
    const struct board *board = target->board;
    const char *other = NULL;
    for (size_t i = 0; i < board->loader_count && !other; i++)
        if (presence_has_id(presence, board->loaders[i].usb, board->loaders[i].usb_count))
            other = board->loaders[i].method;
    error_set(err, ERR_NO_DEVICE, "the board at %s came back as %04x:%04x%s%s, not as its %s",
              target->place, presence->vid, presence->pid, presence->product[0] ? " " : "",
              presence->product, target->method->name);
    if (other)
        return error_hint(err, "that is its %s: build the image for it and use --method %s, or %s",
                          other, other,
                          target->loader->ask ? target->loader->ask : "enter the other by hand");
    return error_hint(err, "%s",
                      target->loader->ask ? target->loader->ask
                                          : "its application knows no way into this bootloader");
}

int enter_await_return(struct engine *engine, struct error *err)
{
    struct clock *clock = clock_monotonic();
    struct target *target = &engine->target;
    uint64_t deadline = clock_in(clock, RETURN_US), strange = 0;
    struct presence presence = {0};
    struct usb_watch *watch = usb_watch_open(target->known ? target->place : target->device);
    bool back;
    if (!watch)
        return error_memory(err);
    while (!(back = is_back(engine, &presence)) && !stopped(engine)) {
        uint64_t now = clock_now(clock);
        bool other = target->method->link == LINK_USB && presence.usb;
        strange = !other ? 0 : strange ? strange : now;
        if (now >= deadline || (strange && now - strange > SETTLE_US))
            break;
        presence = (struct presence){0};
        usb_watch_wait(watch, deadline);
    }
    usb_watch_close(watch);
    if (back)
        return OK;
    return strange && !stopped(engine) ? report_other(engine, &presence, err)
                                       : report_lost(engine, err);
}

/* ---- the ways in ---- */

int enter_loader(struct engine *engine, struct error *err)
{
    const struct target *target = &engine->target;
    struct clock *clock = clock_monotonic();
    char before[256];
    bool touch = text_has_word(target->loader->enter, "touch-1200") && !target->dfu_runtime;
    if (target->in_loader || !(touch || target->bridge) || !identity(target, before, sizeof before))
        return OK;
    struct usb_watch *watch = usb_watch_open(target->known ? target->place : target->device);
    if (!watch)
        return error_memory(err);
    int status = target->bridge ? bridge_request(engine, err)
                                : serial_touch_1200(target->device, engine->trace, err);
    /* A bootloader ignores the touch: silence here means that the board was in it already, or that
     * its application cannot be asked. The method's first question tells which. */
    uint64_t patience = target->known ? LEAVE_US : UNKNOWN_LEAVE_US;
    bool gone = !status && wait_gone(engine, before, clock_in(clock, patience), watch);
    usb_watch_close(watch);
    if (status)
        return status;
    if (gone)
        return enter_await_return(engine, err);
    if (target->method->link != LINK_USB && !target->bridge)
        return OK;
    error_set(err, ERR_NO_ANSWER, "%s did not leave for its bootloader when asked (%s)",
              target->device, target->bridge ? "Klipper's request on its bus" : "1200 baud");
    return error_hint(err, "%s",
                      target->loader->ask ? target->loader->ask
                                          : "bring it into its bootloader by hand");
}

int enter_by_request(struct engine *engine, uint32_t baud, struct error *err)
{
    struct serial *serial = engine->session.serial;
    const struct serial_settings own = serial->settings;
    const struct serial_settings running = {.baud = baud, .parity = PARITY_NONE, .stop_bits = 1};
    if (serial_configure(serial, &running, err) || klipper_request_bootloader(serial, err) ||
        serial_configure(serial, &own, err))
        return error_status(err);
    serial_drop_input(serial);
    return OK;
}
