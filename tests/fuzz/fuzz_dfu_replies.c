/*
 * Whatever a DFU device says of itself and answers, the method ends: no crash, no overrun, no
 * endless wait. The input is a choice of board and ids, one of descriptors, and then one byte for
 * the end of each transfer, with what it answers behind it. Between two lies the device goes
 * through the states of DFU as it should, so that lies are met deep inside a run, too.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "link/usb_backend.h"
#include "method.h"

extern const struct method method_dfu;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IMAGE_BYTES = 5000, HOURS = 3, HEAD = 3, CONFIGURATION = 9 + 3 * 9 + 9, STRINGS_FROM = 4 };

enum { DNLOAD = 1, UPLOAD, GETSTATUS, CLRSTATUS, ABORT = 6, GET_DESCRIPTOR = 6 };

enum kind { RIGHT, STATUS, MANY_RIGHT, LATE, STALL, GONE, FAILED, BABBLE, RAW, KINDS };

struct device {
    struct usb usb; /* first */
    struct clock clock;
    uint64_t now;
    const uint8_t *bytes;
    size_t left;
    unsigned right; /* so many transfers end well from now on */
    bool gone;
    uint8_t state, text;
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
    if (device->now > (uint64_t)HOURS * 3600 * SECOND)
        abort(); /* a wait without an end */
}

static uint8_t take(struct device *device, uint8_t otherwise)
{
    if (device->left == 0)
        return otherwise;
    device->left--;
    return *device->bytes++;
}

/* ---- what it answers ---- */

static const char *const texts[] = {
    "@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg",
    "@Internal Flash  /0x08000000/064*0002Kg",
    "@Option Bytes  /0x1FFFC000/01*016 e",
    "@Option Bytes  /0x1FFFF800/01*016 e",
    "@External Flash /0x90000000/2048*4Kg",
    "@Internal Flash  /0x08000000/1.5*1Kg,2*3 g/0x08000400/999999*1Kg",
    "Upload to Flash 0x8002000",
    "@Internal Flash  /0x08000000/1048576*1 g",
};

/* A string descriptor; from the alternates' on, the next of the texts. */
static size_t put_string(struct device *device, uint8_t index, uint8_t *bytes, size_t room)
{
    uint8_t whole[255] = {4, USB_DT_STRING, 0x09, 0x04};
    const char *text = texts[(device->text + index) % (sizeof texts / sizeof texts[0])];
    for (size_t i = 0; index >= STRINGS_FROM && i < strlen(text); i++) {
        whole[2 + 2 * i] = (uint8_t)text[i];
        whole[0] = (uint8_t)(4 + 2 * i);
    }
    size_t length = whole[0] < room ? whole[0] : room;
    memcpy(bytes, whole, length);
    return length;
}

static void step(struct device *device, const struct usb_setup *setup)
{
    static const uint8_t next[] = {0, 1, 2, 4, 5, 5, 7, 8, 8, 9, 10};
    if (setup->request == DNLOAD)
        device->state = setup->length ? 3 : 6;
    else if (setup->request == UPLOAD)
        device->state = 9;
    else if (setup->request == GETSTATUS)
        device->state = next[device->state % sizeof next];
    else if (setup->request == CLRSTATUS || setup->request == ABORT)
        device->state = 2;
}

static size_t put_status(struct device *device, uint8_t *bytes, size_t room, bool lies)
{
    uint8_t status[6] = {0, 0, 0, 0, device->state, 0};
    for (size_t i = 0; lies && i < 5; i++)
        status[i] = take(device, status[i]);
    device->state = status[4];
    size_t length = room < sizeof status ? room : sizeof status;
    memcpy(bytes, status, length);
    return length;
}

static void answer(struct device *device, struct usb_transfer *transfer, bool lies)
{
    const struct usb_setup *setup = &transfer->setup;
    transfer->actual = transfer->length;
    if ((setup->type & 0x60) == 0x20)
        step(device, setup);
    if (!(setup->type & USB_DIRECTION_IN))
        return;
    if (setup->type == 0x80 && setup->request == GET_DESCRIPTOR)
        transfer->actual =
            put_string(device, (uint8_t)setup->value, transfer->bytes, transfer->length);
    else if (setup->request == GETSTATUS)
        transfer->actual = put_status(device, transfer->bytes, transfer->length, lies);
    else
        memset(transfer->bytes, 0xff, transfer->length);
}

/* An answer of the input's bytes; a data stage may end early. */
static void answer_raw(struct device *device, struct usb_transfer *transfer)
{
    size_t length = take(device, 0);
    transfer->actual = length < transfer->length ? length : transfer->length;
    if (!(transfer->setup.type & USB_DIRECTION_IN))
        return;
    for (size_t i = 0; i < transfer->actual; i++)
        transfer->bytes[i] = take(device, 0);
}

static void finish(struct device *device, struct usb_transfer *transfer, enum kind kind)
{
    static const enum usb_end ends[KINDS] = {
        [RIGHT] = USB_DONE, [STATUS] = USB_DONE,   [MANY_RIGHT] = USB_DONE, [STALL] = USB_STALL,
        [GONE] = USB_GONE,  [FAILED] = USB_FAILED, [RAW] = USB_DONE,        [BABBLE] = USB_BABBLE,
    };
    transfer->end = ends[kind];
    device->gone |= kind == GONE;
    if (kind == RAW)
        answer_raw(device, transfer);
    else if (transfer->end == USB_DONE)
        answer(device, transfer, kind == STATUS);
}

static enum kind next_kind(struct device *device)
{
    if (device->gone)
        return GONE;
    if (device->right) {
        device->right--;
        return RIGHT;
    }
    enum kind kind = take(device, LATE) % KINDS;
    if (kind == MANY_RIGHT)
        device->right = take(device, 1);
    return kind;
}

