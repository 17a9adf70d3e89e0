/* Rendering for terminal, pipe and JSON: see report.h. */
#include "commands/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

enum { REDRAW_US = 80 * MILLISECOND, BAR_CELLS = 20, NAME_COLUMNS = 18, LINE_MAX_BYTES = 512 };

static double seconds_since(uint64_t moment)
{
    return (double)(clock_now(clock_monotonic()) - moment) / SECOND;
}

int report_init(struct report *report, bool json, bool quiet, unsigned verbose, struct error *err)
{
    const char *term = getenv("TERM");
    bool terminal = isatty(STDERR_FILENO) && (!term || strcmp(term, "dumb") != 0);
    *report = (struct report){
        .json = json,
        .quiet = quiet,
        .verbose = verbose,
        .terminal = terminal && !json && !quiet,
        .color = terminal && !getenv("NO_COLOR"),
    };
    report->screen = screen_new(1, report->terminal);
    return report->screen ? OK : error_memory(err);
}

void report_close(struct report *report)
{
    screen_free(report->screen);
    report->screen = NULL;
}

struct report report_for_one(const struct report *report, struct screen *screen, size_t row,
                             const char *name)
{
    struct report one = *report;
    one.screen = screen;
    one.row = row;
    one.name = name;
    return one;
}

void report_bytes(char *out, size_t size, size_t bytes)
{
    if (bytes < 1024)
        (void)snprintf(out, size, "%zu B", bytes);
    else if (bytes < 1024 * 1024)
        (void)snprintf(out, size, "%.1f KiB", (double)bytes / 1024);
    else
        (void)snprintf(out, size, "%.1f MiB", (double)bytes / (1024 * 1024));
}

static void rate_text(char *out, size_t size, size_t bytes, double seconds)
{
    out[0] = '\0';
    if (seconds <= 0 || !bytes)
        return;
    report_bytes(out, size - 2, (size_t)((double)bytes / seconds));
    text_append(out, size, "/s");
}

/* ---- lines ---- */

