/* The two halves of the Mega 2560 model: the program's life and reception (stk500boot.c) and the
 * commands (stk500boot_commands.c). */
#ifndef VBOARD_STK500BOOT_H
#define VBOARD_STK500BOOT_H

#include "boot.h"
#include "stk500v2.h"

enum {
    STK500BOOT_SECTION = 0x2000, /* of the loader, at the end of flash */
    STK500BOOT_BODY = 285,       /* bytes its message buffer takes */
};

enum stk500boot_state {
    STARTING,
    FIRST,
    LISTENING,
    PROGRAMMING,
    LEAVING,
    MONITOR,
    DERAILED,
    APPLICATION
};

struct stk500boot {
    struct boot boot;
    bool old; /* the build of 2011 */
    enum stk500boot_state state;
    uint64_t until;
    struct v2_parser parser;
    unsigned heard, marks; /* bytes since the start; `!` in a row */

    uint32_t address;       /* bytes */
    uint32_t erase_address; /* the counter */
    uint8_t page[BOOT_PAGE_MAX];
    uint32_t page_at;
};

/* Carries out the frame in s->parser. */
void stk500boot_execute(struct stk500boot *s);

/* PROGRAMMING is over: the page or the EEPROM bytes are there, and the reply goes out. */
void stk500boot_programmed(struct stk500boot *s);

/* What becomes of the program. */
void stk500boot_change(struct stk500boot *s, enum stk500boot_state state, uint64_t until);
void stk500boot_listen(struct stk500boot *s);
void stk500boot_derail(struct stk500boot *s);

#endif
