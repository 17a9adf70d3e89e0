/* See gs_usb.h. */
#include "gs_usb.h"

#include <string.h>

#include "base/bytes.h"
#include "board/chip.h"

enum {
    VID = 0x1d50,
    PID = 0x606f,
    CONTROL_PACKET = 16,
    DEVICE_CLASS_AT = 4, /* of the device descriptor */
    DEVICE_PACKET_AT = 7,

    HOST_FORMAT = 0, /* bRequest */
    BITTIMING = 1,
    MODE = 2,
    BT_CONST = 4,
    DEVICE_CONFIG = 5,
    HOST_FORMAT_SIZE = 4,
    BITTIMING_SIZE = 20,
    MODE_SIZE = 8,
    VENDOR = 0x40, /* of bmRequestType, and its mask */
    TYPE = 0x60,
    TO_HOST = 0x80,

    NO_ECHO = -1,
    ID_AT = 4, /* of a frame */
    LENGTH_AT = 8,
    DATA_AT = 12,
};

static const uint8_t configuration[] = {
    9, 2, 32,    0, 1,  1,    0,    0xc0, 50,                            /* self-powered, 100 mA */
    9, 4, 0,     0, 2,  0xff, 0xff, 0xff, 0,  7, 5, GS_OUT, 2, 64, 0, 0, /* */
    7, 5, GS_IN, 2, 64, 0,    0,                                         /* */
};

void gs_identify(struct cdc_identity *face, const struct chip *chip, unsigned node)
{
    char serial[CDC_TEXT_MAX];
    cdc_chip_serial(serial, chip, node);
    cdc_identify(face, &(struct cdc_face){VID, PID, 0, "Klipper", chip->name, serial});
    face->device[DEVICE_CLASS_AT] = 0;
    face->device[DEVICE_PACKET_AT] = CONTROL_PACKET;
    face->identity.configuration = configuration;
    face->identity.configuration_length = sizeof configuration;
}

/* ---- requests ---- */

static enum vusb_answer tell(const uint32_t *words, size_t count, uint8_t *data, size_t *length)
{
    for (size_t i = 0; i < count && 4 * i + 4 <= *length; i++)
        put_le32(data + 4 * i, words[i]);
    *length = 4 * count < *length ? 4 * count : *length;
    return VUSB_ACK;
}

static enum vusb_answer answer(uint8_t request, uint8_t *data, size_t *length)
{
    /* One channel, counted from 0; versions of software and hardware. */
    static const uint32_t config[] = {0, 2, 1};
    /* No features; 48 MHz; segments 1 to 16 and 1 to 8, jump 4, prescaler 1 to 1024 by 1. */
    static const uint32_t limits[] = {0, 48000000, 1, 16, 1, 8, 4, 1, 1024, 1};
    if (request == DEVICE_CONFIG)
        return tell(config, sizeof config / sizeof config[0], data, length);
    if (request == BT_CONST)
        return tell(limits, sizeof limits / sizeof limits[0], data, length);
    return VUSB_STALL;
}

enum vusb_answer gs_control(const struct vusb_setup *setup, uint8_t *data, size_t *length)
{
    static const size_t sizes[] = {
        [HOST_FORMAT] = HOST_FORMAT_SIZE, [BITTIMING] = BITTIMING_SIZE, [MODE] = MODE_SIZE};
    if ((setup->type & TYPE) != VENDOR)
        return VUSB_STALL;
    if (setup->type & TO_HOST)
        return answer(setup->request, data, length);
    bool known = setup->request < sizeof sizes / sizeof sizes[0];
    return known && *length == sizes[setup->request] ? VUSB_ACK : VUSB_STALL;
}

/* ---- frames ---- */

static struct gs_waiting *next_place(struct gs_queue *queue)
{
    size_t room = sizeof queue->frames / sizeof queue->frames[0];
    return queue->count == room ? NULL : &queue->frames[(queue->head + queue->count++) % room];
}

bool gs_put_echo(struct gs_queue *queue, const uint8_t bytes[GS_FRAME])
{
    struct gs_waiting *place = queue->echoes < GS_ECHOES ? next_place(queue) : NULL;
    if (!place)
        return false;
    memcpy(place->bytes, bytes, GS_FRAME);
    place->echo = true;
    queue->echoes++;
    return true;
}

void gs_put(struct gs_queue *queue, const struct can_frame *frame)
{
    struct gs_waiting *place = next_place(queue);
    if (!place)
        return;
    memset(place, 0, sizeof *place);
    put_le32(place->bytes, (uint32_t)NO_ECHO);
    put_le32(place->bytes + ID_AT, frame->can_id);
    place->bytes[LENGTH_AT] = frame->len;
    memcpy(place->bytes + DATA_AT, frame->data, sizeof frame->data);
}

enum vusb_answer gs_take(struct gs_queue *queue, uint8_t *packet, size_t *length, bool *echo)
{
    if (queue->count == 0)
        return VUSB_NAK;
    const struct gs_waiting *first = &queue->frames[queue->head];
    memcpy(packet, first->bytes, GS_FRAME);
    *length = GS_FRAME;
    *echo = first->echo;
    queue->echoes -= first->echo;
    queue->head = (queue->head + 1) % (sizeof queue->frames / sizeof queue->frames[0]);
    queue->count--;
    return VUSB_ACK;
}

struct can_frame gs_frame(const uint8_t bytes[GS_FRAME])
{
    struct can_frame frame = {.can_id = get_le32(bytes + ID_AT)};
    frame.len = bytes[LENGTH_AT] < CAN_MAX_DLEN ? bytes[LENGTH_AT] : CAN_MAX_DLEN;
    memcpy(frame.data, bytes + DATA_AT, frame.len);
    return frame;
}
