/*
 * Whatever answers in place of an STM32's ROM loader, the method ends: no crash, no overrun, no
 * endless wait. The input is a choice of chip and then what the device says, in portions: two bytes
 * of length, little end first, and so many bytes. Each write of the host releases the next
 * portion. Time is virtual.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "method.h"

extern const struct method method_stm32_uart;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The device: `released` bytes at `bytes` may be read, of `left`. */
struct device {
    struct serial serial; /* first */
    struct clock clock;
    uint64_t now;
    const uint8_t *bytes;
    size_t left, released;
};

enum { IMAGE_BYTES = 600, BYTE_US = 96, HOUR = 3600 };

static struct device *of_clock(struct clock *clock)
{
    return (struct device *)((char *)clock - offsetof(struct device, clock));
}

static uint64_t device_now(struct clock *clock)
{
    return of_clock(clock)->now;
}

static void device_sleep_until(struct clock *clock, uint64_t moment)
{
    if (of_clock(clock)->now < moment)
        of_clock(clock)->now = moment;
}

static int device_configure(struct serial *serial, const struct serial_settings *settings,
                            struct error *err)
{
    (void)err;
    serial->settings = *settings;
    return OK;
}

static ssize_t device_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                           struct error *err)
{
    (void)err;
    struct device *device = (struct device *)serial;
    size_t n = device->released < max ? device->released : max;
    if (n == 0)
        device_sleep_until(&device->clock, deadline);
    memcpy(bytes, device->bytes, n);
    device->bytes += n;
    device->left -= n;
    device->released -= n;
    return (ssize_t)n;
}

static int device_write(struct serial *serial, const uint8_t *bytes, size_t length,
                        uint64_t deadline, struct error *err)
{
    (void)bytes, (void)deadline, (void)err;
    struct device *device = (struct device *)serial;
    device->now += length * BYTE_US;
    if (device->now > (uint64_t)HOUR * SECOND)
        abort(); /* a wait without an end */
    if (device->released > 0 || device->left < 2)
        return OK;
    size_t portion = get_le16(device->bytes);
    device->bytes += 2;
    device->left -= 2;
    device->released = portion < device->left ? portion : device->left;
    return OK;
}

static int device_set_lines(struct serial *serial, bool dtr, bool rts, struct error *err)
{
    (void)err;
    serial->dtr = dtr;
    serial->rts = rts;
    return OK;
}

static void device_drop_input(struct serial *serial)
{
    struct device *device = (struct device *)serial;
    device->bytes += device->released;
    device->left -= device->released;
    device->released = 0;
}

static void device_close(struct serial *serial)
{
    (void)serial;
}

static const struct serial_ops device_ops = {
    .name = "replies",
    .configure = device_configure,
    .read = device_read,
    .write = device_write,
    .set_lines = device_set_lines,
    .drop_input = device_drop_input,
    .close = device_close,
};

static void whole_run(struct session *session, const struct image *image)
{
    const struct method *m = session->method;
    const struct region *flash = chip_region(session->chip, MEM_FLASH);
    const struct job job = {.image = image, .region = flash, .erased = true};
    const struct span sectors = {flash->start, region_sector(flash, flash->start).size};
    struct device_info info = {.count = 0};
    struct fuse fuses[FUSES_MAX];
    size_t count;
    struct error err;
    if (m->connect(session, &err) != OK)
        return;
    (void)m->erase(session, &sectors, 1, &err);
    (void)m->write(session, &job, &err);
    (void)m->verify(session, &job, &err);
    (void)m->info(session, &info, &err);
    (void)m->fuses(session, fuses, &count, &err);
    (void)m->set_fuse(session, "data0", 0x5a, &err);
    (void)m->set_fuse(session, "rdp", 0xbb, &err);
    (void)m->unlock(session, &err);
    (void)m->erase_chip(session, &err);
    (void)m->run(session, &err);
    m->disconnect(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const chips[] = {"stm32f103xb", "stm32f103xe", "stm32f407xx", "stm32g071xx",
                                        "stm32h743xx"};
    static const struct setting sequence[] = {{"sequence", "rts,-dtr,dtr:-rts,-dtr,dtr"}};
    uint8_t bytes[IMAGE_BYTES];
    struct image image = {.count = 0};
    if (size == 0)
        return 0;
    const struct loader loader = {
        .enter = "ask", .settings = sequence, .setting_count = data[0] & 0x80 ? 1 : 0};
    struct device device = {.clock = {device_now, device_sleep_until},
                            .bytes = data + 1,
                            .left = size - 1,
                            .serial = {.ops = &device_ops,
                                       .settings = {.baud = 115200, .stop_bits = 1},
                                       .name = "replies"}};
    struct session session = {.method = &method_stm32_uart,
                              .chip = chip_find(chips[(data[0] & 0x7f) % 5]),
                              .loader = &loader,
                              .serial = &device.serial,
                              .clock = &device.clock,
                              .force_signature = true};
    device.serial.clock = &device.clock;
    memset(bytes, '!', sizeof bytes);
    (void)image_add(&image, MEM_FLASH, 0x08000010, bytes, sizeof bytes, NULL);
    whole_run(&session, &image);
    image_free(&image);
    return 0;
}
