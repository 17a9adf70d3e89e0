/*
 * What the ArduinoISP sketch makes of STK500v1 (Atmel AVR061, and the behaviour of the sketch of
 * Arduino 1.8, version 1.18).
 *
 * ENTER_PROGMODE always says OK: the sketch looks at no echo. It knows no Chip Erase, reads fuses
 * and sends all that is unusual by UNIVERSAL, and waits fixed times after writes. Where SPI was not
 * started (no ENTER_PROGMODE), a transfer never ends and the sketch hangs until it is reset.
 */
#include "isp_sketch.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

enum {
    HARDWARE_VERSION = 2,
    SOFTWARE_MAJOR = 1,
    SOFTWARE_MINOR = 18,
    SCK_HZ = 1000000 / 6,
    PAGE_WAIT = 30 * MILLISECOND,
    EEPROM_WAIT = 45 * MILLISECOND,
    EEPROM_CHUNK = 32,
    OUTPUT_RING = 64,
};

void sketch_start(struct arduino_isp *isp)
{
    isp->port.sck_hz = SCK_HZ;
    isp->programming = false;
    isp->here = isp->page_size = isp->eeprom_size = 0;
    isp->to_read = 0;
    memset(isp->data, 0, sizeof isp->data);
}

static void say(struct arduino_isp *isp, uint8_t byte)
{
    if (isp->phase != HUNG)
        isp_send(&isp->port, byte);
}

static uint8_t transfer(struct arduino_isp *isp, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    if (!isp->programming) {
        isp->phase = HUNG;
        return 0;
    }
    return isp_instruction(&isp->port, a, b, c, d);
}

static uint8_t at_address(struct arduino_isp *isp, uint8_t instruction, uint16_t address,
                          uint8_t value)
{
    return transfer(isp, instruction, (uint8_t)(address >> 8), (uint8_t)address, value);
}

/* ---- programming mode ---- */

static void enter(struct arduino_isp *isp)
{
    if (isp->programming)
        return;
    isp->programming = true;
    isp_reset_pin(&isp->port, true);
    isp_wait(&isp->port, 20 * MILLISECOND);
    isp_reset_pin(&isp->port, false);
    isp_wait(&isp->port, 100);
    isp_reset_pin(&isp->port, true);
    isp_wait(&isp->port, 50 * MILLISECOND);
    transfer(isp, 0xac, 0x53, 0, 0);
}

static void leave(struct arduino_isp *isp)
{
    isp->programming = false;
    isp_reset_pin(&isp->port, false);
}

/* ---- pages ---- */

/* The page that a word is in, by the size that SET_DEVICE gave; of other sizes every word is its
 * own page. */
static uint16_t page_of(const struct arduino_isp *isp, uint16_t word)
{
    switch (isp->page_size) {
    case 32:
    case 64:
    case 128:
    case 256:
        return (uint16_t)(word & ~(isp->page_size / 2u - 1));
    default:
        return word;
    }
}

static void write_page(struct arduino_isp *isp, uint16_t page)
{
    at_address(isp, 0x4c, page, 0);
    isp_wait(&isp->port, PAGE_WAIT);
}

static void write_flash(struct arduino_isp *isp)
{
    uint16_t page = page_of(isp, isp->here);

    for (size_t i = 0; i < isp->data_wanted; i += 2) {
        if (page != page_of(isp, isp->here)) {
            write_page(isp, page);
            page = page_of(isp, isp->here);
        }
        at_address(isp, 0x40, isp->here, isp->data[i]);
        at_address(isp, 0x48, isp->here, isp->data[i + 1]);
        isp->here++;
    }
    write_page(isp, page);
}

/* Bytes [from, data_got) of a block, of which the buffer holds the last chunk. LOAD_ADDRESS counts
 * words for EEPROM too. */
static void write_eeprom_chunk(struct arduino_isp *isp, size_t from)
{
    for (size_t i = from; i < isp->data_got; i++) {
        uint16_t address = (uint16_t)(isp->here * 2u + i);
        at_address(isp, 0xc0, address, isp->data[i % EEPROM_CHUNK]);
        isp_wait(&isp->port, EEPROM_WAIT);
    }
}

static bool is_eeprom(const struct arduino_isp *isp)
{
    return isp->arguments[2] == 'E';
}

bool sketch_page_head(struct arduino_isp *isp)
{
    isp->data_got = 0;
    isp->data_wanted = get_be16(isp->arguments);
    if (isp->arguments[2] != 'F' && !is_eeprom(isp)) {
        say(isp, STK_FAILED);
        return false;
    }
    if (is_eeprom(isp) && isp->data_wanted > isp->eeprom_size)
        isp->data_wanted = 0;
    else if (!is_eeprom(isp) && isp->data_wanted > SKETCH_BUFFER)
        isp->phase = HUNG; /* it writes over its own variables */
    return true;
}

