/*
 * What the user sees. Errors, phases and progress go to stderr, results to stdout. A terminal gets
 * one live line per phase, a pipe one plain line per phase and no escape codes, --json gets events,
 * -q only errors.
 */
#ifndef MFLASH_REPORT_H
#define MFLASH_REPORT_H

#include <jansson.h>
#include <stdbool.h>

#include "engine.h"

struct report {
    bool json, quiet, terminal, color;
    unsigned verbose;
    const char *device; /* named in events */
    /* of the running phase */
    enum step_kind kind;
    enum memory memory;
    bool live; /* a line without newline is on the terminal */
    size_t total;
    uint64_t begun, drawn; /* moments on the monotonic clock */
};

void report_init(struct report *report, bool json, bool quiet, unsigned verbose);

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

/* Ends the live line on a terminal, if there is one; adds "device" to an event, if there is one. */
void report_end_live_line(struct report *report);
void report_add_device(const struct report *report, json_t *event);

/* "26.4 KiB", "512 B" */
void report_bytes(char *out, size_t size, size_t bytes);

#endif
