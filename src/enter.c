/*
 * The 1200-baud touch and the return of the port. After the touch a board leaves the bus and comes
 * back as its bootloader, with another id and often another tty: the place on the bus stays.
 */
#include "enter.h"

#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "klipper/klipper.h"

/* Caterina's application leaves within 120 ms (watchdog) and is back in 0.3..1.5 s; slow hubs and
 * the udev rules take their time. */
enum {
    LEAVE_US = 2 * SECOND,         /* from the touch until the old port is gone */
    UNKNOWN_LEAVE_US = SECOND / 2, /* the same where we may be in the bootloader already */
    RETURN_US = 8 * SECOND,        /* until the bootloader is there */
    LOOK_US = 10 * MILLISECOND,
};

static bool find_on_bus(const char *bus_path, struct serial_port *port)
{
    struct serial_port *ports = NULL;
    size_t count = 0;
    bool found = false;
    struct error ignored;
    if (serial_ports(&ports, &count, "/sys", &ignored))
        return false;
    for (size_t i = 0; i < count && !found; i++) {
        found = strcmp(ports[i].bus_path, bus_path) == 0;
        if (found)
            *port = ports[i];
    }
    free(ports);
    return found;
}

/* The port's identity while it is there: the device number behind a link, or its id on the bus. */
static bool port_present(const struct target *target, char *identity, size_t size)
{
    struct serial_port port;
    if (target->known && target->bus_path[0]) {
        if (!find_on_bus(target->bus_path, &port))
            return false;
        (void)snprintf(identity, size, "%04x:%04x", port.vid, port.pid);
        return true;
    }
    char *node = realpath(target->device, NULL);
    if (!node)
        return false;
    (void)snprintf(identity, size, "%s", node);
    free(node);
    return true;
}

static bool wait_gone(struct engine *engine, const char *before, uint64_t deadline)
{
    struct clock *clock = clock_monotonic();
    char now[256];
    while (port_present(&engine->target, now, sizeof now) && strcmp(now, before) == 0) {
        if (clock_now(clock) >= deadline || (engine->stop && *engine->stop))
            return false;
        clock->sleep_until(clock, clock_in(clock, LOOK_US));
    }
    return true;
}

void enter_refind(struct engine *engine)
{
    struct target *target = &engine->target;
    struct serial_port port;
    if (target->known && target->bus_path[0] && find_on_bus(target->bus_path, &port))
        (void)snprintf(target->device, sizeof target->device, "%s", port.path);
}

static bool wait_back(struct engine *engine, uint64_t deadline)
{
    struct clock *clock = clock_monotonic();
    struct target *target = &engine->target;
    char now[256];
    while (!port_present(target, now, sizeof now) || access(target->device, R_OK | W_OK) != 0) {
        enter_refind(engine);
        if (clock_now(clock) >= deadline || (engine->stop && *engine->stop))
            return false;
        clock->sleep_until(clock, clock_in(clock, LOOK_US));
    }
    return true;
}

static int report_lost(const struct engine *engine, struct error *err)
{
    if (engine->stop && *engine->stop)
        return session_interrupted(err);
    error_set(err, ERR_NO_DEVICE, "%s left the bus and did not come back within %d s",
              engine->target.device, RETURN_US / SECOND);
    return error_hint(err, "unplug the board and plug it in again%s%s",
                      engine->target.loader->ask ? ", then " : "",
                      engine->target.loader->ask ? engine->target.loader->ask : "");
}

int enter_await_return(struct engine *engine, struct error *err)
{
    uint64_t deadline = clock_in(clock_monotonic(), RETURN_US);
    return wait_back(engine, deadline) ? OK : report_lost(engine, err);
}

int enter_loader(struct engine *engine, struct error *err)
{
    const struct target *target = &engine->target;
    struct clock *clock = clock_monotonic();
    char before[256];
    if (!text_has_word(target->loader->enter, "touch-1200") || target->in_loader ||
        !port_present(target, before, sizeof before))
        return OK;
    if (serial_touch_1200(target->device, engine->trace, err))
        return error_status(err);
    /* A bootloader ignores the touch: silence here means that the board was in it already, or that
     * its application cannot be asked. The method's first question tells which. */
    uint64_t patience = target->known ? LEAVE_US : UNKNOWN_LEAVE_US;
    if (!wait_gone(engine, before, clock_in(clock, patience)))
        return OK;
    return enter_await_return(engine, err);
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
