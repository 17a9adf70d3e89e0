/*
 * A serial line with a script instead of a device: what the host must send, byte for byte, and what
 * comes back. For exchanges as protocol sheets show them, and for answers no model would give.
 * Time is virtual.
 */
#ifndef SCRIPTED_SERIAL_H
#define SCRIPTED_SERIAL_H

#include "link/serial.h"

struct script_turn {
    const char *host;   /* hex bytes that must come next; NULL: any number of any bytes */
    const char *device; /* hex bytes that are answered at once; NULL: none */
};

/* `turns` ends with {NULL, NULL} and must outlive the serial. serial_close() frees it. */
struct serial *scripted_serial(const struct script_turn *turns);

/* True if the host sent everything the script has, and nothing else. */
bool scripted_serial_done(const struct serial *serial);

#endif
