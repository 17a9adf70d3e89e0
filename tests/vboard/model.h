/*
 * A virtual board on a serial line: a strict device model, written from the device's own
 * specification, and the line that drives it. The same model serves a pty (serve_pty.c, real time)
 * and a unit test (virtual_serial.c, virtual time).
 *
 * Time is line->now in microseconds. Models never sleep: they say by next() when their next timer
 * is due and are called back by tick(). Wire time, receiver depth and fault injection are the
 * line's business: receive() is called at the moment a whole byte has arrived.
 */
#ifndef VBOARD_MODEL_H
#define VBOARD_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vserial;

/* Why a chip starts: power-on, reset pin, watchdog. */
enum vreset { VRESET_POWER, VRESET_PIN, VRESET_WATCHDOG };

/* VPROGRAM_KLIPPER: the application is Klipper, and built for this port. */
enum vprogram { VPROGRAM_LOADER, VPROGRAM_APPLICATION, VPROGRAM_KLIPPER };

struct vserial_ops {
    void (*reset)(struct vserial *dev, enum vreset cause);
    void (*receive)(struct vserial *dev, uint8_t byte);
    /* Moment of the next timer, UINT64_MAX if none; tick() runs those due at line->now. */
    uint64_t (*next)(const struct vserial *dev);
    void (*tick)(struct vserial *dev);
    /* Host changed the line. `rate_ok`: NULL, or tells whether the device's UART understands the
     * host's rate now (a byte at a wrong rate arrives as garbage). */
    void (*lines)(struct vserial *dev, bool dtr, bool rts, uint32_t baud);
    bool (*rate_ok)(const struct vserial *dev, uint32_t baud);
    /* True while the program does not look at its receiver (it programs, or waits for a byte to
     * leave): bytes then wait in the receiver, rx_depth of them, or are lost. It may end by tick()
     * or by a byte leaving. NULL: never. */
    bool (*busy)(const struct vserial *dev);
    /* Which program has the chip, and so what it is on a bus and who answers (line.h). NULL: always
     * the loader. */
    enum vprogram (*runs)(const struct vserial *dev);
    void (*destroy)(struct vserial *dev);
};

/* Of the host's bytes. A pty has no parity: there it stays unseen, and is not to be judged. */
enum vparity { VPARITY_UNSEEN, VPARITY_NONE, VPARITY_EVEN, VPARITY_ODD };

/* The line, as the model sees it. Implemented by the two drivers. */
struct vline {
    uint64_t now;
    bool paced; /* flash and wire take real time; false: flash times count as 0 */
    /* Sends one byte to the host; the line queues and paces it. */
    void (*send)(struct vline *line, uint8_t byte);
    /* True if the nth byte sent has not left yet: the device still transmits. */
    bool (*sending)(const struct vline *line);
    /* The device leaves the bus / comes back (USB boards: re-enumeration). On a plain UART: NULL.
     */
    void (*detach)(struct vline *line, uint64_t back_at);
    /* USB: throws away what is left of the packet whose byte receive() was last given. */
    void (*drop_packet)(struct vline *line);
    bool framing_error; /* of the byte receive() is given: its stop bit was 0 (wrong rate) */
    uint32_t packet;    /* USB: number of the packet it came in; 0 = borders are unknown (pty) */
    enum vparity parity;
};

/* One model instance; the first member of each model's own struct. */
struct vserial {
    const struct vserial_ops *ops;
    struct vline *line;
    bool reset_on_dtr;       /* DTR edge inactive → asserted resets the chip */
    bool judges_application; /* it acts a Klipper out itself, from where its loader starts one */
    uint32_t baud;           /* of the device's UART; 0 = any (USB CDC) */
    unsigned rx_depth; /* bytes the receiver holds while the device is busy; 0 = USB, unlimited */
    unsigned bits;     /* bit times of a byte it sends; 0 = 10, 8N1 */
    uint64_t parked;   /* the moment its last line was taken away: the next one starts there */
    uint64_t back_at;  /* USB: off the bus until then */
};

/* A memory of the virtual chip. The server may map a file there (--flash, --mem), so what was
 * written so far is kept whenever the power goes. */
struct vmemory {
    uint8_t *bytes;
    size_t size;
    uint64_t stuck; /* --fault stuck:ADDR: this byte's 0 bits will not program; UINT64_MAX = none */
};

/* Faults that the model itself must act out (drop, corrupt, stall, cut, power are the line's). */
struct vfaults {
    unsigned nak;  /* answer failure to the Nth host message since power-on; 0 = never */
    bool locked;   /* lock bits / protection set */
    bool wrong_id; /* answers another chip's identity */
};

/* What a model is made from. Memories are allocated by whoever makes it (all FF = erased unless a
 * file says otherwise) and outlive it. fuses: lfuse, hfuse, efuse, lock, one byte each. */
struct vconfig {
    const struct chip *chip;
    struct vmemory flash, eeprom, fuses;
    struct vmemory qspi;    /* external flash at 0x90000000; size 1: there is none */
    struct vmemory options; /* STM32 option bytes, SAM GPNVM bits and user row; vmodel.options */
    struct vfaults faults;
    bool fresh;          /* a chip from the factory: default fuses, no bootloader */
    bool app;            /* start in the application, not in the loader */
    const char *variant; /* a model's own word: "2011", "stk500", "avrisp" …; NULL = the usual */
    unsigned node;       /* CAN: which of several, from 0; its chip id, and so its UUID, follow */
};

/* A kind of board: exported by each file of tests/vboard/models and tests/vboard/avr as
 * `const struct vmodel vmodel_NAME`; a generated table finds them as methods are found. */
struct vmodel {
    const char *name;   /* "optiboot", "stk500boot", "m0", "caterina", "stk500-programmer" … */
    const char *method; /* the mflash method it speaks: "stk500v1", "isp" … */
    const char *const *chips; /* names of chips it can be, ends with NULL */
    uint32_t baud;            /* its UART's rate; 0 = USB CDC, any */
    size_t options;           /* bytes of vconfig.options; 0 = it has none */
    bool fresh;               /* it is a programmer with a bare target behind it (--fresh) */
    const char *proof; /* what proves the model: "avrdude -c wiring", "real firmware in simavr" */
    /* NULL with a line on stderr if it cannot be made. One of these, by what it is: a serial line
     * (also USB CDC), a USB device (usb_model.h), a node on a CAN bus (can_model.h). */
    struct vserial *(*create)(const struct vconfig *config);
    struct vusb *(*create_usb)(const struct vconfig *config);
    struct vcan *(*create_can)(const struct vconfig *config);
};

/* All models of this executable, sorted by name; ends with NULL. Generated. */
extern const struct vmodel *const vmodels[];

#endif
