/*
 * The wire between a host and a model: byte times, the device's receiver depth, what a wrong rate
 * makes of a byte, USB packets, and the faults that happen on a line. Shared by the pty server
 * (real time) and virtual_serial.c (virtual time).
 *
 * The driver owns the time: it hands over host bytes with line_write() at line->v.now, calls
 * line_advance() to let time pass, waits no longer than line_next(), and fetches with line_take()
 * what has reached the host. Unpaced, bytes and flash need no time; boot windows stay as they are.
 */
#ifndef VBOARD_LINE_H
#define VBOARD_LINE_H

#include "klipper_app.h"

/* A host message is a run of host bytes up to the first byte the device sends after it. 0 = never.
 * Each fault happens once in the life of a line. */
struct line_faults {
    unsigned drop;    /* one byte of the device's reply to the Nth message is lost */
    unsigned corrupt; /* one byte of that reply is changed */
    unsigned stall;   /* from the Nth message on, silence until the next reset */
    unsigned cut;     /* the link hangs up after the Nth message */
    unsigned power;   /* the chip loses power there: hangs up, comes back with a power-on reset */
};

struct line_byte {
    uint64_t at;     /* nanoseconds: when its stop bit is over */
    uint32_t packet; /* USB: which packet it came in */
    uint8_t value;
    bool framing_error;
};

struct line_queue {
    struct line_byte *bytes; /* a ring of `room`, a power of two */
    size_t head, count, room;
};

struct line {
    struct vline v; /* what the model sees; v.now is the time */
    struct vserial *device;
    const struct vmemory *flash; /* see line_watch_flash() */
    struct klipper_app klipper;  /* runs and answers in the device's place */
    bool application;            /* the device says so; it has been looked at since */
    struct line_faults faults;
    bool stream;   /* packet borders of the host are unknown (pty): drop_packet does nothing */
    bool up;       /* false: hung up by `cut`, `power` or the device leaving the bus */
    unsigned lost; /* how often the link went away */
    bool dtr, rts;
    uint32_t baud; /* the host's rate */
    unsigned bits; /* bit times of one host byte: 10 for 8N1 */

    struct line_queue to_device;     /* on the wire */
    struct line_queue receiver;      /* arrived, the program has not looked */
    struct line_queue to_host;       /* on the wire, or waiting for it */
    struct line_queue arrived;       /* at the host, not yet taken */
    uint64_t host_free, device_free; /* nanoseconds: when either direction's wire is free */
    uint32_t packet;                 /* number of the last packet the host sent */
    uint32_t packet_heard;           /* number of the packet of the last byte received */

    unsigned messages; /* host messages so far */
    bool in_message;
    bool stalled;
    bool power_lost; /* the reset that follows is still to come */
};

/* Starts at device->parked with both modem lines inactive. `faults` may be NULL. */
void line_init(struct line *line, struct vserial *device, bool paced,
               const struct line_faults *faults);

/*
 * The flash that the device's application comes from. While the device says that one runs
 * (vserial_ops.runs) and it is Klipper for this port, that answers: on a UART at the rate it was
 * built for. Resets, modem lines and the touch stay with the device. The flash outlives the line.
 */
void line_watch_flash(struct line *line, const struct vmemory *flash);

/* Takes the line away from its device, which lives on, and frees what it held. */
void line_free(struct line *line);

/* The host changes modem lines and rate. A rising DTR resets a board made so. */
void line_set(struct line *line, bool dtr, bool rts, uint32_t baud);

/* One write() of the host, now. On USB it travels in packets of 64 bytes. */
void line_write(struct line *line, const uint8_t *bytes, size_t length);

/* What has reached the host by now; returns how many bytes, at most `max`. */
size_t line_take(struct line *line, uint8_t *bytes, size_t max);

/* Moment of the next event, in microseconds; UINT64_MAX if nothing will happen by itself. */
uint64_t line_next(const struct line *line);

/* Lives through everything due up to `now` (microseconds), in order. */
void line_advance(struct line *line, uint64_t now);

/* The reset button, or power off and on: also ends a stall. */
void line_reset(struct line *line, enum vreset cause);

/* After a hang-up: the host has the link again (a pty was made anew, a cable plugged in). A device
 * that left the bus comes back by itself. */
void line_restore(struct line *line);

#endif
