/*
 * Executes plans: see engine.h. Keeps track of what is true of the board at every moment.
 */
#include "engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "diff.h"
#include "enter.h"
#include "klipper/klipper.h"
#include "prove.h"

const char *board_state_name(enum board_state state)
{
    static const char *const state_names[] = {
        [STATE_UNTOUCHED] = "untouched",
        [STATE_BOOTLOADER] = "bootloader",
        [STATE_UNKNOWN] = "unknown",
        [STATE_RUNNING] = "running",
    };
    return state_names[state];
}

enum { UDEV_US = 2 * SECOND }; /* until a device that has come belongs to its users */

static bool stopped(const struct engine *engine)
{
    return engine->stop && *engine->stop;
}

/* ---- phases and progress ---- */

static void begin_phase(struct engine *engine, enum step_kind kind, enum memory memory,
                        size_t total)
{
    engine->done = 0;
    engine->total = total;
    if (engine->events.phase)
        engine->events.phase(engine->events.user, kind, memory, total);
}

static void end_phase(struct engine *engine, enum step_kind kind, size_t bytes, uint64_t begun,
                      const char *remark)
{
    double seconds = (double)(clock_now(engine->session.clock) - begun) / SECOND;
    if (engine->events.phase_done)
        engine->events.phase_done(engine->events.user, kind, bytes, seconds, remark);
}

static void on_advance(void *user, size_t bytes)
{
    struct engine *engine = user;
    engine->done += bytes;
    if (engine->total && engine->done > engine->total)
        engine->done = engine->total; /* padding of the last page */
    if (engine->events.progress)
        engine->events.progress(engine->events.user, engine->done, engine->total);
}

static void on_note(void *user, const char *text)
{
    struct engine *engine = user;
    if (engine->events.note)
        engine->events.note(engine->events.user, text);
}

/* ---- connecting ---- */

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
           clock_now(clock) < deadline && !stopped(engine))
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
        .advance = on_advance,
        .note = on_note,
        .user = engine,
    };
}

/* An application in DFU's run-time mode was told to leave: what comes back at its place is the
 * bootloader. */
static int connect_again(struct engine *engine, struct error *err)
{
    engine_close_link(engine);
    prepare_session(engine);
    engine->arrived = true;
    if (enter_await_return(engine, err) || open_link(engine, err))
        return error_status(err);
    return engine->target.method->connect(&engine->session, err);
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
        stopped(engine))
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
    begin_phase(engine, STEP_ENTER, MEM_FLASH, 0);
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
    end_phase(engine, STEP_ENTER, 0, begun, way);
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
    bool port = !wanted->can_bitrate;
    bool told = target->known && !wanted->serial_baud;
    prepare_session(engine);
    if (port && told && target->in_loader)
        return in_bootloader(engine, err);
    if (port && !told && target->method->link == LINK_SERIAL) {
        int status = try_bootloader(engine, err);
        if (!status)
            return in_bootloader(engine, err);
        if ((status != ERR_NO_ANSWER && status != ERR_GONE && status != ERR_PROTOCOL) ||
            stopped(engine))
            return status;
        prepare_session(engine);
    }
    int status = prove_ask(engine, wanted, answer, err);
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

/* ---- steps ---- */

/* After a failure: a device that still answers is in its bootloader, one that does not may be
 * anywhere. Before the first destructive byte nothing has changed. */
static void settle_state(struct engine *engine, enum error_code code, bool destructive)
{
    if (!destructive)
        return;
    bool silent =
        code == ERR_GONE || code == ERR_NO_ANSWER || code == ERR_PROTOCOL || code == ERR_STALL;
    engine->state = silent ? STATE_UNKNOWN : STATE_BOOTLOADER;
}

static int erase_step(struct engine *engine, const struct step *step, struct error *err)
{
    struct session *session = &engine->session;
    if (step->whole_chip)
        return session->method->erase_chip(session, err);
    return session->method->erase(session, step->ranges, step->range_count, err);
}

