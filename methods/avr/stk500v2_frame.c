/* See stk500v2_frame.h. */
#include "avr/stk500v2_frame.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

enum { MESSAGE_START = 0x1b, TOKEN = 0x0e, HEADER = 5, SEQ_RESYNC = 1 };

/* How often a message is sent again because the device got it damaged, beside the caller's
 * retries. */
enum { CKSUM_RETRIES = 3 };

static uint8_t xor_of(const uint8_t *bytes, size_t length)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum ^= bytes[i];
    return sum;
}

size_t stk500v2_frame(uint8_t frame[STK500V2_FRAME_MAX], uint8_t seq, const uint8_t *body,
                      size_t length)
{
    assert(length > 0 && length <= STK500V2_BODY_MAX);
    frame[0] = MESSAGE_START;
    frame[1] = seq;
    put_be16(frame + 2, (uint16_t)length);
    frame[4] = TOKEN;
    memcpy(frame + HEADER, body, length);
    frame[HEADER + length] = xor_of(frame, HEADER + length);
    return HEADER + length + 1;
}

int stk500v2_send(struct stk500v2 *link, const uint8_t *body, size_t length, struct error *err)
{
    uint8_t frame[STK500V2_FRAME_MAX];
    size_t size = stk500v2_frame(frame, link->seq, body, length);
    return serial_write(link->serial, frame, size, err);
}

/* A message being received: `have` bytes of it so far. */
struct partial {
    uint8_t frame[STK500V2_FRAME_MAX];
    size_t have;
};

/* Could these bytes be the beginning of a message? */
static bool plausible(const struct partial *p)
{
    return (p->have < 1 || p->frame[0] == MESSAGE_START) &&
           (p->have < 4 || get_be16(p->frame + 2) <= STK500V2_BODY_MAX) &&
           (p->have < HEADER || p->frame[4] == TOKEN);
}

static size_t wanted(const struct partial *p)
{
    return p->have < HEADER ? HEADER : HEADER + get_be16(p->frame + 2) + 1u;
}

static bool complete(const struct partial *p)
{
    return p->have >= HEADER && p->have >= wanted(p);
}

static void discard(struct partial *p, size_t length)
{
    p->have -= length;
    memmove(p->frame, p->frame + length, p->have);
}

/* Throws away what cannot be the beginning of a message. */
static void align(struct stk500v2 *link, struct partial *p)
{
    while (p->have > 0 && !plausible(p)) {
        heard_add(&link->heard, p->frame, 1);
        discard(p, 1);
    }
}

/* Is the complete message in hand the reply that is waited for? If so it is kept. */
static bool accept(struct stk500v2 *link, const struct partial *p)
{
    size_t length = wanted(p) - HEADER - 1;
    const uint8_t *body = p->frame + HEADER;
    bool damaged_request = length >= 1 && body[0] == ANSWER_CKSUM_ERROR;
    if (p->frame[1] != link->seq && !damaged_request)
        return false;
    memcpy(link->reply, body, length);
    link->reply_length = length;
    return true;
}

static int silence(struct stk500v2 *link, const struct partial *p, struct error *err)
{
    char text[HEARD_TEXT_MAX];
    heard_add(&link->heard, p->frame, p->have);
    return error_set(err, ERR_NO_ANSWER, "no answer: %s", heard_describe(&link->heard, text));
}

/* Takes what bytes there are of the message in hand. A device that never stops talking does not
 * outlast the deadline either. */
static int take(struct stk500v2 *link, struct partial *p, uint64_t deadline, struct error *err)
{
    if (clock_now(link->serial->clock) > deadline)
        return silence(link, p, err);
    ssize_t got =
        serial_read_some(link->serial, p->frame + p->have, wanted(p) - p->have, deadline, err);
    if (got < 0)
        return (int)got;
    if (got == 0)
        return silence(link, p, err);
    p->have += (size_t)got;
    align(link, p);
    return OK;
}

