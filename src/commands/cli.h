/* What the commands share: the table of commands, and the way from options to a device. */
#ifndef MFLASH_CLI_H
#define MFLASH_CLI_H

#include <signal.h>
#include <stdio.h>

#include "commands/options.h"
#include "commands/report.h"
#include "klipper/can.h"
#include "mflash.h"

struct app {
    struct options options;
    struct board_db *db;
    struct report report;
    struct trace *trace;
    struct engine engine;
    struct loader loader; /* the target's, with the region of the command line */
    struct region loader_regions[LOADER_REGIONS_MAX];
    char region_name[32];
    const volatile sig_atomic_t *stop;
    char waiting[OPTION_LIST_MAX][KLIPPER_UUID_TEXT]; /* --all: the nodes that were found */
};

struct command {
    const char *name;
    int (*run)(struct app *app, struct error *err);
    bool many; /* takes several --device or --uuid */
};

const struct command *command_find(const char *name);

int command_flash(struct app *app, struct error *err);
int command_verify(struct app *app, struct error *err);
int command_check(struct app *app, struct error *err);
int command_boards(struct app *app, struct error *err);
int command_methods(struct app *app, struct error *err);
int command_detect(struct app *app, struct error *err);
int command_query(struct app *app, struct error *err);
int command_read(struct app *app, struct error *err);
int command_erase(struct app *app, struct error *err);
int command_info(struct app *app, struct error *err);
int command_bootloader(struct app *app, struct error *err);
int command_unlock(struct app *app, struct error *err);
int command_fuses(struct app *app, struct error *err);
int command_reset(struct app *app, struct error *err);
int command_enter(struct app *app, struct error *err);
int command_run(struct app *app, struct error *err);
int command_printer(struct app *app, struct error *err);
int command_status(struct app *app, struct error *err);
int command_doctor(struct app *app, struct error *err);

/* The database, read on first use: the shipped boards.ini and the files that override it. */
int app_boards(struct app *app, struct error *err);

/* The board the user means: --board; else --chip or the MCU of --klipper or of the image's Klipper
 * dictionary, as `generic-CHIP`; else ERR_USAGE that suggests boards. `image` may be NULL. */
int app_board(struct app *app, const struct image *image, const struct board **board,
              struct error *err);

/* Loads and merges the images named on the command line, or --klipper's. ERR_USAGE if none is. */
int app_images(struct app *app, struct image *image, struct error *err);

/* Chooses loader and device into app->engine.target (--wait waits for it). `image` helps to choose
 * the loader by its start; may be NULL. */
int app_target(struct app *app, const struct board *board, const struct image *image,
               struct error *err);

/*
 * The way from a loaded image to a plan: board, loader and all checks of the image come before any
 * look at the device; then the device, whose bootloader may be another, with other rules. `verify`:
 * compares only (ERR_NOT_POSSIBLE where the protocol cannot).
 */
int app_plan(struct app *app, struct image *image, struct plan *plan, bool verify,
             struct error *err);

/* Executes it and tells the result; the link is closed again, whatever happens. */
int app_execute(struct app *app, struct plan *plan, struct error *err);

/* ERR_BUSY if somebody has the CAN interface: --ask takes a node's id away from its host. */
int query_alone(const char *interface, struct error *err);

/* Board and device of a command without an image, refusing what the method cannot do. */
int app_device(struct app *app, enum operation op, struct error *err);

/* The same, connected. */
int app_connect(struct app *app, enum operation op, struct error *err);

/* ERR_NOT_POSSIBLE "erase: not possible over METHOD, because …", or OK. */
int app_allows(const struct target *target, enum operation op, struct error *err);

/* ERR_USAGE if more words than `most` are on the command line. */
int app_words(const struct app *app, size_t most, struct error *err);

/* --range A:LEN, checked against the region; the whole region if it is not given. */
int app_range(const struct app *app, const struct region *region, struct span *range,
              struct error *err);

/* The region --region names, of those that its target has; else the main flash. */
int app_region(const struct app *app, struct region *region, struct error *err);

/* --region NAME=START,SIZE,SECTOR: the target's loader has that region too. ERR_NOT_POSSIBLE where
 * the method reaches no memories beside the chip's own. */
int app_add_region(struct app *app, struct error *err);

struct plan_options app_plan_options(struct app *app);

/* --all: puts the nodes that wait in their bootloader on the bus of --interface into options.uuids.
 * ERR_NO_DEVICE if there are none. */
int query_waiting_nodes(struct app *app, struct error *err);

/* Asks on the terminal, or --yes. ERR_USAGE if it cannot ask; ERR_INTERRUPTED if the answer is no.
 */
int app_confirm(const struct app *app, const char *question, struct error *err);

/* SIGINT and SIGTERM set it; a second one exits at once with 130. */
const volatile sig_atomic_t *signals_install(void);

#endif
