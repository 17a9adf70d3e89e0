/*
 * The serial function of a USB device that this process drives itself: CDC-ACM over USB/IP. (Where
 * there is a kernel driver it makes a tty, and that is used.)
 *
 * Documents: USB class definitions for communications devices 1.2, PSTN subclass 1.2. The order of
 * requests is that of Linux' cdc_acm: boards are made for it. Reads of one packet each are always
 * pending, so that a device is never kept waiting and a packet is never waited for to be followed
 * by another.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "link/backend.h"
#include "link/usb_backend.h"

enum {
    CLASS_COMMUNICATION = 2,
    SUBCLASS_ACM = 2,
    CLASS_DATA = 10,
    CS_INTERFACE = 0x24, /* a class-specific descriptor of an interface: */
    UNION = 6,           /* which data interface belongs to a control interface */
    TYPE_MASK = 3,
    TYPE_BULK = 2,
    TO_CLASS_INTERFACE = 0x21,
    SET_LINE_CODING = 0x20,
    SET_CONTROL_LINE_STATE = 0x22,
    LINE_CODING_BYTES = 7,
    REQUEST_DEADLINE = 1 * SECOND,
    READS = 4,
    PACKET_MAX = 1024,
    WRITE_AT_ONCE = 4096,
};

struct cdc {
    struct serial serial; /* first */
    struct usb *usb;
    uint8_t control, data, in, out; /* interfaces, endpoints */
    size_t packet;                  /* wMaxPacketSize of `in` */
    struct usb_transfer reads[READS];
    uint8_t bytes[READS][PACKET_MAX];
    size_t next, taken; /* reads[next] is the oldest; so much of it has been handed out */
};

/* ---- requests ---- */

/* A device that refuses a request (bridges often have no lines) is none the worse: the kernel goes
 * on as well. */
static int request(const struct cdc *cdc, uint8_t number, uint16_t value, uint8_t *bytes,
                   uint16_t length, struct error *err)
{
    const struct usb_setup setup = {TO_CLASS_INTERFACE, number, value, cdc->control, length};
    ssize_t rc =
        usb_control(cdc->usb, &setup, bytes, clock_in(cdc->usb->clock, REQUEST_DEADLINE), err);
    return rc < 0 && rc != ERR_STALL ? (int)rc : OK;
}

static int cdc_configure(struct serial *serial, const struct serial_settings *settings,
                         struct error *err)
{
    static const uint8_t parities[] = {[PARITY_NONE] = 0, [PARITY_ODD] = 1, [PARITY_EVEN] = 2};
    uint8_t coding[LINE_CODING_BYTES];
    put_le32(coding, settings->baud);
    coding[4] = settings->stop_bits == 2 ? 2 : 0; /* 1 is 1.5 */
    coding[5] = parities[settings->parity];
    coding[6] = 8;
    return request((const struct cdc *)serial, SET_LINE_CODING, 0, coding, sizeof coding, err);
}

static int cdc_set_lines(struct serial *serial, bool dtr, bool rts, struct error *err)
{
    uint16_t lines = (uint16_t)((dtr ? 1 : 0) | (rts ? 2 : 0));
    return request((const struct cdc *)serial, SET_CONTROL_LINE_STATE, lines, NULL, 0, err);
}

/* ---- data ---- */

static int start_read(struct cdc *cdc, size_t n, struct error *err)
{
    cdc->reads[n] = (struct usb_transfer){.endpoint = cdc->in, .bytes = cdc->bytes[n]};
    cdc->reads[n].length = cdc->packet;
    return usb_submit(cdc->usb, &cdc->reads[n], err);
}

/* The oldest read is used up: it starts anew, as the newest. */
static int next_read(struct cdc *cdc, struct error *err)
{
    size_t used = cdc->next;
    cdc->next = (cdc->next + 1) % READS;
    cdc->taken = 0;
    return start_read(cdc, used, err);
}

/* Whether the oldest read has something, by the deadline. 1, 0 or a negative code. */
static int await_read(struct cdc *cdc, uint64_t deadline, struct error *err)
{
    for (;;) {
        struct usb_transfer *read = &cdc->reads[cdc->next];
        int rc = read->end == USB_PENDING ? usb_await(cdc->usb, read, deadline, err) : OK;
        if (read->end == USB_PENDING)
            return 0;
        if (rc == OK)
            rc = usb_ended(cdc->usb, read, err);
        if (rc != OK)
            return rc;
        if (cdc->taken < read->actual)
            return 1;
        rc = next_read(cdc, err);
        if (rc != OK)
            return rc;
    }
}

static ssize_t cdc_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                        struct error *err)
{
    struct cdc *cdc = (struct cdc *)serial;
    int rc = await_read(cdc, deadline, err);
    if (rc <= 0)
        return rc;
    const struct usb_transfer *read = &cdc->reads[cdc->next];
    size_t there = read->actual - cdc->taken, n = there < max ? there : max;
    memcpy(bytes, read->bytes + cdc->taken, n);
    cdc->taken += n;
    if (cdc->taken < read->actual)
        return (ssize_t)n;
    rc = next_read(cdc, err);
    /* A device that left behind these bytes is told of with the next read. */
    return rc == OK || rc == ERR_GONE ? (ssize_t)n : rc;
}

