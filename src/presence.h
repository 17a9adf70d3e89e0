/*
 * What stands where on the buses of this machine, or of a USB/IP server: serial ports and USB
 * devices as one list. Passive: sysfs, or a server's own list; nothing is opened but for
 * scope.texts.
 */
#ifndef MFLASH_PRESENCE_H
#define MFLASH_PRESENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "board/board.h"
#include "link/usb.h"

/* One serial port, or one USB device that has none. A device with several ports is there once for
 * each. */
struct presence {
    char place[USB_NAME_MAX];  /* stays when a device re-enumerates: "1-1.4", "usbip:HOST:PORT/1-1";
                                  "" for a port that is on no bus */
    char tty[256];             /* what serial_open() takes, or "" */
    char path[64];             /* the kernel's name of that port, "/dev/ttyACM0", or "" */
    char device[USB_NAME_MAX]; /* what usb_open() takes, or "" */
    bool usb;                  /* the next are valid */
    uint16_t vid, pid;
    char serial[USB_TEXT_MAX], product[USB_TEXT_MAX];
    char holder[USB_TEXT_MAX]; /* "klippy (pid 812)" if a process has it open (scope.holders) */
    bool dfu_runtime;          /* its application can be sent into DFU mode (DFU 1.1 §4.1) */
};

/* Where to look: sysfs of this machine, or `server`, "usbip:HOST[:PORT][/BUSID]". */
struct presence_scope {
    const char *sysfs;  /* "/sys" */
    const char *server; /* or NULL */
    bool holders;       /* also who has each open */
    bool texts;         /* also serial number and product of a server's devices, which are asked:
                           this machine's are there anyway */
};

/* Sorted by place and port; free(*list). */
int presence_list(struct presence **list, size_t *count, const struct presence_scope *scope,
                  struct error *err);

/* What is at a place now, without a server's texts; false: nothing. `sysfs` as in the scope; a
 * place of USB/IP names its server itself. */
bool presence_at(struct presence *found, const char *place, const char *sysfs);

/* Is one of these ids its own? */
bool presence_has_id(const struct presence *presence, const struct usb_id *ids, size_t count);

/*
 * True if two USB serial numbers are of one board: equal, or one is the 24-digit chip id that
 * firmware tells and the other the 12 digits that the DFU loader in the ROM of that STM32 makes of
 * it (AN2606; 8-bit sums).
 */
bool presence_same_serial(const char *a, const char *b);

/* "/dev/serial/by-id/… (1d50:614e stm32f103xe)", "1-1.4 (1209:beba HID Bootloader)" */
void presence_text(const struct presence *presence, char *text, size_t size);

#endif
