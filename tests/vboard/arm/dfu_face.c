/* The descriptors of a board in DFU mode (USB DFU 1.1 §4.2): see dfu.h. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "dfu.h"

/* String 1 to 3, then one for each alternate. */
static void put_strings(struct dfu_board *board, const struct dfu_face *face)
{
    const char *const first[] = {face->manufacturer, face->product, face->serial};
    for (size_t i = 0; i < 3; i++)
        (void)snprintf(board->texts[i], DFU_TEXT, "%s", first[i]);
    for (size_t i = 0; i < 3 + board->alternates; i++)
        board->strings[i] = board->texts[i];
}

static size_t put_configuration(struct dfu_board *board, const struct dfu_face *face)
{
    uint8_t *c = board->configuration;
    size_t length = 9 + 9 * board->alternates + 9;
    const uint8_t head[] = {9, 2, (uint8_t)length, 0, 1, 1, 0, 0xc0, 50};
    memcpy(c, head, sizeof head);
    for (size_t i = 0; i < board->alternates; i++) {
        const uint8_t one[] = {9, 4, 0, (uint8_t)i, 0, 0xfe, 1, face->protocol, (uint8_t)(4 + i)};
        memcpy(c + 9 + 9 * i, one, sizeof one);
    }
    uint8_t *f = c + 9 + 9 * board->alternates;
    f[0] = 9;
    f[1] = 0x21;
    f[2] = face->attributes;
    put_le16(f + 3, face->detach);
    put_le16(f + 5, board->transfer);
    put_le16(f + 7, face->version);
    return length;
}

void dfu_identify(struct dfu_board *board, const struct dfu_face *face)
{
    const uint8_t device[] = {18, 1, 0x00, 0x01, 0, 0, 0, face->ep0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 1};
    memcpy(board->device, device, sizeof device);
    put_le16(board->device + 8, face->vid);
    put_le16(board->device + 10, face->pid);
    put_le16(board->device + 12, face->bcd);
    put_strings(board, face);
    board->identity = (struct vusb_identity){
        .device = board->device,
        .configuration = board->configuration,
        .configuration_length = put_configuration(board, face),
        .strings = board->strings,
        .string_count = 3 + board->alternates,
    };
}
