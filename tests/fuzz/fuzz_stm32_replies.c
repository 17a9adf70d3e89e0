/*
 * Whatever answers in place of an STM32's ROM loader, the method ends: no crash, no overrun, no
 * endless wait. The input is a choice of chip and then what the device says, in portions: two bytes
 * of length, little end first, and so many bytes. Each write of the host releases the next
 * portion. Time is virtual.
 */
#include <string.h>

#include "method.h"
#include "portions.h"

extern const struct method method_stm32_uart;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IMAGE_BYTES = 600 };

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
    struct portions device;
    portions_begin(&device, data + 1, size - 1);
    struct session session = {.method = &method_stm32_uart,
                              .chip = chip_find(chips[(data[0] & 0x7f) % 5]),
                              .loader = &loader,
                              .serial = &device.serial,
                              .clock = &device.clock,
                              .force_signature = true};
    memset(bytes, '!', sizeof bytes);
    (void)image_add(&image, MEM_FLASH, 0x08000010, bytes, sizeof bytes, NULL);
    whole_run(&session, &image);
    image_free(&image);
    return 0;
}
