/*
 * The number that a virtual chip has from its factory: what its USB serial number spells and its
 * UUID on a CAN bus is made of.
 */
#ifndef VBOARD_CHIP_ID_H
#define VBOARD_CHIP_ID_H

#include <stddef.h>
#include <stdint.h>

struct chip;

enum { CHIP_ID_MAX = 12 };

/* STM32: 96 bits of lot and wafer; others: the 64 bits of the flash chip or of the OTP. `node`
 * makes several chips of a kind differ. Returns the number of bytes. */
size_t vchip_id(uint8_t id[CHIP_ID_MAX], const struct chip *chip, unsigned node);

#endif
