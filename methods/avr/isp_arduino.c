/*
 * An Arduino with the ArduinoISP sketch as programmer: STK500v1 (Atmel AVR061) at 19200 baud, with
 * a real SPI behind UNIVERSAL (ArduinoISP.ino of the Arduino IDE, examples 11).
 *
 * Opening the port resets that Arduino, and its own bootloader answers first, in the same protocol;
 * the sketch is known by parameter 93. ENTER always says yes: only the signature tells whether
 * there is a chip. The protocol has no checksum and no length, so after any doubt both sides are
 * brought back in step by GET_SYNC, and the command is repeated.
 */
#include "avr/isp.h"

#include <stdlib.h>
#include <string.h>

#include "avr/stk500v1_wire.h"
#include "base/bytes.h"

enum {
    START_MS = 4000, /* a bootloader leaves within 1.4 s, or 2 s after one that was kept */
    START_MS_GUESSING = 3000,
    SYNC_MS = 500,
    LOADER_LEAVES_MS = 300,   /* optiboot after LEAVE: watchdog of 16 ms, then the sketch starts */
    LOADER_TIMEOUT_MS = 1500, /* ATmegaBOOT: only silence makes it leave */
    PROGMODE_SERIAL = 0x53,   /* parameter 93 of the sketch: 'S' */
    EEPROM_BYTE_MS = 45,      /* the sketch waits so long for each byte */
    SCK_HZ = 166666,          /* the sketch's SPI clock */
    NO_EXTENSION = 0x100,
};

struct wire {
    struct stk500v1 v1;
    uint8_t major, minor;
    unsigned extension; /* Load Extended Address as last sent; NO_EXTENSION = none yet */
};

static struct wire *wire_of(struct isp *isp)
{
    return isp->wire;
}

static uint64_t milliseconds(unsigned ms)
{
    return (uint64_t)ms * MILLISECOND;
}

/* ---- Exchanges ---- */

/* Brings both sides back in step: a sketch that still waits for bytes of a command gets them. */
static int resync(struct isp *isp, struct error *err)
{
    enum { TRIES = 4, SILENCE_MS = 50 };
    struct stk500v1 *v1 = &wire_of(isp)->v1;
    int rc = ERR_NO_ANSWER;
    for (unsigned i = 0; i < TRIES && rc == ERR_NO_ANSWER; i++) {
        ssize_t drained =
            serial_drain(v1->serial, milliseconds(SILENCE_MS), milliseconds(SYNC_MS), err);
        if (drained < 0)
            return (int)drained;
        rc = stk500v1_sync(v1, clock_in(v1->serial->clock, milliseconds(SYNC_MS)), err);
    }
    return rc;
}

/* True for what a lost or damaged byte looks like. */
static bool out_of_step(int rc)
{
    return rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL;
}

/* A command that may be done twice. */
static int command(struct isp *isp, const uint8_t *request, size_t length, uint8_t *answer,
                   size_t answer_length, struct error *err)
{
    struct stk500v1 *v1 = &wire_of(isp)->v1;
    int rc = stk500v1_command(v1, request, length, answer, answer_length,
                              milliseconds(ISP_COMMAND_MS), err);
    for (unsigned i = 0; out_of_step(rc) && i < ISP_RETRIES; i++) {
        if (resync(isp, NULL) != OK)
            return rc;
        rc = stk500v1_command(v1, request, length, answer, answer_length,
                              milliseconds(ISP_COMMAND_MS), err);
    }
    return rc;
}

/* ---- Is it the sketch? ---- */

enum answerer { NOBODY, A_BOOTLOADER, THE_SKETCH };

/* One sync; then parameter 93 tells who answered. */
static int who_answers(struct isp *isp, enum answerer *who, struct error *err)
{
    struct stk500v1 *v1 = &wire_of(isp)->v1;
    uint8_t progmode = 0;
    *who = NOBODY;
    serial_drop_input(v1->serial);
    int rc = stk500v1_sync(v1, clock_in(v1->serial->clock, milliseconds(SYNC_MS)), err);
    if (rc == OK)
        rc = stk500v1_parameter(v1, STK_PROGMODE, &progmode, milliseconds(SYNC_MS), err);
    if (rc == OK)
        *who = progmode == PROGMODE_SERIAL ? THE_SKETCH : A_BOOTLOADER;
    return out_of_step(rc) ? OK : rc;
}

/* Asks the bootloader to leave, then gives it the silence that makes it leave if it does not know
 * how to: short at first, long when it answers again. */
