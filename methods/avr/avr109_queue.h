/*
 * AVR109 commands, several under way at once (Atmel AVR109; Arduino Caterina.c).
 *
 * What follows a command in the same USB packet is dropped by the loader, so each command is one
 * write. Commands may be queued all the same: the device takes the next packet when it is ready for
 * it, so the next page is on its way while the last one is being programmed.
 */
#ifndef MFLASH_AVR109_QUEUE_H
#define MFLASH_AVR109_QUEUE_H

#include "method.h"

enum {
    AVR109_NAME_LENGTH = 7, /* "CATERIN", "LUFACDC" */
    AVR109_QUESTION_US = 500 * MILLISECOND,
    AVR109_QUEUE = 4, /* commands sent and not yet acknowledged */
    AVR109_BLOCK_MAX = 256,
    AVR109_EEPROM_BLOCK = 32,
};

/* The state of a session. */
struct avr109 {
    struct serial *serial;
    char name[AVR109_NAME_LENGTH + 1];
    uint8_t signature[3];
    size_t buffer; /* block size the loader tells */
    enum memory memory;
    uint64_t address; /* where the loader stands, in `memory`; UINT64_MAX = not known */
    size_t payloads[AVR109_QUEUE]; /* progress of each queued command, oldest first */
    size_t queued;
};

/* One letter, and exactly `length` bytes of answer. */
int avr109_ask(struct avr109 *s, uint8_t command, uint8_t *reply, size_t length, struct error *err);

/* The acknowledgement of a command that is not queued. */
int avr109_expect_cr(struct avr109 *s, uint64_t timeout, struct error *err);

/* Queues the writing of a block: a page of flash, or up to AVR109_EEPROM_BLOCK bytes of EEPROM.
 * `payload` counts as progress once it is acknowledged. */
int avr109_queue_block(struct session *session, enum memory memory, uint64_t address,
                       const uint8_t *data, size_t length, size_t payload, struct error *err);

/* Reads up to 32 KiB by one command; flash from an even address. */
int avr109_read_run(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
                    size_t length, struct error *err);

/* Ends a run of blocks that went on until `rc`: waits for what is under way and gives the error its
 * context. Returns the final code. */
int avr109_finish(struct session *session, const char *doing, int rc, struct error *err);

#endif
