/* The command line of vboard, and the board executable's made from it. */
#ifndef VBOARD_LAUNCH_H
#define VBOARD_LAUNCH_H

#include "models.h"

enum { PASSED_MAX = 64 };

struct launch {
    const char *board, *method, *serve, *probe, *model, *boards_file;
    bool list, fresh;
    bool bus;                       /* asks for what only a CAN bus has */
    bool scripted;                  /* asks for what real firmware would never do */
    const char *passed[PASSED_MAX]; /* options that go on as they are, value by value */
    size_t passed_count;
};

/* 0, or the exit status after a line on stderr; -1: all is said and the exit status is 0. */
int launch_parse(struct launch *launch, int argc, char **argv);

/* Replaces this process by the board. Returns only on failure. */
int launch_exec(const struct launch *launch, const struct board *board, const struct loader *loader,
                const struct model *model, struct error *err);

#endif
