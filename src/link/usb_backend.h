/*
 * USB backends, for usb_open() and for tests that put a device of their own behind `struct
 * usb_ops`.
 */
#ifndef MFLASH_USB_BACKEND_H
#define MFLASH_USB_BACKEND_H

#include <sys/stat.h>

#include "link/usb.h"

enum { USB_DIRECTION_IN = 0x80, USB_INTERFACE_NUMBER_MAX = 31 };

/* Allocates `size` zero bytes that begin with a struct usb, with ops, name and the monotonic clock
 * set. NULL: out of memory. */
struct usb *usb_allocate(size_t size, const struct usb_ops *ops, const char *name);

/*
 * What every device is asked once it can be reached: its descriptors, and its texts if
 * usb->device has none; it is configured if usb->configured is 0. Fills usb->device from that and
 * joins the trace (may be NULL). On failure usb stays open. ERR_PROTOCOL: its descriptors are no
 * descriptors.
 */
int usb_begin(struct usb *usb, struct trace *trace, struct error *err);

/* SET_CONFIGURATION: all interfaces are back at their first alternate setting. */
int usb_configure(struct usb *usb, uint8_t configuration, struct error *err);

/* The descriptor of an endpoint in usb->configuration, whole (7 bytes at least); NULL: none. */
const uint8_t *usb_endpoint(const struct usb *usb, uint8_t endpoint);

/* A device of this machine, by bus path, through libusb. */
int usb_libusb_open(struct usb **usb, const char *name, struct error *err);

/* A device of a USB/IP server. One that somebody has just let go stays busy for a moment: that is
 * waited out, for `patience` microseconds at most. */
int usb_usbip_open(struct usb **usb, const char *name, uint64_t patience, struct error *err);

/* Error texts: what is there instead of `name`; that the device left; that its node may not be
 * opened, with the udev rule that changes this. */
int usb_no_device(const char *name, const struct usb_device *devices, size_t count,
                  struct error *err);
int usb_gone(const struct usb *usb, const char *why, struct error *err);
/* `is`: the node's mode and group. */
int usb_no_permission(const struct usb_device *device, const char *node, const struct stat *is,
                      struct error *err);

/* "1-1.4 (0483:df11)". */
enum { USB_LABEL_MAX = USB_NAME_MAX + 16 };
void usb_label(const struct usb *usb, char text[USB_LABEL_MAX]);

#endif
