/*
 * USB transfers in a trace: LINKTYPE_USB_LINUX_MMAPPED
 * (https://www.tcpdump.org/linktypes/LINKTYPE_USB_LINUX_MMAPPED.html, Linux
 * Documentation/usb/usbmon.rst): a header of 64 bytes in the byte order of the section, which is
 * little-endian here, and the data that went with the event.
 */
#include <string.h>

#include "base/bytes.h"
#include "link/trace_packet.h"

enum {
    LINKTYPE_USB_LINUX_MMAPPED = 220,
    /* the header: where its fields lie */
    USBMON_ID = 0,
    USBMON_EVENT = 8,
    USBMON_KIND = 9,
    USBMON_ENDPOINT = 10,
    USBMON_ADDRESS = 11,
    USBMON_BUS = 12,
    USBMON_NO_SETUP = 14,
    USBMON_NO_DATA = 15,
    USBMON_SECONDS = 16,
    USBMON_MICROSECONDS = 24,
    USBMON_STATUS = 28,
    USBMON_LENGTH = 32,
    USBMON_CAPTURED = 36,
    USBMON_SETUP = 40,
    USBMON_HEADER = 64,
    DIRECTION_IN = 0x80,
};

int trace_add_usb(struct trace *trace, const char *name)
{
    return trace_add(trace, LINKTYPE_USB_LINUX_MMAPPED, name);
}

static void put_le64(uint8_t *p, uint64_t value)
{
    put_le32(p, (uint32_t)value);
    put_le32(p + 4, (uint32_t)(value >> 32));
}

/* Data go with the submission of an OUT and with the end of an IN; the other event says "none". */
static uint8_t no_data(const struct trace_usb *event)
{
    bool in = event->endpoint & DIRECTION_IN;
    if (in == event->ended)
        return 0;
    return in ? '<' : '>';
}

static void usbmon_header(uint8_t header[USBMON_HEADER], const struct timespec *time,
                          const struct trace_usb *event, size_t captured)
{
    memset(header, 0, USBMON_HEADER);
    put_le64(header + USBMON_ID, event->id);
    header[USBMON_EVENT] = event->ended ? 'C' : 'S';
    header[USBMON_KIND] = (uint8_t)event->kind;
    header[USBMON_ENDPOINT] = event->endpoint;
    header[USBMON_ADDRESS] = event->address;
    put_le16(header + USBMON_BUS, event->bus);
    header[USBMON_NO_SETUP] = event->setup ? 0 : '-';
    header[USBMON_NO_DATA] = no_data(event);
    put_le64(header + USBMON_SECONDS, (uint64_t)time->tv_sec);
    put_le32(header + USBMON_MICROSECONDS, (uint32_t)(time->tv_nsec / 1000));
    put_le32(header + USBMON_STATUS, (uint32_t)event->status);
    put_le32(header + USBMON_LENGTH, (uint32_t)event->length);
    put_le32(header + USBMON_CAPTURED, (uint32_t)captured);
    if (event->setup)
        memcpy(header + USBMON_SETUP, event->setup, 8);
}

void trace_usb(struct trace *trace, int port, const struct trace_usb *event)
{
    uint8_t header[USBMON_HEADER];
    if (!trace || port < 0)
        return;
    struct trace_packet packet = {
        .port = port, .inbound = event->ended, .header = header, .header_length = sizeof header};
    if (no_data(event) == 0) {
        packet.bytes = event->bytes;
        packet.length = event->length < TRACE_PAYLOAD_MAX ? event->length : TRACE_PAYLOAD_MAX;
        packet.cut = event->length - packet.length;
    }
    (void)clock_gettime(CLOCK_REALTIME, &packet.time);
    usbmon_header(header, &packet.time, event, packet.length);
    trace_packet(trace, &packet);
}
