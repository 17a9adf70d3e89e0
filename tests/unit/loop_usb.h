/* A USB device for tests, and nothing but a USB device: what comes on bulk endpoint 1 goes back on
 * it, in packets as they came; two alternates of an interface without endpoints; a vendor request
 * that answers what it was last given. It can be made to hold back, to stall and to leave. */
#ifndef LOOP_USB_H
#define LOOP_USB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "usb_model.h"

enum { LOOP_PACKET = 64, LOOP_PACKETS = 64 };

struct loop_usb {
    struct vusb usb; /* first */
    uint8_t packets[LOOP_PACKETS][LOOP_PACKET];
    size_t lengths[LOOP_PACKETS], head, count;
    uint8_t stored[512];
    size_t stored_length;
    uint8_t configuration, alternate;
    unsigned resets, bus_resets, ticks, controls, outs;
    enum vreset cause;
    uint64_t busy_until; /* NAK to everything */
    uint64_t leave_at;   /* then off the bus for 300 ms, and back as the other identity */
    uint64_t heard_at;   /* when the last packet or request came */
};

/* 1d50:614e or, once it has left, 1d50:6177. */
void loop_usb_init(struct loop_usb *loop);

enum { LOOP_VENDOR_OUT = 0x40, LOOP_VENDOR_IN = 0xc0, LOOP_STORE = 1, LOOP_LEAVE = 2 };

#endif
