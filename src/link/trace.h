/*
 * `--trace FILE`: everything that crossed the wire, as pcapng that Wireshark opens.
 * Serial lines are written as LINKTYPE_RTAC_SERIAL (250). Thread-safe: one trace serves all links.
 */
#ifndef MFLASH_TRACE_H
#define MFLASH_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct trace;

enum trace_event { TRACE_SENT, TRACE_RECEIVED, TRACE_LINES };

int trace_open(struct trace **trace, const char *path, struct error *err);

/* Registers an interface (a port); returns its number for trace_serial. trace may be NULL. */
int trace_add_serial(struct trace *trace, const char *name);

/* `lines`: bit 0 DTR, bit 1 RTS, as after the event. trace may be NULL: does nothing. */
void trace_serial(struct trace *trace, int port, enum trace_event event, unsigned lines,
                  const uint8_t *bytes, size_t length);

/* ERR_FAILED if anything could not be written (disk full): said once, at the end. */
int trace_close(struct trace *trace, struct error *err);

#endif
