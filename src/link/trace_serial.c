/*
 * Serial lines in a trace: LINKTYPE_RTAC_SERIAL
 * (https://www.tcpdump.org/linktypes/LINKTYPE_RTAC_SERIAL.html), a header of 12 bytes whose numbers
 * are big-endian, and the bytes.
 */
#include "base/bytes.h"
#include "link/trace_packet.h"

enum { LINKTYPE_RTAC_SERIAL = 250, RTAC_HEADER = 12, RTAC_RTS = 0x08, RTAC_DTR = 0x10 };

int trace_add_serial(struct trace *trace, const char *name)
{
    return trace_add(trace, LINKTYPE_RTAC_SERIAL, name);
}

static void rtac_header(uint8_t header[RTAC_HEADER], const struct timespec *time,
                        enum trace_event event, unsigned lines)
{
    static const uint8_t events[] = {
        [TRACE_SENT] = 1,     /* DATA_TX_START */
        [TRACE_RECEIVED] = 2, /* DATA_RX_START */
        [TRACE_LINES] = 0,    /* STATUS_CHANGE */
    };
    put_be32(header, (uint32_t)time->tv_sec);
    put_be32(header + 4, (uint32_t)(time->tv_nsec / 1000));
    header[8] = events[event];
    header[9] = (uint8_t)((lines & 1 ? RTAC_DTR : 0) | (lines & 2 ? RTAC_RTS : 0));
    header[10] = header[11] = 0;
}

static void write_part(struct trace *trace, int port, enum trace_event event, unsigned lines,
                       const uint8_t *bytes, size_t length)
{
    uint8_t header[RTAC_HEADER];
    struct trace_packet packet = {.port = port,
                                  .inbound = event == TRACE_RECEIVED,
                                  .header = header,
                                  .header_length = sizeof header,
                                  .bytes = bytes,
                                  .length = length};
    (void)clock_gettime(CLOCK_REALTIME, &packet.time);
    rtac_header(header, &packet.time, event, lines);
    trace_packet(trace, &packet);
}

/* A run that does not fit becomes several packets. */
void trace_serial(struct trace *trace, int port, enum trace_event event, unsigned lines,
                  const uint8_t *bytes, size_t length)
{
    if (!trace || port < 0)
        return;
    do {
        size_t part = length < TRACE_PAYLOAD_MAX ? length : TRACE_PAYLOAD_MAX;
        write_part(trace, port, event, lines, bytes, part);
        bytes = part > 0 ? bytes + part : bytes;
        length -= part;
    } while (length > 0);
}
