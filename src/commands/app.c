/* The way from options to a board, an image and a device: see cli.h. */
#include "commands/cli.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "commands/klipper_tree.h"

int app_boards(struct app *app, struct error *err)
{
    return app->db ? OK : board_db_open(&app->db, app->options.boards, err);
}

/* ---- the board ---- */

/* Boards that exist just to reach a bare chip are called generic-CHIP in the database. */
static int generic_board(struct app *app, const char *mcu, const struct board **board,
                         struct error *err)
{
    char name[80];
    (void)snprintf(name, sizeof name, "generic-%s", mcu);
    if (board_find(app->db, name, board, err))
        return error_hint(err,
                          "give the board with --board; `mflash boards %s` lists those that "
                          "have this chip",
                          mcu);
    return OK;
}

static int report_no_board(struct error *err)
{
    error_set(err, ERR_USAGE,
              "which board is it? neither --board nor --chip is given, and the "
              "image does not say");
    return error_hint(err, "--board NAME; `mflash boards` lists them, `mflash detect` guesses from "
                           "what is plugged in");
}

int app_board(struct app *app, const struct image *image, const struct board **board,
              struct error *err)
{
    struct klipper_tree tree;
    if (app_boards(app, err))
        return error_status(err);
    if (app->options.board)
        return board_find(app->db, app->options.board, board, err);
    if (app->options.chip)
        return generic_board(app, app->options.chip, board, err);
    if (app->options.klipper) {
        if (klipper_tree_read(&tree, app->options.klipper, err))
            return error_status(err);
        return generic_board(app, tree.mcu, board, err);
    }
    if (image && image->klipper.present)
        return generic_board(app, image->klipper.mcu, board, err);
    return report_no_board(err);
}

/* ---- images ---- */

/* "file.bin@0x8000": the address after the last @, if a number stands there and no file has that
 * whole name. */
static bool split_address(const char *word, char *path, size_t size, uint64_t *address)
{
    const char *at = strrchr(word, '@');
    (void)snprintf(path, size, "%s", word);
    if (!at || access(word, F_OK) == 0 || !text_number(at + 1, address))
        return false;
    path[at - word] = '\0';
    return true;
}

static int load_word(struct app *app, const char *word, struct image *image, struct error *err)
{
    char path[PATH_MAX];
    uint64_t address = app->options.address;
    if (strlen(word) >= sizeof path)
        return error_set(err, ERR_USAGE, "file name too long");
    bool has_address = split_address(word, path, sizeof path, &address);
    has_address = has_address || app->options.has_address;
    struct image one = {0};
    if (image_load(&one, path, has_address ? &address : NULL, err))
        return error_status(err);
    int status = image_merge(image, &one, err);
    image_free(&one);
    return status;
}

int app_images(struct app *app, struct image *image, struct error *err)
{
    struct klipper_tree tree;
    *image = (struct image){0};
    int status = OK;
    for (size_t i = 0; i < app->options.word_count && !status; i++)
        status = load_word(app, app->options.words[i], image, err);
    if (!app->options.word_count && app->options.klipper) {
        status = klipper_tree_read(&tree, app->options.klipper, err);
        if (!status)
            status = load_word(app, tree.image, image, err);
    } else if (!app->options.word_count) {
        error_set(err, ERR_USAGE, "%s: no image is named", app->options.command);
        status = error_hint(err, "mflash --board NAME IMAGE; `mflash --help` shows all forms");
    }
    if (status)
        image_free(image);
    return status;
}

/* ---- the device ---- */

/* True if a program of this image can begin where this loader starts programs. */
static bool linked_for(const void *context, const struct loader *loader)
{
    const struct image *image = context;
    const uint64_t *starts = loader->has_start ? &loader->start : loader->starts;
    size_t count = loader->has_start ? 1 : loader->start_count;
    uint64_t start, end;
    if (!count || !image_extent(image, MEM_FLASH, &start, &end))
        return true;
    if (!image->placed)
        return !image->vectors.plausible || image_link_address(image, starts, count, &start) > 0;
    for (size_t i = 0; i < count; i++)
        if (starts[i] == start)
            return true;
    return false;
}

