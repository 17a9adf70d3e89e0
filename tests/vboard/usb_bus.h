/*
 * The bus between a host and a virtual USB device: standard requests, stalls, packets, frames, what
 * an address on the bus means, and the faults that happen there. Shared by the USB/IP server (real
 * time) and virtual_usb.c (virtual time). Documents: USB 2.0 chapters 5, 8, 9.
 *
 * The driver owns the time: it hands over transfers with usb_bus_submit() at bus->v.now, calls
 * usb_bus_advance() to let time pass, waits no longer than usb_bus_next(), and looks at
 * transfer->end. Unpaced, packets and frames need no time.
 */
#ifndef VBOARD_USB_BUS_H
#define VBOARD_USB_BUS_H

#include "line.h"
#include "usb_model.h"

enum bus_end {
    BUS_PENDING,
    BUS_DONE,
    BUS_STALL,
    BUS_CANCELLED,
    BUS_BABBLE, /* the device sent more than the host had asked for */
    BUS_GONE,   /* it left the bus */
};

/* One transfer of the host. Belongs to the bus while `end` is BUS_PENDING. */
struct bus_transfer {
    uint8_t endpoint; /* number, with 0x80 for IN; 0 = control */
    struct vusb_setup setup;
    uint8_t *bytes; /* of a control transfer: its data stage */
    size_t length, actual;
    bool zero_packet; /* OUT of whole packets: an empty one says that this was all */
    enum bus_end end;

    /* The bus's own. */
    struct bus_transfer *next;
    uint64_t due; /* nanoseconds: its next packet */
    bool counted; /* as a host message, for the faults */
    bool waiting; /* the device said NAK */
    bool passed;  /* the device has done its part; what is left is wire time */
};

enum { BUS_ENDPOINTS = 32, BUS_INTERFACES = 32 };

struct usb_bus {
    struct vusb_bus v; /* what the model sees; v.now is the time */
    struct vusb *device;
    struct line_faults faults;
    bool up;       /* false: it left the bus, or was cut off */
    unsigned lost; /* how often it left */

    uint8_t configuration;              /* 0 = not configured */
    uint8_t alternates[BUS_INTERFACES]; /* by interface number */
    bool halted[BUS_ENDPOINTS];

    /* Waiting transfers in order: 0 is control, then OUT 1 to 15, IN 1 to 15 from 17 on. */
    struct bus_transfer *queues[BUS_ENDPOINTS];
    uint64_t wire_free; /* nanoseconds: the last packet's end */

    unsigned messages; /* of the host so far */
    bool in_message;   /* and the device has sent nothing since */
    bool silent;       /* `stall` has happened */
};

/*
 * A host message is a class or vendor request, or an OUT transfer of another endpoint; its reply is
 * the next data that the device sends. `faults`: by that count (line.h); `cut` and `power` happen
 * when the message is over. May be NULL. Starts at device->parked.
 */
void usb_bus_init(struct usb_bus *bus, struct vusb *device, bool paced,
                  const struct line_faults *faults);

/* Takes the bus away from its device, which lives on; what is under way ends with BUS_GONE. */
void usb_bus_free(struct usb_bus *bus);

/* Starts a transfer, now. It may have ended already (BUS_GONE, BUS_STALL). */
void usb_bus_submit(struct usb_bus *bus, struct bus_transfer *transfer);

/* Ends one that is still pending with BUS_CANCELLED. */
void usb_bus_cancel(struct usb_bus *bus, struct bus_transfer *transfer);

/* Moment of the next event, in microseconds; UINT64_MAX if nothing will happen by itself. */
uint64_t usb_bus_next(const struct usb_bus *bus);

/* Lives through everything due up to `now` (microseconds), in order. */
void usb_bus_advance(struct usb_bus *bus, uint64_t now);

/* The host resets the bus: the device is not configured any more. It may leave. */
void usb_bus_host_reset(struct usb_bus *bus);

/* The reset button, or power off and on: off the bus until the model comes back. Ends a silence. */
void usb_bus_reset(struct usb_bus *bus, enum vreset cause);

/* After a cut: the cable is plugged in again. */
void usb_bus_restore(struct usb_bus *bus);

/* ---- usb_requests.c: chapter 9, for the core itself ---- */

struct bus_endpoint {
    uint8_t type; /* 1 isochronous, 2 bulk, 3 interrupt */
    uint16_t packet;
    uint8_t interval; /* bInterval */
};

/* An endpoint of the current configuration and alternate settings; false if there is none. */
bool usb_find_endpoint(const struct usb_bus *bus, uint8_t address, struct bus_endpoint *endpoint);

/* Place of an endpoint in queues and halts. */
unsigned usb_endpoint_index(uint8_t address);

/* True for a class or vendor request. */
bool usb_is_message(const struct vusb_setup *setup);

/* Answers a request, or asks the model. IN: `data` has room for *length bytes. */
enum vusb_answer usb_request(struct usb_bus *bus, const struct vusb_setup *setup, uint8_t *data,
                             size_t *length);

/* ---- usb_timing.c: the wire, for the core itself. Nanoseconds; unpaced nothing takes time. ----
 */

uint64_t usb_packet_time(const struct usb_bus *bus, size_t length);

/* When the device is asked for the next packet, or has it: OUT the end of the packet, IN its
 * beginning; of a control transfer the stage that the device answers in. */
uint64_t usb_due(const struct usb_bus *bus, const struct bus_transfer *transfer, uint64_t from);

/* End of the status stage of a control transfer that the device has answered at transfer->due. */
uint64_t usb_control_end(const struct usb_bus *bus, const struct bus_transfer *transfer);

#endif
