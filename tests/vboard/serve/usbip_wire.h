/*
 * USB/IP 1.1.1 on the wire (Linux Documentation/usb/usbip_protocol.rst): what a server reads and
 * writes. All numbers are big-endian but the setup bytes, which stay as on USB.
 */
#ifndef VBOARD_USBIP_WIRE_H
#define VBOARD_USBIP_WIRE_H

#include "usb_bus.h"

enum {
    USBIP_PORT = 3240,
    USBIP_VERSION = 0x0111,
    USBIP_REQ_DEVLIST = 0x8005,
    USBIP_REQ_IMPORT = 0x8003,
    USBIP_REP_DEVLIST = 0x0005,
    USBIP_REP_IMPORT = 0x0003,

    USBIP_OP = 8, /* bytes of an operation's header */
    USBIP_BUSID = 32,
    USBIP_RECORD = 312,
    USBIP_HEADER = 48, /* bytes of a URB's header */
    USBIP_LENGTH_MAX = 1 << 20,

    USBIP_SUBMIT = 1,
    USBIP_UNLINK = 2,
    USBIP_RET_SUBMIT = 3,
    USBIP_RET_UNLINK = 4,

    USBIP_OUT = 0,
    USBIP_IN = 1,
    USBIP_ZERO_PACKET = 0x40, /* of transfer_flags */
};

enum usbip_status { USBIP_OK, USBIP_NOT_AVAILABLE, USBIP_BUSY, USBIP_ERROR, USBIP_NO_DEVICE };

struct usbip_command {
    uint32_t command, seqnum, devid, direction, endpoint;
    uint32_t flags, length, packets; /* of a submit */
    uint32_t unlink;                 /* seqnum of the submit to cancel */
    struct vusb_setup setup;
};

void usbip_parse(const uint8_t bytes[USBIP_HEADER], struct usbip_command *command);

/* Bytes of the data that follow a submit. */
size_t usbip_payload(const struct usbip_command *command);

/* Is a submit one that a host could have meant? (usbip.md §8: else the connection ends.) */
bool usbip_submit_is_sound(const struct usbip_command *command);

void usbip_put_op(uint8_t bytes[USBIP_OP], uint16_t code, enum usbip_status status);
void usbip_put_submitted(uint8_t bytes[USBIP_HEADER], uint32_t seqnum, int status, uint32_t actual);
void usbip_put_unlinked(uint8_t bytes[USBIP_HEADER], uint32_t seqnum, int status);

/* The device as a list or an import shows it, on bus 1 with that number. */
void usbip_put_record(uint8_t bytes[USBIP_RECORD], const struct usb_bus *bus, const char *busid,
                      uint16_t number);

/* What follows a record in a list: 4 bytes for each interface's first alternate. Returns how many
 * bytes, at most `room`. */
size_t usbip_put_interfaces(uint8_t *bytes, size_t room, const struct usb_bus *bus);

/* The negative errno of a transfer's end. */
int usbip_errno(enum bus_end end);

#endif
