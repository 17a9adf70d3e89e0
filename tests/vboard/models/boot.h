/*
 * What the models of AVR bootloaders share: the chip around the program. Self-programming (SPM)
 * works in pages, obeys the boot lock bits and may hit the loader itself; fuses are read, never
 * written; the reset takes its start-up time before anything listens.
 */
#ifndef VBOARD_BOOT_H
#define VBOARD_BOOT_H

#include "base/clock.h"
#include "model.h"

enum {
    BOOT_PAGE_MAX = 256,
    /* Usual lfuse FF: 16K clocks + 65 ms (ATmega data sheets, crystal start-up times). */
    BOOT_START_UP = 66 * MILLISECOND,
    /* ATmega data sheets: page erase and page write by SPM, at most 4.5 ms each. */
    BOOT_PAGE_ERASE = 4500,
    BOOT_PAGE_WRITE = 4500,
    BOOT_EEPROM_WRITE = 3300, /* ATmega data sheets: EEPROM byte, erase and write */
    BOOT_RX_DEPTH = 3,        /* two buffered bytes and the shift register */
};

enum boot_fuse { BOOT_LFUSE, BOOT_HFUSE, BOOT_EFUSE, BOOT_LOCK };

struct boot {
    struct vserial serial; /* first */
    struct vmemory flash, eeprom, fuses;
    struct vfaults faults;
    uint8_t signature[3]; /* as answered: another chip's under the fault wrong-id */
    uint32_t page;        /* bytes */
    uint32_t start;       /* of the loader's own section */
    uint32_t nrww;        /* from here on the CPU halts while a page is programmed */
    unsigned answered;    /* messages so far, for the fault nak */
    bool broken;          /* the loader has programmed itself away */
};

/* Allocates a model whose first member is a struct boot. `size`: of the model; `own`: bytes of
 * flash that the loader occupies at the end; `baud`: true rate of the UART, 0 = USB. NULL, with a
 * line on stderr that names `name`, if the configuration is no AVR with that much flash. */
struct boot *boot_create(const struct vconfig *config, const char *name, size_t size, uint32_t own,
                         uint32_t baud, const struct vserial_ops *ops);

/* vserial_ops.destroy of all of them. */
void boot_destroy(struct vserial *dev);

/* The present moment, also while no line is attached. */
uint64_t boot_now(const struct boot *boot);

/* The moment after `microseconds` of flash work; unpaced it takes none. */
uint64_t boot_after(const struct boot *boot, uint64_t microseconds);

void boot_send(struct boot *boot, const uint8_t *bytes, size_t length);
void boot_send_byte(struct boot *boot, uint8_t byte);
bool boot_sending(const struct boot *boot);

/* Called once a message: true for the one that is to be answered with failure. */
bool boot_nak(struct boot *boot);

/* Erases the page around `address`; programs the page around it from BOOT_PAGE_MAX bytes. What the
 * lock bits forbid is silently not done. */
void boot_erase_page(struct boot *boot, uint32_t address);
void boot_write_page(struct boot *boot, uint32_t address, const uint8_t *page);

/* Signature, fuse or lock byte; FF if the configuration holds none. */
uint8_t boot_fuse(const struct boot *boot, enum boot_fuse which);

/* Programs lock bits: they only go from 1 to 0. */
void boot_program_lock(struct boot *boot, uint8_t value);

/* True if the application section holds nothing: a jump there runs up to the loader again. */
bool boot_application_blank(const struct boot *boot);

#endif
