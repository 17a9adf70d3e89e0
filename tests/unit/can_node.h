/* A node of a CAN bus that does next to nothing, for tests of the bus itself: it answers each frame
 * of one id with frames of another, and remembers what it has heard. */
#ifndef CAN_NODE_H
#define CAN_NODE_H

#include "can_bus.h"

enum { CAN_NODE_HEARD_MAX = 64 };

struct can_node {
    struct vcan vcan;
    canid_t asked, answer; /* ids */
    unsigned answers;      /* frames it answers with, each with its number as first byte */
    uint64_t delay;        /* microseconds from the question to the first of them */
    uint64_t answer_at;    /* UINT64_MAX: nothing to answer */
    unsigned next_number;
    uint64_t speak_at; /* sends one frame of `answer` then, unasked; UINT64_MAX: never */
    bool steady;       /* one answer after the other is out, as a chip with one mailbox */
    unsigned left;     /* steady: answers still to send */

    struct can_frame heard[CAN_NODE_HEARD_MAX];
    uint64_t heard_at[CAN_NODE_HEARD_MAX];
    unsigned heard_count; /* in all; the first 64 are kept */
    unsigned sent;
    unsigned resets;
    enum vreset cause; /* of the last one */
};

/* `delay` UINT64_MAX: it never answers. */
struct can_node can_node(canid_t asked, canid_t answer, unsigned answers, uint64_t delay);

struct can_frame can_frame_of(canid_t id, const char *text);

#endif
