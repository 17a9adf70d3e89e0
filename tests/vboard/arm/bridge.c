/*
 * A board whose Klipper is a USB-to-CAN bridge (Klipper docs/CANBUS.md, "USB to CAN bus bridge
 * mode"; src/generic/usb_canbus.c): in its bootloader the USB Katapult of katapult_serial.c, in its
 * application a CAN adapter of gs_usb.h, with Klipper's own node behind it, which is the node of
 * katapult_can.c. Both are the same chip, and have the same flash.
 *
 * Two things to know: the host speaks with that node over USB alone, so no wire and no bit rate is
 * between them, and what the node has to say waits until the host fetches it; and whatever makes
 * Klipper start anew takes the adapter off the bus with it.
 *
 * Not here: other nodes on the wire behind the bridge.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/chip.h"
#include "gs_usb.h"
#include "katapult.h"
#include "can_model.h"
#include "usb_serial.h"

enum {
    START = 400 * MILLISECOND, /* off the bus between two identities */
    VARIANT_MAX = 96,
};

extern const struct vmodel vmodel_katapult_usb, vmodel_katapult_can;

struct bridge {
    struct vusb usb; /* first */
    struct vconfig config;
    char node_variant[VARIANT_MAX];

    struct vserial *katapult; /* the loader; belongs to `port` */
    struct vusb *port;        /* that as a USB device, and any program that is no bridge */
    struct vusb_bus port_bus; /* as the port sees the bus */

    struct vcan *node;    /* Klipper's, while it runs as a bridge; else NULL */
    struct vcan_bus wire; /* as the node sees its bus */
    bool restarted;       /* the node has started anew during a call */
    struct gs_queue queue;
    struct cdc_identity face;
};

static struct bridge *bridge_of(struct vusb *dev)
{
    return (struct bridge *)dev;
}

/* Every call begins with the time. */
static struct bridge *bridge(struct vusb *dev)
{
    struct bridge *b = bridge_of(dev);
    b->port_bus.now = b->wire.now = dev->bus ? dev->bus->now : dev->parked;
    b->port_bus.paced = b->wire.paced = dev->bus && dev->bus->paced;
    b->port->back_at = dev->back_at;
    return b;
}

/* ---- on and off the bus ---- */

static void leave_bus(struct bridge *b, uint64_t back_at)
{
    struct vusb_bus *bus = b->usb.bus;
    if (bus)
        bus->detach(bus, back_at);
    else
        b->usb.back_at = back_at;
    b->port->back_at = back_at;
}

static void port_detach(struct vusb_bus *bus, uint64_t back_at)
{
    leave_bus((struct bridge *)((char *)bus - offsetof(struct bridge, port_bus)), back_at);
}

/* ---- the node's bus ---- */

static struct bridge *bridge_of_wire(struct vcan_bus *wire)
{
    return (struct bridge *)((char *)wire - offsetof(struct bridge, wire));
}

static void wire_send(struct vcan_bus *wire, struct vcan *node, const struct can_frame *frame)
{
    (void)node;
    gs_put(&bridge_of_wire(wire)->queue, frame);
}

/* The controller is reset: the chip starts. */
static void wire_abort(struct vcan_bus *wire, struct vcan *node)
{
    (void)node;
    bridge_of_wire(wire)->restarted = true;
}

/* ---- which program ---- */

static void stop_node(struct bridge *b)
{
    if (b->node)
        b->node->ops->destroy(b->node);
    b->node = NULL;
    b->queue = (struct gs_queue){0};
}

/* A node that hears nothing is no Klipper for a bridge. */
static void start_node(struct bridge *b)
{
    struct vconfig config = b->config;
    config.app = true;
    config.variant = b->node_variant;
    b->node = vmodel_katapult_can.create_can(&config);
    if (b->node && b->node->deaf)
        stop_node(b);
    if (!b->node)
        return;
    b->node->bus = &b->wire;
    b->restarted = false;
}

/* What is on the bus stays what it is. */
static void choose_program(struct bridge *b)
{
    if (b->usb.identity && !b->usb.back_at)
        return;
    if (!b->node && b->katapult->ops->runs(b->katapult) == VPROGRAM_APPLICATION)
        start_node(b);
    b->usb.identity = b->node ? &b->face.identity : b->port->identity;
}

/* After each call into the node. Restarted by a command, Klipper is back as what it was. */
static void follow_node(struct bridge *b)
{
    if (!b->restarted)
        return;
    b->restarted = false;
    b->queue = (struct gs_queue){0};
    if (!b->node->deaf) {
        leave_bus(b, b->wire.now + START);
        return;
    }
    stop_node(b);
    b->port->ops->tick(b->port); /* comes to the present, */
    katapult_usb_request(b->katapult);
    b->port->ops->tick(b->port); /* and looks who runs */
    choose_program(b);
}

static void device_reset(struct vusb *dev, enum vreset cause)
{
    struct bridge *b = bridge(dev);
    stop_node(b);
    b->port->ops->reset(b->port, cause);
    choose_program(b);
}

static void device_bus_reset(struct vusb *dev)
{
    struct bridge *b = bridge(dev);
    if (!b->node)
        b->port->ops->bus_reset(b->port);
}

/* ---- the adapter ---- */

/* The endpoints are set up anew: what waited in them is lost. */
static void device_configured(struct vusb *dev, uint8_t configuration)
{
    struct bridge *b = bridge(dev);
    uint8_t lost[GS_FRAME];
    size_t length;
    bool echo;
    (void)configuration;
    while (b->node && gs_take(&b->queue, lost, &length, &echo) == VUSB_ACK)
        if (!echo)
            b->node->ops->sent(b->node);
}

