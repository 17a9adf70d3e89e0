/*
 * Routines that run on the chip: an EEFC's latch takes whole words only, the monitor's S command
 * stores bytes; and a checksum made on the chip saves reading everything back.
 *
 * ARMv6-M code, so that every Cortex-M runs it. A block in RAM is a header of APPLET_WORDS words
 * (initial stack pointer, entry, parameters: see applets/NAME.s) with the code behind it, started
 * by the monitor's G command as if it were a vector table.
 */
#ifndef MFLASH_SAMBA_APPLETS_H
#define MFLASH_SAMBA_APPLETS_H

#include <stddef.h>
#include <stdint.h>

enum applet_number { APPLET_PROGRAM, APPLET_COPY, APPLET_CRC, APPLET_COUNT };

enum {
    APPLET_WORDS = 9,
    APPLET_HEADER = APPLET_WORDS * 4, /* bytes; the entry is right behind it */
    APPLET_ROOM = 0x100,              /* bytes of RAM for each of them, header included */
};

struct applet {
    const uint8_t *code;
    size_t length; /* bytes, at most APPLET_ROOM - APPLET_HEADER */
};

extern const struct applet applets[APPLET_COUNT];

#endif
