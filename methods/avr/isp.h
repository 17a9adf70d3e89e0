/*
 * Programming an AVR in its circuit: a programmer holds RESET low and clocks 4-byte instructions
 * into the chip by SPI (data sheets, chapter "Serial Downloading").
 *
 *     isp.c           the method: what the engine calls
 *     isp_target.c    the chip behind the programmer: programming mode, clock, fuses, busy times
 *     isp_show.c      what is known of both
 *     isp_PROGRAMMER  how one kind of programmer is told to do it: a struct isp_programmer
 *
 * A new programmer is one more file with such a struct, and its line in the table of isp.c.
 */
#ifndef MFLASH_AVR_ISP_H
#define MFLASH_AVR_ISP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "avr/fuses.h"
#include "method.h"

enum {
    ISP_BLOCK_MAX = 256,        /* bytes that one write_page or read call moves at most */
    ISP_BANK = 0x20000,         /* bytes that one Load Extended Address value covers */
    ISP_RESET_RELEASED_MS = 20, /* RESET high between two programming modes */
    ISP_COMMAND_MS = 1000,      /* AVR068: any command but the long ones */
    ISP_LONG_MS = 5000,         /* AVR068: pages, chip erase, entering */
    ISP_RETRIES = 2,
};

struct isp;

/*
 * One kind of programmer. All return OK or a negative code. ERR_NO_ANSWER and ERR_PROTOCOL are
 * the programmer's own silence and nonsense; a chip that does not answer is not an error of
 * enter().
 */
struct isp_programmer {
    const char *kind; /* of --probe KIND:PORT */
    const char *name; /* "STK500v2 programmer" */
    uint32_t baud;    /* if the user does not say */

    /* Signs on. `asked`: the user named this kind, so it may take its time to start; else it is a
     * guess and silence should be found soon. May allocate isp->wire. */
    int (*open)(struct isp *isp, bool asked, struct error *err);
    void (*close)(struct isp *isp); /* frees isp->wire */

    /* SCK not above `hz`, the real one in isp->sck. NULL: the programmer has one clock only.
     * ERR_NOT_POSSIBLE: it cannot go that low, or has its own mind; sck is then as before. */
    int (*set_clock)(struct isp *isp, uint32_t hz, struct error *err);

    /* RESET low, Programming Enable. *answers = false: the chip did not echo. A programmer that
     * does not look says true. */
    int (*enter)(struct isp *isp, bool *answers, struct error *err);
    int (*leave)(struct isp *isp, struct error *err); /* RESET released: the chip runs */

    /* One instruction; *answer is what the chip sent with its fourth byte. */
    int (*instruction)(struct isp *isp, const uint8_t request[4], uint8_t *answer,
                       struct error *err);

    /* NULL: by instruction(). Returns when the chip is ready again. */
    int (*erase)(struct isp *isp, struct error *err);

    /* A whole page, committed; returns when the chip is ready again. */
    int (*write_page)(struct isp *isp, enum memory memory, uint32_t address, const uint8_t *bytes,
                      size_t length, struct error *err);

    /* Address and length are even, length <= ISP_BLOCK_MAX, and no bank is crossed. */
    int (*read)(struct isp *isp, enum memory memory, uint32_t address, uint8_t *bytes,
                size_t length, struct error *err);

    /* Adds what there is to say: firmware version, target voltage. */
    void (*info)(struct isp *isp, struct device_info *info);
};

extern const struct isp_programmer isp_stk500v2, isp_arduino;

/* One conversation: session->state from connect to disconnect. */
struct isp {
    struct session *session;
    const struct isp_programmer *programmer;
    const struct avr_part *part;
    void *wire;   /* the programmer's own */
    bool entered; /* RESET is held: leave() is due */
    uint32_t sck; /* Hz; 0 = not known */
    uint8_t signature[3];
    bool stay_slow; /* the chip did not follow a faster SCK */
    uint8_t lfuse;  /* as latched when programming mode was entered: the clock in force */
    uint8_t lock;
};

/* ---- The chip behind the programmer (isp_target.c) ---- */

/* Enters programming mode at a clock that a chip from the factory can follow (slower where nothing
 * answers), reads the signature into isp->signature, and leaves it to the caller to judge. A chip
 * that does not answer is ERR_NO_ANSWER with the wiring as hint. */
int isp_target_enter(struct isp *isp, struct error *err);

/* Reads lfuse and lock bits, and raises SCK as far as the clock fuses in force guarantee; goes back
 * to the slow clock when the chip cannot follow. */
int isp_target_settle(struct isp *isp, struct error *err);

/* Releases RESET. */
int isp_target_leave(struct isp *isp, struct error *err);

int isp_read_fuse(struct isp *isp, const struct avr_fuse *fuse, uint8_t *value, struct error *err);

/* Writes what differs under the mask, waits, reads back. ERR_PROTECTED: lock bits forbid it, or
 * lock bits would have to become 1 again. ERR_VERIFY: it reads back otherwise. */
int isp_write_fuse(struct isp *isp, const struct avr_fuse *fuse, uint8_t value, struct error *err);

/* Chip Erase: flash, then lock bits, and EEPROM unless EESAVE is programmed. */
int isp_target_erase(struct isp *isp, struct error *err);

/* ERR_PROTECTED if the lock bits forbid writing (or, with `reading`, reading). */
int isp_check_lock(const struct isp *isp, bool reading, struct error *err);

/* ---- What is known (isp_show.c): the method's fuses() and info() ---- */

int isp_fuses(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
              struct error *err);
int isp_info(struct session *session, struct device_info *info, struct error *err);

#endif
