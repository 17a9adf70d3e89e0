/* See isp_bench.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isp_bench.h"
#include "models/isp_programmer.h"
#include "models/isp_sketch.h"

static const struct kind {
    const struct vmodel *model;
    const char *variant, *probe;
} kinds[] = {
    [ISP_BENCH_STK500] = {&vmodel_stk500_programmer, "stk500", "avrisp2:virtual"},
    [ISP_BENCH_AVRISP] = {&vmodel_stk500_programmer, "avrisp", "avrisp2:virtual"},
    [ISP_BENCH_ARDUINO] = {&vmodel_arduino_isp, NULL, "arduino-isp:virtual"},
};

const size_t isp_bench_kinds = sizeof kinds / sizeof kinds[0];
const char *const *const isp_bench_chips = avr_target_chips;

static const struct isp_port *port_of(const struct isp_bench *bench, size_t kind)
{
    return kind == ISP_BENCH_ARDUINO ? &((const struct arduino_isp *)bench->device)->port
                                     : &((const struct isp_programmer *)bench->device)->port;
}

static struct isp_bench *make(const struct vmodel *model, const char *variant, const char *chip,
                              const struct vfaults *faults, uint64_t stuck)
{
    struct isp_bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    bench->chip = chip_find(chip);
    assert_non_null(bench->chip);
    memset(bench->flash, 0xff, sizeof bench->flash);
    memset(bench->eeprom, 0xff, sizeof bench->eeprom);
    memset(bench->fuses, 0xff, sizeof bench->fuses);
    bench->config = (struct vconfig){
        .chip = bench->chip,
        .flash = {bench->flash, (size_t)chip_region(bench->chip, MEM_FLASH)->size, stuck},
        .eeprom = {bench->eeprom, (size_t)chip_region(bench->chip, MEM_EEPROM)->size, UINT64_MAX},
        .fuses = {bench->fuses, sizeof bench->fuses, UINT64_MAX},
        .fresh = true,
        .variant = variant,
    };
    if (faults)
        bench->config.faults = *faults;
    bench->device = model->create(&bench->config);
    assert_non_null(bench->device);
    return bench;
}

struct isp_bench *isp_bench_new(size_t kind, const char *chip, const struct vfaults *faults,
                                uint64_t stuck)
{
    struct isp_bench *bench = make(kinds[kind].model, kinds[kind].variant, chip, faults, stuck);
    bench->probe = kinds[kind].probe;
    bench->port = port_of(bench, kind);
    return bench;
}

struct isp_bench *isp_bench_mega(void)
{
    struct isp_bench *bench = make(&vmodel_stk500boot, NULL, "atmega2560", NULL, UINT64_MAX);
    bench->probe = kinds[ISP_BENCH_STK500].probe;
    return bench;
}

void isp_bench_free(struct isp_bench *bench)
{
    isp_bench_close(bench);
    bench->device->ops->destroy(bench->device);
    free(bench);
}

void isp_bench_fuse_unlatched(struct isp_bench *bench, unsigned fuse, uint8_t value)
{
    bench->fuses[fuse] = value;
}

void isp_bench_fuse(struct isp_bench *bench, unsigned fuse, uint8_t value)
{
    bench->fuses[fuse] = value;
    virtual_reset(bench->device, VRESET_POWER);
}

static void keep_note(void *user, const char *text)
{
    struct isp_bench *bench = user;
    size_t used = strlen(bench->notes);
    (void)snprintf(bench->notes + used, sizeof bench->notes - used, "%s\n", text);
}

static void count_bytes(void *user, size_t bytes)
{
    ((struct isp_bench *)user)->advanced += bytes;
}

void isp_bench_open(struct isp_bench *bench, const struct line_faults *faults)
{
    struct serial *serial = virtual_serial(bench->device, faults);
    assert_non_null(serial);
    bench->session = (struct session){
        .method = &method_isp,
        .chip = bench->chip,
        .serial = serial,
        .clock = serial->clock,
        .probe = bench->probe,
        .advance = count_bytes,
        .note = keep_note,
        .user = bench,
    };
}

void isp_bench_ok(const struct isp_bench *bench, int rc)
{
    if (rc != OK)
        print_message("%s %s: %s\n", bench->probe ? bench->probe : "no probe", bench->chip->name,
                      bench->err.message);
    assert_int_equal(rc, OK);
}

void isp_bench_connect(struct isp_bench *bench)
{
    isp_bench_open(bench, NULL);
    isp_bench_ok(bench, method_isp.connect(&bench->session, &bench->err));
}

void isp_bench_close(struct isp_bench *bench)
{
    if (!bench->session.serial)
        return;
    method_isp.disconnect(&bench->session);
    serial_close(bench->session.serial);
    bench->session.serial = NULL;
}

unsigned isp_bench_violations(const struct isp_bench *bench)
{
    const struct avr_target *target = &bench->port->target;
    if (target->violations)
        print_message("%s %s: %u violations, the last: %s\n", bench->probe, bench->chip->name,
                      target->violations, target->violation);
    return target->violations;
}

bool isp_bench_reset_is_low(const struct isp_bench *bench)
{
    return bench->port->target.reset_low;
}

uint32_t isp_bench_sck(const struct isp_bench *bench)
{
    return bench->port->sck_hz;
}

unsigned isp_bench_messages(const struct isp_bench *bench)
{
    return virtual_line(bench->session.serial)->messages;
}

uint64_t isp_bench_now(const struct isp_bench *bench)
{
    return clock_now(bench->session.clock);
}

void isp_bench_fill(uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + 1);
}

void isp_bench_image(struct image *image, enum memory memory, uint64_t address, uint8_t *bytes,
                     size_t length)
{
    *image = (struct image){.placed = true};
    isp_bench_fill(bytes, length);
    assert_int_equal(image_add(image, memory, address, bytes, length, NULL), OK);
}

int isp_bench_recipe(struct isp_bench *bench, const struct image *image)
{
    struct session *s = &bench->session;
    struct error *err = &bench->err;
    const struct job job = {image, chip_region(bench->chip, MEM_FLASH), true};
    int rc = method_isp.erase_chip(s, err);
    rc = rc ? rc : method_isp.set_fuse(s, "lock", 0x3f, err);
    rc = rc ? rc : method_isp.set_fuse(s, "efuse", 0xfd, err);
    rc = rc ? rc : method_isp.set_fuse(s, "hfuse", 0xd8, err);
    rc = rc ? rc : method_isp.set_fuse(s, "lfuse", 0xff, err);
    rc = rc ? rc : method_isp.restart(s, err);
    rc = rc ? rc : method_isp.write(s, &job, err);
    rc = rc ? rc : verify_by_reading(s, &job, err);
    return rc ? rc : method_isp.set_fuse(s, "lock", 0x0f, err);
}

/* By memcmp, which is fast where a sanitizer watches every byte. */
static bool all_blank(const uint8_t *bytes, size_t length)
{
    return bytes[0] == 0xff && memcmp(bytes, bytes + 1, length - 1) == 0;
}

void isp_bench_assert_installed(const struct isp_bench *bench, const uint8_t *boot, size_t length)
{
    size_t end = ISP_BENCH_BOOT + length;
    assert_memory_equal(bench->flash + ISP_BENCH_BOOT, boot, length);
    assert_true(all_blank(bench->flash, ISP_BENCH_BOOT));
    assert_true(all_blank(bench->flash + end, FLASH_MAX - end));
    assert_int_equal(bench->fuses[LFUSE], 0xff);
    assert_int_equal(bench->fuses[HFUSE], 0xd8);
    assert_int_equal(bench->fuses[EFUSE], 0xfd);
    assert_int_equal(bench->fuses[LOCK], 0xcf);
}
