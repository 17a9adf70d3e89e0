/*
 * The wire between a host and a model: byte times, the device's receiver depth, and the faults that
 * happen on a line. Shared by the pty server (real time) and virtual_serial.c (virtual time).
 */
#ifndef VBOARD_LINE_H
#define VBOARD_LINE_H

#include "model.h"

/* A host message is a run of host bytes up to the first byte the device sends after it. 0 = never.
 */
struct line_faults {
    unsigned drop;    /* one byte of the device's reply to the Nth message is lost */
    unsigned corrupt; /* one byte of that reply is changed */
    unsigned stall;   /* from the Nth message on, silence until the next reset */
    unsigned cut;     /* the link hangs up after the Nth message */
    unsigned power;   /* the chip loses power there: hangs up, comes back with a power-on reset */
};

#endif
