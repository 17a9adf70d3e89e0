/*
 * A device in DFU mode, as the files of this method share it. Documents: USB DFU 1.1; ST AN3156 and
 * UM0424 (DfuSe); rogerclarkmelbourne/STM32duino-bootloader.
 */
#ifndef MFLASH_DFU_DFU_H
#define MFLASH_DFU_DFU_H

#include "dfu/layout.h"
#include "dfu/wire.h"
#include "method.h"

enum { DFU_ALTERNATES_MAX = 16, DFU_DESCRIPTION_MAX = 512 };

enum dfu_kind {
    DFU_PLAIN, /* one image from block 0 on */
    DFU_ST,    /* DfuSe: addresses, pages, commands */
    DFU_MAPLE, /* stm32duino: plain, and each GETSTATUS programs a page */
};

/* An alternate setting: a memory. */
struct dfu_alternate {
    uint8_t number;
    char description[DFU_DESCRIPTION_MAX]; /* its string, "@Internal Flash  /0x08000000/…" */
    bool mapped;                           /* the string is a layout */
    struct dfu_layout layout;
};

struct dfu {
    struct session *session;
    struct dfu_wire wire;
    enum dfu_kind kind;
    uint8_t attributes;
    uint16_t detach_timeout; /* milliseconds */
    uint16_t transfer;       /* wTransferSize, bytes */
    uint16_t version;        /* bcdDFUVersion */
    bool described;          /* it has a functional descriptor */
    struct dfu_alternate alternates[DFU_ALTERNATES_MAX];
    size_t count;
    struct dfu_alternate *selected;
    bool lies;          /* what it says of its memory's sectors is not to be trusted */
    char serial[32];    /* GD32: says the size of its flash … */
    unsigned kilobytes; /* … which is this; 0: it is not told */
    bool unfinished;    /* a program was begun and did not come to its end: it is not started */
    bool left;
    bool wrote; /* there is a program to start */
};

enum { DFU_CAN_DOWNLOAD = 1, DFU_CAN_UPLOAD = 2, DFU_TOLERANT = 4, DFU_WILL_DETACH = 8 };

/* ---- describe.c: what the descriptors say ---- */

/* Fills kind, sizes and alternates from the descriptors. *runtime: the interface is an
 * application's. ERR_NOT_POSSIBLE: there is no DFU interface. */
int dfu_describe(struct dfu *dfu, bool *runtime, struct error *err);

/* SET_INTERFACE, from dfuIDLE to dfuIDLE. */
int dfu_select(struct dfu *dfu, struct dfu_alternate *alternate, struct error *err);

/* Lists the device's memories as the error's hint; the error's status. */
int dfu_hint_memories(const struct dfu *dfu, struct error *err);

/* ERR_REFUSED "size": it has no memory there that can be "written", "erased" … */
int dfu_no_memory(const struct dfu *dfu, const char *done, const struct span *span,
                  struct error *err);

/* The alternate whose layout has the whole span with that access; NULL: none. */
struct dfu_alternate *dfu_alternate_for(struct dfu *dfu, const struct span *span, uint8_t access);

/* ---- gd32.c ---- */

/* Puts right what a GD32 says of its flash, by its serial number. */
void dfu_gd32_mend(struct dfu *dfu);

/* ---- connect.c ---- */

/* Describes, claims, chooses the memory and checks the chip. ERR_GONE with session->comes_back: it
 * was an application, and is on its way into its loader. */
int dfu_open(struct dfu *dfu, struct error *err);

/* ---- option_bytes.c: the method's functions ---- */

int dfu_fuses(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
              struct error *err);
int dfu_set_fuse(struct session *session, const char *name, uint32_t value, struct error *err);

/* ---- st.c, st_read.c: DfuSe ---- */

enum { DFU_ST_FIRST = 2, DFU_ST_BLOCKS = 0xfffe }; /* number of the first block of data; how many */

int dfu_st_set_address(struct dfu *dfu, uint64_t address, struct error *err);
/* Of the memory that is selected, from dfuIDLE to dfuIDLE; at most DFU_ST_BLOCKS blocks. `advance`:
 * it is the phase's own work. */
int dfu_st_read_run(struct dfu *dfu, uint64_t address, uint8_t *bytes, size_t length, bool advance,
                    struct error *err);

int dfu_st_erase(struct dfu *dfu, const struct span *ranges, size_t count, struct error *err);
int dfu_st_erase_all(struct dfu *dfu, struct error *err);
int dfu_st_write(struct dfu *dfu, const struct job *job, struct error *err);
int dfu_st_read(struct dfu *dfu, uint64_t address, uint8_t *bytes, size_t length,
                struct error *err);
int dfu_st_unprotect(struct dfu *dfu, struct error *err);
int dfu_st_leave(struct dfu *dfu, uint64_t address, struct error *err);
/* Writes a whole small memory (option bytes) from its start; the device may leave over it. */
int dfu_st_write_area(struct dfu *dfu, uint64_t address, const uint8_t *bytes, size_t length,
                      struct error *err);

/* ---- plain.c: DFU 1.1 and stm32duino ---- */

int dfu_plain_write(struct dfu *dfu, const struct job *job, struct error *err);
int dfu_plain_read(struct dfu *dfu, uint64_t address, uint8_t *bytes, size_t length,
                   struct error *err);
int dfu_plain_leave(struct dfu *dfu, struct error *err);

#endif
