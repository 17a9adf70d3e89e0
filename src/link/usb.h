/*
 * The USB link. Backends: libusb-1.0, a USB/IP client spoken directly over TCP (a device of another
 * host, or a virtual one, with no kernel driver and no root), and whatever a test puts behind
 * `struct usb_ops`.
 *
 * All waiting, timing, tracing and bounding of what a device says about itself happens here, once.
 * Deadlines are moments on usb->clock. Documents: USB 2.0 chapter 9, Linux
 * Documentation/usb/usbip_protocol.rst, Documentation/ABI/testing/sysfs-bus-usb.
 */
#ifndef MFLASH_USB_H
#define MFLASH_USB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/host.h"
#include "link/trace.h"

/* ---- what is on the bus: nothing is opened ---- */

enum { USB_INTERFACES_MAX = 16, USB_TEXT_MAX = 128, USB_NAME_MAX = 192 };

struct usb_interface {
    uint8_t number, class, subclass, protocol; /* of its current alternate setting */
    char driver[32];                           /* kernel driver bound to it, or "" */
};

/* A device as sysfs or a USB/IP server shows it. Texts are bounded and printable. */
struct usb_device {
    char name[USB_NAME_MAX]; /* what usb_open() takes: "1-1.4", "usbip:HOST:PORT/1-1" */
    char bus_path[64];       /* "1-1.4"; the bus id of USB/IP */
    uint16_t vid, pid, bcd;
    char serial[USB_TEXT_MAX], manufacturer[USB_TEXT_MAX], product[USB_TEXT_MAX];
    struct usb_interface interfaces[USB_INTERFACES_MAX];
    size_t interface_count;
    unsigned bus, address;     /* of /dev/bus/usb/BUS/ADDRESS; changes with every enumeration */
    char holder[USB_TEXT_MAX]; /* "klippy (pid 812)": has the usbfs node open (usb_holders) */
};

/* All devices of the machine but hubs, sorted by bus path; free(*devices). */
int usb_devices(struct usb_device **devices, size_t *count, const struct host *host,
                struct error *err);

/* Fills in who holds each: reads through all processes, which takes time. */
int usb_holders(struct usb_device *devices, size_t count, const struct host *host,
                struct error *err);

/* The same of a USB/IP server: "usbip:HOST[:PORT]" or with "/BUSID" behind it (then only that one).
 * A server does not tell texts: they are "". ERR_NO_ANSWER: nobody listens. */
int usbip_devices(struct usb_device **devices, size_t *count, const char *server,
                  struct error *err);

/* Asks those for their texts that nobody has imported, by importing each for a moment. */
void usbip_texts(struct usb_device *devices, size_t count);

/* True if the text is "usbip:HOST[:PORT][/BUSID]". */
bool usbip_is_name(const char *text);

/* ---- arrival and departure ---- */

/*
 * Tells when something on the bus may have changed: kernel events (netlink) where this machine
 * sends them, else, and for USB/IP, a short interval. Open it before what causes the change.
 * `name`: as usb_device.name, or any tty path; decides which kind. NULL: out of memory.
 */
struct usb_watch;
struct usb_watch *usb_watch_open(const char *name);
/* Returns after an event, or after the interval, or at the deadline (monotonic clock): the caller
 * looks again. */
void usb_watch_wait(struct usb_watch *watch, uint64_t deadline);
void usb_watch_close(struct usb_watch *watch); /* NULL is fine */

/* ---- an open device ---- */

struct usb;

struct usb_setup {
    uint8_t type, request; /* bmRequestType, bRequest */
    uint16_t value, index, length;
};

enum usb_end {
    USB_PENDING,
    USB_DONE,
    USB_STALL,     /* the device refused it: EPIPE */
    USB_CANCELLED, /* by usb_ops.cancel; `actual` bytes went before that */
    USB_BABBLE,    /* the device sent more than was asked for */
    USB_GONE,      /* it left the bus */
    USB_FAILED,    /* anything else of the bus or the host */
};

/* One transfer under way. Belongs to the caller and stays where it is until it has ended; then the
 * backend forgets it. */
struct usb_transfer {
    uint8_t endpoint;       /* number, with 0x80 for IN; 0 = control */
    struct usb_setup setup; /* control only; its length is also `length` */
    uint8_t *bytes;         /* IN: room for `length`; OUT: what is sent; data stage of a control */
    size_t length, actual;
    enum usb_end end;
    void *backend; /* the backend's own */
    uint64_t id;   /* in the trace; 0 = not there, or its end is written */
};

