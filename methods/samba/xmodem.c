/* See xmodem.h. A block that was not understood is sent or asked for again, TRIES times. */
#include "samba/xmodem.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

enum {
    SOH = 0x01,
    EOT = 0x04,
    ACK = 0x06,
    NAK = 0x15,
    CAN = 0x18,
    START = 'C',
    TRIES = 5,
    STRAYS = 64, /* start signs that may lie in the line */
    BYTE_US = SECOND,
    QUIET_US = 20 * MILLISECOND, /* after a broken block: ten bytes' time and more */
    HEADER = 3,
    FRAME = HEADER + XMODEM_BLOCK + 2, /* 133 */
};

uint16_t samba_xmodem_crc(uint16_t crc, const uint8_t *bytes, size_t length)
{
    unsigned value = crc;
    for (size_t i = 0; i < length; i++) {
        value ^= (unsigned)bytes[i] << 8;
        for (unsigned bit = 0; bit < 8; bit++)
            value = value & 0x8000 ? value << 1 ^ 0x1021 : value << 1;
    }
    return (uint16_t)value;
}

/* One byte, past the device's start signs. */
static int sign(struct serial *serial, uint8_t *byte, bool past_start, struct error *err)
{
    uint64_t deadline = clock_in(serial->clock, BYTE_US);
    int rc = OK;
    for (unsigned i = 0; i < STRAYS && rc == OK; i++) {
        rc = serial_read(serial, byte, 1, deadline, err);
        if (rc == OK && !(past_start && *byte == START))
            return OK;
    }
    return rc == OK ? error_set(err, ERR_PROTOCOL, "the device takes no XMODEM block") : rc;
}

static int send_frame(struct serial *serial, const uint8_t *frame, size_t length, struct error *err)
{
    uint8_t answer = NAK;
    for (unsigned i = 0; i < TRIES && answer == NAK; i++) {
        int rc = serial_write(serial, frame, length, err);
        if (rc == OK)
            rc = sign(serial, &answer, true, err);
        if (rc != OK)
            return rc;
    }
    if (answer == ACK)
        return OK;
    return error_set(err, ERR_PROTOCOL, "the device answered an XMODEM block with %02x%s", answer,
                     answer == CAN ? " (cancelled: it came damaged)" : "");
}

int samba_xmodem_send(struct serial *serial, const uint8_t *bytes, size_t length, struct error *err)
{
    uint8_t frame[FRAME] = {SOH}, byte = 0;
    int rc = sign(serial, &byte, false, err);
    if (rc == OK && byte != START)
        rc = error_set(err, ERR_PROTOCOL, "the device answered %02x instead of 'C' (XMODEM)", byte);
    uint8_t number = 1;
    for (size_t at = 0; rc == OK && at < length; at += XMODEM_BLOCK, number++) {
        size_t left = length - at;
        frame[1] = number;
        frame[2] = (uint8_t)~number;
        memset(frame + HEADER, 0, XMODEM_BLOCK);
        memcpy(frame + HEADER, bytes + at, left < XMODEM_BLOCK ? left : XMODEM_BLOCK);
        put_be16(frame + HEADER + XMODEM_BLOCK, samba_xmodem_crc(0, frame + HEADER, XMODEM_BLOCK));
        rc = send_frame(serial, frame, sizeof frame, err);
    }
    return rc == OK ? send_frame(serial, (const uint8_t[]){EOT}, 1, err) : rc;
}

static bool frame_is_good(const uint8_t *frame, uint8_t number)
{
    return frame[0] == SOH && frame[1] == number && frame[2] == 0xff - number &&
           get_be16(frame + HEADER + XMODEM_BLOCK) ==
               samba_xmodem_crc(0, frame + HEADER, XMODEM_BLOCK);
}

/* Asks with `request` until the block comes undamaged. NAK asks for it again; a start sign that was
 * not heard is repeated. */
static int receive_frame(struct serial *serial, uint8_t request, uint8_t number, uint8_t *frame,
                         struct error *err)
{
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t before = serial->received;
        int rc = serial_write(serial, &request, 1, err);
        if (rc == OK)
            rc = serial_read(serial, frame, FRAME, clock_in(serial->clock, BYTE_US), err);
        if (rc == OK && frame_is_good(frame, number))
            return OK;
        if (rc != OK && (rc != ERR_NO_ANSWER || i + 1 == TRIES))
            return rc;
        if (request != START || serial->received != before)
            request = NAK;
        ssize_t stray = serial_drain(serial, QUIET_US, BYTE_US, err);
        if (stray < 0)
            return (int)stray;
    }
    return error_set(err, ERR_PROTOCOL, "XMODEM block %u came damaged %d times", number, TRIES);
}

int samba_xmodem_receive(struct serial *serial, uint8_t *bytes, size_t length, struct error *err)
{
    uint8_t frame[FRAME], number = 1, end = 0;
    int rc = OK;
    for (size_t at = 0; rc == OK && at < length; at += XMODEM_BLOCK, number++) {
        size_t left = length - at;
        rc = receive_frame(serial, at ? ACK : START, number, frame, err);
        if (rc == OK)
            memcpy(bytes + at, frame + HEADER, left < XMODEM_BLOCK ? left : XMODEM_BLOCK);
    }
    if (rc == OK)
        rc = serial_write(serial, (const uint8_t[]){ACK}, 1, err);
    if (rc == OK)
        rc = serial_read(serial, &end, 1, clock_in(serial->clock, BYTE_US), err);
    if (rc == OK && end != EOT)
        rc = error_set(err, ERR_PROTOCOL, "the device answered %02x instead of 04 (XMODEM's end)",
                       end);
    return rc == OK ? serial_write(serial, (const uint8_t[]){ACK}, 1, err) : rc;
}
