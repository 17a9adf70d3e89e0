/* See klipper_app.h. */
#include "klipper_app.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/format.h"
#include "crc.h"

enum {
    BLOCK_MIN = 5,
    SEQUENCE = 0x10, /* high half of a block's second byte */
    SYNC = 0x7e,
    TRAILER = 3, /* CRC and sync */
    IDENTIFY_RESPONSE = 0,
    IDENTIFY = 1,
    ALONE = MILLISECOND, /* the request for the bootloader is nobody's neighbour */
    TOUCH_WAIT = 5 * MILLISECOND,
};

static const char request[] = " \x1c Request Serial Bootloader!! ~";

/* ---- what runs ---- */

static void find(const struct vmemory *flash, uint64_t offset, struct klipper_facts *facts)
{
    struct image image = {0};
    struct error err;
    *facts = (struct klipper_facts){0};
    if (offset < flash->size && image_add(&image, MEM_FLASH, offset, flash->bytes + offset,
                                          flash->size - offset, &err) == OK)
        klipper_find(&image, facts);
    image_free(&image);
}

static bool built_for(const struct klipper_facts *facts, enum klipper_link link)
{
    static const char *const names[] = {[KLIPPER_UART] = "UART",
                                        [KLIPPER_USB] = "USB",
                                        [KLIPPER_CAN] = "CAN",
                                        [KLIPPER_BRIDGE] = "USB-CAN bridge"};
    return strcmp(klipper_transport(facts), names[link]) == 0;
}

void klipper_app_start(struct klipper_app *app, const struct vmemory *flash, uint64_t offset,
                       enum klipper_link link)
{
    struct klipper_facts facts;
    find(flash, offset, &facts);
    *app = (struct klipper_app){
        .running = facts.present && built_for(&facts, link),
        .link = link,
        .baud = facts.serial_baud,
        .dictionary = flash->bytes + facts.address,
        .length = facts.length,
        .leave_at = UINT64_MAX,
        .reset = facts.reset,
    };
}

/* ---- blocks to the host ---- */

static void send_block(const struct klipper_app *app, struct vline *line, const uint8_t *content,
                       size_t length)
{
    uint8_t block[KLIPPER_APP_BLOCK] = {(uint8_t)(BLOCK_MIN + length), SEQUENCE | app->sequence};
    if (length)
        memcpy(block + 2, content, length);
    put_be16(block + 2 + length, katapult_crc(block, 2 + length));
    block[BLOCK_MIN + length - 1] = SYNC;
    for (size_t i = 0; i < BLOCK_MIN + length; i++)
        line->send(line, block[i]);
}

/* The same block is ack and nak: what tells them apart is the sequence number it asks for. */
static void send_ack(const struct klipper_app *app, struct vline *line)
{
    send_block(app, line, NULL, 0);
}

/* Klipper docs/Protocol.md, variable length quantities: 7 bits a byte, the highest first; -32 to 95
 * take one byte. */
static size_t put_vlq(uint8_t *out, uint32_t value)
{
    int32_t number = (int32_t)value;
    size_t count = 0;
    for (unsigned shift = 28; shift; shift -= 7) {
        int32_t limit = (int32_t)1 << (shift - 2);
        if (count || number < -limit || number >= 3 * (int64_t)limit)
            out[count++] = (uint8_t)(0x80 | (value >> shift & 0x7f));
    }
    out[count++] = value & 0x7f;
    return count;
}

/* False: the content ends within a number. */
static bool get_vlq(const uint8_t **at, const uint8_t *end, uint32_t *value)
{
    if (*at == end)
        return false;
    uint8_t byte = *(*at)++;
    *value = byte & 0x7f;
    if ((byte & 0x60) == 0x60)
        *value |= ~(uint32_t)0x1f;
    while (byte & 0x80) {
        if (*at == end)
            return false;
        byte = *(*at)++;
        *value = *value << 7 | (byte & 0x7f);
    }
    return true;
}

