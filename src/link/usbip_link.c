/*
 * The URB layer of USB/IP: Linux Documentation/usb/usbip_protocol.rst, spoken over TCP by this
 * process itself, with no kernel driver. Each packet is a header of 48 bytes, and data.
 *
 * A server that breaks the protocol has lost its place in the stream: the link is given up, and
 * every transfer on it ends.
 */
#include "link/usbip_link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "link/descriptor.h"

enum {
    CMD_SUBMIT = 1,
    CMD_UNLINK = 2,
    RET_SUBMIT = 3,
    RET_UNLINK = 4,
    URB_DIR_IN = 0x200, /* of transfer_flags */
    LENGTH_MAX = 1024 * 1024,
    REQUESTS_MAX = 256,
    PACKETS_AT_ONCE = 64,
    UNLINK_DEADLINE = 2 * SECOND,
};

/* A submission that has not been answered in full. */
struct usbip_request {
    struct usbip_request *next;
    struct usb_transfer *transfer; /* NULL: its owner has it back already */
    uint32_t seqnum, unlink;       /* unlink: that of its CMD_UNLINK, 0 = none under way */
    bool in, answered;             /* answered: RET_SUBMIT has come */
    size_t length;
    uint64_t give_up; /* once it is cancelled */
};

/* ---- the end of the link ---- */

static void end_transfer(struct usbip_request *request, enum usb_end end, size_t actual)
{
    if (!request->transfer)
        return;
    request->transfer->end = end;
    request->transfer->actual = actual;
    request->transfer->backend = NULL;
    request->transfer = NULL;
}

/* The socket is closed, every transfer has ended. */
static void break_link(struct usbip_link *link, enum usb_end end)
{
    while (link->requests) {
        struct usbip_request *request = link->requests;
        link->requests = request->next;
        end_transfer(request, end, 0);
        free(request);
    }
    if (link->fd >= 0)
        (void)close(link->fd);
    link->fd = -1;
    link->request_count = 0;
    link->filling = NULL;
    link->header_got = link->out_begin = link->out_end = 0;
    link->broken = true;
}

void usbip_link_gone(struct usbip_link *link, const char *why)
{
    (void)usb_gone(&link->usb, why, &link->why);
    break_link(link, USB_GONE);
}

static void link_lies(struct usbip_link *link, const char *what)
{
    char label[USB_LABEL_MAX];
    usb_label(&link->usb, label);
    error_set(&link->why, ERR_PROTOCOL, "%s: the USB/IP server broke the protocol: %s", label,
              what);
    error_hint(&link->why, "restart the server there; `--trace FILE` shows what was said before");
    break_link(link, USB_FAILED);
}

int usbip_why_broken(const struct usbip_link *link, struct error *err)
{
    if (err)
        *err = link->why;
    return error_status(&link->why);
}

/* ---- sending ---- */

static void receive(struct usbip_link *link);

static void flush(struct usbip_link *link)
{
    while (link->out_begin < link->out_end) {
        ssize_t sent = send(link->fd, link->out + link->out_begin, link->out_end - link->out_begin,
                            MSG_NOSIGNAL);
        if (sent > 0) {
            link->out_begin += (size_t)sent;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR) {
            receive(link); /* what it still said counts */
            if (!link->broken)
                usbip_link_gone(link, "the USB/IP server closed the connection");
        }
        return;
    }
    link->out_begin = link->out_end = 0;
}

/* Room for a packet behind what still waits. NULL: out of memory. */
static uint8_t *reserve(struct usbip_link *link, size_t length)
{
    if (link->out_size - link->out_end < length) {
        size_t size = 2 * (link->out_end + length);
        uint8_t *more = realloc(link->out, size);
        if (!more)
            return NULL;
        link->out = more;
        link->out_size = size;
    }
    uint8_t *at = link->out + link->out_end;
    link->out_end += length;
    return at;
}

/* The interval of interrupt endpoints, as Linux counts it: frames, or microframes at high speed. */
static uint32_t interval_of(const struct usbip_link *link, uint8_t endpoint)
{
    enum { TYPE_MASK = 3, TYPE_INTERRUPT = 3 };
    const uint8_t *descriptor = usb_endpoint(&link->usb, endpoint);
    if (!descriptor || (descriptor[3] & TYPE_MASK) != TYPE_INTERRUPT)
        return 0;
    uint32_t interval = descriptor[6] ? descriptor[6] : 1;
    if (link->speed < USBIP_HIGH_SPEED)
        return interval;
    return UINT32_C(1) << (interval < 16 ? interval - 1 : 15);
}