void report_object(struct report *report, json_t *object)
{
    screen_hide(report->screen);
    /* A reader that went away (EPIPE) must not abort a write to the board: the status is ignored.
     */
    (void)json_dumpf(object, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
    screen_show(report->screen);
    json_decref(object);
}

static void put_name(const struct report *report)
{
    if (report->name)
        (void)fprintf(stderr, "%-*s ", NAME_COLUMNS, report->name);
}

void report_line(struct report *report, const char *label, const char *format, ...)
{
    if (report->quiet || report->json)
        return;
    screen_set(report->screen, report->row, "");
    screen_hide(report->screen);
    va_list args;
    va_start(args, format);
    put_name(report);
    (void)fprintf(stderr, "%-7s ", label);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    screen_show(report->screen);
}

void report_add_device(const struct report *report, json_t *event)
{
    if (report->device)
        (void)json_object_set_new(event, "device", json_string(report->device));
}

void report_note(void *user, const char *text)
{
    struct report *report = user;
    if (!report->json) {
        report_line(report, "note", "%s", text);
        return;
    }
    json_t *event = json_pack("{s:s, s:s}", "event", "note", "text", text);
    report_add_device(report, event);
    report_object(report, event);
}

/* ---- phases ---- */

/* The phases of `--json` and the labels of the lines; EEPROM has lines of its own. */
static const char *phase_label(enum step_kind kind, enum memory memory)
{
    if (memory == MEM_EEPROM && kind == STEP_WRITE)
        return "eeprom";
    return kind == STEP_PROVE ? "proven" : step_name(kind);
}

static void begin_line(const struct report *report, char *text, size_t size)
{
    text[0] = '\0';
    if (report->name)
        text_append(text, size, "%-*.*s ", NAME_COLUMNS, NAME_COLUMNS, report->name);
    text_append(text, size, "%-7s ", phase_label(report->kind, report->memory));
}

static void on_phase(void *user, enum step_kind kind, enum memory memory, size_t total)
{
    struct report *report = user;
    report->kind = kind;
    report->memory = memory;
    report->total = total;
    report->begun = clock_now(clock_monotonic());
    report->drawn = 0;
    if (report->json) {
        json_t *event = json_pack("{s:s, s:s, s:s}", "event", "phase", "phase", step_name(kind),
                                  "memory", memory_name(memory));
        report_add_device(report, event);
        report_object(report, event);
    } else {
        char text[LINE_MAX_BYTES];
        begin_line(report, text, sizeof text);
        text_append(text, sizeof text, "...");
        screen_set(report->screen, report->row, text);
    }
}

static void add_bar(const struct report *report, char *text, size_t size, size_t done, size_t total)
{
    size_t cells = report->name ? BAR_CELLS / 2 : BAR_CELLS;
    size_t full = total ? done * cells / total : 0;
    if (screen_columns() < (report->name ? 80 : 60))
        return;
    text_append(text, size, "%s", report->color ? "\033[36m" : "");
    for (size_t i = 0; i < cells; i++) {
        if (i == full && report->color)
            text_append(text, size, "\033[2m");
        text_append(text, size, "%s", i < full || report->color ? "━" : "─");
    }
    text_append(text, size, "%s", report->color ? "\033[0m " : " ");
}

static void progress_text(const struct report *report, char *text, size_t size, size_t done,
                          size_t total)
{
    double seconds = seconds_since(report->begun);
    char bytes[32], rate[32], left[32] = "";
    report_bytes(bytes, sizeof bytes, done);
    rate_text(rate, sizeof rate, done, seconds);
    if (done && done < total && seconds > 0.5)
        (void)snprintf(left, sizeof left, "  %.0f s left",
                       seconds / (double)done * (double)(total - done) + 0.5);
    begin_line(report, text, size);
    add_bar(report, text, size, done, total);
    text_append(text, size, "%3zu%%  %s  %s%s", total ? done * 100 / total : 0, bytes, rate, left);
}

static void on_progress(void *user, size_t done, size_t total)
{
    struct report *report = user;
    uint64_t now = clock_now(clock_monotonic());
    if (report->quiet || (!report->json && !report->terminal))
        return;
    if (report->drawn && now - report->drawn < REDRAW_US && done < total)
        return;
    report->drawn = now;
    if (!report->json) {
        char text[LINE_MAX_BYTES];
        progress_text(report, text, sizeof text, done, total);
        screen_set(report->screen, report->row, text);
        return;
    }
    json_t *event =
        json_pack("{s:s, s:s, s:I, s:I}", "event", "progress", "phase", step_name(report->kind),
                  "done", (json_int_t)done, "total", (json_int_t)total);
    report_add_device(report, event);
    report_object(report, event);
}

static void on_phase_done(void *user, enum step_kind kind, size_t bytes, double seconds,
                          const char *remark)
{
    struct report *report = user;
    char amount[32], rate[32];
    report_bytes(amount, sizeof amount, bytes);
    rate_text(rate, sizeof rate, bytes, seconds);
    if (report->name && report->terminal)
        return; /* its live line told it; one line at the end tells the rest */
    if (!bytes) {
        report_line(report, phase_label(kind, report->memory), "%s",
                    remark && *remark ? remark : "done");
        return;
    }
    if (!report->terminal) {
        report_line(report, phase_label(kind, report->memory), "%s in %.1f s, %s%s%s", amount,
                    seconds, rate, remark ? ", " : "", remark ? remark : "");
        return;
    }
    char text[LINE_MAX_BYTES];
    progress_text(report, text, sizeof text, bytes, bytes);
    screen_set(report->screen, report->row, "");
    screen_hide(report->screen);
    (void)fprintf(stderr, "%s\n", text);
    screen_show(report->screen);
}

struct engine_events report_events(struct report *report)
{
    return (struct engine_events){
        .phase = on_phase,
        .progress = on_progress,
        .phase_done = on_phase_done,
        .note = report_note,
        .user = report,
    };
}