/* Options of links that no method of this build has, or that do not fit the method chosen. */
static int check_link_options(const struct app *app, const struct method *method, struct error *err)
{
    const struct options *options = &app->options;
    if ((options->interface || options->uuid_count || options->all) && method->link != LINK_CAN)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "--interface, --uuid and --all: not possible over %s, because it does not "
                         "speak CAN",
                         method->name);
    if (options->flm && method->link != LINK_SWD)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "--flm: not possible over %s, because only a debug probe can run flash "
                         "algorithms",
                         method->name);
    if (options->region && strchr(options->region, '=') && method->link != LINK_SWD)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "--region NAME=…: not possible over %s, because the memories of its chips "
                         "are fixed",
                         method->name);
    return OK;
}

static int select_once(struct app *app, const struct target_request *request, struct error *err)
{
    int status = target_select(&app->engine.target, request, err);
    const char *device = app->engine.target.device;
    if (!status && app->options.wait > 0 && device[0] == '/' && access(device, F_OK) != 0)
        return error_set(err, ERR_NO_DEVICE, "%s is not there", device);
    return status;
}

/* A board that was started a moment ago is off the bus while it becomes another device. */
enum { CHANGES_US = 1500 * MILLISECOND };

static bool names_place(const char *device)
{
    return device && (usbip_is_name(device) || strspn(device, "0123456789.-") == strlen(device));
}

/* --wait SECONDS: until the device appears. Without it, a place on a bus may be empty for a moment.
 */
static int select_waiting(struct app *app, const struct target_request *request, struct error *err)
{
    struct clock *clock = clock_monotonic();
    bool told = app->options.wait <= 0;
    uint64_t patience = !told                          ? (uint64_t)(app->options.wait * SECOND)
                        : names_place(request->device) ? CHANGES_US
                                                       : 0;
    uint64_t deadline = clock_in(clock, patience);
    int status;
    while ((status = select_once(app, request, err)) == ERR_NO_DEVICE) {
        if (clock_now(clock) >= deadline)
            return status;
        if (*app->stop)
            return session_interrupted(err);
        if (!told)
            report_line(&app->report, "wait", "%s\n        %s", err->message, err->hint);
        told = true;
        clock->sleep_until(clock, clock_in(clock, 20 * MILLISECOND));
    }
    return status;
}

int app_target(struct app *app, const struct board *board, const struct image *image,
               struct error *err)
{
    const char *sysfs = getenv("MFLASH_SYSFS");
    bool node = app->options.interface || app->options.uuid_count;
    const char *environment = node ? NULL : getenv("FLASH_DEVICE");
    struct target_request request = {
        .board = board,
        .method = app->options.method,
        .device = app->options.device ? app->options.device : environment,
        .probe = app->options.probe,
        .interface = app->options.interface,
        .uuid = app->options.uuid_count == 1 ? app->options.uuids[0] : NULL,
        .sysfs = sysfs ? sysfs : "/sys",
        .suits = image ? linked_for : NULL,
        .context = image,
        .offline = true,
    };
    if (target_select(&app->engine.target, &request, err) ||
        check_link_options(app, app->engine.target.method, err))
        return error_status(err);
    if (app->options.dry_run || strcmp(app->options.command, "check") == 0)
        return OK;
    request.offline = false;
    int status = select_waiting(app, &request, err);
    app->report.device = app->engine.target.device;
    return status;
}

int app_allows(const struct target *target, enum operation op, struct error *err)
{
    const char *because = method_refusal(target->method, op);
    if (!because)
        return OK;
    error_set(err, ERR_NOT_POSSIBLE, "%s: not possible over %s, because %s", operation_name(op),
              target->method->name, because);
    for (size_t i = 0; i < target->board->loader_count; i++) {
        const struct method *other = method_find(target->board->loaders[i].method);
        if (other && !method_refusal(other, op))
            return error_hint(err, "%s can: name %s", other->name,
                              other->probe ? "the programmer with --probe KIND:PORT"
                                           : "it with --method");
    }
    return error_status(err);
}

