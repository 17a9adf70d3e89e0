/*
 * STK500v2 messages over a serial line (Atmel AVR068 §2):
 *
 *     1B seq sizeH sizeL 0E body[size] xor        xor over everything before it
 *
 * The host chooses seq and the device echoes it. A reply repeats the command in body[0] and carries
 * the status in body[1]. One message is in flight at a time: bootloaders lose a second one.
 */
#ifndef MFLASH_STK500V2_FRAME_H
#define MFLASH_STK500V2_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "avr/heard.h"
#include "base/error.h"
#include "link/serial.h"

enum {
    STK500V2_BODY_MAX = 275, /* AVR068 §2.1; the Mega's loader derails above 285 */
    STK500V2_FRAME_MAX = STK500V2_BODY_MAX + 6,
};

/* Commands (AVR068 §5). */
enum {
    CMD_SIGN_ON = 0x01,
    CMD_SET_PARAMETER = 0x02,
    CMD_GET_PARAMETER = 0x03,
    CMD_LOAD_ADDRESS = 0x06,
    CMD_ENTER_PROGMODE_ISP = 0x10,
    CMD_LEAVE_PROGMODE_ISP = 0x11,
    CMD_CHIP_ERASE_ISP = 0x12,
    CMD_PROGRAM_FLASH_ISP = 0x13,
    CMD_READ_FLASH_ISP = 0x14,
    CMD_PROGRAM_EEPROM_ISP = 0x15,
    CMD_READ_EEPROM_ISP = 0x16,
    CMD_PROGRAM_FUSE_ISP = 0x17,
    CMD_READ_FUSE_ISP = 0x18,
    CMD_PROGRAM_LOCK_ISP = 0x19,
    CMD_READ_LOCK_ISP = 0x1a,
    CMD_READ_SIGNATURE_ISP = 0x1b,
    CMD_READ_OSCCAL_ISP = 0x1c,
    CMD_SPI_MULTI = 0x1d,
    ANSWER_CKSUM_ERROR = 0xb0, /* body[0] of a reply: the message arrived damaged, send it again */
};

/* Status bytes (AVR068 §5). */
enum {
    STATUS_CMD_OK = 0x00,
    STATUS_CMD_TOUT = 0x80,
    STATUS_RDY_BSY_TOUT = 0x81,
    STATUS_SET_PARAM_MISSING = 0x82,
    STATUS_CMD_FAILED = 0xc0,
    STATUS_CKSUM_ERROR = 0xc1,
    STATUS_CMD_UNKNOWN = 0xc9,
};

/* One conversation. Zero it, set serial and seq = 1. */
struct stk500v2 {
    struct serial *serial;
    uint8_t seq;                      /* of the next message */
    uint8_t reply[STK500V2_BODY_MAX]; /* body of the last valid reply */
    size_t reply_length;              /* may be 0: the Arduino M0 answers what it lacks so */
    struct heard heard;               /* bytes of the last exchange that were no valid reply */
};

/* Builds the message into `frame`; length is 1 … STK500V2_BODY_MAX. Returns its size in bytes. */
size_t stk500v2_frame(uint8_t frame[STK500V2_FRAME_MAX], uint8_t seq, const uint8_t *body,
                      size_t length);

/* Sends `body` under the current seq, without waiting for anything. */
int stk500v2_send(struct stk500v2 *link, const uint8_t *body, size_t length, struct error *err);

/*
 * Waits for the reply to the message just sent: replies with another seq, damaged ones and other
 * bytes are skipped. Fills link->reply; the next message then has the next seq. `deadline` is a
 * moment on the serial's clock. ERR_NO_ANSWER with nothing at all or nothing valid, and what came
 * back. Any body is accepted, an ANSWER_CKSUM_ERROR under whatever seq too.
 */
int stk500v2_receive(struct stk500v2 *link, uint64_t deadline, struct error *err);

/*
 * Sends and receives; `timeout` in microseconds for each try. Sent again, `retries` times at most,
 * after ANSWER_CKSUM_ERROR (the device then did nothing) and after silence (whether it did
 * something is not known). So `retries` is for commands that may be done twice: not for PROGRAM
 * and READ, which move the device's address. With retries 0 only ANSWER_CKSUM_ERROR is answered by
 * sending again. Repeats after silence go out with seq 1, which every build accepts.
 * ERR_NO_ANSWER; ERR_PROTOCOL if the reply repeats another command.
 */
int stk500v2_exchange(struct stk500v2 *link, const uint8_t *body, size_t length, unsigned retries,
                      uint64_t timeout, struct error *err);

/* An exchange whose reply must have status CMD_OK and at least `reply_min` bytes (body[0] and
 * status included), else ERR_PROTOCOL with the status by name. */
int stk500v2_command(struct stk500v2 *link, const uint8_t *body, size_t length, size_t reply_min,
                     unsigned retries, uint64_t timeout, struct error *err);

/* "CMD_FAILED" and so on; NULL if AVR068 has no such status. */
const char *stk500v2_status_name(uint8_t status);

/* ERR_PROTOCOL for the reply in hand: names the command (by number) and its status. */
int stk500v2_wrong_status(const struct stk500v2 *link, struct error *err);

#endif
