/* `mflash IMAGE...` and `mflash verify IMAGE...`, on one board or on many at once. */
#include "commands/cli.h"

#include <stdlib.h>

#include "commands/tasks.h"

static void keep_only(struct plan *plan, enum step_kind kind)
{
    size_t kept = 0;
    for (size_t i = 0; i < plan->count; i++) {
        bool keep = plan->steps[i].kind == kind || plan->steps[i].kind == STEP_ENTER ||
                    plan->steps[i].kind == STEP_RUN;
        if (!keep)
            free(plan->steps[i].ranges);
        else
            plan->steps[kept++] = plan->steps[i];
    }
    plan->count = kept;
}

/* `tell`: what a check has to say but does not refuse. */
static int make_plan(struct app *app, const struct board *board, struct image *image,
                     struct plan *plan, bool verify, bool tell, struct error *err)
{
    const struct target *target = &app->engine.target;
    struct plan_options options = app_plan_options(app);
    options.bus = target->interface[0] != '\0';
    options.warn = tell ? options.warn : NULL;
    int status = plan_flash(plan, board, target->loader, target->method, image, &options, err);
    if (status || !verify)
        return status;
    keep_only(plan, STEP_VERIFY);
    return app_allows(target, OP_VERIFY, err);
}

static int check_bus(struct app *app, const struct image *image, struct error *err)
{
    const char *interface = app->engine.target.interface;
    struct plan_options options = app_plan_options(app);
    struct can_status status;
    if (can_status(&status, interface, err))
        return error_status(err);
    return plan_check_can_bitrate(image, &status, &options, err);
}

/* With the loader alone, so that a check that refuses has not even looked for a device. On a copy:
 * a raw image is placed by its plan, and the device may want another place. */
static int try_plan(struct app *app, const struct board *board, const struct image *image,
                    bool verify, struct error *err)
{
    struct image copy;
    struct plan plan = {0};
    bool dry_run = app->options.dry_run;
    app->options.dry_run = true;
    int status = app_target(app, board, image, err);
    app->options.dry_run = dry_run;
    if (status || image_copy(&copy, image, err))
        return error_status(err);
    status = make_plan(app, board, &copy, &plan, verify, false, err);
    plan_free(&plan);
    image_free(&copy);
    return status;
}

int app_plan(struct app *app, struct image *image, struct plan *plan, bool verify,
             struct error *err)
{
    const struct board *board;
    if (app_board(app, image, &board, err) || try_plan(app, board, image, verify, err) ||
        app_target(app, board, image, err))
        return error_status(err);
    if (target_has_bus(&app->engine.target) && check_bus(app, image, err))
        return error_status(err);
    return make_plan(app, board, image, plan, verify, true, err);
}

int app_execute(struct app *app, struct plan *plan, struct error *err)
{
    struct engine *engine = &app->engine;
    engine->klipper_baud = plan->image->klipper.serial_baud;
    int status = engine_execute(engine, plan, err);
    engine_close(engine);
    if (status)
        return status;
    report_result(&app->report, engine);
    return OK;
}

static int work_on_one(struct app *app, struct image *image, bool verify, struct error *err)
{
    struct plan plan = {0};
    const struct target *target = &app->engine.target;
    int status = app_plan(app, image, &plan, verify, err);
    if (!status) {
        report_board(&app->report, target, app->options.board);
        report_image(&app->report, image);
        report_plan(&app->report, &plan, target->device, app->options.dry_run);
    }
    if (!status && !app->options.dry_run)
        status = app_execute(app, &plan, err);
    plan_free(&plan);
    return status;
}

/* ---- many ---- */

/* The options of the nth of many: just its own device or node. */
static struct options options_of(const struct options *all, size_t n)
{
    struct options one = *all;
    bool node = n >= all->device_count;
    one.device = node ? NULL : all->devices[n];
    one.device_count = node ? 0 : 1;
    one.uuids[0] = node ? all->uuids[n - all->device_count] : NULL;
    one.uuid_count = node ? 1 : 0;
    one.all = false;
    return one;
}

static int work_on_many(struct app *app, const struct image *image, bool verify, struct error *err)
{
    size_t count = app->options.device_count + app->options.uuid_count;
    struct task *tasks = calloc(count, sizeof *tasks);
    int status = tasks ? app_boards(app, err) : error_memory(err);
    for (size_t i = 0; i < count && !status; i++) {
        struct options one = options_of(&app->options, i);
        status =
            task_init(&tasks[i], app, &one, one.device ? one.device : one.uuids[0], image, err);
        tasks[i].verify = verify;
    }
    if (!status)
        status = tasks_run(app, tasks, count, err);
    if (tasks)
        tasks_free(tasks, count);
    return status;
}

static int work(struct app *app, bool verify, struct error *err)
{
    struct image image = {0};
    int status = app_images(app, &image, err);
    if (!status && app->options.all)
        status = query_waiting_nodes(app, err);
    if (!status)
        status = app->options.device_count + app->options.uuid_count > 1
                     ? work_on_many(app, &image, verify, err)
                     : work_on_one(app, &image, verify, err);
    image_free(&image);
    return status;
}

int command_flash(struct app *app, struct error *err)
{
    return work(app, false, err);
}

int command_verify(struct app *app, struct error *err)
{
    app->options.no_verify = false;
    app->options.diff = DIFF_NO;
    return work(app, true, err);
}
