/*
 * Whatever a bootloader answers, the methods end: no crash, no overrun, no endless wait. The input
 * is a choice of method and then what the device says, in portions: two bytes of length, little
 * end first, and so many bytes. Each write of the host releases the next portion. Time is virtual.
 */
#include <string.h>

#include "method.h"
#include "portions.h"

extern const struct method method_stk500v1, method_stk500v2, method_avr109;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IMAGE_BYTES = 600 };

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
    struct portions device;
    portions_begin(&device, data + 1, size - 1);
    struct session session = {.method = boards[board].method,
                              .chip = chip_find(boards[board].chip),
                              .loader = &boards[board].loader,
                              .serial = &device.serial,
                              .clock = &device.clock};
    memset(bytes, '!', sizeof bytes);
    (void)image_add(&image, MEM_FLASH, 0x10, bytes, sizeof bytes, NULL);
    (void)image_add(&image, MEM_EEPROM, 3, bytes, 9, NULL);
    whole_run(&session, &image);
    image_free(&image);
    return 0;
}
