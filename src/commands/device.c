/* From options to a board's device: see cli.h. */
#include "commands/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* "tcp:HOST:PORT", "usbip:HOST…": the host, without brackets. */
static void host_of(const char *device, char *host, size_t size)
{
    const char *at = strchr(device, ':') + 1;
    bool bracket = *at == '[';
    at += bracket;
    (void)snprintf(host, size, "%.*s", (int)strcspn(at, bracket ? "]" : ":/"), at);
}

/* Whoever sits between could be the device, or change what it gets. */
static void warn_of_host(struct app *app, const char *device)
{
    char host[128], text[192];
    if (!device || (strncmp(device, "tcp:", 4) != 0 && !usbip_is_name(device)))
        return;
    host_of(device, host, sizeof host);
    if (strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 || strncmp(host, "127.", 4) == 0)
        return;
    (void)snprintf(text, sizeof text, "%s is another host, and the way to it is not authenticated",
                   host);
    report_note(&app->report, text);
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
        check_link_options(app, app->engine.target.method, err) || app_add_region(app, err))
        return error_status(err);
    if (app->options.dry_run || strcmp(app->options.command, "check") == 0)
        return OK;
    request.offline = false;
    warn_of_host(app, request.device);
    int status = select_waiting(app, &request, err);
    if (!status && app->options.bring_up && target_has_bus(&app->engine.target))
        status = can_bring_up(app->engine.target.interface, app->options.bring_up, err);
    app->report.device = app->engine.target.device;
    return status ? status : app_add_region(app, err);
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