static int send_away(struct isp *isp, unsigned times, struct error *err)
{
    static const uint8_t leave_request[] = {STK_LEAVE_PROGMODE};
    struct stk500v1 *v1 = &wire_of(isp)->v1;
    int rc = stk500v1_command(v1, leave_request, 1, NULL, 0, milliseconds(SYNC_MS), err);
    if (rc != OK && !out_of_step(rc))
        return rc;
    unsigned ms = times == 1 ? LOADER_LEAVES_MS : LOADER_TIMEOUT_MS;
    v1->serial->clock->sleep_until(v1->serial->clock,
                                   clock_in(v1->serial->clock, milliseconds(ms)));
    return OK;
}

static int not_the_sketch(struct isp *isp, unsigned bootloaders, struct error *err)
{
    char text[HEARD_TEXT_MAX];
    if (bootloaders == 0) {
        error_set(err, ERR_NO_ANSWER, "no ArduinoISP answers at %u baud: %s",
                  (unsigned)isp->session->serial->settings.baud,
                  heard_describe(&wire_of(isp)->v1.heard, text));
        return error_hint(err, "check the port, and the rate of the sketch (`--baud`); "
                               "its line `#define BAUDRATE` says 19200 unless changed");
    }
    error_set(err, ERR_NO_ANSWER,
              "the Arduino's own bootloader answered, but no ArduinoISP sketch after it");
    return error_hint(err, "load the sketch first: Arduino IDE, File, Examples, 11.ArduinoISP; a "
                           "10 uF capacitor from RESET to GND then keeps the bootloader away");
}

static int find_sketch(struct isp *isp, bool asked, struct error *err)
{
    struct clock *clock = isp->session->clock;
    uint64_t deadline = clock_in(clock, milliseconds(asked ? START_MS : START_MS_GUESSING));
    unsigned bootloaders = 0;
    while (clock_now(clock) < deadline) {
        enum answerer who;
        int rc = who_answers(isp, &who, err);
        if (rc != OK || who == THE_SKETCH)
            return rc;
        if (who == A_BOOTLOADER)
            rc = send_away(isp, ++bootloaders, err);
        if (rc != OK)
            return rc;
    }
    return not_the_sketch(isp, bootloaders, err);
}

/* The sketch commits by the page size it is told here, and answers EEPROM writes by the size. */
static int set_device(struct isp *isp, struct error *err)
{
    const struct chip *chip = isp->session->chip;
    const struct region *flash = chip_region(chip, MEM_FLASH);
    const struct region *eeprom = chip_region(chip, MEM_EEPROM);
    uint8_t request[21] = {STK_SET_DEVICE};
    uint8_t *field = request + 1; /* fields in the order of AVR061, SET_DEVICE */
    field[0] = isp->part->stk500_devcode;
    field[3] = field[4] = field[5] = 1; /* parallel mode, polling, self-timed */
    field[6] = 1;                       /* lock bytes */
    field[7] = isp->part->efuse_mask ? 3 : 2;
    field[8] = isp->part->flash_poll1;
    field[9] = isp->part->flash_poll2;
    field[10] = isp->part->eeprom_poll1;
    field[11] = isp->part->eeprom_poll2;
    put_be16(field + 12, (uint16_t)flash->page);
    put_be16(field + 14, eeprom ? (uint16_t)eeprom->size : 0);
    put_be32(field + 16, (uint32_t)flash->size);
    return command(isp, request, sizeof request, NULL, 0, err);
}

static int open_programmer(struct isp *isp, bool asked, struct error *err)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (!wire)
        return error_memory(err);
    isp->wire = wire;
    isp->sck = SCK_HZ;
    wire->v1.serial = isp->session->serial;
    wire->extension = NO_EXTENSION;
    int rc = find_sketch(isp, asked, err);
    static const uint8_t major[] = {STK_GET_PARAMETER, STK_SW_MAJOR};
    static const uint8_t minor[] = {STK_GET_PARAMETER, STK_SW_MINOR};
    if (rc == OK)
        rc = command(isp, major, sizeof major, &wire->major, 1, err);
    if (rc == OK)
        rc = command(isp, minor, sizeof minor, &wire->minor, 1, err);
    return rc == OK ? set_device(isp, err) : rc;
}

static void close_programmer(struct isp *isp)
{
    free(isp->wire);
    isp->wire = NULL;
}

/* ---- Programming mode and instructions ---- */

static int enter(struct isp *isp, bool *answers, struct error *err)
{
    static const uint8_t request[] = {STK_ENTER_PROGMODE};
    wire_of(isp)->extension = NO_EXTENSION;
    *answers = true;
    return command(isp, request, sizeof request, NULL, 0, err);
}

