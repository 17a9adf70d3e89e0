/*
 * The Arduino M0's loader (SAMD21, "mzero"): STK500v2 frames over USB CDC that claim an ATmega2560.
 *
 * Two things to know: nothing but CHIP_ERASE erases, and addresses are absolute: what lies below
 * 4000 belongs to the loader, is acknowledged and dropped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "flash.h"
#include "stk500v2.h"

enum {
    APPLICATION_START = 0x4000,
    ROW = 256,
    BLOCK_MAX = 256,
    BODY_LIMIT = 286,
    READ_LIMIT = BODY_LIMIT - 3,
    STAY = 8 * SECOND, /* without a command, then the application */
    LEAVE_WAIT = 500 * MILLISECOND,
    ENUMERATION = 500 * MILLISECOND, /* off the bus between loader and application */
    TOUCH_WAIT = 250 * MILLISECOND,  /* Arduino's core, from the closing of the port at 1200 baud */
    /* SAM D21 data sheet, NVM characteristics: row erase 6 ms, page of 64 bytes 2.5 ms at most. */
    ROW_ERASE = 6000,
    ROW_WRITE = 4 * 2500,
};

enum state { LOADER, PROGRAMMING, LEAVING, DERAILED, APPLICATION, TOUCHED };

struct m0 {
    struct vserial serial; /* first */
    struct vmemory flash;
    struct vfaults faults;
    bool arduino_core; /* the application knows the 1200-baud touch */
    enum state state;
    uint64_t until;
    unsigned answered;
    bool fresh; /* nothing has happened since it was made: power-on changes nothing */
    struct v2_parser parser;
    uint32_t address;
};

static struct m0 *m0_of(struct vserial *dev)
{
    return (struct m0 *)dev;
}

static uint64_t now_of(const struct m0 *m)
{
    return m->serial.line ? m->serial.line->now : m->serial.parked;
}

/* ---- life ---- */

static void change(struct m0 *m, enum state state, uint64_t until)
{
    m->state = state;
    m->until = until;
}

static bool has_application(const struct m0 *m)
{
    return !vmemory_blank(&m->flash, APPLICATION_START, APPLICATION_START + 4);
}

static void enter_loader(struct m0 *m, uint64_t at)
{
    m->parser = (struct v2_parser){.limit = BODY_LIMIT};
    m->address = 0;
    change(m, LOADER, has_application(m) ? at + STAY : UINT64_MAX);
}

/* Loader and application are two USB devices: the one goes, the other comes. */
static void restart(struct m0 *m, bool loader)
{
    uint64_t back = now_of(m) + ENUMERATION;
    if (m->serial.line && m->serial.line->detach)
        m->serial.line->detach(m->serial.line, back);
    if (loader || !has_application(m))
        enter_loader(m, back);
    else
        change(m, APPLICATION, UINT64_MAX);
}

static void m0_reset(struct vserial *dev, enum vreset cause)
{
    struct m0 *m = m0_of(dev);
    if (!m->fresh || cause != VRESET_POWER)
        restart(m, cause != VRESET_POWER);
    m->fresh = false;
}

static void stay(struct m0 *m)
{
    if (m->state == LOADER && m->until != UINT64_MAX)
        m->until = now_of(m) + STAY;
}

/* ---- answers ---- */

static void answer(struct m0 *m, uint8_t *body, size_t length)
{
    if (++m->answered == m->faults.nak) {
        body[0] = m->parser.body[0];
        body[1] = V2_FAILED;
        length = 2;
    }
    v2_reply(&m->parser, m->serial.line, body, length);
}

static void answer_status(struct m0 *m)
{
    answer(m, (uint8_t[]){m->parser.body[0], V2_OK}, 2);
}

static void answer_nothing(struct m0 *m)
{
    uint8_t room[2] = {0};
    answer(m, room, 0);
}

static uint8_t signature_byte(const struct m0 *m, uint8_t index)
{
    static const uint8_t atmega2560[] = {0x1e, 0x98, 0x01}, other[] = {0x1e, 0x97, 0x03};
    return (m->faults.wrong_id ? other : atmega2560)[index > 2 ? 2 : index];
}

