/*
 * The little of Klipper's serial protocol that tells what a firmware is: see klipper.h.
 *
 * Every block the firmware sends carries the number of the block it expects next. A block that is
 * not accepted is answered too, by the old number: it is sent again under that number.
 */
#include "klipper/klipper.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "klipper/block.h"

enum {
    /* Fixed before any dictionary is known. */
    MSG_IDENTIFY_RESPONSE = 0,
    MSG_IDENTIFY = 1,
    CHUNK = 40,                    /* bytes in one answer; the block holds 59 */
    DICTIONARY_MAX = 64 * 1024,    /* real ones have 2.4 to 4 KiB */
    ANSWER_US = 100 * MILLISECOND, /* the longest task of the firmware is shorter */
    TRIES = 10,                    /* for one chunk */
    RESET_TRIES = 3,               /* under the number it told */
    WHOLE_US = 20 * SECOND,
    LEAVE_US = 20 * MILLISECOND, /* until USB-serial chips have let the last bytes go */
};

struct conversation {
    struct serial *serial;
    uint64_t end;
    uint8_t number; /* of our next block */
    uint8_t bytes[4 * KLIPPER_BLOCK_MAX];
    size_t have;
    bool heard; /* any block of Klipper's came */
    bool owed;  /* an answer came before its acknowledgement, which may still follow */
    uint8_t *stream;
    size_t length;
};

static void drop(struct conversation *c, size_t count)
{
    c->have -= count;
    memmove(c->bytes, c->bytes + count, c->have);
}

/* Next block of the firmware. ERR_NO_ANSWER: the deadline passed. The content stays in c->bytes
 * until `used` bytes are dropped. */
static int next_block(struct conversation *c, struct klipper_block *block, size_t *used,
                      uint64_t deadline, struct error *err)
{
    for (;;) {
        bool found;
        *used = klipper_block_get(c->bytes, c->have, block, &found);
        if (found)
            return OK;
        drop(c, *used);
        ssize_t got = serial_read_some(c->serial, c->bytes + c->have, sizeof c->bytes - c->have,
                                       deadline, err);
        if (got < 0)
            return (int)got;
        if (got == 0) {
            c->have = 0;
            return error_set(err, ERR_NO_ANSWER, "no answer");
        }
        c->have += (size_t)got;
    }
}

static int ask_chunk(struct conversation *c, struct error *err)
{
    uint8_t content[KLIPPER_CONTENT_MAX], block[KLIPPER_BLOCK_MAX];
    uint8_t *end = klipper_vlq_put(content, MSG_IDENTIFY);
    end = klipper_vlq_put(end, (uint32_t)c->length);
    end = klipper_vlq_put(end, CHUNK);
    size_t size = klipper_block_put(block, c->number, content, (size_t)(end - content));
    return serial_write(c->serial, block, size, err);
}

/* True if the block answers the chunk we wait for; it is then in *data. */
static bool is_chunk(const struct conversation *c, const struct klipper_block *block,
                     const uint8_t **data, uint32_t *count)
{
    const uint8_t *cursor = block->content, *end = block->content + block->length;
    uint32_t message, offset;
    bool is = klipper_vlq_get(&cursor, end, &message) && message == MSG_IDENTIFY_RESPONSE &&
              klipper_vlq_get(&cursor, end, &offset) && offset == c->length &&
              klipper_vlq_get(&cursor, end, count) && *count <= (size_t)(end - cursor);
    *data = cursor;
    return is;
}

static int keep_chunk(struct conversation *c, const uint8_t *data, size_t count, struct error *err)
{
    if (count > CHUNK || c->length + count > DICTIONARY_MAX)
        return error_set(err, ERR_PROTOCOL, "it sends more than was asked for");
    memcpy(c->stream + c->length, data, count);
    c->length += count;
    return OK;
}

/* One question and what comes back to it. `count`: bytes of the chunk. ERR_NO_ANSWER: to be asked
 * again, under the number that the firmware told. */
