/* See sam_bench.h. */
#include "sam_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "board/chip.h"

struct sam_bench *sam_bench_new(const struct vmodel *model, const char *variant)
{
    struct sam_bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    const struct chip *chip = chip_find(model->chips[0]);
    assert_non_null(chip);
    memset(bench->flash, 0xff, sizeof bench->flash);
    memset(bench->options, 0xff, sizeof bench->options);
    bench->model = model;
    bench->config = (struct vconfig){
        .chip = chip,
        .flash = {bench->flash, (size_t)chip->regions[0].size, UINT64_MAX},
        .options = {bench->options, model->options, UINT64_MAX},
        .variant = variant,
    };
    return bench;
}

void sam_bench_start(struct sam_bench *bench)
{
    bench->device = bench->model->create(&bench->config);
    assert_non_null(bench->device);
    bench->serial = virtual_serial(bench->device, NULL);
    assert_non_null(bench->serial);
}

struct sam_bench *sam_bench(const struct vmodel *model, const char *variant)
{
    struct sam_bench *bench = sam_bench_new(model, variant);
    sam_bench_start(bench);
    return bench;
}

void sam_bench_free(struct sam_bench *bench)
{
    serial_close(bench->serial);
    bench->device->ops->destroy(bench->device);
    free(bench);
}

void sam_reopen(struct sam_bench *bench)
{
    serial_close(bench->serial);
    bench->serial = virtual_serial(bench->device, NULL);
    assert_non_null(bench->serial);
}

uint64_t sam_bench_now(const struct sam_bench *bench)
{
    return clock_now(bench->serial->clock);
}

void sam_send(struct sam_bench *bench, const void *bytes, size_t length)
{
    struct error err = {0};
    assert_int_equal(serial_write(bench->serial, bytes, length, &err), OK);
}

void sam_say(struct sam_bench *bench, const char *format, ...)
{
    char text[128];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sam_send(bench, text, (size_t)length);
}

void sam_hears(struct sam_bench *bench, const void *bytes, size_t length)
{
    struct error err = {0};
    uint8_t heard[1024];
    assert_true(length <= sizeof heard);
    uint64_t deadline = clock_in(bench->serial->clock, 20 * SECOND);
    if (serial_read(bench->serial, heard, length, deadline, &err) != OK)
        fail_msg("%s", err.message);
    assert_memory_equal(heard, bytes, length);
}

void sam_hears_text(struct sam_bench *bench, const char *text)
{
    sam_hears(bench, text, strlen(text));
}

void sam_hears_nothing(struct sam_bench *bench)
{
    struct error err = {0};
    uint8_t byte;
    uint64_t deadline = clock_in(bench->serial->clock, 100 * MILLISECOND);
    assert_int_equal(serial_read_some(bench->serial, &byte, 1, deadline, &err), 0);
}

uint32_t sam_word(struct sam_bench *bench, uint32_t address)
{
    struct error err = {0};
    uint8_t bytes[4];
    sam_say(bench, "w%08X,4#", (unsigned)address);
    uint64_t deadline = clock_in(bench->serial->clock, 20 * SECOND);
    if (serial_read(bench->serial, bytes, 4, deadline, &err) != OK)
        fail_msg("w%08X: %s", (unsigned)address, err.message);
    return get_le32(bytes);
}

void sam_put(struct sam_bench *bench, uint32_t address, uint32_t value)
{
    sam_say(bench, "W%08X,%08X#", (unsigned)address, (unsigned)value);
}

void sam_block(struct sam_bench *bench, uint32_t address, const void *bytes, size_t length)
{
    sam_say(bench, "S%08X,%08X#", (unsigned)address, (unsigned)length);
    sam_send(bench, bytes, length);
}

void sam_go(struct sam_bench *bench, uint32_t base, uint32_t sp, const void *code, size_t length)
{
    uint8_t block[512];
    assert_true(length + 8 <= sizeof block);
    put_le32(block, sp);
    put_le32(block + 4, (base + 8) | 1);
    memcpy(block + 8, code, length);
    sam_block(bench, base, block, length + 8);
    sam_say(bench, "G%08X#", (unsigned)base);
}

void sam_is_dead(struct sam_bench *bench)
{
    sam_hears_nothing(bench);
    sam_say(bench, "w20002000,4#");
    sam_hears_nothing(bench);
    virtual_reset(bench->device, VRESET_PIN);
    sam_reopen(bench);
    sam_word(bench, 0x20002000);
}
