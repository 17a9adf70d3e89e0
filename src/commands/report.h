/*
 * What the user sees. Errors, phases and progress go to stderr, results to stdout. A terminal gets
 * one live line per phase, a pipe one plain line per phase and no escape codes, --json gets events,
 * -q only errors.
 *
 * Several devices at once have a report each on one screen: a live line for each, and on every
 * other line the device's name before it.
 */
#ifndef MFLASH_REPORT_H
#define MFLASH_REPORT_H

#include <jansson.h>
#include <stdbool.h>

#include "commands/screen.h"
#include "engine.h"

struct report {
    bool json, quiet, terminal, color;
    unsigned verbose;
    const char *device;    /* named in events */
    const char *name;      /* one of several: comes before each of its lines; else NULL */
    struct screen *screen; /* shared by the reports of one run */
    size_t row;            /* its live line there */
    /* of the running phase */
    enum step_kind kind;
    enum memory memory;
    size_t total;
    uint64_t begun, drawn; /* moments on the monotonic clock */
};

/* ERR_MEMORY */
int report_init(struct report *report, bool json, bool quiet, unsigned verbose, struct error *err);
void report_close(struct report *report);

/* A report for one of several devices at once, drawing on `screen`. */
struct report report_for_one(const struct report *report, struct screen *screen, size_t row,
                             const char *name);

/* A result on stdout: one JSON object a line; takes over the reference. */
void report_object(struct report *report, json_t *object);

/* "board   arduino-uno  atmega328p  stk500v1": label and text on stderr; not under -q or --json. */
void report_line(struct report *report, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A remark for the user: "note    …" on stderr; an event under --json. */
void report_note(void *report, const char *text);

/* What an engine tells, rendered. */
struct engine_events report_events(struct report *report);

void report_board(struct report *report, const struct target *target, const char *asked_for);
void report_image(struct report *report, const struct image *image);
void report_plan(struct report *report, const struct plan *plan, const char *device, bool dry_run);
void report_result(struct report *report, const struct engine *engine);
void report_error(struct report *report, const struct error *err, const enum board_state *state);

/* Adds "device" to an event, if there is one. */
void report_add_device(const struct report *report, json_t *event);

/* "26.4 KiB", "512 B" */
void report_bytes(char *out, size_t size, size_t bytes);

#endif
