/*
 * What EEFC and EFC have in common: a controller for each plane of the flash, with FMR, FCR and FSR
 * in this order; pages numbered within a plane; lock bits by region; GPNVM bits; and pages that an
 * applet programs. Documents: Atmel-11057 (EEFC), Atmel-6120 (EFC).
 */
#ifndef MFLASH_SAMBA_PLANES_H
#define MFLASH_SAMBA_PLANES_H

#include "samba/samba.h"

enum {
    FMR = 0x0, /* offsets from the plane's base */
    FCR = 0x4,
    FSR = 0x8,
    FSR_FRDY = 0x1,
    PLANE_COMMAND_US = SECOND,
    LOCK_WORDS = 8, /* of one plane; 32 regions each */
};

struct plane_kind {
    uint32_t refused, locked, failed; /* error bits of FSR; 0 = there is none */
    const char *refused_name, *locked_name;
    uint8_t set_lock, clear_lock, set_bit, clear_bit; /* commands */
    bool bits_may_fail; /* `failed` shows after a bit command that was done */
    int (*bits)(struct samba *s, uint32_t *bits, struct error *err);
    int (*locks)(struct samba *s, unsigned plane, uint32_t words[LOCK_WORDS], struct error *err);
    const char *(*bit_text)(const struct samba *s, unsigned bit);
};

extern const struct plane_kind plane_eefc, plane_efc;

uint64_t plane_size(const struct samba *s);
unsigned plane_of(const struct samba *s, uint64_t address);

/* Pages are counted from 0 in each plane. */
uint32_t plane_page(const struct samba *s, uint64_t address);

/* Gives a command and waits until it is done. ERR_PROTECTED for a locked region. */
int plane_command(struct samba *s, unsigned plane, uint32_t number, uint32_t argument,
                  uint64_t timeout, struct error *err);

/* Pages that follow each other, by one command each. Where `clean` they are blank already, and
 * those that are to be blank are left out. */
int plane_program(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                  uint32_t number, bool clean, struct error *err);

/* Blanks pages by programming the erased value with a command that erases first. */
int plane_blank(struct samba *s, struct span pages, uint32_t number, struct error *err);

/* Clears the locks of the regions that the extent touches, and of no other. */
int plane_unlock(struct samba *s, struct span extent, struct error *err);

/* Sets a GPNVM bit, and reads it back; what did not take is tried once more. */
int plane_set_bit(struct samba *s, unsigned bit, bool on, struct error *err);

/* gpnvm0 …, and lock0 …: 32 lock regions each, a bit at 1 is a locked one. */
int plane_fuses(struct samba *s, struct fuse fuses[FUSES_MAX], size_t *count, struct error *err);
int plane_set_fuse(struct samba *s, const char *name, uint32_t value, struct error *err);

#endif
