/*
 * What a device says about itself: descriptors and strings (USB 2.0 chapter 9). Every length in
 * them is a claim of the device and is held against what came.
 */
#include <ctype.h>
#include <string.h>

#include "base/bytes.h"
#include "link/usb_backend.h"

enum {
    DESCRIBE_DEADLINE = 2 * SECOND,
    REQUEST_GET_DESCRIPTOR = 6,
    FROM_DEVICE = 0x80,
    DEVICE_BYTES = 18,
    CONFIGURATION_BYTES = 9,
    INTERFACE_BYTES = 9,
    ENDPOINT_BYTES = 7,
    STRING_BYTES = 255,
    CONFIGURATIONS_MAX = 8,
    LANGUAGE_US_ENGLISH = 0x0409,
};

bool usb_descriptor_next(const uint8_t *bytes, size_t length, const uint8_t **descriptor)
{
    const uint8_t *at = *descriptor ? *descriptor + (*descriptor)[0] : bytes;
    size_t left = length - (size_t)(at - bytes);
    if (left < 2 || at[0] < 2 || at[0] > left)
        return false;
    *descriptor = at;
    return true;
}

const uint8_t *usb_endpoint(const struct usb *usb, uint8_t endpoint)
{
    const uint8_t *at = NULL;
    while (usb_descriptor_next(usb->configuration, usb->configuration_length, &at))
        if (at[1] == USB_DT_ENDPOINT && at[0] >= ENDPOINT_BYTES && at[2] == endpoint)
            return at;
    return NULL;
}

/* GET_DESCRIPTOR. Returns how many bytes came, all of them inside `length`. */
static ssize_t get_descriptor(struct usb *usb, uint8_t type, uint8_t index, uint16_t language,
                              uint8_t *bytes, uint16_t length, struct error *err)
{
    const struct usb_setup setup = {FROM_DEVICE, REQUEST_GET_DESCRIPTOR,
                                    (uint16_t)(type << 8 | index), language, length};
    return usb_control(usb, &setup, bytes, clock_in(usb->clock, DESCRIBE_DEADLINE), err);
}

/* ---- strings ---- */

/* String descriptor's text bytes: from bytes + 2, as many as are returned. */
static size_t get_string(struct usb *usb, uint8_t index, uint16_t language, uint8_t *bytes)
{
    struct error ignored;
    ssize_t came =
        get_descriptor(usb, USB_DT_STRING, index, language, bytes, STRING_BYTES, &ignored);
    if (came < 2 || bytes[0] < 2 || bytes[1] != USB_DT_STRING)
        return 0;
    size_t length = bytes[0] < came ? bytes[0] : (size_t)came;
    return length - 2;
}

static uint16_t language_of(struct usb *usb)
{
    uint8_t bytes[STRING_BYTES];
    if (usb->language == 0)
        usb->language =
            get_string(usb, 0, 0, bytes) >= 2 ? get_le16(bytes + 2) : LANGUAGE_US_ENGLISH;
    if (usb->language == 0)
        usb->language = LANGUAGE_US_ENGLISH;
    return usb->language;
}

static bool all_print(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isprint(bytes[i]))
            return false;
    return length > 0;
}

bool usb_string(struct usb *usb, uint8_t index, char *text, size_t size)
{
    uint8_t bytes[STRING_BYTES];
    text[0] = '\0';
    if (index == 0)
        return false;
    size_t length = get_string(usb, index, language_of(usb), bytes);
    /* UTF-16 of Latin letters has a zero in every second byte. */
    size_t step = all_print(bytes + 2, length) ? 1 : 2, used = 0;
    for (size_t i = 0; i + step <= length && used + 1 < size; i += step) {
        unsigned unit = step == 1 ? bytes[2 + i] : get_le16(bytes + 2 + i);
        if (unit == 0)
            break;
        text[used++] = unit < 0x80 && isprint((int)unit) ? (char)unit : '?';
    }
    text[used] = '\0';
    return length > 0;
}

/* ---- what usb_open asks ---- */

static int no_descriptor(const struct usb *usb, const char *which, ssize_t came, struct error *err)
{
    char label[USB_LABEL_MAX];
    usb_label(usb, label);
    error_set(err, ERR_PROTOCOL, "asking %s for its %s descriptor: %zd bytes came that are none",
              label, which, came);
    error_hint(err, "unplug the board and plug it in again; try another cable, or a port without a "
                    "hub");
    return ERR_PROTOCOL;
}

