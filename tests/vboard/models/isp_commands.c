/*
 * STK500v2 commands as an ISP programmer carries them out. Atmel AVR068, §5.1 general commands,
 * §5.2 ISP commands, §5.7 parameters.
 *
 * The host sends the target's instructions inside its commands: the programmer shifts them out and
 * adds waits and polling. It knows no chip.
 */
#include "isp_programmer.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

enum {
    COMMAND_SIGN_ON = 0x01,
    COMMAND_SET_PARAMETER = 0x02,
    COMMAND_GET_PARAMETER = 0x03,
    COMMAND_LOAD_ADDRESS = 0x06,
    COMMAND_ENTER = 0x10,
    COMMAND_LEAVE = 0x11,
    COMMAND_CHIP_ERASE = 0x12,
    COMMAND_PROGRAM_FUSE = 0x17,
    COMMAND_READ_FUSE = 0x18,
    COMMAND_PROGRAM_LOCK = 0x19,
    COMMAND_READ_LOCK = 0x1a,
    COMMAND_READ_SIGNATURE = 0x1b,
    COMMAND_READ_OSCCAL = 0x1c,
    COMMAND_SPI_MULTI = 0x1d,
};

/* Parameters (AVR068 §5.7). */
enum {
    PARAMETER_FIRST = 0x80,
    PARAMETER_SCK_DURATION = 0x98,
    PARAMETER_RESET_POLARITY = 0x9e, /* 1: RESET is active low, as on every AVR */
};

/* Who may change a parameter, and who has it at all. */
enum { READ_ONLY = 0, WRITABLE = 1, KIT_WRITES = 2, KIT_ONLY = 4 };

struct parameter {
    uint8_t id, flags, initial;
};

static const struct parameter parameters[] = {
    {0x80, READ_ONLY, 0},                  /* build number, low */
    {0x81, READ_ONLY, 0},                  /* build number, high */
    {0x90, READ_ONLY, 2},                  /* hardware version */
    {0x91, READ_ONLY, 2},                  /* firmware version, major */
    {0x92, READ_ONLY, 10},                 /* firmware version, minor */
    {0x94, KIT_WRITES, 50},                /* target voltage, in 0.1 V */
    {0x95, KIT_WRITES | KIT_ONLY, 50},     /* AREF voltage, in 0.1 V */
    {0x96, KIT_WRITES | KIT_ONLY, 1},      /* prescaler of the clock output */
    {0x97, KIT_WRITES | KIT_ONLY, 1},      /* compare value of the clock output */
    {PARAMETER_SCK_DURATION, WRITABLE, 2}, /* see set_sck */
    {0x9a, KIT_ONLY, 0xff},                /* top card: none */
    {0x9c, READ_ONLY, 0},                  /* state of the parallel programming port */
    {PARAMETER_RESET_POLARITY, WRITABLE, 1},
    {0x9f, WRITABLE, 0}, /* for the host to see a power cycle by */
};

static const struct parameter *find_parameter(const struct isp_programmer *programmer, uint8_t id)
{
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
        if (parameters[i].id == id)
            return (parameters[i].flags & KIT_ONLY) && !programmer->kind->starter_kit
                       ? NULL
                       : &parameters[i];
    return NULL;
}

static bool may_write(const struct isp_programmer *programmer, const struct parameter *parameter)
{
    return (parameter->flags & WRITABLE) ||
           ((parameter->flags & KIT_WRITES) && programmer->kind->starter_kit);
}

static uint8_t *value_of(struct isp_programmer *programmer, uint8_t id)
{
    return &programmer->parameters[id - PARAMETER_FIRST];
}

/* AVR068 §5.7: 0 … 3 are the hardware's own rates, from 4 on a loop of 24 cycles a unit. */
static void set_sck(struct isp_programmer *programmer)
{
    static const uint32_t divisors[] = {4, 16, 64, 128};
    uint8_t duration = *value_of(programmer, PARAMETER_SCK_DURATION);
    uint32_t cycles = duration < 4 ? divisors[duration] : 24u * duration + 20;

    programmer->port.sck_hz = programmer->kind->oscillator_hz / cycles;
}

void isp_commands_reset(struct isp_programmer *programmer)
{
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
        *value_of(programmer, parameters[i].id) = parameters[i].initial;
    set_sck(programmer);
    programmer->programming = false;
}

void isp_answer(struct isp_programmer *programmer, uint8_t status)
{
    programmer->answer[0] = programmer->body[0];
    programmer->answer[1] = status;
    programmer->answer_length = 2;
}

