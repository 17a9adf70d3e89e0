/*
 * Whatever comes over a CAN bus, the method and the discovery end: no crash, no overrun, no endless
 * wait. The input is a choice and portions, each a kind, two bytes of length (little end first) and
 * so many bytes. A whole packet of the host, or an admin frame, releases the next one; it comes cut
 * into frames: of the node's id (katapult_answers.h), or with ids and lengths of its own.
 */
#include <stdlib.h>

#include "can_nodes.h"
#include "katapult_answers.h"
#include "method.h"

extern const struct method method_katapult_can;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    PENDING_MAX = 512, /* frames */
    ANSWER_MAX = 2048, /* bytes of one portion */
    FRAME_US = 130,
    SECONDS_MAX = 3600,
    FRAMES_KIND = KINDS, /* frames as the input gives them */
};

struct bus {
    struct can can; /* first */
    struct clock clock;
    uint64_t now;
    const uint8_t *bytes; /* of the input */
    size_t left;
    uint8_t packet[KATAPULT_PACKET_LONGEST]; /* of the host, not whole yet */
    size_t packet_length;
    struct can_frame frames[PENDING_MAX];
    size_t begin, end;
};

static struct bus *bus_of_clock(struct clock *clock)
{
    return (struct bus *)((char *)clock - offsetof(struct bus, clock));
}

static uint64_t bus_now(struct clock *clock)
{
    return bus_of_clock(clock)->now;
}

static void bus_sleep_until(struct clock *clock, uint64_t moment)
{
    struct bus *bus = bus_of_clock(clock);
    if (bus->now < moment)
        bus->now = moment;
    if (bus->now > (uint64_t)SECONDS_MAX * SECOND)
        abort(); /* a wait without an end */
}

static void push(struct bus *bus, canid_t id, const uint8_t *bytes, size_t length)
{
    if (bus->end == PENDING_MAX)
        return;
    struct can_frame *frame = &bus->frames[bus->end++];
    *frame = (struct can_frame){.can_id = id, .len = (uint8_t)length};
    memcpy(frame->data, bytes, length);
}

/* Two bytes of id, one of length, the data. */
static void push_frames(struct bus *bus, const uint8_t *bytes, size_t length)
{
    while (length >= 3) {
        size_t data = bytes[2] % (CAN_MAX_DLEN + 1);
        data = data < length - 3 ? data : length - 3;
        push(bus, get_le16(bytes) % 0x800u | (bytes[1] & 0x80 ? CAN_ERR_FLAG : 0), bytes + 3, data);
        bytes += 3 + data;
        length -= 3 + data;
    }
}

static void release(struct bus *bus, canid_t id, const uint8_t *sent, size_t sent_length)
{
    static uint8_t answer[ANSWER_MAX + KATAPULT_PACKET_LONGEST];
    if (bus->left < 3)
        return;
    uint8_t kind = bus->bytes[0] % (KINDS + 1);
    size_t portion = get_le16(bus->bytes + 1), room = bus->left - 3;
    const uint8_t *bytes = bus->bytes + 3;
    portion = portion < room ? portion : room;
    bus->bytes += 3 + portion;
    bus->left -= 3 + portion;
    if (kind == FRAMES_KIND) {
        push_frames(bus, bytes, portion);
        return;
    }
    size_t length = make_answer(answer, ANSWER_MAX, kind, bytes, portion, sent, sent_length);
    for (size_t at = 0; at < length; at += CAN_MAX_DLEN)
        push(bus, id, answer + at, length - at < CAN_MAX_DLEN ? length - at : CAN_MAX_DLEN);
}

static int bus_listen(struct can *can, const uint16_t *ids, size_t count, struct error *err)
{
    (void)can, (void)ids, (void)count, (void)err;
    return OK;
}

static int bus_send(struct can *can, const struct can_frame *frame, struct error *err)
{
    struct bus *bus = (struct bus *)can;
    (void)err;
    bus_sleep_until(&bus->clock, bus->now + FRAME_US);
    if (bus->begin == bus->end)
        bus->begin = bus->end = 0;
    if (frame->can_id == CAN_ADMIN) {
        release(bus, CAN_ADMIN_RESPONSE, frame->data, frame->len);
        return 1;
    }
    if (bus->packet_length + frame->len <= sizeof bus->packet) {
        memcpy(bus->packet + bus->packet_length, frame->data, frame->len);
        bus->packet_length += frame->len;
    }
    if (bus->packet_length < KATAPULT_PACKET_EXTRA + 4u * bus->packet[3])
        return 1;
    release(bus, frame->can_id + 1, bus->packet, bus->packet_length);
    bus->packet_length = 0;
    return 1;
}

static int bus_receive(struct can *can, struct can_frame *frame, uint64_t deadline,
                       struct error *err)
{
    struct bus *bus = (struct bus *)can;
    (void)err;
    if (bus->begin == bus->end) {
        bus_sleep_until(&bus->clock, deadline);
        return 0;
    }
    bus_sleep_until(&bus->clock, bus->now + FRAME_US);
    *frame = bus->frames[bus->begin++];
    return 1;
}

static const struct can_ops bus_ops = {
    .name = "fuzz",
    .listen = bus_listen,
    .send = bus_send,
    .receive = bus_receive,
};

static void whole_run(struct session *session, const struct image *image)
{
    const struct method *m = session->method;
    struct job job = {.image = image, .region = chip_region(session->chip, MEM_FLASH)};
    struct device_info info = {.count = 0};
    struct error err;
    if (m->connect(session, &err) != OK)
        return;
    (void)m->info(session, &info, &err);
    (void)m->write(session, &job, &err);
    (void)verify_by_reading(session, &job, &err);
    (void)m->run(session, &err);
    m->disconnect(session);
}

static void discover(struct can *can)
{
    static struct can_nodes nodes;
    struct can_node_info node;
    struct error err;
    char text[1024];
    if (can_nodes_query(can, &nodes, &err) == OK) {
        (void)can_nodes_ask_katapult(can, &nodes, &err);
        can_nodes_explain(&nodes, can, NULL, text, sizeof text);
        can_nodes_nearest(&nodes, "87e84657e677", text, sizeof text);
    }
    (void)can_nodes_ask(can, node_uuid, &node, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct loader loader = {
        .enter = "klipper-can ask", .has_start = true, .start = START};
    static struct bus bus;
    uint8_t bytes[IMAGE_BYTES];
    struct image image = {.count = 0};
    if (size == 0)
        return 0;
    bus = (struct bus){.can = {.ops = &bus_ops, .name = "fuzz", .trace_port = -1},
                       .clock = {bus_now, bus_sleep_until},
                       .bytes = data + 1,
                       .left = size - 1};
    bus.can.clock = &bus.clock;
    struct session session = {.method = &method_katapult_can,
                              .chip = chip_find("stm32f103xe"),
                              .loader = &loader,
                              .force_signature = data[0] & 2,
                              .force_start = data[0] & 4,
                              .can = &bus.can,
                              .uuid = node_uuid,
                              .clock = &bus.clock};
    if (data[0] & 1) {
        discover(&bus.can);
        return 0;
    }
    memset(bytes, '!', sizeof bytes);
    (void)image_add(&image, MEM_FLASH, START, bytes, sizeof bytes, NULL);
    whole_run(&session, &image);
    image_free(&image);
    return 0;
}
