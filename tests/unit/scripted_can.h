/* A CAN bus with a script instead of nodes: what it sends back is set beforehand, what it is sent
 * is kept, and its queue can be full. Time is virtual. */
#ifndef SCRIPTED_CAN_H
#define SCRIPTED_CAN_H

#include "link/can.h"

enum { SCRIPTED_SENT_MAX = 64 };

struct scripted_can {
    struct can can; /* first: the two addresses are one */
    struct clock clock;
    uint64_t now;

    unsigned full;    /* how many tries to send find the queue full, from now on */
    uint64_t room_at; /* or until when they do */
    struct can_frame sent[SCRIPTED_SENT_MAX];
    size_t sent_count;

    const struct can_frame *incoming; /* what it receives, one after the other */
    size_t incoming_count;
    bool repeats; /* the last of them for ever, one each millisecond */
};

void scripted_can_start(struct scripted_can *script, const struct can_frame *incoming,
                        size_t count);

#endif
