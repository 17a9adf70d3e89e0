/*
 * SCK of Atmel's programmers by the value of their parameter SCK_DURATION. The same value means
 * another frequency on each: the STK500 counts its 7.3728 MHz oscillator (AVR068 §6), the AVRISP
 * one of half that, and the mkII looks up a table (AVR069).
 */
#ifndef MFLASH_AVR_ISP_SCK_H
#define MFLASH_AVR_ISP_SCK_H

#include <stdint.h>

enum sck_scale { SCALE_STK500, SCALE_AVRISP, SCALE_MK2 };

/* The fastest SCK not above `hz`: returns it in Hz, and the value to set in *duration. 0 if the
 * programmer cannot go that low. */
uint32_t sck_duration(enum sck_scale scale, uint32_t hz, uint8_t *duration);

#endif
