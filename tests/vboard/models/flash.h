/*
 * What memories of virtual chips have in common: flash erases to FF and programs by clearing bits
 * only; EEPROM bytes erase themselves. Addresses wrap at the size, as address lines do.
 */
#ifndef VBOARD_FLASH_H
#define VBOARD_FLASH_H

#include "model.h"

/* One byte; FF if the chip has no such memory. */
uint8_t vmemory_byte(const struct vmemory *memory, uint64_t address);

/* Sets `length` bytes to FF. */
void vmemory_erase(struct vmemory *memory, uint64_t address, size_t length);

/* Clears the bits that are 0 in `bytes`; a stuck byte keeps what it holds. */
void vmemory_program(struct vmemory *memory, uint64_t address, const uint8_t *bytes, size_t length);

/* EEPROM: erase and program in one. */
void vmemory_store(struct vmemory *memory, uint64_t address, uint8_t byte);

/* True if all bytes from `start` up to `end` are FF. */
bool vmemory_blank(const struct vmemory *memory, uint64_t start, uint64_t end);

#endif