static int leave(struct isp *isp, struct error *err)
{
    static const uint8_t request[] = {STK_LEAVE_PROGMODE};
    return command(isp, request, sizeof request, NULL, 0, err);
}

static int instruction(struct isp *isp, const uint8_t request[4], uint8_t *answer,
                       struct error *err)
{
    uint8_t universal[5] = {STK_UNIVERSAL};
    memcpy(universal + 1, request, 4);
    return command(isp, universal, sizeof universal, answer, 1, err);
}

/* ---- Memory ---- */

/* The sketch's address has 16 bits: the rest is told to the chip itself. */
static int load_extension(struct isp *isp, uint32_t address, struct error *err)
{
    uint8_t extension = (uint8_t)(address / ISP_BANK), answer;
    const uint8_t request[4] = {0x4d, 0x00, extension, 0x00}; /* Load Extended Address */
    if (!isp->part->extended_address || wire_of(isp)->extension == extension)
        return OK;
    int rc = instruction(isp, request, &answer, err);
    wire_of(isp)->extension = rc == OK ? extension : NO_EXTENSION;
    return rc;
}

/* Words for flash; the sketch doubles the address for EEPROM too, so it is even there. */
static int load_address(struct isp *isp, enum memory memory, uint32_t address, struct error *err)
{
    int rc = memory == MEM_FLASH ? load_extension(isp, address, err) : OK;
    if (rc != OK)
        return rc;
    uint8_t request[3] = {STK_LOAD_ADDRESS};
    put_le16(request + 1, (uint16_t)(address / 2));
    return command(isp, request, sizeof request, NULL, 0, err);
}

static uint8_t type_letter(enum memory memory)
{
    return memory == MEM_FLASH ? 'F' : 'E';
}

static int send_page(struct isp *isp, enum memory memory, const uint8_t *bytes, size_t length,
                     struct error *err)
{
    enum { HEADER = 4 };
    struct stk500v1 *v1 = &wire_of(isp)->v1;
    uint8_t request[HEADER + ISP_BLOCK_MAX + 1] = {STK_PROG_PAGE, (uint8_t)(length >> 8),
                                                   (uint8_t)length, type_letter(memory)};
    memcpy(request + HEADER, bytes, length);
    request[HEADER + length] = CRC_EOP;
    heard_clear(&v1->heard);
    int rc = stk500v1_send(v1, request, HEADER + length + 1, err);
    uint64_t time = serial_wire_time(v1->serial, sizeof request + 2) + milliseconds(ISP_COMMAND_MS);
    if (memory == MEM_EEPROM)
        time += length * milliseconds(EEPROM_BYTE_MS);
    return rc == OK ? stk500v1_reply(v1, NULL, 0, clock_in(v1->serial->clock, time), err) : rc;
}

static int write_page(struct isp *isp, enum memory memory, uint32_t address, const uint8_t *bytes,
                      size_t length, struct error *err)
{
    int rc = ERR_NO_ANSWER;
    for (unsigned i = 0; out_of_step(rc) && i <= ISP_RETRIES; i++) {
        if (i > 0 && resync(isp, NULL) != OK)
            return rc;
        rc = load_address(isp, memory, address, err);
        if (rc == OK)
            rc = send_page(isp, memory, bytes, length, err);
    }
    return rc;
}

static int read_block(struct isp *isp, enum memory memory, uint32_t address, uint8_t *bytes,
                      size_t length, struct error *err)
{
    const uint8_t request[] = {STK_READ_PAGE, (uint8_t)(length >> 8), (uint8_t)length,
                               type_letter(memory)};
    int rc = ERR_NO_ANSWER;
    for (unsigned i = 0; out_of_step(rc) && i <= ISP_RETRIES; i++) {
        if (i > 0 && resync(isp, NULL) != OK)
            return rc;
        rc = load_address(isp, memory, address, err);
        if (rc == OK)
            rc = stk500v1_command(&wire_of(isp)->v1, request, sizeof request, bytes, length,
                                  milliseconds(ISP_COMMAND_MS), err);
    }
    return rc;
}

static void info(struct isp *isp, struct device_info *out)
{
    const struct wire *wire = wire_of(isp);
    device_info_add(out, "programmer", "ArduinoISP %u.%u", wire->major, wire->minor);
}

const struct isp_programmer isp_arduino = {
    .kind = "arduino-isp",
    .name = "ArduinoISP",
    .baud = 19200,
    .open = open_programmer,
    .close = close_programmer,
    .enter = enter,
    .leave = leave,
    .instruction = instruction,
    .write_page = write_page,
    .read = read_block,
    .info = info,
};
