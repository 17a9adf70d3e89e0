/*
 * `mflash query`: who is on a CAN bus. One question that only nodes without an id answer; what
 * gives a node an id, and so may take it from its host, wants --ask.
 */
#include "commands/cli.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "can_nodes.h"
#include "klipper/printer_cfg.h"

/* One node of the answer: seen on the bus, or only named by the user or a printer.cfg. */
struct row {
    struct can_node_info node;
    const char *section; /* "mcu EBBCan", or NULL */
    bool seen;
};

struct query {
    struct app *app;
    const char *interface;
    struct can *can;
    struct can_nodes nodes;
    struct printer_nodes *known;
    struct row rows[CAN_NODES_MAX + PRINTER_NODES_MAX + OPTION_LIST_MAX];
    size_t count;
};

static const char *interface_of(const struct app *app)
{
    return app->options.interface ? app->options.interface : "can0";
}

/* ---- rows ---- */

static struct row *row_of(struct query *query, const uint8_t *uuid)
{
    for (size_t i = 0; i < query->count; i++)
        if (memcmp(query->rows[i].node.uuid, uuid, KLIPPER_UUID) == 0)
            return &query->rows[i];
    struct row *row = &query->rows[query->count++];
    *row = (struct row){.node = {.program = CAN_PROGRAM_UNKNOWN}};
    memcpy(row->node.uuid, uuid, KLIPPER_UUID);
    can_uuid_text(uuid, row->node.text);
    return row;
}

static void add_seen(struct query *query)
{
    for (size_t i = 0; i < query->nodes.count; i++) {
        struct row *row = row_of(query, query->nodes.list[i].uuid);
        row->node = query->nodes.list[i];
        row->seen = true;
    }
}

/* Nodes of another interface of the same printer are not looked for here. */
static int add_known(struct query *query, struct error *err)
{
    const char *config = query->app->options.config;
    if (config && printer_cfg_nodes(query->known, config, err))
        return error_status(err);
    for (size_t i = 0; i < query->known->count; i++)
        if (strcmp(query->known->list[i].interface, query->interface) == 0 ||
            query->app->options.interface)
            row_of(query, query->known->list[i].uuid)->section = query->known->list[i].section;
    for (size_t i = 0; i < query->app->options.uuid_count; i++) {
        uint8_t uuid[KLIPPER_UUID];
        const char *text = query->app->options.uuids[i];
        if (!can_uuid_parse(text, uuid))
            return error_set(err, ERR_USAGE, "--uuid %s: that is no UUID of a CAN node", text);
        (void)row_of(query, uuid);
    }
    return OK;
}

/* ---- asking ---- */

int query_alone(const char *interface, struct error *err)
{
    char holder[128];
    if (!can_holder(interface, holder, sizeof holder))
        return OK;
    error_set(err, ERR_BUSY, "--ask: %s is in use by %s", interface, holder);
    return error_hint(err, "asking takes a node's id away from its host and can stop a print; stop "
                           "the host first (`sudo systemctl stop klipper`)");
}

/* Those that did not answer the query: with --ask each is given an id and asked. */
static int ask_silent(struct query *query, struct error *err)
{
    if (!query->app->options.ask)
        return OK;
    if (query_alone(query->interface, err))
        return error_status(err);
    for (size_t i = 0; i < query->count && !*query->app->stop; i++) {
        struct row *row = &query->rows[i];
        struct can_node_info node;
        if (row->seen && row->node.asked)
            continue;
        int status = can_nodes_ask(query->can, row->node.uuid, &node, err);
        if (status && status != ERR_NO_ANSWER)
            return status;
        if (!status) {
            row->node = node;
            row->seen = true;
        }
    }
    error_clear(err);
    return *query->app->stop ? session_interrupted(err) : OK;
}

static int look(struct query *query, struct error *err)
{
    int status = can_nodes_query(query->can, &query->nodes, err);
    if (!status)
        status = can_nodes_ask_katapult(query->can, &query->nodes, err);
    if (status)
        return status;
    add_seen(query);
    if (add_known(query, err))
        return error_status(err);
    return ask_silent(query, err);
}

/* ---- telling ---- */