static void identify(const struct klipper_app *app, struct vline *line, uint32_t offset,
                     uint32_t count)
{
    uint8_t content[KLIPPER_APP_BLOCK] = {IDENTIFY_RESPONSE};
    size_t length = 1 + put_vlq(content + 1, offset);
    size_t room = KLIPPER_APP_BLOCK - BLOCK_MIN - length - 1;
    uint32_t left = offset < app->length ? app->length - offset : 0;
    size_t data = (uint8_t)count; /* the command's field is one byte wide */
    data = data < left ? data : left;
    data = data < room ? data : room;
    content[length++] = (uint8_t)data;
    if (data)
        memcpy(content + length, app->dictionary + offset, data);
    send_block(app, line, content, length + data);
}

/* Identify and reset are all that is known here; what follows another command cannot be told
 * apart. */
static void dispatch(struct klipper_app *app, struct vline *line)
{
    const uint8_t *at = app->block + 2, *end = app->block + app->block[0] - TRAILER;
    uint32_t command = 0, offset, count;
    while (at < end && get_vlq(&at, end, &command) && command == IDENTIFY &&
           get_vlq(&at, end, &offset) && get_vlq(&at, end, &count))
        identify(app, line, offset, count);
    app->restarts = app->reset && command == app->reset;
}

/* ---- blocks of the host ---- */

static void drop(struct klipper_app *app, size_t count)
{
    app->used -= count;
    memmove(app->block, app->block + count, app->used);
}

static bool is_request(const struct klipper_app *app, size_t count)
{
    return app->link == KLIPPER_UART && count == sizeof request - 1 &&
           memcmp(app->block, request, count) == 0;
}

/* Drops up to the next sync; one nak for all that is wrong until a block is right again. */
static void resynchronise(struct klipper_app *app, struct vline *line)
{
    const uint8_t *sync = memchr(app->block, SYNC, app->used);
    size_t count = sync ? (size_t)(sync - app->block) + 1 : app->used;
    app->need_sync = !sync;
    if (is_request(app, count))
        app->leave_at = line->now + ALONE;
    drop(app, count);
    if (!app->need_valid)
        send_ack(app, line);
    app->need_valid = true;
}

static void good_block(struct klipper_app *app, struct vline *line)
{
    app->need_valid = false;
    if (app->block[1] == (SEQUENCE | app->sequence)) {
        app->sequence = (app->sequence + 1) & 0x0f;
        dispatch(app, line);
    }
    if (!app->restarts)
        send_ack(app, line);
    drop(app, app->block[0]);
}

static bool is_good(const struct klipper_app *app)
{
    const uint8_t *block = app->block;
    size_t length = block[0];
    return block[length - 1] == SYNC &&
           get_be16(block + length - TRAILER) == katapult_crc(block, length - TRAILER);
}

/* One pass over the received bytes; false if more are needed. */
static bool pass(struct klipper_app *app, struct vline *line)
{
    const uint8_t *block = app->block;
    if (app->used && app->need_sync) {
        resynchronise(app, line);
        return true;
    }
    if (app->used && block[0] == SYNC) { /* between blocks it means nothing */
        drop(app, 1);
        return true;
    }
    if (app->used < BLOCK_MIN)
        return false;
    bool head =
        block[0] >= BLOCK_MIN && block[0] <= KLIPPER_APP_BLOCK && (block[1] & 0xf0) == SEQUENCE;
    if (head && app->used < block[0])
        return false;
    if (head && is_good(app))
        good_block(app, line);
    else
        resynchronise(app, line);
    return true;
}

void klipper_app_receive(struct klipper_app *app, struct vline *line, uint8_t byte)
{
    if (!app->running || app->leaving)
        return;
    app->leave_at = UINT64_MAX;
    app->block[app->used++] = byte;
    while (pass(app, line))
        continue;
}

/* Opening and closing a port go through this state as well; the firmware leaves all the same. */
void klipper_app_lines(struct klipper_app *app, bool dtr, uint32_t baud, uint64_t now)
{
    if (!app->running || app->link != KLIPPER_USB || app->leaving || dtr || baud != 1200)
        return;
    app->leaving = true;
    app->leave_at = now + TOUCH_WAIT;
}
