/*
 * STK500v1 commands over a serial line (Atmel AVR061 §4):
 *
 *     host    command parameters 20             20 = Sync_CRC_EOP
 *     device  14 data 10                        14 = In_Sync, 10 = OK
 *
 * No length and no checksum: replies are read by count, and data may hold 14, 10 and 20. One lost
 * byte desynchronises both sides, and bootloaders die of it.
 */
#ifndef MFLASH_STK500V1_WIRE_H
#define MFLASH_STK500V1_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "avr/heard.h"
#include "base/error.h"
#include "link/serial.h"

/* Replies (AVR061 §4.1). */
enum {
    STK_OK = 0x10,
    STK_FAILED = 0x11,
    STK_UNKNOWN = 0x12,
    STK_NODEVICE = 0x13,
    STK_INSYNC = 0x14,
    STK_NOSYNC = 0x15,
    CRC_EOP = 0x20,
};

/* Commands (AVR061 §4.2). SET_PARAMETER (0x40) is missing on purpose: optiboot dies of it. */
enum {
    STK_GET_SYNC = 0x30,
    STK_GET_SIGN_ON = 0x31,
    STK_GET_PARAMETER = 0x41,
    STK_SET_DEVICE = 0x42,
    STK_SET_DEVICE_EXT = 0x45,
    STK_ENTER_PROGMODE = 0x50,
    STK_LEAVE_PROGMODE = 0x51,
    STK_LOAD_ADDRESS = 0x55,
    STK_UNIVERSAL = 0x56,
    STK_PROG_PAGE = 0x64,
    STK_READ_PAGE = 0x74,
    STK_READ_SIGN = 0x75,
};

/* Parameters (AVR061 §4.2, GET_PARAMETER). */
enum { STK_HW_VERSION = 0x80, STK_SW_MAJOR = 0x81, STK_SW_MINOR = 0x82, STK_PROGMODE = 0x93 };

struct stk500v1 {
    struct serial *serial;
    struct heard heard; /* bytes where a reply should have been */
};

/* Sends bytes as they are: one command or several joined, each with its EOP. */
int stk500v1_send(struct stk500v1 *wire, const uint8_t *bytes, size_t length, struct error *err);

/* Reads one reply: 14, `length` bytes into `data` (NULL if 0), 10. `deadline` is a moment.
 * ERR_NO_ANSWER: silence (the message says how far the reply came); ERR_PROTOCOL: something else,
 * with the byte, and its name where it is one of AVR061's. */
int stk500v1_reply(struct stk500v1 *wire, uint8_t *data, size_t length, uint64_t deadline,
                   struct error *err);

/* The same in two halves, for data that is read in slices in between. */
int stk500v1_reply_begin(struct stk500v1 *wire, uint64_t deadline, struct error *err);
int stk500v1_reply_end(struct stk500v1 *wire, uint64_t deadline, struct error *err);

/* Sends `request` (without its EOP, 1 … 31 bytes) and reads the reply; `timeout` in microseconds.
 */
int stk500v1_command(struct stk500v1 *wire, const uint8_t *request, size_t request_length,
                     uint8_t *data, size_t length, uint64_t timeout, struct error *err);

/* Sends one GET_SYNC and looks for 14 10 until `deadline`; stray bytes before it are skipped and
 * kept in wire->heard. ERR_NO_ANSWER if it does not come. */
int stk500v1_sync(struct stk500v1 *wire, uint64_t deadline, struct error *err);

int stk500v1_parameter(struct stk500v1 *wire, uint8_t parameter, uint8_t *value, uint64_t timeout,
                       struct error *err);

#endif
