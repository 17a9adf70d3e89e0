/*
 * attach HOST-PORT [VHCI-PORT]: plugs the USB/IP device served on 127.0.0.1:HOST-PORT into the
 * kernel's virtual host controller, and plugs it in again whenever it comes back to its bus after
 * it has left (as another device, perhaps): the cable stays in. SIGTERM pulls the plug and ends.
 *
 * Documents: Linux Documentation/usb/usbip_protocol.rst; drivers/usb/usbip/vhci_sysfs.c for the
 * files below /sys/devices/platform/vhci_hcd.0. The kernel takes a reference of the socket; ours
 * stays open to hear of its end, so there is nothing to poll while the device is there.
 *
 * Prints one line for each time: `attached VHCI-PORT VID:PID`, and `left`.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define VHCI "/sys/devices/platform/vhci_hcd.0/"

enum {
    OP_HEADER = 8,     /* version, code, status */
    RECORD = 312,      /* one device */
    PORT_FREE = 4,     /* `sta` in VHCI/status */
    RETRY_MS = 10,     /* between two looks for a device that is off its bus */
    ANSWER_MS = 2000,  /* for one answer of the server */
    RELEASE_MS = 5000, /* for the kernel to give a port free */
};

struct plug {
    uint16_t tcp;  /* the server's port */
    unsigned port; /* of the virtual controller */
    int signals;   /* SIGTERM, SIGINT */
    uint8_t record[RECORD];
};

static uint32_t be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* True if the plug is to be pulled; else waits that long. */
static bool told_to_end(const struct plug *plug, int ms)
{
    struct pollfd fd = {.fd = plug->signals, .events = POLLIN};
    return poll(&fd, 1, ms) > 0;
}

/* 0: it waits for ever. */
static void set_patience(int fd, time_t seconds)
{
    struct timeval patience = {.tv_sec = seconds};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

static int dial(uint16_t tcp)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(tcp), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    set_patience(fd, ANSWER_MS / 1000);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool receive(int fd, uint8_t *into, size_t length)
{
    return recv(fd, into, length, MSG_WAITALL) == (ssize_t)length;
}

/* Header of a reply with this code and status 0. */
static bool accepted(int fd, uint8_t code)
{
    uint8_t header[OP_HEADER];
    return receive(fd, header, sizeof header) && header[0] == 1 && header[1] == 0x11 &&
           header[3] == code && be32(header + 4) == 0;
}

/* The first device of the server; its record has the bus id. */
static bool list_first(struct plug *plug)
{
    static const uint8_t request[OP_HEADER] = {0x01, 0x11, 0x80, 0x05};
    uint8_t count[4];
    int fd = dial(plug->tcp);
    bool found = fd >= 0 && send(fd, request, sizeof request, MSG_NOSIGNAL) == OP_HEADER &&
                 accepted(fd, 5) && receive(fd, count, sizeof count) && be32(count) > 0 &&
                 receive(fd, plug->record, RECORD);
    if (fd >= 0)
        close(fd);
    return found;
}

/* A socket in URB mode, or -1: the device is not there now. */
static int import(struct plug *plug)
{
    uint8_t request[OP_HEADER + 32] = {0x01, 0x11, 0x80, 0x03};
    if (!list_first(plug))
        return -1;
    memcpy(request + OP_HEADER, plug->record + 256, 32);
    int fd = dial(plug->tcp);
    if (fd < 0)
        return -1;
    if (send(fd, request, sizeof request, MSG_NOSIGNAL) == (ssize_t)sizeof request &&
        accepted(fd, 3) && receive(fd, plug->record, RECORD))
        return fd;
    close(fd);
    return -1;
}

/* The port's line in VHCI/status: hub, port, status, … */
static bool port_state(const struct plug *plug, unsigned *state)
{
    FILE *file = fopen(VHCI "status", "r");
    char line[128];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        unsigned port;
        found = sscanf(line, "%*s %u %u", &port, state) == 2 && port == plug->port;
    }
    if (file)
        fclose(file);
    return found;
}

static bool await_free(const struct plug *plug)
{
    unsigned state = 0;
    for (int waited = 0; waited < RELEASE_MS; waited += RETRY_MS) {
        if (port_state(plug, &state) && state == PORT_FREE)
            return true;
        if (told_to_end(plug, RETRY_MS))
            return false;
    }
    fprintf(stderr, "attach: port %u of the controller stays in state %u\n", plug->port, state);
    return false;
}

static bool tell_kernel(const char *file, const char *text)
{
    FILE *out = fopen(file, "w");
    bool done = out && fputs(text, out) >= 0 && fflush(out) == 0;
    int why = errno;
    if (out)
        fclose(out);
    if (!done)
        fprintf(stderr, "attach: %s: %s: %s\n", file, text, strerror(why));
    return done;
}

/* The kernel would unplug a device that has nothing to say for as long as this socket waits. */
static bool plug_in(const struct plug *plug, int fd)
{
    char text[64];
    set_patience(fd, 0);
    uint32_t bus = be32(plug->record + 288), device = be32(plug->record + 292);
    snprintf(text, sizeof text, "%u %d %u %u", plug->port, fd, (unsigned)(bus << 16 | device),
             (unsigned)be32(plug->record + 296));
    if (!await_free(plug) || !tell_kernel(VHCI "attach", text))
        return false;
    printf("attached %u %02x%02x:%02x%02x\n", plug->port, plug->record[300], plug->record[301],
           plug->record[302], plug->record[303]);
    return true;
}

/* Until the device leaves (true) or the plug is to be pulled (false). */
static bool await_leaving(const struct plug *plug, int fd)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLRDHUP},
                            {.fd = plug->signals, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    if (fds[1].revents == 0) {
        puts("left");
        return true;
    }
    char text[16];
    snprintf(text, sizeof text, "%u", plug->port);
    tell_kernel(VHCI "detach", text);
    return false;
}

int main(int argc, char **argv)
{
    struct plug plug = {.port = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0};
    plug.tcp = argc > 1 ? (uint16_t)strtoul(argv[1], NULL, 10) : 0;
    if (plug.tcp == 0 || argc > 3) {
        fputs("usage: attach HOST-PORT [VHCI-PORT]\n", stderr);
        return 2;
    }
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    plug.signals = signalfd(-1, &ends, SFD_CLOEXEC);
    setvbuf(stdout, NULL, _IOLBF, 0);

    for (bool in = true; in;) {
        int fd = import(&plug);
        if (fd < 0) {
            in = !told_to_end(&plug, RETRY_MS);
            continue;
        }
        if (!plug_in(&plug, fd))
            return 1;
        in = await_leaving(&plug, fd);
        close(fd);
    }
    return await_free(&plug) ? 0 : 1;
}
