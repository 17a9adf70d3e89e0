/*
 * USART0 of a simulated AVR. Defined by the chip's data sheet, "USART": a frame of 8N1 is ten bit
 * times, the receiver holds two bytes and a third in its shift register, and what comes after that
 * is lost. simavr counts eleven bit times and holds 64 bytes; both are corrected from outside.
 */
#include "mcu.h"

#include <string.h>

#include <simavr/sim_irq.h>
#include <simavr/sim_regbit.h>

enum { RECEIVER_DEPTH = 3, BITS_PER_FRAME = 10, SIMAVR_FIFO_MASK = 63 };

/* CPU cycles of one bit: UBRR + 1 times 16, or 8 with U2X. */
static uint32_t bit_cycles(const struct mcu *mcu)
{
    avr_t *avr = mcu->avr;
    const avr_uart_t *io = mcu->uart.io;
    uint32_t ubrr = avr_regbit_get(avr, io->ubrrl);

    ubrr |= (uint32_t)avr_regbit_get(avr, io->ubrrh) << 8;
    return (ubrr + 1) * (avr_regbit_get(avr, io->u2x) ? 8 : 16);
}

static uint32_t frame_cycles(const struct mcu *mcu)
{
    return bit_cycles(mcu) * BITS_PER_FRAME;
}

uint32_t uart_rate(const struct mcu *mcu)
{
    if (!avr_regbit_get(mcu->avr, mcu->uart.io->rxen))
        return 0;
    return CPU_HZ / bit_cycles(mcu);
}

/* Raised when the program writes UDR: simavr starts its own transmit timer right after this. */
static void on_transmit(struct avr_irq_t *irq, uint32_t value, void *param)
{
    struct mcu *mcu = param;

    (void)irq;
    mcu->uart.io->cycles_per_byte = frame_cycles(mcu);
    if (mcu->avr->pc >= mcu_boot_start(mcu)) /* an application may chat as it likes */
        mcu_note_activity(mcu);
    mcu->transmit(mcu->user, (uint8_t)value);
}

static avr_uart_t *find_usart0(avr_t *avr)
{
    for (avr_io_t *io = avr->io_port; io; io = io->next)
        if (io->kind && strcmp(io->kind, "uart") == 0 && ((avr_uart_t *)io)->name == '0')
            return (avr_uart_t *)io;
    return NULL;
}

bool uart_init(struct mcu *mcu)
{
    avr_t *avr = mcu->avr;
    uint32_t flags = 0;

    mcu->uart.io = find_usart0(avr);
    if (!mcu->uart.io)
        return false;
    /* Neither an echo on stdout, whose buffer simavr overruns, nor sleep while the program polls.
     */
    for (int name = '0'; name <= '3'; name++)
        avr_ioctl(avr, (uint32_t)AVR_IOCTL_UART_SET_FLAGS(name), &flags);
    mcu->uart.input = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT),
                            on_transmit, mcu);
    return true;
}

void uart_reset(struct mcu *mcu)
{
    mcu->uart.count = 0;
    mcu->uart.last_arrival = 0;
}

void uart_receive(struct mcu *mcu, avr_cycle_count_t when, uint8_t byte, bool framing_error)
{
    struct uart *uart = &mcu->uart;
    avr_cycle_count_t free_at = uart->last_arrival + frame_cycles(mcu);

    if (uart->count == UART_QUEUE)
        return;
    uart->last_arrival = when > free_at ? when : free_at;
    size_t slot = (uart->head + uart->count++) % UART_QUEUE;
    uart->queue[slot].when = uart->last_arrival;
    uart->queue[slot].byte = byte;
    uart->queue[slot].framing_error = framing_error;
}

/* simavr makes a byte readable one frame after it was given; here it has already been received. */
static void hand_over(struct mcu *mcu, uint32_t value)
{
    struct uart *uart = &mcu->uart;
    const uart_fifo_t *fifo = &uart->io->input;

    if (!avr_regbit_get(mcu->avr, uart->io->rxen))
        return;
    if (((fifo->write - fifo->read) & SIMAVR_FIFO_MASK) >= RECEIVER_DEPTH)
        return;
    uart->io->cycles_per_byte = 1;
    avr_raise_irq(uart->input, value);
    uart->io->cycles_per_byte = frame_cycles(mcu);
}

void uart_poll(struct mcu *mcu)
{
    struct uart *uart = &mcu->uart;

    while (uart->count > 0 && uart->queue[uart->head].when <= mcu->avr->cycle) {
        uint32_t value = uart->queue[uart->head].byte;
        if (uart->queue[uart->head].framing_error)
            value |= UART_INPUT_FE;
        uart->head = (uart->head + 1) % UART_QUEUE;
        uart->count--;
        mcu_note_activity(mcu);
        hand_over(mcu, value);
    }
}