/* ---- the backend ---- */

static int device_submit(struct usb *usb, struct usb_transfer *transfer, struct error *err)
{
    transfer->end = USB_PENDING;
    return device_of(usb)->gone ? error_set(err, ERR_GONE, "gone") : OK;
}

static int device_await(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline,
                        struct error *err)
{
    (void)err;
    struct device *device = device_of(usb);
    enum kind kind = next_kind(device);
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

static int device_alternate(struct usb *usb, uint8_t interface, uint8_t alternate,
                            struct error *err)
{
    (void)interface, (void)alternate;
    return take(device_of(usb), 0) % 8 == 7 ? error_set(err, ERR_STALL, "no") : OK;
}

static int device_reset(struct usb *usb, struct error *err)
{
    return take(device_of(usb), 0) % 4 == 3 ? error_set(err, ERR_GONE, "another device") : OK;
}

static void device_close(struct usb *usb)
{
    (void)usb;
}

static const struct usb_ops device_ops = {
    .name = "fuzz",
    .set_alternate = device_alternate,
    .submit = device_submit,
    .await = device_await,
    .cancel = device_cancel,
    .reset = device_reset,
    .close = device_close,
};

/* ---- a run ---- */

static void describe(struct device *device, uint8_t choice)
{
    static const struct usb_id ids[] = {
        {0x0483, 0xdf11}, {0x1eaf, 0x0003}, {0x1d50, 0x6015}, {0x28e9, 0x0189}};
    static const uint8_t descriptor[18] = {18, 1, 0x00, 1, 0, 0, 0, 64, 0,
                                           0,  0, 0,    0, 0, 1, 2, 3,  1};
    static const uint8_t configuration[CONFIGURATION] = {
        9, 2,    CONFIGURATION,
        0, 1,    1,
        0, 0xc0, 0x32, /* */
        9, 4,    0,
        0, 0,    0xfe,
        1, 2,    4, /* */
        9, 4,    0,
        1, 0,    0xfe,
        1, 2,    5, /* */
        9, 4,    0,
        2, 0,    0xfe,
        1, 2,    6, /* */
        9, 0x21, 0x0b,
        0, 1,    0,
        8, 0x1a, 1,
    };
    struct usb *usb = &device->usb;
    memcpy(usb->device_descriptor, descriptor, sizeof descriptor);
    memcpy(usb->configuration, configuration, sizeof configuration);
    usb->configuration_length = sizeof configuration;
    usb->device.vid = ids[choice & 3].vid;
    usb->device.pid = ids[choice & 3].pid;
    (void)memcpy(usb->device.serial, "3CBJ", 5);
    if (choice & 4)
        usb->configuration[sizeof configuration - 3] = 4;
    if (choice & 8)
        usb->device_descriptor[7] = 8;
    if (choice & 16)
        put_le16(usb->configuration + sizeof configuration - 2, 0x0110);
    for (size_t i = 9; choice & 32 && i < sizeof configuration; i++)
        usb->configuration[i] = take(device, configuration[i]);
    device->text = choice >> 6;
    device->state = 2;
}

static void change_options(struct session *session)
{
    struct fuse fuses[FUSES_MAX];
    size_t count;
    struct error err;
    if (session->method->fuses(session, fuses, &count, &err) == OK && count)
        (void)session->method->set_fuse(session, fuses[0].name, fuses[0].value, &err);
}

static void whole_run(struct session *session, const struct image *image, uint8_t choice)
{
    const struct method *m = session->method;
    const struct job job = {.image = image, .region = chip_region(session->chip, MEM_FLASH)};
    const struct span range = {session->loader->start, 8192};
    struct device_info info = {.count = 0};
    struct error err;
    if (m->connect(session, &err) != OK)
        return;
    (void)m->info(session, &info, &err);
    if (choice & 0x40)
        change_options(session);
    if (choice & 0x20)
        (void)m->unlock(session, &err);
    if (choice & 0x10)
        (void)m->erase_chip(session, &err);
    else
        (void)m->erase(session, &range, 1, &err);
    if (m->write(session, &job, &err) == OK)
        (void)verify_by_reading(session, &job, &err);
    (void)m->run(session, &err);
    m->disconnect(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct device device;
    static const char *const chips[] = {"stm32f407xx", "stm32f072xb", "stm32f103xb", "lpc1769"};
    static const uint32_t starts[] = {0x08000000, 0x08000000, 0x08002000, 0x4000};
    uint8_t bytes[IMAGE_BYTES];
    struct image image = {.count = 0};
    if (size < HEAD)
        return 0;
    device = (struct device){.clock = {device_now, device_sleep_until},
                             .bytes = data + HEAD,
                             .left = size - HEAD,
                             .usb = {.ops = &device_ops, .clock = &device.clock}};
    const struct loader loader = {.has_start = true,
                                  .start = starts[data[0] & 3],
                                  .start_count = 1,
                                  .starts = {starts[data[0] & 3]}};
    describe(&device, data[1]);
    device.right = data[2];
    struct session session = {.method = &method_dfu,
                              .chip = chip_find(chips[data[0] & 3]),
                              .loader = &loader,
                              .program = loader.start,
                              .force_signature = data[0] & 0x80,
                              .usb = &device.usb,
                              .clock = &device.clock};
    memset(bytes, '!', sizeof bytes);
    (void)image_add(&image, MEM_FLASH, loader.start, bytes, sizeof bytes, NULL);
    whole_run(&session, &image, data[0]);
    image_free(&image);
    return 0;
}
