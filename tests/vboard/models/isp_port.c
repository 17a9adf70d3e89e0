/* See isp_port.h. */
#include "isp_port.h"

#include "base/clock.h"

enum { NS_IN_SECOND = 1000000000, NS = 1000 };

void isp_begin(struct isp_port *port, const struct vline *line)
{
    port->target.paced = line->paced;
    if (port->now < line->now) {
        port->now = line->now;
        port->ns = 0;
    }
}

static void pass(struct isp_port *port, uint64_t nanoseconds)
{
    if (!port->target.paced)
        return;
    nanoseconds += port->ns;
    port->now += nanoseconds / NS;
    port->ns = (uint32_t)(nanoseconds % NS);
}

void isp_wait(struct isp_port *port, uint64_t microseconds)
{
    pass(port, microseconds * NS);
}

bool isp_expired(const struct isp_port *port, uint64_t deadline)
{
    return !port->target.paced || port->now >= deadline;
}

uint8_t isp_byte(struct isp_port *port, uint8_t mosi)
{
    pass(port, (uint64_t)NS_IN_SECOND * 8 / port->sck_hz);
    return avr_target_spi(&port->target, mosi, port->sck_hz, port->now);
}

uint8_t isp_instruction(struct isp_port *port, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    isp_byte(port, a);
    isp_byte(port, b);
    isp_byte(port, c);
    return isp_byte(port, d);
}

void isp_reset_pin(struct isp_port *port, bool low)
{
    avr_target_reset_pin(&port->target, low, port->now);
}

void isp_send(struct isp_port *port, uint8_t byte)
{
    size_t last = (port->answer_first + port->answer_count) % ISP_ANSWER_MAX;

    if (port->answer_count == ISP_ANSWER_MAX)
        return;
    port->answers[last] = (struct isp_answer){port->now, byte};
    port->answer_count++;
}

void isp_send_all(struct isp_port *port, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        isp_send(port, bytes[i]);
}

bool isp_busy(const struct isp_port *port, const struct vline *line)
{
    return line->now < port->now;
}

uint64_t isp_next(const struct isp_port *port, const struct vline *line)
{
    if (port->answer_count)
        return port->answers[port->answer_first].at;
    return isp_busy(port, line) ? port->now : UINT64_MAX;
}

void isp_tick(struct isp_port *port, struct vline *line)
{
    while (port->answer_count && port->answers[port->answer_first].at <= line->now) {
        uint8_t byte = port->answers[port->answer_first].byte;
        port->answer_first = (port->answer_first + 1) % ISP_ANSWER_MAX;
        port->answer_count--;
        line->send(line, byte);
    }
}

void isp_restart(struct isp_port *port, const struct vline *line)
{
    port->now = line->now;
    port->ns = 0;
    port->answer_count = 0;
    avr_target_reset_pin(&port->target, false, port->now);
}
