/* The serial programming instruction set of an AVR target. */
#ifndef VBOARD_AVR_INSTRUCTIONS_H
#define VBOARD_AVR_INSTRUCTIONS_H

#include "avr_target.h"

/* Carries out target->bytes at the end of its fourth byte; returns the byte shifted out during
 * that. */
uint8_t avr_instruction(struct avr_target *target);

/* The programmer did something that a data sheet forbids. `what` is a string literal. */
void avr_target_violate(struct avr_target *target, const char *what);

#endif
