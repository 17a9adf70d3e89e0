/*
 * A model behind mflash's own `struct serial`, in process, on virtual time: ten seconds of deadline
 * pass in microseconds, and simulated seconds can be compared with the physical limit exactly.
 */
#ifndef VIRTUAL_SERIAL_H
#define VIRTUAL_SERIAL_H

#include "link/serial.h"
#include "line.h"
#include "model.h"

/* The serial's clock is the line's virtual time. serial_close() leaves the model alive, so that a
 * test can open it again: the reset button and the second session. `faults` may be NULL. */
struct serial *virtual_serial(struct vserial *device, const struct line_faults *faults);

#endif