struct usb_ops {
    const char *name; /* "libusb", "usbip", "virtual" */
    /* Starts a transfer. OK, or a negative code and it has not begun. Transfers of one endpoint end
     * in the order they were started. */
    int (*submit)(struct usb *usb, struct usb_transfer *transfer, struct error *err);
    /* Lives until `transfer` has ended or the deadline passes (others may end meanwhile). OK in
     * both cases; an error only if the link itself broke (then every transfer has ended). */
    int (*await)(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline,
                 struct error *err);
    /* Asks for an end; await() then sees USB_CANCELLED, or how it ended just before. */
    void (*cancel)(struct usb *usb, struct usb_transfer *transfer);
    /* NULL: nobody else can have it. */
    int (*claim)(struct usb *usb, uint8_t interface, struct error *err); /* detaches its driver */
    /* Gives it back; usb->claimed has what is left. */
    void (*release)(struct usb *usb, uint8_t interface);
    /* NULL: the standard request does it, with nobody in between who must know. */
    int (*configure)(struct usb *usb, uint8_t configuration, struct error *err);
    int (*set_alternate)(struct usb *usb, uint8_t interface, uint8_t alternate, struct error *err);
    int (*clear_halt)(struct usb *usb, uint8_t endpoint, struct error *err);
    /* Bus reset. ERR_GONE: it came back as another device, this handle is dead. NULL: not possible.
     */
    int (*reset)(struct usb *usb, struct error *err);
    void (*close)(struct usb *usb); /* all is released; frees the backend and the struct */
};

enum { USB_CONFIGURATION_MAX = 4096 };

struct usb {
    const struct usb_ops *ops;
    struct clock *clock;
    struct trace *trace;
    int trace_port;
    char name[USB_NAME_MAX];
    struct usb_device device; /* as it was when it was opened */
    /* Raw descriptors, as the device sent them: to be read with usb_descriptor_next(). */
    uint8_t device_descriptor[18];
    uint8_t configuration[USB_CONFIGURATION_MAX];
    size_t configuration_length;
    uint8_t configured; /* bConfigurationValue of the current one, 0 = none */
    uint16_t language;  /* of strings; 0 = not asked yet */
    uint32_t claimed;   /* interfaces that are ours, bit N is number N */
    uint64_t transfers; /* begun so far */
    enum usb_end last;  /* how the last usb_control/usb_in/usb_out ended */
};

/*
 * Opens a device by name (usb_device.name). Errors: ERR_NO_DEVICE (names what is on the bus
 * instead), ERR_PERMISSION (prints the udev rule and the command that installs it), ERR_BUSY,
 * ERR_NO_ANSWER (usbip), ERR_FAILED.
 */
int usb_open(struct usb **usb, const char *name, struct trace *trace, struct error *err);
void usb_close(struct usb *usb); /* NULL is fine */

/* Makes an interface ours (once more does nothing): its kernel driver is detached, and attached
 * again on close. ERR_BUSY names who has it. */
int usb_claim(struct usb *usb, uint8_t interface, struct error *err);
void usb_release(struct usb *usb, uint8_t interface);
int usb_set_alternate(struct usb *usb, uint8_t interface, uint8_t alternate, struct error *err);

/*
 * A control transfer, to its end or to the deadline. Returns the bytes of the data stage (IN: those
 * that came, at most setup->length), or ERR_STALL (the device refused), ERR_NO_ANSWER (deadline; it
 * was cancelled), ERR_GONE, ERR_PROTOCOL (babble), ERR_FAILED. usb->last tells more.
 */
ssize_t usb_control(struct usb *usb, const struct usb_setup *setup, uint8_t *bytes,
                    uint64_t deadline, struct error *err);

/* Bulk or interrupt, whatever the endpoint is. usb_in: what came, may be 0 (a short packet ends
 * it). usb_out: all of it, or an error (ERR_NO_ANSWER says how much went). */
ssize_t usb_in(struct usb *usb, uint8_t endpoint, uint8_t *bytes, size_t max, uint64_t deadline,
               struct error *err);
int usb_out(struct usb *usb, uint8_t endpoint, const uint8_t *bytes, size_t length,
            uint64_t deadline, struct error *err);
int usb_clear_halt(struct usb *usb, uint8_t endpoint, struct error *err);

/* Several at once, to keep the link full: submit, then await each. usb_await: OK when it has ended
 * (see transfer->end), ERR_NO_ANSWER at the deadline, when it is still under way. usb_cancel waits
 * for its end, shortly. */
int usb_submit(struct usb *usb, struct usb_transfer *transfer, struct error *err);
int usb_await(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline, struct error *err);
void usb_cancel(struct usb *usb, struct usb_transfer *transfer);
/* The code for a transfer's end: OK, ERR_STALL, ERR_NO_ANSWER (cancelled), ERR_GONE … */
int usb_ended(const struct usb *usb, const struct usb_transfer *transfer, struct error *err);

/* Bus reset: OK and still this device, or ERR_GONE: it re-enumerates. */
int usb_reset(struct usb *usb, struct error *err);

/* String descriptor as printable ASCII ('?' for the rest), clamped to what came; "" if `index` is 0
 * or the device does not tell. False: it does not tell. A string that is ASCII instead of UTF-16
 * (GD32 loaders) is taken as such. */
bool usb_string(struct usb *usb, uint8_t index, char *text, size_t size);

/*
 * Walks descriptors inside `length` bytes: *descriptor NULL starts. Every one that is handed out
 * lies whole inside, is at least 2 bytes long, and descriptor[0] is its length; one that lies about
 * its length ends the walk. False at the end.
 */
bool usb_descriptor_next(const uint8_t *bytes, size_t length, const uint8_t **descriptor);

enum { USB_DT_DEVICE = 1, USB_DT_CONFIGURATION, USB_DT_STRING, USB_DT_INTERFACE, USB_DT_ENDPOINT };

#endif