void sketch_page_byte(struct arduino_isp *isp, uint8_t byte)
{
    size_t room = is_eeprom(isp) ? EEPROM_CHUNK : SKETCH_BUFFER;

    isp->data[isp->data_got++ % room] = byte;
    if (is_eeprom(isp) && (isp->data_got % EEPROM_CHUNK == 0 || isp->data_got == isp->data_wanted))
        write_eeprom_chunk(isp, (isp->data_got - 1) / EEPROM_CHUNK * EEPROM_CHUNK);
}

static void program_page(struct arduino_isp *isp)
{
    bool too_long = is_eeprom(isp) && get_be16(isp->arguments) > isp->eeprom_size;

    say(isp, STK_INSYNC);
    if (!is_eeprom(isp))
        write_flash(isp);
    say(isp, too_long ? STK_FAILED : STK_OK);
}

/* Any length: a byte is read when the core's output ring has room for it. */
static void read_page(struct arduino_isp *isp)
{
    uint8_t memory = isp->arguments[2];

    say(isp, STK_INSYNC);
    isp->have_read = 0;
    isp->to_read = memory == 'F' || memory == 'E' ? get_be16(isp->arguments) : 0;
    if (isp->to_read == 0)
        say(isp, memory == 'F' || memory == 'E' ? STK_OK : STK_FAILED);
}

static void read_one(struct arduino_isp *isp)
{
    size_t i = isp->have_read++;

    if (is_eeprom(isp))
        say(isp, at_address(isp, 0xa0, (uint16_t)(isp->here * 2u + i), 0xff));
    else
        say(isp, at_address(isp, i % 2 ? 0x28 : 0x20, isp->here, 0));
    if (!is_eeprom(isp) && i % 2)
        isp->here++;
    if (isp->have_read < isp->to_read)
        return;
    isp->to_read = 0;
    say(isp, STK_OK);
}

void sketch_read_on(struct arduino_isp *isp)
{
    while (isp->to_read && isp->port.answer_count < OUTPUT_RING)
        read_one(isp);
}

/* ---- the rest ---- */

static uint8_t parameter(uint8_t id)
{
    switch (id) {
    case 0x80:
        return HARDWARE_VERSION;
    case 0x81:
        return SOFTWARE_MAJOR;
    case 0x82:
        return SOFTWARE_MINOR;
    case 0x93:
        return 'S'; /* serial programming only */
    default:
        return 0;
    }
}

static void reply(struct arduino_isp *isp, const uint8_t *bytes, size_t length)
{
    say(isp, STK_INSYNC);
    for (size_t i = 0; i < length; i++)
        say(isp, bytes[i]);
    say(isp, STK_OK);
}

static void read_signature(struct arduino_isp *isp)
{
    say(isp, STK_INSYNC);
    for (uint8_t n = 0; n < 3; n++)
        say(isp, transfer(isp, 0x30, 0, n, 0));
    say(isp, STK_OK);
}

static void answer(struct arduino_isp *isp)
{
    const uint8_t *arguments = isp->arguments;
    uint8_t value;

    switch (isp->command) {
    case COMMAND_GET_SIGN_ON:
        reply(isp, (const uint8_t *)"AVR ISP", 7);
        return;
    case COMMAND_GET_PARAMETER:
        value = parameter(arguments[0]);
        reply(isp, &value, 1);
        return;
    case COMMAND_UNIVERSAL:
        value = transfer(isp, arguments[0], arguments[1], arguments[2], arguments[3]);
        reply(isp, &value, 1);
        return;
    case COMMAND_PROG_PAGE:
        program_page(isp);
        return;
    case COMMAND_READ_PAGE:
        read_page(isp);
        return;
    case COMMAND_READ_SIGN:
        read_signature(isp);
        return;
    case COMMAND_SET_DEVICE:
        isp->page_size = get_be16(arguments + 12);
        isp->eeprom_size = get_be16(arguments + 14);
        break;
    case COMMAND_ENTER_PROGMODE:
        enter(isp);
        break;
    case COMMAND_LEAVE_PROGMODE:
        leave(isp);
        break;
    case COMMAND_LOAD_ADDRESS:
        isp->here = get_le16(arguments);
        break;
    case COMMAND_GET_SYNC:
    case COMMAND_SET_DEVICE_EXT:
    case COMMAND_PROG_FLASH: /* taken, and nothing done */
    case COMMAND_PROG_DATA:
        break;
    default:
        say(isp, STK_UNKNOWN);
        return;
    }
    reply(isp, NULL, 0);
}

void sketch_execute(struct arduino_isp *isp)
{
    if (++isp->messages != isp->faults.nak) {
        answer(isp);
        return;
    }
    say(isp, STK_INSYNC);
    say(isp, STK_FAILED);
}

void sketch_no_sync(struct arduino_isp *isp)
{
    say(isp, STK_NOSYNC);
}
