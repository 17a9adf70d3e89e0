/*
 * Klipper on USB as the application of a board whose bootloader is another kind of USB device (DFU,
 * HID): a part of such a model, which hands over everything of the bus while app.running is true.
 * Klipper src/generic/usb_cdc.c; klipper_app.h says what it can do.
 */
#ifndef VBOARD_USB_KLIPPER_H
#define VBOARD_USB_KLIPPER_H

#include "klipper_app.h"
#include "usb_cdc.h"

enum { VUSB_KLIPPER_QUEUE = 4096 };

struct vusb_klipper {
    struct klipper_app app; /* app.running: it is Klipper, and built for USB */
    struct vline line;      /* where its answers go */
    struct cdc_port port;
    struct cdc_queue queue;
    struct cdc_identity face; /* 1d50:614e; face.identity is what goes to vusb.identity */
    uint8_t bytes[VUSB_KLIPPER_QUEUE];
};

/* The chip starts what its flash holds from `offset` on; returns whether that is Klipper for USB.
 * The board then comes back to the bus as &k->face.identity. Flash and `k` must stay where they
 * are. `node`: vconfig.node. */
bool vusb_klipper_start(struct vusb_klipper *k, const struct chip *chip, unsigned node,
                        const struct vmemory *flash, uint64_t offset);

/* The chip is no longer in that program. */
void vusb_klipper_stop(struct vusb_klipper *k);

/* As vusb_ops, with the board's bus. */
enum vusb_answer vusb_klipper_control(struct vusb_klipper *k, const struct vusb_bus *bus,
                                      const struct vusb_setup *setup, uint8_t *data,
                                      size_t *length);
enum vusb_answer vusb_klipper_out(struct vusb_klipper *k, const struct vusb_bus *bus,
                                  uint8_t endpoint, const uint8_t *packet, size_t length);
enum vusb_answer vusb_klipper_in(struct vusb_klipper *k, uint8_t endpoint, uint8_t *packet,
                                 size_t *length);
void vusb_klipper_bus_reset(struct vusb_klipper *k);

/* When the board must ask vusb_klipper_leaves(); UINT64_MAX: never. */
uint64_t vusb_klipper_next(const struct vusb_klipper *k);

/* True once the host has asked for the bootloader (1200 baud, DTR off) and it is time to go: the
 * board leaves the bus and enters its bootloader as Klipper would on that chip. */
bool vusb_klipper_leaves(const struct vusb_klipper *k, const struct vusb_bus *bus);

#endif
