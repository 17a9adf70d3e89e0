/* Listing the ports of a machine; serial_ports() of serial.h with all roots as parameters. */
#ifndef MFLASH_PORTS_H
#define MFLASH_PORTS_H

#include "link/host.h"
#include "link/serial.h"

int ports_list(struct serial_port **ports, size_t *count, const struct host *host,
               struct error *err);

/* Fills in who holds each: reads through all processes, which takes time. */
int ports_holders(struct serial_port *ports, size_t count, const struct host *host,
                  struct error *err);

/* sysfs directory of the USB device that a port belongs to. False: not on USB. */
bool ports_usb_device(const struct host *host, const char *tty, char path[HOST_PATH_MAX]);

#endif
