/*
 * Whatever a Katapult node answers, the method ends: no crash, no overrun, no endless wait. The
 * input is a choice of board and portions (replies.h): raw bytes, a payload in a good packet, or
 * the right answer with raw bytes behind it.
 */
#include "katapult/packet.h"
#include "method.h"
#include "replies.h"

extern const struct method method_katapult_serial, method_katapult_usb;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAW, PACKET, RIGHT, KINDS, START = 0x08002000, IMAGE_BYTES = 3000, BLOCK = 64 };

static const uint8_t connected[] = {0x11, 0,   0,   0,   0,   1,   1,   0,   0,   0x20, 0,
                                    8,    64,  0,   0,   0,   's', 't', 'm', '3', '2',  'f',
                                    '1',  '0', '3', 'x', 'e', 0,   0,   0,   0,   0};

/* As the node would answer: the command, the address, a block. */
static size_t right_answer(uint8_t *reply, const uint8_t *sent, size_t length)
{
    uint8_t payload[8 + BLOCK];
    size_t size = 4;
    if (length < 8)
        return 0;
    if (sent[2] == KAT_CONNECT)
        return katapult_packet_put(reply, KAT_ACK, connected, sizeof connected);
    memset(payload, '!', sizeof payload);
    put_le32(payload, sent[2]);
    put_le32(payload + 4, length >= 12 ? get_le32(sent + 4) : 1);
    if (sent[2] != KAT_COMPLETE)
        size = sent[2] == KAT_REQUEST_BLOCK ? sizeof payload : 8;
    return katapult_packet_put(reply, KAT_ACK, payload, size);
}

static size_t make(uint8_t *reply, uint8_t kind, const uint8_t *portion, size_t length,
                   const uint8_t *sent, size_t sent_length)
{
    size_t size = 0;
    if (kind % KINDS == PACKET && length > 0) {
        size_t payload = length - 1 < KATAPULT_PAYLOAD_MAX ? length - 1 : KATAPULT_PAYLOAD_MAX;
        return katapult_packet_put(reply, portion[0], portion + 1, payload / 4 * 4);
    }
    if (kind % KINDS == RIGHT)
        size = right_answer(reply, sent, sent_length);
    length = length < REPLY_MAX - size ? length : REPLY_MAX - size;
    memcpy(reply + size, portion, length);
    return size + length;
}

static void whole_run(struct session *session, const struct image *image)
{
    const struct method *m = session->method;
    struct job job = {.image = image, .region = chip_region(session->chip, MEM_FLASH)};
    struct device_info info = {.count = 0};
    const struct span range = {START + 0x1000, 0x1000};
    struct error err;
    if (m->connect(session, &err) != OK)
        return;
    (void)m->info(session, &info, &err);
    (void)m->erase(session, &range, 1, &err);
    (void)m->write(session, &job, &err);
    (void)verify_by_reading(session, &job, &err);
    (void)m->run(session, &err);
    m->disconnect(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct loader loader = {.enter = "ask", .has_start = true, .start = START};
    static struct replies replies;
    uint8_t bytes[IMAGE_BYTES];
    struct image image = {.count = 0};
    if (size == 0)
        return 0;
    replies.make = make;
    replies.now = 0;
    replies.begin = replies.end = 0;
    replies_begin(&replies, data + 1, size - 1);
    struct session session = {.method =
                                  data[0] & 1 ? &method_katapult_usb : &method_katapult_serial,
                              .chip = chip_find("stm32f103xe"),
                              .loader = &loader,
                              .force_signature = data[0] & 2,
                              .force_start = data[0] & 4,
                              .serial = &replies.serial,
                              .clock = &replies.clock};
    memset(bytes, '!', sizeof bytes);
    (void)image_add(&image, MEM_FLASH, START, bytes, sizeof bytes, NULL);
    whole_run(&session, &image);
    image_free(&image);
    return 0;
}
