/* See bridge_bench.h. */
#include "bridge_bench.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "board/chip.h"
#include "klipper/can.h"

extern const struct vmodel vmodel_katapult_bridge;

enum { ANSWER_US = 50 * MILLISECOND, NO_ECHO = 0xff };

/* ---- the board ---- */

static void name_node(struct bridge_bench *bench)
{
    char serial[USB_TEXT_MAX];
    assert_true(usb_string(bench->usb, 3, serial, sizeof serial));
    assert_true(can_uuid_of_chip_id(serial, bench->uuid));
}

struct bridge_bench *bridge_bench_new(const char *config, const char *variant)
{
    struct bridge_bench *bench = calloc(1, sizeof *bench);
    size_t at;
    assert_non_null(bench);
    memset(bench->program.flash, 0xff, sizeof bench->program.flash);
    if (config)
        (void)put_klipper(&bench->program, BRIDGE_START, config, &at);
    const struct chip *chip = chip_find("stm32f446xx");
    const struct vconfig options = {
        .chip = chip,
        .flash = {bench->program.flash, (size_t)chip->regions[0].size, UINT64_MAX},
        .app = true,
        .variant = variant,
    };
    bench->device = vmodel_katapult_bridge.create_usb(&options);
    assert_non_null(bench->device);
    return bench;
}

void bridge_bench_free(struct bridge_bench *bench)
{
    usb_close(bench->usb);
    bench->device->ops->destroy(bench->device);
    free(bench);
}

uint16_t bridge_bench_open(struct bridge_bench *bench)
{
    usb_close(bench->usb);
    bench->usb = virtual_usb(bench->device, NULL);
    assert_non_null(bench->usb);
    if (bench->usb->device_descriptor[16])
        name_node(bench);
    return get_le16(bench->usb->device_descriptor + 10);
}

void bridge_bench_wait(struct bridge_bench *bench, uint64_t microseconds)
{
    struct clock *clock = bench->usb->clock;
    clock->sleep_until(clock, clock_in(clock, microseconds));
}

/* ---- the adapter ---- */

ssize_t bridge_asks(struct bridge_bench *bench, uint8_t type, uint8_t request, uint8_t *bytes,
                    uint16_t length)
{
    const struct usb_setup setup = {type, request, 0, 0, length};
    return usb_control(bench->usb, &setup, bytes, clock_in(bench->usb->clock, SECOND), &bench->err);
}

static int send_frame(struct bridge_bench *bench, uint8_t echo, const struct can_frame *frame,
                      struct error *err)
{
    uint8_t bytes[GS_FRAME] = {echo};
    put_le32(bytes + 4, frame->can_id);
    bytes[8] = frame->len;
    memcpy(bytes + 12, frame->data, frame->len);
    return usb_out(bench->usb, GS_OUT, bytes, sizeof bytes, clock_in(bench->usb->clock, SECOND),
                   err);
}

void bridge_says(struct bridge_bench *bench, uint8_t echo, uint16_t id, const char *hex)
{
    struct can_frame frame = {.can_id = id};
    frame.len = (uint8_t)bench_hex(hex, frame.data, sizeof frame.data);
    assert_int_equal(send_frame(bench, echo, &frame, &bench->err), OK);
}

bool bridge_hears(struct bridge_bench *bench, uint8_t bytes[GS_FRAME])
{
    ssize_t length = usb_in(bench->usb, GS_IN, bytes, GS_FRAME,
                            clock_in(bench->usb->clock, ANSWER_US), &bench->err);
    assert_true(length == GS_FRAME || length == ERR_NO_ANSWER);
    return length == GS_FRAME;
}

/* ---- the interface ---- */

struct interface {
    struct can can; /* first */
    struct bridge_bench *bench;
};

static int interface_send(struct can *can, const struct can_frame *frame, struct error *err)
{
    int rc = send_frame(((struct interface *)can)->bench, 0, frame, err);
    return rc == OK ? 1 : rc;
}

static int interface_receive(struct can *can, struct can_frame *frame, uint64_t deadline,
                             struct error *err)
{
    uint8_t bytes[GS_FRAME];
    struct usb *usb = ((struct interface *)can)->bench->usb;
    ssize_t length;
    while ((length = usb_in(usb, GS_IN, bytes, sizeof bytes, deadline, err)) == GS_FRAME) {
        *frame = gs_frame(bytes);
        if (bytes[0] == NO_ECHO)
            return 1;
    }
    return length == ERR_NO_ANSWER ? 0 : (int)length;
}

static void interface_close(struct can *can)
{
    free(can);
}

static const struct can_ops interface_ops = {
    .name = "bridge",
    .send = interface_send,
    .receive = interface_receive,
    .close = interface_close,
};

struct can *bridge_can(struct bridge_bench *bench)
{
    struct interface *interface = calloc(1, sizeof *interface);
    assert_non_null(interface);
    interface->can = (struct can){
        .ops = &interface_ops, .clock = bench->usb->clock, .name = "bridge", .trace_port = -1};
    interface->bench = bench;
    return &interface->can;
}
