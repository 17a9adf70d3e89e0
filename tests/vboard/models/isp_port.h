/*
 * The programmer's side of an ISP cable: the pins that go to an AVR target, and the time that what
 * a programmer does there takes. Its time runs ahead of the line's while it carries out a command;
 * until the line has caught up the programmer is busy, and what it has to say waits.
 */
#ifndef VBOARD_ISP_PORT_H
#define VBOARD_ISP_PORT_H

#include <stddef.h>

#include "avr_target.h"

enum { ISP_ANSWER_MAX = 512 };

struct isp_answer {
    uint64_t at; /* microseconds: when the programmer puts it into its UART */
    uint8_t byte;
};

struct isp_port {
    struct avr_target target;
    uint64_t now; /* the programmer's time, microseconds */
    uint32_t ns;  /* and nanoseconds: a byte at full SCK is no whole number of microseconds */
    uint32_t sck_hz;
    struct isp_answer answers[ISP_ANSWER_MAX];
    size_t answer_first, answer_count;
};

/* The programmer begins something at the line's present; paced or not is the line's choice. */
void isp_begin(struct isp_port *port, const struct vline *line);

/* Time passes for the programmer: nothing at all on a line that is not paced. */
void isp_wait(struct isp_port *port, uint64_t microseconds);

/* True once the programmer's time is past `deadline`; unpaced at once, since waiting changes
 * nothing there. */
bool isp_expired(const struct isp_port *port, uint64_t deadline);

/* Exchanges one byte, or the four of an instruction; the latter returns the fourth answer. */
uint8_t isp_byte(struct isp_port *port, uint8_t mosi);
uint8_t isp_instruction(struct isp_port *port, uint8_t a, uint8_t b, uint8_t c, uint8_t d);

void isp_reset_pin(struct isp_port *port, bool low);

/* Sends a byte to the host at the programmer's present. More than fit are lost. */
void isp_send(struct isp_port *port, uint8_t byte);
void isp_send_all(struct isp_port *port, const uint8_t *bytes, size_t length);

/* For struct vserial_ops: when something is due, and what is done then. */
uint64_t isp_next(const struct isp_port *port, const struct vline *line);
void isp_tick(struct isp_port *port, struct vline *line);
bool isp_busy(const struct isp_port *port, const struct vline *line);

/* The programmer itself starts anew: nothing is left to say, and its pins float, so RESET is
 * high. */
void isp_restart(struct isp_port *port, const struct vline *line);

#endif
