/*
 * Whatever a SAM-BA monitor answers, the method ends: no crash, no overrun, no endless wait. The
 * input is a choice of chip and then, for each time the host listens, a byte of length and so many
 * bytes; 0 is silence until the deadline. Time is virtual.
 */
#include <stdlib.h>
#include <string.h>

#include "method.h"

extern const struct method method_samba;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IMAGE_BYTES = 700, BYTE_US = 87, HOURS_MAX = 1, READ_BYTES = 300 };

struct answers {
    struct serial serial; /* first */
    struct clock clock;
    uint64_t now;
    const uint8_t *bytes;
    size_t left;
};

static struct answers *of_clock(struct clock *clock)
{
    return (struct answers *)((char *)clock - offsetof(struct answers, clock));
}

static uint64_t answers_now(struct clock *clock)
{
    return of_clock(clock)->now;
}

static void answers_sleep_until(struct clock *clock, uint64_t moment)
{
    struct answers *a = of_clock(clock);
    if (a->now < moment)
        a->now = moment;
    if (a->now > (uint64_t)HOURS_MAX * 3600 * SECOND)
        abort(); /* a wait without an end */
}

static int answers_configure(struct serial *serial, const struct serial_settings *settings,
                             struct error *err)
{
    (void)err;
    serial->settings = *settings;
    return OK;
}

static ssize_t answers_read(struct serial *serial, uint8_t *bytes, size_t max, uint64_t deadline,
                            struct error *err)
{
    (void)err;
    struct answers *a = (struct answers *)serial;
    size_t n = 0;
    if (a->left > 0) {
        n = *a->bytes++;
        a->left--;
    }
    n = n < max ? n : max;
    n = n < a->left ? n : a->left;
    if (n == 0)
        answers_sleep_until(&a->clock, deadline);
    memcpy(bytes, a->bytes, n);
    a->bytes += n;
    a->left -= n;
    a->now += n * BYTE_US;
    return (ssize_t)n;
}

static int answers_write(struct serial *serial, const uint8_t *bytes, size_t length,
                         uint64_t deadline, struct error *err)
{
    (void)bytes, (void)deadline, (void)err;
    struct answers *a = (struct answers *)serial;
    answers_sleep_until(&a->clock, a->now + length * BYTE_US);
    return OK;
}

static void answers_drop_input(struct serial *serial)
{
    (void)serial;
}

static const struct serial_ops answers_ops = {
    .name = "answers",
    .configure = answers_configure,
    .read = answers_read,
    .write = answers_write,
    .drop_input = answers_drop_input,
};

static void whole_run(struct session *session, const struct image *image)
{
    const struct method *m = session->method;
    const struct region *flash = chip_region(session->chip, MEM_FLASH);
    const struct span sector = {session->loader->start, flash->sector};
    struct job job = {.image = image, .region = flash};
    struct device_info info = {.count = 0};
    struct fuse fuses[FUSES_MAX];
    uint8_t bytes[READ_BYTES];
    size_t count;
    struct error err;
    if (m->connect(session, &err) != OK)
        return;
    (void)m->equal(session, &job, &sector, 1, &(bool){false}, &err);
    (void)m->write(session, &job, &err);
    (void)m->verify(session, &job, &err);
    (void)m->info(session, &info, &err);
    (void)m->fuses(session, fuses, &count, &err);
    (void)m->set_fuse(session, flash->start ? "gpnvm1" : "bootprot", 1, &err);
    (void)m->read(session, MEM_FLASH, flash->start + 1, bytes, sizeof bytes, &err);
    (void)m->unlock(session, &err);
    (void)m->erase(session, &sector, 1, &err);
    (void)m->erase_chip(session, &err);
    (void)m->run(session, &err);
    m->disconnect(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        const char *chip;
        struct loader loader;
    } boards[] = {
        {"sam3x8e", {.start = 0x80000}},
        {"sam4e8e", {.start = 0x400000}},
        {"samd21g18a", {.start = 0x2000, .has_start = true}},
        {"samd51j19a", {.start = 0x4000, .has_start = true}},
        {"at91sam7s512", {.start = 0x100000}},
    };
    uint8_t bytes[IMAGE_BYTES];
    struct image image = {.count = 0};
    if (size == 0)
        return 0;
    size_t board = data[0] % (sizeof boards / sizeof boards[0]);
    struct answers answers = {.clock = {answers_now, answers_sleep_until},
                              .bytes = data + 1,
                              .left = size - 1,
                              .serial = {.ops = &answers_ops,
                                         .settings = {.baud = 115200, .stop_bits = 1},
                                         .name = "answers"}};
    struct session session = {.method = &method_samba,
                              .chip = chip_find(boards[board].chip),
                              .loader = &boards[board].loader,
                              .serial = &answers.serial,
                              .clock = &answers.clock};
    answers.serial.clock = &answers.clock;
    memset(bytes, '!', sizeof bytes);
    (void)image_add(&image, MEM_FLASH, boards[board].loader.start + 0x10, bytes, sizeof bytes,
                    NULL);
    whole_run(&session, &image);
    image_free(&image);
    return 0;
}
