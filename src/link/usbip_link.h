/*
 * A USB/IP connection on which a device has been imported: the URB layer. One socket carries any
 * number of transfers. Whoever awaits one of them moves all of them along.
 */
#ifndef MFLASH_USBIP_LINK_H
#define MFLASH_USBIP_LINK_H

#include "link/usb_backend.h"
#include "link/usbip.h"

enum { USBIP_HEADER = 48 };

struct usbip_request;

struct usbip_link {
    struct usb usb; /* first */
    struct usbip_name where;
    int fd;
    uint32_t devid, speed, seqnum;
    struct usbip_request *requests; /* those that have not been answered in full */
    size_t request_count;
    uint8_t *out; /* not yet taken by the socket: [out_begin, out_end) */
    size_t out_begin, out_end, out_size;
    uint8_t header[USBIP_HEADER]; /* of the packet that is coming in, */
    size_t header_got;
    struct usbip_request *filling; /* and whose data these are */
    size_t body_got, body_length;
    bool broken;
    struct error why; /* it is */
};

/* As usb_ops. */
int usbip_submit(struct usb *usb, struct usb_transfer *transfer, struct error *err);
void usbip_cancel(struct usb *usb, struct usb_transfer *transfer);
int usbip_await(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline,
                struct error *err);

/* The socket is closed, and every transfer has ended: the device is gone, because `why`. */
void usbip_link_gone(struct usbip_link *link, const char *why);

/* What a broken link answers to everything. */
int usbip_why_broken(const struct usbip_link *link, struct error *err);

#endif
