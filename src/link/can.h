/*
 * The CAN link. Backends: SocketCAN raw sockets; `unix:PATH`, which carries struct can_frame over a
 * SOCK_SEQPACKET socket, one frame a packet (a virtual bus, no root); and whatever a test puts
 * behind `struct can_ops`.
 *
 * One `struct can` is one conversation: it receives only the ids it listens to. Many on one bus are
 * many sockets. Documents: Linux Documentation/networking/can.rst,
 * include/uapi/linux/can/netlink.h.
 */
#ifndef MFLASH_CAN_H
#define MFLASH_CAN_H

#include <linux/can.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/serial.h"
#include "link/trace.h"

enum { CAN_NAME_LONGEST = 128, CAN_LISTEN_MAX = 8, CAN_UUID = 6 /* bytes of a Klipper node id */ };

/* ---- the interface: nothing is sent ---- */

enum can_bus_state {
    CAN_BUS_UNKNOWN, /* a virtual bus, or an adapter that does not tell (slcan) */
    CAN_BUS_ACTIVE,
    CAN_BUS_WARNING,
    CAN_BUS_PASSIVE,
    CAN_BUS_OFF,
    CAN_BUS_STOPPED,
    CAN_BUS_SLEEPING,
};

/* What this machine knows of an interface. Numbers are 0 where it does not tell. */
struct can_status {
    char name[CAN_NAME_LONGEST];
    bool up;
    bool physical; /* false: vcan, or unix: */
    bool line;     /* an adapter on a tty (slcan) */
    /* Its driver takes no restart-ms, and refuses a command that has it (slcan, gs_usb): what
     * becomes of bus-off is the adapter's own business. */
    bool restarts_itself;
    uint32_t bitrate;
    enum can_bus_state state;
    uint32_t restart_ms;
    unsigned tx_errors, rx_errors;
    unsigned queue; /* txqueuelen, frames */
    uint64_t received, sent;
};

const char *can_bus_state_name(enum can_bus_state state); /* "ERROR-ACTIVE" … as ip(8) says */

/* ERR_NO_DEVICE: no such interface (names those there are). */
int can_status(struct can_status *status, const char *name, struct error *err);

/* CAN interfaces of this machine, up to `max`; returns how many. */
size_t can_interfaces(struct can_status *list, size_t max);

/* What is wrong with a bus, in a sentence, and the command that mends it; false if nothing is. */
bool can_advice(const struct can_status *status, char *text, size_t size);

/* `--bring-up BITRATE`: sets bitrate, restart-ms 100 and a queue of 128 frames, and takes the
 * interface up; down first if it is up at another rate or bus-off. Already right: does nothing.
 * ERR_PERMISSION hints at the exact commands; ERR_BUSY: up at another rate, and in use. */
int can_bring_up(const char *name, uint32_t bitrate, struct error *err);

/* A process that receives on this interface (/proc/net/can): "klippy (pid 812)" or, where the owner
 * is not visible, "another process". False: nobody but us. */
bool can_holder(const char *name, char *text, size_t size);

/* ---- an open conversation ---- */

struct can;

struct can_ops {
    const char *name; /* "socketcan", "unix", "virtual" */
    /* Receives these standard ids and nothing else, NULL: all of them (error frames always).
     * can_receive() looks at ids itself: this only spares it what it would throw away. May be NULL.
     */
    int (*listen)(struct can *can, const uint16_t *ids, size_t count, struct error *err);
    /* Hands one frame to the bus, behind those before it. Does not wait. 1: taken; 0: the queue is
     * full (ENOBUFS), can_send() will come again; or a negative code. */
    int (*send)(struct can *can, const struct can_frame *frame, struct error *err);
    /* 1: a frame (also an error frame, CAN_ERR_FLAG), 0: deadline, or a negative code. */
    int (*receive)(struct can *can, struct can_frame *frame, uint64_t deadline, struct error *err);
    void (*close)(struct can *can);
};

/* What the bus said of itself since the conversation began. */
struct can_trouble {
    bool bus_off, passive, no_acknowledge;
    bool overflow; /* frames were lost on their way to us */
    unsigned tx_errors, rx_errors;
};

struct can {
    const struct can_ops *ops;
    struct clock *clock;
    struct trace *trace;
    int trace_port;
    char name[CAN_NAME_LONGEST]; /* "can0", "unix:/run/bus" */
    uint16_t ids[CAN_LISTEN_MAX];
    size_t id_count;
    bool everything;   /* all ids */
    uint64_t received; /* frames handed out */
    bool off;          /* the controller is bus-off now */
    struct can_trouble trouble;
};

/* Opens `name`. ERR_NO_DEVICE, ERR_PERMISSION, ERR_FAILED (interface down: how to take it up),
 * ERR_NO_ANSWER (unix: nobody listens). It listens to nothing yet. */
int can_open(struct can **can, const char *name, struct trace *trace, struct error *err);
void can_close(struct can *can); /* NULL is fine */

int can_listen(struct can *can, const uint16_t *ids, size_t count, struct error *err);

/* Receives what all others send: to see how full a bus is. */
int can_listen_all(struct can *can, struct error *err);

/* One frame, never lost on this side and never overtaken: a full queue (ENOBUFS) is waited out, 2 s
 * at most (ERR_NO_ANSWER). ERR_FAILED: bus-off. ERR_GONE: the interface went down or away. */
int can_send(struct can *can, uint16_t id, const uint8_t *bytes, size_t length, struct error *err);

/* 1: a data frame of an id that is listened to; 0: the deadline passed; ERR_FAILED: bus-off, until
 * the interface has restarted; ERR_GONE. Error frames are taken note of in can->trouble and not
 * handed out. */
int can_receive(struct can *can, struct can_frame *frame, uint64_t deadline, struct error *err);

/* After silence: what can->trouble and the interface's state say about why, as a hint. Where they
 * say nothing, the hint stays as it is. */
void can_explain_silence(const struct can *can, struct error *err);

/*
 * A stream of bytes between two ids, as a serial line: 8 bytes a frame, the last one short; so that
 * what speaks over a UART speaks over CAN. Owns nothing: `can` stays open and listens to `from`
 * already. Its ops name is "can", settings mean nothing, there are no modem lines.
 */
int can_stream_open(struct serial **serial, struct can *can, uint16_t to, uint16_t from,
                    struct error *err);

#endif
