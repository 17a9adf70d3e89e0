/* See isp_sck.h. */
#include "avr/isp_sck.h"

static uint32_t sck_by_division(uint32_t oscillator, unsigned duration)
{
    static const uint32_t divisors[] = {4, 16, 64, 128};
    return oscillator / (duration < 4 ? divisors[duration] : 24 * duration + 20);
}

/* Slower entries of AVR069's table are closer together, and not needed. */
static uint32_t sck_by_table(unsigned duration)
{
    static const uint32_t table[] = {8000000, 4000000, 2000000, 1000000, 500000, 250000, 125000};
    return duration < sizeof table / sizeof table[0] ? table[duration] : 0;
}

static uint32_t sck_of(enum sck_scale scale, unsigned duration)
{
    switch (scale) {
    case SCALE_MK2:
        return sck_by_table(duration);
    case SCALE_AVRISP:
        return sck_by_division(3686400, duration);
    default:
        return sck_by_division(7372800, duration);
    }
}

uint32_t sck_duration(enum sck_scale scale, uint32_t hz, uint8_t *duration)
{
    enum { LONGEST = 254 };
    for (unsigned n = 0; n <= LONGEST; n++) {
        uint32_t sck = sck_of(scale, n);
        if (sck <= hz) {
            *duration = (uint8_t)n;
            return sck;
        }
    }
    return 0;
}
