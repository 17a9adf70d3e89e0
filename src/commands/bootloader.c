/* `mflash bootloader [FILE]`: the board's recipe on a fresh chip. */
#include "commands/cli.h"

#include <glob.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

/* Where the distribution keeps bootloader files (Debian: arduino-core-avr). */
static const char *const distribution_places[] = {
    "/usr/share/arduino/hardware/arduino/avr/bootloaders/*",
    "/usr/share/mflash/bootloaders",
};

/* One way of the board to get a bootloader: keys recipe.NAME and loader.NAME of a method section.
 * loader.NAME is "FILE at ADDRESS, where people get it". */
struct recipe {
    const char *name, *words;
    const char *remark; /* all of loader.NAME; NULL */
    char file[128];
    uint64_t address;
    bool has_address;
};

static void parse_loader_text(struct recipe *recipe)
{
    const char *cursor = recipe->remark;
    size_t length;
    const char *word = text_word(&cursor, &length);
    char number[32] = "";
    if (!word)
        return;
    (void)snprintf(recipe->file, sizeof recipe->file, "%.*s", (int)length, word);
    word = text_word(&cursor, &length);
    if (!word || length != 2 || strncmp(word, "at", 2) != 0 ||
        !(word = text_word(&cursor, &length)))
        return;
    if (word[length - 1] == ',')
        length--;
    (void)snprintf(number, sizeof number, "%.*s", (int)length, word);
    recipe->has_address = text_number(number, &recipe->address);
}

/* The nth recipe of the loader; the last setting of a key counts. */
static bool recipe_at(const struct loader *loader, size_t n, struct recipe *recipe)
{
    for (size_t i = 0; i < loader->setting_count; i++) {
        const struct setting *setting = &loader->settings[i];
        if (strncmp(setting->key, "recipe.", 7) != 0 ||
            loader_setting(loader, setting->key) != setting->value || n-- > 0)
            continue;
        char key[96];
        *recipe = (struct recipe){.name = setting->key + 7, .words = setting->value};
        (void)snprintf(key, sizeof key, "loader.%s", recipe->name);
        recipe->remark = loader_setting(loader, key);
        parse_loader_text(recipe);
        return true;
    }
    return false;
}

static bool is_there(char *path, size_t size, const char *folder, int length, const char *file)
{
    int n = snprintf(path, size, "%.*s/%s", length, folder, file);
    return n > 0 && (size_t)n < size && access(path, R_OK) == 0;
}

static bool find_in_glob(char *path, size_t size, const char *pattern, const char *file)
{
    glob_t places;
    bool found = false;
    if (glob(pattern, 0, NULL, &places) != 0)
        return false;
    for (size_t i = 0; i < places.gl_pathc && !found; i++)
        found = is_there(path, size, places.gl_pathv[i], (int)strlen(places.gl_pathv[i]), file);
    globfree(&places);
    return found;
}

/* The board file's folder, the working directory, the distribution's own places. */
static bool find_file(char *path, size_t size, const struct board *board, const char *file)
{
    const char *slash = strrchr(board->file, '/');
    if (is_there(path, size, board->file, slash ? (int)(slash - board->file) : 0, file) ||
        is_there(path, size, ".", 1, file))
        return true;
    for (size_t i = 0; i < sizeof distribution_places / sizeof distribution_places[0]; i++)
        if (find_in_glob(path, size, distribution_places[i], file))
            return true;
    return false;
}

static int report_missing(const struct loader *loader, const struct board *board, struct error *err)
{
    struct recipe recipe;
    char wanted[ERROR_HINT_MAX] = "";
    for (size_t i = 0; recipe_at(loader, i, &recipe); i++)
        text_append(wanted, sizeof wanted, "%s%s", i ? "\nor " : "",
                    recipe.remark ? recipe.remark : recipe.name);
    error_set(err, ERR_IMAGE, "no bootloader file for %s is here", board->name);
    return error_hint(err, "wanted is %s\nget it and name it: mflash bootloader FILE", wanted);
}

/* With FILE: the recipe whose file has that name, else the first. Without: the first whose file is
 * found. */
static int choose(const struct app *app, const struct target *target, struct recipe *recipe,
                  char *path, size_t size, struct error *err)
{
    const char *named = app->options.word_count ? app->options.words[0] : NULL;
    const char *slash = named ? strrchr(named, '/') : NULL;
    const char *base = slash ? slash + 1 : named;
    for (size_t i = 0; recipe_at(target->loader, i, recipe); i++) {
        if (named ? strcmp(recipe->file, base) == 0
                  : recipe->file[0] && find_file(path, size, target->board, recipe->file)) {
            if (named)
                (void)snprintf(path, size, "%s", named);
            return OK;
        }
    }
    if (!recipe_at(target->loader, 0, recipe)) {
        error_set(err, ERR_NOT_POSSIBLE,
                  "%s: not possible over %s, because the database has no recipe for it on %s",
                  operation_name(OP_BOOTLOADER), target->method->name, target->board->name);
        return error_hint(err, "docs/installing-a-bootloader.md tells how to write one");
    }
    if (!named)
        return report_missing(target->loader, target->board, err);
    (void)snprintf(path, size, "%s", named);
    return OK;
}

static int install(struct app *app, const struct recipe *recipe, struct image *image,
                   struct error *err)
{
    struct plan plan = {0};
    struct plan_options options = app_plan_options(app);
    const struct target *target = &app->engine.target;
    if (plan_recipe(&plan, target->board, target->loader, target->method, recipe->words, image,
                    &options, err)) {
        if (!err->hint[0] && recipe->remark)
            error_hint(err, "wanted is %s", recipe->remark);
        return error_status(err);
    }
    report_image(&app->report, image);
    report_plan(&app->report, &plan, target->device, app->options.dry_run);
    int status = app->options.dry_run ? OK : engine_execute(&app->engine, &plan, err);
    engine_close(&app->engine);
    if (!status && !app->options.dry_run)
        report_result(&app->report, &app->engine);
    plan_free(&plan);
    return status;
}

int command_bootloader(struct app *app, struct error *err)
{
    struct recipe recipe;
    struct image image = {0};
    char path[PATH_MAX];
    if (app_words(app, 1, err) || app_device(app, OP_BOOTLOADER, err) ||
        choose(app, &app->engine.target, &recipe, path, sizeof path, err))
        return error_status(err);
    if (image_load(&image, path, NULL, err))
        return recipe.remark ? error_hint(err, "wanted is %s", recipe.remark) : error_status(err);
    /* Raw bytes go where the recipe says, else to the flash base. */
    if (!image.placed)
        image_place(&image, app->options.has_address ? app->options.address
                            : recipe.has_address
                                ? recipe.address
                                : app->engine.target.board->chip->regions[0].start);
    int status = install(app, &recipe, &image, err);
    image_free(&image);
    return status;
}
