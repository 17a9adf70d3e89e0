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

static void end_live_line(struct report *report)
{
    if (report->live)
        (void)fputs("\r\033[K", stderr);
    report->live = false;
}

void report_line(struct report *report, const char *label, const char *format, ...)
{
    if (report->quiet || report->json)
        return;
    end_live_line(report);
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "%-7s ", label);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

static void add_device(const struct report *report, json_t *event)
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
    add_device(report, event);
    report_object(report, event);
}

/* ---- phases ---- */

/* The phases of `--json` and the labels of the lines; EEPROM has lines of its own. */
static const char *phase_label(enum step_kind kind, enum memory memory)
{
    if (memory == MEM_EEPROM && kind == STEP_WRITE)
        return "eeprom";
    return step_name(kind);
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
        add_device(report, event);
        report_object(report, event);
    } else if (report->terminal) {
        end_live_line(report);
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
    add_device(report, event);
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

/* ---- the head of a run ---- */

void report_board(struct report *report, const struct target *target, const char *asked_for)
{
    const struct board *board = target->board;
    char also[160] = "";
    if (asked_for && strcasecmp(asked_for, board->name) != 0)
        (void)snprintf(also, sizeof also, " (%s)", asked_for);
    report_line(report, "board", "%s%s  %s  %s", board->name, also, board->chip->name,
                target->method->name);
    if (board->shadows)
        report_line(report, "note", "%s in %s overrides the entry of %s", board->name, board->file,
                    board->shadows);
    if (board->inferred && report->verbose)
        report_line(report, "note", "concluded, not read in a source: %s", board->inferred);
    if (board->note && report->verbose)
        report_line(report, "note", "%s", board->note);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

void report_image(struct report *report, const struct image *image)
{
    char text[512] = "", bytes[32];
    uint64_t start, end;
    size_t total = 0;
    for (size_t i = 0; i < image->count; i++)
        total += image->segments[i].length;
    report_bytes(bytes, sizeof bytes, total);
    for (size_t i = 0; i < image->source_count; i++)
        text_append(text, sizeof text, "%s%s", i ? " + " : "", base_name(image->sources[i].name));
    text_append(text, sizeof text, "  %s", bytes);
    if (image_extent(image, MEM_FLASH, &start, &end))
        text_append(text, sizeof text, " at 0x%04" PRIx64, start);
    if (image->klipper.present)
        text_append(text, sizeof text, "  Klipper %s for %s", image->klipper.version,
                    image->klipper.mcu);
    report_line(report, "image", "%s", text);
}

static json_t *image_object(const struct image *image)
{
    json_t *segments = json_array();
    size_t bytes = 0;
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *segment = &image->segments[i];
        bytes += segment->length;
        (void)json_array_append_new(segments, json_pack("{s:I, s:I, s:s}", "address",
                                                        (json_int_t)segment->address, "length",
                                                        (json_int_t)segment->length, "memory",
                                                        memory_name(segment->memory)));
    }
    return json_pack("{s:s, s:I, s:o}", "format", image_format_name(image->format), "bytes",
                     (json_int_t)bytes, "segments", segments);
}

static void step_text(char *out, size_t size, const struct plan *plan, const struct step *step)
{
    out[0] = '\0';
    size_t bytes = plan->image ? image_bytes(plan->image, step->memory) : 0;
    char amount[32];
    report_bytes(amount, sizeof amount, bytes);
    if (step->kind == STEP_ERASE && step->whole_chip)
        text_append(out, size, "the whole chip");
    for (size_t i = 0; i < step->range_count; i++)
        text_append(out, size, "%s0x%" PRIx64 "..0x%" PRIx64, i ? ", " : "", step->ranges[i].start,
                    step->ranges[i].start + step->ranges[i].size - 1);
    if (step->kind == STEP_WRITE || step->kind == STEP_VERIFY)
        text_append(out, size, "%s %s", amount, memory_name(step->memory));
    if (step->kind == STEP_FUSE)
        text_append(out, size, "%s = 0x%02" PRIx32, step->fuse, step->value);
}

static void print_steps(const struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        char text[256];
        step_text(text, sizeof text, plan, &plan->steps[i]);
        (void)printf("%zu. %s%s%s\n", i + 1, step_name(plan->steps[i].kind), *text ? "  " : "",
                     text);
    }
}

