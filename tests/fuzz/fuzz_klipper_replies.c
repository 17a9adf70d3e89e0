/*
 * Whatever answers to `identify`, the question ends: no crash, no overrun, no endless wait. The
 * input is portions (replies.h): raw bytes, a content in a good block, or those bytes as the part
 * of the dictionary that was asked for.
 */
#include "klipper/block.h"
#include "klipper/klipper.h"
#include "replies.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAW, BLOCK, CHUNK, KINDS };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t chunk(uint8_t *reply, const uint8_t *portion, size_t length, const uint8_t *sent,
                    size_t sent_length)
{
    struct klipper_block block;
    bool found;
    uint32_t message, offset;
    uint8_t content[KLIPPER_CONTENT_MAX] = {0};
    (void)klipper_block_get(sent, sent_length, &block, &found);
    if (!found)
        abort(); /* the host sends nothing else */
    const uint8_t *cursor = block.content, *end = block.content + block.length;
    if (!klipper_vlq_get(&cursor, end, &message) || !klipper_vlq_get(&cursor, end, &offset))
        abort();
    uint8_t *at = klipper_vlq_put(content + 1, offset);
    length = least(length, (size_t)(content + sizeof content - at - 1));
    *at++ = (uint8_t)length;
    memcpy(at, portion, length);
    uint8_t next = (uint8_t)(block.number + 1);
    size_t size = klipper_block_put(reply, next, NULL, 0);
    return size + klipper_block_put(reply + size, next, content, (size_t)(at - content) + length);
}

static size_t make(uint8_t *reply, uint8_t kind, const uint8_t *portion, size_t length,
                   const uint8_t *sent, size_t sent_length)
{
    if (kind % KINDS == CHUNK)
        return chunk(reply, portion, length, sent, sent_length);
    if (kind % KINDS == BLOCK && length > 0)
        return klipper_block_put(reply, portion[0], portion + 1,
                                 least(length - 1, KLIPPER_CONTENT_MAX));
    length = least(length, REPLY_MAX);
    memcpy(reply, portion, length);
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct replies replies;
    struct klipper_facts facts;
    struct error err;
    replies.make = make;
    replies.now = 0;
    replies.begin = replies.end = 0;
    replies_begin(&replies, data, size);
    int rc = klipper_identify(&replies.serial, &facts, &err);
    if ((rc == OK) != facts.present)
        abort();
    return 0;
}
