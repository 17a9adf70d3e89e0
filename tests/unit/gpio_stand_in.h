/*
 * A stand-in for libgpiod, linked before it: one chip of 32 lines at GPIO_CHIP, of which line 5 is
 * another program's; GPIO_CLOSED_CHIP may not be opened. No kernel of a build machine has such
 * chips.
 */
#ifndef GPIO_STAND_IN_H
#define GPIO_STAND_IN_H

#include <stdbool.h>

#define GPIO_CHIP        "/dev/gpiochip-stand-in"
#define GPIO_CLOSED_CHIP "/dev/gpiochip-closed"
enum { GPIO_BUSY_LINE = 5, GPIO_LINES = 32, GPIO_MOVES_MAX = 512 };

/* "18=1 23=0 …": every level that was driven; "23." a line given back. */
extern char gpio_moves[GPIO_MOVES_MAX];

/* How many chips and lines are held now. */
extern int gpio_held;

/* What is wired to the lines; may be NULL. */
extern void (*gpio_wired)(unsigned line, bool high);

void gpio_forget(void);

#endif
