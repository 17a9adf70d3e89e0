/*
 * Frames of the STM32 ROM loader on a UART: bytes with an XOR check, answered by ACK (79) or
 * NACK (1f). Document: ST AN3155.
 *
 * Two things to know. The loader waits for ever for the rest of a frame, so after a lost byte the
 * host must complete the frame wrongly before it can ask again (st_rom_resync). And a NACK always
 * brings the loader back to where it takes commands.
 */
#ifndef MFLASH_STM32_ROM_WIRE_H
#define MFLASH_STM32_ROM_WIRE_H

#include "avr/heard.h"
#include "link/serial.h"

enum { ROM_ACK = 0x79, ROM_NACK = 0x1f, ROM_BUSY = 0x76, ROM_INIT = 0x7f };

enum rom_command {
    ROM_GET = 0x00,
    ROM_GET_VERSION = 0x01,
    ROM_GET_ID = 0x02,
    ROM_READ = 0x11,
    ROM_GO = 0x21,
    ROM_WRITE = 0x31,
    ROM_ERASE = 0x43,
    ROM_EXTENDED_ERASE = 0x44,
    ROM_WRITE_PROTECT = 0x63,
    ROM_WRITE_UNPROTECT = 0x73,
    ROM_READOUT_PROTECT = 0x82,
    ROM_READOUT_UNPROTECT = 0x92,
    ROM_GET_CHECKSUM = 0xa1,
};

enum {
    ROM_ANSWER_US = 250 * MILLISECOND, /* to a frame that causes no work, over its wire time */
    ROM_BLOCK = 256,                   /* bytes of one Read or Write */
    ROM_FRAME_MAX = ROM_BLOCK + 2,
};

/* How the last exchange ended. */
enum rom_outcome {
    ROM_DONE,
    ROM_REFUSED, /* NACK */
    ROM_LOST,    /* silence, or what is neither ACK nor NACK */
    ROM_GONE,    /* the link itself failed */
};

struct rom_wire {
    struct serial *serial;
    bool echo;            /* the line gives back what is sent: one wire for both directions */
    bool framed;          /* the last frame sent was no command, and `frame` is it */
    bool command_refused; /* the last NACK was to a command, not to what follows it */
    enum rom_outcome outcome;
    uint8_t frame[ROM_FRAME_MAX + 2];
    size_t frame_length;
    struct heard heard; /* what came and was no answer */
};

/* Sends a frame and waits for its ACK. ERR_PROTOCOL on NACK or anything else, ERR_NO_ANSWER on
 * silence for `timeout` microseconds after the frame's wire time. */
int st_rom_frame(struct rom_wire *wire, const uint8_t *frame, size_t length, uint64_t timeout,
                 struct error *err);

/* The command and its complement. */
int st_rom_command(struct rom_wire *wire, enum rom_command command, struct error *err);

/* Four bytes, most significant first, and their XOR. */
int st_rom_address(struct rom_wire *wire, uint32_t address, uint64_t timeout, struct error *err);

/* One more ACK, or bytes of an answer. */
int st_rom_ack(struct rom_wire *wire, uint64_t timeout, struct error *err);
int st_rom_receive(struct rom_wire *wire, uint8_t *bytes, size_t length, struct error *err);

/* XOR of all bytes. */
uint8_t st_rom_xor(const uint8_t *bytes, size_t length);

/*
 * Back to where the loader takes commands, whatever it waits for: bytes that cannot complete the
 * frame it may be in, one at a time, until it refuses them. ERR_NO_ANSWER if it does not.
 */
int st_rom_resync(struct rom_wire *wire, struct error *err);

/* True if what ended badly is worth another try, and the loader is ready for it. `tries` counts. */
bool st_rom_again(struct rom_wire *wire, unsigned *tries);

#endif
