/*
 * `--trace FILE`: everything that crossed the wire, as pcapng that Wireshark opens.
 * Serial lines are written as LINKTYPE_RTAC_SERIAL (250), USB transfers as
 * LINKTYPE_USB_LINUX_MMAPPED (220), CAN frames as LINKTYPE_CAN_SOCKETCAN (227). Thread-safe: one
 * trace serves all links.
 */
#ifndef MFLASH_TRACE_H
#define MFLASH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct trace;

enum trace_event { TRACE_SENT, TRACE_RECEIVED, TRACE_LINES };

int trace_open(struct trace **trace, const char *path, struct error *err);

/* Registers an interface (a port); returns its number for trace_serial. trace may be NULL. */
int trace_add_serial(struct trace *trace, const char *name);

/* `lines`: bit 0 DTR, bit 1 RTS, as after the event. trace may be NULL: does nothing. */
void trace_serial(struct trace *trace, int port, enum trace_event event, unsigned lines,
                  const uint8_t *bytes, size_t length);

/* The same for a USB device. */
int trace_add_usb(struct trace *trace, const char *name);

enum trace_usb_kind { TRACE_USB_INTERRUPT = 1, TRACE_USB_CONTROL = 2, TRACE_USB_BULK = 3 };

/* A transfer begins, or has ended: two events with the same id. */
struct trace_usb {
    uint64_t id;
    bool ended;
    enum trace_usb_kind kind;
    uint8_t endpoint; /* with 0x80 for IN; of a control transfer: 0x80 if its data stage is IN */
    uint16_t bus;
    uint8_t address;
    const uint8_t *setup; /* 8 bytes as on the wire: when a control transfer begins; else NULL */
    int status;           /* 0 or a negative errno, once it has ended */
    const uint8_t *bytes; /* OUT, when it begins; IN, when it has ended; else not looked at */
    size_t length;        /* asked for, when it begins; what went, when it has ended */
};

/* trace may be NULL: does nothing. */
void trace_usb(struct trace *trace, int port, const struct trace_usb *event);

/* The same for a CAN interface. `id`: with the flags of struct can_frame, in host order; `length`:
 * at most 8 bytes. */
int trace_add_can(struct trace *trace, const char *name);
void trace_can(struct trace *trace, int port, enum trace_event event, uint32_t id,
               const uint8_t *bytes, size_t length);

/* ERR_FAILED if anything could not be written (disk full): said once, at the end. */
int trace_close(struct trace *trace, struct error *err);

#endif
