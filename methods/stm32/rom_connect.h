/*
 * From a silent line to a loader that takes commands: the way in, the byte it measures the rate
 * from, and the facts that every later step needs. Documents: ST AN2606, AN3155 §2.
 */
#ifndef MFLASH_STM32_ROM_CONNECT_H
#define MFLASH_STM32_ROM_CONNECT_H

#include "stm32/rom_loader.h"

/* Sets the line up, brings the chip in at each rate in turn, identifies it, reads its size. Errors
 * tell silence, garbage, an echo and the text of an application apart. */
int st_rom_connect(struct session *session, struct error *err);

/* The chip resets by itself after a change of its options: meets it again, for at most `patience`
 * microseconds from now. */
int st_rom_reconnect(struct session *session, uint64_t patience, struct error *err);

/* Reads flash size, unique id, and whether readout protection is on. */
int st_rom_look_around(struct session *session, struct error *err);

/* Version bytes and unique id, as lines for `info`; what this chip does not show is left out. */
int st_rom_more_info(struct session *session, struct device_info *info, struct error *err);

#endif
