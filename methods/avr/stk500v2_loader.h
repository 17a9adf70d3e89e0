/*
 * The two bootloaders that speak STK500v2: the Mega 2560's and the Arduino M0's. Private to the
 * method stk500v2.
 */
#ifndef MFLASH_STK500V2_LOADER_H
#define MFLASH_STK500V2_LOADER_H

#include "avr/stk500v2_frame.h"
#include "method.h"

enum {
    STK500V2_RETRIES = 2,
    STK500V2_REPLY_US = SECOND, /* beyond the time on the wire; AVR068 §3 */
    STK500V2_BLOCK = 256,       /* flash page of the 2560, row of the M0's SAMD21 */
};

/* The state of a session. */
struct stk500v2_loader {
    struct stk500v2 link;
    bool m0; /* the Arduino M0's dialect */
    uint8_t major, minor;
    uint8_t signature[3];
    bool strict; /* the Mega's build of 2011-06-29: strict seq, `!!!` monitor */
};

/* `address` in bytes, even. */
int stk500v2_load_address(struct stk500v2_loader *loader, uint64_t address, struct error *err);

/* One block to the loaded address, which then moves behind it. Not repeated after silence. */
int stk500v2_program(struct stk500v2_loader *loader, const uint8_t *data, size_t length,
                     struct error *err);

/* Reads 1 … STK500V2_BLOCK bytes from `address` (even); `load` is false where the loader stands
 * there already. Repeated after silence. */
int stk500v2_read_block(struct stk500v2_loader *loader, bool load, uint64_t address, uint8_t *block,
                        size_t length, struct error *err);

/* CHIP_ERASE; *status is what the loader answered. */
int stk500v2_chip_erase(struct stk500v2_loader *loader, uint64_t timeout, uint8_t *status,
                        struct error *err);

/* After silence: lets late replies pass and begins the sequence anew. */
int stk500v2_settle(struct stk500v2_loader *loader, struct error *err);

/* Context and hint for a block that failed. Returns err->code. */
int stk500v2_failed_at(struct error *err, const char *doing, uint64_t address);

/* Writes the job by the Mega's rules; job NULL: the erased value in every page below `end`. */
int mega_write(struct session *session, const struct job *job, uint64_t end, struct error *err);

/* Writes rows of an erased M0. */
int m0_write(struct session *session, const struct job *job, struct error *err);

#endif
