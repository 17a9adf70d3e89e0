/*
 * From a device to a conversation, and back: the link is opened, the board brought into its
 * bootloader by whatever way it knows, and the method connected. See engine.h.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "engine_room.h"
#include "enter.h"
#include "klipper/klipper.h"
#include "bridge.h"
#include "prove.h"

enum {
    UDEV_US = 2 * SECOND, /* until a device that has come belongs to its users */
    RETURNS_MAX = 2,      /* how often one is waited for that leaves when it is connected to */
};

static uint32_t first_baud(const struct engine *engine)
{
    if (engine->baud)
        return engine->baud;
    if (engine->target.loader->baud_count)
        return engine->target.loader->bauds[0];
    return engine->target.method->baud;
}

static int open_serial(struct engine *engine, struct error *err)
{
    struct serial_settings settings = {
        .baud = first_baud(engine), .parity = PARITY_NONE, .stop_bits = 1};
    struct session *session = &engine->session;
    int status =
        serial_open(&session->serial, engine->target.device, &settings, engine->trace, err);
    if (!status && session->serial)
        session->clock = session->serial->clock;
    return status;
}

/* A device that has just come belongs to this user only once udev has seen it. */
static int open_usb(struct engine *engine, struct error *err)
{
    struct session *session = &engine->session;
    struct clock *clock = clock_monotonic();
    const uint64_t deadline = clock_in(clock, UDEV_US);
    struct usb_watch *watch = engine->arrived ? usb_watch_open(engine->target.device) : NULL;
    int status;
    while ((status = usb_open(&session->usb, engine->target.device, engine->trace, err)) != OK &&
           watch && (status == ERR_PERMISSION || status == ERR_NO_DEVICE) &&
           clock_now(clock) < deadline && !engine_stopped(engine))
        usb_watch_wait(watch, deadline);
    usb_watch_close(watch);
    if (!status && session->usb)
        session->clock = session->usb->clock;
    return status;
}

static int open_can(struct engine *engine, struct error *err)
{
    struct session *session = &engine->session;
    int status = can_open(&session->can, engine->target.interface, engine->trace, err);
    if (!status && session->can)
        session->clock = session->can->clock;
    return status;
}

static int open_link(struct engine *engine, struct error *err)
{
    switch (engine->target.method->link) {
    case LINK_USB:
        return open_usb(engine, err);
    case LINK_CAN:
        return open_can(engine, err);
    default:
        return open_serial(engine, err);
    }
}

static bool is_open(const struct session *session)
{
    return session->serial || session->usb || session->can;
}

static void close_link(struct session *session)
{
    serial_close(session->serial);
    usb_close(session->usb);
    can_close(session->can);
    session->serial = NULL;
    session->usb = NULL;
    session->can = NULL;
}

void engine_close_link(struct engine *engine)
{
    engine->session.clock = clock_monotonic();
    close_link(&engine->session);
}

static struct clock *link_clock(const struct session *session)
{
    return session->serial ? session->serial->clock
           : session->usb  ? session->usb->clock
           : session->can  ? session->can->clock
                           : clock_monotonic();
}

static void prepare_session(struct engine *engine)
{
    const struct target *target = &engine->target;
    const struct session before = engine->session;
    engine->session = (struct session){
        .method = target->method,
        .chip = target->board->chip,
        .loader = target->loader,
        .serial = before.serial,
        .usb = before.usb,
        .can = before.can,
        .uuid = target->uuid,
        .program = before.program              ? before.program
                   : target->loader->has_start ? target->loader->start
                                               : target->board->chip->regions[0].start,
        .clock = link_clock(&before),
        .baud = engine->baud,
        .force_signature = engine->force_signature,
        .force_unproven = engine->force_unproven,
        .force_size = engine->force_size,
        .force_start = engine->force_start,
        .force_vectors = engine->force_vectors,
        .force_blank = engine->force_blank,
        .mcu = target->board->mcu,
        .probe = target->probe[0] ? target->probe : NULL,
        .stop = engine->stop,
        .advance = engine_advance,
        .note = engine_note,
        .user = engine,
    };
}

/* An application in DFU's run-time mode was told to leave: what comes back at its place is the
 * bootloader. A bootloader that had to be reset may come back as the application first. */
static int connect_again(struct engine *engine, struct error *err)
{
    for (int returns = 0; returns < RETURNS_MAX; returns++) {
        engine_close_link(engine);
        prepare_session(engine);
        engine->arrived = true;
        if (enter_await_return(engine, err) || open_link(engine, err))
            return error_status(err);
        int status = engine->target.method->connect(&engine->session, err);
        if (!status || !engine->session.comes_back)
            return status;
    }
    return error_set(err, ERR_NO_ANSWER,
                     "its application was asked to leave for its bootloader, and came back");
}

/* `touch`: also a port of which nothing is known. It is asked before it is touched: it may be in
 * its bootloader, which ignores the touch, and then the wait for its leaving would be for nothing.
 */
static int converse(struct engine *engine, bool touch, struct error *err)
{
    if (!is_open(&engine->session) && (touch || engine->target.known)) {
        bool waits = engine->target.in_loader;
        if (enter_loader(engine, err))
            return error_status(err);
        engine->arrived = engine->target.in_loader && !waits;
    }
    if (!is_open(&engine->session) && open_link(engine, err))
        return error_status(err);
    int status = engine->target.method->connect(&engine->session, err);
    return status && engine->session.comes_back ? connect_again(engine, err) : status;
}

