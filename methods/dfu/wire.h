/*
 * The requests of DFU 1.1 (USB Device Class Specification for Device Firmware Upgrade, §3 and §6)
 * and the wait for what they began.
 *
 * The one thing to know: a DNLOAD only hands bytes over. The GETSTATUS behind it starts the work,
 * and devices differ in what they do when they are asked again before it is done: withhold the
 * answer, stall, or fail. The poll timeout that they report is a constant far above the truth on
 * most, and garbage on some.
 */
#ifndef MFLASH_DFU_WIRE_H
#define MFLASH_DFU_WIRE_H

#include "link/usb.h"

enum { DFU_TRANSFER_MAX = 4096 }; /* what libusb and Linux take in one control transfer */

enum dfu_state {
    DFU_APP_IDLE,
    DFU_APP_DETACH,
    DFU_IDLE,
    DFU_DNLOAD_SYNC,
    DFU_DNBUSY,
    DFU_DNLOAD_IDLE,
    DFU_MANIFEST_SYNC,
    DFU_MANIFEST,
    DFU_MANIFEST_WAIT_RESET,
    DFU_UPLOAD_IDLE,
    DFU_ERROR,
};

enum dfu_code {
    DFU_OK = 0x00,
    DFU_ERR_TARGET = 0x01,
    DFU_ERR_ADDRESS = 0x08,
    DFU_ERR_VENDOR = 0x0b,
    DFU_ERR_STALLED = 0x0f,
};

struct dfu_status {
    uint8_t code;  /* bStatus, enum dfu_code */
    uint8_t state; /* enum dfu_state */
    uint32_t poll; /* bwPollTimeout, milliseconds; not to be trusted */
};

/* What a device does when it is asked before its work is done. */
enum dfu_manners {
    DFU_UNTRIED,
    DFU_WITHHOLDS, /* NAKs until it is done: asking at once is waiting for the moment */
    DFU_TELLS,     /* says that it is busy, or stalls: it can be asked again */
    DFU_STRICT,    /* fails: the poll timeout must be waited out */
};

struct dfu_wire {
    struct usb *usb;
    uint8_t interface;
    enum dfu_manners manners;
    bool garbage; /* its poll timeouts are known to be wrong: 5 ms instead */
    bool reset;   /* it left over the reset that dfu_make_idle() had to give it */
};

/* How long an operation may take at the most, and takes typically (microseconds). */
struct dfu_duration {
    uint64_t most, typical;
};

int dfu_status(struct dfu_wire *wire, struct dfu_status *status, uint64_t patience,
               struct error *err);
int dfu_download(struct dfu_wire *wire, uint16_t block, const uint8_t *bytes, size_t length,
                 struct error *err);
/* Bytes that came, at most `max`. */
ssize_t dfu_upload(struct dfu_wire *wire, uint16_t block, uint8_t *bytes, size_t max,
                   struct error *err);
int dfu_abort(struct dfu_wire *wire, struct error *err);
int dfu_clear(struct dfu_wire *wire, struct error *err);
int dfu_detach(struct dfu_wire *wire, uint16_t milliseconds, struct error *err);

/* Whatever it was in the middle of: to dfuIDLE. ERR_PROTOCOL if it cannot be brought there;
 * ERR_GONE with wire->reset: it waited for a reset of the bus, and left over it. */
int dfu_make_idle(struct dfu_wire *wire, struct error *err);

/*
 * After a DNLOAD: starts the work and waits for its end, as the device's manners allow. OK: the
 * device is in dfuDNLOAD-IDLE (or, for others' sake, in whatever state is no longer busy: see
 * *status). ERR_PROTOCOL with the device's reason, ERR_PROTECTED for errVENDOR.
 */
int dfu_await(struct dfu_wire *wire, struct dfu_status *status, const struct dfu_duration *duration,
              struct error *err);

/* Until it leaves the bus by itself, `patience` microseconds at the most; false: it stays. */
bool dfu_await_leaving(struct dfu_wire *wire, uint64_t patience);

/* The device's reason as an error: ERR_PROTECTED, ERR_PROTOCOL. */
int dfu_refused(const struct dfu_status *status, struct error *err);

const char *dfu_state_name(uint8_t state); /* "dfuIDLE" */
const char *dfu_code_name(uint8_t code);   /* "errADDRESS" */

#endif