static void submit_header(const struct usbip_link *link, const struct usbip_request *request,
                          const struct usb_transfer *transfer, uint8_t header[USBIP_HEADER])
{
    memset(header, 0, USBIP_HEADER);
    put_be32(header, CMD_SUBMIT);
    put_be32(header + 4, request->seqnum);
    put_be32(header + 8, link->devid);
    put_be32(header + 12, request->in ? 1 : 0);
    put_be32(header + 16, transfer->endpoint & 0x0f);
    put_be32(header + 20, request->in ? URB_DIR_IN : 0);
    put_be32(header + 24, (uint32_t)transfer->length);
    if (transfer->endpoint != 0) {
        put_be32(header + 36, interval_of(link, transfer->endpoint));
        return;
    }
    header[40] = transfer->setup.type;
    header[41] = transfer->setup.request;
    put_le16(header + 42, transfer->setup.value);
    put_le16(header + 44, transfer->setup.index);
    put_le16(header + 46, transfer->setup.length);
}

static uint32_t next_seqnum(struct usbip_link *link)
{
    if (++link->seqnum == 0)
        ++link->seqnum;
    return link->seqnum;
}

static bool is_in(const struct usb_transfer *transfer)
{
    if (transfer->endpoint != 0)
        return transfer->endpoint & USB_DIRECTION_IN;
    return (transfer->setup.type & USB_DIRECTION_IN) && transfer->length > 0;
}

int usbip_submit(struct usb *usb, struct usb_transfer *transfer, struct error *err)
{
    struct usbip_link *link = (struct usbip_link *)usb;
    if (link->broken)
        return usbip_why_broken(link, err);
    if (transfer->length > LENGTH_MAX || link->request_count >= REQUESTS_MAX)
        return error_set(err, ERR_FAILED, "%s: too much at once for USB/IP (%zu bytes, %zu open)",
                         usb->name, transfer->length, link->request_count);
    bool in = is_in(transfer);
    size_t payload = in ? 0 : transfer->length;
    struct usbip_request *request = calloc(1, sizeof *request);
    uint8_t *packet = request ? reserve(link, USBIP_HEADER + payload) : NULL;
    if (!packet) {
        free(request);
        return error_memory(err);
    }
    *request = (struct usbip_request){.next = link->requests,
                                      .transfer = transfer,
                                      .seqnum = next_seqnum(link),
                                      .in = in,
                                      .length = transfer->length};
    transfer->backend = request;
    submit_header(link, request, transfer, packet);
    if (payload > 0)
        memcpy(packet + USBIP_HEADER, transfer->bytes, payload);
    link->requests = request;
    link->request_count++;
    flush(link);
    return OK; /* a link that broke just now has ended the transfer */
}

void usbip_cancel(struct usb *usb, struct usb_transfer *transfer)
{
    struct usbip_link *link = (struct usbip_link *)usb;
    struct usbip_request *request = transfer->backend;
    if (link->broken || !request || request->unlink != 0)
        return;
    uint8_t *packet = reserve(link, USBIP_HEADER);
    if (!packet) {
        usbip_link_gone(link, "out of memory");
        return;
    }
    request->unlink = next_seqnum(link);
    request->give_up = clock_in(usb->clock, UNLINK_DEADLINE);
    memset(packet, 0, USBIP_HEADER);
    put_be32(packet, CMD_UNLINK);
    put_be32(packet + 4, request->unlink);
    put_be32(packet + 8, link->devid);
    put_be32(packet + 20, request->seqnum);
    flush(link);
}

/* ---- receiving ---- */

static void forget(struct usbip_link *link, struct usbip_request *gone)
{
    for (struct usbip_request **at = &link->requests; *at; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            free(gone);
            link->request_count--;
            return;
        }
}

static enum usb_end end_of(int32_t status)
{
    switch (status) {
    case 0:
    case -EREMOTEIO: /* shorter than asked for */
        return USB_DONE;
    case -EPIPE:
        return USB_STALL;
    case -ECONNRESET:
    case -ENOENT:
        return USB_CANCELLED;
    case -EOVERFLOW:
        return USB_BABBLE;
    case -ENODEV:
    case -ESHUTDOWN:
        return USB_GONE;
    default:
        return USB_FAILED;
    }
}

/* RET_SUBMIT has come in full. Some servers do not say how much of an OUT went: with status 0 it
 * was all. */
