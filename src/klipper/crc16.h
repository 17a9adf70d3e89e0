/*
 * CRC-16/MCRF4XX: polynomial 0x1021 reflected, initial value 0xffff, no final xor ("123456789"
 * gives 0x6f91). Klipper's crc16_ccitt; a Klipper block stores it high byte first, a Katapult
 * packet low byte first.
 */
#ifndef MFLASH_CRC16_H
#define MFLASH_CRC16_H

#include <stddef.h>
#include <stdint.h>

uint16_t klipper_crc16(const uint8_t *bytes, size_t length);

#endif
