/* A virtual STM32 in its ROM loader on a test's bench: the loader bench with that chip's flash and
 * option bytes, and the frames of AN3155 with their sums worked out. */
#ifndef STM32_BENCH_H
#define STM32_BENCH_H

#include "loader_bench.h"

struct stm32_bench {
    struct bench *bench;
    uint8_t *flash;
    uint8_t options[128];
};

extern const struct vmodel vmodel_stm32_rom;

/* Blank flash, blank option bytes (the model fills in the factory's); nothing is made yet. */
struct stm32_bench *stm32_new(const char *chip, const char *variant);

/* Makes the model, opens its port at 115200 8E1 and lets the reset of that pass. */
void stm32_start(struct stm32_bench *s);

/* The usual: new, start, 7F answered. */
struct stm32_bench *stm32_synced(const char *chip);
void stm32_free(struct stm32_bench *s);

void stm32_settings(struct stm32_bench *s, uint32_t baud, int parity);
void stm32_sync(struct stm32_bench *s);

/* Says these bytes and their exclusive or. */
void stm32_say_summed(struct stm32_bench *s, const uint8_t *bytes, size_t length);

/* Command with its complement, then the address with its sum: hears ACK for the first and `heard`
 * for the second. */
void stm32_address(struct stm32_bench *s, uint8_t command, uint32_t address, const char *heard);

/* A whole Write Memory; the last answer must be `heard`. Microseconds from the last byte said. */
uint64_t stm32_write(struct stm32_bench *s, uint32_t address, const uint8_t *data, size_t length,
                     const char *heard);

/* A whole Read Memory that must succeed. */
void stm32_read(struct stm32_bench *s, uint32_t address, uint8_t *data, size_t length);

/* Hears one ACK, however late; microseconds until then. */
uint64_t stm32_waits_for_ack(struct stm32_bench *s);

/* Extended Erase (or Erase, where the chip has that) of one page. */
uint64_t stm32_erase_page(struct stm32_bench *s, uint16_t page);

#endif