static int read_device(struct usb *usb, struct error *err)
{
    uint8_t *bytes = usb->device_descriptor;
    ssize_t came = get_descriptor(usb, USB_DT_DEVICE, 0, 0, bytes, DEVICE_BYTES, err);
    if (came < 0)
        return (int)came;
    if (came < DEVICE_BYTES || bytes[0] < DEVICE_BYTES || bytes[1] != USB_DT_DEVICE)
        return no_descriptor(usb, "device", came, err);
    usb->device.vid = get_le16(bytes + 8);
    usb->device.pid = get_le16(bytes + 10);
    usb->device.bcd = get_le16(bytes + 12);
    return OK;
}

/* One configuration by index, whole or as much of it as there is room for. */
static int read_configuration(struct usb *usb, uint8_t index, struct error *err)
{
    uint8_t *bytes = usb->configuration;
    usb->configuration_length = 0;
    ssize_t came =
        get_descriptor(usb, USB_DT_CONFIGURATION, index, 0, bytes, CONFIGURATION_BYTES, err);
    if (came < 0)
        return (int)came;
    if (came < CONFIGURATION_BYTES || bytes[0] < CONFIGURATION_BYTES ||
        bytes[1] != USB_DT_CONFIGURATION || get_le16(bytes + 2) < CONFIGURATION_BYTES)
        return no_descriptor(usb, "configuration", came, err);
    uint16_t total = get_le16(bytes + 2);
    if (total > USB_CONFIGURATION_MAX)
        total = USB_CONFIGURATION_MAX;
    came = get_descriptor(usb, USB_DT_CONFIGURATION, index, 0, bytes, total, err);
    if (came < 0)
        return (int)came;
    if (came < CONFIGURATION_BYTES || bytes[1] != USB_DT_CONFIGURATION)
        return no_descriptor(usb, "configuration", came, err);
    usb->configuration_length = (size_t)came;
    return OK;
}

/* The current one; the first if there is none yet. */
static int find_configuration(struct usb *usb, struct error *err)
{
    uint8_t count = usb->device_descriptor[17];
    for (uint8_t index = 0; index < count && index < CONFIGURATIONS_MAX; index++) {
        int rc = read_configuration(usb, index, err);
        if (rc != OK || usb->configured == 0 || usb->configuration[5] == usb->configured)
            return rc;
    }
    return read_configuration(usb, 0, err);
}

static bool is_listed(const struct usb_device *device, uint8_t number)
{
    for (size_t i = 0; i < device->interface_count; i++)
        if (device->interfaces[i].number == number)
            return true;
    return false;
}

/* Interfaces in their first alternate setting. */
static void list_interfaces(struct usb *usb)
{
    struct usb_device *device = &usb->device;
    const uint8_t *at = NULL;
    device->interface_count = 0;
    while (usb_descriptor_next(usb->configuration, usb->configuration_length, &at)) {
        if (at[1] != USB_DT_INTERFACE || at[0] < INTERFACE_BYTES || is_listed(device, at[2]) ||
            device->interface_count == USB_INTERFACES_MAX)
            continue;
        device->interfaces[device->interface_count++] = (struct usb_interface){
            .number = at[2], .class = at[5], .subclass = at[6], .protocol = at[7]};
    }
}

static void read_texts(struct usb *usb)
{
    struct usb_device *device = &usb->device;
    if (device->manufacturer[0] || device->product[0] || device->serial[0])
        return;
    const uint8_t *bytes = usb->device_descriptor;
    (void)usb_string(usb, bytes[14], device->manufacturer, sizeof device->manufacturer);
    (void)usb_string(usb, bytes[15], device->product, sizeof device->product);
    (void)usb_string(usb, bytes[16], device->serial, sizeof device->serial);
}

int usb_begin(struct usb *usb, struct trace *trace, struct error *err)
{
    usb->trace = trace;
    usb->trace_port = trace_add_usb(trace, usb->name);
    int rc = read_device(usb, err);
    if (rc == OK)
        rc = find_configuration(usb, err);
    if (rc == OK && usb->configured == 0)
        rc = usb_configure(usb, usb->configuration[5], err);
    if (rc != OK)
        return rc;
    if (usb->device.interface_count == 0)
        list_interfaces(usb);
    read_texts(usb);
    return OK;
}
