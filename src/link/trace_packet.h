/* What the kinds of links share when they write a trace: pcapng's interfaces and packets. */
#ifndef MFLASH_TRACE_PACKET_H
#define MFLASH_TRACE_PACKET_H

#include <stdbool.h>
#include <time.h>

#include "link/trace.h"

enum { TRACE_PAYLOAD_MAX = 32768 };

/* One enhanced packet: a link type's own header, a multiple of 4 bytes long, and what it carried.
 */
struct trace_packet {
    int port;
    bool inbound;
    struct timespec time; /* CLOCK_REALTIME */
    const uint8_t *header;
    size_t header_length;
    const uint8_t *bytes;
    size_t length; /* at most TRACE_PAYLOAD_MAX */
    size_t cut;    /* bytes that were there and are not in the trace */
};

/* Registers an interface of a link type (https://www.tcpdump.org/linktypes.html). Returns its
 * number; -1 without a trace. */
int trace_add(struct trace *trace, uint16_t linktype, const char *name);

/* Thread-safe; trace is not NULL. */
void trace_packet(struct trace *trace, const struct trace_packet *packet);

#endif
