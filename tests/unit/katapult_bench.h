/* A virtual Katapult node on a test's bench: packets said and heard, beside the hex of
 * loader_bench.h. Their checksum is mflash's, not the model's. */
#ifndef KATAPULT_BENCH_H
#define KATAPULT_BENCH_H

#include "loader_bench.h"

extern const struct vmodel vmodel_katapult_serial, vmodel_katapult_usb;

#define CONNECT       "01 88 11 00 F1 7C 99 03"
#define SEND_EOF      "01 88 13 00 41 4F 99 03"
#define COMPLETE      "01 88 15 00 91 1B 99 03"
#define COMPLETED     "01 88 A0 01 15 00 00 00 00 2E 99 03"
#define NACK          "01 88 F1 00 68 95 99 03"
#define COMMAND_ERROR "01 88 F2 00 00 BF 99 03"

/* CONNECT's reply of an STM32F103. */
#define CONNECTED                                                                       \
    "01 88 A0 0D 11 00 00 00 00 01 01 00 00 20 00 08 40 00 00 00 73 74 6D 33 32 66 31 " \
    "30 33 78 65 00 00 00 00 00 76 30 2E 30 2E 31 2D 31 31 30 2D 67 62 30 62 66 34 32 " \
    "31 00 28 DD 99 03"

/* A packet: `length` payload bytes, a multiple of 4. Returns its size. */
size_t packet(uint8_t *out, uint8_t command, const uint8_t *payload, size_t length);

/* SEND_BLOCK of 64 bytes; the host does not wait for the answer. */
void say_block(struct bench *bench, uint32_t address, const uint8_t *data);

/* 64 bytes of one value, and the answer: done, or refused. */
void block_is_done(struct bench *bench, uint32_t address, uint8_t value);
void block_is_refused(struct bench *bench, uint32_t address, uint8_t value);

/* The answer to a block, or to the end with its number of pages. */
void hears_block_done(struct bench *bench, uint32_t address);
void end_is_done(struct bench *bench, uint32_t pages);

/* REQUEST_BLOCK gives 64 bytes of this value. */
void block_reads(struct bench *bench, uint32_t address, uint8_t value);

/* Two presses of the reset button; the loader listens afterwards, with the port opened anew. */
void double_reset(struct bench *bench);

/* Puts a program of one word, or a Klipper program with that "config", at `offset` of the flash.
 * Returns the dictionary's compressed length, and where it lies. */
void put_program(struct bench *bench, size_t offset);
size_t put_klipper(struct bench *bench, size_t offset, const char *config, size_t *at);

#endif
