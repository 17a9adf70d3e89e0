/* NVMCTRL, the flash controller of SAMD2x and SAMD5x/E5x: what the two kinds differ in, and what
 * the user row's file needs of the main array's. */
#ifndef MFLASH_SAMBA_NVMCTRL_H
#define MFLASH_SAMBA_NVMCTRL_H

#include "samba/samba.h"

/* A named part of the user row (data sheets, chapter "NVM User Row Mapping"). */
struct user_field {
    const char *name; /* NULL ends a list */
    uint8_t word, shift, width;
    const char *text;
};

struct nvm_kind {
    uint32_t command; /* register that takes CMDEX and CMD */
    uint32_t address; /* ADDR; counts in units of 1 << shift bytes */
    unsigned shift;
    uint8_t erase, write, clear_buffer, unlock, erase_user, write_user;
    uint32_t ready_register, ready;
    uint32_t error_register, errors; /* sticky until written 1 */
    uint32_t error_flag;             /* in ready_register, where that is another; else 0 */
    uint32_t protection_error;       /* of `errors`: locked, or the bootloader's own */
    uint32_t lock_register;          /* a bit for each region, 0 = locked */
    uint32_t mode_register, mode_clear, mode_set; /* writing by command only, caches off */
    bool stalls;        /* the monitor, running from flash, stands still while it is erased */
    uint32_t user_row;  /* its bytes, erased at once */
    uint32_t user_unit; /* bytes of one write there */
    const struct user_field *fields;
};

const struct nvm_kind *nvm_kind(const struct samba *s);

/* One command at a byte address. */
int nvm_command(struct samba *s, uint8_t command, uint64_t address, struct error *err);

/* Until the controller is ready; its errors are then reported and cleared. */
int nvm_wait(struct samba *s, uint64_t timeout, struct error *err);

/* Page buffer, words and command: one unit of flash without the monitor's Y, in manual mode. Where
 * the monitor stalls it does not wait: nvm_wait() comes after the last. */
int nvm_write_words(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                    uint8_t command, struct error *err);
int nvm_manual_mode(struct samba *s, struct error *err);

/* ---- nvm_user.c ---- */
int nvm_fuses(struct samba *s, struct fuse fuses[FUSES_MAX], size_t *count, struct error *err);
int nvm_set_fuse(struct samba *s, const char *name, uint32_t value, struct error *err);

#endif
