/* See line.h. Times on the wire are kept in nanoseconds, so that rounding does not add up. */
#include "line.h"

#include <stdlib.h>

#include "wrong_rate.h"

enum {
    NS = 1000, /* in a microsecond */
    BITS_8N1 = 10,
    USB_PACKET = 64,
    /* USB 2.0 table 5-9: 19 full-speed bulk packets of 64 bytes fit into a frame of 1 ms. */
    USB_PACKET_NS = 52632,
    RATE_TOLERANCE = 40, /* per mille; ATmega data sheets: 8 data bits, about 4 % in all */
    QUEUE_MAX = 1 << 20,
    HURRY_MAX = 64, /* steps in which neither time passes nor a byte moves */
};

/* ---- queues ---- */

static bool queue_grow(struct line_queue *queue)
{
    size_t room = queue->room ? queue->room * 2 : 256;
    struct line_byte *bytes = room > QUEUE_MAX ? NULL : calloc(room, sizeof *bytes);
    if (!bytes)
        return false;
    for (size_t i = 0; i < queue->count; i++)
        bytes[i] = queue->bytes[(queue->head + i) & (queue->room - 1)];
    free(queue->bytes);
    *queue = (struct line_queue){.bytes = bytes, .count = queue->count, .room = room};
    return true;
}

/* A full queue loses the byte, as an overrun buffer of a host does. */
static void queue_push(struct line_queue *queue, struct line_byte byte)
{
    if (queue->count == queue->room && !queue_grow(queue))
        return;
    queue->bytes[(queue->head + queue->count++) & (queue->room - 1)] = byte;
}

static const struct line_byte *queue_head(const struct line_queue *queue)
{
    return queue->count ? &queue->bytes[queue->head] : NULL;
}

static struct line_byte queue_pop(struct line_queue *queue)
{
    struct line_byte byte = queue->bytes[queue->head];
    queue->head = (queue->head + 1) & (queue->room - 1);
    queue->count--;
    return byte;
}

static void queue_clear(struct line_queue *queue)
{
    queue->head = queue->count = 0;
}

static void queue_free(struct line_queue *queue)
{
    free(queue->bytes);
    *queue = (struct line_queue){0};
}

/* The moment of the first byte, rounded up to microseconds. */
static uint64_t queue_due(const struct line_queue *queue)
{
    const struct line_byte *head = queue_head(queue);
    return head ? (head->at + NS - 1) / NS : UINT64_MAX;
}

/* ---- rates ---- */

static bool is_usb(const struct line *line)
{
    return line->device->baud == 0;
}

/* Of whatever program has the UART now. */
static uint32_t device_rate(const struct line *line)
{
    return line->klipper.running ? line->klipper.baud : line->device->baud;
}

static bool rates_match(const struct line *line)
{
    const struct vserial *device = line->device;
    if (device->ops->rate_ok && !line->klipper.running)
        return device->ops->rate_ok(device, line->baud);
    if (is_usb(line))
        return true;
    int64_t off = (int64_t)line->baud * 1000 / device_rate(line) - 1000;
    return off >= -RATE_TOLERANCE && off <= RATE_TOLERANCE;
}

/* ---- the application ---- */

/* Looked at once for each start: its dictionary is in the flash, and stays there while it runs. */
static void look_at_program(struct line *line)
{
    const struct vserial *device = line->device;
    bool application = line->flash && !device->judges_application && device->ops->runs &&
                       device->ops->runs(device) == VPROGRAM_APPLICATION;
    if (application && !line->application)
        klipper_app_start(&line->klipper, line->flash, 0,
                          is_usb(line) ? KLIPPER_USB : KLIPPER_UART);
    if (!application)
        line->klipper.running = false;
    line->application = application;
}

void line_watch_flash(struct line *line, const struct vmemory *flash)
{
    line->flash = flash;
    look_at_program(line);
}

/* ---- towards the device ---- */

static bool device_busy(const struct line *line)
{
    return !line->klipper.running && line->device->ops->busy &&
           line->device->ops->busy(line->device);
}

