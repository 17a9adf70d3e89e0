/*
 * A firmware for an STM32F103 that the demo flashes: it blinks PC13 from SysTick and carries, as a
 * Klipper build does, a data dictionary that says what it is. Freestanding; its start address comes
 * from stm32f103.ld.
 *
 * DICTIONARY: the file with the dictionary's zlib stream (build-stm32f103 makes it).
 */
#include <stdint.h>

#define RCC_APB2ENR (*(volatile uint32_t *)0x40021018)
#define GPIOC_CRH   (*(volatile uint32_t *)0x40011004)
#define GPIOC_ODR   (*(volatile uint32_t *)0x4001100c)
#define SYST_CSR    (*(volatile uint32_t *)0xe000e010)
#define SYST_RVR    (*(volatile uint32_t *)0xe000e014)
#define SYST_CVR    (*(volatile uint32_t *)0xe000e018)

enum { STACK_TOP = 0x2000c000, TICKS = 8000000 / 100 };

static volatile uint32_t ticks;

extern const uint8_t dictionary[];
const uint8_t *const volatile identify_dictionary = dictionary;

__asm__(".section .rodata.dictionary\n"
        ".global dictionary\n"
        "dictionary: .incbin \"" DICTIONARY "\"\n"
        ".balign 4\n"
        /* A table that gives it a firmware's size. */
        ".set n, 0\n"
        ".rept 6000\n"
        ".word n * 2654435761 & 0xffffffff\n"
        ".set n, n + 1\n"
        ".endr\n"
        ".text\n");

void reset(void);
static void tick(void)
{
    ticks++;
}

static void halt(void)
{
    for (;;)
        continue;
}

__attribute__((section(".vectors"), used)) void (*const vectors[16])(void) = {
    (void (*)(void))STACK_TOP,
    reset,
    halt,
    halt,
    halt,
    halt,
    halt,
    0,
    0,
    0,
    0,
    halt,
    halt,
    0,
    halt,
    tick,
};

void reset(void)
{
    ticks = 0;
    RCC_APB2ENR |= 1u << 4; /* GPIOC */
    GPIOC_CRH = (GPIOC_CRH & ~(0xfu << 20)) | 2u << 20;
    SYST_RVR = TICKS - 1;
    SYST_CVR = 0;
    SYST_CSR = 7;
    for (uint32_t shown = 0;;) {
        if (ticks - shown < 50 || !*identify_dictionary)
            continue;
        shown = ticks;
        GPIOC_ODR ^= 1u << 13;
    }
}
