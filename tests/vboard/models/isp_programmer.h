/* A programmer that speaks STK500v2: what its message layer and its commands share. */
#ifndef VBOARD_ISP_PROGRAMMER_H
#define VBOARD_ISP_PROGRAMMER_H

#include "isp_port.h"
#include "model.h"

enum { ISP_BODY_MAX = 275 }; /* AVR068 §4 */

struct programmer_kind {
    const char *variant; /* of struct vconfig */
    const char *sign_on;
    uint32_t oscillator_hz; /* SCK is derived from it */
    bool starter_kit;       /* has the starter kit's voltages, oscillator and top card */
};

enum receiver_state {
    AT_START,
    AT_SEQUENCE,
    AT_SIZE_HIGH,
    AT_SIZE_LOW,
    AT_TOKEN,
    AT_BODY,
    AT_CHECKSUM,
};

struct isp_programmer {
    struct vserial dev; /* first: the two addresses are one */
    struct isp_port port;
    const struct programmer_kind *kind;
    struct vfaults faults;
    unsigned messages; /* since power-on */

    enum receiver_state state;
    uint8_t sequence, checksum;
    size_t size, got;
    uint8_t body[ISP_BODY_MAX];

    uint8_t answer[ISP_BODY_MAX];
    size_t answer_length;

    bool programming;         /* ENTER_PROGMODE succeeded */
    uint32_t address;         /* words for flash, bytes for EEPROM */
    bool extended;            /* bit 31 of LOAD_ADDRESS: the part has Load Extended Address */
    uint32_t bank;            /* what Load Extended Address last got; UINT32_MAX: nothing yet */
    uint8_t parameters[0x20]; /* 0x80 … 0x9f */
};

/* As after power-on: parameters, no programming mode. */
void isp_commands_reset(struct isp_programmer *programmer);

/* Carries out programmer->body (programmer->size bytes, at least 1) and leaves the answer in
 * programmer->answer. */
void isp_command(struct isp_programmer *programmer);

/* PROGRAM and READ of flash and EEPROM. */
void isp_program_memory(struct isp_programmer *programmer);
void isp_read_memory(struct isp_programmer *programmer);

/* Sets command and status: the whole answer of most commands. */
void isp_answer(struct isp_programmer *programmer, uint8_t status);

/* Asks RDY/BSY until it says ready; false if `limit` milliseconds were not enough. */
bool isp_await_ready(struct isp_programmer *programmer, unsigned limit);

/* Status bytes (AVR068 §5.6; ILLEGAL_PARAM from AVR069). */
enum {
    STATUS_OK = 0x00,
    STATUS_TIMEOUT = 0x80,
    STATUS_RDY_BSY_TIMEOUT = 0x81,
    STATUS_FAILED = 0xc0,
    STATUS_CHECKSUM = 0xc1,
    STATUS_UNKNOWN = 0xc9,
    STATUS_ILLEGAL_PARAM = 0xca,
};

/* Commands that isp_memory.c tells apart. */
enum {
    COMMAND_PROGRAM_FLASH = 0x13,
    COMMAND_READ_FLASH = 0x14,
    COMMAND_PROGRAM_EEPROM = 0x15,
    COMMAND_READ_EEPROM = 0x16,
};

#endif