int stk500v2_receive(struct stk500v2 *link, uint64_t deadline, struct error *err)
{
    struct partial p = {.have = 0};
    heard_clear(&link->heard);
    for (;;) {
        while (!complete(&p)) {
            int rc = take(link, &p, deadline, err);
            if (rc != OK)
                return rc;
        }
        bool sound = xor_of(p.frame, wanted(&p)) == 0;
        if (sound && accept(link, &p)) {
            link->seq++;
            return OK;
        }
        if (!sound)
            heard_add(&link->heard, p.frame, 1);
        /* Within a damaged message another one may have begun unseen. */
        discard(&p, sound ? wanted(&p) : 1);
        align(link, &p);
    }
}

static bool damaged(const struct stk500v2 *link)
{
    return link->reply_length > 0 && link->reply[0] == ANSWER_CKSUM_ERROR;
}

/* One try: sends and receives, and again while the device says that it got damaged bytes. */
static int try_once(struct stk500v2 *link, const uint8_t *body, size_t length, uint64_t timeout,
                    struct error *err)
{
    uint64_t wire_time = serial_wire_time(link->serial, 2 * (size_t)STK500V2_FRAME_MAX);
    for (unsigned i = 0; i <= CKSUM_RETRIES; i++) {
        int rc = stk500v2_send(link, body, length, err);
        if (rc == OK)
            rc = stk500v2_receive(link, clock_in(link->serial->clock, timeout + wire_time), err);
        if (rc != OK || !damaged(link))
            return rc;
    }
    return error_set(err, ERR_PROTOCOL, "device says each time that command %02x arrived damaged",
                     body[0]);
}

int stk500v2_exchange(struct stk500v2 *link, const uint8_t *body, size_t length, unsigned retries,
                      uint64_t timeout, struct error *err)
{
    int rc = try_once(link, body, length, timeout, err);
    for (unsigned i = 0; rc == ERR_NO_ANSWER && i < retries; i++) {
        link->seq = SEQ_RESYNC;
        rc = try_once(link, body, length, timeout, err);
    }
    /* What the device lacks may be answered with an empty body. */
    if (rc == OK && link->reply_length > 0 && link->reply[0] != body[0])
        return error_set(err, ERR_PROTOCOL, "device answered command %02x with a reply to %02x",
                         body[0], link->reply[0]);
    return rc;
}

const char *stk500v2_status_name(uint8_t status)
{
    switch (status) {
    case STATUS_CMD_OK:
        return "CMD_OK";
    case STATUS_CMD_TOUT:
        return "CMD_TOUT";
    case STATUS_RDY_BSY_TOUT:
        return "RDY_BSY_TOUT";
    case STATUS_SET_PARAM_MISSING:
        return "SET_PARAM_MISSING";
    case STATUS_CMD_FAILED:
        return "CMD_FAILED";
    case STATUS_CKSUM_ERROR:
        return "CKSUM_ERROR";
    case STATUS_CMD_UNKNOWN:
        return "CMD_UNKNOWN";
    default:
        return NULL;
    }
}

int stk500v2_wrong_status(const struct stk500v2 *link, struct error *err)
{
    if (link->reply_length < 2)
        return error_set(err, ERR_PROTOCOL, "device answered with %zu bytes: it lacks the command",
                         link->reply_length);
    const char *name = stk500v2_status_name(link->reply[1]);
    return error_set(err, ERR_PROTOCOL, "device answered command %02x with status %02x (%s)",
                     link->reply[0], link->reply[1], name ? name : "none of STK500v2");
}

int stk500v2_command(struct stk500v2 *link, const uint8_t *body, size_t length, size_t reply_min,
                     unsigned retries, uint64_t timeout, struct error *err)
{
    int rc = stk500v2_exchange(link, body, length, retries, timeout, err);
    if (rc != OK)
        return rc;
    if (link->reply_length < 2 || link->reply[1] != STATUS_CMD_OK)
        return stk500v2_wrong_status(link, err);
    if (link->reply_length < reply_min)
        return error_set(err, ERR_PROTOCOL,
                         "device answered command %02x with %zu bytes instead of %zu", body[0],
                         link->reply_length, reply_min);
    return OK;
}
