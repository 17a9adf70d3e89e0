/* `mflash IMAGE...` and `mflash verify IMAGE...`. */
#include "commands/cli.h"

#include <stdlib.h>

/* What both share: image, board, loader and a plan; the image checks come before any look at the
 * device. */
static int prepare(struct app *app, struct image *image, struct plan *plan, struct error *err)
{
    const struct board *board;
    struct plan_options options = app_plan_options(app);
    if (app_images(app, image, err) || app_board(app, image, &board, err))
        return error_status(err);
    /* First the loader alone, so that a check that refuses has not even looked for a device. */
    bool dry_run = app->options.dry_run;
    app->options.dry_run = true;
    int status = app_target(app, board, image, err);
    app->options.dry_run = dry_run;
    struct target *target = &app->engine.target;
    if (!status)
        status = plan_flash(plan, board, target->loader, target->method, image, &options, err);
    if (status)
        return status;
    const struct method *planned = target->method;
    if (!dry_run && app_target(app, board, image, err))
        return error_status(err);
    if (target->method != planned) {
        /* Another of the board's bootloaders is the one that is present: its rules count. */
        plan_free(plan);
        return plan_flash(plan, board, target->loader, target->method, image, &options, err);
    }
    return OK;
}

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

static int execute(struct app *app, struct plan *plan, struct error *err)
{
    struct engine *engine = &app->engine;
    report_board(&app->report, &engine->target, app->options.board);
    report_image(&app->report, plan->image);
    report_plan(&app->report, plan, engine->target.device, app->options.dry_run);
    if (app->options.dry_run)
        return OK;
    engine->klipper_baud = plan->image->klipper.serial_baud;
    int status = engine_execute(engine, plan, err);
    engine_close(engine);
    if (status)
        return status;
    if (plan->unverifiable)
        report_line(&app->report, "verify", "not possible over %s, because %s", plan->method->name,
                    method_refusal(plan->method, OP_VERIFY));
    report_result(&app->report, engine);
    return OK;
}

int command_flash(struct app *app, struct error *err)
{
    struct image image = {0};
    struct plan plan = {0};
    int status = prepare(app, &image, &plan, err);
    if (!status)
        status = execute(app, &plan, err);
    plan_free(&plan);
    image_free(&image);
    return status;
}

int command_verify(struct app *app, struct error *err)
{
    struct image image = {0};
    struct plan plan = {0};
    app->options.no_verify = false;
    app->options.diff = DIFF_NO;
    int status = prepare(app, &image, &plan, err);
    if (!status)
        status = app_allows(&app->engine.target, OP_VERIFY, err);
    if (!status) {
        keep_only(&plan, STEP_VERIFY);
        status = execute(app, &plan, err);
    }
    plan_free(&plan);
    image_free(&image);
    return status;
}
