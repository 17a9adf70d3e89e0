/*
 * A USB/IP server around one virtual device: its state, and what it does with a client's bytes
 * (usbip.c). The device's life and the loop are serve_usbip.c's.
 */
#ifndef VBOARD_USBIP_H
#define VBOARD_USBIP_H

#include "server.h"
#include "usbip_client.h"

enum { CLIENTS_MAX = 8 };

#define DEVICE_BUSID "1-1"

struct usbip {
    struct server *server;
    struct vusb *device;
    struct usb_bus bus;
    unsigned lost;      /* bus.lost when last looked at */
    bool there;         /* it has been seen on the bus since */
    bool told;          /* `ready` has been printed */
    uint16_t number;    /* of the device on bus 1; changes with every enumeration */
    uint64_t replug_at; /* a cut cable: when it is plugged in again; 0 = it is */
    int listener;
    uint16_t port;
    struct client clients[CLIENTS_MAX];
};

/* The client that has imported the device, or NULL. */
struct client *usbip_importer(struct usbip *usbip);

/* Reads what has come, acts upon it, answers what has ended, sends; a client that is through or has
 * broken a rule is gone afterwards. */
void usbip_serve_client(struct usbip *usbip, struct client *client);

/* What the device has still said, and then the end: it has left the bus. */
void usbip_device_left(struct usbip *usbip, struct client *client);

/* The client goes: a host whose cable was pulled. */
void usbip_leave(struct usbip *usbip, struct client *client);

#endif
