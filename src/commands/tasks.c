/* See tasks.h. */
#include "commands/tasks.h"

#include <stdlib.h>
#include <string.h>

int task_init(struct task *task, const struct app *app, const struct options *options,
              const char *name, const struct image *image, struct error *err)
{
    *task = (struct task){.app = *app};
    task->app.options = *options;
    task->app.engine.baud = options->baud;
    (void)snprintf(task->name, sizeof task->name, "%s", name);
    return image ? image_copy(&task->image, image, err) : OK;
}

void tasks_free(struct task *tasks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        plan_free(&tasks[i].plan);
        image_free(&tasks[i].image);
    }
    free(tasks);
}

/* ---- all are checked before the first is touched ---- */

static void join_screen(struct task *task, const struct app *app, struct screen *screen, size_t row)
{
    task->app.report = report_for_one(&app->report, screen, row, task->name);
    task->app.report.device =
        task->app.engine.target.device[0] ? task->app.engine.target.device : task->name;
    task->app.engine.events = report_events(&task->app.report);
}

static bool same_device(const struct task *a, const struct task *b)
{
    const struct target *one = &a->app.engine.target, *other = &b->app.engine.target;
    return one->device[0] && strcmp(one->device, other->device) == 0;
}

static int check_distinct(const struct task *tasks, size_t n, struct error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!tasks[i].status && same_device(&tasks[i], &tasks[n]))
            return error_set(err, ERR_USAGE, "%s and %s are both %s", tasks[i].name, tasks[n].name,
                             tasks[n].app.engine.target.device);
    return OK;
}

static size_t check_all(struct app *app, struct task *tasks, size_t count, struct screen *screen)
{
    size_t failed = 0;
    for (size_t i = 0; i < count && !*app->stop; i++) {
        struct task *task = &tasks[i];
        join_screen(task, app, screen, i);
        task->status = app_plan(&task->app, &task->image, &task->plan, task->verify, &task->err);
        if (!task->status)
            task->status = check_distinct(tasks, i, &task->err);
        join_screen(task, app, screen, i);
        task->last = task->image.klipper.can_bridge;
        if (!task->status)
            continue;
        failed++;
        error_context(&task->err, "%s", task->name);
        report_error(&task->app.report, &task->err, NULL);
    }
    return failed;
}

/* ---- all at once ---- */

static void *work(void *argument)
{
    struct task *task = argument;
    task->status = app_execute(&task->app, &task->plan, &task->err);
    if (!task->status)
        return NULL;
    error_context(&task->err, "%s", task->name);
    report_error(&task->app.report, &task->err, &task->app.engine.state);
    return NULL;
}

static void run_wave(struct task *tasks, size_t count, bool last)
{
    for (size_t i = 0; i < count; i++) {
        struct task *task = &tasks[i];
        if (task->last != last)
            continue;
        task->started = pthread_create(&task->thread, NULL, work, task) == 0;
        if (!task->started)
            (void)work(task); /* no more threads: one after the other then */
    }
    for (size_t i = 0; i < count; i++)
        if (tasks[i].last == last && tasks[i].started)
            (void)pthread_join(tasks[i].thread, NULL);
}

/* Boards of one kind get one head, others one each. */
static bool same_kind(const struct task *tasks, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (tasks[i].app.engine.target.board != tasks[0].app.engine.target.board ||
            tasks[i].app.engine.target.method != tasks[0].app.engine.target.method ||
            strcmp(tasks[i].image.sources[0].name, tasks[0].image.sources[0].name) != 0)
            return false;
    return true;
}

static void tell_heads(struct app *app, struct task *tasks, size_t count)
{
    bool same = same_kind(tasks, count);
    for (size_t i = 0; i < count; i++) {
        struct task *task = &tasks[i];
        struct report *head = same ? &app->report : &task->app.report;
        if (!same || i == 0) {
            report_board(head, &task->app.engine.target, task->app.options.board);
            report_image(head, &task->image);
        }
        report_plan(&task->app.report, &task->plan, task->app.engine.target.device,
                    app->options.dry_run);
    }
}

static void summarize(struct app *app, const struct task *tasks, size_t count, size_t failed)
{
    if (app->options.json) {
        report_object(&app->report,
                      json_pack("{s:s, s:I, s:I}", "event", "summary", "ok",
                                (json_int_t)(count - failed), "failed", (json_int_t)failed));
        return;
    }
    for (size_t i = 0; i < count; i++)
        report_line(&app->report, "summary", "%s  %s", tasks[i].name,
                    tasks[i].status ? "failed" : "done");
}

/* The code that all failures share, else ERR_FAILED. */
static int shared_status(const struct task *tasks, size_t count)
{
    int shared = OK;
    for (size_t i = 0; i < count; i++) {
        int status = tasks[i].status;
        if (status && shared && status != shared)
            return ERR_FAILED;
        shared = status ? status : shared;
    }
    return shared;
}

static size_t failures(const struct task *tasks, size_t count)
{
    size_t failed = 0;
    for (size_t i = 0; i < count; i++)
        failed += tasks[i].status != OK;
    return failed;
}

static int run_on(struct app *app, struct task *tasks, size_t count, struct screen *screen,
                  struct error *err)
{
    size_t refused = check_all(app, tasks, count, screen);
    if (*app->stop)
        return session_interrupted(err);
    if (refused)
        return error_set(err, (enum error_code)shared_status(tasks, count),
                         "%zu of %zu boards are refused; none was touched", refused, count);
    tell_heads(app, tasks, count);
    if (app->options.dry_run)
        return OK;
    run_wave(tasks, count, false);
    run_wave(tasks, count, true);
    size_t failed = failures(tasks, count);
    summarize(app, tasks, count, failed);
    if (!failed)
        return OK;
    int shared = shared_status(tasks, count);
    return error_set(err, (enum error_code)shared,
                     "%zu of %zu boards failed; the same command again repairs them", failed,
                     count);
}

int tasks_run(struct app *app, struct task *tasks, size_t count, struct error *err)
{
    struct screen *screen = screen_new(count, app->report.terminal);
    if (!screen)
        return error_memory(err);
    int status = run_on(app, tasks, count, screen, err);
    screen_free(screen);
    return status;
}
