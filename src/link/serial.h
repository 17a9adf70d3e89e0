/*
 * The serial link. Backends: libserialport for real ports, a plain descriptor for ptys and
 * tcp:HOST:PORT, CDC-ACM over USB/IP, and whatever a test puts behind `struct serial_ops`.
 *
 * All waiting, timing, tracing and counting happens here, once. Deadlines are moments on
 * serial->clock (see clock.h), not durations.
 */
#ifndef MFLASH_SERIAL_H
#define MFLASH_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/trace.h"

enum parity { PARITY_NONE, PARITY_EVEN, PARITY_ODD };

struct serial_settings {
    uint32_t baud; /* any rate, also 250000 */
    enum parity parity;
    uint8_t stop_bits; /* 1 or 2 */
};

struct serial;

struct serial_ops {
    const char *name; /* "libserialport", "pty", "tcp", "cdc-acm", "virtual" */
    int (*configure)(struct serial *serial, const struct serial_settings *settings,
                     struct error *err);
    /* At least one byte, or 0 once the deadline has passed, or a negative code. */
    ssize_t (*read)(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                    struct error *err);
    /* All of it handed to the line, or a negative code (ERR_NO_ANSWER: deadline). */
    int (*write)(struct serial *serial, const uint8_t *bytes, size_t length, uint64_t deadline,
                 struct error *err);
    /* NULL: the line has no modem lines (pty, tcp). */
    int (*set_lines)(struct serial *serial, bool dtr, bool rts, struct error *err);
    /* For a line without modem lines: does what resets a board there (a pty is closed and opened
     * again). NULL: cannot be reset from here. */
    int (*reopen)(struct serial *serial, struct error *err);
    void (*drop_input)(struct serial *serial);
    void (*close)(struct serial *serial); /* frees the backend and the struct */
};

struct serial {
    const struct serial_ops *ops;
    struct clock *clock;
    struct trace *trace;
    int trace_port;
    char name[256]; /* as the user gave it */
    struct serial_settings settings;
    bool dtr, rts; /* as last set */
    uint64_t
        received; /* bytes since the last serial_drop_input or reset: "nothing at all came back" */
};

/*
 * Opens `device`: a path (links are resolved), tcp:HOST:PORT, or the CDC-ACM function of a
 * USB device, usbip:HOST[:PORT]/BUSID. A real port is refused while
 * another process has it open, then locked (flock and TIOCEXCL; a pty by flock alone). On a port
 * with FTDI's latency timer, sets it low until it is closed. DTR and RTS stay as the driver sets
 * them on open (asserted). Errors: ERR_NO_DEVICE (names the ports there are), ERR_BUSY (names the
 * process that holds it, and its service), ERR_PERMISSION (names node, group and command),
 * ERR_NO_ANSWER (tcp), ERR_USAGE, ERR_FAILED (the line does not take these settings).
 */
int serial_open(struct serial **serial, const char *device, const struct serial_settings *settings,
                struct trace *trace, struct error *err);
void serial_close(struct serial *serial); /* NULL is fine */

int serial_configure(struct serial *serial, const struct serial_settings *settings,
                     struct error *err);
int serial_set_baud(struct serial *serial, uint32_t baud, struct error *err);

/* Exactly `length` bytes before the deadline, else ERR_NO_ANSWER (err says how many came). */
int serial_read(struct serial *serial, uint8_t *bytes, size_t length, uint64_t deadline,
                struct error *err);

/* What is there, at least one byte; 0 when the deadline passes first; negative code on failure. */
ssize_t serial_read_some(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                         struct error *err);

/* Hands all bytes to the line; its deadline is the wire time plus two seconds. */
int serial_write(struct serial *serial, const uint8_t *bytes, size_t length, struct error *err);

/* Throws away what has been received and not read. */
void serial_drop_input(struct serial *serial);

/* Reads and throws away until the line has been silent for `silence` microseconds, or `limit`
 * microseconds have passed. Returns how many bytes were thrown away, or a negative code. */
ssize_t serial_drain(struct serial *serial, uint64_t silence, uint64_t limit, struct error *err);

/* ERR_NOT_POSSIBLE on a line without modem lines. */
int serial_set_lines(struct serial *serial, bool dtr, bool rts, struct error *err);

/*
 * The reset edge of boards with DTR (and RTS) through a capacitor to RESET: both inactive for
 * `off` microseconds, then asserted. Input is dropped. On a pty: closed for 20 ms and opened again.
 * Boards behind tcp: nothing happens but dropping input (their far end pulsed on connect).
 */
int serial_pulse_reset(struct serial *serial, uint64_t off, struct error *err);

/* Time the line needs for `bytes` at the current settings, in microseconds, rounded up. */
uint64_t serial_wire_time(const struct serial *serial, size_t bytes);

/* The 1200-baud touch: opens, sets 1200 baud, drops DTR, closes. Failures after the port was
 * opened are ignored: the device may be gone before it answers. */
int serial_touch_1200(const char *device, struct trace *trace, struct error *err);

/* A serial port as sysfs knows it; nothing is opened. */
struct serial_port {
    char path[64];   /* "/dev/ttyACM0" */
    char by_id[192]; /* "/dev/serial/by-id/…", or "" */
    char driver[32]; /* "cdc_acm", "ch341" … */
    bool usb;
    uint16_t vid, pid;
    char serial[128], manufacturer[128], product[128]; /* bounded, printable */
    char bus_path[64];                                 /* "1-1.4" */
    char holder[128]; /* "klippy (pid 812)" if another process holds it (ports_holders), else "" */
};

/* All ports of the machine, sorted by path; free(*ports). `sysfs`: "/sys" (tests pass a tree). */
int serial_ports(struct serial_port **ports, size_t *count, const char *sysfs, struct error *err);

/* Who has the node open: writes "name (pid N)" and returns true; false if nobody (or not visible).
 */
bool serial_holder(const char *path, char *text, size_t size);

#endif
