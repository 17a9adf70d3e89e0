/*
 * A stream of bytes between two CAN ids, behind struct serial: see can.h. The cut into frames is
 * Klipper's and Katapult's (src/generic/canserial.c): 8 bytes each, the last one short.
 */
#include <stdlib.h>
#include <string.h>

#include "link/backend.h"
#include "link/can.h"

struct can_stream {
    struct serial serial; /* first: the two addresses are one */
    struct can *can;
    uint16_t to, from;
    struct can_frame frame; /* the one being read */
    size_t used;            /* bytes of it that were handed out */
};

static int stream_configure(struct serial *serial, const struct serial_settings *settings,
                            struct error *err)
{
    (void)serial, (void)settings, (void)err; /* the bus has its rate, and a stream has none */
    return OK;
}

/* The next frame of our id that carries anything. As can_receive(). */
static int next_frame(struct can_stream *stream, uint64_t deadline, struct error *err)
{
    int rc;
    do
        rc = can_receive(stream->can, &stream->frame, deadline, err);
    while (rc == 1 && (stream->frame.can_id != stream->from || stream->frame.len == 0));
    stream->used = 0;
    if (rc != 1)
        stream->frame.len = 0;
    return rc;
}

static ssize_t stream_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                           struct error *err)
{
    struct can_stream *stream = (struct can_stream *)serial;
    if (max == 0)
        return 0;
    if (stream->used >= stream->frame.len) {
        int rc = next_frame(stream, deadline, err);
        if (rc != 1)
            return rc;
    }
    size_t left = stream->frame.len - stream->used;
    size_t count = left < max ? left : max;
    memcpy(bytes, stream->frame.data + stream->used, count);
    stream->used += count;
    return (ssize_t)count;
}

static int stream_write(struct serial *serial, const uint8_t *bytes, size_t length,
                        uint64_t deadline, struct error *err)
{
    const struct can_stream *stream = (const struct can_stream *)serial;
    (void)deadline; /* can_send() has one for each frame */
    while (length > 0) {
        size_t part = length < CAN_MAX_DLEN ? length : CAN_MAX_DLEN;
        int rc = can_send(stream->can, stream->to, bytes, part, err);
        if (rc != OK)
            return rc;
        bytes += part;
        length -= part;
    }
    return OK;
}

static void stream_drop_input(struct serial *serial)
{
    ((struct can_stream *)serial)->frame.len = 0;
}

static void stream_close(struct serial *serial)
{
    free(serial);
}

static const struct serial_ops stream_ops = {
    .name = "can",
    .configure = stream_configure,
    .read = stream_read,
    .write = stream_write,
    .drop_input = stream_drop_input,
    .close = stream_close,
};

int can_stream_open(struct serial **serial, struct can *can, uint16_t to, uint16_t from,
                    struct error *err)
{
    *serial = NULL;
    struct can_stream *stream =
        (struct can_stream *)serial_allocate(sizeof *stream, &stream_ops, can->name);
    if (!stream)
        return error_memory(err);
    stream->serial.clock = can->clock;
    stream->can = can;
    stream->to = to;
    stream->from = from;
    *serial = &stream->serial;
    return OK;
}
