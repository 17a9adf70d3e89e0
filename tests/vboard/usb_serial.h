/*
 * A serial model with USB of its own (vserial.baud == 0: Caterina, M0, SAM-BA, Katapult) as the USB
 * device that it is: a CDC-ACM port. The model stays as it is; its line is this device. Where the
 * model only knows that an application runs, and the flash holds a Klipper for USB, that answers.
 */
#ifndef VBOARD_USB_SERIAL_H
#define VBOARD_USB_SERIAL_H

#include "usb_cdc.h"

/* Who it is while its loader runs, while Klipper runs, and while any other application does. */
struct usb_serial_faces {
    struct cdc_face loader, klipper, application;
};

/* Takes the model over, also when it fails: NULL, out of memory. Texts are copied; the flash must
 * outlive it. */
struct vusb *usb_serial(struct vserial *device, const struct vmemory *flash,
                        const struct usb_serial_faces *faces);

#endif