/* ---- general commands ---- */

static void sign_on(struct isp_programmer *programmer)
{
    size_t length = strlen(programmer->kind->sign_on);

    isp_answer(programmer, STATUS_OK);
    programmer->answer[2] = (uint8_t)length;
    memcpy(programmer->answer + 3, programmer->kind->sign_on, length);
    programmer->answer_length = 3 + length;
}

static void set_parameter(struct isp_programmer *programmer)
{
    const struct parameter *parameter = find_parameter(programmer, programmer->body[1]);

    if (!parameter || !may_write(programmer, parameter)) {
        isp_answer(programmer, STATUS_FAILED);
        return;
    }
    *value_of(programmer, parameter->id) = programmer->body[2];
    set_sck(programmer);
    isp_answer(programmer, STATUS_OK);
}

static void get_parameter(struct isp_programmer *programmer)
{
    const struct parameter *parameter = find_parameter(programmer, programmer->body[1]);

    isp_answer(programmer, parameter ? STATUS_OK : STATUS_FAILED);
    if (parameter)
        programmer->answer[programmer->answer_length++] = *value_of(programmer, parameter->id);
}

static void load_address(struct isp_programmer *programmer)
{
    uint32_t address = get_be32(programmer->body + 1);

    programmer->extended = address >> 31;
    programmer->address = address & 0x7fffffff;
    programmer->bank = UINT32_MAX;
    isp_answer(programmer, STATUS_OK);
}

/* ---- programming mode ---- */

static void assert_reset(struct isp_programmer *programmer, bool asserted)
{
    bool active_low = *value_of(programmer, PARAMETER_RESET_POLARITY) == 1;

    isp_reset_pin(&programmer->port, asserted == active_low);
}

static void wait_ms(struct isp_programmer *programmer, unsigned milliseconds)
{
    isp_wait(&programmer->port, (uint64_t)milliseconds * MILLISECOND);
}

/* ENTER: timeout stabDelay cmdexeDelay synchLoops byteDelay pollValue pollIndex cmd1 … cmd4.
 * pollIndex counts received bytes from 1; 0 looks at none. */
static bool try_to_enter(struct isp_programmer *programmer)
{
    const uint8_t *body = programmer->body;
    uint8_t poll_value = body[6], poll_index = body[7], received[4];

    wait_ms(programmer, body[3]);
    for (size_t i = 0; i < 4; i++) {
        received[i] = isp_byte(&programmer->port, body[8 + i]);
        wait_ms(programmer, body[5]);
    }
    return poll_index == 0 || received[poll_index - 1] == poll_value;
}

static bool enter_by_loops(struct isp_programmer *programmer)
{
    for (unsigned loop = 0; loop < programmer->body[4]; loop++) {
        if (try_to_enter(programmer))
            return true;
        assert_reset(programmer, false);
        wait_ms(programmer, 1);
        assert_reset(programmer, true);
    }
    return false;
}

static void enter(struct isp_programmer *programmer)
{
    const uint8_t *body = programmer->body;

    programmer->programming = false;
    programmer->bank = UINT32_MAX;
    if (body[7] > 4) {
        isp_answer(programmer, STATUS_ILLEGAL_PARAM);
        return;
    }
    if (body[2] + body[3] + 4u * body[5] > body[1]) { /* the delays alone take longer */
        isp_answer(programmer, STATUS_TIMEOUT);
        return;
    }
    assert_reset(programmer, false);
    wait_ms(programmer, 1);
    assert_reset(programmer, true);
    wait_ms(programmer, body[2]);
    programmer->programming = enter_by_loops(programmer);
    if (!programmer->programming)
        assert_reset(programmer, false);
    isp_answer(programmer, programmer->programming ? STATUS_OK : STATUS_FAILED);
}

static void leave(struct isp_programmer *programmer)
{
    wait_ms(programmer, programmer->body[1]);
    assert_reset(programmer, false);
    wait_ms(programmer, programmer->body[2]);
    programmer->programming = false;
    isp_answer(programmer, STATUS_OK);
}

/* ---- commands of single instructions ---- */

static uint8_t shift_out(struct isp_programmer *programmer, const uint8_t cmd[4])
{
    return isp_instruction(&programmer->port, cmd[0], cmd[1], cmd[2], cmd[3]);
}

bool isp_await_ready(struct isp_programmer *programmer, unsigned limit)
{
    struct isp_port *port = &programmer->port;
    uint64_t deadline = port->now + (uint64_t)limit * MILLISECOND;

    while (isp_instruction(port, 0xf0, 0, 0, 0) & 1)
        if (isp_expired(port, deadline))
            return false;
    return true;
}

