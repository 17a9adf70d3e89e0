/* See gpio.h. */
#include "link/gpio.h"

#include <errno.h>
#include <gpiod.h>
#include <string.h>

static int failed(const struct gpio_output *output, int why, struct error *err)
{
    enum error_code code = why == EACCES || why == EPERM    ? ERR_PERMISSION
                           : why == EBUSY                   ? ERR_BUSY
                           : why == ENOENT || why == EINVAL ? ERR_NO_DEVICE
                                                            : ERR_FAILED;
    error_set(err, code, "setting line %u of %s: %s", output->number, output->chip,
              why == EINVAL ? "there is no such line" : strerror(why));
    return error_hint(err, "`gpioinfo` lists chips and lines; the board's key `gpiochip` names "
                           "another chip");
}

int gpio_output_open(struct gpio_output *output, const char *chip, unsigned number, bool high,
                     struct error *err)
{
    *output = (struct gpio_output){.chip = chip, .number = number};
    output->handle = gpiod_chip_open(chip);
    if (output->handle)
        output->line = gpiod_chip_get_line(output->handle, number);
    if (output->line && gpiod_line_request_output(output->line, "mflash", high) == 0)
        return OK;
    int why = errno;
    output->line = NULL; /* it was not taken */
    gpio_output_close(output);
    return failed(output, why, err);
}

int gpio_output_set(struct gpio_output *output, bool high, struct error *err)
{
    return gpiod_line_set_value(output->line, high) == 0 ? OK : failed(output, errno, err);
}

void gpio_output_close(struct gpio_output *output)
{
    if (output->line)
        gpiod_line_release(output->line);
    if (output->handle)
        gpiod_chip_close(output->handle);
    output->line = NULL;
    output->handle = NULL;
}
