/* The head and the end of a run: board, image, plan, result, error. See report.h. */
#include "commands/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

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

/* "2.9 KiB flash, 8.8 KiB qspi" */
static void amounts_text(char *out, size_t size, const struct plan *plan, enum memory memory)
{
    const struct region *first = regions_first(&plan->regions, memory);
    char amount[32];
    size_t listed = 0;
    for (size_t i = 0; plan->image && i < plan->regions.count; i++) {
        const struct region *region = &plan->regions.list[i];
        size_t bytes =
            region->memory == memory ? regions_bytes(&plan->regions, region, plan->image) : 0;
        if (!bytes)
            continue;
        report_bytes(amount, sizeof amount, bytes);
        text_append(out, size, "%s%s %s", listed++ ? ", " : "", amount,
                    region == first ? memory_name(memory) : region->name);
    }
}

static void step_text(char *out, size_t size, const struct plan *plan, const struct step *step)
{
    out[0] = '\0';
    if (step->kind == STEP_ERASE && step->whole_chip)
        text_append(out, size, "the whole chip");
    for (size_t i = 0; i < step->range_count; i++)
        text_append(out, size, "%s0x%" PRIx64 "..0x%" PRIx64, i ? ", " : "", step->ranges[i].start,
                    step->ranges[i].start + step->ranges[i].size - 1);
    if (step->kind == STEP_WRITE || step->kind == STEP_VERIFY)
        amounts_text(out, size, plan, step->memory);
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

/* Of several devices, each has one line of its own that says it all. */
static void report_done(struct report *report, const struct engine_result *result)
{
    char bytes[32];
    report_bytes(bytes, sizeof bytes, result->bytes);
    if (report->name)
        report_line(report, "done", "%s%s%s in %.1f s", bytes,
                    result->verified == TRI_TRUE ? "  verified" : "",
                    result->proven == TRI_TRUE ? "  proven" : "", result->seconds);
    else if (!report->quiet)
        (void)fprintf(stderr, "done in %.1f s\n", result->seconds);
}

void report_result(struct report *report, const struct engine *engine)
{
    const struct engine_result *result = &engine->result;
    char skipped[32];
    if (!report->json) {
        report_bytes(skipped, sizeof skipped, result->skipped);
        if (result->skipped)
            report_line(report, "skipped", "%s were there already", skipped);
        report_done(report, result);
        return;
    }
    json_t *event =
        json_pack("{s:s, s:b, s:I, s:I, s:o, s:o, s:f}", "event", "result", "ok", 1, "bytes",
                  (json_int_t)result->bytes, "skipped", (json_int_t)result->skipped, "verified",
                  tristate_json(result->verified), "proven", tristate_json(result->proven),
                  "seconds", result->seconds);
    report_add_device(report, event);
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
    if (!report->json) {
        screen_set(report->screen, report->row, "");
        screen_hide(report->screen);
        (void)fprintf(stderr, "%smflash:%s %s\n", report->color ? "\033[31m" : "",
                      report->color ? "\033[0m" : "", err->message);
        print_hint(err->hint);
        if (state)
            print_hint(state_text(*state));
        screen_show(report->screen);
        return;
    }
    json_t *event =
        json_pack("{s:s, s:s, s:i, s:s, s:s}", "event", "error", "code", error_code_name(err->code),
                  "exit", error_exit_status(err->code), "message", err->message, "hint", err->hint);
    if (err->check)
        (void)json_object_set_new(event, "check", json_string(err->check));
    if (state)
        (void)json_object_set_new(event, "state", json_string(board_state_name(*state)));
    report_add_device(report, event);
    report_object(report, event);
}
