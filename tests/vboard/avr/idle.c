/*
 * A program that waits for a flag is not worth simulating instruction by instruction: a computer
 * that cannot do so in real time would fall behind in the middle of a boot window. Such a loop is
 * known by two things: its instructions only look, and after one turn all registers are as before.
 * Then nothing can change until a timer is due or a byte arrives.
 */
#include "mcu.h"

#include <string.h>

#include <simavr/sim_core.h>

enum {
    LOOP_MAX = 6, /* instructions; optiboot's three wait loops have 3 to 5 */
    REGISTERS = 32,
};

struct registers {
    uint8_t general[REGISTERS];
    uint8_t status[8];
};

static struct registers registers_of(const avr_t *avr)
{
    struct registers now;

    memcpy(now.general, avr->data, sizeof now.general);
    memcpy(now.status, avr->sreg, sizeof now.status);
    return now;
}

/* Instruction set manual: the instructions that read, mask, compare and branch; none writes beyond
 * the registers. */
static bool only_looks(uint16_t opcode)
{
    static const struct {
        uint16_t mask, value;
    } looks[] = {
        {0xf800, 0xb000}, /* IN */
        {0xfe0f, 0x9000}, /* LDS */
        {0xfd00, 0x9900}, /* SBIC, SBIS */
        {0xfc08, 0xfc00}, /* SBRC, SBRS */
        {0xf800, 0xf000}, /* BRBS, BRBC */
        {0xf000, 0xc000}, /* RJMP */
        {0xf000, 0x7000}, /* ANDI */
        {0xf000, 0x3000}, /* CPI */
        {0xfc00, 0x2000}, /* AND, TST */
    };

    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++)
        if ((opcode & looks[i].mask) == looks[i].value)
            return true;
    return false;
}

/* Executes the instruction at the program counter, and only that. */
static bool look(avr_t *avr)
{
    uint16_t opcode = (uint16_t)(avr->flash[avr->pc] | avr->flash[avr->pc + 1] << 8);

    if (!only_looks(opcode))
        return false;
    avr->run_cycle_count = 1;
    avr->pc = avr_run_one(avr);
    return true;
}

bool idle_loop(struct mcu *mcu)
{
    avr_t *avr = mcu->avr;
    avr_flashaddr_t start = avr->pc;
    struct registers before = registers_of(avr);

    if (avr->state != cpu_Running || avr->interrupt_state)
        return false;
    for (unsigned i = 0; i < LOOP_MAX && avr->pc < mcu->code_end && look(avr); i++)
        if (avr->pc == start) {
            struct registers after = registers_of(avr);
            return memcmp(&before, &after, sizeof before) == 0;
        }
    return false;
}

avr_cycle_count_t idle_until(const struct mcu *mcu, avr_cycle_count_t until)
{
    const struct uart *uart = &mcu->uart;
    const avr_cycle_timer_slot_t *timer = mcu->avr->cycle_timers.timer;

    if (timer && timer->when < until)
        until = timer->when;
    if (uart->count > 0 && uart->queue[uart->head].when < until)
        until = uart->queue[uart->head].when;
    if (mcu->spm.busy_until && mcu->spm.busy_until < until)
        until = mcu->spm.busy_until;
    return until > mcu->avr->cycle ? until : mcu->avr->cycle;
}
