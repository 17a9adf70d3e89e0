/* See loader_bench.h. */
#include "loader_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/chip.h"

enum { REPLY_WAIT = 12 * SECOND, REPLY_PAUSE = 2 * MILLISECOND };

struct bench *bench_new(const struct vmodel *model, const char *chip, const char *variant)
{
    struct bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    memset(bench->flash, 0xff, sizeof bench->flash);
    memset(bench->eeprom, 0xff, sizeof bench->eeprom);
    memcpy(bench->fuses, (uint8_t[]){0xff, 0xd8, 0xfd, 0xcf}, 4);
    bench->model = model;
    bench->config.chip = chip_find(chip);
    bench->config.variant = variant;
    size_t size = bench->config.chip ? bench->config.chip->regions[0].size : BENCH_FLASH_MAX;
    assert_true(size <= BENCH_FLASH_MAX);
    bench->config.flash = (struct vmemory){bench->flash, size, UINT64_MAX};
    bench->config.eeprom = (struct vmemory){bench->eeprom, BENCH_EEPROM, UINT64_MAX};
    bench->config.fuses = (struct vmemory){bench->fuses, 4, UINT64_MAX};
    return bench;
}

void bench_open(struct bench *bench, const struct line_faults *faults)
{
    bench->serial = virtual_serial(bench->device, faults);
    assert_non_null(bench->serial);
    struct serial_settings settings = {.baud = bench->model->baud, .stop_bits = 1};
    if (settings.baud)
        assert_int_equal(bench->serial->ops->configure(bench->serial, &settings, NULL), OK);
}

void bench_start(struct bench *bench, uint64_t settle)
{
    bench->device = bench->model->create(&bench->config);
    assert_non_null(bench->device);
    bench_open(bench, NULL);
    bench_wait(bench, settle);
}

void bench_close(struct bench *bench)
{
    bench->serial->ops->close(bench->serial);
    bench->serial = NULL;
}

void bench_free(struct bench *bench)
{
    if (bench->serial)
        bench_close(bench);
    bench->device->ops->destroy(bench->device);
    free(bench);
}

uint64_t bench_now(const struct bench *bench)
{
    return clock_now(bench->serial->clock);
}

void bench_wait(struct bench *bench, uint64_t microseconds)
{
    bench->serial->clock->sleep_until(bench->serial->clock, bench_now(bench) + microseconds);
}

void bench_pulse(struct bench *bench, uint64_t settle)
{
    bench->serial->ops->set_lines(bench->serial, false, false, NULL);
    bench_wait(bench, MILLISECOND);
    bench->serial->ops->set_lines(bench->serial, true, true, NULL);
    bench->serial->ops->drop_input(bench->serial);
    bench_wait(bench, settle);
}

size_t bench_hex(const char *hex, uint8_t *bytes, size_t max)
{
    size_t count = 0;
    for (char *end; *hex; hex = end) {
        unsigned long value = strtoul(hex, &end, 16);
        if (end == hex)
            break;
        assert_true(value <= 0xff && count < max);
        bytes[count++] = (uint8_t)value;
    }
    return count;
}

void bench_send(struct bench *bench, const uint8_t *bytes, size_t length)
{
    assert_int_equal(bench->serial->ops->write(bench->serial, bytes, length, UINT64_MAX, NULL), OK);
}

void bench_say(struct bench *bench, const char *hex)
{
    uint8_t bytes[BENCH_HEX_MAX];
    bench_send(bench, bytes, bench_hex(hex, bytes, sizeof bytes));
}

size_t bench_listen(struct bench *bench, uint8_t *bytes, size_t max)
{
    uint64_t deadline = bench_now(bench) + REPLY_WAIT;
    size_t count = 0;
    while (count < max) {
        ssize_t got =
            bench->serial->ops->read(bench->serial, bytes + count, max - count, deadline, NULL);
        if (got <= 0)
            break;
        count += (size_t)got;
        deadline = bench_now(bench) + REPLY_PAUSE;
    }
    return count;
}

static void to_text(const uint8_t *bytes, size_t length, char *text)
{
    *text = '\0';
    for (size_t i = 0; i < length; i++)
        sprintf(text + 3 * i, "%02X ", bytes[i]);
}

void bench_hears(struct bench *bench, const char *hex)
{
    uint8_t heard[BENCH_HEX_MAX], expected[BENCH_HEX_MAX];
    char heard_text[3 * BENCH_HEX_MAX + 1], expected_text[3 * BENCH_HEX_MAX + 1];
    to_text(expected, bench_hex(hex, expected, sizeof expected), expected_text);
    to_text(heard, bench_listen(bench, heard, sizeof heard), heard_text);
    assert_string_equal(heard_text, expected_text);
}

void bench_hears_nothing(struct bench *bench, uint64_t microseconds)
{
    uint8_t byte;
    uint64_t deadline = bench_now(bench) + microseconds;
    assert_int_equal(bench->serial->ops->read(bench->serial, &byte, 1, deadline, NULL), 0);
}

void bench_exchange(struct bench *bench, const char *say, const char *hear)
{
    bench_say(bench, say);
    bench_hears(bench, hear);
}

void bench_say_page(struct bench *bench, const char *head, const uint8_t *data, size_t length,
                    const char *tail)
{
    uint8_t bytes[2 * BENCH_HEX_MAX];
    size_t count = bench_hex(head, bytes, sizeof bytes);
    assert_true(count + length < sizeof bytes);
    memcpy(bytes + count, data, length);
    count += length;
    count += bench_hex(tail, bytes + count, sizeof bytes - count);
    bench_send(bench, bytes, count);
}

void bench_ramp(uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)i;
}
