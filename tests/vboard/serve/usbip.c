/*
 * What the USB/IP server does with a client's bytes. Whoever sends what no host sends is cut off.
 * See usbip.h.
 *
 * To know: a host behind Linux vhci cannot say "bus reset", so it is concluded (usbip.md §4), while
 * others say it as a hub request (§5).
 */
#include "usbip.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum {
    GET_DESCRIPTOR = 6,
    SET_CONFIGURATION = 9,
    SET_INTERFACE = 11,
    LOG_BYTES = 64, /* of a transfer's data */
};

static void note(struct usbip *usbip, const char *what)
{
    journal_note(&usbip->server->journal, usbip->bus.v.now, "%s", what);
}

static uint32_t devid(const struct usbip *usbip)
{
    return 1u << 16 | usbip->number;
}

struct client *usbip_importer(struct usbip *usbip)
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
        usbip_put_record(reply + length, &usbip->bus, DEVICE_BUSID, usbip->number);
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
    bool known = usbip->bus.up && wanted[USBIP_BUSID - 1] == 0 &&
                 strcmp((const char *)wanted, DEVICE_BUSID) == 0;
    enum usbip_status status = !known                  ? USBIP_NO_DEVICE
                               : usbip_importer(usbip) ? USBIP_BUSY
                                                       : USBIP_OK;

    usbip_put_op(reply, USBIP_REP_IMPORT, status);
    if (status != USBIP_OK) {
        client_say(client, reply, USBIP_OP);
        client->closing = true;
        return;
    }
    usbip_put_record(reply + USBIP_OP, &usbip->bus, DEVICE_BUSID, usbip->number);
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

void usbip_leave(struct usbip *usbip, struct client *client)
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

void usbip_serve_client(struct usbip *usbip, struct client *client)
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
        usbip_leave(usbip, client);
}

void usbip_device_left(struct usbip *usbip, struct client *client)
{
    answer_ended(usbip, client);
    client_flush(client);
    usbip_leave(usbip, client);
}
