/*
 * The SAM-BA monitor: one letter, hexadecimal arguments, '#'. It sits in the mask ROM of SAM3, SAM4
 * and SAMx7 parts, and again in the flash bootloaders of SAMD boards (Arduino, UF2).
 * Documents: Atmel-11057 §"SAM-BA Boot Program"; ArduinoCore-samd and UF2-SAMDx1 for X, Y and Z.
 *
 * Two things to know. There is no error reply of any kind: a wild address kills the monitor, and a
 * lost byte is seen by a deadline only. And on USB packets matter: what follows a V, an S or its
 * data in one packet is lost, so each of these is a write of its own. On a UART, S and R payloads
 * travel by XMODEM.
 */
#ifndef MFLASH_SAMBA_MONITOR_H
#define MFLASH_SAMBA_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "link/serial.h"

enum {
    MONITOR_VERSION_MAX = 96,
    MONITOR_SEND_MAX = 8192, /* bytes that one S ever carries here */
    MONITOR_PACKET = 64,     /* USB full speed, bulk */
    MONITOR_ANSWER_US = SECOND,
};

struct monitor {
    struct serial *serial;
    bool uart;     /* payloads by XMODEM */
    bool in_flash; /* a flash monitor: several commands in a packet, reads below 64 bytes */
    bool x, y, z;  /* extensions: erase, write buffer, CRC */
    bool secure;   /* "P": reads of flash tell nothing where the chip is secured */
    char version[MONITOR_VERSION_MAX]; /* printable */
    uint8_t queued[MONITOR_PACKET];
    size_t queued_length;
};

/* Calls the monitor until it tells its version. ERR_NO_ANSWER within four seconds, ERR_PROTOCOL if
 * what came is no version. */
int samba_open(struct monitor *m, struct serial *serial, struct error *err);

/* Is the payload of S and R raw (USB) or XMODEM (UART)? Asked of the monitor itself, by reading a
 * word of RAM at `address`. */
int samba_find_kind(struct monitor *m, uint32_t address, struct error *err);

/* Queues one command; it leaves with others in one packet where the monitor takes that, else at
 * once. */
int samba_queue(struct monitor *m, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int samba_flush(struct monitor *m, struct error *err);

/* Sends what is queued, then exactly `length` bytes within `timeout` microseconds. */
int samba_answer(struct monitor *m, uint8_t *bytes, size_t length, uint64_t timeout,
                 struct error *err);

/* 32-bit words by address: `w` and `W`. Several are asked for at once. */
int samba_words(struct monitor *m, const uint32_t *addresses, uint32_t *values, size_t count,
                uint64_t timeout, struct error *err);
int samba_word(struct monitor *m, uint32_t address, uint32_t *value, struct error *err);
int samba_set(struct monitor *m, uint32_t address, uint32_t value, struct error *err);

/* Bytes to RAM, at most MONITOR_SEND_MAX. By XMODEM up to 127 bytes more are overwritten. */
int samba_send(struct monitor *m, uint32_t address, const uint8_t *bytes, size_t length,
               struct error *err);

/* Bytes from memory; lengths that monitors choke on are avoided. */
int samba_receive(struct monitor *m, uint32_t address, uint8_t *bytes, size_t length,
                  struct error *err);

/* Starts code and waits until it has returned. `target` is what G takes: on a Cortex-M the address
 * of a vector pair, on an ARM7 that of the code itself. The word at `block` is `stack`. */
int samba_go(struct monitor *m, uint32_t target, uint32_t block, uint32_t stack, uint64_t timeout,
             struct error *err);

#endif