static uint8_t parameter_value(uint8_t parameter)
{
    static const uint8_t values[][2] = {{0x80, 1}, {0x81, 2}, {0x90, 3}, {0x91, 4}, {0x92, 5}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (values[i][0] == parameter)
            return values[i][1];
    return 0;
}

/* ---- memory ---- */

static bool is_application(const struct m0 *m, uint64_t address)
{
    return address >= APPLICATION_START && address < m->flash.size;
}

static void read_flash(struct m0 *m)
{
    size_t length = get_be16(m->parser.body + 1);
    uint8_t body[BODY_LIMIT] = {V2_READ_FLASH, V2_OK};
    if (length > READ_LIMIT) {
        answer_nothing(m);
        return;
    }
    for (size_t i = 0; i < length; i++, m->address++)
        body[2 + i] = is_application(m, m->address) ? vmemory_byte(&m->flash, m->address) : 0xff;
    body[2 + length] = V2_OK;
    answer(m, body, length + 3);
}

static void program(struct m0 *m, uint64_t time)
{
    bool paced = m->serial.line->paced;
    change(m, PROGRAMMING, now_of(m) + (paced ? time : 0));
}

static void erase_application(struct m0 *m)
{
    if (!m->faults.locked)
        vmemory_erase(&m->flash, APPLICATION_START, m->flash.size - APPLICATION_START);
}

static void write_block(struct m0 *m)
{
    size_t length = get_be16(m->parser.body + 1);
    if (length > BLOCK_MAX)
        length = BLOCK_MAX;
    for (size_t i = 0; i < length; i++, m->address++)
        if (is_application(m, m->address) && !m->faults.locked)
            vmemory_program(&m->flash, m->address, &m->parser.body[10 + i], 1);
}

static void finish_programming(struct m0 *m)
{
    if (m->parser.body[0] == V2_CHIP_ERASE)
        erase_application(m);
    else
        write_block(m);
    change(m, LOADER, has_application(m) ? now_of(m) + STAY : UINT64_MAX);
    answer_status(m);
}

/* ---- commands ---- */

static void sign_on(struct m0 *m)
{
    uint8_t body[] = {V2_SIGN_ON, V2_OK, 8, 'A', 'V', 'R', 'I', 'S', 'P', '_', '2'};
    answer(m, body, sizeof body);
}

static void spi_multi(struct m0 *m)
{
    const uint8_t *c = m->parser.body + 4;
    uint8_t value = c[0] == 0x30 ? signature_byte(m, c[2]) : 0;
    answer(m, (uint8_t[]){V2_SPI_MULTI, V2_OK, 0, c[0], 0, value, V2_OK}, 7);
}

static void execute(struct m0 *m)
{
    const uint8_t *body = m->parser.body;
    switch (body[0]) {
    case V2_SIGN_ON:
        sign_on(m);
        break;
    case V2_SET_PARAMETER:
    case V2_ENTER_PROGMODE:
        answer_status(m);
        break;
    case V2_GET_PARAMETER:
        answer(m, (uint8_t[]){body[0], V2_OK, parameter_value(body[1])}, 3);
        break;
    case V2_LOAD_ADDRESS:
        m->address = get_be32(body + 1) << 1;
        answer_status(m);
        break;
    case V2_LEAVE_PROGMODE:
        answer_status(m);
        change(m, LEAVING, now_of(m) + LEAVE_WAIT);
        break;
    case V2_CHIP_ERASE:
        program(m, (m->flash.size - APPLICATION_START) / ROW * ROW_ERASE);
        break;
    case V2_PROGRAM_FLASH:
        program(m, ROW_WRITE);
        break;
    case V2_READ_FLASH:
        read_flash(m);
        break;
    case V2_READ_SIGNATURE:
        answer(m, (uint8_t[]){body[0], V2_OK, signature_byte(m, body[4]), V2_OK}, 4);
        break;
    case V2_SPI_MULTI:
        spi_multi(m);
        break;
    default: /* EEPROM, fuses, lock and whatever it does not know */
        answer_nothing(m);
        break;
    }
}

static void m0_receive(struct vserial *dev, uint8_t byte)
{
    struct m0 *m = m0_of(dev);
    m->fresh = false;
    if (m->state != LOADER)
        return;
    stay(m);
    enum v2_heard heard = v2_hear(&m->parser, byte);
    if (heard == V2_DERAILED)
        change(m, DERAILED, UINT64_MAX);
    else if (heard == V2_FRAME)
        execute(m);
}

static bool m0_busy(const struct vserial *dev)
{
    return ((const struct m0 *)dev)->state == PROGRAMMING;
}

/* Arduino's core restarts into the loader when the port is closed at 1200 baud. */
static void m0_lines(struct vserial *dev, bool dtr, bool rts, uint32_t baud)
{
    (void)rts;
    struct m0 *m = m0_of(dev);
    m->fresh = false;
    if (m->state == APPLICATION && m->arduino_core && !dtr && baud == 1200)
        change(m, TOUCHED, now_of(m) + TOUCH_WAIT);
    else if (m->state == TOUCHED && (dtr || baud != 1200))
        change(m, APPLICATION, UINT64_MAX);
}

/* ---- time ---- */

static uint64_t m0_next(const struct vserial *dev)
{
    return ((const struct m0 *)dev)->until;
}

static void m0_tick(struct vserial *dev)
{
    struct m0 *m = m0_of(dev);
    if (m->until > now_of(m))
        return;
    if (m->state == PROGRAMMING)
        finish_programming(m);
    else
        restart(m, m->state == TOUCHED);
}

static void m0_destroy(struct vserial *dev)
{
    free(dev);
}

static enum vprogram m0_runs(const struct vserial *dev)
{
    enum state state = ((const struct m0 *)dev)->state;
    return state == APPLICATION || state == TOUCHED ? VPROGRAM_APPLICATION : VPROGRAM_LOADER;
}

static const struct vserial_ops m0_ops = {
    .reset = m0_reset,
    .receive = m0_receive,
    .next = m0_next,
    .tick = m0_tick,
    .lines = m0_lines,
    .busy = m0_busy,
    .runs = m0_runs,
    .destroy = m0_destroy,
};

/* Variant "klipper": the application does not know the touch. */
static struct vserial *m0_create(const struct vconfig *config)
{
    struct m0 *m = config->flash.size > APPLICATION_START ? calloc(1, sizeof *m) : NULL;
    if (!m) {
        fprintf(stderr, "m0: needs more than %d bytes of flash\n", APPLICATION_START);
        return NULL;
    }
    m->serial.ops = &m0_ops;
    m->flash = config->flash;
    m->faults = config->faults;
    m->arduino_core = !config->variant || strcmp(config->variant, "klipper") != 0;
    m->fresh = true;
    if (config->app && has_application(m))
        change(m, APPLICATION, UINT64_MAX);
    else
        enter_loader(m, 0);
    return &m->serial;
}

static const char *const chips_m0[] = {"samd21g18a", NULL};

const struct vmodel vmodel_m0 = {
    .name = "m0",
    .method = "stk500v2",
    .chips = chips_m0,
    .baud = 0,
    .proof = "avrdude -c stk500v2 -p m2560",
    .create = m0_create,
};
