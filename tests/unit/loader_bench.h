/* A virtual board on a test's bench: memories, a model, an open port, and exchanges written as the
 * hex bytes that a protocol sheet shows. Time is virtual, wire and flash take theirs. */
#ifndef LOADER_BENCH_H
#define LOADER_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "virtual_serial.h"

enum { BENCH_FLASH_MAX = 0x200000, BENCH_EEPROM = 4096, BENCH_HEX_MAX = 512 };

struct bench {
    uint8_t flash[BENCH_FLASH_MAX], eeprom[BENCH_EEPROM], fuses[4];
    struct vconfig config;
    const struct vmodel *model;
    struct vserial *device;
    struct serial *serial;
};

extern const struct vmodel vmodel_optiboot, vmodel_atmegaboot, vmodel_stk500boot, vmodel_m0,
    vmodel_caterina;

/* Blank memories of that chip, lock bits that protect the loader; nothing is made or opened yet, so
 * that a test can change bench->config. */
struct bench *bench_new(const struct vmodel *model, const char *chip, const char *variant);

/* Makes the model and opens its port at the model's rate; the reset pulse of opening is over and
 * `settle` microseconds have passed. */
void bench_start(struct bench *bench, uint64_t settle);

/* Closes the port; opens it again (the model lives on). */
void bench_close(struct bench *bench);
void bench_open(struct bench *bench, const struct line_faults *faults);

void bench_free(struct bench *bench);

/* Present moment in microseconds; waiting. */
uint64_t bench_now(const struct bench *bench);
void bench_wait(struct bench *bench, uint64_t microseconds);

/* A reset pulse by DTR, then `settle` microseconds. */
void bench_pulse(struct bench *bench, uint64_t settle);

/* "30 20" to bytes; returns how many. */
size_t bench_hex(const char *hex, uint8_t *bytes, size_t max);

/* One write of the host. */
void bench_send(struct bench *bench, const uint8_t *bytes, size_t length);
void bench_say(struct bench *bench, const char *hex);

/* What comes within 12 s, up to a pause of 2 ms, as hex must be this; "" = silence for
 * `microseconds`. */
void bench_hears(struct bench *bench, const char *hex);
void bench_hears_nothing(struct bench *bench, uint64_t microseconds);

/* Up to `max` raw bytes with the same rule. */
size_t bench_listen(struct bench *bench, uint8_t *bytes, size_t max);

/* bench_say, then bench_hears. */
void bench_exchange(struct bench *bench, const char *say, const char *hear);

/* Says hex, `length` data bytes, hex: a page. */
void bench_say_page(struct bench *bench, const char *head, const uint8_t *data, size_t length,
                    const char *tail);

/* 00 01 02 … FF 00 … : data that shows where it went. */
void bench_ramp(uint8_t *data, size_t length);

#endif
