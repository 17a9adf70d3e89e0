/* The rings of frames of can_bus.h. */
#ifndef VBOARD_CAN_QUEUE_H
#define VBOARD_CAN_QUEUE_H

#include "can_bus.h"

/* False: out of memory. */
bool can_queue_push(struct can_queue *queue, const struct can_frame *frame, uint64_t at);
const struct can_waiting *can_queue_head(const struct can_queue *queue); /* NULL: empty */
struct can_frame can_queue_pop(struct can_queue *queue);                 /* not of an empty one */
void can_queue_clear(struct can_queue *queue);
void can_queue_free(struct can_queue *queue);

#endif