/* A board that was just started may have been on its way out of the bus when it was touched: what
 * is silent then is its application, which can be asked again. */
static int touch_again(struct engine *engine, struct error *err)
{
    engine_close_link(engine);
    prepare_session(engine);
    if (enter_await_return(engine, err))
        return error_status(err);
    return converse(engine, true, err);
}

/* No bootloader there: perhaps its application is, and can be asked to leave. The question comes
 * second, because it would wedge a Katapult that waits already. */
static int ask_application(struct engine *engine, struct error *err)
{
    uint32_t baud = engine->klipper_baud ? engine->klipper_baud : KLIPPER_BAUD;
    prepare_session(engine);
    if (enter_by_request(engine, baud, err))
        return error_status(err);
    return engine->target.method->connect(&engine->session, err);
}

static int try_other_ways(struct engine *engine, int status, struct error *err)
{
    const char *enter = engine->target.loader->enter;
    if (engine->target.method->link != LINK_SERIAL)
        return status; /* what is there is the loader, or its method knows the ways */
    if ((status != ERR_NO_ANSWER && status != ERR_GONE && status != ERR_PROTOCOL) ||
        engine_stopped(engine))
        return status;
    if (text_has_word(enter, "touch-1200"))
        return touch_again(engine, err);
    if (status != ERR_GONE && text_has_word(enter, "klipper-serial") && engine->session.serial)
        return ask_application(engine, err);
    return status;
}

/* "/dev/serial/by-id/usb-Klipper_… → 1209:beba": where the board was, and what came back. */
static void tell_way(const struct engine *engine, const char *from, char *text, size_t size)
{
    const struct usb *usb = engine->session.usb;
    const char *device = engine->target.device;
    bool moved = engine->arrived || strcmp(from, device) != 0;
    if (moved && usb)
        (void)snprintf(text, size, "%s → %04x:%04x", from, usb->device.vid, usb->device.pid);
    else
        (void)snprintf(text, size, "%s%s%s", moved ? from : "", moved ? " → " : "", device);
}

int engine_connect(struct engine *engine, struct error *err)
{
    if (engine->connected)
        return OK;
    prepare_session(engine);
    uint64_t begun = clock_now(engine->session.clock);
    if (!engine->started)
        engine->begun = begun;
    engine->started = true;
    engine_begin_phase(engine, STEP_ENTER, MEM_FLASH, 0);
    char from[sizeof engine->target.device];
    (void)snprintf(from, sizeof from, "%s", engine->target.device);
    int status = converse(engine, false, err);
    if (status)
        status = try_other_ways(engine, status, err);
    if (status) {
        if (!err->hint[0] && engine->target.loader->ask)
            error_hint(err, "%s", engine->target.loader->ask);
        return error_context(err, "%s: %s", engine->target.board->name, engine->target.device);
    }
    engine->connected = true;
    char way[2 * sizeof from + 16];
    tell_way(engine, from, way, sizeof way);
    engine_end_phase(engine, STEP_ENTER, 0, begun, way);
    return OK;
}

static int in_bootloader(const struct engine *engine, struct error *err)
{
    return error_set(err, ERR_NO_ANSWER, "%s: %s is in its bootloader", engine->target.board->name,
                     engine->target.device);
}

/* What no USB id tells is tried. OK: a bootloader answered, and the conversation has begun. */
static int try_bootloader(struct engine *engine, struct error *err)
{
    int status = converse(engine, false, err);
    engine->connected = status == OK;
    if (status)
        engine_close_link(engine);
    return status;
}

int engine_ask(struct engine *engine, const struct klipper_facts *wanted,
               struct klipper_facts *answer, struct error *err)
{
    const struct target *target = &engine->target;
    bool port = !wanted->can_bitrate, bridge = prove_over_usb(engine, wanted);
    bool told = target->known && !wanted->serial_baud;
    prepare_session(engine);
    if ((port || bridge) && told && target->in_loader)
        return in_bootloader(engine, err);
    if (port && !told && target->method->link == LINK_SERIAL) {
        int status = try_bootloader(engine, err);
        if (!status)
            return in_bootloader(engine, err);
        if ((status != ERR_NO_ANSWER && status != ERR_GONE && status != ERR_PROTOCOL) ||
            engine_stopped(engine))
            return status;
        prepare_session(engine);
    }
    int status =
        bridge ? bridge_ask(engine, wanted, answer, err) : prove_ask(engine, wanted, answer, err);
    engine_close_link(engine);
    return status;
}

void engine_close(struct engine *engine)
{
    if (engine->connected)
        engine->target.method->disconnect(&engine->session);
    engine->connected = false;
    if (engine->started)
        engine->result.seconds =
            (double)(clock_now(engine->session.clock) - engine->begun) / SECOND;
    engine->started = false;
    engine_close_link(engine);
}

int engine_reconnect(struct engine *engine, struct error *err)
{
    engine->target.method->disconnect(&engine->session);
    engine->connected = false;
    int status = connect_again(engine, err);
    engine->connected = status == OK;
    return status;
}