static void show_row(const struct query *query, const struct row *row)
{
    const struct can_node_info *node = &row->node;
    const struct app *app = query->app;
    const char *program = row->seen ? can_program_name(node->program) : "silent";
    if (app->options.quiet) {
        if (row->seen)
            (void)printf("%s\n", node->text);
        return;
    }
    if (!app->options.json) {
        (void)printf("%s  %-8s  %s%s%s%s%s%s\n", node->text, program, node->mcu,
                     node->version[0] ? "  " : "", node->version, row->section ? "  [" : "",
                     row->section ? row->section : "", row->section ? "]" : "");
        return;
    }
    char device[CAN_NAME_LONGEST + KLIPPER_UUID_TEXT];
    (void)snprintf(device, sizeof device, "%s:%s", query->interface, node->text);
    report_object(&query->app->report,
                  json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "uuid", node->text, "name",
                            row->section ? row->section : "", "device", device, "program", program,
                            "mcu", node->mcu, "version", node->version, "answers", row->seen));
}

static void explain(const struct query *query)
{
    struct can_status status;
    struct error ignored;
    char text[1024];
    bool known = can_status(&status, query->interface, &ignored) == OK;
    can_nodes_explain(&query->nodes, query->can, known ? &status : NULL, text, sizeof text);
    if (text[0])
        report_line(&query->app->report, "query", "%s", text);
    for (size_t i = 0; i < query->count; i++)
        if (!query->rows[i].seen && !query->app->options.ask) {
            report_line(&query->app->report, "query",
                        "silent nodes have an id of a host, or no power: --ask asks them by name");
            return;
        }
}

static int open_bus(struct app *app, struct can **can, struct error *err)
{
    const char *interface = interface_of(app);
    if (app->options.bring_up && can_bring_up(interface, app->options.bring_up, err))
        return error_status(err);
    return can_open(can, interface, app->trace, err);
}

int command_query(struct app *app, struct error *err)
{
    if (app_words(app, 0, err))
        return error_status(err);
    struct query *query = calloc(1, sizeof *query);
    struct printer_nodes *known = calloc(1, sizeof *known);
    int status = query && known ? OK : error_memory(err);
    if (!status) {
        query->app = app;
        query->interface = interface_of(app);
        query->known = known;
        status = open_bus(app, &query->can, err);
    }
    if (!status)
        status = look(query, err);
    for (size_t i = 0; !status && i < query->count; i++)
        show_row(query, &query->rows[i]);
    if (!status)
        explain(query);
    if (query)
        can_close(query->can);
    free(query);
    free(known);
    return status;
}

/* ---- --all ---- */

static int none_waits(const struct app *app, const struct can_nodes *nodes, const struct can *can,
                      struct error *err)
{
    char text[ERROR_HINT_MAX];
    can_nodes_explain(nodes, can, NULL, text, sizeof text);
    error_set(err, ERR_NO_DEVICE, "--all: no node on %s waits in its bootloader",
              interface_of(app));
    return error_hint(err, "%s",
                      text[0] ? text
                              : "name running nodes with --uuid: they are asked to "
                                "enter it");
}

/* A Katapult that an interrupted run of another tool left with an id answers no query. Nobody who
 * flashes now is to lose his: that one is heard, or has the bus. */
static int find_waiting(struct can *can, const char *interface, struct can_nodes *nodes,
                        struct error *err)
{
    char holder[128];
    int status = can_nodes_query(can, nodes, err);
    if (status || nodes->others || can_holder(interface, holder, sizeof holder))
        return status;
    if (can_admin_clear(can, err))
        return error_status(err);
    return can_nodes_query(can, nodes, err);
}

int query_waiting_nodes(struct app *app, struct error *err)
{
    struct can_nodes *nodes = calloc(1, sizeof *nodes);
    struct can *can = NULL;
    struct options *options = &app->options;
    int status = nodes ? open_bus(app, &can, err) : error_memory(err);
    if (!status)
        status = find_waiting(can, interface_of(app), nodes, err);
    for (size_t i = 0; !status && i < nodes->count; i++) {
        if (nodes->list[i].program != CAN_PROGRAM_KATAPULT)
            continue;
        if (options->uuid_count == OPTION_LIST_MAX)
            break;
        char *text = app->waiting[options->uuid_count];
        (void)snprintf(text, KLIPPER_UUID_TEXT, "%s", nodes->list[i].text);
        options->uuids[options->uuid_count++] = text;
    }
    if (!status && !options->uuid_count)
        status = none_waits(app, nodes, can, err);
    can_close(can);
    free(nodes);
    return status;
}
