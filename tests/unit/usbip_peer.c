/* See usbip_peer.h. */
#include "usbip_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { BYTES_MAX = 8192, PATIENCE_SECONDS = 4 };

struct usbip_peer {
    const struct peer_turn *turns;
    pthread_t thread;
    int listening;
    char name[128];
    char complaint[512]; /* "" = all as in the script */
};

static size_t from_hex(const char *hex, uint8_t *bytes)
{
    size_t n = 0;
    unsigned value;
    int used;
    while (hex && n < BYTES_MAX && sscanf(hex, "%2x%n", &value, &used) == 1) {
        bytes[n++] = (uint8_t)value;
        hex += used;
    }
    return n;
}

static int next_connection(struct usbip_peer *peer)
{
    const struct timeval patience = {PATIENCE_SECONDS, 0};
    int fd = accept(peer->listening, NULL, NULL);
    if (fd < 0)
        (void)snprintf(peer->complaint, sizeof peer->complaint, "nobody connects");
    else
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

/* False: another byte than the script's came, or none. */
static bool hear(struct usbip_peer *peer, int fd, const struct peer_turn *turn)
{
    uint8_t expected[BYTES_MAX] = {0}, byte;
    size_t length = from_hex(turn->host, expected) + turn->zeros;
    for (size_t i = 0; i < length; i++) {
        bool came = recv(fd, &byte, 1, 0) == 1;
        if (came && byte == expected[i])
            continue;
        (void)snprintf(peer->complaint, sizeof peer->complaint,
                       "turn %zu, byte %zu: %02x expected, %s %02x", (size_t)(turn - peer->turns),
                       i, expected[i], came ? "came" : "nothing came", came ? byte : 0);
        return false;
    }
    return true;
}

static void hear_the_end(struct usbip_peer *peer, int fd, const struct peer_turn *turn)
{
    uint8_t byte;
    errno = 0;
    /* A host that leaves something unread resets the connection. */
    ssize_t got = recv(fd, &byte, 1, 0);
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return;
    (void)snprintf(peer->complaint, sizeof peer->complaint, "turn %zu: %s",
                   (size_t)(turn - peer->turns), got > 0 ? "more came" : "the host stays");
}

static bool take_turn(struct usbip_peer *peer, int *fd, const struct peer_turn *turn)
{
    uint8_t bytes[BYTES_MAX];
    if (*fd < 0)
        *fd = next_connection(peer);
    if (*fd < 0 || !hear(peer, *fd, turn))
        return false;
    if (turn->delay) {
        const struct timespec pause = {0, (long)turn->delay * 1000000};
        (void)nanosleep(&pause, NULL);
    }
    size_t length = from_hex(turn->device, bytes);
    if (length > 0 && send(*fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
        (void)snprintf(peer->complaint, sizeof peer->complaint, "the host closed the connection");
    if (turn->what == PEER_AWAIT_CLOSE)
        hear_the_end(peer, *fd, turn);
    if (turn->what != PEER_TURN) {
        (void)close(*fd);
        *fd = -1;
    }
    return peer->complaint[0] == '\0';
}

static void *serve(void *argument)
{
    struct usbip_peer *peer = argument;
    int fd = -1;
    const struct peer_turn *turn = peer->turns;
    while (turn->what != PEER_END && take_turn(peer, &fd, turn))
        turn++;
    if (fd >= 0)
        (void)close(fd);
    return NULL;
}

struct usbip_peer *usbip_peer(const struct peer_turn *turns)
{
    const struct timeval patience = {PATIENCE_SECONDS, 0};
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    struct usbip_peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    peer->turns = turns;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(peer->listening >= 0);
    assert_int_equal(bind(peer->listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(peer->listening, 4), 0);
    assert_int_equal(getsockname(peer->listening, (struct sockaddr *)&address, &size), 0);
    (void)setsockopt(peer->listening, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)snprintf(peer->name, sizeof peer->name, "usbip:127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&peer->thread, NULL, serve, peer), 0);
    return peer;
}

const char *usbip_peer_name(struct usbip_peer *peer, const char *rest)
{
    char *end = strrchr(peer->name, ':');
    end += strcspn(end, "/");
    (void)snprintf(end, sizeof peer->name - (size_t)(end - peer->name), "%s", rest);
    return peer->name;
}

bool usbip_peer_done(struct usbip_peer *peer)
{
    (void)pthread_join(peer->thread, NULL);
    bool done = peer->complaint[0] == '\0';
    if (!done)
        print_error("usbip_peer: %s\n", peer->complaint);
    (void)close(peer->listening);
    free(peer);
    return done;
}
