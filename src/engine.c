/*
 * Executes plans: see engine.h. Keeps track of what is true of the board at every moment.
 */
#include "engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "engine_room.h"
#include "klipper/can.h"
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

bool engine_stopped(const struct engine *engine)
{
    return engine->stop && *engine->stop;
}

/* ---- phases and progress ---- */

void engine_begin_phase(struct engine *engine, enum step_kind kind, enum memory memory,
                        size_t total)
{
    engine->done = 0;
    engine->total = total;
    if (engine->events.phase)
        engine->events.phase(engine->events.user, kind, memory, total);
}

void engine_end_phase(struct engine *engine, enum step_kind kind, size_t bytes, uint64_t begun,
                      const char *remark)
{
    double seconds = (double)(clock_now(engine->session.clock) - begun) / SECOND;
    if (engine->events.phase_done)
        engine->events.phase_done(engine->events.user, kind, bytes, seconds, remark);
}

void engine_advance(void *user, size_t bytes)
{
    struct engine *engine = user;
    engine->done += bytes;
    if (engine->total && engine->done > engine->total)
        engine->done = engine->total; /* padding of the last page */
    if (engine->events.progress)
        engine->events.progress(engine->events.user, engine->done, engine->total);
}

void engine_note(void *user, const char *text)
{
    struct engine *engine = user;
    if (engine->events.note)
        engine->events.note(engine->events.user, text);
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

/* Each region of the memory in turn. */
static int verify_regions(struct session *session, const struct plan *plan, const struct job *job,
                          struct error *err)
{
    int status = OK;
    for (size_t i = 0; i < plan->regions.count && !status; i++) {
        struct job part = *job;
        part.region = &plan->regions.list[i];
        if (part.region->memory == job->region->memory)
            status = session->method->verify ? session->method->verify(session, &part, err)
                                             : verify_by_reading(session, &part, err);
    }
    return status;
}

static int verify_step(struct engine *engine, const struct plan *plan, const struct job *job,
                       struct error *err)
{
    struct session *session = &engine->session;
    int status = verify_regions(session, plan, job, err);
    if (status == ERR_NOT_POSSIBLE) { /* this device, of a method that can do it elsewhere */
        engine_note(engine, err->message);
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
    engine_begin_phase(engine, STEP_VERIFY, memory, 0);
    engine_end_phase(engine, STEP_VERIFY, 0, clock_now(engine->session.clock), text);
}

/* A node is named by its bus, over whatever it was flashed. */
static void tell_proof(const struct engine *engine, const struct klipper_facts *klipper, char *text,
                       size_t size)
{
    const struct target *target = &engine->target;
    char uuid[KLIPPER_UUID_TEXT];
    can_uuid_text(target->uuid, uuid);
    if (prove_over_usb(engine, klipper))
        (void)snprintf(text, size, "Klipper %s answers on %s:%s", klipper->version,
                       target->interface, uuid);
    else
        (void)snprintf(text, size, "Klipper %s answers on %s", klipper->version, target->device);
}

/* Write or verify: the pages that differ, or all of the image's. */
static int transfer_step(struct engine *engine, const struct plan *plan, const struct step *step,
                         struct diff *diff, struct error *err)
{
    struct session *session = &engine->session;
    const struct image *image = diff->active ? &diff->different : plan->image;
    struct job job = {
        .image = image,
        .region = regions_first(&plan->regions, step->memory),
        .erased = step->memory == MEM_FLASH && diff->erased,
    };
    size_t bytes = image_bytes(image, step->memory);
    uint64_t begun = clock_now(session->clock);
    engine_begin_phase(engine, step->kind, step->memory, bytes);
    int status = OK;
    if (bytes)
        status = step->kind == STEP_WRITE ? session->method->write(session, &job, err)
                                          : verify_step(engine, plan, &job, err);
    if (status)
        return status;
    if (step->kind == STEP_WRITE)
        engine->result.bytes += bytes;
    else if (!bytes)
        engine->result.verified = TRI_TRUE; /* read and found equal */
    engine_end_phase(engine, step->kind, bytes, begun, bytes ? NULL : "nothing differs");
    if (plan->unverifiable && step->kind == STEP_WRITE)
        tell_unverifiable(engine, step->memory);
    return OK;
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
    engine_begin_phase(engine, step->kind, step->memory, 0);
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
            tell_proof(engine, &plan->image->klipper, remark, sizeof remark);
        else
            (void)snprintf(remark, sizeof remark, "no: it does not answer");
    } else if (step->kind == STEP_RESTART) {
        status = session->method->restart ? session->method->restart(session, err) : OK;
    } else {
        status = session->method->run(session, err);
    }
    if (!status)
        engine_end_phase(engine, step->kind, 0, begun, remark);
    return status;
}

static bool is_destructive(const struct step *step)
{
    return step->kind == STEP_ERASE || step->kind == STEP_WRITE || step->kind == STEP_FUSE;
}

/* Methods say so before a step's first byte. */
static bool was_declined(int status)
{
    return status == ERR_NOT_POSSIBLE || status == ERR_REFUSED;
}

/* A second erase step has its own ranges: those of the memories that the first does not reach. */
static void keep_inside(struct step *narrowed, const struct step *step)
{
    size_t kept = 0;
    for (size_t i = 0; i < narrowed->range_count; i++) {
        const struct span range = narrowed->ranges[i];
        bool inside = false;
        for (size_t k = 0; k < step->range_count; k++)
            inside = inside || (range.start >= step->ranges[k].start &&
                                range.start - step->ranges[k].start < step->ranges[k].size);
        if (inside)
            narrowed->ranges[kept++] = range;
    }
    narrowed->range_count = kept;
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
    int status = plan_sectors(&diff->different, &plan->regions, MEM_FLASH, false, &narrowed.ranges,
                              &narrowed.range_count)
                     ? error_memory(err)
                     : OK;
    keep_inside(&narrowed, step);
    if (!status && narrowed.range_count)
        status = small_step(engine, plan, &narrowed, diff, err);
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
    engine_begin_phase(engine, STEP_READ, MEM_FLASH, total);
    int status = diff_find(&engine->session, plan, diff, err);
    if (!status)
        engine_end_phase(engine, STEP_READ, total, begun,
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
        (void)regions_program(&plan->regions, plan->loader, plan->image, &engine->session.program,
                              &end);
    for (size_t i = 0; i < plan->count && !status; i++) {
        const struct step *step = &plan->steps[i];
        if (engine_stopped(engine))
            status = session_interrupted(err);
        else
            status = execute_step(engine, plan, step, &diff, err);
        if (!status && step->kind == STEP_ENTER && diff_wanted(&engine->session, plan))
            status = compare_step(engine, plan, &diff, err);
        touched = touched || (is_destructive(step) && !was_declined(status));
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
    engine_begin_phase(engine, STEP_READ, region->memory, length);
    if (session->method->read(session, region->memory, start, bytes, length, err))
        return error_context(err, "%s: reading %s", engine->target.board->name, region->name);
    engine_end_phase(engine, STEP_READ, length, begun, NULL);
    return OK;
}