static int cdc_write(struct serial *serial, const uint8_t *bytes, size_t length, uint64_t deadline,
                     struct error *err)
{
    const struct cdc *cdc = (const struct cdc *)serial;
    while (length > 0) {
        size_t part = length < WRITE_AT_ONCE ? length : WRITE_AT_ONCE;
        int rc = usb_out(cdc->usb, cdc->out, bytes, part, deadline, err);
        if (rc != OK)
            return rc;
        bytes += part;
        length -= part;
    }
    return OK;
}

static void cdc_drop_input(struct serial *serial)
{
    (void)serial; /* serial_drop_input() has read it empty; there is no other buffer */
}

static void cdc_close(struct serial *serial)
{
    struct cdc *cdc = (struct cdc *)serial;
    struct error ignored;
    bool begun = cdc->reads[0].length > 0;
    /* As a tty hangs up. Boards that restart at 1200 baud do so at this. */
    if (begun && cdc->reads[cdc->next].end != USB_GONE)
        (void)cdc_set_lines(serial, false, false, &ignored);
    for (size_t n = 0; begun && n < READS; n++)
        if (cdc->reads[n].length > 0)
            usb_cancel(cdc->usb, &cdc->reads[n]);
    usb_close(cdc->usb);
    free(cdc);
}

static const struct serial_ops cdc_ops = {
    .name = "cdc-acm",
    .configure = cdc_configure,
    .read = cdc_read,
    .write = cdc_write,
    .set_lines = cdc_set_lines,
    .drop_input = cdc_drop_input,
    .close = cdc_close,
};

/* ---- finding the function ---- */

/* The first interface of the ACM kind, and the data interface that its union descriptor names (the
 * one behind it, if it has none). */
static bool find_interfaces(struct cdc *cdc)
{
    const struct usb *usb = cdc->usb;
    const uint8_t *at = NULL;
    bool inside = false, found = false;
    while (usb_descriptor_next(usb->configuration, usb->configuration_length, &at)) {
        if (at[1] == USB_DT_INTERFACE && at[0] >= 9) {
            if (found)
                return true;
            inside = found = at[5] == CLASS_COMMUNICATION && at[6] == SUBCLASS_ACM;
            cdc->control = at[2];
            cdc->data = (uint8_t)(at[2] + 1);
        } else if (inside && at[1] == CS_INTERFACE && at[0] >= 5 && at[2] == UNION) {
            cdc->data = at[4];
        }
    }
    return found;
}

/* Its two bulk endpoints. */
static bool find_endpoints(struct cdc *cdc)
{
    const struct usb *usb = cdc->usb;
    const uint8_t *at = NULL;
    bool inside = false;
    while (usb_descriptor_next(usb->configuration, usb->configuration_length, &at)) {
        if (at[1] == USB_DT_INTERFACE && at[0] >= 9)
            inside = at[2] == cdc->data && at[5] == CLASS_DATA && at[3] == 0;
        if (!inside || at[1] != USB_DT_ENDPOINT || at[0] < 7 || (at[3] & TYPE_MASK) != TYPE_BULK)
            continue;
        if (at[2] & USB_DIRECTION_IN) {
            cdc->in = at[2];
            cdc->packet = get_le16(at + 4) & 0x7ff;
        } else {
            cdc->out = at[2];
        }
    }
    return cdc->in != 0 && cdc->out != 0 && cdc->packet > 0 && cdc->packet <= PACKET_MAX;
}

static int no_function(const struct cdc *cdc, struct error *err)
{
    char label[USB_LABEL_MAX];
    usb_label(cdc->usb, label);
    error_set(err, ERR_NO_DEVICE, "opening %s%s%s as a serial port: it has no CDC-ACM function",
              label, cdc->usb->device.product[0] ? ", " : "", cdc->usb->device.product);
    error_hint(err, "it may be in its bootloader, or speak another protocol: `mflash detect` "
                    "tells; `--method` names another one");
    return ERR_NO_DEVICE;
}

static int begin(struct cdc *cdc, struct error *err)
{
    if (!find_interfaces(cdc) || !find_endpoints(cdc))
        return no_function(cdc, err);
    int rc = usb_claim(cdc->usb, cdc->control, err);
    if (rc == OK)
        rc = usb_claim(cdc->usb, cdc->data, err);
    if (rc == OK)
        rc = cdc_set_lines(&cdc->serial, true, true, err);
    for (size_t n = 0; n < READS && rc == OK; n++)
        rc = start_read(cdc, n, err);
    return rc;
}

int serial_cdc_open(struct serial **serial, const char *name, struct trace *trace,
                    struct error *err)
{
    struct cdc *cdc = (struct cdc *)serial_allocate(sizeof *cdc, &cdc_ops, name);
    if (!cdc)
        return error_memory(err);
    int rc = usb_open(&cdc->usb, name, trace, err);
    if (rc == OK)
        rc = begin(cdc, err);
    if (rc != OK) {
        cdc_close(&cdc->serial);
        return rc;
    }
    *serial = &cdc->serial;
    return OK;
}