static enum vusb_answer device_control(struct vusb *dev, const struct vusb_setup *setup,
                                       uint8_t *data, size_t *length)
{
    struct bridge *b = bridge(dev);
    if (b->node)
        return gs_control(setup, data, length);
    enum vusb_answer answer = b->port->ops->control(b->port, setup, data, length);
    choose_program(b);
    return answer;
}

/* Klipper takes a frame when it has room for the echo. A packet of another length is no frame. */
static enum vusb_answer take_frame(struct bridge *b, const uint8_t *packet, size_t length)
{
    if (length != GS_FRAME)
        return VUSB_ACK;
    if (!gs_put_echo(&b->queue, packet))
        return VUSB_NAK;
    const struct can_frame frame = gs_frame(packet);
    b->node->ops->receive(b->node, &frame);
    follow_node(b);
    return VUSB_ACK;
}

static enum vusb_answer device_out(struct vusb *dev, uint8_t endpoint, const uint8_t *packet,
                                   size_t length)
{
    struct bridge *b = bridge(dev);
    if (b->node)
        return endpoint == GS_OUT ? take_frame(b, packet, length) : VUSB_STALL;
    enum vusb_answer answer = b->port->ops->out(b->port, endpoint, packet, length);
    choose_program(b);
    return answer;
}

static enum vusb_answer give_frame(struct bridge *b, uint8_t *packet, size_t *length)
{
    bool echo = true;
    enum vusb_answer answer = gs_take(&b->queue, packet, length, &echo);
    if (!echo)
        b->node->ops->sent(b->node);
    follow_node(b);
    return answer;
}

static enum vusb_answer device_in(struct vusb *dev, uint8_t endpoint, uint8_t *packet,
                                  size_t *length)
{
    struct bridge *b = bridge(dev);
    if (b->node)
        return endpoint == GS_IN ? give_frame(b, packet, length) : VUSB_STALL;
    enum vusb_answer answer = b->port->ops->in(b->port, endpoint, packet, length);
    choose_program(b);
    return answer;
}

/* ---- time ---- */

static uint64_t device_next(const struct vusb *dev)
{
    const struct bridge *b = (const struct bridge *)dev;
    return b->node ? b->node->ops->next(b->node) : b->port->ops->next(b->port);
}

static void device_tick(struct vusb *dev)
{
    struct bridge *b = bridge(dev);
    if (b->node) {
        b->node->ops->tick(b->node);
        follow_node(b);
        return;
    }
    b->port->ops->tick(b->port);
    choose_program(b);
}

static void device_destroy(struct vusb *dev)
{
    struct bridge *b = bridge_of(dev);
    stop_node(b);
    if (b->port)
        b->port->ops->destroy(b->port);
    free(b);
}

static const struct vusb_ops device_ops = {
    .reset = device_reset,
    .bus_reset = device_bus_reset,
    .configured = device_configured,
    .control = device_control,
    .out = device_out,
    .in = device_in,
    .next = device_next,
    .tick = device_tick,
    .destroy = device_destroy,
};

/* ---- making one ---- */

/* What it is while no bridge runs: Katapult, Klipper for USB, or anything else (pid.codes 0001 is
 * nobody's). */
static bool make_port(struct bridge *b)
{
    char serial[CDC_TEXT_MAX];
    const char *mcu = b->config.chip->name;
    cdc_chip_serial(serial, b->config.chip, b->config.node);
    const struct usb_serial_faces faces = {
        .loader = {0x1d50, 0x6177, 0x0100, "katapult", mcu, serial},
        .klipper = {0x1d50, 0x614e, 0x0100, "Klipper", mcu, serial},
        .application = {0x1209, 0x0001, 0x0100, NULL, NULL, NULL},
    };
    b->katapult = vmodel_katapult_usb.create(&b->config);
    b->port = b->katapult ? usb_serial(b->katapult, &b->config.flash, &faces) : NULL;
    return b->port != NULL;
}

static struct vusb *create(const struct vconfig *config)
{
    struct bridge *b = calloc(1, sizeof *b);
    if (!b) {
        fprintf(stderr, "katapult-bridge: out of memory\n");
        return NULL;
    }
    b->config = *config;
    (void)snprintf(b->node_variant, sizeof b->node_variant, "bridge,%s",
                   config->variant ? config->variant : "");
    if (!config->chip || !make_port(b)) {
        free(b);
        return NULL;
    }
    b->usb.ops = &device_ops;
    b->port_bus.detach = port_detach;
    b->port->bus = &b->port_bus;
    b->wire = (struct vcan_bus){.send = wire_send, .abort = wire_abort};
    gs_identify(&b->face, config->chip, config->node);
    choose_program(b);
    return &b->usb;
}

/* Those that Klipper's menuconfig offers the bridge for, of those that have either Katapult. */
static const char *const chips[] = {
    "stm32f072xb", "stm32f042x6", "stm32f405xx", "stm32f407xx", "stm32f429xx",
    "stm32f446xx", "stm32g0b1xx", "stm32g431xx", "stm32h723xx", "stm32h743xx",
    "rp2040",      "rp2350",      NULL,
};

const struct vmodel vmodel_katapult_bridge = {
    .name = "katapult-bridge",
    .method = "katapult-usb",
    .chips = chips,
    .proof = "Linux's gs_usb driver (tests/lab/guest/bridge.sh)",
    .create_usb = create,
};
