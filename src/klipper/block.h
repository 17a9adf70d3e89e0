/*
 * Klipper's message blocks (docs/Protocol.md): length, number, content, CRC, 7e; and the integers
 * in them, 7 bits a byte, the most significant first.
 */
#ifndef MFLASH_KLIPPER_BLOCK_H
#define MFLASH_KLIPPER_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KLIPPER_BLOCK_MIN = 5,
    KLIPPER_BLOCK_MAX = 64,
    KLIPPER_CONTENT_MAX = KLIPPER_BLOCK_MAX - KLIPPER_BLOCK_MIN,
    KLIPPER_SYNC = 0x7e,
    KLIPPER_NUMBERS = 16, /* block numbers count modulo this */
};

struct klipper_block {
    uint8_t number; /* of the host's next block, in what the firmware sends */
    const uint8_t *content;
    size_t length;
};

/* Writes a block around `length` (at most KLIPPER_CONTENT_MAX) bytes; returns its size. */
size_t klipper_block_put(uint8_t out[KLIPPER_BLOCK_MAX], uint8_t number, const uint8_t *content,
                         size_t length);

/*
 * Looks for a block in what has been received. Returns how many bytes of the input are done with: a
 * block and what was before it (`found`), or what can be no part of one. 0 = more bytes are needed.
 */
size_t klipper_block_get(const uint8_t *bytes, size_t length, struct klipper_block *block,
                         bool *found);

/* Appends an integer, at most 5 bytes; returns the new end. */
uint8_t *klipper_vlq_put(uint8_t *out, uint32_t value);

/* Reads an integer at *cursor and moves behind it; false if it does not end before `end`. */
bool klipper_vlq_get(const uint8_t **cursor, const uint8_t *end, uint32_t *value);

#endif
