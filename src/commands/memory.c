/* `mflash read` and `mflash erase`. */
#include "commands/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int save(struct app *app, const struct region *region, const struct span *range,
                const uint8_t *bytes, struct error *err)
{
    struct image image = {0};
    if (image_add(&image, region->memory, range->start, bytes, (size_t)range->size, err))
        return error_status(err);
    /* A file of one memory holds that memory from its own address on, whatever its name. */
    int status = image_save(&image, app->options.output, region->erased, err);
    image_free(&image);
    return status;
}

static int read_range(struct app *app, const struct region *region, const struct span *range,
                      struct error *err)
{
    struct engine *engine = &app->engine;
    uint8_t *bytes = malloc((size_t)range->size);
    if (!bytes)
        return error_memory(err);
    int status = engine_read(engine, region, range->start, bytes, (size_t)range->size, err);
    engine->result.bytes = (size_t)range->size;
    engine->result.verified = engine->result.proven = TRI_NULL;
    /* A back-up should not leave the board in its bootloader, unless there is no program to start.
     */
    if (!status && !app->options.no_run && !method_refusal(engine->target.method, OP_RUN)) {
        int started = engine->target.method->run(&engine->session, err);
        status = started == ERR_REFUSED ? OK : started;
    }
    engine_close(engine);
    if (!status)
        status = save(app, region, range, bytes, err);
    free(bytes);
    if (!status)
        report_result(&app->report, engine);
    return status;
}

int command_read(struct app *app, struct error *err)
{
    struct region region;
    struct span range;
    if (app_words(app, 0, err))
        return error_status(err);
    if (!app->options.output) {
        error_set(err, ERR_USAGE, "read: no file is named");
        return error_hint(err,
                          "mflash read -o FILE; .hex gives Intel HEX, anything else raw bytes");
    }
    if (app_device(app, OP_READ, err))
        return error_status(err);
    const struct target *target = &app->engine.target;
    if (app_region(app, &region, err) || app_range(app, &region, &range, err))
        return error_status(err);
    if (region.memory == MEM_EEPROM && app_allows(target, OP_EEPROM, err))
        return error_status(err);
    return read_range(app, &region, &range, err);
}

/* ---- erase ---- */

static int erase_chip(struct app *app, struct plan *plan, struct error *err)
{
    struct error refused;
    if (app_allows(&app->engine.target, OP_ERASE_CHIP, err))
        return error_status(err);
    plan->steps[1].whole_chip = true;
    if (app_confirm(app, "this erases the whole chip, its bootloader included; go on?", &refused)) {
        *err = refused;
        return error_status(err);
    }
    return engine_execute(&app->engine, plan, err);
}

/* Where writing erases, erasing is writing the erased value. */
static int erase_by_writing(struct app *app, struct plan *plan, const struct span *range,
                            const struct region *region, struct error *err)
{
    struct image blank = {0};
    uint8_t *bytes = malloc((size_t)range->size);
    if (!bytes)
        return error_memory(err);
    memset(bytes, region->erased, (size_t)range->size);
    int status = image_add(&blank, region->memory, range->start, bytes, (size_t)range->size, err);
    free(bytes);
    plan->image = &blank;
    plan->steps[1].kind = STEP_WRITE;
    plan->steps[1].memory = region->memory;
    if (!status)
        status = engine_execute(&app->engine, plan, err);
    plan->image = NULL;
    image_free(&blank);
    return status;
}

/* --range, else all that an application may use. Sectors are erased whole. */
static int erase_extent(const struct app *app, const struct region *region, struct span *range,
                        struct error *err)
{
    const struct target *target = &app->engine.target;
    const struct loader *loader = target->loader;
    const struct regions regions = regions_of(target->board->chip, loader);
    /* Its bounds are those of programs, and hold where these are. */
    bool home = regions_home(&regions, loader)->start == region->start;
    if (app_range(app, region, range, err))
        return error_status(err);
    uint64_t end = home && loader->end ? loader->end : region->start + region->size;
    if (!app->options.range) {
        range->start = home && loader->has_start ? loader->start : region->start;
        range->size = end - range->start;
    }
    if (range->start + range->size > end && !(app->options.forced & 1U << CHECK_LOADER_OVERLAP)) {
        error_refuse(err, "loader-overlap",
                     "--range %s reaches into the bootloader, which begins at 0x%" PRIx64,
                     app->options.range, end);
        return error_hint(err, "`--force loader-overlap` overrides this check");
    }
    struct span low = region_sector(region, range->start);
    struct span top = region_sector(region, range->start + range->size - 1);
    if (low.start != range->start || top.start + top.size != range->start + range->size) {
        error_set(err, ERR_USAGE,
                  "--range %s is not made of whole sectors: they are 0x%" PRIx64 "..0x%" PRIx64
                  " here",
                  app->options.range, low.start, top.start + top.size - 1);
        return error_hint(err, "what shares a sector with the range would be lost");
    }
    return OK;
}

static int erase_range(struct app *app, struct plan *plan, struct error *err)
{
    struct region region;
    struct span range;
    const struct target *target = &app->engine.target;
    if (app_region(app, &region, err) || erase_extent(app, &region, &range, err) ||
        app_allows(target, OP_ERASE_RANGE, err))
        return error_status(err);
    if (!target->method->erase)
        return erase_by_writing(app, plan, &range, &region, err);
    plan->steps[1].ranges = &range;
    plan->steps[1].range_count = 1;
    return engine_execute(&app->engine, plan, err);
}

int command_erase(struct app *app, struct error *err)
{
    enum operation op = app->options.chip_erase ? OP_ERASE_CHIP : OP_ERASE_RANGE;
    if (app_words(app, 0, err))
        return error_status(err);
    if (app->options.chip_erase && app->options.range)
        return error_set(err, ERR_USAGE, "--chip-erase and --range exclude each other");
    if (app_device(app, op, err))
        return error_status(err);
    const struct target *target = &app->engine.target;
    struct step steps[2] = {{.kind = STEP_ENTER}, {.kind = STEP_ERASE}};
    struct plan plan = {
        .board = target->board,
        .loader = target->loader,
        .method = target->method,
        .chip = target->board->chip,
        .regions = regions_of(target->board->chip, target->loader),
        .diff = DIFF_NO,
        .steps = steps,
        .count = 2,
    };
    if (app->options.dry_run) {
        report_plan(&app->report, &plan, target->device, true);
        return OK;
    }
    int status =
        app->options.chip_erase ? erase_chip(app, &plan, err) : erase_range(app, &plan, err);
    engine_close(&app->engine);
    if (!status)
        report_result(&app->report, &app->engine);
    return status;
}
