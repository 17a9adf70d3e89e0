/* See usbip_client.h. */
#include "usbip_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_MAX = 64 * 1024,
    INPUT_MAX = USBIP_HEADER + USBIP_LENGTH_MAX + READ_MAX,
    OUTPUT_MAX = 16 << 20,
    URBS_MAX = 256,
};

static bool reserve(struct bytes *bytes, size_t more, size_t limit)
{
    size_t wanted = bytes->count + more, room = bytes->room ? bytes->room : 4096;
    if (wanted > limit)
        return false;
    while (room < wanted)
        room *= 2;
    if (room == bytes->room)
        return true;
    uint8_t *at = realloc(bytes->at, room);
    if (!at)
        return false;
    bytes->at = at;
    bytes->room = room;
    return true;
}

static void drop(struct bytes *bytes, size_t count)
{
    bytes->count -= count;
    if (bytes->count)
        memmove(bytes->at, bytes->at + count, bytes->count);
}

bool client_read(struct client *client)
{
    struct bytes *input = &client->input;
    for (;;) {
        if (!reserve(input, READ_MAX, INPUT_MAX + READ_MAX))
            return false;
        ssize_t count = recv(client->fd, input->at + input->count, READ_MAX, MSG_DONTWAIT);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == EAGAIN;
        if (count == 0)
            return false;
        input->count += (size_t)count;
        if (input->count >= INPUT_MAX - READ_MAX || count < READ_MAX)
            return true;
    }
}

bool client_flush(struct client *client)
{
    struct bytes *output = &client->output;
    while (output->count) {
        ssize_t count = send(client->fd, output->at, output->count, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == EAGAIN;
        drop(output, (size_t)count);
    }
    return true;
}

void client_say(struct client *client, const void *bytes, size_t length)
{
    struct bytes *output = &client->output;
    if (!reserve(output, length, OUTPUT_MAX)) {
        client->broken = true;
        return;
    }
    memcpy(output->at + output->count, bytes, length);
    output->count += length;
}

void client_take(struct client *client, size_t count)
{
    drop(&client->input, count);
}

struct urb *client_urb(struct client *client, uint32_t seqnum, size_t length)
{
    struct urb **at = &client->urbs, *urb;
    if (client->urb_count == URBS_MAX || !(urb = calloc(1, sizeof *urb + length)))
        return NULL;
    while (*at)
        at = &(*at)->next;
    *at = urb;
    client->urb_count++;
    urb->seqnum = seqnum;
    urb->transfer.bytes = urb->bytes;
    urb->transfer.length = length;
    return urb;
}

struct urb *client_find(const struct client *client, uint32_t seqnum)
{
    struct urb *urb = client->urbs;
    while (urb && urb->seqnum != seqnum)
        urb = urb->next;
    return urb;
}

void client_forget(struct client *client, struct urb *urb)
{
    struct urb **at = &client->urbs;
    while (*at != urb)
        at = &(*at)->next;
    *at = urb->next;
    client->urb_count--;
    free(urb);
}

void client_close(struct client *client)
{
    while (client->urbs)
        client_forget(client, client->urbs);
    close(client->fd);
    free(client->input.at);
    free(client->output.at);
    *client = (struct client){.fd = -1};
}
