/* See usb_cdc.h. */
#include "usb_cdc.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "chip_id.h"

enum {
    SET_LINE_CODING = 0x20,
    GET_LINE_CODING = 0x21,
    SET_CONTROL_LINE_STATE = 0x22,
    TO_INTERFACE = 0x21,
    FROM_INTERFACE = 0xa1,
    DTR = 1,
    RTS = 2,
    DEFAULT_BAUD = 115200,
};

/* ---- descriptors ---- */

static const uint8_t configuration[] = {
    9, 2,    67,         0,    2,    1,  0,    0xc0, 50, /* self-powered, 100 mA */
    9, 4,    0,          0,    1,    2,  2,    1,    0,  /* communications, ACM, AT commands */
    5, 0x24, 0x00,       0x10, 0x01,                     /* header: CDC 1.10 */
    5, 0x24, 0x01,       0x01, 0x01,           /* call management over the data interface */
    4, 0x24, 0x02,       0x06,                 /* line coding and state; no network connection */
    5, 0x24, 0x06,       0x00, 0x01,           /* union of 0 and 1 */
    7, 5,    CDC_NOTIFY, 3,    8,    0,  0xff, /* notifications */
    9, 4,    1,          0,    2,    10, 0,    0,    0, /* data */
    7, 5,    CDC_OUT,    2,    64,   0,  0,             /* */
    7, 5,    CDC_IN,     2,    64,   0,  0,             /* */
};

static uint8_t keep_text(struct cdc_identity *cdc, size_t n, const char *text)
{
    cdc->strings[n] = NULL;
    if (!text)
        return 0;
    snprintf(cdc->texts[n], CDC_TEXT_MAX, "%s", text);
    cdc->strings[n] = cdc->texts[n];
    return (uint8_t)(n + 1);
}

void cdc_identify(struct cdc_identity *cdc, const struct cdc_face *face)
{
    uint8_t *device = cdc->device;
    memcpy(device, (const uint8_t[]){18, 1, 0, 2, 2, 0, 0, CDC_PACKET}, 8);
    put_le16(device + 8, face->vid);
    put_le16(device + 10, face->pid);
    put_le16(device + 12, face->bcd);
    device[14] = keep_text(cdc, 0, face->manufacturer);
    device[15] = keep_text(cdc, 1, face->product);
    device[16] = keep_text(cdc, 2, face->serial);
    device[17] = 1;
    cdc->identity = (struct vusb_identity){
        .device = device,
        .configuration = configuration,
        .configuration_length = sizeof configuration,
        .strings = cdc->strings,
        .string_count = 3,
    };
}

void cdc_chip_serial(char text[CDC_TEXT_MAX], const struct chip *chip, unsigned node)
{
    uint8_t id[CHIP_ID_MAX];
    size_t length = vchip_id(id, chip, node);
    for (size_t i = 0; i < length; i++)
        snprintf(text + 2 * i, 3, "%02X", id[i]);
}

/* ---- requests ---- */

uint32_t cdc_baud(const struct cdc_port *port)
{
    return port->chosen ? get_le32(port->coding) : DEFAULT_BAUD;
}

static enum vusb_answer get_coding(const struct cdc_port *port, uint8_t *data, size_t *length)
{
    uint8_t coding[7] = {0, 0, 0, 0, 0, 0, 8};
    put_le32(coding, DEFAULT_BAUD);
    *length = *length < 7 ? *length : 7;
    memcpy(data, port->chosen ? port->coding : coding, *length);
    return VUSB_ACK;
}

enum vusb_answer cdc_control(struct cdc_port *port, const struct vusb_setup *setup, uint8_t *data,
                             size_t *length, bool *changed)
{
    *changed = false;
    if (setup->index != 0)
        return VUSB_STALL;
    if (setup->type == FROM_INTERFACE && setup->request == GET_LINE_CODING && setup->value == 0)
        return get_coding(port, data, length);
    if (setup->type != TO_INTERFACE)
        return VUSB_STALL;
    if (setup->request == SET_LINE_CODING && setup->value == 0 && *length == sizeof port->coding) {
        memcpy(port->coding, data, sizeof port->coding);
        port->chosen = *changed = true;
        return VUSB_ACK;
    }
    if (setup->request == SET_CONTROL_LINE_STATE && setup->value <= (DTR | RTS) && *length == 0) {
        port->dtr = setup->value & DTR;
        port->rts = setup->value & RTS;
        *changed = true;
        return VUSB_ACK;
    }
    return VUSB_STALL;
}

/* ---- bytes for the host ---- */

bool cdc_put(struct cdc_queue *queue, uint8_t byte)
{
    if (queue->count == queue->room)
        return false;
    queue->bytes[(queue->head + queue->count++) % queue->room] = byte;
    return true;
}

enum vusb_answer cdc_take(struct cdc_queue *queue, uint8_t *packet, size_t *length)
{
    if (!queue->count && !queue->whole)
        return VUSB_NAK;
    size_t count = 0;
    while (count < CDC_PACKET && count < *length && queue->count) {
        packet[count++] = queue->bytes[queue->head];
        queue->head = (queue->head + 1) % queue->room;
        queue->count--;
    }
    queue->whole = count == CDC_PACKET;
    *length = count;
    return VUSB_ACK;
}

void cdc_forget(struct cdc_queue *queue)
{
    queue->head = queue->count = 0;
    queue->whole = false;
}