static void give(struct line *line, struct line_byte byte)
{
    line->packet_heard = byte.packet;
    line->v.framing_error = byte.framing_error;
    line->v.packet = line->stream ? 0 : byte.packet;
    if (line->klipper.running)
        klipper_app_receive(&line->klipper, &line->v, byte.value);
    else
        line->device->ops->receive(line->device, byte.value);
    look_at_program(line);
}

static void pump_receiver(struct line *line)
{
    while (line->receiver.count && !device_busy(line))
        give(line, queue_pop(&line->receiver));
}

static void hear(struct line *line, struct line_byte byte)
{
    if (!line->receiver.count && !device_busy(line))
        give(line, byte);
    else if (!line->device->rx_depth || line->receiver.count < line->device->rx_depth)
        queue_push(&line->receiver, byte);
}

static void arrive(struct line *line, struct line_byte byte)
{
    if (!line->in_message) {
        line->in_message = true;
        line->messages++;
        if (line->messages == line->faults.stall)
            line->stalled = true;
    }
    if (line->stalled)
        return;
    if (rates_match(line)) {
        hear(line, byte);
        return;
    }
    struct misheard heard[MISHEARD_MAX];
    size_t count = mishear(byte.value, line->baud, device_rate(line), heard);
    for (size_t i = 0; i < count; i++) {
        byte.value = heard[i].value;
        byte.framing_error = heard[i].framing_error;
        hear(line, byte);
    }
}

void line_write(struct line *line, const uint8_t *bytes, size_t length)
{
    if (!line->up || !line->baud)
        return;
    uint64_t now = line->v.now * NS;
    uint64_t byte_time = (uint64_t)line->bits * 1000000000 / line->baud;
    for (size_t i = 0; i < length; i++) {
        bool packet_starts = i % USB_PACKET == 0;
        line->packet += packet_starts;
        if (line->host_free < now)
            line->host_free = now;
        if (line->v.paced)
            line->host_free += !is_usb(line) ? byte_time : packet_starts ? USB_PACKET_NS : 0;
        queue_push(
            &line->to_device,
            (struct line_byte){.at = line->host_free, .packet = line->packet, .value = bytes[i]});
    }
}

static void drop_packet(struct vline *v)
{
    struct line *line = (struct line *)v;
    if (line->stream)
        return;
    struct line_queue *queues[] = {&line->receiver, &line->to_device};
    for (size_t i = 0; i < 2; i++)
        while (queues[i]->count && queue_head(queues[i])->packet == line->packet_heard)
            queue_pop(queues[i]);
}

/* ---- towards the host ---- */

static void go_down(struct line *line)
{
    line->up = false;
    line->lost++;
    line->dtr = line->rts = false;
    line->in_message = false;
    queue_clear(&line->to_device);
    queue_clear(&line->receiver);
    queue_clear(&line->to_host);
}

/* The first byte of a reply is where faults happen. True if the byte is not to be sent. */
static bool reply_fault(struct line *line, uint8_t *byte)
{
    line->in_message = false;
    if (line->messages == line->faults.cut || line->messages == line->faults.power) {
        /* The model is in the middle of its answer: its reset must wait until it is done. */
        line->power_lost = line->messages == line->faults.power;
        go_down(line);
        return true;
    }
    if (line->messages == line->faults.corrupt)
        *byte ^= 0x40;
    return line->messages == line->faults.drop;
}

static unsigned bits_of(const struct vserial *device)
{
    return device->bits ? device->bits : BITS_8N1;
}

static void send(struct vline *v, uint8_t byte)
{
    struct line *line = (struct line *)v;
    if (!line->up || line->stalled || (line->in_message && reply_fault(line, &byte)))
        return;
    uint64_t now = v->now * NS;
    if (line->device_free < now)
        line->device_free = now;
    uint64_t bits = bits_of(line->device);
    if (v->paced)
        line->device_free +=
            is_usb(line) ? USB_PACKET_NS / USB_PACKET : bits * 1000000000 / device_rate(line);
    queue_push(&line->to_host, (struct line_byte){.at = line->device_free, .value = byte});
}

static bool sending(const struct vline *v)
{
    return ((const struct line *)v)->to_host.count > 0;
}

