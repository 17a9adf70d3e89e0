/*
 * Whatever a bootloader answers, the methods end: no crash, no overrun, no endless wait. The input
 * is a choice of method and then what the device says, in portions: two bytes of length, little
 * end first, and so many bytes. Each write of the host releases the next portion. Time is virtual.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "method.h"

extern const struct method method_stk500v1, method_stk500v2, method_avr109;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The device: `released` bytes of the portion at `bytes` may be read. */
struct replies {
    struct serial serial; /* first */
    struct clock clock;
    uint64_t now;
    const uint8_t *bytes;
    size_t left, released;
};

enum { IMAGE_BYTES = 600, HOURS_MAX = 1 };

static struct replies *of_clock(struct clock *clock)
{
    return (struct replies *)((char *)clock - offsetof(struct replies, clock));
}

static uint64_t replies_now(struct clock *clock)
{
    return of_clock(clock)->now;
}

static void replies_sleep_until(struct clock *clock, uint64_t moment)
{
    if (of_clock(clock)->now < moment)
        of_clock(clock)->now = moment;
}

static int replies_configure(struct serial *serial, const struct serial_settings *settings,
                             struct error *err)
{
    (void)err;
    serial->settings = *settings;
    return OK;
}

static ssize_t replies_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                            struct error *err)
{
    (void)err;
    struct replies *r = (struct replies *)serial;
    size_t n = r->released < max ? r->released : max;
    if (n == 0)
        replies_sleep_until(&r->clock, deadline);
    memcpy(bytes, r->bytes, n);
    r->bytes += n;
    r->left -= n;
    r->released -= n;
    return (ssize_t)n;
}

/* Releases the next portion, if the host has read all of the last. */
static int replies_write(struct serial *serial, const uint8_t *bytes, size_t length,
                         uint64_t deadline, struct error *err)
{
    (void)bytes, (void)deadline, (void)err;
    struct replies *r = (struct replies *)serial;
    r->now += length * 87; /* microseconds a byte takes at 115200 baud */
    if (r->now > (uint64_t)HOURS_MAX * 3600 * SECOND)
        abort(); /* a wait without an end */
    if (r->released > 0 || r->left < 2)
        return OK;
    size_t portion = get_le16(r->bytes);
    r->bytes += 2;
    r->left -= 2;
    r->released = portion < r->left ? portion : r->left;
    return OK;
}

static int replies_set_lines(struct serial *serial, bool dtr, bool rts, struct error *err)
{
    (void)err;
    serial->dtr = dtr;
    serial->rts = rts;
    return OK;
}

static void replies_drop_input(struct serial *serial)
{
    struct replies *r = (struct replies *)serial;
    r->bytes += r->released;
    r->left -= r->released;
    r->released = 0;
}

static void replies_close(struct serial *serial)
{
    (void)serial;
}

static const struct serial_ops replies_ops = {
    .name = "replies",
    .configure = replies_configure,
    .read = replies_read,
    .write = replies_write,
    .set_lines = replies_set_lines,
    .drop_input = replies_drop_input,
    .close = replies_close,
};

static void whole_run(struct session *session, const struct image *image)
{
    const struct method *m = session->method;
    struct job job = {.image = image, .region = chip_region(session->chip, MEM_FLASH)};
    struct job eeprom = {.image = image, .region = chip_region(session->chip, MEM_EEPROM)};
    struct device_info info = {.count = 0};
    struct fuse fuses[FUSES_MAX];
    size_t count;
    struct error err;
    if (m->connect(session, &err) != OK)
        return;
    (void)m->info(session, &info, &err);
    if (m->fuses)
        (void)m->fuses(session, fuses, &count, &err);
    (void)m->erase_chip(session, &err);
    (void)m->write(session, &job, &err);
    (void)verify_by_reading(session, &job, &err);
    if (eeprom.region && m->write(session, &eeprom, &err) == OK)
        (void)verify_by_reading(session, &eeprom, &err);
    (void)m->run(session, &err);
    m->disconnect(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct setting erase_chip[] = {{"erase", "chip"}};
    static const struct {
        const struct method *method;
        const char *chip;
        struct loader loader;
    } boards[] = {
        {&method_stk500v1, "atmega328p", {.enter = "dtr", .end = 0x400}},
        {&method_stk500v1, "atmega2560", {.enter = "ask", .end = 0x400}},
        {&method_stk500v2, "atmega2560", {.enter = "dtr", .end = 0x400}},
        {&method_stk500v2,
         "samd21g18a",
         {.enter = "ask", .settings = erase_chip, .setting_count = 1, .start = 0x4000}},
        {&method_avr109, "atmega32u4", {.enter = "ask", .end = 0x400}},
    };
    uint8_t bytes[IMAGE_BYTES];
    struct image image = {.count = 0};
    if (size == 0)
        return 0;
    size_t board = data[0] % (sizeof boards / sizeof boards[0]);
    struct replies replies = {.clock = {replies_now, replies_sleep_until},
                              .bytes = data + 1,
                              .left = size - 1,
                              .serial = {.ops = &replies_ops,
                                         .settings = {.baud = 115200, .stop_bits = 1},
                                         .name = "replies"}};
    struct session session = {.method = boards[board].method,
                              .chip = chip_find(boards[board].chip),
                              .loader = &boards[board].loader,
                              .serial = &replies.serial,
                              .clock = &replies.clock};
    replies.serial.clock = &replies.clock;
    memset(bytes, '!', sizeof bytes);
    (void)image_add(&image, MEM_FLASH, 0x10, bytes, sizeof bytes, NULL);
    (void)image_add(&image, MEM_EEPROM, 3, bytes, 9, NULL);
    whole_run(&session, &image);
    image_free(&image);
    return 0;
}
