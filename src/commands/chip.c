/* `mflash info`, `fuses`, `unlock`, `reset`, `enter` and `run`. */
#include "commands/cli.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"

/* Leaves the board running, as a user finds it after a question was answered. */
static int finish(struct app *app, struct error *err)
{
    struct engine *engine = &app->engine;
    int status = OK;
    if (!app->options.no_run && !method_refusal(engine->target.method, OP_RUN))
        status = engine->target.method->run(&engine->session, err);
    if (!status)
        engine->state = STATE_RUNNING;
    engine_close(engine);
    return status;
}

/* The same after a mere look: a board without a program stays in its bootloader, and that is well.
 */
static int finish_look(struct app *app, struct error *err)
{
    int status = finish(app, err);
    if (status != ERR_REFUSED)
        return status;
    error_clear(err);
    return OK;
}

static void show_info(struct app *app, const struct device_info *info)
{
    if (!app->options.json) {
        for (size_t i = 0; i < info->count; i++)
            (void)printf("%-14s %s\n", info->lines[i].name, info->lines[i].text);
        return;
    }
    json_t *object = json_object();
    (void)json_object_set_new(object, "device", json_string(app->engine.target.device));
    (void)json_object_set_new(object, "board", json_string(app->engine.target.board->name));
    (void)json_object_set_new(object, "method", json_string(app->engine.target.method->name));
    for (size_t i = 0; i < info->count; i++)
        (void)json_object_set_new(object, info->lines[i].name, json_string(info->lines[i].text));
    report_object(&app->report, object);
}

int command_info(struct app *app, struct error *err)
{
    struct device_info info = {0};
    /* Looking is not touching: another chip than the board's is what `info` is there to tell. */
    app->engine.force_signature = app->engine.force_start = true;
    if (app_words(app, 0, err) || app_connect(app, OP_INFO, err))
        return error_status(err);
    int status = app->engine.target.method->info(&app->engine.session, &info, err);
    if (!status)
        show_info(app, &info);
    return status ? status : finish_look(app, err);
}

/* ---- fuses ---- */

static void show_fuses(struct app *app, const struct fuse *fuses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct fuse *fuse = &fuses[i];
        if (app->options.json)
            report_object(&app->report, json_pack("{s:s, s:I, s:I, s:s}", "name", fuse->name,
                                                  "value", (json_int_t)fuse->value, "mask",
                                                  (json_int_t)fuse->mask, "text", fuse->text));
        else if (app->options.quiet)
            (void)printf("%s=0x%02" PRIx32 "\n", fuse->name, fuse->value);
        else
            (void)printf("%-8s 0x%02" PRIx32 "  %s\n", fuse->name, fuse->value, fuse->text);
    }
}

struct assignment {
    char name[32];
    uint32_t value;
};

static int parse_assignment(const char *word, struct assignment *out, struct error *err)
{
    const char *equals = strchr(word, '=');
    uint64_t value;
    size_t length = equals ? (size_t)(equals - word) : 0;
    if (!length || length >= sizeof out->name || !text_number(equals + 1, &value) ||
        value > UINT32_MAX) {
        error_set(err, ERR_USAGE, "fuses %s: NAME=NUMBER is wanted", word);
        return error_hint(err, "for example lfuse=0xff; `mflash fuses` without words shows them");
    }
    memcpy(out->name, word, length);
    out->name[length] = '\0';
    out->value = (uint32_t)value;
    return OK;
}

static int find_fuse(const struct fuse *fuses, size_t count, const char *name, struct error *err)
{
    char known[256] = "";
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fuses[i].name, name) == 0)
            return OK;
        text_append(known, sizeof known, " %s", fuses[i].name);
    }
    error_set(err, ERR_USAGE, "this chip has no %s", name);
    return error_hint(err, "it has:%s", known);
}

static int read_fuses(struct app *app, struct fuse *fuses, size_t *count, struct error *err)
{
    return app->engine.target.method->fuses(&app->engine.session, fuses, count, err);
}

/* All words are checked, by name and for danger, before the first one is written. */
static int set_fuses(struct app *app, const struct assignment *sets, size_t count,
                     struct error *err)
{
    struct fuse fuses[FUSES_MAX];
    size_t known = 0;
    struct session *session = &app->engine.session;
    if (read_fuses(app, fuses, &known, err))
        return error_status(err);
    for (size_t i = 0; i < count; i++)
        if (find_fuse(fuses, known, sets[i].name, err))
            return error_status(err);
    for (size_t i = 0; i < count; i++) {
        app->engine.state = STATE_BOOTLOADER;
        if (app->engine.target.method->set_fuse(session, sets[i].name, sets[i].value, err))
            return error_status(err);
        if (session->comes_back && engine_reconnect(&app->engine, err))
            return error_status(err);
    }
    return OK;
}

int command_fuses(struct app *app, struct error *err)
{
    struct assignment sets[OPTION_LIST_MAX];
    struct fuse fuses[FUSES_MAX];
    size_t count = 0, words = app->options.word_count;
    struct plan_options options = app_plan_options(app);
    for (size_t i = 0; i < words; i++)
        if (parse_assignment(app->options.words[i], &sets[i], err))
            return error_status(err);
    if (app_device(app, words ? OP_SET_FUSES : OP_FUSES, err))
        return error_status(err);
    for (size_t i = 0; i < words; i++)
        if (plan_check_fuse(app->engine.target.method, app->engine.target.board->chip, sets[i].name,
                            sets[i].value, &options, err))
            return error_status(err);
    if (app->options.dry_run)
        return OK;
    if (engine_connect(&app->engine, err) || (words && set_fuses(app, sets, words, err)) ||
        read_fuses(app, fuses, &count, err))
        return error_status(err);
    show_fuses(app, fuses, count);
    return finish_look(app, err);
}

/* ---- unlock, reset, enter, run ---- */

int command_unlock(struct app *app, struct error *err)
{
    if (app_words(app, 0, err) || app_device(app, OP_UNLOCK, err) ||
        app_confirm(app, "removing the protection erases the whole chip; go on?", err))
        return error_status(err);
    if (app->options.dry_run)
        return OK;
    if (engine_connect(&app->engine, err))
        return error_status(err);
    app->engine.state = STATE_BOOTLOADER;
    int status = app->engine.target.method->unlock(&app->engine.session, err);
    engine_close(&app->engine);
    if (!status)
        report_line(&app->report, "unlock", "the chip is open");
    return status;
}

int command_run(struct app *app, struct error *err)
{
    if (app_words(app, 0, err) || app_connect(app, OP_RUN, err) || finish(app, err))
        return error_status(err);
    report_line(&app->report, "run", "the application was started");
    return OK;
}

int command_reset(struct app *app, struct error *err)
{
    if (app_words(app, 0, err) || app_connect(app, OP_RESET, err) || finish(app, err))
        return error_status(err);
    report_line(&app->report, "reset", "the board was reset");
    return OK;
}

int command_enter(struct app *app, struct error *err)
{
    if (app_words(app, 0, err) || app_connect(app, OP_ENTER, err))
        return error_status(err);
    app->engine.state = STATE_BOOTLOADER;
    engine_close(&app->engine);
    report_line(&app->report, "enter", "the bootloader answered on %s", app->engine.target.device);
    return OK;
}
