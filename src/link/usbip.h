/*
 * The part of USB/IP before a device is ours: names, the list, the import. Document: Linux
 * Documentation/usb/usbip_protocol.rst. All numbers on the wire are big-endian.
 */
#ifndef MFLASH_USBIP_H
#define MFLASH_USBIP_H

#include "link/tcp.h"
#include "link/usb.h"

enum { USBIP_BUSID_MAX = 32 }; /* with its NUL */

/* "usbip:HOST[:PORT][/BUSID]"; busid "" = none. */
struct usbip_name {
    struct tcp_address address;
    char busid[USBIP_BUSID_MAX];
};

bool usbip_parse(struct usbip_name *name, const char *text);

enum usbip_speed { USBIP_LOW_SPEED = 1, USBIP_FULL_SPEED, USBIP_HIGH_SPEED };

/* What a server says of a device. */
struct usbip_record {
    char busid[USBIP_BUSID_MAX];
    unsigned bus, address;
    uint32_t speed;
    uint16_t vid, pid, bcd;
    uint8_t class;
    uint8_t configuration; /* current one, 0 = none */
    uint8_t interfaces;
};

/*
 * Connects and imports name->busid; `text` is what the user calls it. Returns the connected socket,
 * non-blocking, on which URBs may be sent; or ERR_NO_ANSWER (nobody listens, or says nothing),
 * ERR_NO_DEVICE (not exported there; lists what is), ERR_BUSY, ERR_PROTOCOL, ERR_FAILED. A device
 * that somebody has just let go stays busy for a moment: that is waited out, until `patience`.
 */
int usbip_import(const char *text, const struct usbip_name *name, struct clock *clock,
                 uint64_t patience, struct usbip_record *record, struct error *err);

#endif
