/*
 * vboard: finds the board in mflash's own database, finds the model that can be it, and becomes the
 * executable that has the model. Exit status as mflash's: 2 usage, 4 no such virtual board.
 */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"

struct vboard {
    struct launch launch;
    char executables[2][PATH_MAX + 16];
    struct board_db *db;
    struct models models;
};

static int find_executables(struct vboard *vboard, char *folder, struct error *err)
{
    ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX - 1);

    if (length < 0)
        return error_set(err, ERR_FAILED, "/proc/self/exe cannot be read");
    folder[length] = '\0';
    dirname(folder);
    snprintf(vboard->executables[0], sizeof vboard->executables[0], "%s/vboard-avr", folder);
    snprintf(vboard->executables[1], sizeof vboard->executables[1], "%s/vboard-arm", folder);
    return OK;
}

static void list_boards(const struct vboard *vboard)
{
    for (size_t i = 0; i < board_count(vboard->db); i++) {
        const struct board *board = board_at(vboard->db, i);
        for (size_t n = 0; board->chip && n < board->loader_count; n++) {
            const struct loader *loader = &board->loaders[n];
            const struct model *model =
                models_find(&vboard->models, board, loader, false, NULL, NULL);
            if (model)
                printf("%-26s %-10s %-18s %s\n", board->name, loader->method, model->name,
                       model->proof);
        }
    }
}

/* --probe KIND names a model of programmer. */
static const char *wanted_model(const struct launch *launch)
{
    if (launch->model || !launch->probe)
        return launch->model;
    return strcmp(launch->probe, "avrisp2") == 0 ? "stk500-programmer" : launch->probe;
}

/* --serve says what the host will speak to; NULL: whatever the model has. */
static const char *wanted_link(const struct launch *launch)
{
    if (!launch->serve)
        return launch->bus ? "can" : NULL;
    if (strncmp(launch->serve, "can:", 4) == 0)
        return "can";
    return strncmp(launch->serve, "usbip:", 6) == 0 ? "usb" : "serial";
}

static const char *missing_link(const struct launch *launch)
{
    const char *link = wanted_link(launch);

    if (!link)
        return "";
    if (strcmp(link, "serial") == 0)
        return " on a serial port";
    return strcmp(link, "can") == 0 ? " on a CAN bus" : " on USB";
}

static const struct model *choose_model(const struct vboard *vboard, const struct board *board,
                                        const struct loader **loader)
{
    const struct launch *launch = &vboard->launch;
    bool programmer = launch->fresh || launch->probe;

    for (size_t i = 0; i < board->loader_count; i++) {
        *loader = &board->loaders[i];
        if (launch->method && strcmp(launch->method, (*loader)->method) != 0)
            continue;
        const struct model *model = models_find(&vboard->models, board, *loader, launch->scripted,
                                                wanted_model(launch), wanted_link(launch));
        if (model && (!programmer || model->fresh))
            return model;
    }
    return NULL;
}

static int report_no_model(const struct vboard *vboard, const struct board *board,
                           struct error *err)
{
    const struct launch *launch = &vboard->launch;

    if (launch->method && !board_loader(board, launch->method))
        return error_set(err, ERR_USAGE, "%s has no loader `%s`", board->name, launch->method);
    error_set(err, ERR_NO_DEVICE, "%s: there is no virtual board of it%s%s%s%s", board->name,
              launch->method ? " over " : "", launch->method ? launch->method : "",
              launch->fresh || launch->probe ? " behind such a programmer" : "",
              missing_link(launch));
    return error_hint(err, "`vboard list` shows the boards and methods there are");
}

static int become_board(struct vboard *vboard, struct error *err)
{
    const struct board *board;
    int result = board_find(vboard->db, vboard->launch.board, &board, err);

    if (result != OK)
        return result;
    const struct loader *loader = NULL;
    const struct model *model = board->chip ? choose_model(vboard, board, &loader) : NULL;
    if (!model)
        return report_no_model(vboard, board, err);
    return launch_exec(&vboard->launch, board, loader, model, err);
}

static int start(struct vboard *vboard, struct error *err)
{
    char folder[PATH_MAX];
    int result;

    if ((result = find_executables(vboard, folder, err)) != OK ||
        (result = board_db_open(&vboard->db, vboard->launch.boards_file, err)) != OK ||
        (result = models_ask(&vboard->models, vboard->executables[0], err)) != OK ||
        (result = models_ask(&vboard->models, vboard->executables[1], err)) != OK)
        return result;
    if (!vboard->launch.list)
        return become_board(vboard, err);
    if ((result = board_db_all(vboard->db, err)) == OK)
        list_boards(vboard);
    return result;
}

int main(int argc, char **argv)
{
    struct vboard *vboard = calloc(1, sizeof *vboard);
    struct error err = {0};

    if (!vboard)
        return 1;
    int status = launch_parse(&vboard->launch, argc, argv);
    if (status == 0 && start(vboard, &err) != OK) {
        fprintf(stderr, "vboard: %s\n", err.message);
        if (err.hint[0])
            fprintf(stderr, "        %s\n", err.hint);
        status = error_exit_status(err.code);
    }
    if (vboard->db)
        board_db_free(vboard->db);
    free(vboard);
    return status < 0 ? 0 : status;
}
