/* A virtual USB-to-CAN bridge on a test's bench: its USB side raw, and as the CAN interface that a
 * driver makes of it. */
#ifndef BRIDGE_BENCH_H
#define BRIDGE_BENCH_H

#include "gs_usb.h"
#include "katapult_bench.h"
#include "link/can.h"
#include "virtual_usb.h"

enum { BRIDGE_START = 0x8000 /* of the application in the flash of an F446 */ };

#define BRIDGE_CONFIG "\"MCU\":\"stm32f446xx\",\"CANBUS_FREQUENCY\":1000000,\"CANBUS_BRIDGE\":1"

struct bridge_bench {
    struct bench program; /* its flash is the board's */
    struct vusb *device;
    struct usb *usb; /* NULL: not open */
    uint8_t uuid[CAN_UUID];
    struct error err;
};

/* A board that holds a Klipper of that "config" (NULL: nothing) and runs it. */
struct bridge_bench *bridge_bench_new(const char *config, const char *variant);
void bridge_bench_free(struct bridge_bench *bench);

/* Opens it, waiting until it is on the bus; returns its product id. */
uint16_t bridge_bench_open(struct bridge_bench *bench);

void bridge_bench_wait(struct bridge_bench *bench, uint64_t microseconds);

/* A vendor request. Returns the bytes moved, or a negative code. */
ssize_t bridge_asks(struct bridge_bench *bench, uint8_t type, uint8_t request, uint8_t *bytes,
                    uint16_t length);

/* One frame of the host, with that echo id; the next frame from the board, or false: none within
 * 50 ms. */
void bridge_says(struct bridge_bench *bench, uint8_t echo, uint16_t id, const char *hex);
bool bridge_hears(struct bridge_bench *bench, uint8_t bytes[GS_FRAME]);

/* What the driver makes of it: echoes are kept from it. Owned by the caller; the device stays
 * open. */
struct can *bridge_can(struct bridge_bench *bench);

#endif
