/*
 * USB CDC-ACM, as far as a serial port on USB goes (USB CDC 1.20, PSTN 1.20 chapter 6.3): the
 * descriptors, the three requests, and bytes that become packets. usb_serial.c makes a USB device
 * of a serial model with it; usb_klipper.h is for models that are such a port while Klipper runs.
 */
#ifndef VBOARD_USB_CDC_H
#define VBOARD_USB_CDC_H

#include "usb_model.h"

struct chip;

enum {
    CDC_PACKET = 64,
    CDC_OUT = 0x02,
    CDC_IN = 0x81,
    CDC_NOTIFY = 0x83, /* never has anything to say */
    CDC_TEXT_MAX = 64,
};

/* What it says it is. A text of NULL has no descriptor. */
struct cdc_face {
    uint16_t vid, pid, bcd;
    const char *manufacturer, *product, *serial;
};

/* A face as the bus core wants it; must not move. */
struct cdc_identity {
    struct vusb_identity identity;
    uint8_t device[18];
    char texts[3][CDC_TEXT_MAX];
    const char *strings[3];
};

void cdc_identify(struct cdc_identity *cdc, const struct cdc_face *face);

/* The serial number that Klipper and Katapult make of a chip's own number: upper-case hex, 24
 * digits of STM32 and 16 of others. `node` makes several chips of a kind differ. */
void cdc_chip_serial(char text[CDC_TEXT_MAX], const struct chip *chip, unsigned node);

/* The port's settings as the host has made them. */
struct cdc_port {
    uint8_t coding[7]; /* rate, stop bits, parity, data bits */
    bool dtr, rts;
    bool chosen; /* the host has set a line coding */
};

uint32_t cdc_baud(const struct cdc_port *port);

/* vusb_ops.control. `changed`: rate or lines were set, maybe to what they were. Strict: a request
 * with another value, index or length is refused, as Klipper's and Katapult's firmware does. */
enum vusb_answer cdc_control(struct cdc_port *port, const struct vusb_setup *setup, uint8_t *data,
                             size_t *length, bool *changed);

/* Bytes for the host: a ring in memory that its owner gives. */
struct cdc_queue {
    uint8_t *bytes;
    size_t room, head, count;
    bool whole; /* the last packet was one: if nothing follows, an empty one says so */
};

/* False: it is full, the byte is lost. */
bool cdc_put(struct cdc_queue *queue, uint8_t byte);

/* The next packet, as vusb_ops.in. */
enum vusb_answer cdc_take(struct cdc_queue *queue, uint8_t *packet, size_t *length);

void cdc_forget(struct cdc_queue *queue);

#endif
