/*
 * A running Klipper firmware on a serial line (Klipper docs/Protocol.md): asked what it is, and
 * asked to start its bootloader.
 *
 * Never ask a port that may be a Katapult bootloader: a Klipper message begins with bytes that
 * wedge Katapult's receiver until the board is reset (see methods/katapult/katapult.h).
 */
#ifndef MFLASH_KLIPPER_H
#define MFLASH_KLIPPER_H

#include "image/image.h"
#include "link/serial.h"

enum { KLIPPER_BAUD = 250000 }; /* menuconfig's default */

/*
 * Reads the whole data dictionary, some 100 questions of 40 bytes, and says what it holds: MCU,
 * version, length and CRC of the compressed stream, to be compared with those of an image. The
 * firmware's message number is adopted, so that it does not matter who talked to it before. The
 * serial has its rate already. Errors: ERR_NO_ANSWER (silence, or the deadline of 20 s),
 * ERR_PROTOCOL (not Klipper, or a broken dictionary), and those of the serial.
 */
int klipper_identify(struct serial *serial, struct klipper_facts *facts, struct error *err);

/* True if both are the same build: the same compressed dictionary, byte for byte (by length and
 * CRC). */
bool klipper_same(const struct klipper_facts *a, const struct klipper_facts *b);

/*
 * Restarts a firmware whose dictionary was read on this serial just now: it forgets what it was
 * told, and it is the application that starts. Nothing is waited for but its refusal of the
 * message's number. Firmware without that command is left as it is.
 */
int klipper_reset(struct serial *serial, const struct klipper_facts *facts, struct error *err);

/*
 * Asks the firmware on a UART to start its bootloader (Klipper docs/Bootloader_Entry.md): 33 bytes
 * at the firmware's rate, which the serial has already. There is no answer; returns when the bytes
 * have left. Harmless to what does not know it.
 */
int klipper_request_bootloader(struct serial *serial, struct error *err);

#endif
