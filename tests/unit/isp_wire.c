/* See isp_wire.h. */
#include "isp_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

struct isp_wire wire;

void wire_close(void)
{
    serial_close(wire.serial);
    wire.serial = NULL;
}

int wire_take_away(void **state)
{
    (void)state;
    if (wire.serial)
        wire_close();
    if (wire.device)
        wire.device->ops->destroy(wire.device);
    return 0;
}

void wire_open(uint32_t baud)
{
    struct error err = {0};

    wire.serial = virtual_serial(wire.device, NULL);
    assert_non_null(wire.serial);
    assert_int_equal(serial_set_baud(wire.serial, baud, &err), OK);
}

void wire_prepare(const char *chip)
{
    wire = (struct isp_wire){0};
    memset(wire.flash, 0xff, sizeof wire.flash);
    memset(wire.eeprom, 0xff, sizeof wire.eeprom);
    memset(wire.fuses, 0xff, sizeof wire.fuses);
    wire.config = (struct vconfig){
        .chip = chip_find(chip),
        .flash = {wire.flash, sizeof wire.flash, UINT64_MAX},
        .eeprom = {wire.eeprom, sizeof wire.eeprom, UINT64_MAX},
        .fuses = {wire.fuses, sizeof wire.fuses, UINT64_MAX},
        .fresh = true,
    };
}

void wire_connect(const struct vmodel *model, const char *variant)
{
    wire.config.variant = variant;
    wire.device = model->create(&wire.config);
    assert_non_null(wire.device);
    wire_open(model->baud);
}

size_t wire_hex(const char *hex, uint8_t *bytes)
{
    size_t count = 0;
    char *end;

    for (const char *at = hex; *at; at = end) {
        assert_true(count < WIRE_MAX);
        bytes[count++] = (uint8_t)strtoul(at, &end, 16);
        while (*end == ' ')
            end++;
    }
    return count;
}

void wire_send_bytes(const uint8_t *bytes, size_t length)
{
    struct error err = {0};

    assert_int_equal(serial_write(wire.serial, bytes, length, &err), OK);
}

void wire_rest(uint64_t microseconds)
{
    struct clock *clock = wire.serial->clock;

    clock->sleep_until(clock, clock_in(clock, microseconds));
}

void wire_send(const char *hex)
{
    uint8_t bytes[WIRE_MAX];

    wire_send_bytes(bytes, wire_hex(hex, bytes));
}

void wire_expect(const char *hex)
{
    uint8_t wanted[WIRE_MAX], got[WIRE_MAX];
    size_t length = wire_hex(hex, wanted);
    struct error err = {0};

    assert_int_equal(
        serial_read(wire.serial, got, length, clock_in(wire.serial->clock, 5 * SECOND), &err), OK);
    assert_memory_equal(got, wanted, length);
}

void wire_expect_silence(void)
{
    uint8_t byte;
    struct error err = {0};

    assert_int_equal(
        serial_read_some(wire.serial, &byte, 1, clock_in(wire.serial->clock, 1 * SECOND), &err), 0);
}

void wire_exchange(const char *request, const char *reply)
{
    wire_send(request);
    wire_expect(reply);
}
