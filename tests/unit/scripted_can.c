/* See scripted_can.h. */
#include "scripted_can.h"

#include <stdio.h>

static struct scripted_can *of(struct can *can)
{
    return (struct scripted_can *)can;
}

static struct scripted_can *of_clock(struct clock *clock)
{
    return (struct scripted_can *)((char *)clock - offsetof(struct scripted_can, clock));
}

static uint64_t script_now(struct clock *clock)
{
    return of_clock(clock)->now;
}

static void script_sleep_until(struct clock *clock, uint64_t moment)
{
    struct scripted_can *script = of_clock(clock);
    if (script->now < moment)
        script->now = moment;
}

static int script_send(struct can *can, const struct can_frame *frame, struct error *err)
{
    struct scripted_can *script = of(can);
    if (script->full > 0) {
        script->full--;
        return 0;
    }
    if (script->now < script->room_at)
        return 0;
    if (script->sent_count == SCRIPTED_SENT_MAX)
        return error_set(err, ERR_GONE, "%s: the script is over", can->name);
    script->sent[script->sent_count++] = *frame;
    return 1;
}

static int script_receive(struct can *can, struct can_frame *frame, uint64_t deadline,
                          struct error *err)
{
    struct scripted_can *script = of(can);
    (void)err;
    if (script->incoming_count == 0) {
        script_sleep_until(&script->clock, deadline);
        return 0;
    }
    *frame = *script->incoming;
    if (script->repeats && script->incoming_count == 1) {
        script->now += MILLISECOND;
        return 1;
    }
    script->incoming++;
    script->incoming_count--;
    return 1;
}

static void script_close(struct can *can)
{
    (void)can;
}

void scripted_can_start(struct scripted_can *script, const struct can_frame *incoming, size_t count)
{
    static const struct can_ops ops = {
        .name = "script", .send = script_send, .receive = script_receive, .close = script_close};
    *script = (struct scripted_can){.incoming = incoming, .incoming_count = count};
    script->clock = (struct clock){script_now, script_sleep_until};
    script->can.ops = &ops;
    script->can.clock = &script->clock;
    script->can.trace_port = -1;
    (void)snprintf(script->can.name, sizeof script->can.name, "script");
}
