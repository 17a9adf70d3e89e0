/*
 * See usb_serial.h. Two things to know: a packet for a busy model is taken byte by byte, and the
 * next one must wait (NAK) until the last byte is taken; and which program runs is asked while the
 * device is off the bus, because it comes back as that.
 */
#include "usb_serial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klipper_app.h"

enum { QUEUE_START = 4096, QUEUE_MAX = 1 << 20 };

struct front {
    struct vusb usb;   /* first: the two addresses are one */
    struct vline line; /* as the model sees it */
    struct vserial *device;
    struct vmemory flash;
    struct klipper_app app; /* app.running: Klipper, in a model that does not know it itself */
    bool detached;          /* the model has said when it comes back */
    struct cdc_identity faces[3]; /* by enum vprogram */
    struct cdc_port port;
    struct cdc_queue queue;
    uint8_t packet[CDC_PACKET]; /* the model has not taken all of it */
    size_t taken, length;
};

static struct front *front_of(struct vusb *dev)
{
    return (struct front *)dev;
}

static struct front *front_of_line(struct vline *line)
{
    return (struct front *)((char *)line - offsetof(struct front, line));
}

/* Every call into the model begins with the time. */
static struct vserial *model(struct front *front)
{
    if (front->usb.bus) {
        front->line.now = front->usb.bus->now;
        front->line.paced = front->usb.bus->paced;
    }
    return front->device;
}

/* ---- which program ---- */

static void choose_face(struct front *front)
{
    const struct vserial *device = front->device;
    if (front->usb.identity && !front->usb.back_at)
        return;
    enum vprogram program = device->ops->runs ? device->ops->runs(device) : VPROGRAM_LOADER;
    front->app.running = false;
    if (program == VPROGRAM_APPLICATION) {
        klipper_app_start(&front->app, &front->flash, 0, KLIPPER_USB);
        if (front->app.running)
            program = VPROGRAM_KLIPPER;
    }
    front->usb.identity = &front->faces[program].identity;
}

/* ---- bytes ---- */

static bool busy(const struct front *front)
{
    return front->device->ops->busy && front->device->ops->busy(front->device);
}

static void hear(struct front *front, uint8_t byte)
{
    struct vserial *device = model(front);
    if (front->app.running)
        klipper_app_receive(&front->app, &front->line, byte);
    else
        device->ops->receive(device, byte);
}

static void pump(struct front *front)
{
    while (front->taken < front->length && !busy(front))
        hear(front, front->packet[front->taken++]);
    choose_face(front);
}

static bool grow(struct cdc_queue *queue)
{
    size_t room = queue->room ? 2 * queue->room : QUEUE_START;
    uint8_t *bytes = room > QUEUE_MAX ? NULL : malloc(room);
    if (!bytes)
        return false;
    for (size_t i = 0; i < queue->count; i++)
        bytes[i] = queue->bytes[(queue->head + i) % queue->room];
    free(queue->bytes);
    queue->bytes = bytes;
    queue->room = room;
    queue->head = 0;
    return true;
}

static void send(struct vline *line, uint8_t byte)
{
    struct front *front = front_of_line(line);
    if (!cdc_put(&front->queue, byte) && grow(&front->queue))
        cdc_put(&front->queue, byte);
}

static bool sending(const struct vline *line)
{
    const struct front *front =
        (const struct front *)((const char *)line - offsetof(struct front, line));
    return front->queue.count > 0;
}

static void drop_packet(struct vline *line)
{
    struct front *front = front_of_line(line);
    front->taken = front->length;
}

static void forget(struct front *front)
{
    front->taken = front->length = 0;
    front->port.dtr = front->port.rts = false;
    cdc_forget(&front->queue);
}

static void detach(struct vline *line, uint64_t back_at)
{
    struct front *front = front_of_line(line);
    forget(front);
    front->detached = true;
    if (front->usb.bus)
        front->usb.bus->detach(front->usb.bus, back_at);
    else
        front->usb.back_at = back_at;
}

/* ---- the device ---- */

static void front_reset(struct vusb *dev, enum vreset cause)
{
    struct front *front = front_of(dev);
    struct vserial *device = model(front);
    forget(front);
    front->detached = false;
    device->ops->reset(device, cause);
    if (!front->detached) /* the first power-on changes nothing for some */
        dev->back_at = front->line.now;
    choose_face(front);
}

static void front_bus_reset(struct vusb *dev)
{
    forget(front_of(dev));
}

static enum vusb_answer front_control(struct vusb *dev, const struct vusb_setup *setup,
                                      uint8_t *data, size_t *length)
{
    struct front *front = front_of(dev);
    struct vserial *device = model(front);
    bool changed;
    enum vusb_answer answer = cdc_control(&front->port, setup, data, length, &changed);
    if (changed && device->ops->lines)
        device->ops->lines(device, front->port.dtr, front->port.rts, cdc_baud(&front->port));
    return answer;
}

static enum vusb_answer front_out(struct vusb *dev, uint8_t endpoint, const uint8_t *packet,
                                  size_t length)
{
    struct front *front = front_of(dev);
    if (endpoint != CDC_OUT)
        return VUSB_STALL;
    if (front->taken < front->length || busy(front))
        return VUSB_NAK;
    memcpy(front->packet, packet, length);
    front->taken = 0;
    front->length = length;
    front->line.packet++;
    pump(front);
    return VUSB_ACK;
}

static enum vusb_answer front_in(struct vusb *dev, uint8_t endpoint, uint8_t *packet,
                                 size_t *length)
{
    struct front *front = front_of(dev);
    if (endpoint != CDC_IN)
        return endpoint == CDC_NOTIFY ? VUSB_NAK : VUSB_STALL;
    enum vusb_answer answer = cdc_take(&front->queue, packet, length);
    if (answer == VUSB_ACK) /* a model may have waited for that */
        pump(front);
    return answer;
}

static uint64_t front_next(const struct vusb *dev)
{
    const struct front *front = (const struct front *)dev;
    return front->device->ops->next(front->device);
}

static void front_tick(struct vusb *dev)
{
    struct front *front = front_of(dev);
    struct vserial *device = model(front);
    device->ops->tick(device);
    pump(front);
}

static void front_destroy(struct vusb *dev)
{
    struct front *front = front_of(dev);
    front->device->ops->destroy(front->device);
    free(front->queue.bytes);
    free(front);
}

static const struct vusb_ops front_ops = {
    .reset = front_reset,
    .bus_reset = front_bus_reset,
    .control = front_control,
    .out = front_out,
    .in = front_in,
    .next = front_next,
    .tick = front_tick,
    .destroy = front_destroy,
};

struct vusb *usb_serial(struct vserial *device, const struct vmemory *flash,
                        const struct usb_serial_faces *faces)
{
    struct front *front = calloc(1, sizeof *front);
    if (!front) {
        device->ops->destroy(device);
        return NULL;
    }
    front->usb =
        (struct vusb){.ops = &front_ops, .parked = device->parked, .back_at = device->back_at};
    front->line = (struct vline){
        .now = device->parked,
        .send = send,
        .sending = sending,
        .detach = detach,
        .drop_packet = drop_packet,
    };
    front->device = device;
    front->flash = *flash;
    device->line = &front->line;
    cdc_identify(&front->faces[VPROGRAM_LOADER], &faces->loader);
    cdc_identify(&front->faces[VPROGRAM_KLIPPER], &faces->klipper);
    cdc_identify(&front->faces[VPROGRAM_APPLICATION], &faces->application);
    choose_face(front);
    return &front->usb;
}
