/*
 * Getting the first answer of a bootloader that listens for a second or so after a reset: a pulse
 * on DTR, some questions, and again at every rate the board may have, each time after a new pulse
 * (a question at the wrong rate can end the bootloader).
 */
#ifndef MFLASH_AVR_KNOCK_H
#define MFLASH_AVR_KNOCK_H

#include "avr/heard.h"
#include "method.h"

/* One try: the serial has its rate, the reset edge was at `reset` (a moment). Adds to `heard` what
 * came and was no answer. OK; ERR_NO_ANSWER and ERR_PROTOCOL lead to another try. */
struct knock {
    struct session *session;
    uint64_t reset;
    struct heard heard;
};
typedef int knock_once(struct knock *knock, struct error *err);

/*
 * Three rounds at one rate, two at several. The pulse is left out where the board's way in is not
 * by DTR. If nobody answers: ERR_NO_ANSWER with the rates, what came back, and a hint by what that
 * was; or the last ERR_PROTOCOL. ERR_INTERRUPTED between two tries.
 */
int knock(struct session *session, knock_once *once, struct error *err);

#endif