static void answered(struct usbip_link *link, struct usbip_request *request)
{
    int32_t status = (int32_t)get_be32(link->header + 20);
    size_t actual = get_be32(link->header + 24);
    if (!request->in && (status == 0 || actual > request->length))
        actual = status == 0 ? request->length : 0;
    end_transfer(request, end_of(status), actual);
    request->answered = true;
    link->filling = NULL;
    link->header_got = 0;
    if (request->unlink == 0)
        forget(link, request);
}

static void take_submit_header(struct usbip_link *link)
{
    uint32_t seqnum = get_be32(link->header + 4);
    struct usbip_request *request = link->requests;
    while (request && (request->seqnum != seqnum || request->answered))
        request = request->next;
    if (!request) {
        link_lies(link, "an answer to nothing that was asked");
        return;
    }
    link->body_got = 0;
    link->body_length = request->in ? get_be32(link->header + 24) : 0;
    link->filling = request;
    if (link->body_length > request->length)
        link_lies(link, "more data than were asked for");
    else if (link->body_length == 0)
        answered(link, request);
}

/*
 * Status 0 says that the transfer had ended before: its RET_SUBMIT has come, or nobody knows that
 * number. Should one still come, it is swallowed.
 */
static void take_unlink_header(struct usbip_link *link)
{
    uint32_t seqnum = get_be32(link->header + 4);
    int32_t status = (int32_t)get_be32(link->header + 20);
    struct usbip_request *request = link->requests;
    while (request && (request->unlink == 0 || request->unlink != seqnum))
        request = request->next;
    if (!request) {
        link_lies(link, "a cancellation of nothing that was cancelled");
        return;
    }
    link->header_got = 0;
    end_transfer(request, USB_CANCELLED, 0);
    request->unlink = 0;
    if (request->answered || status != 0)
        forget(link, request);
}

static void take_header(struct usbip_link *link)
{
    switch (get_be32(link->header)) {
    case RET_SUBMIT:
        take_submit_header(link);
        break;
    case RET_UNLINK:
        take_unlink_header(link);
        break;
    default:
        link_lies(link, "an answer of no known kind");
    }
}

/* Reads into one place. False: nothing there now, or the link broke. */
static bool take(struct usbip_link *link, uint8_t *bytes, size_t length, size_t *got)
{
    ssize_t n = recv(link->fd, bytes, length, 0);
    if (n > 0)
        *got += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        usbip_link_gone(link, "the USB/IP server closed the connection");
    return n > 0;
}

static bool take_body(struct usbip_link *link)
{
    uint8_t unwanted[1024];
    struct usbip_request *request = link->filling;
    size_t left = link->body_length - link->body_got;
    uint8_t *to = unwanted;
    if (request->transfer)
        to = request->transfer->bytes + link->body_got;
    else if (left > sizeof unwanted)
        left = sizeof unwanted;
    if (!take(link, to, left, &link->body_got))
        return false;
    if (link->body_got == link->body_length)
        answered(link, request);
    return true;
}

/* What is there, but not for ever. */
static void receive(struct usbip_link *link)
{
    bool more = true;
    for (int n = 0; n < PACKETS_AT_ONCE && more && !link->broken; n++) {
        if (link->filling) {
            more = take_body(link);
            continue;
        }
        more = take(link, link->header + link->header_got, USBIP_HEADER - link->header_got,
                    &link->header_got);
        if (more && link->header_got == USBIP_HEADER)
            take_header(link);
    }
}

int usbip_await(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline,
                struct error *err)
{
    struct usbip_link *link = (struct usbip_link *)usb;
    while (transfer->end == USB_PENDING && !link->broken) {
        const struct usbip_request *request = transfer->backend;
        bool cancelled = request->unlink != 0;
        uint64_t until = cancelled && request->give_up < deadline ? request->give_up : deadline;
        short events = link->out_begin < link->out_end ? POLLIN | POLLOUT : POLLIN;
        int what = descriptor_wait(usb->clock, link->fd, events, until);
        if (what < 0)
            usbip_link_gone(link, strerror(-what));
        else if (what & (POLLOUT | POLLERR))
            flush(link);
        if (what > 0 && !link->broken)
            receive(link);
        uint64_t now = clock_now(usb->clock);
        if (transfer->end != USB_PENDING || link->broken)
            break;
        if (cancelled && now >= request->give_up)
            usbip_link_gone(link, "the USB/IP server does not even answer to a cancellation");
        else if (now >= deadline)
            return OK;
    }
    /* What came to its end before the link broke has done so. */
    bool cut = transfer->end == USB_GONE || transfer->end == USB_FAILED;
    return link->broken && cut ? usbip_why_broken(link, err) : OK;
}
