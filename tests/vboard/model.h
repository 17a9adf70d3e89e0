/*
 * A virtual board on a serial line: a strict device model, written from the device's own
 * specification, and the line that drives it. The same model serves a pty (serve_pty.c, real time)
 * and a unit test (virtual_serial.c, virtual time).
 *
 * Time is line->now in microseconds. Models never sleep: they say by next() when their next timer
 * is due and are called back by tick(). Wire time, receiver depth and fault injection are the
 * line's business: receive() is called at the moment a whole byte has arrived.
 */
#ifndef VBOARD_MODEL_H
#define VBOARD_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vserial;

/* Why a chip starts: power-on, reset pin, watchdog. */
enum vreset { VRESET_POWER, VRESET_PIN, VRESET_WATCHDOG };

struct vserial_ops {
    void (*reset)(struct vserial *dev, enum vreset cause);
    void (*receive)(struct vserial *dev, uint8_t byte);
    /* Moment of the next timer, UINT64_MAX if none; tick() runs those due at line->now. */
    uint64_t (*next)(const struct vserial *dev);
    void (*tick)(struct vserial *dev);
    /* Host changed the line. `rate_ok`: NULL, or tells whether the device's UART understands the
     * host's rate now (a byte at a wrong rate arrives as garbage). */
    void (*lines)(struct vserial *dev, bool dtr, bool rts, uint32_t baud);
    bool (*rate_ok)(const struct vserial *dev, uint32_t baud);
    void (*destroy)(struct vserial *dev);
};

/* The line, as the model sees it. Implemented by the two drivers. */
struct vline {
    uint64_t now;
    bool paced; /* flash and wire take real time; false: flash times count as 0 */
    /* Sends one byte to the host; the line queues and paces it. */
    void (*send)(struct vline *line, uint8_t byte);
    /* True if the nth byte sent has not left yet: the device still transmits. */
    bool (*sending)(const struct vline *line);
    /* The device leaves the bus / comes back (USB boards: re-enumeration). On a plain UART: NULL.
     */
    void (*detach)(struct vline *line, uint64_t back_at);
};

/* One model instance; the first member of each model's own struct. */
struct vserial {
    const struct vserial_ops *ops;
    struct vline *line;
    bool reset_on_dtr; /* DTR edge inactive → asserted resets the chip */
    uint32_t baud;     /* of the device's UART; 0 = any (USB CDC) */
    unsigned rx_depth; /* bytes the receiver holds while the device is busy; 0 = USB, unlimited */
};

/* Flash of the virtual chip: kept by the server in a file when told to (--flash, --mem). */
struct vmemory {
    uint8_t *bytes;
    size_t size;
    uint64_t stuck; /* --fault stuck:ADDR: this byte's bits will not program; UINT64_MAX = none */
};

/* Faults that the model itself must act out (the line does drop, corrupt, stall, cut, power). */
struct vfaults {
    unsigned nak;  /* answer failure to the Nth host message; 0 = never */
    bool locked;   /* lock bits / protection set */
    bool wrong_id; /* answers another chip's identity */
};

#endif
