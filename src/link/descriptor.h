/*
 * Waiting for, reading and writing a descriptor in non-blocking mode with deadlines: what real
 * ports, ptys and sockets have in common. A signal never ends a wait early.
 *
 * A far end that went away shows in many ways (POLLHUP, EIO, ENODEV, ECONNRESET, end of file); all
 * of them come out as ERR_GONE.
 */
#ifndef MFLASH_DESCRIPTOR_H
#define MFLASH_DESCRIPTOR_H

#include "link/serial.h"

/* Waits for `events` (poll(2)) until the deadline. Returns what happened, 0 if the deadline passed
 * first (the state is looked at once even if it has passed already), or a negative errno. */
int descriptor_wait(struct clock *clock, int fd, short events, uint64_t deadline);

/* The same on serial->clock. What happened is stored. */
int descriptor_await(const struct serial *serial, int fd, short events, uint64_t deadline,
                     short *happened, struct error *err);

/* As serial_ops.read and serial_ops.write. */
ssize_t descriptor_read(const struct serial *serial, int fd, uint8_t *bytes, size_t max,
                        uint64_t deadline, struct error *err);
int descriptor_write(const struct serial *serial, int fd, const uint8_t *bytes, size_t length,
                     uint64_t deadline, struct error *err);

/* Says what an errno of a serial line means: ERR_GONE or ERR_FAILED. `doing`: "reading from". */
int descriptor_failed(const struct serial *serial, const char *doing, int number,
                      struct error *err);

#endif
