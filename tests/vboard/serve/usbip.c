/*
 * The USB/IP server: one USB device under bus id 1-1, for one importer at a time, on 127.0.0.1
 * only. Whoever sends what no host sends is cut off.
 *
 * Three things to know: a client that closes is a host whose cable was pulled, the board lives on;
 * a device that leaves the bus closes the connection, and is imported anew when it is back; and a
 * host behind Linux vhci cannot say "bus reset", so it is concluded (usbip.md §4), while others say
 * it as a hub request (§5).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "server.h"
#include "usb_serial.h"
#include "usbip_client.h"

enum {
    CLIENTS_MAX = 8,
    FIRST_NUMBER = 2, /* of the device on bus 1; the hub is 1 */
    GET_DESCRIPTOR = 6,
    SET_CONFIGURATION = 9,
    SET_INTERFACE = 11,
    LOG_BYTES = 64, /* of a transfer's data */
};

static const char busid[] = "1-1";

struct usbip {
    struct server *server;
    struct vusb *device;
    struct usb_bus bus;
    unsigned lost;      /* bus.lost when last looked at */
    bool there;         /* it has been seen on the bus since */
    uint16_t number;    /* changes with every enumeration */
    uint64_t replug_at; /* a cut cable: when it is plugged in again; 0 = it is */
    int listener;
    struct client clients[CLIENTS_MAX];
};

static void note(struct usbip *usbip, const char *what)
{
    journal_note(&usbip->server->journal, usbip->bus.v.now, "%s", what);
}

static uint32_t devid(const struct usbip *usbip)
{
    return 1u << 16 | usbip->number;
}

static struct client *importer(struct usbip *usbip)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (usbip->clients[i].fd >= 0 && usbip->clients[i].importer)
            return &usbip->clients[i];
    return NULL;
}

/* ---- the log ---- */

static void log_transfer(struct usbip *usbip, const struct bus_transfer *transfer)
{
    static const char *const ends[] = {"pending", "ok", "stall", "cancelled", "babble", "gone"};
    const struct vusb_setup *setup = &transfer->setup;
    bool in = transfer->endpoint ? transfer->endpoint & 0x80 : setup->type & 0x80;
    size_t shown = in ? transfer->actual : transfer->length;
    char text[64 + 3 * LOG_BYTES] = "", *at = text;

    if (!usbip->server->journal.file)
        return;
    if (!transfer->endpoint)
        at += snprintf(at, 48, " setup %02x %02x %04x %04x %04x", setup->type, setup->request,
                       setup->value, setup->index, setup->length);
    for (size_t i = 0; i < shown && i < LOG_BYTES; i++)
        at += snprintf(at, 5, "%s%02x", i ? " " : ": ", transfer->bytes[i]);
    journal_note(&usbip->server->journal, usbip->bus.v.now, "ep%u %s %zu of %zu %s%s%s",
                 transfer->endpoint & 0xfu, in ? "in" : "out", transfer->actual, transfer->length,
                 ends[transfer->end], text, shown > LOG_BYTES ? " ..." : "");
}

/* ---- operations ---- */

static void list_devices(struct usbip *usbip, struct client *client)
{
    uint8_t reply[USBIP_OP + 4 + USBIP_RECORD + 4 * BUS_INTERFACES];
    size_t length = USBIP_OP + 4;

    usbip_put_op(reply, USBIP_REP_DEVLIST, USBIP_OK);
    put_be32(reply + USBIP_OP, usbip->bus.up);
    if (usbip->bus.up) {
        usbip_put_record(reply + length, &usbip->bus, busid, usbip->number);
        length += USBIP_RECORD;
        length += usbip_put_interfaces(reply + length, sizeof reply - length, &usbip->bus);
    }
    client_say(client, reply, length);
    client->closing = true;
}

