/*
 * `mflash printer FILE`: every board of one printer, in one command. FILE has a section for each:
 *
 *     [mcu]
 *     board  = arduino-mega2560
 *     image  = out/klipper.elf.hex        ; against the file's folder
 *     device = /dev/serial/by-id/…        ; and method, probe, baud, as on the command line
 *
 * All are checked before the first is touched; a failure of one does not stop the others.
 * `mflash status FILE` reads the same file and compares what is on each board with its image.
 */
#include "commands/cli.h"

#include <iniparser/iniparser.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { BOARDS_MAX = 32 };

struct member {
    char name[64];
    struct options options; /* the command line's, with this section's values */
    char image_path[PATH_MAX];
    struct image image;
    struct plan plan;
    struct target target;
    int status;
};

struct printer {
    dictionary *ini;
    struct member *members;
    size_t count;
};

static const char *value_of(const struct printer *printer, const char *section, const char *key)
{
    char name[160];
    (void)snprintf(name, sizeof name, "%s:%s", section, key);
    return iniparser_getstring(printer->ini, name, NULL);
}

/* Relative names are against the printer file's folder. */
static void image_path(char *out, size_t size, const char *file, const char *image)
{
    const char *slash = strrchr(file, '/');
    if (image[0] == '/' || !slash)
        (void)snprintf(out, size, "%s", image);
    else
        (void)snprintf(out, size, "%.*s/%s", (int)(slash - file), file, image);
}

static int add_member(struct app *app, struct printer *printer, const char *file,
                      const char *section, struct error *err)
{
    struct member *member = &printer->members[printer->count];
    uint64_t baud = 0;
    const char *image = value_of(printer, section, "image");
    const char *rate = value_of(printer, section, "baud");
    (void)snprintf(member->name, sizeof member->name, "%s", section);
    member->options = app->options;
    member->options.board = value_of(printer, section, "board");
    member->options.device = value_of(printer, section, "device");
    member->options.method = value_of(printer, section, "method");
    member->options.probe = value_of(printer, section, "probe");
    if (!member->options.board || !image)
        return error_set(err, ERR_USAGE, "%s: [%s] has no `%s`", file, section,
                         image ? "board" : "image");
    if (rate && (!text_number(rate, &baud) || !baud || baud > UINT32_MAX))
        return error_set(err, ERR_USAGE, "%s: [%s] baud = %s: a rate is wanted", file, section,
                         rate);
    member->options.baud = (uint32_t)baud;
    image_path(member->image_path, sizeof member->image_path, file, image);
    member->options.words[0] = member->image_path;
    member->options.word_count = 1;
    printer->count++;
    return OK;
}

static int silent(const char *format, ...)
{
    (void)format;
    return 0;
}

static int printer_read(struct app *app, struct printer *printer, const char *file,
                        struct error *err)
{
    iniparser_set_error_callback(silent);
    printer->ini = iniparser_load(file);
    iniparser_set_error_callback(NULL);
    printer->members = calloc(BOARDS_MAX, sizeof *printer->members);
    if (!printer->ini || !printer->members) {
        error_set(err, ERR_USAGE, "%s cannot be read as a printer file", file);
        return error_hint(err, "it has a [section] for each board with board = NAME and "
                               "image = FILE; see docs/printer-files.md");
    }
    int sections = iniparser_getnsec(printer->ini);
    for (int i = 0; i < sections; i++) {
        if (printer->count == BOARDS_MAX)
            return error_set(err, ERR_USAGE, "%s: more than %d boards", file, BOARDS_MAX);
        if (add_member(app, printer, file, iniparser_getsecname(printer->ini, i), err))
            return error_status(err);
    }
    return printer->count ? OK : error_set(err, ERR_USAGE, "%s names no board", file);
}

static void printer_free(struct printer *printer)
{
    for (size_t i = 0; printer->members && i < printer->count; i++) {
        plan_free(&printer->members[i].plan);
        image_free(&printer->members[i].image);
    }
    free(printer->members);
    if (printer->ini)
        iniparser_freedict(printer->ini);
}

/* Lets the shared functions see this board's options. */
static void step_into(struct app *app, const struct member *member)
{
    app->options = member->options;
    app->engine.baud = member->options.baud;
    app->engine.target = member->target;
    app->engine.state = STATE_UNTOUCHED;
    app->engine.result = (struct engine_result){.verified = TRI_NULL, .proven = TRI_NULL};
    app->report.device = member->name;
}

static int check_member(struct app *app, struct member *member, struct error *err)
{
    const struct board *board;
    struct plan_options options = app_plan_options(app);
    step_into(app, member);
    if (app_images(app, &member->image, err) || app_board(app, &member->image, &board, err) ||
        app_target(app, board, &member->image, err))
        return error_status(err);
    member->target = app->engine.target;
    app->report.device = member->name;
    return plan_flash(&member->plan, board, member->target.loader, member->target.method,
                      &member->image, &options, err);
}

static int flash_member(struct app *app, struct member *member, struct error *err)
{
    step_into(app, member);
    report_line(&app->report, "printer", "[%s]", member->name);
    report_board(&app->report, &member->target, NULL);
    report_image(&app->report, &member->image);
    report_plan(&app->report, &member->plan, member->target.device, app->options.dry_run);
    if (app->options.dry_run)
        return OK;
    int status = engine_execute(&app->engine, &member->plan, err);
    engine_close(&app->engine);
    if (status)
        report_error(&app->report, err, &app->engine.state);
    else
        report_result(&app->report, &app->engine);
    return status;
}

