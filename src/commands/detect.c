/* `mflash detect` and `mflash query`: passive, nothing is opened and nothing is asked. */
#include "commands/cli.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Boards whose ids this port carries: names, and whether it is one of their bootloaders. Ids of
 * USB-serial adapters are shared by many boards; then no name helps. */
static size_t guess_boards(const struct board_db *db, const struct serial_port *port, char *names,
                           size_t size, bool *loader)
{
    size_t count = 0;
    names[0] = '\0';
    for (size_t i = 0; i < board_count(db); i++) {
        const struct board *board = board_at(db, i);
        bool hit = false;
        for (size_t k = 0; k < board->usb_count; k++)
            hit = hit || (board->usb[k].vid == port->vid && board->usb[k].pid == port->pid);
        for (size_t n = 0; n < board->loader_count; n++) {
            for (size_t k = 0; k < board->loaders[n].usb_count; k++) {
                const struct usb_id *id = &board->loaders[n].usb[k];
                if (id->vid == port->vid && id->pid == port->pid)
                    hit = *loader = true;
            }
        }
        if (hit && count++ < 3)
            text_append(names, size, "%s%s", *names ? " " : "", board->name);
    }
    if (count > 3)
        text_append(names, size, " and %zu more", count - 3);
    return count;
}

static void show_port(struct app *app, const struct serial_port *port)
{
    char names[256];
    bool loader = false;
    const char *device = port->by_id[0] ? port->by_id : port->path;
    size_t count =
        port->usb ? guess_boards(app->db, port, names, sizeof names, &loader) : (size_t)0;
    if (!count)
        names[0] = '\0';
    if (app->options.quiet) {
        (void)printf("%s\n", device);
    } else if (app->options.json) {
        json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "device", device, "path",
                                   port->path, "kind", "serial", "product", port->product, "boards",
                                   names, "bootloader", loader);
        if (port->usb) {
            (void)json_object_set_new(object, "usb",
                                      json_sprintf("%04x:%04x", port->vid, port->pid));
            (void)json_object_set_new(object, "bus_path", json_string(port->bus_path));
            (void)json_object_set_new(object, "serial", json_string(port->serial));
        }
        if (port->holder[0])
            (void)json_object_set_new(object, "holder", json_string(port->holder));
        report_object(&app->report, object);
    } else {
        (void)printf("%-14s ", port->path);
        if (port->usb)
            (void)printf("%04x:%04x  %s  %s", port->vid, port->pid, port->bus_path, port->product);
        else
            (void)printf("%s", port->driver);
        if (count)
            (void)printf("  %s%s", names, loader ? " (in its bootloader)" : "");
        if (port->holder[0])
            (void)printf("  held by %s", port->holder);
        (void)printf("\n");
        if (port->by_id[0])
            (void)printf("               %s\n", port->by_id);
    }
}

int command_detect(struct app *app, struct error *err)
{
    struct serial_port *ports = NULL;
    size_t count = 0;
    const char *sysfs = getenv("MFLASH_SYSFS");
    if (app_words(app, 0, err) || app_boards(app, err) ||
        serial_ports(&ports, &count, sysfs ? sysfs : "/sys", err))
        return error_status(err);
    for (size_t i = 0; i < count; i++)
        show_port(app, &ports[i]);
    free(ports);
    if (!count && !app->options.quiet && !app->options.json)
        report_line(&app->report, "detect",
                    "no serial port is here; `mflash doctor` looks for what gets in the way");
    return OK;
}

int command_query(struct app *app, struct error *err)
{
    (void)app;
    for (size_t i = 0; methods[i]; i++)
        if (methods[i]->link == LINK_CAN)
            return error_set(err, ERR_FAILED, "query: %s has no discovery", methods[i]->name);
    error_set(err, ERR_NOT_POSSIBLE,
              "query: not possible, because no method of this build speaks CAN");
    return error_hint(err, "`mflash methods` lists what it speaks");
}