static void import(struct usbip *usbip, struct client *client)
{
    uint8_t reply[USBIP_OP + USBIP_RECORD];
    const uint8_t *wanted = client->input.at + USBIP_OP;
    bool known =
        usbip->bus.up && wanted[USBIP_BUSID - 1] == 0 && strcmp((const char *)wanted, busid) == 0;
    enum usbip_status status = !known ? USBIP_NO_DEVICE : importer(usbip) ? USBIP_BUSY : USBIP_OK;

    usbip_put_op(reply, USBIP_REP_IMPORT, status);
    if (status != USBIP_OK) {
        client_say(client, reply, USBIP_OP);
        client->closing = true;
        return;
    }
    usbip_put_record(reply + USBIP_OP, &usbip->bus, busid, usbip->number);
    client_say(client, reply, sizeof reply);
    client_take(client, USBIP_OP + USBIP_BUSID);
    client->importer = true;
    note(usbip, "imported");
}

/* One request a connection; an import opens the way for URBs. */
static void operation(struct usbip *usbip, struct client *client)
{
    const uint8_t *input = client->input.at;
    if (client->input.count < USBIP_OP)
        return;
    uint16_t code = get_be16(input + 2);
    bool sound = get_be16(input) == USBIP_VERSION;

    if (sound && code == USBIP_REQ_DEVLIST)
        list_devices(usbip, client);
    else if (!sound || code != USBIP_REQ_IMPORT)
        client->broken = true;
    else if (client->input.count >= USBIP_OP + USBIP_BUSID)
        import(usbip, client);
}

/* ---- bus resets ---- */

/* As a server's own host does it: afterwards the device is configured as before. */
static void reset_and_configure(struct usbip *usbip)
{
    struct usb_bus *bus = &usbip->bus;
    uint8_t configuration = bus->configuration, alternates[BUS_INTERFACES];
    size_t none = 0;

    memcpy(alternates, bus->alternates, sizeof alternates);
    note(usbip, "bus reset");
    usb_bus_host_reset(bus);
    if (!bus->up || !configuration)
        return;
    usb_request(bus, &(struct vusb_setup){0, SET_CONFIGURATION, configuration, 0, 0}, NULL, &none);
    for (uint16_t i = 0; i < BUS_INTERFACES; i++)
        if (alternates[i])
            usb_request(bus, &(struct vusb_setup){1, SET_INTERFACE, alternates[i], i, 0}, NULL,
                        &none);
}

/* SET_FEATURE(PORT_RESET) to a hub's port: this device's. */
static bool is_port_reset(const struct usbip_command *command)
{
    const struct vusb_setup *setup = &command->setup;
    return command->endpoint == 0 && setup->type == 0x23 && setup->request == 3 &&
           setup->value == 4 && setup->length == 0;
}

/* The first question of an enumeration, asked of a device that is configured already. */
static bool shows_reset(const struct usbip *usbip, const struct usbip_command *command)
{
    const struct vusb_setup *setup = &command->setup;
    return command->endpoint == 0 && usbip->bus.configuration && setup->type == 0x80 &&
           setup->request == GET_DESCRIPTOR && setup->value == 0x0100 && setup->length == 64;
}

/* ---- URBs ---- */

static void answer(struct usbip *usbip, struct client *client, struct urb *urb)
{
    const struct bus_transfer *transfer = &urb->transfer;
    bool in = transfer->endpoint ? transfer->endpoint & 0x80 : transfer->setup.type & 0x80;
    uint8_t header[USBIP_HEADER];

    log_transfer(usbip, transfer);
    usbip_put_submitted(header, urb->seqnum, usbip_errno(transfer->end),
                        (uint32_t)transfer->actual);
    client_say(client, header, sizeof header);
    if (in)
        client_say(client, transfer->bytes, transfer->actual);
    client_forget(client, urb);
}

/* All that have ended, in the order they came. If the device is gone there is nothing to say. */
static void answer_ended(struct usbip *usbip, struct client *client)
{
    for (struct urb *urb = client->urbs, *next; urb; urb = next) {
        next = urb->next;
        if (urb->transfer.end == BUS_GONE)
            client->broken = true;
        else if (urb->transfer.end != BUS_PENDING)
            answer(usbip, client, urb);
    }
}

