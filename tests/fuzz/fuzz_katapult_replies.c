/*
 * Whatever a Katapult node answers, the method ends: no crash, no overrun, no endless wait. The
 * input is a choice of board and portions (replies.h): raw bytes, a payload in a good packet, or
 * the right answer with raw bytes behind it.
 */
#include "katapult_answers.h"
#include "method.h"
#include "replies.h"

extern const struct method method_katapult_serial, method_katapult_usb;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t make(uint8_t *reply, uint8_t kind, const uint8_t *portion, size_t length,
                   const uint8_t *sent, size_t sent_length)
{
    return make_answer(reply, REPLY_MAX, kind, portion, length, sent, sent_length);
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
