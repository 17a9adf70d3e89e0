/*
 * A programmer with a bare AVR behind it, on a virtual line that a test speaks to in bytes written
 * as hexadecimal: "1B 01 00 01 0E 01 14". One in each test program; whatever does not come as
 * expected fails the test.
 */
#ifndef ISP_WIRE_H
#define ISP_WIRE_H

#include "models/isp_port.h"
#include "virtual_serial.h"

extern const struct vmodel vmodel_stk500_programmer, vmodel_arduino_isp;

enum { WIRE_MAX = 1200 }; /* bytes of one message */

struct isp_wire {
    struct vserial *device;
    struct serial *serial;
    struct vconfig config;
    uint8_t flash[0x40000], eeprom[4096], fuses[4];
};

extern struct isp_wire wire;

/* Blank memories and no faults; a test may then change them and wire.config. */
void wire_prepare(const char *chip);

/* Makes the programmer and opens its port at its rate. */
void wire_connect(const struct vmodel *model, const char *variant);
int wire_take_away(void **state); /* the teardown of every test that connected */

void wire_open(uint32_t baud);
void wire_close(void);

/* Time passes on the line, in microseconds. */
void wire_rest(uint64_t microseconds);

void wire_send(const char *hex);
void wire_send_bytes(const uint8_t *bytes, size_t length);
void wire_expect(const char *hex);
void wire_expect_silence(void); /* for a second */
void wire_exchange(const char *request, const char *reply);

/* Writes the bytes of `hex` into bytes[WIRE_MAX]; returns how many. */
size_t wire_hex(const char *hex, uint8_t *bytes);

#endif