static void submit(struct usbip *usbip, struct client *client, const struct usbip_command *command)
{
    struct urb *urb = NULL;
    if (usbip_submit_is_sound(command) && !client_find(client, command->seqnum))
        urb = client_urb(client, command->seqnum, command->length);
    if (!urb) {
        client->broken = true;
        return;
    }
    if (shows_reset(usbip, command)) {
        note(usbip, "bus reset, by the look of it");
        usb_bus_host_reset(&usbip->bus);
    }
    uint8_t number = (uint8_t)command->endpoint;
    urb->transfer.endpoint = number && command->direction == USBIP_IN ? number | 0x80 : number;
    urb->transfer.setup = command->setup;
    urb->transfer.zero_packet = command->flags & USBIP_ZERO_PACKET;
    if (usbip_payload(command))
        memcpy(urb->bytes, client->input.at + USBIP_HEADER, command->length);
    if (is_port_reset(command)) {
        reset_and_configure(usbip);
        urb->transfer.end = usbip->bus.up ? BUS_DONE : BUS_GONE;
        return;
    }
    usb_bus_submit(&usbip->bus, &urb->transfer);
}

/* One answer to each submit: if it is cancelled, this is it. */
static void unlink_urb(struct usbip *usbip, struct client *client,
                       const struct usbip_command *command)
{
    uint8_t header[USBIP_HEADER];
    answer_ended(usbip, client);
    struct urb *urb = client_find(client, command->unlink);

    if (urb) {
        usb_bus_cancel(&usbip->bus, &urb->transfer);
        log_transfer(usbip, &urb->transfer);
        client_forget(client, urb);
    }
    usbip_put_unlinked(header, command->seqnum, urb ? -ECONNRESET : 0);
    client_say(client, header, sizeof header);
}

/* False: what has come is not a whole command. */
static bool take_command(struct usbip *usbip, struct client *client)
{
    struct usbip_command command;
    if (client->input.count < USBIP_HEADER)
        return false;
    usbip_parse(client->input.at, &command);
    size_t whole = USBIP_HEADER + usbip_payload(&command);
    bool sound = command.devid == devid(usbip) && command.length <= USBIP_LENGTH_MAX;
    if (sound && client->input.count < whole)
        return false;
    if (sound && command.command == USBIP_SUBMIT)
        submit(usbip, client, &command);
    else if (sound && command.command == USBIP_UNLINK)
        unlink_urb(usbip, client, &command);
    else
        client->broken = true;
    if (!client->broken)
        client_take(client, whole);
    return !client->broken;
}

/* ---- clients ---- */

static void leave(struct usbip *usbip, struct client *client)
{
    if (client->importer) {
        note(usbip, client->broken ? "connection cut" : "host gone");
        for (struct urb *urb = client->urbs; urb; urb = urb->next)
            usb_bus_cancel(&usbip->bus, &urb->transfer);
        if (usbip->bus.configuration)
            usb_bus_host_reset(&usbip->bus);
    }
    client_close(client);
}

static void serve_client(struct usbip *usbip, struct client *client)
{
    bool here = client_read(client);

    if (!client->importer && !client->closing)
        operation(usbip, client);
    while (client->importer && !client->broken && take_command(usbip, client))
        continue;
    if (client->importer && !client->broken)
        answer_ended(usbip, client);
    here = !client->broken && client_flush(client) && here;
    if (!here || (client->closing && !client->output.count))
        leave(usbip, client);
}