static void summarize(struct app *app, const struct printer *printer, size_t failed)
{
    if (app->options.json) {
        report_object(&app->report, json_pack("{s:s, s:I, s:I}", "event", "summary", "ok",
                                              (json_int_t)(printer->count - failed), "failed",
                                              (json_int_t)failed));
        return;
    }
    for (size_t i = 0; i < printer->count; i++)
        report_line(&app->report, "summary", "%s  %s", printer->members[i].name,
                    printer->members[i].status ? "failed" : "done");
}

/* The code that all failures share, else 1. */
static int shared_status(const struct printer *printer)
{
    int shared = OK;
    for (size_t i = 0; i < printer->count; i++) {
        int status = printer->members[i].status;
        if (status && shared && status != shared)
            return ERR_FAILED;
        shared = status ? status : shared;
    }
    return shared;
}

static int flash_all(struct app *app, struct printer *printer, struct error *err)
{
    size_t failed = 0;
    for (size_t i = 0; i < printer->count && !*app->stop; i++) {
        printer->members[i].status = flash_member(app, &printer->members[i], err);
        failed += printer->members[i].status != OK;
    }
    if (*app->stop)
        return session_interrupted(err);
    if (app->options.dry_run)
        return OK;
    summarize(app, printer, failed);
    if (!failed)
        return OK;
    return error_set(err, (enum error_code)shared_status(printer),
                     "%zu of %zu boards failed; the same command again repairs them", failed,
                     printer->count);
}

int command_printer(struct app *app, struct error *err)
{
    struct printer printer = {0};
    struct options options = app->options;
    if (options.word_count != 1)
        return error_set(err, ERR_USAGE, "printer: one printer file is wanted");
    int status = printer_read(app, &printer, options.words[0], err);
    for (size_t i = 0; i < printer.count && !status; i++) {
        status = check_member(app, &printer.members[i], err);
        if (status)
            error_context(err, "[%s]", printer.members[i].name);
    }
    if (!status)
        status = flash_all(app, &printer, err);
    app->options = options;
    app->engine.target.device[0] = '\0'; /* what happened to each board has been said */
    app->report.device = NULL;
    printer_free(&printer);
    return status;
}

/* ---- status ---- */

/* What is in flash, read back through the bootloader, against the image. */
static int compare(struct app *app, const struct image *image, bool *same,
                   struct klipper_facts *found, struct error *err)
{
    struct image on_chip = {0};
    uint64_t start, end;
    if (!image_extent(image, MEM_FLASH, &start, &end))
        return error_set(err, ERR_IMAGE, "the image has no flash bytes");
    uint8_t *bytes = malloc((size_t)(end - start)), *wanted = malloc((size_t)(end - start));
    int status = bytes && wanted ? OK : error_memory(err);
    if (!status)
        status = engine_read(&app->engine, chip_region(app->engine.target.board->chip, MEM_FLASH),
                             start, bytes, (size_t)(end - start), err);
    if (!status) {
        (void)image_read(image, MEM_FLASH, start, wanted, (size_t)(end - start), 0xff);
        *same = bytes && memcmp(bytes, wanted, (size_t)(end - start)) == 0;
        status = image_parse(&on_chip, "flash", bytes, (size_t)(end - start), &start, err);
        /* Flash that is text, or empty, is no error here: it is what is on the board. */
        if (status == ERR_IMAGE)
            status = OK;
        *found = on_chip.klipper;
    }
    free(bytes);
    free(wanted);
    image_free(&on_chip);
    return status;
}

static void show_status(struct app *app, const char *name, const struct image *image, bool same,
                        const struct klipper_facts *found)
{
    const char *running = found->present ? found->version : "not Klipper";
    const char *wanted = image->klipper.present ? image->klipper.version : "not Klipper";
    if (app->options.json)
        report_object(&app->report, json_pack("{s:s, s:s, s:s, s:s, s:b}", "name", name, "device",
                                              app->engine.target.device, "version", running,
                                              "image", wanted, "same", same));
    else
        (void)printf("%-16s %s  on the board: %s  image: %s\n", name,
                     same ? "up to date" : "differs", running, wanted);
}

static int status_of(struct app *app, const char *name, struct error *err)
{
    struct image image = {0};
    const struct board *board;
    struct klipper_facts found = {0};
    bool same = false;
    int status = app_images(app, &image, err);
    if (!status)
        status = app_board(app, &image, &board, err);
    if (!status)
        status = app_target(app, board, &image, err);
    if (!status)
        status = app_allows(&app->engine.target, OP_READ, err);
    if (!status && !image.placed)
        image_place(&image, app->engine.target.loader->start);
    if (!status)
        status = compare(app, &image, &same, &found, err);
    if (!status && !method_refusal(app->engine.target.method, OP_RUN))
        status = app->engine.target.method->run(&app->engine.session, err);
    engine_close(&app->engine);
    if (!status)
        show_status(app, name, &image, same, &found);
    image_free(&image);
    return status;
}

int command_status(struct app *app, struct error *err)
{
    struct printer printer = {0};
    struct options options = app->options;
    if (options.board || options.chip || options.klipper)
        return status_of(app, options.board ? options.board : "board", err);
    if (options.word_count != 1) {
        error_set(err, ERR_USAGE, "status: a printer file, or --board and its image, is wanted");
        return error_hint(err, "mflash status printer.ini, or mflash status --board NAME IMAGE; "
                               "boards are read through their bootloaders and restarted");
    }
    int status = printer_read(app, &printer, options.words[0], err);
    for (size_t i = 0; i < printer.count && !status; i++) {
        step_into(app, &printer.members[i]);
        status = status_of(app, printer.members[i].name, err);
    }
    app->options = options;
    app->report.device = NULL;
    printer_free(&printer);
    return status;
}
