/* See dfu_runtime.h. */
#include "dfu_runtime.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "dfu.h"
#include "variant.h"

enum {
    APP_DETACH = 1,
    INTERFACE = 1,            /* 0 is the application's own */
    TIMEOUT_MS = 250,         /* wDetachTimeOut */
    LEAVES_MS = 60,           /* a device that detaches itself has to finish something first */
    APPLICATION_VID = 0x1209, /* pid.codes */
    APPLICATION_PID = 0x0001, /* for tests */
    TO_INTERFACE = 0x21,
    FROM_INTERFACE = 0xa1,
    STATUS_BYTES = 6,
    CAN_DOWNLOAD = 1,
    WILL_DETACH = 8,
};

static void put_configuration(struct dfu_runtime *runtime)
{
    const uint8_t attributes = CAN_DOWNLOAD | (runtime->will_detach ? WILL_DETACH : 0);
    const uint8_t configuration[] = {
        9,          2,    sizeof runtime->configuration,
        0,          2,    1,
        0,          0x80, 50,
        9,          4,    0,
        0,          0,    0xff,
        0,          0,    0,
        9,          4,    INTERFACE,
        0,          0,    0xfe,
        1,          1,    0,
        9,          0x21, attributes,
        TIMEOUT_MS, 0,    0x40,
        0,          0x10, 0x01,
    };
    _Static_assert(sizeof configuration == DFU_RUNTIME_CONFIGURATION, "as declared");
    memcpy(runtime->configuration, configuration, sizeof configuration);
}

void dfu_runtime_init(struct dfu_runtime *runtime, const char *variant,
                      const struct vusb_identity *loader)
{
    *runtime = (struct dfu_runtime){
        .present = variant_has(variant, "runtime"),
        .will_detach = variant_has(variant, "will-detach"),
        .stubborn = variant_has(variant, "stubborn"),
        .lost = variant_has(variant, "lost"),
        .stays = variant_has(variant, "stays"),
        .until = UINT64_MAX,
        .strings = {"mflash", "application with DFU", "1"},
    };
    memcpy(runtime->device, loader->device, sizeof runtime->device);
    if (!variant_has(variant, "same-ids")) {
        put_le16(runtime->device + 8, APPLICATION_VID);
        put_le16(runtime->device + 10, APPLICATION_PID);
    }
    put_configuration(runtime);
    runtime->identity = (struct vusb_identity){
        .device = runtime->device,
        .configuration = runtime->configuration,
        .configuration_length = sizeof runtime->configuration,
        .strings = runtime->strings,
        .string_count = 3,
    };
}

bool dfu_runtime_start(struct dfu_runtime *runtime, const uint8_t *program)
{
    runtime->state = APP_IDLE;
    runtime->until = UINT64_MAX;
    runtime->running = runtime->present && get_le32(program) != 0xffffffff;
    return runtime->running;
}

static void go_idle(struct dfu_runtime *runtime)
{
    runtime->state = APP_IDLE;
    runtime->until = UINT64_MAX;
}

/* wTimeout is how long the host means to take; no longer than the device is willing to wait. */
static void detach(struct dfu_runtime *runtime, uint64_t now, uint16_t milliseconds)
{
    uint64_t most = milliseconds < TIMEOUT_MS ? milliseconds : TIMEOUT_MS;
    if (runtime->stays)
        return;
    runtime->state = APP_DETACH;
    runtime->until = now + (runtime->will_detach ? LEAVES_MS : most) * MILLISECOND;
}

enum vusb_answer dfu_runtime_control(struct dfu_runtime *runtime, uint64_t now,
                                     const struct vusb_setup *setup, uint8_t *data, size_t *length)
{
    const uint8_t status[STATUS_BYTES] = {DFU_OK, 0, 0, 0, runtime->state, 0};
    if (setup->index != INTERFACE)
        return VUSB_STALL;
    if (setup->type == FROM_INTERFACE && setup->request == DFU_GETSTATUS) {
        *length = *length < sizeof status ? *length : sizeof status;
        memcpy(data, status, *length);
        return VUSB_ACK;
    }
    if (setup->type == FROM_INTERFACE && setup->request == DFU_GETSTATE) {
        *length = *length ? 1 : 0;
        data[0] = runtime->state;
        return VUSB_ACK;
    }
    if (setup->type == TO_INTERFACE && setup->request == DFU_DETACH && runtime->state == APP_IDLE) {
        detach(runtime, now, setup->value);
        return VUSB_ACK;
    }
    if (!runtime->will_detach)
        go_idle(runtime); /* §A.2.2: whatever else comes, it was not meant */
    return VUSB_STALL;
}

bool dfu_runtime_bus_reset(struct dfu_runtime *runtime, uint64_t now)
{
    bool leaves = runtime->state == APP_DETACH && !runtime->will_detach && now < runtime->until;
    if (!runtime->will_detach)
        go_idle(runtime);
    return leaves;
}

uint64_t dfu_runtime_next(const struct dfu_runtime *runtime)
{
    return runtime->until;
}

/* The time is up: it leaves by itself, or nobody has come for it. */
bool dfu_runtime_leaves(struct dfu_runtime *runtime, uint64_t now)
{
    if (runtime->state != APP_DETACH || now < runtime->until)
        return false;
    go_idle(runtime);
    return runtime->will_detach;
}
