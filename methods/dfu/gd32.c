/*
 * GigaDevice's ROM loaders (28e9:0189) speak DfuSe, but tell the same memory layout whatever part
 * it is. The size of the flash is the third of the four characters of their serial number, as in
 * the part's name (GD32VF103CBT6: "3CBJ"); parts of these sizes have pages of 1 KiB (dfu-util,
 * quirks.c). The chip itself is told nowhere.
 */
#include <string.h>

#include "base/text.h"
#include "dfu/dfu.h"

enum { GD32_VID = 0x28e9, SERIAL_LENGTH = 4, SIZE_AT = 2, SERIAL_STRING = 16 };

static unsigned kilobytes_of(char letter)
{
    static const struct {
        char letter;
        unsigned kilobytes;
    } sizes[] = {{'B', 128}, {'8', 64}, {'6', 32}, {'4', 16}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].letter == letter)
            return sizes[i].kilobytes;
    return 0;
}

static bool has_flash(const struct dfu_alternate *alternate, uint64_t start)
{
    return alternate->mapped && dfu_layout_at(&alternate->layout, start);
}

void dfu_gd32_mend(struct dfu *dfu)
{
    struct usb *usb = dfu->wire.usb;
    const uint64_t start = dfu->session->chip->regions[0].start;
    if (usb->device.vid != GD32_VID)
        return;
    dfu->lies = true;
    /* Asked of the device: what the kernel made of four bytes that are no UTF-16 is no help. */
    if (!usb_string(usb, usb->device_descriptor[SERIAL_STRING], dfu->serial, sizeof dfu->serial) ||
        strlen(dfu->serial) != SERIAL_LENGTH)
        return;
    dfu->kilobytes = kilobytes_of(dfu->serial[SIZE_AT]);
    for (size_t i = 0; i < dfu->count && dfu->kilobytes; i++) {
        struct dfu_alternate *alternate = &dfu->alternates[i];
        if (!has_flash(alternate, start))
            continue;
        alternate->description[0] = '\0';
        text_append(alternate->description, sizeof alternate->description,
                    "@Internal Flash  /0x%08x/%u*001Kg", (unsigned)start, dfu->kilobytes);
        alternate->mapped = dfu_layout_parse(alternate->description, &alternate->layout);
        dfu->lies = false;
    }
}
