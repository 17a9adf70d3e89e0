/* See gpio_stand_in.h. What each function does and sets: gpiod.h of libgpiod 1.6. */
#include "gpio_stand_in.h"

#include <errno.h>
#include <gpiod.h>
#include <stdio.h>
#include <string.h>

struct gpiod_chip {
    bool open;
};

struct gpiod_line {
    unsigned number;
    bool requested;
};

char gpio_moves[GPIO_MOVES_MAX];
int gpio_held;
void (*gpio_wired)(unsigned line, bool high);

static struct gpiod_chip chip;
static struct gpiod_line lines[GPIO_LINES];

void gpio_forget(void)
{
    gpio_moves[0] = '\0';
    gpio_wired = NULL;
}

static void moved(const struct gpiod_line *line, const char *how)
{
    size_t used = strlen(gpio_moves);
    (void)snprintf(gpio_moves + used, sizeof gpio_moves - used, "%u%s ", line->number, how);
}

static int drive(const struct gpiod_line *line, int value)
{
    moved(line, value ? "=1" : "=0");
    if (gpio_wired)
        gpio_wired(line->number, value != 0);
    return 0;
}

struct gpiod_chip *gpiod_chip_open(const char *path)
{
    errno = strcmp(path, GPIO_CLOSED_CHIP) == 0 ? EACCES : ENOENT;
    if (strcmp(path, GPIO_CHIP) != 0)
        return NULL;
    gpio_held++;
    return &chip;
}

void gpiod_chip_close(struct gpiod_chip *closed)
{
    (void)closed;
    gpio_held--;
}

struct gpiod_line *gpiod_chip_get_line(struct gpiod_chip *of, unsigned int offset)
{
    (void)of;
    errno = EINVAL;
    if (offset >= GPIO_LINES)
        return NULL;
    lines[offset].number = offset;
    return &lines[offset];
}

int gpiod_line_request_output(struct gpiod_line *line, const char *consumer, int default_val)
{
    errno = consumer ? EBUSY : EINVAL;
    if (!consumer || line->requested || line->number == GPIO_BUSY_LINE)
        return -1;
    line->requested = true;
    gpio_held++;
    return drive(line, default_val);
}

int gpiod_line_set_value(struct gpiod_line *line, int value)
{
    errno = EPERM;
    return line->requested ? drive(line, value) : -1;
}

void gpiod_line_release(struct gpiod_line *line)
{
    if (!line->requested)
        return;
    line->requested = false;
    gpio_held--;
    moved(line, ".");
}
