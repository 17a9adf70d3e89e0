/*
 * A programmer on a serial port (Atmel's STK500 starter kit, AVRISP and their clones) with a bare
 * AVR behind it. Atmel AVR068, §4 protocol layer:
 *
 *     1B sequence sizeH sizeL 0E body[size] xor
 *
 * The receiver has no time-out and one buffer: what comes in while a command is carried out is lost
 * but for the bytes that the UART holds. A port that is opened resets nothing here.
 */
#include "isp_programmer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_START = 0x1b, TOKEN = 0x0e, ANSWER_CHECKSUM_ERROR = 0xb0 };

enum { UART_DEPTH = 3 }; /* two buffered, one in the shift register: AVR data sheets, "USART" */

static const struct programmer_kind kinds[] = {
    {"stk500", "STK500_2", 7372800, true},
    {"avrisp", "AVRISP_2", 3686400, false},
};

static struct isp_programmer *programmer_of(struct vserial *dev)
{
    return (struct isp_programmer *)dev;
}

static void send_answer(struct isp_programmer *programmer)
{
    size_t length = programmer->answer_length;
    uint8_t head[5] = {MESSAGE_START, programmer->sequence, (uint8_t)(length >> 8), (uint8_t)length,
                       TOKEN};
    uint8_t checksum = 0;

    for (size_t i = 0; i < sizeof head; i++)
        checksum ^= head[i];
    for (size_t i = 0; i < length; i++)
        checksum ^= programmer->answer[i];
    isp_send_all(&programmer->port, head, sizeof head);
    isp_send_all(&programmer->port, programmer->answer, length);
    isp_send(&programmer->port, checksum);
}

static void answer_message(struct isp_programmer *programmer, bool intact)
{
    isp_begin(&programmer->port, programmer->dev.line);
    if (!intact) {
        programmer->answer[0] = ANSWER_CHECKSUM_ERROR;
        programmer->answer[1] = STATUS_CHECKSUM;
        programmer->answer_length = 2;
    } else if (++programmer->messages == programmer->faults.nak) {
        isp_answer(programmer, STATUS_FAILED);
    } else {
        isp_command(programmer);
    }
    send_answer(programmer);
    isp_tick(&programmer->port, programmer->dev.line);
}

/* A size that no message can have is noise. */
static enum receiver_state after_size(const struct isp_programmer *programmer)
{
    return programmer->size >= 1 && programmer->size <= ISP_BODY_MAX ? AT_TOKEN : AT_START;
}

static enum receiver_state take(struct isp_programmer *programmer, uint8_t byte)
{
    switch (programmer->state) {
    case AT_START:
        programmer->checksum = byte;
        return byte == MESSAGE_START ? AT_SEQUENCE : AT_START;
    case AT_SEQUENCE:
        programmer->sequence = byte;
        return AT_SIZE_HIGH;
    case AT_SIZE_HIGH:
        programmer->size = (size_t)byte << 8;
        return AT_SIZE_LOW;
    case AT_SIZE_LOW:
        programmer->size |= byte;
        programmer->got = 0;
        return after_size(programmer);
    case AT_TOKEN:
        return byte == TOKEN ? AT_BODY : AT_START;
    case AT_BODY:
        programmer->body[programmer->got++] = byte;
        return programmer->got < programmer->size ? AT_BODY : AT_CHECKSUM;
    case AT_CHECKSUM:
        answer_message(programmer, byte == programmer->checksum);
        break;
    }
    return AT_START;
}

static void receive(struct vserial *dev, uint8_t byte)
{
    struct isp_programmer *programmer = programmer_of(dev);
    enum receiver_state state = programmer->state;

    programmer->state = take(programmer, byte);
    if (state != AT_START && state != AT_CHECKSUM)
        programmer->checksum ^= byte;
}

static void reset(struct vserial *dev, enum vreset cause)
{
    struct isp_programmer *programmer = programmer_of(dev);

    if (cause == VRESET_POWER) { /* the target hangs on the programmer's supply */
        avr_target_power_on(&programmer->port.target);
        programmer->messages = 0;
    }
    isp_restart(&programmer->port, dev->line);
    programmer->state = AT_START;
    isp_commands_reset(programmer);
}

static uint64_t next(const struct vserial *dev)
{
    return isp_next(&((const struct isp_programmer *)dev)->port, dev->line);
}

static void tick(struct vserial *dev)
{
    isp_tick(&programmer_of(dev)->port, dev->line);
}

static bool busy(const struct vserial *dev)
{
    const struct isp_port *port = &((const struct isp_programmer *)dev)->port;

    return isp_busy(port, dev->line) || dev->line->sending(dev->line);
}

static void destroy(struct vserial *dev)
{
    free(programmer_of(dev));
}

static const struct vserial_ops ops = {
    .reset = reset,
    .receive = receive,
    .next = next,
    .tick = tick,
    .busy = busy,
    .destroy = destroy,
};

static const struct programmer_kind *find_kind(const char *variant)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (!variant || strcmp(variant, kinds[i].variant) == 0)
            return &kinds[i];
    return NULL;
}

static struct vserial *create(const struct vconfig *config)
{
    const struct programmer_kind *kind = find_kind(config->variant);
    struct isp_programmer *programmer = calloc(1, sizeof *programmer);

    if (!kind || !programmer || !avr_target_init(&programmer->port.target, config)) {
        fprintf(stderr, "vboard: no ISP programmer '%s' for %s\n",
                config->variant ? config->variant : kinds[0].variant, config->chip->name);
        free(programmer);
        return NULL;
    }
    programmer->dev = (struct vserial){.ops = &ops, .baud = 115200, .rx_depth = UART_DEPTH};
    programmer->kind = kind;
    programmer->faults = config->faults;
    isp_commands_reset(programmer);
    return &programmer->dev;
}

const struct vmodel vmodel_stk500_programmer = {
    .name = "stk500-programmer",
    .method = "isp",
    .chips = avr_target_chips,
    .baud = 115200,
    .fresh = true,
    .proof = "avrdude -c stk500v2, avrdude -c avrispv2",
    .create = create,
};
