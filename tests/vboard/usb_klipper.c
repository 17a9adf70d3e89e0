/* See usb_klipper.h. */
#include "usb_klipper.h"

#include "board/chip.h"

enum { VID = 0x1d50, PID = 0x614e, RELEASE = 0x0100 };

static void send(struct vline *line, uint8_t byte)
{
    struct vusb_klipper *k =
        (struct vusb_klipper *)((char *)line - offsetof(struct vusb_klipper, line));
    cdc_put(&k->queue, byte);
}

static bool sending(const struct vline *line)
{
    const struct vusb_klipper *k =
        (const struct vusb_klipper *)((const char *)line - offsetof(struct vusb_klipper, line));
    return k->queue.count > 0;
}

bool vusb_klipper_start(struct vusb_klipper *k, const struct chip *chip, unsigned node,
                        const struct vmemory *flash, uint64_t offset)
{
    char serial[CDC_TEXT_MAX];
    cdc_chip_serial(serial, chip, node);
    cdc_identify(&k->face, &(struct cdc_face){VID, PID, RELEASE, "Klipper", chip->name, serial});
    k->line = (struct vline){.send = send, .sending = sending};
    k->port = (struct cdc_port){0};
    k->queue = (struct cdc_queue){.bytes = k->bytes, .room = sizeof k->bytes};
    klipper_app_start(&k->app, flash, offset, KLIPPER_USB);
    return k->app.running;
}

void vusb_klipper_stop(struct vusb_klipper *k)
{
    k->app.running = false;
    k->app.leave_at = UINT64_MAX;
}

enum vusb_answer vusb_klipper_control(struct vusb_klipper *k, const struct vusb_bus *bus,
                                      const struct vusb_setup *setup, uint8_t *data, size_t *length)
{
    bool changed;
    enum vusb_answer answer = cdc_control(&k->port, setup, data, length, &changed);
    if (changed)
        klipper_app_lines(&k->app, k->port.dtr, cdc_baud(&k->port), bus->now);
    return answer;
}

enum vusb_answer vusb_klipper_out(struct vusb_klipper *k, const struct vusb_bus *bus,
                                  uint8_t endpoint, const uint8_t *packet, size_t length)
{
    if (endpoint != CDC_OUT)
        return VUSB_STALL;
    k->line.now = bus->now;
    k->line.paced = bus->paced;
    for (size_t i = 0; i < length; i++)
        klipper_app_receive(&k->app, &k->line, packet[i]);
    return VUSB_ACK;
}

enum vusb_answer vusb_klipper_in(struct vusb_klipper *k, uint8_t endpoint, uint8_t *packet,
                                 size_t *length)
{
    if (endpoint == CDC_NOTIFY)
        return VUSB_NAK;
    return endpoint == CDC_IN ? cdc_take(&k->queue, packet, length) : VUSB_STALL;
}

void vusb_klipper_bus_reset(struct vusb_klipper *k)
{
    k->port.dtr = k->port.rts = false;
    cdc_forget(&k->queue);
}

uint64_t vusb_klipper_next(const struct vusb_klipper *k)
{
    return k->app.running ? k->app.leave_at : UINT64_MAX;
}

bool vusb_klipper_leaves(const struct vusb_klipper *k, const struct vusb_bus *bus)
{
    return vusb_klipper_next(k) <= bus->now;
}
