/* A connection to the USB/IP server: bytes in, bytes out, and the transfers it has under way. */
#ifndef VBOARD_USBIP_CLIENT_H
#define VBOARD_USBIP_CLIENT_H

#include "usbip_wire.h"

/* One submit that has no answer yet. */
struct urb {
    struct bus_transfer transfer; /* first */
    uint32_t seqnum;
    struct urb *next; /* in the order they came */
    uint8_t bytes[];
};

struct bytes {
    uint8_t *at;
    size_t count, room;
};

struct client {
    int fd; /* -1: there is none */
    bool importer;
    bool closing; /* what is left of the output goes first */
    bool broken;  /* nothing more comes of it */
    struct bytes input, output;
    struct urb *urbs;
    size_t urb_count;
};

/* Reads what has come; false: the client has gone. */
bool client_read(struct client *client);

/* Sends what there is room for; false: the client has gone. */
bool client_flush(struct client *client);

/* Appends to the output; the client is broken if it reads nothing for too long. */
void client_say(struct client *client, const void *bytes, size_t length);

/* Takes bytes from the head of the input. */
void client_take(struct client *client, size_t count);

/* A URB with room for `length` bytes, last of the list; NULL: too much is under way, or out of
 * memory. */
struct urb *client_urb(struct client *client, uint32_t seqnum, size_t length);

struct urb *client_find(const struct client *client, uint32_t seqnum);

/* Takes a URB that has ended out of the list and frees it. */
void client_forget(struct client *client, struct urb *urb);

/* Closes the socket and frees all; the URBs have ended. */
void client_close(struct client *client);

#endif
