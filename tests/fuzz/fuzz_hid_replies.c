/*
 * Whatever an STM32 HID bootloader does on the bus, the method ends: no crash, no overrun, no
 * endless wait. The input is a choice of board, a device descriptor's few bytes that matter, and
 * then one byte for the end of each transfer, with what it answers behind it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "link/usb_backend.h"
#include "method.h"

extern const struct method method_hid;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { START_F1 = 0x08000800, START_F4 = 0x08004000, IMAGE_BYTES = 2100, HOUR = 3600 };

enum kind { RIGHT_2, RIGHT_3, LATE, ALWAYS_RIGHT, STALL, GONE, FAILED, BABBLE, RAW, KINDS };

struct device {
    struct usb usb; /* first */
    struct clock clock;
    uint64_t now;
    const uint8_t *bytes;
    size_t left;
    bool right; /* from now on every transfer ends well, and answers with this code: */
    uint8_t code;
    bool gone;
};

static struct device *device_of(struct usb *usb)
{
    return (struct device *)usb;
}

static uint64_t device_now(struct clock *clock)
{
    return ((struct device *)((char *)clock - offsetof(struct device, clock)))->now;
}

static void device_sleep_until(struct clock *clock, uint64_t moment)
{
    struct device *device = (struct device *)((char *)clock - offsetof(struct device, clock));
    if (device->now < moment)
        device->now = moment;
    if (device->now > (uint64_t)HOUR * SECOND)
        abort(); /* a wait without an end */
}

static uint8_t take(struct device *device, uint8_t otherwise)
{
    if (device->left == 0)
        return otherwise;
    device->left--;
    return *device->bytes++;
}

static int device_submit(struct usb *usb, struct usb_transfer *transfer, struct error *err)
{
    transfer->end = USB_PENDING;
    return device_of(usb)->gone ? error_set(err, ERR_GONE, "gone") : OK;
}

static void answer(struct usb_transfer *transfer, uint8_t code)
{
    const uint8_t right[] = {'B', 'T', 'L', 'D', 'C', 'M', 'D', code};
    transfer->actual = transfer->length;
    if (!transfer->endpoint)
        return;
    transfer->actual = transfer->length < sizeof right ? transfer->length : sizeof right;
    memcpy(transfer->bytes, right, transfer->actual);
}

/* An answer of the input's bytes; a request's data stage may end early. */
static void answer_raw(struct device *device, struct usb_transfer *transfer)
{
    size_t length = take(device, 0);
    transfer->actual = length < transfer->length ? length : transfer->length;
    for (size_t i = 0; transfer->endpoint && i < transfer->actual; i++)
        transfer->bytes[i] = take(device, 0);
}

static void finish(struct device *device, struct usb_transfer *transfer, enum kind kind)
{
    static const enum usb_end ends[KINDS] = {
        [RIGHT_2] = USB_DONE, [RIGHT_3] = USB_DONE,  [ALWAYS_RIGHT] = USB_DONE,
        [STALL] = USB_STALL,  [GONE] = USB_GONE,     [FAILED] = USB_FAILED,
        [RAW] = USB_DONE,     [BABBLE] = USB_BABBLE,
    };
    transfer->end = ends[kind];
    device->gone |= kind == GONE;
    if (kind == RAW)
        answer_raw(device, transfer);
    else if (transfer->end == USB_DONE)
        answer(transfer, kind == ALWAYS_RIGHT ? device->code : kind == RIGHT_2 ? 2 : 3);
}

static int device_await(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline,
                        struct error *err)
{
    (void)err;
    struct device *device = device_of(usb);
    enum kind kind = device->right ? ALWAYS_RIGHT : take(device, LATE) % KINDS;
    if (kind == ALWAYS_RIGHT && !device->right) {
        device->right = true;
        device->code = take(device, 2);
    }
    if (device->gone)
        kind = GONE;
    device_sleep_until(&device->clock, kind == LATE ? deadline : device->now + MILLISECOND);
    if (kind != LATE)
        finish(device, transfer, kind);
    return OK;
}

static void device_cancel(struct usb *usb, struct usb_transfer *transfer)
{
    (void)usb;
    transfer->end = USB_CANCELLED;
}

static int device_reset(struct usb *usb, struct error *err)
{
    struct device *device = device_of(usb);
    device->right = false;
    return take(device, 0) % 4 == 3 ? error_set(err, ERR_GONE, "another device") : OK;
}

static void device_close(struct usb *usb)
{
    (void)usb;
}

static const struct usb_ops device_ops = {
    .name = "fuzz",
    .submit = device_submit,
    .await = device_await,
    .cancel = device_cancel,
    .reset = device_reset,
    .close = device_close,
};

/* What of the descriptors the method looks at is the input's. */
static void describe(struct device *device, uint8_t choice)
{
    static const uint8_t descriptor[18] = {18,   1,    0x10, 1, 0, 0, 0, 8, 0x09,
                                           0x12, 0xba, 0xbe, 0, 3, 1, 2, 0, 1};
    static const uint8_t configuration[] = {
        9, 2,    34,   0, 1, 1, 0,    0xc0, 0x32, /* */
        9, 4,    0,    0, 1, 3, 0,    0,    0,    /* */
        9, 0x21, 0x11, 1, 0, 1, 0x22, 32,   0,    /* */
        7, 5,    0x81, 3, 8, 0, 5,
    };
    struct usb *usb = &device->usb;
    memcpy(usb->device_descriptor, descriptor, sizeof descriptor);
    usb->device_descriptor[7] = choice & 1 ? 64 : 8;
    memcpy(usb->configuration, configuration, sizeof configuration);
    usb->configuration_length = sizeof configuration;
    usb->device.interfaces[0] = (struct usb_interface){.class = 3};
    usb->device.interface_count = 1;
    if (choice & 2)
        (void)memcpy(usb->device.product, "HID Bootloader", 15);
    for (size_t i = 0; choice & 4 && i < sizeof configuration; i++)
        usb->configuration[i] = take(device, configuration[i]);
}

static void whole_run(struct session *session, const struct image *image)
{
    const struct method *m = session->method;
    const struct job job = {.image = image, .region = chip_region(session->chip, MEM_FLASH)};
    struct device_info info = {.count = 0};
    struct error err;
    if (m->connect(session, &err) != OK)
        return;
    (void)m->info(session, &info, &err);
    (void)m->write(session, &job, &err);
    (void)m->run(session, &err);
    m->disconnect(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct device device;
    static const char *const chips[] = {"stm32f103xe", "stm32f103xb", "stm32f407xx"};
    uint8_t bytes[IMAGE_BYTES];
    struct image image = {.count = 0};
    if (size < 2)
        return 0;
    device = (struct device){.clock = {device_now, device_sleep_until},
                             .bytes = data + 2,
                             .left = size - 2,
                             .usb = {.ops = &device_ops, .clock = &device.clock}};
    const struct chip *chip = chip_find(chips[data[0] % 3]);
    const struct loader loader = {.has_start = true,
                                  .start = data[0] % 3 == 2 ? START_F4 : START_F1};
    describe(&device, data[1]);
    struct session session = {.method = &method_hid,
                              .chip = chip,
                              .loader = &loader,
                              .force_signature = data[0] & 0x80,
                              .usb = &device.usb,
                              .clock = &device.clock};
    memset(bytes, '!', sizeof bytes);
    put_le32(bytes, 0x20005000);
    (void)image_add(&image, MEM_FLASH, loader.start, bytes, sizeof bytes, NULL);
    whole_run(&session, &image);
    image_free(&image);
    return 0;
}
