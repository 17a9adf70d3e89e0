/*
 * A Klipper program in the application's place of a virtual board, as far as a host that flashes
 * can see it (Klipper docs/Protocol.md, src/command.c, src/generic/serial_irq.c, usb_cdc.c): it
 * tells its dictionary, and goes into the bootloader when asked. Any other program is silent.
 *
 * The dictionary is the very zlib stream that lies in the flash, so a host sees which image runs.
 * A program built for another link than the one it stands at is silent too.
 */
#ifndef VBOARD_KLIPPER_APP_H
#define VBOARD_KLIPPER_APP_H

#include "model.h"

enum { KLIPPER_APP_BLOCK = 64 };

/* KLIPPER_BRIDGE: USB is its host's CAN adapter, and it is a node of that bus. */
enum klipper_link { KLIPPER_UART, KLIPPER_USB, KLIPPER_CAN, KLIPPER_BRIDGE };

struct klipper_app {
    bool running;
    enum klipper_link link;
    uint32_t baud;             /* of a UART build */
    const uint8_t *dictionary; /* in the flash, compressed */
    uint32_t length;
    uint8_t block[KLIPPER_APP_BLOCK];
    size_t used;
    uint8_t sequence; /* of the next block */
    bool need_sync, need_valid;
    uint64_t leave_at; /* it was asked for the bootloader; else UINT64_MAX */
    bool leaving;      /* and nothing can change that any more */
    uint32_t reset;    /* the message that restarts it */
    bool restarts;     /* it came; so far only a CAN node acts on it */
};

/* The chip starts what its flash holds from `offset` on. app->running: it is Klipper, for this
 * link. The flash must outlive the run. */
void klipper_app_start(struct klipper_app *app, const struct vmemory *flash, uint64_t offset,
                       enum klipper_link link);

/* A byte of the host; answers go to `line`. */
void klipper_app_receive(struct klipper_app *app, struct vline *line, uint8_t byte);

/* USB: modem lines and rate. 1200 baud without DTR asks for the bootloader. */
void klipper_app_lines(struct klipper_app *app, bool dtr, uint32_t baud, uint64_t now);

/* When app->leave_at has come, the board is to restart into its bootloader. */

#endif
