/*
 * CAN frames in a trace: LINKTYPE_CAN_SOCKETCAN
 * (https://www.tcpdump.org/linktypes/LINKTYPE_CAN_SOCKETCAN.html): struct can_frame with its id
 * big-endian.
 */
#include <string.h>

#include "base/bytes.h"
#include "link/trace_packet.h"

enum { LINKTYPE_CAN_SOCKETCAN = 227, CAN_HEADER = 8, CAN_BYTES_MAX = 8 };

int trace_add_can(struct trace *trace, const char *name)
{
    return trace_add(trace, LINKTYPE_CAN_SOCKETCAN, name);
}

void trace_can(struct trace *trace, int port, enum trace_event event, uint32_t id,
               const uint8_t *bytes, size_t length)
{
    uint8_t header[CAN_HEADER] = {0};
    if (!trace || port < 0)
        return;
    struct trace_packet packet = {.port = port,
                                  .inbound = event == TRACE_RECEIVED,
                                  .header = header,
                                  .header_length = sizeof header,
                                  .bytes = bytes,
                                  .length = length < CAN_BYTES_MAX ? length : CAN_BYTES_MAX};
    (void)clock_gettime(CLOCK_REALTIME, &packet.time);
    put_be32(header, id);
    header[4] = (uint8_t)packet.length;
    trace_packet(trace, &packet);
}
