/*
 * A model behind mflash's own `struct serial`, in process, on virtual time: ten seconds of deadline
 * pass in microseconds, and simulated seconds can be compared with the physical limit exactly.
 */
#ifndef VIRTUAL_SERIAL_H
#define VIRTUAL_SERIAL_H

#include "link/serial.h"
#include "line.h"
#include "model.h"

/*
 * Opens the port: DTR and RTS go active, 115200 8N1, paced. The serial's clock is the line's
 * virtual time. serial_close() drops DTR and leaves the model alive, so that a test can open it
 * again: the second session, at the time the first one ended, with faults of its own. A device that
 * is off the bus (re-enumeration) is waited for. Close before the model is destroyed. `faults` may
 * be NULL. NULL: out of memory.
 */
struct serial *virtual_serial(struct vserial *device, const struct line_faults *faults);

/* Time passes while nobody has the port open. */
void virtual_elapse(struct vserial *device, uint64_t microseconds);

/* The reset button or the power switch, pressed with or without the port open. */
void virtual_reset(struct vserial *device, enum vreset cause);

/* The line of an open virtual serial: counters, and what a test looks at. */
struct line *virtual_line(struct serial *serial);

#endif
