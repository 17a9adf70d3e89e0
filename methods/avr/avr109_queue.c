/* See avr109_queue.h. */
#include "avr/avr109_queue.h"

#include <assert.h>
#include <string.h>

#include "avr/heard.h"

enum {
    CR = 0x0d,
    REPLY_US = 2 * SECOND,             /* beyond programming times; a page takes 9 ms */
    SETTLE_US = 50 * MILLISECOND,      /* of silence after a failure; a page takes 9 ms */
    EEPROM_BYTE_US = 20 * MILLISECOND, /* twice the longest data sheet value */
    SLICE = 256,                       /* progress within a read */
};

static int no_answer(const struct heard *heard, size_t wanted, struct error *err)
{
    char text[HEARD_TEXT_MAX];
    if (heard->total == 0)
        return error_set(err, ERR_NO_ANSWER, "no answer: %s", heard_describe(heard, text));
    return error_set(err, ERR_NO_ANSWER, "the answer ended after %zu of %zu bytes", heard->total,
                     wanted);
}

/* Exactly `length` bytes. */
static int receive(struct serial *serial, uint8_t *bytes, size_t length, uint64_t deadline,
                   struct error *err)
{
    struct heard heard = {.total = 0};
    while (heard.total < length) {
        uint8_t *next = bytes + heard.total;
        ssize_t got = serial_read_some(serial, next, length - heard.total, deadline, err);
        if (got < 0)
            return (int)got;
        if (got == 0)
            return no_answer(&heard, length, err);
        heard_add(&heard, next, (size_t)got);
    }
    return OK;
}

int avr109_ask(struct avr109 *s, uint8_t command, uint8_t *reply, size_t length, struct error *err)
{
    int rc = serial_write(s->serial, &command, 1, err);
    if (rc == OK)
        rc = receive(s->serial, reply, length, clock_in(s->serial->clock, AVR109_QUESTION_US), err);
    return rc;
}

int avr109_expect_cr(struct avr109 *s, uint64_t timeout, struct error *err)
{
    uint8_t byte;
    int rc = receive(s->serial, &byte, 1, clock_in(s->serial->clock, timeout), err);
    if (rc != OK || byte == CR)
        return rc;
    return error_set(err, ERR_PROTOCOL, "device answered %02x%s instead of 0d (done)", byte,
                     byte == '?' ? " (command unknown)" : "");
}

static uint64_t reply_time(const struct avr109 *s)
{
    return s->memory == MEM_EEPROM
               ? REPLY_US + AVR109_QUEUE * AVR109_EEPROM_BLOCK * (uint64_t)EEPROM_BYTE_US
               : REPLY_US;
}

/* Waits until at most `most` commands are unacknowledged. */
static int shorten_queue(struct session *session, size_t most, struct error *err)
{
    struct avr109 *s = session->state;
    while (s->queued > most) {
        int rc = avr109_expect_cr(s, reply_time(s), err);
        if (rc != OK)
            return rc;
        session_advance(session, s->payloads[0]);
        s->queued--;
        memmove(s->payloads, s->payloads + 1, s->queued * sizeof s->payloads[0]);
    }
    return OK;
}

/* One command, one write: one packet of its own. */
static int queue(struct session *session, const uint8_t *command, size_t length, size_t payload,
                 struct error *err)
{
    struct avr109 *s = session->state;
    int rc = shorten_queue(session, AVR109_QUEUE - 1, err);
    if (rc == OK)
        rc = serial_write(s->serial, command, length, err);
    if (rc == OK)
        s->payloads[s->queued++] = payload;
    return rc;
}

/* Word addresses for flash, byte addresses for EEPROM; nothing to do where the loader stands. */
static int queue_address(struct session *session, enum memory memory, uint64_t address,
                         struct error *err)
{
    struct avr109 *s = session->state;
    if (s->memory == memory && s->address == address)
        return OK;
    uint64_t n = memory == MEM_FLASH ? address / 2 : address;
    const uint8_t command[] = {'A', (uint8_t)(n >> 8), (uint8_t)n};
    s->memory = memory;
    s->address = address;
    return queue(session, command, sizeof command, 0, err);
}

static uint8_t memory_letter(enum memory memory)
{
    return memory == MEM_EEPROM ? 'E' : 'F';
}

int avr109_queue_block(struct session *session, enum memory memory, uint64_t address,
                       const uint8_t *data, size_t length, size_t payload, struct error *err)
{
    struct avr109 *s = session->state;
    uint8_t command[4 + AVR109_BLOCK_MAX] = {'B', (uint8_t)(length >> 8), (uint8_t)length,
                                             memory_letter(memory)};
    assert(length <= AVR109_BLOCK_MAX);
    if (session_stopped(session))
        return session_interrupted(err);
    memcpy(command + 4, data, length);
    int rc = queue_address(session, memory, address, err);
    if (rc == OK)
        rc = queue(session, command, 4 + length, payload, err);
    if (rc == OK)
        s->address = address + length;
    return rc;
}

/* What is under way is waited for, whether or not all went well; then the place is not known. */
int avr109_finish(struct session *session, const char *doing, int rc, struct error *err)
{
    struct avr109 *s = session->state;
    uint64_t reached = s->address;
    if (rc == OK)
        rc = shorten_queue(session, 0, err);
    else if (rc == ERR_INTERRUPTED)
        (void)shorten_queue(session, 0, NULL);
    if (rc == ERR_PROTOCOL) /* the loader is to end with a whole command, ready for the next run */
        (void)serial_drain(s->serial, SETTLE_US, REPLY_US, NULL);
    s->address = UINT64_MAX;
    s->queued = 0;
    if (rc == OK || rc == ERR_INTERRUPTED)
        return rc;
    error_context(err, "%s %s near 0x%04llx", doing, memory_name(s->memory),
                  (unsigned long long)(reached == UINT64_MAX ? 0 : reached));
    return error_hint(err, rc == ERR_GONE
                               ? "check the cable, press RESET and run the same command again"
                               : "press RESET and run the same command again");
}

/* One command reads up to 32 KiB: the whole application of a 32U4. */
int avr109_read_run(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
                    size_t length, struct error *err)
{
    struct avr109 *s = session->state;
    const uint8_t command[] = {'g', (uint8_t)(length >> 8), (uint8_t)length, memory_letter(memory)};
    int rc = queue_address(session, memory, address, err);
    if (rc == OK)
        rc = serial_write(s->serial, command, sizeof command, err);
    if (rc == OK)
        rc = shorten_queue(session, 0, err);
    while (rc == OK && length > 0) {
        size_t slice = length < SLICE ? length : SLICE;
        if (session_stopped(session))
            return session_interrupted(err);
        rc = receive(s->serial, bytes, slice, clock_in(session->clock, REPLY_US), err);
        if (rc == OK)
            session_advance(session, slice);
        bytes += slice;
        length -= slice;
    }
    return rc;
}
