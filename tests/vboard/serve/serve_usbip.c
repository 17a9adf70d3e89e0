/*
 * The USB/IP server: one USB device under bus id 1-1, for one importer at a time, on 127.0.0.1
 * only. Here are the device's life, the loop and the listener; see usbip.h.
 *
 * To know: a client that closes is a host whose cable was pulled, the board lives on; a device that
 * leaves the bus closes the connection, and is imported anew when it is back.
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
#include "usb_serial.h"
#include "usbip.h"

enum { FIRST_NUMBER = 2 /* on bus 1; the hub is 1 */ };

/* ---- a device that leaves and comes back ---- */

static void device_left(struct usbip *usbip)
{
    struct usb_bus *bus = &usbip->bus;
    struct client *client = usbip_importer(usbip);

    usbip->lost = bus->lost;
    usbip->there = false;
    usbip->number = usbip->number == 127 ? FIRST_NUMBER : (uint16_t)(usbip->number + 1);
    journal_note(&usbip->server->journal, bus->v.now, "left the bus");
    if (!bus->up && !usbip->device->back_at)
        usbip->replug_at = bus->v.now + REPLUG_TIME;
    if (client)
        usbip_device_left(usbip, client);
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
            usbip_serve_client(usbip, &usbip->clients[i]);
    if (looks[CLIENTS_MAX].revents)
        accept_client(usbip);
    follow_bus(usbip);
}

/* It can be used once it is on the bus; one whose program is not on it will only be told of. */
static void tell_ready(struct usbip *usbip)
{
    usbip->told = usbip->bus.up || usbip->device->back_at == UINT64_MAX;
    if (!usbip->told)
        return;
    printf("ready %susbip:127.0.0.1:%u/%s\n", usbip->server->options->ready, (unsigned)usbip->port,
           DEVICE_BUSID);
    fflush(stdout);
}

static void run(struct usbip *usbip)
{
    enum vreset cause;

    while (!usbip->server->end) {
        follow_bus(usbip);
        /* After a long wait the bus has come to the present first: a button is pressed then. */
        while (server_reset_wanted(usbip->server, usbip->bus.v.now, &cause)) {
            usb_bus_reset(&usbip->bus, cause);
            follow_bus(usbip);
        }
        if (!usbip->told)
            tell_ready(usbip);
        look(usbip);
    }
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (usbip->clients[i].fd >= 0)
            usbip_leave(usbip, &usbip->clients[i]);
}

static bool begin_listening(struct usbip *usbip)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(usbip->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int one = 1;

    usbip->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (usbip->listener < 0 ||
        setsockopt(usbip->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(usbip->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(usbip->listener, CLIENTS_MAX) < 0 ||
        getsockname(usbip->listener, (struct sockaddr *)&address, &length) < 0) {
        fprintf(stderr, "vboard: 127.0.0.1:%u: %s\n", (unsigned)usbip->port, strerror(errno));
        return false;
    }
    usbip->port = ntohs(address.sin_port);
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
    int status = 1;

    if (!usbip)
        return status;
    usbip->server = server;
    usbip->number = FIRST_NUMBER;
    usbip->port = server->options->port;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        usbip->clients[i].fd = -1;
    if (!make_device(usbip)) {
        free(usbip);
        return 2;
    }
    if (begin_listening(usbip)) {
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
