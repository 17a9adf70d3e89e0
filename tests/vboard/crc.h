/* The checksum of Klipper blocks and Katapult packets: CCITT, reflected (0x8408), from 0xffff on.
 * Klipper sends it high byte first, Katapult low byte first. */
#ifndef VBOARD_CRC_H
#define VBOARD_CRC_H

#include <stddef.h>
#include <stdint.h>

uint16_t katapult_crc(const uint8_t *bytes, size_t length);

#endif
