/*
 * A USB model behind mflash's own `struct usb`, in process, on virtual time: ten seconds of
 * deadline pass in microseconds, and simulated seconds can be compared with the physical limit
 * exactly.
 */
#ifndef VIRTUAL_USB_H
#define VIRTUAL_USB_H

#include "link/usb.h"
#include "usb_bus.h"

/*
 * Opens the device, paced, as a host does: descriptors are read, and it is configured. The usb's
 * clock is the bus's virtual time. usb_close() leaves the model alive, so that a test can open it
 * again: the second session, at the time the first one ended, with faults of its own. A device that
 * is off the bus is waited for. Close before the model is destroyed. `faults` may be NULL. NULL:
 * out of memory, or the device never comes back, or it does not enumerate.
 */
struct usb *virtual_usb(struct vusb *device, const struct line_faults *faults);

/* Time passes while nobody has the device open. */
void virtual_usb_elapse(struct vusb *device, uint64_t microseconds);

/* The reset button or the power switch, pressed with or without the device open. */
void virtual_usb_reset(struct vusb *device, enum vreset cause);

/* The bus of an open virtual device: counters, and what a test looks at. */
struct usb_bus *virtual_usb_bus(struct usb *usb);

#endif
