/* See stm32_bench.h. */
#include "stm32_bench.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "board/chip.h"

enum { STARTED = 10 * MILLISECOND, ACK_WAIT = 60 * SECOND };

struct stm32_bench *stm32_new(const char *chip, const char *variant)
{
    struct stm32_bench *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->bench = bench_new(&vmodel_stm32_rom, "stm32f103x6", variant);
    struct vconfig *config = &s->bench->config;
    config->chip = chip_find(chip);
    assert_non_null(config->chip);
    size_t size = (size_t)config->chip->regions[0].size;
    s->flash = malloc(size);
    assert_non_null(s->flash);
    memset(s->flash, 0xff, size);
    memset(s->options, 0xff, sizeof s->options);
    config->flash = (struct vmemory){s->flash, size, UINT64_MAX};
    config->options = (struct vmemory){s->options, sizeof s->options, UINT64_MAX};
    return s;
}

void stm32_settings(struct stm32_bench *s, uint32_t baud, int parity)
{
    struct serial_settings settings = {.baud = baud, .parity = (enum parity)parity, .stop_bits = 1};
    struct serial *serial = s->bench->serial;
    assert_int_equal(serial->ops->configure(serial, &settings, NULL), OK);
}

void stm32_start(struct stm32_bench *s)
{
    bench_start(s->bench, STARTED);
    stm32_settings(s, 115200, PARITY_EVEN);
}

void stm32_sync(struct stm32_bench *s)
{
    bench_exchange(s->bench, "7F", "79");
}

struct stm32_bench *stm32_synced(const char *chip)
{
    struct stm32_bench *s = stm32_new(chip, NULL);
    stm32_start(s);
    stm32_sync(s);
    return s;
}

void stm32_free(struct stm32_bench *s)
{
    bench_free(s->bench);
    free(s->flash);
    free(s);
}

void stm32_say_summed(struct stm32_bench *s, const uint8_t *bytes, size_t length)
{
    uint8_t frame[1200], sum = 0;
    assert_true(length < sizeof frame);
    memcpy(frame, bytes, length);
    for (size_t i = 0; i < length; i++)
        sum ^= bytes[i];
    frame[length] = sum;
    bench_send(s->bench, frame, length + 1);
}

static void say_command(struct stm32_bench *s, uint8_t command)
{
    bench_send(s->bench, (uint8_t[]){command, (uint8_t)~command}, 2);
    bench_hears(s->bench, "79");
}

void stm32_address(struct stm32_bench *s, uint8_t command, uint32_t address, const char *heard)
{
    uint8_t bytes[4];
    say_command(s, command);
    put_be32(bytes, address);
    stm32_say_summed(s, bytes, sizeof bytes);
    bench_hears(s->bench, heard);
}

uint64_t stm32_write(struct stm32_bench *s, uint32_t address, const uint8_t *data, size_t length,
                     const char *heard)
{
    uint8_t frame[257], byte, expected;
    assert_int_equal(bench_hex(heard, &expected, 1), 1);
    stm32_address(s, 0x31, address, "79");
    frame[0] = (uint8_t)(length - 1);
    memcpy(frame + 1, data, length);
    uint64_t wire = ((uint64_t)length + 2) * 11 * SECOND / s->bench->serial->settings.baud;
    uint64_t said = bench_now(s->bench) + wire;
    stm32_say_summed(s, frame, length + 1);
    assert_int_equal(bench_listen(s->bench, &byte, 1), 1);
    assert_int_equal(byte, expected);
    return bench_now(s->bench) - said;
}

void stm32_read(struct stm32_bench *s, uint32_t address, uint8_t *data, size_t length)
{
    uint8_t heard[257], n = (uint8_t)(length - 1);
    stm32_address(s, 0x11, address, "79");
    bench_send(s->bench, (uint8_t[]){n, (uint8_t)~n}, 2);
    assert_int_equal(bench_listen(s->bench, heard, length + 1), length + 1);
    assert_int_equal(heard[0], 0x79);
    memcpy(data, heard + 1, length);
}

uint64_t stm32_waits_for_ack(struct stm32_bench *s)
{
    uint8_t byte;
    uint64_t start = bench_now(s->bench);
    struct serial *serial = s->bench->serial;
    assert_int_equal(serial->ops->read(serial, &byte, 1, start + ACK_WAIT, NULL), 1);
    assert_int_equal(byte, 0x79);
    return bench_now(s->bench) - start;
}

uint64_t stm32_erase_page(struct stm32_bench *s, uint16_t page)
{
    if (strcmp(s->bench->config.chip->stm32->family, "F1") == 0) {
        say_command(s, 0x43);
        stm32_say_summed(s, (uint8_t[]){0, (uint8_t)page}, 2);
    } else {
        say_command(s, 0x44);
        stm32_say_summed(s, (uint8_t[]){0, 0, (uint8_t)(page >> 8), (uint8_t)page}, 4);
    }
    return stm32_waits_for_ack(s);
}
