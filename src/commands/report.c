/* Rendering for terminal, pipe and JSON: see report.h. */
#include "commands/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"

enum { REDRAW_US = 80 * MILLISECOND, BAR_CELLS = 20 };

static double seconds_since(uint64_t moment)
{
    return (double)(clock_now(clock_monotonic()) - moment) / SECOND;
}

void report_init(struct report *report, bool json, bool quiet, unsigned verbose)
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
    (void)report;
    /* A reader that went away (EPIPE) must not abort a write to the board: the status is ignored.
     */
    (void)json_dumpf(object, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
    json_decref(object);
}

void report_end_live_line(struct report *report)
{
    if (report->live)
        (void)fputs("\r\033[K", stderr);
    report->live = false;
}

void report_line(struct report *report, const char *label, const char *format, ...)
{
    if (report->quiet || report->json)
        return;
    report_end_live_line(report);
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "%-7s ", label);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
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
    } else if (report->terminal) {
        report_end_live_line(report);
        (void)fprintf(stderr, "%-7s ...", phase_label(kind, memory));
        (void)fflush(stderr);
        report->live = true;
    }
}

static unsigned terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static void draw_bar(const struct report *report, size_t done, size_t total)
{
    size_t full = total ? done * BAR_CELLS / total : 0;
    if (terminal_columns() < 60)
        return;
    (void)fputs(report->color ? "\033[36m" : "", stderr);
    for (size_t i = 0; i < BAR_CELLS; i++) {
        if (i == full && report->color)
            (void)fputs("\033[2m", stderr);
        (void)fputs(i < full ? "━" : report->color ? "━" : "─", stderr);
    }
    (void)fputs(report->color ? "\033[0m " : " ", stderr);
}

static void draw(struct report *report, size_t done, size_t total)
{
    double seconds = seconds_since(report->begun);
    char bytes[32], rate[32], left[32] = "";
    report_bytes(bytes, sizeof bytes, done);
    rate_text(rate, sizeof rate, done, seconds);
    if (done && done < total && seconds > 0.5)
        (void)snprintf(left, sizeof left, "  %.0f s left",
                       seconds / (double)done * (double)(total - done) + 0.5);
    (void)fprintf(stderr, "\r\033[K%-7s ", phase_label(report->kind, report->memory));
    draw_bar(report, done, total);
    (void)fprintf(stderr, "%3zu%%  %s  %s%s", total ? done * 100 / total : 0, bytes, rate, left);
    (void)fflush(stderr);
    report->live = true;
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
        draw(report, done, total);
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
    draw(report, bytes, bytes);
    (void)fputc('\n', stderr);
    report->live = false;
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