static const struct region *region_of(const struct plan *plan, enum memory memory)
{
    for (size_t i = 0; i < plan->region_count; i++)
        if (plan->regions[i].memory == memory)
            return &plan->regions[i];
    return NULL;
}

static int verify_step(struct engine *engine, const struct job *job, struct error *err)
{
    struct session *session = &engine->session;
    int status = session->method->verify ? session->method->verify(session, job, err)
                                         : verify_by_reading(session, job, err);
    if (status == ERR_NOT_POSSIBLE) { /* this device, of a method that can do it elsewhere */
        on_note(engine, err->message);
        error_clear(err);
        return OK;
    }
    if (status == ERR_VERIFY)
        engine->result.verified = TRI_FALSE;
    else if (!status && engine->result.verified != TRI_FALSE)
        engine->result.verified = TRI_TRUE;
    return status;
}

static void tell_unverifiable(struct engine *engine, enum memory memory)
{
    char text[256];
    (void)snprintf(text, sizeof text, "not possible: %s",
                   method_refusal(engine->session.method, OP_VERIFY));
    begin_phase(engine, STEP_VERIFY, memory, 0);
    end_phase(engine, STEP_VERIFY, 0, clock_now(engine->session.clock), text);
}

/* Write or verify: the pages that differ, or all of the image's. */
static int transfer_step(struct engine *engine, const struct plan *plan, const struct step *step,
                         struct diff *diff, struct error *err)
{
    struct session *session = &engine->session;
    const struct image *image = diff->active ? &diff->different : plan->image;
    struct job job = {
        .image = image,
        .region = region_of(plan, step->memory),
        .erased = step->memory == MEM_FLASH && diff->erased,
    };
    size_t bytes = image_bytes(image, step->memory);
    uint64_t begun = clock_now(session->clock);
    begin_phase(engine, step->kind, step->memory, bytes);
    int status = OK;
    if (bytes)
        status = step->kind == STEP_WRITE ? session->method->write(session, &job, err)
                                          : verify_step(engine, &job, err);
    if (status)
        return status;
    if (step->kind == STEP_WRITE)
        engine->result.bytes += bytes;
    else if (!bytes)
        engine->result.verified = TRI_TRUE; /* read and found equal */
    end_phase(engine, step->kind, bytes, begun, bytes ? NULL : "nothing differs");
    if (plan->unverifiable && step->kind == STEP_WRITE)
        tell_unverifiable(engine, step->memory);
    return OK;
}

int engine_reconnect(struct engine *engine, struct error *err)
{
    engine->target.method->disconnect(&engine->session);
    engine->connected = false;
    int status = connect_again(engine, err);
    engine->connected = status == OK;
    return status;
}

static int set_fuse(struct engine *engine, const struct step *step, struct error *err)
{
    struct session *session = &engine->session;
    int status = session->method->set_fuse(session, step->fuse, step->value, err);
    return status || !session->comes_back ? status : engine_reconnect(engine, err);
}

static int small_step(struct engine *engine, const struct plan *plan, const struct step *step,
                      struct diff *diff, struct error *err)
{
    struct session *session = &engine->session;
    uint64_t begun = clock_now(session->clock);
    char remark[512] = "";
    begin_phase(engine, step->kind, step->memory, 0);
    int status = OK;
    if (step->kind == STEP_ERASE) {
        status = erase_step(engine, step, err);
        diff->erased = !status;
        (void)snprintf(remark, sizeof remark, "%s", step->whole_chip ? "the whole chip" : "");
    } else if (step->kind == STEP_FUSE) {
        status = set_fuse(engine, step, err);
        (void)snprintf(remark, sizeof remark, "%s = 0x%02" PRIx32, step->fuse, step->value);
    } else if (step->kind == STEP_PROVE) {
        status = prove_klipper(engine, plan, err);
        if (engine->result.proven == TRI_TRUE)
            (void)snprintf(remark, sizeof remark, "Klipper %s answers on %s",
                           plan->image->klipper.version, engine->target.device);
        else
            (void)snprintf(remark, sizeof remark, "no: it does not answer");
    } else if (step->kind == STEP_RESTART) {
        status = session->method->restart ? session->method->restart(session, err) : OK;
    } else {
        status = session->method->run(session, err);
    }
    if (!status)
        end_phase(engine, step->kind, 0, begun, remark);
    return status;
}

