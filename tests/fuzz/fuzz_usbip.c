/*
 * A USB/IP server whose answers are a fuzzer's input. The first byte chooses what the host wants
 * (the list, a device, a serial port); then portions of two bytes of length, little end first, and
 * so many bytes: what the server says to one message of the host after another. An empty one closes
 * the connection; so does a host that has nothing more to say for a moment, which spares the
 * deadlines.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "link/serial.h"
#include "link/usb.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static struct server {
    pthread_mutex_t lock;
    int listening;
    char name[64];
    const uint8_t *bytes;
    size_t left;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Says the next portion. False: that was an empty one. */
static bool say_next(int fd)
{
    (void)pthread_mutex_lock(&server.lock);
    size_t portion = server.left >= 2 ? get_le16(server.bytes) : 0;
    if (server.left >= 2)
        server.bytes += 2, server.left -= 2;
    portion = portion < server.left ? portion : server.left;
    if (portion > 0)
        (void)send(fd, server.bytes, portion, MSG_NOSIGNAL);
    server.bytes += portion;
    server.left -= portion;
    (void)pthread_mutex_unlock(&server.lock);
    return portion > 0;
}

/* Resets the connection in the end, which leaves no port in TIME_WAIT. */
static void answer(int fd)
{
    const struct linger at_once = {1, 0};
    const struct timeval moment = {0, 5000};
    uint8_t heard[4096];
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment);
    while (recv(fd, heard, sizeof heard, 0) > 0 && say_next(fd))
        continue;
    (void)shutdown(fd, SHUT_WR);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0}, sizeof moment);
    while (recv(fd, heard, sizeof heard, 0) > 0)
        continue;
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    (void)close(fd);
}

static void *serve(void *argument)
{
    (void)argument;
    int fd;
    while ((fd = accept(server.listening, NULL, NULL)) >= 0)
        answer(fd);
    return NULL;
}

static void start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    pthread_t thread;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.listening, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(server.listening, 16) != 0 ||
        getsockname(server.listening, (struct sockaddr *)&address, &size) != 0 ||
        pthread_create(&thread, NULL, serve, NULL) != 0)
        abort();
    (void)snprintf(server.name, sizeof server.name, "usbip:127.0.0.1:%u/1-1",
                   ntohs(address.sin_port));
}

static void want_list(void)
{
    struct usb_device *devices;
    size_t count;
    struct error err;
    if (usbip_devices(&devices, &count, server.name, &err) == OK) {
        usbip_texts(devices, count);
        for (size_t i = 0; i < count; i++)
            if (devices[i].interface_count > USB_INTERFACES_MAX)
                abort();
    }
    free(devices);
}

static void want_device(void)
{
    const struct usb_setup get_status = {0xa1, 3, 0, 0, 6};
    uint8_t bytes[64];
    struct usb *usb;
    struct error err;
    if (usb_open(&usb, server.name, NULL, &err) != OK)
        return;
    uint64_t deadline = clock_in(usb->clock, SECOND);
    (void)usb_control(usb, &get_status, bytes, deadline, &err);
    if (usb_in(usb, 0x81, bytes, sizeof bytes, deadline, &err) > (ssize_t)sizeof bytes)
        abort();
    (void)usb_out(usb, 1, bytes, sizeof bytes, deadline, &err);
    (void)usb_reset(usb, &err);
    usb_close(usb);
}

static void want_serial(void)
{
    const struct serial_settings settings = {250000, PARITY_NONE, 1};
    uint8_t bytes[100];
    struct serial *serial;
    struct error err;
    if (serial_open(&serial, server.name, &settings, NULL, &err) != OK)
        return;
    (void)serial_write(serial, (const uint8_t *)"?", 1, &err);
    (void)serial_read(serial, bytes, sizeof bytes, clock_in(serial->clock, SECOND), &err);
    serial_close(serial);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static void (*const wants[])(void) = {want_list, want_device, want_serial};
    if (server.name[0] == '\0')
        start();
    if (length < 1)
        return 0;
    (void)pthread_mutex_lock(&server.lock);
    server.bytes = bytes + 1;
    server.left = length - 1;
    (void)pthread_mutex_unlock(&server.lock);
    wants[bytes[0] % 3]();
    (void)pthread_mutex_lock(&server.lock);
    server.left = 0;
    (void)pthread_mutex_unlock(&server.lock);
    return 0;
}
