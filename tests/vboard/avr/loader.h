/* Bootloader firmware as Arduino's packages ship it, and the board that runs it. */
#ifndef VBOARD_LOADER_H
#define VBOARD_LOADER_H

#include "mcu.h"

/* One real bootloader and the chip it was built for. */
struct firmware {
    const char *file;    /* below LOADER_FOLDER */
    uint32_t baud;       /* its UART */
    uint32_t nrww_start; /* data sheet, "Read-While-Write and No Read-While-Write Flash Sections" */
    uint32_t excess;     /* bytes by which the file runs past the end of the chip's flash */
    uint8_t fuses[4];    /* lfuse hfuse efuse lock, as Arduino's boards.txt sets them */
};

#define LOADER_FOLDER "/usr/share/arduino/hardware/arduino/avr/bootloaders/"

/* Puts the file into `flash`; what is in one of the first `limit` bytes already stays there.
 * Records that overlap earlier ones are left out. False with a line on stderr. */
bool loader_read(const struct firmware *firmware, uint8_t *flash, size_t limit);

/* A board with that bootloader in its flash. NULL with a line on stderr. */
struct vserial *simavr_create(const struct vconfig *config, const struct firmware *firmware);

#endif
