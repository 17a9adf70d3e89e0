/* See katapult_bench.h. */
#include "katapult_bench.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "klipper/crc16.h"

enum { PACKET_MAX = 8 + 4 * 255, DICTIONARY_AT = 0x100 };

size_t packet(uint8_t *out, uint8_t command, const uint8_t *payload, size_t length)
{
    memcpy(out, (uint8_t[]){0x01, 0x88, command, (uint8_t)(length / 4)}, 4);
    if (length)
        memcpy(out + 4, payload, length);
    put_le16(out + 4 + length, klipper_crc16(out + 2, length + 2));
    memcpy(out + 6 + length, (uint8_t[]){0x99, 0x03}, 2);
    return 8 + length;
}

static void say(struct bench *bench, uint8_t command, const uint8_t *payload, size_t length)
{
    uint8_t bytes[PACKET_MAX];
    bench_send(bench, bytes, packet(bytes, command, payload, length));
}

static void hears(struct bench *bench, const uint8_t *payload, size_t length)
{
    uint8_t expected[PACKET_MAX], heard[PACKET_MAX];
    size_t count = packet(expected, 0xa0, payload, length);
    assert_int_equal(bench_listen(bench, heard, sizeof heard), count);
    assert_memory_equal(heard, expected, count);
}

static void hears_words(struct bench *bench, uint32_t first, uint32_t second)
{
    uint8_t payload[8];
    put_le32(payload, first);
    put_le32(payload + 4, second);
    hears(bench, payload, sizeof payload);
}

void say_block(struct bench *bench, uint32_t address, const uint8_t *data)
{
    uint8_t payload[68];
    put_le32(payload, address);
    memcpy(payload + 4, data, 64);
    say(bench, 0x12, payload, sizeof payload);
}

static void say_value(struct bench *bench, uint32_t address, uint8_t value)
{
    uint8_t data[64];
    memset(data, value, sizeof data);
    say_block(bench, address, data);
}

void hears_block_done(struct bench *bench, uint32_t address)
{
    hears_words(bench, 0x12, address);
}

void block_is_done(struct bench *bench, uint32_t address, uint8_t value)
{
    say_value(bench, address, value);
    hears_block_done(bench, address);
}

void block_is_refused(struct bench *bench, uint32_t address, uint8_t value)
{
    say_value(bench, address, value);
    bench_hears(bench, COMMAND_ERROR);
}

void end_is_done(struct bench *bench, uint32_t pages)
{
    bench_say(bench, SEND_EOF);
    hears_words(bench, 0x13, pages);
}

void block_reads(struct bench *bench, uint32_t address, uint8_t value)
{
    uint8_t payload[72];
    put_le32(payload, address);
    say(bench, 0x14, payload, 4);
    put_le32(payload, 0x14);
    put_le32(payload + 4, address);
    memset(payload + 8, value, 64);
    hears(bench, payload, sizeof payload);
}

void double_reset(struct bench *bench)
{
    bench_close(bench);
    virtual_reset(bench->device, VRESET_PIN);
    virtual_elapse(bench->device, 100 * MILLISECOND);
    virtual_reset(bench->device, VRESET_PIN);
    virtual_elapse(bench->device, SECOND);
    bench_open(bench, NULL);
}

void put_program(struct bench *bench, size_t offset)
{
    put_le32(bench->flash + offset, 0x20005000);
}

size_t put_klipper(struct bench *bench, size_t offset, const char *config, size_t *at)
{
    char json[2048];
    uLongf length = 2048;
    int size = snprintf(json, sizeof json,
                        "{\"app\":\"Klipper\",\"commands\":{\"identify offset=%%u count=%%c\":1,"
                        "\"reset\":7},"
                        "\"config\":{%s},\"version\":\"v0.12.0-200-gabcdef12\"}",
                        config);
    assert_in_range(size, 1, sizeof json - 1);
    put_program(bench, offset);
    *at = offset + DICTIONARY_AT;
    assert_int_equal(compress2(bench->flash + *at, &length, (const uint8_t *)json, (uLong)size, 9),
                     Z_OK);
    return length;
}
