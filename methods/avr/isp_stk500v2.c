/*
 * ISP programmers that speak STK500v2 over a serial line: STK500, AVRISP, and the many that call
 * themselves one of them (Atmel AVR068; AVR069 for the mkII).
 *
 * The bootloader of the Mega 2560 speaks the same protocol and says yes to almost everything, but
 * would set its own lock bits for good: it is told apart by the echo that only a chip behind SPI
 * gives. The programmer advances the loaded address itself, so reading and writing in order need no
 * second LOAD_ADDRESS; after any doubt the address is loaded anew.
 */
#include "avr/isp.h"

#include <stdlib.h>
#include <string.h>

#include "avr/isp_sck.h"
#include "avr/stk500v2_frame.h"
#include "base/bytes.h"

enum { SIGN_ON_MS = 200, SIGN_ON_TRIES = 12, SIGN_ON_TRIES_GUESSING = 3 };

/* Parameters (AVR068 §6). */
enum {
    PARAM_HW_VER = 0x90,
    PARAM_SW_MAJOR = 0x91,
    PARAM_SW_MINOR = 0x92,
    PARAM_VTARGET = 0x94, /* in 0.1 V */
    PARAM_SCK_DURATION = 0x98,
    PARAM_RESET_POLARITY = 0x9e, /* STK500 and STK600; 1 = AVR, active low */
};

/* Mode byte of PROGRAM_FLASH_ISP and PROGRAM_EEPROM_ISP (AVR068 §7). */
enum { MODE_PAGE = 0x01, MODE_PAGE_RDY_BSY = 0x40, MODE_COMMIT = 0x80 };

#define NO_ADDRESS UINT32_MAX

struct wire {
    struct stk500v2 link;
    char name[32]; /* as it signs on, printable */
    enum sck_scale scale;
    enum memory memory; /* where the programmer's address points, */
    uint32_t address;   /* in bytes; NO_ADDRESS = not known */
};

static struct wire *wire_of(struct isp *isp)
{
    return isp->wire;
}

static uint64_t milliseconds(unsigned ms)
{
    return (uint64_t)ms * MILLISECOND;
}

/* A command that may be done twice. */
static int command(struct isp *isp, const uint8_t *body, size_t length, size_t reply_min,
                   unsigned timeout_ms, struct error *err)
{
    return stk500v2_command(&wire_of(isp)->link, body, length, reply_min, ISP_RETRIES,
                            milliseconds(timeout_ms), err);
}

static int get_parameter(struct isp *isp, uint8_t parameter, uint8_t *value, struct error *err)
{
    const uint8_t body[] = {CMD_GET_PARAMETER, parameter};
    int rc = command(isp, body, sizeof body, 3, ISP_COMMAND_MS, err);
    if (rc == OK)
        *value = wire_of(isp)->link.reply[2];
    return rc;
}

static int set_parameter(struct isp *isp, uint8_t parameter, uint8_t value, struct error *err)
{
    const uint8_t body[] = {CMD_SET_PARAMETER, parameter, value};
    return command(isp, body, sizeof body, 2, ISP_COMMAND_MS, err);
}

/* ---- Sign-on ---- */

