/* Frames in a row: see can_queue.h. */
#include "can_queue.h"

#include <stdlib.h>

bool can_queue_push(struct can_queue *queue, const struct can_frame *frame, uint64_t at)
{
    if (queue->count == queue->room) {
        size_t room = queue->room ? 2 * queue->room : 16;
        struct can_waiting *frames = malloc(room * sizeof *frames);
        if (!frames)
            return false;
        for (size_t i = 0; i < queue->count; i++)
            frames[i] = queue->frames[(queue->head + i) % queue->room];
        free(queue->frames);
        *queue = (struct can_queue){frames, 0, queue->count, room};
    }
    queue->frames[(queue->head + queue->count) % queue->room] = (struct can_waiting){*frame, at};
    queue->count++;
    return true;
}

const struct can_waiting *can_queue_head(const struct can_queue *queue)
{
    return queue->count ? &queue->frames[queue->head] : NULL;
}

struct can_frame can_queue_pop(struct can_queue *queue)
{
    struct can_frame frame = queue->frames[queue->head].frame;
    queue->head = (queue->head + 1) % queue->room;
    queue->count--;
    return frame;
}

void can_queue_clear(struct can_queue *queue)
{
    queue->head = queue->count = 0;
}

void can_queue_free(struct can_queue *queue)
{
    free(queue->frames);
    *queue = (struct can_queue){0};
}
