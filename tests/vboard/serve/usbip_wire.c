/* See usbip_wire.h. */
#include "usbip_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum {
    TO_HOST = 0x80,
    SPEED_FULL = 2, /* the kernel's enum usb_device_speed */
    SPEED_HIGH = 3,
    BUS = 1,
    PATH = 256,
    NOT_ISO = -1, /* number_of_packets; Linux says 0 */
    DT_INTERFACE = 4,
};

void usbip_parse(const uint8_t bytes[USBIP_HEADER], struct usbip_command *command)
{
    const uint8_t *setup = bytes + 40;
    *command = (struct usbip_command){
        .command = get_be32(bytes),
        .seqnum = get_be32(bytes + 4),
        .devid = get_be32(bytes + 8),
        .direction = get_be32(bytes + 12),
        .endpoint = get_be32(bytes + 16),
        .flags = get_be32(bytes + 20),
        .length = get_be32(bytes + 24),
        .packets = get_be32(bytes + 32),
        .unlink = get_be32(bytes + 20),
        .setup = {setup[0], setup[1], get_le16(setup + 2), get_le16(setup + 4),
                  get_le16(setup + 6)},
    };
}

size_t usbip_payload(const struct usbip_command *command)
{
    bool out = command->command == USBIP_SUBMIT && command->direction == USBIP_OUT;
    return out ? command->length : 0;
}

static bool control_is_sound(const struct usbip_command *command)
{
    const struct vusb_setup *setup = &command->setup;
    bool in = setup->type & TO_HOST && setup->length;
    if ((command->direction == USBIP_IN) != in)
        return false;
    return in || command->length == setup->length;
}

bool usbip_submit_is_sound(const struct usbip_command *command)
{
    if (command->direction > USBIP_IN || command->endpoint > 15 ||
        command->length > USBIP_LENGTH_MAX)
        return false;
    if (command->packets != 0 && command->packets != (uint32_t)NOT_ISO)
        return false;
    return command->endpoint || control_is_sound(command);
}

void usbip_put_op(uint8_t bytes[USBIP_OP], uint16_t code, enum usbip_status status)
{
    put_be16(bytes, USBIP_VERSION);
    put_be16(bytes + 2, code);
    put_be32(bytes + 4, status);
}

void usbip_put_submitted(uint8_t bytes[USBIP_HEADER], uint32_t seqnum, int status, uint32_t actual)
{
    memset(bytes, 0, USBIP_HEADER);
    put_be32(bytes, USBIP_RET_SUBMIT);
    put_be32(bytes + 4, seqnum);
    put_be32(bytes + 20, (uint32_t)status);
    put_be32(bytes + 24, actual);
}

void usbip_put_unlinked(uint8_t bytes[USBIP_HEADER], uint32_t seqnum, int status)
{
    memset(bytes, 0, USBIP_HEADER);
    put_be32(bytes, USBIP_RET_UNLINK);
    put_be32(bytes + 4, seqnum);
    put_be32(bytes + 20, (uint32_t)status);
}

void usbip_put_record(uint8_t bytes[USBIP_RECORD], const struct usb_bus *bus, const char *busid,
                      uint16_t number)
{
    const struct vusb_identity *identity = bus->device->identity;
    const uint8_t *device = identity->device;
    memset(bytes, 0, USBIP_RECORD);
    snprintf((char *)bytes, PATH, "/sys/devices/virtual/vboard/%s", busid);
    snprintf((char *)bytes + PATH, USBIP_BUSID, "%s", busid);
    put_be32(bytes + 288, BUS);
    put_be32(bytes + 292, number);
    put_be32(bytes + 296, identity->high_speed ? SPEED_HIGH : SPEED_FULL);
    put_be16(bytes + 300, get_le16(device + 8));
    put_be16(bytes + 302, get_le16(device + 10));
    put_be16(bytes + 304, get_le16(device + 12));
    memcpy(bytes + 306, device + 4, 3); /* class, subclass, protocol */
    bytes[309] = bus->configuration;
    bytes[310] = device[17];
    bytes[311] = identity->configuration[4];
}

size_t usbip_put_interfaces(uint8_t *bytes, size_t room, const struct usb_bus *bus)
{
    const struct vusb_identity *identity = bus->device->identity;
    size_t count = 0;
    for (size_t at = 0; at + 9 <= identity->configuration_length && count + 4 <= room;) {
        const uint8_t *descriptor = identity->configuration + at;
        if (descriptor[0] < 2)
            break;
        at += descriptor[0];
        if (descriptor[1] != DT_INTERFACE || descriptor[3] != 0)
            continue;
        memcpy(bytes + count, descriptor + 5, 3);
        bytes[count + 3] = 0;
        count += 4;
    }
    return count;
}

int usbip_errno(enum bus_end end)
{
    static const int numbers[] = {
        [BUS_PENDING] = -EINPROGRESS, [BUS_DONE] = 0,
        [BUS_STALL] = -EPIPE,         [BUS_CANCELLED] = -ECONNRESET,
        [BUS_BABBLE] = -EOVERFLOW,    [BUS_GONE] = -ENODEV,
    };
    return numbers[end];
}
