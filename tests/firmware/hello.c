/*
 * A firmware for the Arduino Mega 2560 (16 MHz) that the demo and the tests flash: it says hello on
 * USART0 at 115200 baud, four times a second, and carries a table so that it has a firmware's size.
 */
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <util/delay.h>

#define STRING_(x) #x
#define STRING(x)  STRING_(x)
#ifndef TABLE_KIB
#define TABLE_KIB 40
#endif

/* Filled by the assembler: a count, so that no page is blank and none is like another. */
extern const uint8_t table[] PROGMEM;
__asm__(".section .progmem.data\n"
        ".global table\n"
        "table:\n"
        ".set n, 0\n"
        ".rept 512 * " STRING(TABLE_KIB) "\n"
                                         ".word (n * 40503) & 0xffff\n"
                                         ".set n, n + 1\n"
                                         ".endr\n"
                                         ".text\n");

static void send(char c)
{
    while (!(UCSR0A & _BV(UDRE0)))
        continue;
    UDR0 = (uint8_t)c;
}

int main(void)
{
    UCSR0A = _BV(U2X0);
    UBRR0 = 16; /* 117647 baud, as the bootloader */
    UCSR0B = _BV(TXEN0);
    UCSR0C = _BV(UCSZ01) | _BV(UCSZ00);
    for (;;) {
        for (const char *c = "hello, this is the application\r\n"; *c; c++)
            send(*c);
        send((char)pgm_read_byte(&table[0]) == 0 ? '+' : '-');
        _delay_ms(250);
    }
}
