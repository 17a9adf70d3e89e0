/*
 * A virtual USB device: descriptors, and what it does with requests and packets. The same model
 * serves USB/IP (serve/usbip.c, real time) and a unit test (virtual_usb.c, virtual time).
 *
 * What every device does alike is the bus core's business (usb_bus.c): standard requests, stalls,
 * packets, pacing, faults, and the life on the bus. Documents: USB 2.0 chapters 5, 8, 9.
 */
#ifndef VBOARD_USB_MODEL_H
#define VBOARD_USB_MODEL_H

#include "model.h"

struct vusb;

struct vusb_setup {
    uint8_t type, request;
    uint16_t value, index, length;
};

/* VUSB_NAK: not now; the core asks again after the model's next tick. */
enum vusb_answer { VUSB_ACK, VUSB_NAK, VUSB_STALL };

/* What it is on the bus; another one after it re-enumerates as something else. Raw descriptors;
 * strings in ASCII, index 1 first (the core makes descriptors of them; NULL: it stalls). A string
 * that begins with byte 0x01 is sent raw, for devices whose strings are wrong: the next byte says
 * how many bytes are behind it, and those are the whole descriptor, its length and type included.
 */
struct vusb_identity {
    const uint8_t *device;        /* 18 bytes */
    const uint8_t *configuration; /* wTotalLength bytes */
    size_t configuration_length;
    const char *const *strings; /* [0] is string 1 */
    size_t string_count;
    bool high_speed; /* else full speed */
};

struct vusb_ops {
    /* Reset button, power. The chip starts anew; the core has taken it off the bus. It comes back
     * when the model says so, by bus->detach() with that moment, now or later. */
    void (*reset)(struct vusb *dev, enum vreset cause);
    /* The host reset the bus: addresses and configuration are gone, the device stays on it (unless
     * the model leaves). NULL: nothing special. */
    void (*bus_reset)(struct vusb *dev);
    /* SET_CONFIGURATION, SET_INTERFACE (alternate); the core has checked that they exist. May be
     * NULL. */
    void (*configured)(struct vusb *dev, uint8_t configuration);
    void (*alternate)(struct vusb *dev, uint8_t interface, uint8_t alternate);
    /* A class or vendor request, or a standard one that the core does not know. OUT: `data` holds
     * the whole data stage of *length bytes. IN: fills at most *length and says how many. Called
     * again with the same setup after VUSB_NAK. */
    enum vusb_answer (*control)(struct vusb *dev, const struct vusb_setup *setup, uint8_t *data,
                                size_t *length);
    /* One packet of another endpoint (number, with 0x80 for IN). May be NULL: stalls. */
    enum vusb_answer (*out)(struct vusb *dev, uint8_t endpoint, const uint8_t *packet,
                            size_t length);
    enum vusb_answer (*in)(struct vusb *dev, uint8_t endpoint, uint8_t *packet, size_t *length);
    /* Moment of the next timer, UINT64_MAX if none; tick() runs those due at bus->now. */
    uint64_t (*next)(const struct vusb *dev);
    void (*tick)(struct vusb *dev);
    void (*destroy)(struct vusb *dev);
};

/* The bus, as the model sees it. Implemented by the core. */
struct vusb_bus {
    uint64_t now; /* microseconds */
    bool paced;   /* wire and flash take real time; false: they count as 0 */
    /* Leaves the bus now, and comes back at a moment (UINT64_MAX: only after a reset) as
     * `dev->identity` is then. */
    void (*detach)(struct vusb_bus *bus, uint64_t back_at);
};

/* One device; the first member of each model's own struct. */
struct vusb {
    const struct vusb_ops *ops;
    struct vusb_bus *bus; /* set by the core; NULL while nobody drives it */
    const struct vusb_identity *identity;
    uint64_t parked;  /* the moment its last bus was taken away: the next one starts there */
    uint64_t back_at; /* off the bus until then */
};

/* Set in struct vmodel (model.h) as `create_usb`; such a model has no `create`. */

#endif
