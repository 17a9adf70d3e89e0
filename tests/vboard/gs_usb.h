/*
 * A CAN adapter that Linux drives with gs_usb, as Klipper's USB-to-CAN bridge is one: descriptors,
 * requests, and the frames of 20 bytes (Klipper src/generic/usb_canbus.c; Linux
 * drivers/net/can/usb/gs_usb.c). A part of a model, which says what becomes of the frames.
 *
 * The thing to know: each frame of the host comes back to it as it was, which tells its driver that
 * it is sent; frames of others have no echo id.
 */
#ifndef VBOARD_GS_USB_H
#define VBOARD_GS_USB_H

#include <linux/can.h>

#include "usb_cdc.h"

enum {
    GS_FRAME = 20, /* echo id, CAN id, length, channel, flags, 0, data: 4 4 1 1 1 1 8 */
    GS_OUT = 0x02,
    GS_IN = 0x81,
    GS_ECHOES = 16, /* frames of the host that Klipper holds */
    GS_OTHERS = 3,  /* frames of its own: as many as its node has mailboxes */
};

/* 1d50:606f, named as Klipper names itself. */
void gs_identify(struct cdc_identity *face, const struct chip *chip, unsigned node);

/* vusb_ops.control. Bit timing and mode are taken and ignored: the rate is the firmware's. */
enum vusb_answer gs_control(const struct vusb_setup *setup, uint8_t *data, size_t *length);

/* Frames on their way to the host, in order. */
struct gs_queue {
    struct gs_waiting {
        uint8_t bytes[GS_FRAME];
        bool echo;
    } frames[GS_ECHOES + GS_OTHERS];
    size_t head, count, echoes;
};

/* False: no room now. The mailboxes of its owner bound what others say. */
bool gs_put_echo(struct gs_queue *queue, const uint8_t bytes[GS_FRAME]);
void gs_put(struct gs_queue *queue, const struct can_frame *frame);

/* The next one, as vusb_ops.in. `echo`: it was the host's. */
enum vusb_answer gs_take(struct gs_queue *queue, uint8_t *packet, size_t *length, bool *echo);

struct can_frame gs_frame(const uint8_t bytes[GS_FRAME]);

#endif
