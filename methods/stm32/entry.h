/*
 * How a board's BOOT0 and NRST are moved from the host: a short string kept with the board (key
 * `sequence`), in the grammar of stm32flash's -i.
 *
 *     string   = [enter] [":" leave]
 *     sequence = { ["-"] signal | "," | "&" }
 *     signal   = "rts" | "dtr" | "brk" | number of a GPIO line
 *
 * A signal alone is active (for DTR and RTS of a TTL adapter: the pin goes low; for a GPIO line:
 * high), with "-" it is not. "," waits 100 ms, "&" separates without a wait. "brk" sends a break.
 */
#ifndef MFLASH_STM32_ENTRY_H
#define MFLASH_STM32_ENTRY_H

#include "link/gpio.h"
#include "method.h"

enum { ENTRY_STEPS_MAX = 32, ENTRY_LINES_MAX = 4, ENTRY_WAIT_US = 100 * MILLISECOND };

enum entry_signal { ENTRY_DTR, ENTRY_RTS, ENTRY_BREAK, ENTRY_GPIO, ENTRY_WAIT };

struct entry_step {
    enum entry_signal signal;
    bool active;
    unsigned line; /* of the GPIO chip */
};

struct entry_sequence {
    struct entry_step steps[ENTRY_STEPS_MAX];
    size_t count;
};

struct entry {
    struct entry_sequence enter, leave;
    const char *gpio_chip;                     /* "/dev/gpiochip0" */
    struct gpio_output lines[ENTRY_LINES_MAX]; /* taken, until they are given back */
    size_t line_count;
};

/* ERR_BOARDS_FILE with the place of what is wrong. NULL is an empty string. */
int entry_parse(struct entry *entry, const char *text, struct error *err);

/* Is there something to play, and every line it moves? */
bool entry_can_play(const struct session *session, const struct entry_sequence *sequence);

/* Moves the lines. A serial line without DTR and RTS is closed and opened instead, once. */
int entry_play(struct session *session, struct entry *entry, const struct entry_sequence *sequence,
               struct error *err);

/* Gives the GPIO lines back. */
void entry_release(struct entry *entry);

#endif
