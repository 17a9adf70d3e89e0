/* Protection and option bytes through the ROM loader: every change resets the chip, which is then
 * met again. Documents: ST AN3155 §3.8 to §3.11. */
#ifndef MFLASH_STM32_PROTECT_H
#define MFLASH_STM32_PROTECT_H

#include "method.h"

/* Readout protection off, which erases the chip, if it is on; then write protection off. */
int st_rom_unlock(struct session *session, struct error *err);

int st_rom_fuses(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
                 struct error *err);
int st_rom_set_fuse(struct session *session, const char *name, uint32_t value, struct error *err);

#endif
