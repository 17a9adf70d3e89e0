/* XMODEM-CRC with blocks of 128 bytes, as the SAM-BA monitor speaks it on a UART after S and R. */
#ifndef MFLASH_SAMBA_XMODEM_H
#define MFLASH_SAMBA_XMODEM_H

#include <stddef.h>
#include <stdint.h>

#include "link/serial.h"

enum { XMODEM_BLOCK = 128 };

/* CRC-16 with polynomial 0x1021, no reflection; start with 0. The monitor's Z uses it too. */
uint16_t samba_xmodem_crc(uint16_t crc, const uint8_t *bytes, size_t length);

/* The device asks with 'C'; the last block is filled up with zeros, which the device stores too. */
int samba_xmodem_send(struct serial *serial, const uint8_t *bytes, size_t length,
                      struct error *err);

/* The last block's surplus is dropped. ERR_NO_ANSWER, ERR_PROTOCOL. */
int samba_xmodem_receive(struct serial *serial, uint8_t *bytes, size_t length, struct error *err);

#endif