int app_device(struct app *app, enum operation op, struct error *err)
{
    const struct board *board;
    if (app_board(app, NULL, &board, err))
        return error_status(err);
    /* What the protocol cannot do is said before a device is looked for. */
    bool dry_run = app->options.dry_run;
    app->options.dry_run = true;
    int status = app_target(app, board, NULL, err);
    app->options.dry_run = dry_run;
    if (status || app_allows(&app->engine.target, op, err))
        return error_status(err);
    if (app_target(app, board, NULL, err))
        return error_status(err);
    if (app_allows(&app->engine.target, op, err))
        return error_status(err);
    report_board(&app->report, &app->engine.target, app->options.board);
    return OK;
}

int app_connect(struct app *app, enum operation op, struct error *err)
{
    if (app_device(app, op, err))
        return error_status(err);
    return engine_connect(&app->engine, err);
}

/* ---- words, ranges, questions ---- */

int app_words(const struct app *app, size_t most, struct error *err)
{
    if (app->options.word_count <= most)
        return OK;
    return error_set(err, ERR_USAGE, "%s: what is %s for?", app->options.command,
                     app->options.words[most]);
}

static const char *region_at(const void *list, size_t n)
{
    const struct chip *chip = list;
    return n < chip->region_count ? chip->regions[n].name : NULL;
}

int app_region(const struct app *app, const struct chip *chip, const struct region **region,
               struct error *err)
{
    const char *name = app->options.region;
    *region = &chip->regions[0];
    if (!name)
        return OK;
    char known[128] = "";
    for (size_t i = 0; i < chip->region_count; i++) {
        if (strcmp(chip->regions[i].name, name) == 0) {
            *region = &chip->regions[i];
            return OK;
        }
        text_append(known, sizeof known, " %s", region_at(chip, i));
    }
    error_set(err, ERR_USAGE, "%s has no region %s", chip->name, name);
    return error_hint(err, "it has:%s", known);
}

int app_range(const struct app *app, const struct region *region, struct span *range,
              struct error *err)
{
    *range = (struct span){region->start, region->size};
    if (!app->options.range)
        return OK;
    char start[64];
    const char *colon = strchr(app->options.range, ':');
    size_t length = colon ? (size_t)(colon - app->options.range) : 0;
    (void)snprintf(start, sizeof start, "%.*s", (int)(length < 63 ? length : 63),
                   app->options.range);
    if (!colon || !text_number(start, &range->start) || !text_number(colon + 1, &range->size) ||
        !range->size)
        return error_set(err, ERR_USAGE, "--range %s: ADDRESS:LENGTH is wanted",
                         app->options.range);
    if (range->start < region->start || range->start - region->start > region->size ||
        range->size > region->size - (range->start - region->start))
        return error_set(err, ERR_USAGE, "--range %s is not inside %s, 0x%" PRIx64 "..0x%" PRIx64,
                         app->options.range, region->name, region->start,
                         region->start + region->size - 1);
    return OK;
}

struct plan_options app_plan_options(struct app *app)
{
    return (struct plan_options){
        .forced = app->options.forced,
        .erase = app->options.erase,
        .diff = app->options.diff,
        .no_verify = app->options.no_verify,
        .no_run = app->options.no_run,
        .warn = report_note,
        .user = &app->report,
    };
}

int app_confirm(const struct app *app, const char *question, struct error *err)
{
    if (app->options.yes)
        return OK;
    if (!isatty(STDIN_FILENO) || app->options.json) {
        error_set(err, ERR_USAGE, "%s", question);
        return error_hint(err, "say --yes if that is what you want");
    }
    (void)fprintf(stderr, "%s [y/N] ", question);
    char answer[16] = "";
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return OK;
    return error_set(err, ERR_FAILED, "not confirmed: nothing was done");
}
