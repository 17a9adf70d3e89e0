/* A chip behind a SAM-BA monitor, and its flash controller. See monitor.h for the wire. */
#ifndef MFLASH_SAMBA_SAMBA_H
#define MFLASH_SAMBA_SAMBA_H

#include "method.h"
#include "samba/applets.h"
#include "samba/monitor.h"

/* What the chips of a family have in common; data sheets, chapters RSTC, EEFC, EFC and NVMCTRL. */
struct sam_family {
    const char *name;
    uint32_t reset_register, reset_value;
    uint32_t gpnvm;      /* bits that exist; 0 = no EEFC or EFC: the monitor is in flash */
    bool rom_reads_zero; /* R straight from flash tells nothing: copy to RAM first */
    bool arm7; /* no Cortex-M: G jumps to code, and chip id and controllers lie elsewhere */
};

/* NULL if the family is not known. */
const struct sam_family *sam_family(const char *name);

struct samba {
    struct session *session;
    struct monitor monitor;
    const struct sam_part *part;
    const struct sam_family *family;
    const struct region *flash;
    const struct flash_controller *controller;
    uint32_t id;        /* CIDR or DID as read */
    uint32_t work, end; /* RAM for applets and buffers: [work, end) */
    bool resident[APPLET_COUNT];
    bool security;   /* set, and the monitor can neither read nor write flash */
    bool unreadable; /* set, and the monitor hides the flash, but writes it */
    size_t slab;     /* bytes written in one go: whole sectors */
    uint8_t *buffer; /* that many */
    uint8_t *first;  /* one sector: the application's first, kept for last */
};

/* Addresses are in the chip's space; lengths in bytes. Erase and program get whole sectors within
 * one slab, `bytes` filled with the erased value where the image has none. */
struct flash_controller {
    const char *name;
    bool first_last; /* the flash loader starts what has a reset vector: the first sector goes last,
                        and is emptied first */
    /* Before the first change of [start, start + size): locks, wait states. */
    int (*prepare)(struct samba *s, struct span extent, struct error *err);
    int (*erase)(struct samba *s, struct span sectors, struct error *err);
    /* `erased`: the sectors are; else it erases them. */
    int (*program)(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                   bool erased, struct error *err);
    int (*erase_all)(struct samba *s, struct error *err);
    int (*unlock)(struct samba *s, struct error *err);
    int (*fuses)(struct samba *s, struct fuse fuses[FUSES_MAX], size_t *count, struct error *err);
    int (*set_fuse)(struct samba *s, const char *name, uint32_t value, struct error *err);
    const char *(*fuse_danger)(const char *name, uint32_t value); /* as the method's */
    int (*security)(struct samba *s, struct error *err); /* finds s->security, s->unreadable */
    int (*info)(struct samba *s, struct device_info *info, struct error *err);
    /* What the chip starts: its flash, or its ROM. NULL: nothing to choose. */
    int (*boot_bit)(struct samba *s, bool flash, struct error *err);
};

extern const struct flash_controller samba_eefc, samba_efc, samba_nvmctrl_d2x, samba_nvmctrl_d5x;

/* ---- target.c: identity, RAM, applets ---- */

/* Reads SP, CPU and chip id in an order that touches no address another family would fault on, and
 * compares. ERR_REFUSED "signature" unless forced; ERR_PROTOCOL for neither ARM7 nor Cortex-M. */
int samba_identify(struct samba *s, struct error *err);

/* "0x285e0a60 (sam3x8e)", with every chip that has this id. */
void samba_id_text(uint32_t register_address, uint32_t id, char *out, size_t size);

/* Address of the data buffer behind the applets. */
uint32_t samba_buffer(const struct samba *s);

/* Puts the applet into RAM if it is not there yet, its parameters too, and runs it. Parameters are
 * the header's words from the third on; `timeout` in microseconds. */
int samba_run_applet(struct samba *s, enum applet_number number,
                     const uint32_t parameters[APPLET_WORDS - 2], uint64_t timeout,
                     struct error *err);

/* The address of header word `n` of an applet, to read its results. */
uint32_t samba_applet_word(const struct samba *s, enum applet_number number, unsigned n);

/* Any address and length of flash; calls session_advance if `progress`. */
int samba_read_flash(struct samba *s, uint64_t address, uint8_t *bytes, size_t length,
                     bool progress, struct error *err);

/* Does [address, address + length) hold `bytes`? By a checksum the chip makes. */
int samba_compare(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                  bool *equal, struct error *err);

/* CRC-32 of `count` blocks of `block` bytes each that follow each other, in one call of the applet.
 */
int samba_checksums(struct samba *s, uint64_t address, size_t block, size_t count, uint32_t *sums,
                    struct error *err);
enum { SAMBA_SUMS_MAX = 64 };

/* ERR_PROTECTED if the security bit is set. */
int samba_check_open(const struct samba *s, struct error *err);

/* Reads `register_address` until one of `mask`'s bits is set. *value is the OR of all seen. */
int samba_wait(struct samba *s, uint32_t register_address, uint32_t mask, uint32_t *value,
               uint64_t timeout, struct error *err);

/* ---- sectors.c ---- */

/* Function `equal` of the method. Never by the monitor's Z, which is of 16 bits: that is enough to
 * find what went wrong, but not to leave hundreds of sectors unwritten. */
int samba_equal(struct session *session, const struct job *job, const struct span *sectors,
                size_t count, bool *equal, struct error *err);

/* Sectors at or after `from` that the image has a byte in, in a row, within one slab; false if
 * there are none. */
bool samba_next_slab(const struct samba *s, const struct image *image, uint64_t from,
                     struct span *slab);

/* What whole sectors will hold: a sector that the image fills in part keeps the rest, which is read
 * before. *payload: bytes that are the image's. */
int samba_fill(struct samba *s, const struct job *job, struct span part, uint8_t *bytes,
               size_t *payload, struct error *err);

#endif
