/* `mflash check IMAGE`: what is in this image, and would it be accepted for that board. */
#include "commands/cli.h"

#include <inttypes.h>

static void print_segments(const struct image *image)
{
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *segment = &image->segments[i];
        char bytes[32];
        report_bytes(bytes, sizeof bytes, segment->length);
        (void)printf("%-8s %s 0x%08" PRIx64 "..0x%08" PRIx64 "  %s\n", i ? "" : "segments",
                     memory_name(segment->memory), segment->address,
                     segment->address + segment->length - 1, bytes);
    }
}

static void print_klipper(const struct klipper_facts *klipper)
{
    (void)printf("klipper  %s for %s, over %s", klipper->version, klipper->mcu,
                 klipper_transport(klipper));
    if (klipper->serial_baud)
        (void)printf(" at %" PRIu32 " baud", klipper->serial_baud);
    if (klipper->can_bitrate)
        (void)printf(" at %" PRIu32 " bit/s", klipper->can_bitrate);
    (void)printf("\n");
}

static void print_image(const struct image *image)
{
    for (size_t i = 0; i < image->source_count; i++)
        (void)printf("%-8s %s  %s, %zu bytes\n", i ? "" : "file", image->sources[i].name,
                     image_format_name(image->sources[i].format), image->sources[i].bytes);
    print_segments(image);
    if (image->machine != MACHINE_UNKNOWN)
        (void)printf("machine  %s\n", machine_name(image->machine));
    if (image->has_entry)
        (void)printf("entry    0x%" PRIx64 "\n", image->entry);
    if (image->vectors.plausible)
        (void)printf("vectors  stack pointer 0x%08" PRIx32 ", reset 0x%08" PRIx32 "\n",
                     image->vectors.sp, image->vectors.reset);
    if (image->klipper.present)
        print_klipper(&image->klipper);
    if (image->katapult)
        (void)printf("katapult this is the Katapult bootloader itself\n");
    if (image->uf2_family)
        (void)printf("uf2      family 0x%08" PRIx32 "\n", image->uf2_family);
    if (image->usb_vid)
        (void)printf("dfu      for %04x:%04x\n", image->usb_vid, image->usb_pid);
}

static json_t *image_facts(const struct image *image)
{
    json_t *segments = json_array();
    for (size_t i = 0; i < image->count; i++)
        (void)json_array_append_new(segments,
                                    json_pack("{s:I, s:I, s:s}", "address",
                                              (json_int_t)image->segments[i].address, "length",
                                              (json_int_t)image->segments[i].length, "memory",
                                              memory_name(image->segments[i].memory)));
    json_t *facts = json_pack("{s:s, s:s, s:s, s:o}", "event", "image", "format",
                              image_format_name(image->format), "machine",
                              machine_name(image->machine), "segments", segments);
    if (image->klipper.present)
        (void)json_object_set_new(facts, "klipper",
                                  json_pack("{s:s, s:s, s:s, s:I, s:I}", "mcu", image->klipper.mcu,
                                            "version", image->klipper.version, "transport",
                                            klipper_transport(&image->klipper), "can_bitrate",
                                            (json_int_t)image->klipper.can_bitrate, "serial_baud",
                                            (json_int_t)image->klipper.serial_baud));
    return facts;
}

/* What of the image goes where, in one memory or several. */
static void print_regions(const struct regions *regions, const struct image *image)
{
    const char *label = "regions";
    for (size_t i = 0; i < regions->count; i++) {
        const struct region *region = &regions->list[i];
        const size_t bytes = regions_bytes(regions, region, image);
        char amount[32];
        if (!bytes)
            continue;
        report_bytes(amount, sizeof amount, bytes);
        (void)printf("%-8s %s 0x%08" PRIx64 "..0x%08" PRIx64 "  %s\n", label, region->name,
                     region->start, region->start + region->size - 1, amount);
        label = "";
    }
}

static json_t *regions_array(const struct regions *regions, const struct image *image)
{
    json_t *array = json_array();
    for (size_t i = 0; i < regions->count; i++) {
        const size_t bytes = regions_bytes(regions, &regions->list[i], image);
        if (bytes)
            (void)json_array_append_new(
                array, json_pack("{s:s, s:I, s:I}", "name", regions->list[i].name, "address",
                                 (json_int_t)regions->list[i].start, "bytes", (json_int_t)bytes));
    }
    return array;
}

/* The verdict for the board, by the same checks that flashing makes. */
static int judge(struct app *app, struct image *image, struct error *err)
{
    const struct board *board;
    struct plan_options options = app_plan_options(app);
    if (app_board(app, image, &board, err) || app_target(app, board, image, err))
        return error_status(err);
    const struct target *target = &app->engine.target;
    if (plan_check_image(board, target->loader, target->method, image, &options, err))
        return error_status(err);
    const struct regions regions = regions_of(board->chip, target->loader);
    if (app->options.json)
        report_object(&app->report,
                      json_pack("{s:s, s:b, s:s, s:s, s:o}", "event", "verdict", "ok", 1, "board",
                                board->name, "method", target->method->name, "regions",
                                regions_array(&regions, image)));
    else if (!app->options.quiet) {
        print_regions(&regions, image);
        (void)printf("verdict  accepted for %s over %s\n", board->name, target->method->name);
    }
    return OK;
}

int command_check(struct app *app, struct error *err)
{
    struct image image;
    const struct options *options = &app->options;
    if (app_images(app, &image, err))
        return error_status(err);
    if (options->json)
        report_object(&app->report, image_facts(&image));
    else if (!options->quiet)
        print_image(&image);
    bool has_board = options->board || options->chip || options->klipper || image.klipper.present;
    int status = has_board ? judge(app, &image, err) : OK;
    image_free(&image);
    return status;
}
