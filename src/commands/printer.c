/*
 * `mflash printer FILE`: every board of one printer, in one command. FILE has a section for each:
 *
 *     [mcu]
 *     board  = arduino-mega2560
 *     image  = out/klipper.elf.hex        ; against the file's folder
 *     device = /dev/serial/by-id/…        ; and method, probe, baud, interface, uuid, as on the
 *                                         ; command line
 *
 * All are checked before the first is touched, then all are flashed at once; a failure of one does
 * not stop the others.
 * `mflash status FILE` reads the same file and compares what runs, or is, on each board with its
 * image.
 */
#include "commands/cli.h"

#include <iniparser/iniparser.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "commands/tasks.h"
#include "klipper/klipper.h"

enum { BOARDS_MAX = 32 };

struct member {
    char name[64];
    struct options options; /* the command line's, with this section's values */
    char image_path[PATH_MAX];
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
    member->options.interface = value_of(printer, section, "interface");
    member->options.uuids[0] = value_of(printer, section, "uuid");
    member->options.uuid_count = member->options.uuids[0] ? 1 : 0;
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
    free(printer->members);
    if (printer->ini)
        iniparser_freedict(printer->ini);
}

static int command_all(struct app *app, struct printer *printer, struct error *err)
{
    struct task *tasks = calloc(printer->count, sizeof *tasks);
    int status = tasks ? app_boards(app, err) : error_memory(err);
    for (size_t i = 0; i < printer->count && !status; i++) {
        struct member *member = &printer->members[i];
        status = task_init(&tasks[i], app, &member->options, member->name, NULL, err);
        if (!status)
            status = app_images(&tasks[i].app, &tasks[i].image, err);
        if (status)
            error_context(err, "[%s]", member->name);
    }
    if (!status)
        status = tasks_run(app, tasks, printer->count, err);
    if (tasks)
        tasks_free(tasks, printer->count);
    return status;
}

int command_printer(struct app *app, struct error *err)
{
    struct printer printer = {0};
    if (app->options.word_count != 1)
        return error_set(err, ERR_USAGE, "printer: one printer file is wanted");
    int status = printer_read(app, &printer, app->options.words[0], err);
    if (!status)
        status = command_all(app, &printer, err);
    printer_free(&printer);
    return status;
}

/* ---- status ---- */

/* What is in flash, read back through the bootloader, against the image. */
static int compare(struct app *app, const struct image *image, bool *same,
                   struct klipper_facts *found, struct error *err)
{
    struct image on_chip = {0};
    const struct target *target = &app->engine.target;
    const struct regions regions = regions_of(target->board->chip, target->loader);
    const struct region *home = regions_home(&regions, target->loader);
    uint64_t start, end;
    if (!regions_program(&regions, target->loader, image, &start, &end))
        return error_set(err, ERR_IMAGE, "the image has no program");
    uint8_t *bytes = malloc((size_t)(end - start)), *wanted = malloc((size_t)(end - start));
    int status = bytes && wanted ? OK : error_memory(err);
    if (!status)
        status = engine_read(&app->engine, home, start, bytes, (size_t)(end - start), err);
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

/* What is known of one board. */
struct finding {
    bool asked, read; /* by which way; neither: it was left alone */
    bool same;
    struct klipper_facts found;
};

static void show_status(struct app *app, const char *name, const struct image *image,
                        const struct finding *finding)
{
    const char *device = app->engine.target.device;
    const char *found = finding->found.present ? finding->found.version : "not Klipper";
    const char *wanted = image->klipper.present ? image->klipper.version : "not Klipper";
    bool known = finding->asked || finding->read;
    if (app->options.json && known)
        report_object(&app->report, json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "name", name,
                                              "device", device, "version", found, "image", wanted,
                                              "same", finding->same, "running", finding->asked));
    else if (app->options.json)
        report_object(&app->report,
                      json_pack("{s:s, s:s, s:n, s:s, s:n, s:n}", "name", name, "device", device,
                                "version", "image", wanted, "same", "running"));
    else if (known)
        (void)printf("%-16s %s  %s: %s  image: %s\n", name,
                     finding->same ? "up to date" : "differs",
                     finding->asked ? "running" : "on the board", found, wanted);
    else
        (void)printf("%-16s not asked (--ask asks, and takes the node from its host)  image: %s\n",
                     name, wanted);
}

static bool on_a_bus(const struct target *target)
{
    return target->method->link == LINK_CAN || target->bridge;
}

/* The running Klipper is asked where that costs it nothing: a port that resets its board when it is
 * opened would cost the same as its bootloader, and tell less. */
static int ask(struct app *app, const struct image *image, struct finding *finding,
               struct error *err)
{
    struct engine *engine = &app->engine;
    const struct target *target = &engine->target;
    if (!plan_provable(target->board, target->loader, target->method, image, target->bridge) ||
        text_has_word(target->loader->enter, "dtr"))
        return OK;
    if (on_a_bus(target) && query_alone(target->interface, err))
        return error_status(err);
    int status = engine_ask(engine, &image->klipper, &finding->found, err);
    finding->asked = !status;
    finding->same = !status && klipper_same(&image->klipper, &finding->found);
    if (status == ERR_NO_ANSWER || status == ERR_PROTOCOL) {
        error_clear(err);
        status = OK;
    }
    return status;
}

static int read_back(struct app *app, struct image *image, struct finding *finding,
                     struct error *err)
{
    struct engine *engine = &app->engine;
    int status = app_allows(&engine->target, OP_READ, err);
    if (!status && !image->placed)
        image_place(image, engine->target.loader->start);
    if (!status)
        status = compare(app, image, &finding->same, &finding->found, err);
    if (!status && !method_refusal(engine->target.method, OP_RUN))
        status = engine->target.method->run(&engine->session, err);
    finding->read = !status;
    return status;
}

static int status_of(struct app *app, const char *name, struct error *err)
{
    struct image image = {0};
    const struct board *board;
    struct finding finding = {0};
    int status = app_images(app, &image, err);
    if (!status)
        status = app_board(app, &image, &board, err);
    if (!status)
        status = app_target(app, board, &image, err);
    bool left_alone = !status && on_a_bus(&app->engine.target) && !app->options.ask;
    if (!status && !left_alone)
        status = ask(app, &image, &finding, err);
    if (!status && !left_alone && !finding.asked)
        status = read_back(app, &image, &finding, err);
    engine_close(&app->engine);
    if (!status)
        show_status(app, name, &image, &finding);
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
                               "a running Klipper is asked where opening its port does not "
                               "reset it; other boards are read through their bootloaders and "
                               "restarted");
    }
    int status = printer_read(app, &printer, options.words[0], err);
    for (size_t i = 0; i < printer.count && !status; i++) {
        app->options = printer.members[i].options;
        app->engine.baud = app->options.baud;
        status = status_of(app, printer.members[i].name, err);
    }
    app->options = options;
    app->report.device = NULL;
    printer_free(&printer);
    return status;
}
