/*
 * Memory access through an STK500v1 bootloader: addresses, one block written, one block read.
 * Private to the method stk500v1.
 */
#ifndef MFLASH_STK500V1_LOADER_H
#define MFLASH_STK500V1_LOADER_H

#include "avr/stk500v1_wire.h"
#include "method.h"

enum {
    STK500V1_REPLY_US = SECOND, /* beyond the time on the wire; optiboot's watchdog has as much */
    STK500V1_PAGE_MAX = 256,    /* ATmegaBOOT's buffer, which it does not guard */
};

enum loader_kind { UNKNOWN_LOADER, OPTIBOOT, ATMEGABOOT };

/* The state of a session. */
struct stk500v1_loader {
    struct stk500v1 wire;
    enum loader_kind kind;
    uint8_t major, minor;
    uint8_t signature[3];
    bool addressed; /* the loader's address is `address`: it needs no LOAD_ADDRESS */
    uint64_t address;
    int extended; /* upper address byte the loader has; -1 = not known */
};

/* Writes 1 … STK500V1_PAGE_MAX bytes: a whole page of flash, or a run of EEPROM that begins at an
 * even address. */
int stk500v1_program(struct session *session, enum memory memory, uint64_t address,
                     const uint8_t *data, size_t length, struct error *err);

/* Reads from an even address: `skip` (0 or 1) bytes that are not wanted, then `length` into
 * `bytes`, with progress. */
int stk500v1_read_block(struct session *session, enum memory memory, uint64_t address, size_t skip,
                        uint8_t *bytes, size_t length, struct error *err);

#endif
