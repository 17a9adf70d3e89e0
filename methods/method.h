/*
 * A method is one protocol. It connects, identifies, erases, writes, verifies, reads, runs, over a
 * link. It knows no file, no board name, no terminal. It is one `const struct method` named
 * `method_<name>` in a file below methods/; the build finds it, there is no list to edit.
 */
#ifndef MFLASH_METHOD_H
#define MFLASH_METHOD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "board/board.h"
#include "board/chip.h"
#include "image/image.h"
#include "link/can.h"
#include "link/serial.h"
#include "link/usb.h"

enum link_kind { LINK_SERIAL, LINK_USB, LINK_CAN, LINK_SWD, LINK_FILE };

/* What a user can ask of a method; each is either provided or has a reason why it is not possible.
 */
enum operation {
    OP_WRITE, /* flash an image */
    OP_READ,
    OP_VERIFY,
    OP_ERASE_RANGE,
    OP_ERASE_CHIP,
    OP_INFO,
    OP_FUSES, /* show */
    OP_SET_FUSES,
    OP_UNLOCK,
    OP_BOOTLOADER, /* run a recipe on a fresh chip */
    OP_RESET,
    OP_ENTER, /* bring the board into this bootloader */
    OP_RUN,
    OP_EEPROM,
    OP_COUNT,
};

const char *operation_name(enum operation op); /* "write", "read", "erase a range" … */

struct refusal {
    enum operation op;
    const char *because; /* completes "not possible over METHOD, because …" */
};

struct session;

/* What `write` and `verify` get: the whole work of their phase in one memory. */
struct job {
    const struct image *image;   /* holds exactly what is to be written: placed, clipped, checked */
    const struct region *region; /* geometry: page, erased value */
    bool erased;                 /* the region was erased just now: blank pages may be skipped */
};

/* A named fuse, lock or option value. */
struct fuse {
    char name[16]; /* "lfuse", "lock" */
    uint32_t value;
    uint32_t mask;  /* bits that exist */
    char text[192]; /* decoded bits: "CKSEL=1111 SUT=11 CKDIV8=1 …"; may be "" */
};

enum { FUSES_MAX = 24, INFO_MAX = 24 };

/* What `info` prints, line by line: "signature" "1e 98 01 (atmega2560)". */
struct info_line {
    char name[24];
    char text[160];
};

struct device_info {
    struct info_line lines[INFO_MAX];
    size_t count;
};

/* How the bytes of the region come to be erased before they are written. */
enum erase_style {
    ERASE_BY_WRITE, /* writing a page erases it */
    ERASE_RANGES,   /* erase() takes ranges of sectors */
    ERASE_WHOLE,    /* only erase_chip() exists */
};

struct method {
    const char *name;     /* "stk500v1" */
    const char *summary;  /* one line for `mflash methods` */
    const char *document; /* "Atmel AVR061" */
    enum link_kind link;
    bool rom;   /* a ROM or probe method: writes anywhere; false: a flash bootloader that owns part
                   of the chip */
    bool probe; /* reached through a programmer or probe: `-p`, never by the board's own port */
    bool in_order; /* pages must be written from the first on, without holes: of equal pages only an
                      unchanged tail can be left out */
    bool regions;  /* reaches memories beside the chip's own, as the board's region.NAME say */
    uint32_t baud; /* if neither board nor user says */
    enum erase_style erase_style;
    const struct refusal *refusals; /* ends with because == NULL */
    const char *const *keys; /* boards.ini keys this method adds; ends with NULL; may be NULL */

    /* Opens the conversation and identifies the chip: after connect the device is known to be the
     * right one (signature gate; ERR_REFUSED "signature" unless session->force_signature). */
    int (*connect)(struct session *session, struct error *err);
    int (*info)(struct session *session, struct device_info *info, struct error *err);
    /* The erase style in force for this session's board, where it varies; else NULL. */
    enum erase_style (*style)(const struct loader *loader);
    int (*erase)(struct session *session, const struct span *ranges, size_t count,
                 struct error *err);
    int (*erase_chip)(struct session *session, struct error *err);
    int (*write)(struct session *session, const struct job *job, struct error *err);
    /* Which sectors of the flash hold the image's bytes already, by checksums that the chip makes:
     * sets equal[i] for each of `count` sectors in rising order, all touched by the image; calls
     * session_advance with the image's bytes in them. A sum must be so long that chance does not
     * count (CRC-32). ERR_NOT_POSSIBLE: this device cannot tell; `count` 0 asks just that. NULL:
     * none can. */
    int (*equal)(struct session *session, const struct job *job, const struct span *sectors,
                 size_t count, bool *equal, struct error *err);
    /* Does reading this sector cost less than a quarter of erasing and writing it? Then --diff auto
     * reads it. NULL: never. */
    bool (*cheap_read)(const struct session *session, const struct span *sector);
    /* NULL: the engine reads and compares, if there is a read. */
    int (*verify)(struct session *session, const struct job *job, struct error *err);
    /* Any address and length inside the region; calls session_advance as bytes arrive. */
    int (*read)(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
                size_t length, struct error *err);
    int (*fuses)(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
                 struct error *err);
    /* Writes one, waits, reads it back under its mask. */
    int (*set_fuse)(struct session *session, const char *name, uint32_t value, struct error *err);
    /* NULL, or why this value would lock the user out (`--force fuses`). NULL function: no value is
     * dangerous. */
    const char *(*fuse_danger)(const struct chip *chip, const char *name, uint32_t value);
    int (*unlock)(struct session *session, struct error *err);
    /* Leave the programming mode and come back, so that new fuses count (recipes). NULL: no need.
     */
    int (*restart)(struct session *session, struct error *err);
    int (*run)(struct session *session, struct error *err); /* start the application */
    /* Frees what connect took. After a failure it must leave the board in its bootloader if the
     * protocol allows that. Never fails, never waits long. */
    void (*disconnect)(struct session *session);
};