void report_plan(struct report *report, const struct plan *plan, const char *device, bool dry_run)
{
    if (!report->json) {
        if (dry_run && !report->quiet)
            print_steps(plan);
        return;
    }
    json_t *steps = json_array();
    for (size_t i = 0; i < plan->count; i++) {
        char text[256];
        step_text(text, sizeof text, plan, &plan->steps[i]);
        (void)json_array_append_new(
            steps, json_pack("{s:s, s:s}", "step", step_name(plan->steps[i].kind), "what", text));
    }
    json_t *event =
        json_pack("{s:s, s:s, s:s, s:s, s:o}", "event", "plan", "board", plan->board->name,
                  "method", plan->method->name, "device", device, "steps", steps);
    if (plan->image)
        (void)json_object_set_new(event, "image", image_object(plan->image));
    report_object(report, event);
}

/* ---- the end of a run ---- */

static json_t *tristate_json(enum tristate value)
{
    return value == TRI_NULL ? json_null() : json_boolean(value == TRI_TRUE);
}

void report_result(struct report *report, const struct engine *engine)
{
    const struct engine_result *result = &engine->result;
    char skipped[32];
    if (!report->json) {
        report_bytes(skipped, sizeof skipped, result->skipped);
        if (result->skipped)
            report_line(report, "skipped", "%s were there already", skipped);
        if (!report->quiet)
            (void)fprintf(stderr, "done in %.1f s\n", result->seconds);
        return;
    }
    json_t *event =
        json_pack("{s:s, s:b, s:I, s:I, s:o, s:o, s:f}", "event", "result", "ok", 1, "bytes",
                  (json_int_t)result->bytes, "skipped", (json_int_t)result->skipped, "verified",
                  tristate_json(result->verified), "proven", tristate_json(result->proven),
                  "seconds", result->seconds);
    add_device(report, event);
    report_object(report, event);
}

/* Every line of the hint under the first word of the message. */
static void print_hint(const char *hint)
{
    while (*hint) {
        size_t length = strcspn(hint, "\n");
        (void)fprintf(stderr, "        %.*s\n", (int)length, hint);
        hint += length + (hint[length] == '\n');
    }
}

static const char *state_text(enum board_state state)
{
    switch (state) {
    case STATE_UNTOUCHED:
        return "the board is untouched";
    case STATE_BOOTLOADER:
        return "the board is in its bootloader and its application is incomplete: the same command "
               "again repairs it";
    case STATE_RUNNING:
        return "the application was started";
    case STATE_UNKNOWN:
        break;
    }
    return "the board's state is unknown and its application may be incomplete: reset or "
           "power-cycle "
           "it, then the same command again repairs it";
}

void report_error(struct report *report, const struct error *err, const enum board_state *state)
{
    end_live_line(report);
    if (!report->json) {
        (void)fprintf(stderr, "%smflash:%s %s\n", report->color ? "\033[31m" : "",
                      report->color ? "\033[0m" : "", err->message);
        print_hint(err->hint);
        if (state)
            print_hint(state_text(*state));
        return;
    }
    json_t *event =
        json_pack("{s:s, s:s, s:i, s:s, s:s}", "event", "error", "code", error_code_name(err->code),
                  "exit", error_exit_status(err->code), "message", err->message, "hint", err->hint);
    if (err->check)
        (void)json_object_set_new(event, "check", json_string(err->check));
    if (state)
        (void)json_object_set_new(event, "state", json_string(board_state_name(*state)));
    add_device(report, event);
    report_object(report, event);
}
