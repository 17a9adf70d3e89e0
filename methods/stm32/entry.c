/* See entry.h. */
#include "stm32/entry.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { RESET_US = 20 * MILLISECOND, BREAK_BAUD = 300, LINE_NUMBER_MAX = 1023 };

/* ---- the grammar ---- */

static bool parse_signal(const char **cursor, struct entry_step *step)
{
    static const struct {
        const char *name;
        enum entry_signal signal;
    } names[] = {{"dtr", ENTRY_DTR}, {"rts", ENTRY_RTS}, {"brk", ENTRY_BREAK}};
    if (isdigit((unsigned char)**cursor)) {
        char *end;
        unsigned long line = strtoul(*cursor, &end, 10);
        *cursor = end;
        step->signal = ENTRY_GPIO;
        step->line = (unsigned)line;
        return line <= LINE_NUMBER_MAX;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(*cursor, names[i].name, 3) == 0) {
            *cursor += 3;
            step->signal = names[i].signal;
            return true;
        }
    return false;
}

/* A signal with its sign, or a wait. */
static bool parse_step(const char **cursor, struct entry_step *step)
{
    if (**cursor == ',') {
        ++*cursor;
        step->signal = ENTRY_WAIT;
        return true;
    }
    step->active = **cursor != '-';
    *cursor += !step->active;
    return parse_signal(cursor, step);
}

int entry_parse(struct entry *entry, const char *text, struct error *err)
{
    struct entry_sequence *sequence = &entry->enter;
    entry->enter.count = entry->leave.count = 0;
    for (const char *cursor = text ? text : ""; *cursor;) {
        const char *begin = cursor;
        struct entry_step step = {.active = false};
        if (*cursor == ':' && sequence == &entry->enter) {
            sequence = &entry->leave;
            cursor++;
        } else if (*cursor == '&' || *cursor == ' ') {
            cursor++;
        } else if (sequence->count == ENTRY_STEPS_MAX || !parse_step(&cursor, &step)) {
            error_set(err, ERR_BOARDS_FILE, "sequence \"%s\": \"%.8s\" is %s", text, begin,
                      sequence->count == ENTRY_STEPS_MAX ? "one step too many" : "no signal");
            return error_hint(err, "signals are dtr, rts, brk and numbers of GPIO lines, each with "
                                   "or without -; a comma waits 100 ms; a colon begins the way "
                                   "out");
        } else {
            sequence->steps[sequence->count++] = step;
        }
    }
    return OK;
}

/* ---- moving lines ---- */

/* A line is taken when it is moved first, and kept until the end of the session. */
static int move_gpio(struct entry *entry, unsigned number, bool high, struct error *err)
{
    for (size_t i = 0; i < entry->line_count; i++)
        if (entry->lines[i].number == number)
            return gpio_output_set(&entry->lines[i], high, err);
    if (entry->line_count == ENTRY_LINES_MAX)
        return error_set(err, ERR_BOARDS_FILE, "a sequence can move %d GPIO lines at most",
                         ENTRY_LINES_MAX);
    int rc =
        gpio_output_open(&entry->lines[entry->line_count], entry->gpio_chip, number, high, err);
    entry->line_count += rc == OK;
    return rc;
}

/* A zero at a rate so low that it is a break at any other. */
static int send_break(struct serial *serial, struct error *err)
{
    const struct serial_settings before = serial->settings;
    const uint8_t zero = 0;
    int rc = serial_set_baud(serial, BREAK_BAUD, err);
    if (rc == OK)
        rc = serial_write(serial, &zero, 1, err);
    if (rc == OK)
        serial->clock->sleep_until(serial->clock,
                                   clock_in(serial->clock, serial_wire_time(serial, 1)));
    return rc == OK ? serial_configure(serial, &before, err) : rc;
}

static int move(struct session *session, struct entry *entry, const struct entry_step *step,
                struct error *err)
{
    struct serial *serial = session->serial;
    switch (step->signal) {
    case ENTRY_DTR:
        return serial_set_lines(serial, step->active, serial->rts, err);
    case ENTRY_RTS:
        return serial_set_lines(serial, serial->dtr, step->active, err);
    case ENTRY_BREAK:
        return step->active ? send_break(serial, err) : OK;
    case ENTRY_GPIO:
        return move_gpio(entry, step->line, step->active, err);
    case ENTRY_WAIT:
        break;
    }
    serial->clock->sleep_until(serial->clock, clock_in(serial->clock, ENTRY_WAIT_US));
    return OK;
}

static bool is_modem_line(const struct entry_step *step)
{
    return step->signal == ENTRY_DTR || step->signal == ENTRY_RTS;
}

bool entry_can_play(const struct session *session, const struct entry_sequence *sequence)
{
    bool can = sequence->count > 0;
    for (size_t i = 0; i < sequence->count; i++)
        can = can && (!is_modem_line(&sequence->steps[i]) || session->serial->ops->set_lines);
    return can;
}

int entry_play(struct session *session, struct entry *entry, const struct entry_sequence *sequence,
               struct error *err)
{
    bool reopened = false;
    for (size_t i = 0; i < sequence->count; i++) {
        const struct entry_step *step = &sequence->steps[i];
        int rc = OK;
        if (!is_modem_line(step) || session->serial->ops->set_lines)
            rc = move(session, entry, step, err);
        else if (!reopened)
            rc = serial_pulse_reset(session->serial, RESET_US, err);
        reopened |= is_modem_line(step);
        if (rc != OK) {
            error_context(err, "bringing the chip into its boot loader");
            return rc;
        }
    }
    return OK;
}

void entry_release(struct entry *entry)
{
    while (entry->line_count > 0)
        gpio_output_close(&entry->lines[--entry->line_count]);
}
