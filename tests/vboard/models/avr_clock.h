/*
 * Which clock an AVR runs on, by the low fuse: it bounds how fast a programmer may clock it. The
 * board has a 16 MHz crystal and nothing that drives XTAL1.
 */
#ifndef VBOARD_AVR_CLOCK_H
#define VBOARD_AVR_CLOCK_H

#include <stdint.h>

#include "board/chip.h"

/* Hz; 0 = the chip has no clock and answers nobody. */
uint32_t avr_clock_hz(const struct chip *chip, uint8_t lfuse);

/* Half a period of SCK must be longer than 2 CPU clocks, than 3 from 12 MHz on (data sheets,
 * "Serial Programming"): SCK must stay below this, in Hz. */
uint32_t avr_clock_sck_limit(uint32_t clock_hz);

#endif