/* Body of the reply: 01 00 length text. */
static void keep_name(struct wire *wire)
{
    size_t length = wire->link.reply[2];
    if (length > wire->link.reply_length - 3)
        length = wire->link.reply_length - 3;
    if (length >= sizeof wire->name)
        length = sizeof wire->name - 1;
    for (size_t i = 0; i < length; i++) {
        char c = (char)wire->link.reply[3 + i];
        wire->name[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    wire->name[length] = '\0';
    wire->scale = strncmp(wire->name, "AVRISP_MK2", 10) == 0 ? SCALE_MK2
                  : strncmp(wire->name, "AVRISP", 6) == 0    ? SCALE_AVRISP
                                                             : SCALE_STK500;
}

/* A programmer made from an Arduino starts when the port is opened, hence several tries. */
static int sign_on(struct isp *isp, bool asked, struct error *err)
{
    struct wire *wire = wire_of(isp);
    const uint8_t body[] = {CMD_SIGN_ON};
    int rc = stk500v2_command(&wire->link, body, sizeof body, 3,
                              (asked ? SIGN_ON_TRIES : SIGN_ON_TRIES_GUESSING) - 1,
                              milliseconds(SIGN_ON_MS), err);
    if (rc != OK)
        return rc;
    keep_name(wire);
    /* Late replies to the repeats of the sign-on, which all have the same number. */
    ssize_t drained =
        serial_drain(isp->session->serial, milliseconds(20), milliseconds(SIGN_ON_MS), err);
    return drained < 0 ? (int)drained : OK;
}

static int open_programmer(struct isp *isp, bool asked, struct error *err)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (!wire)
        return error_memory(err);
    isp->wire = wire;
    wire->link.serial = isp->session->serial;
    wire->link.seq = 1;
    wire->address = NO_ADDRESS;
    int rc = sign_on(isp, asked, err);
    if (rc == OK && strncmp(wire->name, "STK", 3) == 0)
        rc = set_parameter(isp, PARAM_RESET_POLARITY, 1, err);
    return rc;
}

static void close_programmer(struct isp *isp)
{
    free(isp->wire);
    isp->wire = NULL;
}

/* ---- SCK ---- */

static int set_clock(struct isp *isp, uint32_t hz, struct error *err)
{
    uint8_t duration;
    uint32_t sck = sck_duration(wire_of(isp)->scale, hz, &duration);
    if (sck == 0)
        return error_set(err, ERR_NOT_POSSIBLE, "the programmer cannot go down to %u Hz of SCK",
                         (unsigned)hz);
    int rc = set_parameter(isp, PARAM_SCK_DURATION, duration, err);
    if (rc == ERR_PROTOCOL)
        return error_set(err, ERR_NOT_POSSIBLE, "the programmer lets nobody set SCK");
    if (rc == OK)
        isp->sck = sck;
    return rc;
}

/* ---- Programming mode and instructions ---- */

/* *echo: bytes 1 and 2 of the answer, which on a chip are the request's bytes 0 and 1. */
static int spi(struct isp *isp, const uint8_t request[4], uint8_t echo[2], uint8_t *answer,
               struct error *err)
{
    uint8_t body[8] = {CMD_SPI_MULTI, 4, 4, 0};
    memcpy(body + 4, request, 4);
    int rc = command(isp, body, sizeof body, 6, ISP_COMMAND_MS, err);
    if (rc != OK)
        return rc;
    const uint8_t *got = wire_of(isp)->link.reply + 2;
    memcpy(echo, got + 1, 2);
    *answer = got[3];
    return OK;
}

static int instruction(struct isp *isp, const uint8_t request[4], uint8_t *answer,
                       struct error *err)
{
    enum { POLL_RDY_BSY = 0xf0 };
    uint8_t echo[2];
    int rc = spi(isp, request, echo, answer, err);
    if (rc != OK || request[0] == POLL_RDY_BSY || memcmp(echo, request, 2) == 0)
        return rc;
    return error_set(err, ERR_PROTOCOL, "the chip is out of step: to %02x %02x it echoed %02x %02x",
                     request[0], request[1], echo[0], echo[1]);
}

/* A chip echoes each byte while the next is sent. The Mega's bootloader makes its answers up, and
 * forgets the second byte. */
static int refuse_bootloader(struct isp *isp, struct error *err)
{
    static const uint8_t read_hfuse[4] = {0x58, 0x08, 0x00, 0x00};
    uint8_t echo[2], answer;
    int rc = spi(isp, read_hfuse, echo, &answer, err);
    if (rc != OK || !(echo[0] == 0x58 && echo[1] == 0x00))
        return rc;
    error_set(err, ERR_PROTOCOL,
              "%s: a bootloader answers here, not a programmer: %s, but no chip echoes behind it",
              isp->session->serial->name, wire_of(isp)->name);
    return error_hint(err, "this is the port of the board itself: name the port of the programmer "
                           "by --probe, or write through the bootloader without --probe");
}

static int enter(struct isp *isp, bool *answers, struct error *err)
{
    /* timeout ms, stabDelay ms, cmdexeDelay ms, synchLoops, byteDelay, pollValue, pollIndex,
     * Programming Enable (AVR068 §7.1; the values of Atmel's own part descriptions). */
    static const uint8_t body[] = {
        CMD_ENTER_PROGMODE_ISP, 200, 100, 25, 32, 0, 0x53, 0x03, 0xac, 0x53, 0x00, 0x00};
    struct stk500v2 *link = &wire_of(isp)->link;
    wire_of(isp)->address = NO_ADDRESS;
    int rc = stk500v2_exchange(link, body, sizeof body, 1, milliseconds(ISP_LONG_MS), err);
    if (rc != OK)
        return rc;
    if (link->reply_length < 2 ||
        (link->reply[1] != STATUS_CMD_OK && link->reply[1] != STATUS_CMD_FAILED &&
         link->reply[1] != STATUS_CMD_TOUT))
        return stk500v2_wrong_status(link, err);
    *answers = link->reply[1] == STATUS_CMD_OK;
    return *answers ? refuse_bootloader(isp, err) : OK;
}

static int leave(struct isp *isp, struct error *err)
{
    static const uint8_t body[] = {CMD_LEAVE_PROGMODE_ISP, 1, 1}; /* preDelay, postDelay ms */
    return stk500v2_command(&wire_of(isp)->link, body, sizeof body, 2, 1,
                            milliseconds(ISP_COMMAND_MS), err);
}

static int erase(struct isp *isp, struct error *err)
{
    /* The maximum, and an eighth: a programmer's milliseconds are not a data sheet's. */
    unsigned ms = isp->part->chip_erase_max_us / MILLISECOND * 9 / 8;
    const uint8_t body[] = {
        CMD_CHIP_ERASE_ISP, (uint8_t)ms, isp->part->erase_poll, 0xac, 0x80, 0x00, 0x00};
    int rc = command(isp, body, sizeof body, 2, ISP_LONG_MS, err);
    if (rc == ERR_PROTOCOL && wire_of(isp)->link.reply_length >= 2 &&
        wire_of(isp)->link.reply[1] == STATUS_RDY_BSY_TOUT)
        return error_set(err, ERR_NO_ANSWER,
                         "the chip is still busy after %u ms, longer than Chip Erase takes", ms);
    return rc;
}

/* ---- Memory ---- */

static uint32_t in_units(enum memory memory, uint32_t address)
{
    return memory == MEM_FLASH ? address / 2 : address;
}

/* Flash is addressed by words, EEPROM by bytes; bit 31 tells that the chip needs Load Extended
 * Address. */
static int load_address(struct isp *isp, enum memory memory, uint32_t address, struct error *err)
{
    struct wire *wire = wire_of(isp);
    if (wire->address == address && wire->memory == memory)
        return OK;
    uint8_t body[5] = {CMD_LOAD_ADDRESS};
    bool extended = memory == MEM_FLASH && isp->part->extended_address;
    put_be32(body + 1, in_units(memory, address) | (extended ? 0x80000000u : 0));
    int rc = command(isp, body, sizeof body, 2, ISP_COMMAND_MS, err);
    if (rc != OK)
        return rc;
    wire->memory = memory;
    wire->address = address;
    return OK;
}

/* Bytes over SPI, four bits of instruction for each bit, beside the time that AVR068 allows. */
static uint64_t block_timeout(const struct isp *isp, size_t length)
{
    uint64_t spi_time = isp->sck ? (uint64_t)length * 32 * 2 * SECOND / isp->sck : SECOND;
    return milliseconds(ISP_LONG_MS) + spi_time;
}

/* One block at the loaded address. The programmer moves its address, whatever comes of it. */
static int move_block(struct isp *isp, enum memory memory, uint32_t address, const uint8_t *body,
                      size_t body_length, size_t reply_min, size_t length, struct error *err)
{
    struct wire *wire = wire_of(isp);
    int rc = load_address(isp, memory, address, err);
    if (rc != OK)
        return rc;
    wire->address = NO_ADDRESS;
    rc = stk500v2_command(&wire->link, body, body_length, reply_min, 0, block_timeout(isp, length),
                          err);
    /* The programmer's own word address may stop at a bank: load it anew there. */
    if (rc == OK && (address + length) % (ISP_BANK / 2) != 0)
        wire->address = address + (uint32_t)length;
    return rc;
}

/* The same bytes at the same address may be written and read again: after a lost or damaged reply
 * the address is loaded anew and the block repeated. */
static int move_block_surely(struct isp *isp, enum memory memory, uint32_t address,
                             const uint8_t *body, size_t body_length, size_t reply_min,
                             size_t length, struct error *err)
{
    int rc = ERR_NO_ANSWER;
    for (unsigned i = 0; i <= ISP_RETRIES && rc == ERR_NO_ANSWER; i++)
        rc = move_block(isp, memory, address, body, body_length, reply_min, length, err);
    return rc;
}

/* Commands, and the instructions that the programmer is to use (AVR068 §7.5). */
static const struct codes {
    uint8_t program, load, commit, read_back;
} flash_page = {CMD_PROGRAM_FLASH_ISP, 0x40, 0x4c, 0x20},
  eeprom_page = {CMD_PROGRAM_EEPROM_ISP, 0xc1, 0xc2, 0xa0},
  eeprom_byte = {CMD_PROGRAM_EEPROM_ISP, 0xc0, 0x00, 0xa0};

static uint8_t mode_byte(const struct avr_part *part, bool flash)
{
    if (part->erase_poll)
        return MODE_PAGE | MODE_PAGE_RDY_BSY | MODE_COMMIT;
    return (flash ? part->flash_mode : part->eeprom_mode) | MODE_COMMIT;
}

static int write_page(struct isp *isp, enum memory memory, uint32_t address, const uint8_t *bytes,
                      size_t length, struct error *err)
{
    enum { HEADER = 10 };
    const struct avr_part *part = isp->part;
    bool flash = memory == MEM_FLASH;
    uint8_t mode = mode_byte(part, flash);
    const struct codes *codes = flash              ? &flash_page
                                : mode & MODE_PAGE ? &eeprom_page
                                                   : &eeprom_byte;
    uint8_t body[HEADER + ISP_BLOCK_MAX] = {codes->program};
    put_be16(body + 1, (uint16_t)length);
    body[3] = mode;
    body[4] = flash ? part->flash_delay : part->eeprom_delay;
    body[5] = codes->load;
    body[6] = codes->commit;
    body[7] = codes->read_back;
    body[8] = flash ? part->flash_poll1 : part->eeprom_poll1;
    body[9] = flash ? part->flash_poll2 : part->eeprom_poll2;
    memcpy(body + HEADER, bytes, length);
    return move_block_surely(isp, memory, address, body, HEADER + length, 2, length, err);
}

static int read_block(struct isp *isp, enum memory memory, uint32_t address, uint8_t *bytes,
                      size_t length, struct error *err)
{
    bool flash = memory == MEM_FLASH;
    const uint8_t body[] = {flash ? CMD_READ_FLASH_ISP : CMD_READ_EEPROM_ISP,
                            (uint8_t)(length >> 8), (uint8_t)length, flash ? 0x20 : 0xa0};
    int rc = move_block_surely(isp, memory, address, body, sizeof body, 2 + length, length, err);
    if (rc == OK)
        memcpy(bytes, wire_of(isp)->link.reply + 2, length);
    return rc;
}

static void info(struct isp *isp, struct device_info *out)
{
    uint8_t hardware, major, minor, voltage;
    const char *name = wire_of(isp)->name;
    if (get_parameter(isp, PARAM_HW_VER, &hardware, NULL) == OK &&
        get_parameter(isp, PARAM_SW_MAJOR, &major, NULL) == OK &&
        get_parameter(isp, PARAM_SW_MINOR, &minor, NULL) == OK)
        device_info_add(out, "programmer", "%s, hardware %u, firmware %u.%02u", name, hardware,
                        major, minor);
    else
        device_info_add(out, "programmer", "%s", name);
    if (get_parameter(isp, PARAM_VTARGET, &voltage, NULL) == OK && voltage > 0)
        device_info_add(out, "target voltage", "%u.%u V", voltage / 10, voltage % 10);
}

const struct isp_programmer isp_stk500v2 = {
    .kind = "avrisp2",
    .name = "STK500v2 programmer",
    .baud = 115200,
    .open = open_programmer,
    .close = close_programmer,
    .set_clock = set_clock,
    .enter = enter,
    .leave = leave,
    .instruction = instruction,
    .erase = erase,
    .write_page = write_page,
    .read = read_block,
    .info = info,
};
