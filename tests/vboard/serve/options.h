/* The command line of vboard-avr; vboard passes most of its own on. */
#ifndef VBOARD_OPTIONS_H
#define VBOARD_OPTIONS_H

#include "line.h"
#include "model.h"
#include "usb_serial.h"

struct options {
    const struct vmodel *model;
    const struct chip *chip;
    const char *link;  /* of --serve pty:LINK, else NULL */
    const char *can;   /* of --serve can:IFACE or can:unix:PATH, else NULL */
    bool usbip;        /* --serve usbip:PORT */
    uint16_t port;     /* of that; 0 = a free one */
    unsigned nodes;    /* on that bus: 1 or more */
    uint32_t bitrate;  /* of that bus; 0 = the usual one */
    unsigned bus_off;  /* --fault bus-off:N, as can_bus_faults */
    const char *ready; /* what comes before the place in the line `ready ...` */
    const char *flash_file, *eeprom_file, *fuses_file, *options_file, *qspi_file, *log_file,
        *variant;
    bool app, fresh, paced, verbose;
    const char *mcu, *product;     /* names of the chip and the board; NULL: as the chip */
    struct usb_serial_faces faces; /* what a serial model is on USB */
    char chip_serial[CDC_TEXT_MAX];
    struct line_faults line_faults;
    struct vfaults faults;
    uint64_t stuck; /* UINT64_MAX: none */
};

/* 0, or the exit status after a line on stderr. */
int options_parse(struct options *options, int argc, char **argv);

#endif
