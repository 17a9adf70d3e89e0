/* See can_node.h. */
#include "can_node.h"

#include <string.h>

static struct can_node *of(struct vcan *vcan)
{
    return (struct can_node *)vcan;
}

static void node_reset(struct vcan *vcan, enum vreset cause)
{
    struct can_node *node = of(vcan);
    node->resets++;
    node->cause = cause;
    node->answer_at = UINT64_MAX;
    node->left = 0;
}

static void send_next(struct can_node *node)
{
    struct can_frame frame = {.can_id = node->answer, .len = 1};
    frame.data[0] = (uint8_t)node->next_number++;
    node->vcan.bus->send(node->vcan.bus, &node->vcan, &frame);
}

static void node_receive(struct vcan *vcan, const struct can_frame *frame)
{
    struct can_node *node = of(vcan);
    if (node->heard_count < CAN_NODE_HEARD_MAX) {
        node->heard[node->heard_count] = *frame;
        node->heard_at[node->heard_count] = vcan->bus->now;
    }
    node->heard_count++;
    if (frame->can_id == node->asked && node->delay != UINT64_MAX)
        node->answer_at = vcan->bus->now + node->delay;
}

static void node_sent(struct vcan *vcan)
{
    struct can_node *node = of(vcan);
    node->sent++;
    if (node->left > 0) {
        node->left--;
        send_next(node);
    }
}

static uint64_t node_next(const struct vcan *vcan)
{
    const struct can_node *node = (const struct can_node *)vcan;
    return node->answer_at < node->speak_at ? node->answer_at : node->speak_at;
}

static void node_tick(struct vcan *vcan)
{
    struct can_node *node = of(vcan);
    if (node->speak_at <= vcan->bus->now) {
        node->speak_at = UINT64_MAX;
        send_next(node);
    }
    if (node->answer_at > vcan->bus->now)
        return;
    node->answer_at = UINT64_MAX;
    node->left = node->steady && node->answers ? node->answers - 1 : 0;
    for (unsigned i = 0; i < (node->steady ? 1 : node->answers); i++)
        send_next(node);
}

static void node_destroy(struct vcan *vcan)
{
    (void)vcan;
}

static const struct vcan_ops node_ops = {
    .reset = node_reset,
    .receive = node_receive,
    .sent = node_sent,
    .next = node_next,
    .tick = node_tick,
    .destroy = node_destroy,
};

struct can_node can_node(canid_t asked, canid_t answer, unsigned answers, uint64_t delay)
{
    return (struct can_node){
        .vcan = {.ops = &node_ops},
        .asked = asked,
        .answer = answer,
        .answers = answers,
        .delay = delay,
        .answer_at = UINT64_MAX,
        .speak_at = UINT64_MAX,
    };
}

struct can_frame can_frame_of(canid_t id, const char *text)
{
    struct can_frame frame = {.can_id = id, .len = (uint8_t)strlen(text)};
    memcpy(frame.data, text, frame.len);
    return frame;
}