static bool is_destructive(const struct step *step)
{
    return step->kind == STEP_ERASE || step->kind == STEP_WRITE || step->kind == STEP_FUSE;
}

/* After a comparison only the sectors that will be written are erased: the others stay. */
static int erase_different(struct engine *engine, const struct plan *plan, const struct step *step,
                           struct diff *diff, struct error *err)
{
    struct step narrowed = *step;
    if (!image_bytes(&diff->different, MEM_FLASH))
        return OK; /* all is there already */
    if (step->whole_chip)
        return small_step(engine, plan, step, diff, err);
    int status = plan_sectors(&diff->different, region_of(plan, MEM_FLASH), false, &narrowed.ranges,
                              &narrowed.range_count)
                     ? error_memory(err)
                     : small_step(engine, plan, &narrowed, diff, err);
    free(narrowed.ranges);
    return status;
}

static int execute_step(struct engine *engine, const struct plan *plan, const struct step *step,
                        struct diff *diff, struct error *err)
{
    if (step->kind == STEP_ENTER)
        return engine_connect(engine, err);
    if (diff->active && step->kind == STEP_ERASE)
        return erase_different(engine, plan, step, diff, err);
    if (step->kind == STEP_WRITE || step->kind == STEP_VERIFY)
        return transfer_step(engine, plan, step, diff, err);
    return small_step(engine, plan, step, diff, err);
}

/* A phase of its own: what is there already need not be written. */
static int compare_step(struct engine *engine, const struct plan *plan, struct diff *diff,
                        struct error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < plan->count; i++)
        if (plan->steps[i].kind == STEP_WRITE)
            total += image_bytes(plan->image, plan->steps[i].memory);
    uint64_t begun = clock_now(engine->session.clock);
    begin_phase(engine, STEP_READ, MEM_FLASH, total);
    int status = diff_find(&engine->session, plan, diff, err);
    if (!status)
        end_phase(engine, STEP_READ, total, begun,
                  diff->skipped == total ? "nothing differs" : NULL);
    return status;
}

int engine_execute(struct engine *engine, const struct plan *plan, struct error *err)
{
    struct diff diff = {0};
    int status = OK;
    bool touched = false;
    engine->result.verified = engine->result.proven = TRI_NULL;
    uint64_t end;
    if (plan->image)
        (void)image_extent(plan->image, MEM_FLASH, &engine->session.program, &end);
    for (size_t i = 0; i < plan->count && !status; i++) {
        const struct step *step = &plan->steps[i];
        if (stopped(engine))
            status = session_interrupted(err);
        else
            status = execute_step(engine, plan, step, &diff, err);
        if (!status && step->kind == STEP_ENTER && diff_wanted(&engine->session, plan))
            status = compare_step(engine, plan, &diff, err);
        touched = touched || (is_destructive(step) && status != ERR_NOT_POSSIBLE);
        if (status)
            settle_state(engine, status, touched);
        else if (step->kind == STEP_RUN || step->kind == STEP_PROVE)
            engine->state = STATE_RUNNING;
        else if (touched)
            engine->state = STATE_BOOTLOADER;
        if (status && step->kind != STEP_ENTER)
            error_context(err, "%s", plan->board->name);
    }
    engine->result.skipped = diff.skipped;
    diff_free(&diff);
    return status;
}

int engine_read(struct engine *engine, const struct region *region, uint64_t start, uint8_t *bytes,
                size_t length, struct error *err)
{
    if (engine_connect(engine, err))
        return error_status(err);
    struct session *session = &engine->session;
    uint64_t begun = clock_now(session->clock);
    begin_phase(engine, STEP_READ, region->memory, length);
    if (session->method->read(session, region->memory, start, bytes, length, err))
        return error_context(err, "%s: reading %s", engine->target.board->name, region->name);
    end_phase(engine, STEP_READ, length, begun, NULL);
    return OK;
}