static int once(struct conversation *c, uint32_t *count, struct error *err)
{
    uint8_t asked = c->number, next = (uint8_t)((asked + 1) % KLIPPER_NUMBERS);
    bool acknowledged = false;
    int rc = ask_chunk(c, err);
    uint64_t deadline = clock_in(c->serial->clock, ANSWER_US);
    while (rc == OK) {
        struct klipper_block block;
        const uint8_t *data;
        size_t used;
        rc = next_block(c, &block, &used, deadline, err);
        if (rc != OK)
            return rc;
        c->heard = true;
        c->number = block.number;
        bool answer = is_chunk(c, &block, &data, count);
        if (answer)
            rc = keep_chunk(c, data, *count, err);
        drop(c, used);
        if (answer) {
            c->owed = !acknowledged;
            return rc;
        }
        if (block.length > 0)
            continue;
        if (block.number == next)
            acknowledged = true;
        else if (c->owed && block.number == asked)
            c->owed = false;
        else
            return error_set(err, ERR_NO_ANSWER, "it expects another block");
    }
    return rc;
}

static int next_chunk(struct conversation *c, uint32_t *count, struct error *err)
{
    int rc = ERR_NO_ANSWER;
    for (unsigned i = 0; i < TRIES && rc == ERR_NO_ANSWER; i++) {
        if (clock_now(c->serial->clock) >= c->end)
            return error_set(err, ERR_NO_ANSWER, "its dictionary did not come to an end in %d s",
                             WHOLE_US / SECOND);
        rc = once(c, count, err);
    }
    return rc;
}

static int read_stream(struct conversation *c, struct error *err)
{
    uint32_t count = 1;
    int rc = OK;
    while (rc == OK && count > 0)
        rc = next_chunk(c, &count, err);
    if (rc == OK)
        return OK;
    if (rc == ERR_NO_ANSWER && !c->heard) {
        uint32_t baud = c->serial->settings.baud;
        if (baud == 0) /* a stream over CAN */
            return error_set(err, rc, "no Klipper answers");
        error_set(err, rc, "no Klipper answers at %" PRIu32 " baud", baud);
        return error_hint(err, "check the rate (SERIAL_BAUD of the firmware), and that no other "
                               "program has this port");
    }
    return error_context(err, "reading Klipper's dictionary at byte %zu", c->length);
}

int klipper_identify(struct serial *serial, struct klipper_facts *facts, struct error *err)
{
    struct conversation c = {.serial = serial, .end = clock_in(serial->clock, WHOLE_US)};
    *facts = (struct klipper_facts){0};
    c.stream = malloc(DICTIONARY_MAX);
    if (!c.stream)
        return error_memory(err);
    serial_drop_input(serial);
    int rc = read_stream(&c, err);
    if (rc == OK && !klipper_dictionary(c.stream, c.length, facts))
        rc = error_set(err, ERR_PROTOCOL,
                       "what it calls its dictionary (%zu bytes) is none of Klipper's", c.length);
    free(c.stream);
    return rc;
}

bool klipper_same(const struct klipper_facts *a, const struct klipper_facts *b)
{
    return a->present && b->present && a->length == b->length && a->crc == b->crc;
}

/* The number it expects is not known here: a wrong one is answered by the right one. */
int klipper_reset(struct serial *serial, const struct klipper_facts *facts, struct error *err)
{
    struct conversation c = {.serial = serial};
    uint8_t content[KLIPPER_CONTENT_MAX], bytes[KLIPPER_BLOCK_MAX];
    size_t length = (size_t)(klipper_vlq_put(content, facts->reset) - content);
    int rc = facts->reset ? OK : ERR_NO_ANSWER;
    for (unsigned i = 0; i < RESET_TRIES && rc == OK; i++) {
        struct klipper_block block;
        size_t used, size = klipper_block_put(bytes, c.number, content, length);
        rc = serial_write(serial, bytes, size, err);
        if (rc == OK)
            rc = next_block(&c, &block, &used, clock_in(serial->clock, ANSWER_US), err);
        if (rc == OK && block.number == (c.number + 1) % KLIPPER_NUMBERS)
            break; /* accepted, and answered before it went */
        if (rc == OK) {
            c.number = block.number;
            drop(&c, used);
        }
    }
    return rc == ERR_NO_ANSWER || rc == ERR_GONE ? OK : rc;
}

int klipper_request_bootloader(struct serial *serial, struct error *err)
{
    /* The first 7e ends what the firmware may have half received; the rest must be a block of its
     * own that is none. */
    static const uint8_t request[] = "\x7e \x1c Request Serial Bootloader!! \x7e";
    size_t length = sizeof request - 1;
    int rc = serial_write(serial, request, length, err);
    if (rc != OK)
        return error_context(err, "asking Klipper for its bootloader");
    uint64_t out = serial_wire_time(serial, length) + LEAVE_US;
    ssize_t dropped = serial_drain(serial, out, out, err);
    return dropped < 0 && dropped != ERR_GONE ? (int)dropped : OK;
}
