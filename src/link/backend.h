/*
 * Serial backends, for serial_open() alone. Each opens its kind of line into a fresh struct serial
 * with ops, name and clock set; settings are not applied yet.
 */
#ifndef MFLASH_BACKEND_H
#define MFLASH_BACKEND_H

#include "link/serial.h"

/* Allocates `size` bytes that begin with a struct serial. NULL: out of memory. */
struct serial *serial_allocate(size_t size, const struct serial_ops *ops, const char *name);

/* A real port, through libserialport. `path`: the kernel's name, "/dev/ttyUSB0", no link. */
int serial_port_open(struct serial **serial, const char *name, const char *path, struct error *err);

/* The slave side of a pty. `path`: "/dev/pts/3", no link. */
int serial_pty_open(struct serial **serial, const char *name, const char *path, struct error *err);

/* "tcp:HOST:PORT", "tcp:[::1]:PORT". */
int serial_tcp_open(struct serial **serial, const char *name, struct error *err);

/* The CDC-ACM function of a USB device that no kernel driver has: "usbip:HOST[:PORT]/BUSID". DTR
 * and RTS are asserted by it. ERR_NO_DEVICE also if the device has none. */
int serial_cdc_open(struct serial **serial, const char *name, struct trace *trace,
                    struct error *err);

/* Opens a tty node without waiting for a carrier and without becoming its session's tty, and locks
 * it against other programs that lock. Returns the descriptor or a negative code. */
int serial_open_node(const char *name, const char *path, struct error *err);

/* ERR_BUSY that names the holder of `path`, if one can be seen. */
int serial_busy(const char *name, const char *path, struct error *err);

/* ERR_BUSY if another process has the node open, whether it locks or not; else OK. */
int serial_check_free(const char *name, const char *path, struct error *err);

/* What open(2) or its like said about a node: ERR_PERMISSION, ERR_NO_DEVICE, ERR_BUSY … */
int serial_open_failed(const char *name, const char *path, int number, struct error *err);

#endif