/* All methods of this build, sorted by name; ends with NULL. Generated. */
extern const struct method *const methods[];

const struct method *method_find(const char *name);

/* NULL if the method can do it, else the reason. */
const char *method_refusal(const struct method *method, enum operation op);

/* One conversation with one device. The engine makes it, the method uses it. */
struct session {
    const struct method *method;
    const struct chip *chip;
    const struct loader *loader; /* settings of the board for this method */
    struct serial *serial;       /* the link, by method->link: one of these three is set */
    struct usb *usb;
    struct can *can;
    const uint8_t *uuid; /* CAN: of the node, 6 bytes */
    uint64_t program;    /* where this run's program begins: its image's start, else the loader's */
    struct clock *clock; /* that link's clock */
    uint32_t baud;       /* what the user asked for, or 0: loader->bauds, method->baud */
    bool force_signature; /* --force signature */
    bool force_unproven;  /* --force unproven-chip */
    bool force_size;      /* --force size */
    bool force_start;     /* --force start */
    bool force_vectors;   /* --force vectors */
    bool force_blank;     /* --force blank */
    const char *mcu;      /* Klipper's name of the chip, where it is not chip->name; NULL */
    const char *probe;    /* -p KIND, for methods that serve several; NULL */
    const volatile sig_atomic_t
        *stop; /* set by a signal: finish the block and return; may be NULL */
    void (*advance)(void *user, size_t bytes);  /* progress of the phase; may be NULL */
    void (*note)(void *user, const char *text); /* a remark for the user; may be NULL */
    void *user;
    /* Set by a connect that fails because it has sent the device away into its bootloader, and by a
     * set_fuse over which the device resets: who called waits for what comes back at its place, and
     * connects again. */
    bool comes_back;
    bool unproven_told; /* the note that an unproven chip was forced */
    void *state;        /* the method's own, from connect to disconnect */
};

/* Progress: `bytes` more of the phase are done (written and acknowledged, or read). */
void session_advance(struct session *session, size_t bytes);

void session_note(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* True once the user asked to stop. Methods look between two blocks and then return
 * session_interrupted(): ERR_INTERRUPTED. */
bool session_stopped(const struct session *session);
int session_interrupted(struct error *err);

/* The bauds to try, in order: the user's one, else the board's, else the method's. Returns count.
 */
size_t session_bauds(const struct session *session, uint32_t *bauds, size_t max);

/* The signature gate shared by AVR methods and the like: compares, accepts other chips with the
 * same signature; ERR_REFUSED "signature" naming both chips unless forced (then a note). */
int session_check_signature(struct session *session, const uint8_t signature[3], struct error *err);

/* Before the first change: chips of a family that no virtual board has shown to work are left
 * alone. ERR_REFUSED "unproven-chip", unless forced (then a note). */
int session_check_proven(struct session *session, bool proven, struct error *err);

/* "1e 95 0f (atmega328p)", with every chip that has this signature. */
void signature_text(const uint8_t signature[3], char *out, size_t size);

/* One more line for `info`; dropped when there are INFO_MAX. */
void device_info_add(struct device_info *info, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- Pages: alignment, padding and blank skipping, written once ---- */

/* Walks the pages of a job in rising order:
 *
 *     struct pages pages = pages_of(job, PAGES_SKIP_BLANK);
 *     while (pages_next(&pages, buffer)) ... pages.address, pages.length (== region page)
 */
enum pages_mode {
    PAGES_TOUCHED,    /* pages the image has a byte in */
    PAGES_SKIP_BLANK, /* those, without pages that hold nothing but the erased value */
    PAGES_CONTIGUOUS, /* every page from the first touched one to the last: holes are filled */
};

struct pages {
    const struct job *job;
    enum pages_mode mode;
    uint64_t next, end; /* page aligned */
    size_t segment;
    uint64_t address; /* of the page just returned */
    size_t payload;   /* bytes of it that the image has */
    /* Set after pages_of: the first page, with its reset vector, comes last. If the region was not
     * erased, it also comes first, empty, so that a half-written board never starts. */
    bool first_last;
    bool held;  /* it is still to come, at `first` */
    bool empty; /* the page just returned is that empty one */
    uint64_t first;
};

struct pages pages_of(const struct job *job, enum pages_mode mode);

/* Fills `buffer` (region->page bytes) and returns true; false at the end. */
bool pages_next(struct pages *pages, uint8_t *buffer);

/* How many pages that walk will return. */
size_t pages_count(const struct job *job, enum pages_mode mode);

bool bytes_blank(const uint8_t *bytes, size_t length, uint8_t erased);

/* Compares what the device holds with the job: reads each segment by method->read and reports the
 * first difference, how many bytes differ, and expected and found values. ERR_VERIFY. */
int verify_by_reading(struct session *session, const struct job *job, struct error *err);

#endif
