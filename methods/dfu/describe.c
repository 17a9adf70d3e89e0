/*
 * What a DFU device says of itself: interface FE/01, its alternates with their strings, and the
 * functional descriptor (DFU 1.1 §4.1.3, §4.2.4), which stands behind any of them.
 */
#include "dfu/dfu.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/text.h"

enum {
    CLASS_APPLICATION = 0xfe,
    SUBCLASS_DFU = 1,
    PROTOCOL_RUNTIME = 1,
    PROTOCOL_DFU = 2,
    DT_FUNCTIONAL = 0x21,
    FUNCTIONAL_LEAST = 7, /* DFU 1.0 has no version */
    VERSION_ST = 0x011a,
    INTERFACE_LENGTH = 9,
};

/* Devices whose loader says "run-time", or whose poll timeouts are garbage. */
static const struct {
    uint16_t vid, pid_low, pid_high;
    bool is_loader, garbage;
} quirks[] = {
    {0x1fc9, 0x000c, 0x000c, true, false}, /* NXP's ROM */
    {0x1d50, 0x5117, 0x5126, false, true}, /* Openmoko */
    {0x1457, 0x5117, 0x5126, false, true}, /* FIC */
    {0x16c0, 0x0762, 0x0762, false, true}, /* SIMtrace */
    {0x16c0, 0x076b, 0x076c, false, true}, /* OpenPCD, OpenPICC */
    {0x0908, 0x02c4, 0x02c5, false, true}, /* Siemens PXM */
    {0x0763, 0x2806, 0x2806, false, true}, /* M-Audio */
};

static void apply_quirks(struct dfu *dfu, bool *runtime)
{
    const struct usb_device *device = &dfu->wire.usb->device;
    for (size_t i = 0; i < sizeof quirks / sizeof quirks[0]; i++) {
        if (device->vid != quirks[i].vid || device->pid < quirks[i].pid_low ||
            device->pid > quirks[i].pid_high)
            continue;
        dfu->wire.garbage = quirks[i].garbage;
        *runtime = *runtime && !quirks[i].is_loader;
    }
}

static bool is_maple(const struct usb_device *device)
{
    return device->vid == 0x1eaf && device->pid == 0x0003;
}

static void take_functional(struct dfu *dfu, const uint8_t *d)
{
    if (d[0] < FUNCTIONAL_LEAST || dfu->described)
        return;
    dfu->described = true;
    dfu->attributes = d[2];
    dfu->detach_timeout = get_le16(d + 3);
    dfu->transfer = get_le16(d + 5);
    dfu->version = d[0] >= 9 ? get_le16(d + 7) : 0x0100;
}

/* Alternates are known by their number, not by their place: some devices have gaps. */
static void take_alternate(struct dfu *dfu, const uint8_t *d)
{
    if (dfu->count == DFU_ALTERNATES_MAX || (dfu->count && d[2] != dfu->wire.interface))
        return;
    struct dfu_alternate *alternate = &dfu->alternates[dfu->count++];
    dfu->wire.interface = d[2];
    alternate->number = d[3];
    (void)usb_string(dfu->wire.usb, d[8], alternate->description, sizeof alternate->description);
    alternate->mapped = dfu_layout_parse(alternate->description, &alternate->layout);
}

static enum dfu_kind kind_of(const struct dfu *dfu)
{
    if (is_maple(&dfu->wire.usb->device))
        return DFU_MAPLE;
    bool mapped = false;
    for (size_t i = 0; i < dfu->count; i++)
        mapped = mapped || dfu->alternates[i].mapped;
    return dfu->version == VERSION_ST || mapped ? DFU_ST : DFU_PLAIN;
}

/* Blocks must have the size that the device counts in; what cannot be right gets the size that
 * every device takes. */
static void bound_transfer(struct dfu *dfu)
{
    unsigned least = dfu->wire.usb->device_descriptor[7];
    if (dfu->transfer > DFU_TRANSFER_MAX)
        dfu->transfer = DFU_TRANSFER_MAX;
    if (dfu->transfer < (least >= 8 ? least : 8))
        dfu->transfer = 1024;
}

int dfu_describe(struct dfu *dfu, bool *runtime, struct error *err)
{
    const struct usb *usb = dfu->wire.usb;
    const uint8_t *d = NULL;
    uint8_t protocol = 0;
    while (usb_descriptor_next(usb->configuration, usb->configuration_length, &d)) {
        if (d[1] == DT_FUNCTIONAL)
            take_functional(dfu, d);
        if (d[1] != USB_DT_INTERFACE || d[0] < INTERFACE_LENGTH || d[5] != CLASS_APPLICATION ||
            d[6] != SUBCLASS_DFU)
            continue;
        protocol = d[7];
        take_alternate(dfu, d);
    }
    if (!dfu->count) {
        error_set(err, ERR_NOT_POSSIBLE, "%s (%04x:%04x) has no DFU interface", usb->name,
                  usb->device.vid, usb->device.pid);
        return error_hint(err, "its application may know another way into its bootloader; "
                               "`mflash detect` shows what is on the bus");
    }
    *runtime = protocol == PROTOCOL_RUNTIME;
    apply_quirks(dfu, runtime);
    bound_transfer(dfu);
    dfu->kind = kind_of(dfu);
    /* A plain loader's poll timeout is what its author meant; only DfuSe can be tried out. */
    dfu->wire.manners = dfu->kind == DFU_ST ? DFU_UNTRIED : DFU_STRICT;
    return OK;
}

int dfu_select(struct dfu *dfu, struct dfu_alternate *alternate, struct error *err)
{
    if (dfu->selected == alternate)
        return OK;
    int rc = usb_set_alternate(dfu->wire.usb, dfu->wire.interface, alternate->number, err);
    if (rc == OK)
        rc = dfu_make_idle(&dfu->wire, err);
    if (rc != OK)
        return error_context(err, "choosing memory %u (%s)", alternate->number,
                             alternate->description);
    dfu->selected = alternate;
    return OK;
}

int dfu_hint_memories(const struct dfu *dfu, struct error *err)
{
    char known[ERROR_HINT_MAX] = "it has:";
    for (size_t i = 0; i < dfu->count; i++)
        text_append(known, sizeof known, "\n%u  %s", dfu->alternates[i].number,
                    dfu->alternates[i].description);
    return error_hint(err, "%s", known);
}

int dfu_no_memory(const struct dfu *dfu, const char *done, const struct span *span,
                  struct error *err)
{
    const uint64_t last = span->start + span->size - 1;
    if (!dfu->kilobytes) {
        error_refuse(err, "size",
                     "the device has no memory that can be %s at 0x%08" PRIx64 "..0x%08" PRIx64,
                     done, span->start, last);
        return dfu_hint_memories(dfu, err);
    }
    return error_refuse(err, "size",
                        "this GD32 has %u KiB of flash, as its serial number %s says: nothing can "
                        "be %s at 0x%08" PRIx64 "..0x%08" PRIx64,
                        dfu->kilobytes, dfu->serial, done, span->start, last);
}

struct dfu_alternate *dfu_alternate_for(struct dfu *dfu, const struct span *span, uint8_t access)
{
    for (size_t i = 0; i < dfu->count; i++) {
        struct dfu_alternate *alternate = &dfu->alternates[i];
        if (alternate->mapped && dfu_layout_allows(&alternate->layout, span, access))
            return alternate;
    }
    return NULL;
}