static void accept_client(struct usbip *usbip)
{
    int fd = accept4(usbip->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
    if (fd < 0)
        return;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (usbip->clients[i].fd >= 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        usbip->clients[i] = (struct client){.fd = fd};
        return;
    }
    close(fd);
}

/* ---- a device that leaves and comes back ---- */

static void device_left(struct usbip *usbip)
{
    struct usb_bus *bus = &usbip->bus;
    struct client *client = importer(usbip);

    usbip->lost = bus->lost;
    usbip->there = false;
    usbip->number = usbip->number == 127 ? FIRST_NUMBER : (uint16_t)(usbip->number + 1);
    note(usbip, "left the bus");
    if (!bus->up && !usbip->device->back_at)
        usbip->replug_at = bus->v.now + REPLUG_TIME;
    if (client) {
        answer_ended(usbip, client); /* what it said before it went */
        client_flush(client);
        leave(usbip, client);
    }
}

static void follow_bus(struct usbip *usbip)
{
    struct usb_bus *bus = &usbip->bus;

    if (bus->lost != usbip->lost)
        device_left(usbip);
    if (usbip->replug_at && bus->v.now >= usbip->replug_at) {
        usbip->replug_at = 0;
        if (!bus->up && !usbip->device->back_at)
            usb_bus_restore(bus);
    }
    if (bus->up && !usbip->there) {
        const uint8_t *device = usbip->device->identity->device;
        usbip->there = true;
        journal_note(&usbip->server->journal, bus->v.now, "on the bus: %04x:%04x",
                     get_le16(device + 8), get_le16(device + 10));
    }
}

/* ---- the loop ---- */

static uint64_t next_event(const struct usbip *usbip)
{
    uint64_t next = usb_bus_next(&usbip->bus);
    return usbip->replug_at && usbip->replug_at < next ? usbip->replug_at : next;
}

static void look(struct usbip *usbip)
{
    struct pollfd looks[CLIENTS_MAX + 1];

    for (size_t i = 0; i < CLIENTS_MAX; i++)
        looks[i] = (struct pollfd){
            .fd = usbip->clients[i].fd,
            .events = (short)(usbip->clients[i].output.count ? POLLIN | POLLOUT : POLLIN)};
    looks[CLIENTS_MAX] = (struct pollfd){.fd = usbip->listener, .events = POLLIN};
    server_wait(usbip->server, next_event(usbip), SECOND, looks, CLIENTS_MAX + 1);
    usb_bus_advance(&usbip->bus,
                    server_live_until(usbip->server, usbip->bus.v.now, next_event(usbip)));
    follow_bus(usbip);
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (usbip->clients[i].fd >= 0)
            serve_client(usbip, &usbip->clients[i]);
    if (looks[CLIENTS_MAX].revents)
        accept_client(usbip);
    follow_bus(usbip);
}

static void run(struct usbip *usbip)
{
    enum vreset cause;

    while (!usbip->server->end) {
        while (server_reset_wanted(usbip->server, usbip->bus.v.now, &cause))
            usb_bus_reset(&usbip->bus, cause);
        follow_bus(usbip);
        look(usbip);
    }
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (usbip->clients[i].fd >= 0)
            leave(usbip, &usbip->clients[i]);
}

static bool begin_listening(struct usbip *usbip, uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int one = 1;

    usbip->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (usbip->listener < 0 ||
        setsockopt(usbip->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(usbip->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(usbip->listener, CLIENTS_MAX) < 0 ||
        getsockname(usbip->listener, (struct sockaddr *)&address, &length) < 0) {
        fprintf(stderr, "vboard: 127.0.0.1:%u: %s\n", (unsigned)*port, strerror(errno));
        return false;
    }
    *port = ntohs(address.sin_port);
    return true;
}

static bool make_device(struct usbip *usbip)
{
    const struct options *options = usbip->server->options;
    const struct vmodel *model = options->model;

    if (model->create_usb) {
        usbip->device = model->create_usb(&usbip->server->config);
    } else {
        struct vserial *serial = model->create(&usbip->server->config);
        usbip->device =
            serial ? usb_serial(serial, &usbip->server->config.flash, &options->faces) : NULL;
    }
    if (!usbip->device)
        return false;
    usb_bus_init(&usbip->bus, usbip->device, options->paced, &options->line_faults);
    return true;
}

int serve_usbip(struct server *server)
{
    struct usbip *usbip = calloc(1, sizeof *usbip);
    uint16_t port = server->options->port;
    int status = 1;

    if (!usbip)
        return status;
    usbip->server = server;
    usbip->number = FIRST_NUMBER;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        usbip->clients[i].fd = -1;
    if (!make_device(usbip)) {
        free(usbip);
        return 2;
    }
    if (begin_listening(usbip, &port)) {
        printf("ready %susbip:127.0.0.1:%u/%s\n", server->options->ready, (unsigned)port, busid);
        fflush(stdout);
        run(usbip);
        status = 0;
    }
    if (usbip->listener >= 0)
        close(usbip->listener);
    usb_bus_free(&usbip->bus);
    usbip->device->ops->destroy(usbip->device);
    free(usbip);
    return status;
}