static void detach(struct vline *v, uint64_t back_at)
{
    struct line *line = (struct line *)v;
    line->device->back_at = back_at;
    if (line->up)
        go_down(line);
}

static void reach_host(struct line *line, struct line_byte byte)
{
    if (rates_match(line)) {
        queue_push(&line->arrived, byte);
        return;
    }
    struct misheard heard[MISHEARD_MAX];
    size_t count = mishear(byte.value, device_rate(line), line->baud, heard);
    for (size_t i = 0; i < count; i++)
        queue_push(&line->arrived, (struct line_byte){.value = heard[i].value});
}

size_t line_take(struct line *line, uint8_t *bytes, size_t max)
{
    size_t count = 0;
    while (count < max && line->arrived.count)
        bytes[count++] = queue_pop(&line->arrived).value;
    return count;
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t line_next(const struct line *line)
{
    uint64_t next = earlier(queue_due(&line->to_device), queue_due(&line->to_host));
    if (!line->up && line->device->back_at > line->v.now)
        next = earlier(next, line->device->back_at);
    if (line->power_lost)
        next = earlier(next, line->v.now);
    return earlier(next, line->device->ops->next(line->device));
}

static void device_returns(struct line *line)
{
    if (!line->up && line->device->back_at && line->v.now >= line->device->back_at)
        line_restore(line);
}

/* Everything due at v.now, but only one byte of the host: it may change what the next one meets. */
static void step(struct line *line)
{
    uint64_t now = line->v.now;
    if (line->power_lost)
        line_reset(line, VRESET_POWER);
    device_returns(line);
    while (queue_due(&line->to_host) <= now)
        reach_host(line, queue_pop(&line->to_host));
    if (line->device->ops->next(line->device) <= now)
        line->device->ops->tick(line->device);
    look_at_program(line);
    pump_receiver(line);
    if (queue_due(&line->to_device) <= now)
        arrive(line, queue_pop(&line->to_device));
}

void line_advance(struct line *line, uint64_t now)
{
    unsigned hurry = 0; /* a firmware that simulates as fast as it can is always due */
    for (uint64_t next; (next = line_next(line)) <= now && hurry < HURRY_MAX;) {
        hurry = next > line->v.now || queue_due(&line->to_device) <= next ? 0 : hurry + 1;
        if (next > line->v.now)
            line->v.now = next;
        step(line);
    }
    if (line->v.now < now)
        line->v.now = now;
}

/* ---- life ---- */

void line_reset(struct line *line, enum vreset cause)
{
    line->stalled = line->power_lost = line->in_message = false;
    queue_clear(&line->receiver);
    queue_clear(&line->to_host);
    line->application = false;
    line->device->ops->reset(line->device, cause);
    look_at_program(line);
}

void line_restore(struct line *line)
{
    line->up = true;
    line->device->back_at = 0;
}

void line_set(struct line *line, bool dtr, bool rts, uint32_t baud)
{
    bool edge = dtr && !line->dtr;
    line->dtr = dtr;
    line->rts = rts;
    line->baud = baud;
    if (!line->up)
        return;
    if (edge && line->device->reset_on_dtr)
        line_reset(line, VRESET_PIN);
    if (line->device->ops->lines)
        line->device->ops->lines(line->device, dtr, rts, baud);
    look_at_program(line);
}

void line_init(struct line *line, struct vserial *device, bool paced,
               const struct line_faults *faults)
{
    *line = (struct line){
        .v = {.now = device->parked,
              .paced = paced,
              .send = send,
              .sending = sending,
              .detach = device->baud ? NULL : detach,
              .drop_packet = drop_packet},
        .device = device,
        .up = device->back_at <= device->parked,
        .baud = 115200,
        .bits = bits_of(device), /* a pty does not tell */
    };
    if (faults)
        line->faults = *faults;
    if (line->up)
        device->back_at = 0;
    device->line = &line->v;
}

void line_free(struct line *line)
{
    if (line->power_lost)
        line_reset(line, VRESET_POWER);
    line->device->parked = line->v.now;
    line->device->line = NULL;
    queue_free(&line->to_device);
    queue_free(&line->receiver);
    queue_free(&line->to_host);
    queue_free(&line->arrived);
}
