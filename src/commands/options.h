/* The command line, parsed and nothing more: cli.h acts on it. */
#ifndef MFLASH_OPTIONS_H
#define MFLASH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "plan.h"

enum { OPTION_LIST_MAX = 64 };

struct options {
    const char *command;                /* "flash" if none is named */
    const char *words[OPTION_LIST_MAX]; /* what is not an option: images, patterns, NAME=VALUE */
    size_t word_count;

    const char *board, *method, *device, *probe, *interface, *chip, *flm, *region, *output;
    const char *trace, *boards, *klipper, *range, *config;
    const char *devices[OPTION_LIST_MAX]; /* several -d; `device` is the first, or NULL */
    size_t device_count;
    const char *uuids[OPTION_LIST_MAX];
    size_t uuid_count;
    bool has_address, all, ask, chip_erase, no_verify, no_run, dry_run, json, yes, quiet;
    uint64_t address;
    uint32_t baud;
    uint32_t bring_up; /* bit/s, 0 = leave the CAN interface as it is */
    unsigned verbose;
    double wait; /* seconds, 0 = do not wait */
    enum erase_choice erase;
    enum diff_choice diff;
    unsigned forced; /* 1 << enum check */
    bool help, version;
};

/* ERR_USAGE with the nearest option or command as hint. */
int options_parse(struct options *options, int argc, char **argv, struct error *err);

/* The text of `mflash --help`. */
extern const char options_help[];

#endif
