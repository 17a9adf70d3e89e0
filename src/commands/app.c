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

/* ---- words, ranges, questions ---- */

int app_words(const struct app *app, size_t most, struct error *err)
{
    if (app->options.word_count <= most)
        return OK;
    return error_set(err, ERR_USAGE, "%s: what is %s for?", app->options.command,
                     app->options.words[most]);
}

/* "qspi" of "qspi=0x90000000,8M,4K" */
static size_t name_length(const char *option)
{
    return strcspn(option, "=");
}

int app_region(const struct app *app, struct region *region, struct error *err)
{
    const struct target *target = &app->engine.target;
    const struct regions regions = regions_of(target->board->chip, target->loader);
    const char *option = app->options.region;
    char known[256] = "", name[64];
    *region = regions.list[0];
    if (!option)
        return OK;
    (void)snprintf(name, sizeof name, "%.*s", (int)name_length(option), option);
    const struct region *named = regions_named(&regions, name);
    if (named) {
        *region = *named;
        return OK;
    }
    for (size_t i = 0; i < regions.count; i++)
        text_append(known, sizeof known, " %s", regions.list[i].name);
    error_set(err, ERR_USAGE, "%s has no region %s", target->board->chip->name, name);
    return error_hint(err, "it has:%s", known);
}

int app_add_region(struct app *app, struct error *err)
{
    struct target *target = &app->engine.target;
    const char *option = app->options.region;
    if (target->loader->region_count && !target->method->regions)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "region.%s: not possible over %s, because it reaches the chip's own "
                         "memories only",
                         target->loader->regions[0].name, target->method->name);
    if (!option || !option[name_length(option)])
        return OK;
    if (!target->method->regions)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "--region NAME=…: not possible over %s, because it reaches the chip's own "
                         "memories only",
                         target->method->name);
    struct regions all = regions_of(target->board->chip, target->loader);
    const size_t own = target->board->chip->region_count;
    struct region region;
    char why[160] = "its name is too long";
    (void)snprintf(app->region_name, sizeof app->region_name, "%.*s", (int)name_length(option),
                   option);
    if (name_length(option) >= sizeof app->region_name ||
        !region_parse(&region, app->region_name, option + name_length(option) + 1, why,
                      sizeof why) ||
        !regions_add(&all, &region, why, sizeof why))
        return error_set(err, ERR_USAGE, "--region %s: %s", option, why);
    if (all.count - own > LOADER_REGIONS_MAX)
        return error_set(err, ERR_USAGE, "--region %s: too many regions", option);
    memcpy(app->loader_regions, all.list + own, (all.count - own) * sizeof all.list[0]);
    app->loader = *target->loader;
    app->loader.regions = app->loader_regions;
    app->loader.region_count = all.count - own;
    target->loader = &app->loader;
    return OK;
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
