/* `mflash detect`: passive, nothing is opened and nothing is asked. */
#include "commands/cli.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "presence.h"

/* What the boards of the database say of an id. Ids of USB-serial adapters are shared by many
 * boards; then no name helps. */
struct guess {
    char names[256];
    size_t count;
    const char *loader; /* the method whose bootloader has this id; NULL: an application's */
};

static bool carries(const struct board *board, const struct presence *presence, struct guess *guess)
{
    bool hit = presence_has_id(presence, board->usb, board->usb_count);
    for (size_t n = 0; n < board->loader_count; n++) {
        const struct loader *loader = &board->loaders[n];
        if (!presence_has_id(presence, loader->usb, loader->usb_count))
            continue;
        guess->loader = loader->method;
        hit = true;
    }
    return hit;
}

static struct guess guess_boards(const struct board_db *db, const struct presence *presence)
{
    struct guess guess = {0};
    for (size_t i = 0; i < board_count(db); i++) {
        const struct board *board = board_at(db, i);
        if (carries(board, presence, &guess) && guess.count++ < 3)
            text_append(guess.names, sizeof guess.names, "%s%s", *guess.names ? " " : "",
                        board->name);
    }
    if (guess.count > 3)
        text_append(guess.names, sizeof guess.names, " and %zu more", guess.count - 3);
    return guess;
}

static const char *device_of(const struct presence *presence)
{
    return presence->tty[0] ? presence->tty : presence->device;
}

static json_t *presence_object(const struct presence *presence, const struct guess *guess)
{
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "device", device_of(presence), "path",
                  presence->path, "kind", presence->tty[0] ? "serial" : "usb", "product",
                  presence->product, "boards", guess->names, "bootloader", guess->loader != NULL);
    if (guess->loader)
        (void)json_object_set_new(object, "method", json_string(guess->loader));
    if (presence->usb) {
        (void)json_object_set_new(object, "usb",
                                  json_sprintf("%04x:%04x", presence->vid, presence->pid));
        (void)json_object_set_new(object, "bus_path", json_string(presence->place));
        (void)json_object_set_new(object, "serial", json_string(presence->serial));
    }
    if (presence->holder[0])
        (void)json_object_set_new(object, "holder", json_string(presence->holder));
    return object;
}

static void print_presence(const struct presence *presence, const struct guess *guess)
{
    (void)printf("%-14s ", presence->path[0] ? presence->path : presence->device);
    if (presence->usb)
        (void)printf("%04x:%04x  %s  %s", presence->vid, presence->pid, presence->place,
                     presence->product);
    if (guess->count)
        (void)printf("  %s", guess->names);
    if (guess->loader)
        (void)printf(" (in its bootloader: %s)", guess->loader);
    if (presence->holder[0])
        (void)printf("  held by %s", presence->holder);
    (void)printf("\n");
    if (presence->path[0] && strcmp(presence->tty, presence->path) != 0)
        (void)printf("               %s\n", presence->tty);
}

/* USB devices that are no serial ports count if some board has their id. */
static bool show(struct app *app, const struct presence *presence)
{
    const struct guess guess = guess_boards(app->db, presence);
    if (!presence->tty[0] && !guess.count && !presence->dfu_runtime && !app->options.verbose)
        return false;
    if (app->options.quiet)
        (void)printf("%s\n", device_of(presence));
    else if (app->options.json)
        report_object(&app->report, presence_object(presence, &guess));
    else
        print_presence(presence, &guess);
    return true;
}

/* -d usbip:HOST looks at that host's devices. */
int command_detect(struct app *app, struct error *err)
{
    struct presence *list = NULL;
    size_t count = 0, shown = 0;
    const char *device = app->options.device;
    const struct presence_scope scope = {
        .sysfs = getenv("MFLASH_SYSFS"),
        .server = device && usbip_is_name(device) ? device : NULL,
        .holders = true,
        .texts = true,
    };
    if (app_words(app, 0, err) || app_boards(app, err) || board_db_all(app->db, err) ||
        presence_list(&list, &count, &scope, err))
        return error_status(err);
    for (size_t i = 0; i < count; i++)
        shown += show(app, &list[i]);
    free(list);
    if (!shown && !app->options.quiet && !app->options.json)
        report_line(&app->report, "detect",
                    "nothing that could be flashed is here; `mflash doctor` looks for what gets in "
                    "the way");
    return OK;
}
