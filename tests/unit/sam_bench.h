/* A virtual SAM board on a test's bench: commands as text, memory by words. Time is virtual, wire
 * and flash take theirs. */
#ifndef SAM_BENCH_H
#define SAM_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "board/chip.h"
#include "virtual_serial.h"

enum { SAM_BENCH_FLASH = 0x100000, SAM_BENCH_OPTIONS = 512 };

struct sam_bench {
    uint8_t flash[SAM_BENCH_FLASH], options[SAM_BENCH_OPTIONS];
    struct vconfig config;
    const struct vmodel *model;
    struct vserial *device;
    struct serial *serial;
};

extern const struct vmodel vmodel_sam7s, vmodel_sam3x, vmodel_sam3x_uart, vmodel_sam4e,
    vmodel_samd21, vmodel_samd51;

/* Blank memories; nothing is made or opened yet, so that a test can change bench->config. */
struct sam_bench *sam_bench_new(const struct vmodel *model, const char *variant);
void sam_bench_start(struct sam_bench *bench);

/* Made, opened and ready for commands. */
struct sam_bench *sam_bench(const struct vmodel *model, const char *variant);
void sam_bench_free(struct sam_bench *bench);

/* Opens the port again after the device has left the bus. */
void sam_reopen(struct sam_bench *bench);

uint64_t sam_bench_now(const struct sam_bench *bench);

/* One write() of the host: text, or bytes. */
void sam_say(struct sam_bench *bench, const char *format, ...);
void sam_send(struct sam_bench *bench, const void *bytes, size_t length);

/* The next bytes must be these; nothing may come for 100 ms. */
void sam_hears(struct sam_bench *bench, const void *bytes, size_t length);
void sam_hears_text(struct sam_bench *bench, const char *text);
void sam_hears_nothing(struct sam_bench *bench);

/* w and W; S with its data in a write of its own. */
uint32_t sam_word(struct sam_bench *bench, uint32_t address);
void sam_put(struct sam_bench *bench, uint32_t address, uint32_t value);
void sam_block(struct sam_bench *bench, uint32_t address, const void *bytes, size_t length);

/* Vectors and Thumb code at `base`, then G. */
void sam_go(struct sam_bench *bench, uint32_t base, uint32_t sp, const void *code, size_t length);

/* Nothing answers any more, until the reset button is pressed. */
void sam_is_dead(struct sam_bench *bench);

#endif
