/*
 * What the board executables can be. The launcher links no simulator (their licences differ from
 * its own), so it asks each executable for its table: `vboard-avr list`.
 */
#ifndef VBOARD_MODELS_H
#define VBOARD_MODELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "board/board.h"

enum { MODELS_MAX = 128, MODEL_LINE_MAX = 1024 };

struct model {
    char text[MODEL_LINE_MAX];                        /* the line; the strings below lie in it */
    const char *name, *method, *link, *chips, *proof; /* link: serial, cdc, usb, can */
    uint32_t baud;                                    /* 0: any */
    bool fresh;                                       /* a programmer with a bare chip behind it */
    const char *executable;                           /* that has it */
};

struct models {
    struct model list[MODELS_MAX];
    size_t count;
};

/* Asks `executable`, which must outlive the models, and adds what it has. ERR_FAILED with what went
 * wrong. */
int models_ask(struct models *models, const char *executable, struct error *err);

/* The model for one bootloader of a board; NULL if there is none. The board's first baud rate
 * before its others, then real firmware before a model of it (`scripted`: the other way round),
 * then (programmers, where the board names no rate) the faster one. `name`
 * and `link`: only that one, or NULL; what is cdc is both serial and usb. */
const struct model *models_find(const struct models *models, const struct board *board,
                                const struct loader *loader, bool scripted, const char *name,
                                const char *link);

#endif
