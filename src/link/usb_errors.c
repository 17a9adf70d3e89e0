/* What goes wrong on USB, in words: what was being done, to what, what it answered, what to try. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "link/host.h"
#include "link/usb_backend.h"

enum { NAMED_MAX = 6 };

void usb_label(const struct usb *usb, char text[USB_LABEL_MAX])
{
    (void)snprintf(text, USB_LABEL_MAX, "%s (%04x:%04x)", usb->name, usb->device.vid,
                   usb->device.pid);
}

int usb_no_device(const char *name, const struct usb_device *devices, size_t count,
                  struct error *err)
{
    char there[ERROR_HINT_MAX - 128] = "";
    for (size_t i = 0; i < count && i < NAMED_MAX; i++)
        text_append(there, sizeof there, "%s%s (%04x:%04x%s%s)", i ? ", " : "", devices[i].name,
                    devices[i].vid, devices[i].pid, devices[i].product[0] ? " " : "",
                    devices[i].product);
    error_set(err, ERR_NO_DEVICE, "opening %s: there is no such USB device", name);
    if (count > 0)
        error_hint(err, "on the bus are: %s%s", there, count > NAMED_MAX ? " ..." : "");
    else
        error_hint(err, "no USB device is there at all: is the board plugged in, and the cable one "
                        "that carries data?");
    return ERR_NO_DEVICE;
}

int usb_gone(const struct usb *usb, const char *why, struct error *err)
{
    char label[USB_LABEL_MAX];
    usb_label(usb, label);
    error_set(err, ERR_GONE, "%s: the device is gone (%s)", label, why);
    error_hint(err, "check the cable and the board's power; `mflash detect` shows what is there "
                    "now");
    return ERR_GONE;
}

static void describe(const struct usb *usb, const struct usb_transfer *transfer, char *text,
                     size_t size)
{
    char label[USB_LABEL_MAX];
    usb_label(usb, label);
    const struct usb_setup *setup = &transfer->setup;
    if (transfer->endpoint == 0)
        (void)snprintf(text, size, "%s: request %02x %02x (value 0x%04x, index 0x%04x, %u bytes)",
                       label, setup->type, setup->request, setup->value, setup->index,
                       setup->length);
    else
        (void)snprintf(text, size, "%s: %s %zu bytes %s endpoint 0x%02x", label,
                       transfer->endpoint & USB_DIRECTION_IN ? "reading up to" : "writing",
                       transfer->length, transfer->endpoint & USB_DIRECTION_IN ? "from" : "to",
                       transfer->endpoint);
}

/* What each end means, and what to try next. */
static const struct {
    enum error_code code;
    const char *answer, *hint;
} ends[] = {
    [USB_PENDING] = {ERR_NO_ANSWER, "no answer yet", ""},
    [USB_DONE] = {OK, "", ""},
    [USB_STALL] = {ERR_STALL, "the device refused it (stall)",
                   "unplug the board, start its bootloader again, and try once more"},
    [USB_CANCELLED] = {ERR_NO_ANSWER, "no answer before the deadline",
                       "is the board still in its bootloader? Unplug it and plug it in again"},
    [USB_BABBLE] = {ERR_PROTOCOL, "the device sent more than was asked for",
                    "try another cable, or a port without a hub"},
    [USB_GONE] = {ERR_GONE, "the device is gone",
                  "check the cable and the board's power; `mflash detect` shows what is there now"},
    [USB_FAILED] = {ERR_FAILED, "the transfer failed on the bus",
                    "try another cable, or a port without a hub; `sudo dmesg | tail` shows what "
                    "the kernel saw"},
};

int usb_ended(const struct usb *usb, const struct usb_transfer *transfer, struct error *err)
{
    char text[USB_LABEL_MAX + 96];
    if (transfer->end == USB_DONE)
        return OK;
    describe(usb, transfer, text, sizeof text);
    if (transfer->endpoint != 0 && !(transfer->endpoint & USB_DIRECTION_IN))
        text_append(text, sizeof text, ", %zu went", transfer->actual);
    error_set(err, ends[transfer->end].code, "%s: %s", text, ends[transfer->end].answer);
    error_hint(err, "%s", ends[transfer->end].hint);
    return ends[transfer->end].code;
}

int usb_no_permission(const struct usb_device *device, const char *node, const struct stat *is,
                      struct error *err)
{
    char group[64];
    host_group(is->st_gid, group, sizeof group);
    error_set(err, ERR_PERMISSION,
              "opening %s (%04x:%04x%s%s): permission denied (%s, group %s, mode %04o)",
              device->name, device->vid, device->pid, device->product[0] ? " " : "",
              device->product, node, group, (unsigned)(is->st_mode & 07777));
    if (is->st_gid != 0 && (is->st_mode & 0060) == 0060)
        error_hint(err, "`sudo usermod -aG %s $USER`, then log in again", group);
    else
        error_hint(
            err,
            "`echo 'SUBSYSTEM==\"usb\", ATTR{idVendor}==\"%04x\", ATTR{idProduct}==\"%04x\", "
            "MODE=\"0660\", GROUP=\"plugdev\", TAG+=\"uaccess\"' | sudo tee "
            "/etc/udev/rules.d/61-mflash-%04x-%04x.rules && sudo udevadm control --reload && sudo "
            "udevadm trigger --attr-match=idVendor=%04x`; mflash's `sudo make install` "
            "puts rules for all boards",
            device->vid, device->pid, device->vid, device->pid, device->vid);
    return ERR_PERMISSION;
}
