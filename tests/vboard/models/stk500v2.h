/*
 * STK500 version 2 as a loader hears it (Atmel AVR068): the frame 1B seq sizeH sizeL 0E body xor.
 * Both loaders that speak it drop a bad frame without a word and fill a buffer whose length nobody
 * checks.
 */
#ifndef VBOARD_STK500V2_H
#define VBOARD_STK500V2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

enum {
    V2_SIGN_ON = 0x01,
    V2_SET_PARAMETER = 0x02,
    V2_GET_PARAMETER = 0x03,
    V2_LOAD_ADDRESS = 0x06,
    V2_ENTER_PROGMODE = 0x10,
    V2_LEAVE_PROGMODE = 0x11,
    V2_CHIP_ERASE = 0x12,
    V2_PROGRAM_FLASH = 0x13,
    V2_READ_FLASH = 0x14,
    V2_PROGRAM_EEPROM = 0x15,
    V2_READ_EEPROM = 0x16,
    V2_PROGRAM_FUSE = 0x17,
    V2_READ_FUSE = 0x18,
    V2_PROGRAM_LOCK = 0x19,
    V2_READ_LOCK = 0x1a,
    V2_READ_SIGNATURE = 0x1b,
    V2_READ_OSCCAL = 0x1c,
    V2_SPI_MULTI = 0x1d,
    V2_OK = 0x00,
    V2_FAILED = 0xc0,
    V2_BODY_MAX = 286,
};

enum v2_heard { V2_NOTHING, V2_FRAME, V2_DERAILED };

struct v2_parser {
    enum { V2_START, V2_SEQUENCE, V2_SIZE_HIGH, V2_SIZE_LOW, V2_TOKEN, V2_BODY, V2_SUM } place;
    uint8_t sequence; /* of the frame, echoed in the reply */
    uint8_t sum;
    size_t size, got;
    size_t limit; /* longest body the buffer takes */
    bool strict;  /* only 01 or `expected` is accepted as sequence */
    uint8_t expected;
    uint8_t body[V2_BODY_MAX]; /* the last frame's rest stays behind a shorter one */
};

/* One byte. V2_DERAILED: size 0, or more than the buffer takes: the program is lost. */
enum v2_heard v2_hear(struct v2_parser *parser, uint8_t byte);

/* Sends a reply to the frame just heard. */
void v2_reply(struct v2_parser *parser, struct vline *line, const uint8_t *body, size_t length);

#endif
