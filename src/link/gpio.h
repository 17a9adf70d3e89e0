/*
 * Lines of a GPIO chip of this machine as outputs, through libgpiod (1.6: the v1 API of Debian 12).
 * A line keeps its level until it is given back; what it does then is the driver's.
 */
#ifndef MFLASH_GPIO_H
#define MFLASH_GPIO_H

#include <stdbool.h>

#include "base/error.h"

struct gpio_output {
    const char *chip; /* "/dev/gpiochip0", for errors; the caller keeps it */
    unsigned number;  /* of the line on its chip */
    struct gpiod_chip *handle;
    struct gpiod_line *line;
};

/* Takes the line and drives it high or low. ERR_PERMISSION, ERR_BUSY (another program has it),
 * ERR_NO_DEVICE (no such chip, or no such line on it), ERR_FAILED. */
int gpio_output_open(struct gpio_output *output, const char *chip, unsigned number, bool high,
                     struct error *err);

int gpio_output_set(struct gpio_output *output, bool high, struct error *err);

void gpio_output_close(struct gpio_output *output);

#endif
