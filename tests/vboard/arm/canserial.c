/* See canserial.h. */
#include "canserial.h"

#include <string.h>

#include "base/bytes.h"

enum { RESP_NEED_NODEID = 0x20, SET_LENGTH = 8, UUID_AT = 1, NODE_AT = 7 };

void canserial_reset(struct canserial *s)
{
    s->id = 0;
    s->admin_count = s->fifo_count = s->transmit_count = 0;
    s->mailboxes = 0;
    s->loop_at = UINT64_MAX;
    if (s->node->bus)
        s->node->bus->abort(s->node->bus, s->node);
}

/* ---- in ---- */

static bool is_own(const struct canserial *s, const struct can_frame *frame)
{
    return s->id && frame->can_id == s->id + 1u;
}

static bool passes_filter(const struct canserial *s, const struct can_frame *frame)
{
    return frame->can_id == CAN_ID_ADMIN || (s->id && frame->can_id == s->id) || is_own(s, frame);
}

/* The interrupt. */
static void take(struct canserial *s, const struct can_frame *frame)
{
    if (s->id && frame->can_id == s->id) {
        s->data(s, frame->data, frame->len);
        return;
    }
    if (s->admin_count == CANSERIAL_ADMIN_QUEUE)
        return;
    if (s->admin_count == 0)
        s->loop_at = s->node->bus->now + CANSERIAL_LOOP;
    s->admin[s->admin_count++] = *frame;
}

void canserial_receive(struct canserial *s, const struct can_frame *frame, bool deaf)
{
    /* The comparison of ids includes the flags: frames with 29 bits and remote frames are others'.
     */
    if (!passes_filter(s, frame))
        return;
    if (!deaf)
        take(s, frame);
    else if (s->fifo_count < CANSERIAL_FIFO)
        s->fifo[s->fifo_count++] = *frame;
}

void canserial_resume(struct canserial *s)
{
    for (size_t i = 0; i < s->fifo_count; i++)
        take(s, &s->fifo[i]);
    s->fifo_count = 0;
}

/* ---- out ---- */

static void post(struct canserial *s, uint16_t id, const uint8_t *bytes, size_t length)
{
    struct can_frame frame = {.can_id = id, .len = (uint8_t)length};
    memcpy(frame.data, bytes, length);
    s->mailboxes++;
    s->node->bus->send(s->node->bus, s->node, &frame);
}

void canserial_sent(struct canserial *s)
{
    s->mailboxes -= s->mailboxes > 0;
}

bool canserial_write(struct canserial *s, const uint8_t *bytes, size_t length)
{
    if (s->transmit_count + length > sizeof s->transmit)
        return false;
    memcpy(s->transmit + s->transmit_count, bytes, length);
    s->transmit_count += length;
    return true;
}

void canserial_transmit(struct canserial *s)
{
    if (!s->id)
        s->transmit_count = 0;
    while (s->transmit_count && s->mailboxes < CANSERIAL_MAILBOXES) {
        size_t length = s->transmit_count < CAN_MAX_DLEN ? s->transmit_count : CAN_MAX_DLEN;
        uint8_t bytes[CAN_MAX_DLEN];
        memcpy(bytes, s->transmit, length);
        s->transmit_count -= length;
        memmove(s->transmit, s->transmit + length, s->transmit_count);
        post(s, (uint16_t)(s->id + 1), bytes, length);
    }
}

/* ---- admin frames ---- */

bool canserial_admin(struct canserial *s, struct can_frame *frame)
{
    while (s->admin_count) {
        *frame = s->admin[0];
        s->admin_count--;
        memmove(s->admin, s->admin + 1, s->admin_count * sizeof *s->admin);
        if (frame->can_id == CAN_ID_ADMIN && frame->len > 0)
            return true;
        if (is_own(s, frame))
            s->id = 0;
    }
    s->loop_at = UINT64_MAX;
    return false;
}

bool canserial_is_for(const struct can_frame *frame, const uint8_t *uuid)
{
    return frame->len >= UUID_AT + CANSERIAL_UUID &&
           memcmp(frame->data + UUID_AT, uuid, CANSERIAL_UUID) == 0;
}

void canserial_set_id(struct canserial *s, const struct can_frame *frame, const uint8_t *uuid)
{
    if (frame->len < SET_LENGTH)
        return;
    uint16_t id = (uint16_t)(CAN_ID_NODES + 2u * frame->data[NODE_AT]);
    if (canserial_is_for(frame, uuid))
        s->id = id;
    else if (s->id == id)
        s->id = 0;
}

bool canserial_answer(struct canserial *s, const uint8_t *uuid, int tag)
{
    uint8_t answer[UUID_AT + CANSERIAL_UUID + 1] = {RESP_NEED_NODEID};
    if (s->mailboxes == CANSERIAL_MAILBOXES)
        return false;
    memcpy(answer + UUID_AT, uuid, CANSERIAL_UUID);
    answer[NODE_AT] = (uint8_t)tag;
    post(s, CAN_ID_ADMIN_RESPONSE, answer, sizeof answer - (tag < 0));
    return true;
}

/* ---- fasthash64 (Klipper lib/fast-hash) with Klipper's seed ---- */

static uint64_t mix(uint64_t h)
{
    h ^= h >> 23;
    h *= 0x2127599bf4325c37u;
    return h ^ h >> 47;
}

void canserial_uuid(uint8_t uuid[CANSERIAL_UUID], const uint8_t *chip_id, size_t length)
{
    const uint64_t m = 0x880355f21e6d1965u;
    uint64_t h = 0xa16231a7u ^ length * m;
    for (size_t at = 0; at < length; at += 8) {
        uint64_t word = 0;
        for (size_t i = 0; i < 8 && at + i < length; i++)
            word |= (uint64_t)chip_id[at + i] << 8 * i;
        h = (h ^ mix(word)) * m;
    }
    h = mix(h);
    for (size_t i = 0; i < CANSERIAL_UUID; i++)
        uuid[i] = (uint8_t)(h >> 8 * i);
}