/* eraseDelay pollMethod cmd1 … cmd4. */
static void chip_erase(struct isp_programmer *programmer)
{
    const uint8_t *body = programmer->body;
    uint8_t status = STATUS_OK;

    shift_out(programmer, body + 3);
    if (body[2] == 0)
        wait_ms(programmer, body[1]);
    else if (!isp_await_ready(programmer, body[1]))
        status = STATUS_RDY_BSY_TIMEOUT;
    isp_answer(programmer, status);
}

/* cmd1 … cmd4. No wait follows: that is the host's business. */
static void program_fuse(struct isp_programmer *programmer)
{
    shift_out(programmer, programmer->body + 1);
    isp_answer(programmer, STATUS_OK);
    programmer->answer[programmer->answer_length++] = STATUS_OK;
}

/* RetAddr cmd1 … cmd4; RetAddr counts received bytes from 1. */
static void read_single(struct isp_programmer *programmer)
{
    const uint8_t *body = programmer->body;
    uint8_t received[4];

    if (body[1] < 1 || body[1] > 4) {
        isp_answer(programmer, STATUS_ILLEGAL_PARAM);
        return;
    }
    for (size_t i = 0; i < 4; i++)
        received[i] = isp_byte(&programmer->port, body[2 + i]);
    isp_answer(programmer, STATUS_OK);
    programmer->answer[programmer->answer_length++] = received[body[1] - 1];
    programmer->answer[programmer->answer_length++] = STATUS_OK;
}

/* NumTx NumRx RxStartAddr data: received bytes are kept from RxStartAddr (from 0) on; zeros are
 * sent where more is to be received than sent. */
static void spi_multi(struct isp_programmer *programmer)
{
    const uint8_t *body = programmer->body;
    size_t sent = body[1], kept = body[2], start = body[3];
    size_t total = start + kept > sent ? start + kept : sent;

    if (programmer->size != 4 + sent || kept + 3 > ISP_BODY_MAX) {
        isp_answer(programmer, STATUS_ILLEGAL_PARAM);
        return;
    }
    if (kept == 0)
        total = sent;
    isp_answer(programmer, STATUS_OK);
    for (size_t i = 0; i < total; i++) {
        uint8_t received = isp_byte(&programmer->port, i < sent ? body[4 + i] : 0);
        if (i >= start && i < start + kept)
            programmer->answer[programmer->answer_length++] = received;
    }
    programmer->answer[programmer->answer_length++] = STATUS_OK;
}

struct command {
    uint8_t id;
    uint8_t size;     /* least bytes of a body, the command itself included */
    bool programming; /* only in programming mode */
    void (*execute)(struct isp_programmer *programmer);
};

static const struct command commands[] = {
    {COMMAND_SIGN_ON, 1, false, sign_on},
    {COMMAND_SET_PARAMETER, 3, false, set_parameter},
    {COMMAND_GET_PARAMETER, 2, false, get_parameter},
    {COMMAND_LOAD_ADDRESS, 5, false, load_address},
    {COMMAND_ENTER, 12, false, enter},
    {COMMAND_LEAVE, 3, false, leave},
    {COMMAND_CHIP_ERASE, 7, true, chip_erase},
    {COMMAND_PROGRAM_FLASH, 11, true, isp_program_memory},
    {COMMAND_READ_FLASH, 4, true, isp_read_memory},
    {COMMAND_PROGRAM_EEPROM, 11, true, isp_program_memory},
    {COMMAND_READ_EEPROM, 4, true, isp_read_memory},
    {COMMAND_PROGRAM_FUSE, 5, true, program_fuse},
    {COMMAND_READ_FUSE, 6, true, read_single},
    {COMMAND_PROGRAM_LOCK, 5, true, program_fuse},
    {COMMAND_READ_LOCK, 6, true, read_single},
    {COMMAND_READ_SIGNATURE, 6, true, read_single},
    {COMMAND_READ_OSCCAL, 6, true, read_single},
    {COMMAND_SPI_MULTI, 4, false, spi_multi},
};

void isp_command(struct isp_programmer *programmer)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct command *command = &commands[i];
        if (command->id != programmer->body[0])
            continue;
        if (programmer->size < command->size || (command->programming && !programmer->programming))
            isp_answer(programmer, STATUS_FAILED);
        else
            command->execute(programmer);
        return;
    }
    isp_answer(programmer, STATUS_UNKNOWN);
}
