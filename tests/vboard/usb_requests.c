/* Standard requests of any USB device: USB 2.0 chapter 9.4. See usb_bus.h. */
#include <string.h>

#include "base/bytes.h"
#include "usb_bus.h"

enum {
    TO_HOST = 0x80,
    KIND = 0x60, /* of bmRequestType: standard, class, vendor */
    RECIPIENT = 0x1f,
    DEVICE = 0,
    INTERFACE = 1,
    ENDPOINT = 2,
};

enum { /* table 9-4 */
       GET_STATUS = 0,
       CLEAR_FEATURE = 1,
       SET_FEATURE = 3,
       SET_ADDRESS = 5,
       GET_DESCRIPTOR = 6,
       GET_CONFIGURATION = 8,
       SET_CONFIGURATION = 9,
       GET_INTERFACE = 10,
       SET_INTERFACE = 11,
};

enum { /* table 9-5 */
       DT_DEVICE = 1,
       DT_CONFIGURATION = 2,
       DT_STRING = 3,
       DT_INTERFACE = 4,
       DT_ENDPOINT = 5,
       DT_QUALIFIER = 6,
       DT_OTHER_SPEED = 7,
};

enum {
    ENDPOINT_HALT = 0, /* table 9-6 */
    REMOTE_WAKEUP = 1,
    ATTRIBUTE_SELF_POWERED = 0x40, /* table 9-10 */
    ATTRIBUTE_WAKEUP = 0x20,
    LANGUAGE = 0x0409, /* English (United States) */
    STRING_MAX = 126,  /* characters that a descriptor of 255 bytes holds */
    RAW_STRING = 0x01,
};

bool usb_is_message(const struct vusb_setup *setup)
{
    return (setup->type & KIND) != 0;
}

unsigned usb_endpoint_index(uint8_t address)
{
    return (address & 0x0fu) + (address & TO_HOST ? 16u : 0u);
}

/* ---- the configuration descriptor ---- */

/* The next descriptor behind *at that lies whole inside; NULL at the end. */
static const uint8_t *next_descriptor(const struct vusb_identity *identity, size_t *at)
{
    const uint8_t *descriptor = identity->configuration + *at;
    if (*at + 2 > identity->configuration_length || descriptor[0] < 2 ||
        *at + descriptor[0] > identity->configuration_length)
        return NULL;
    *at += descriptor[0];
    return descriptor;
}

static bool has_alternate(const struct usb_bus *bus, uint16_t interface, uint16_t alternate)
{
    const uint8_t *descriptor;
    size_t at = 0;
    while ((descriptor = next_descriptor(bus->device->identity, &at)))
        if (descriptor[1] == DT_INTERFACE && descriptor[2] == interface &&
            descriptor[3] == alternate)
            return interface < BUS_INTERFACES;
    return false;
}

bool usb_find_endpoint(const struct usb_bus *bus, uint8_t address, struct bus_endpoint *endpoint)
{
    const uint8_t *descriptor;
    size_t at = 0;
    bool current = false; /* inside an alternate setting that is chosen */
    if (!bus->configuration)
        return false;
    while ((descriptor = next_descriptor(bus->device->identity, &at))) {
        if (descriptor[1] == DT_INTERFACE)
            current =
                descriptor[2] < BUS_INTERFACES && bus->alternates[descriptor[2]] == descriptor[3];
        if (descriptor[1] != DT_ENDPOINT || !current || descriptor[2] != address)
            continue;
        *endpoint = (struct bus_endpoint){.type = descriptor[3] & 3,
                                          .packet = get_le16(descriptor + 4) & 0x7ff,
                                          .interval = descriptor[6]};
        return true;
    }
    return false;
}

static void clear_halts_of(struct usb_bus *bus, uint8_t interface)
{
    const uint8_t *descriptor;
    size_t at = 0;
    bool inside = false;
    while ((descriptor = next_descriptor(bus->device->identity, &at))) {
        if (descriptor[1] == DT_INTERFACE)
            inside = descriptor[2] == interface;
        if (descriptor[1] == DT_ENDPOINT && inside)
            bus->halted[usb_endpoint_index(descriptor[2])] = false;
    }
}

/* ---- answers ---- */

static enum vusb_answer give(const void *bytes, size_t count, uint8_t *data, size_t *length)
{
    *length = count < *length ? count : *length;
    if (*length)
        memcpy(data, bytes, *length);
    return VUSB_ACK;
}

static enum vusb_answer ask_model(struct usb_bus *bus, const struct vusb_setup *setup,
                                  uint8_t *data, size_t *length)
{
    struct vusb *device = bus->device;
    return device->ops->control ? device->ops->control(device, setup, data, length) : VUSB_STALL;
}

static enum vusb_answer get_string(const struct vusb_identity *identity, uint8_t index,
                                   uint8_t *data, size_t *length)
{
    uint8_t descriptor[2 + 2 * STRING_MAX] = {4, DT_STRING, LANGUAGE & 0xff, LANGUAGE >> 8};
    if (index == 0)
        return give(descriptor, 4, data, length);
    const char *text = index <= identity->string_count ? identity->strings[index - 1] : NULL;
    if (!text)
        return VUSB_STALL;
    if (text[0] == RAW_STRING)
        return give(text + 2, (uint8_t)text[1], data, length);
    size_t count = strnlen(text, STRING_MAX);
    descriptor[0] = (uint8_t)(2 + 2 * count);
    for (size_t i = 0; i < count; i++)
        put_le16(descriptor + 2 + 2 * i, (uint8_t)text[i]);
    return give(descriptor, descriptor[0], data, length);
}

static enum vusb_answer get_descriptor(struct usb_bus *bus, const struct vusb_setup *setup,
                                       uint8_t *data, size_t *length)
{
    const struct vusb_identity *identity = bus->device->identity;
    uint8_t index = (uint8_t)setup->value;
    switch (setup->value >> 8) {
    case DT_DEVICE:
        return give(identity->device, identity->device[0], data, length);
    case DT_CONFIGURATION:
        return index ? VUSB_STALL
                     : give(identity->configuration, identity->configuration_length, data, length);
    case DT_STRING:
        return get_string(identity, index, data, length);
    case DT_QUALIFIER: /* of a full-speed-only device: chapter 9.6.2 wants a request error */
    case DT_OTHER_SPEED:
        return identity->high_speed ? ask_model(bus, setup, data, length) : VUSB_STALL;
    default:
        return ask_model(bus, setup, data, length);
    }
}

static enum vusb_answer to_device(struct usb_bus *bus, const struct vusb_setup *setup,
                                  uint8_t *data, size_t *length)
{
    struct vusb *device = bus->device;
    const uint8_t *configuration = device->identity->configuration;
    uint8_t attributes = configuration[7];
    switch (setup->request) {
    case GET_STATUS:
        return give((uint8_t[]){attributes & ATTRIBUTE_SELF_POWERED ? 1 : 0, 0}, 2, data, length);
    case CLEAR_FEATURE:
    case SET_FEATURE:
        return setup->value == REMOTE_WAKEUP && attributes & ATTRIBUTE_WAKEUP ? VUSB_ACK
                                                                              : VUSB_STALL;
    case SET_ADDRESS:
        return setup->value < 128 && !bus->configuration ? VUSB_ACK : VUSB_STALL;
    case GET_CONFIGURATION:
        return give(&bus->configuration, 1, data, length);
    case SET_CONFIGURATION:
        if (setup->value && setup->value != configuration[5])
            return VUSB_STALL;
        bus->configuration = (uint8_t)setup->value;
        memset(bus->alternates, 0, sizeof bus->alternates);
        memset(bus->halted, 0, sizeof bus->halted);
        if (device->ops->configured)
            device->ops->configured(device, bus->configuration);
        return VUSB_ACK;
    default:
        return ask_model(bus, setup, data, length);
    }
}

static enum vusb_answer to_interface(struct usb_bus *bus, const struct vusb_setup *setup,
                                     uint8_t *data, size_t *length)
{
    struct vusb *device = bus->device;
    if (!has_alternate(bus, setup->index, 0))
        return VUSB_STALL;
    uint8_t interface = (uint8_t)setup->index;
    switch (setup->request) {
    case GET_STATUS:
        return give((uint8_t[]){0, 0}, 2, data, length);
    case CLEAR_FEATURE: /* an interface has no features */
    case SET_FEATURE:
        return VUSB_STALL;
    case GET_INTERFACE:
        return give(&bus->alternates[interface], 1, data, length);
    case SET_INTERFACE:
        if (!has_alternate(bus, interface, setup->value))
            return VUSB_STALL;
        bus->alternates[interface] = (uint8_t)setup->value;
        clear_halts_of(bus, interface);
        if (device->ops->alternate)
            device->ops->alternate(device, interface, (uint8_t)setup->value);
        return VUSB_ACK;
    default:
        return ask_model(bus, setup, data, length);
    }
}

static enum vusb_answer to_endpoint(struct usb_bus *bus, const struct vusb_setup *setup,
                                    uint8_t *data, size_t *length)
{
    uint8_t address = (uint8_t)setup->index;
    bool control = (address & 0x7f) == 0;
    struct bus_endpoint endpoint;
    if (setup->index & 0xff70 || (!control && !usb_find_endpoint(bus, address, &endpoint)))
        return VUSB_STALL;
    bool *halted = &bus->halted[usb_endpoint_index(address)];
    switch (setup->request) {
    case GET_STATUS:
        return give((uint8_t[]){*halted, 0}, 2, data, length);
    case CLEAR_FEATURE:
    case SET_FEATURE:
        if (setup->value != ENDPOINT_HALT)
            return VUSB_STALL;
        if (!control)
            *halted = setup->request == SET_FEATURE;
        return VUSB_ACK;
    default:
        return ask_model(bus, setup, data, length);
    }
}

static enum vusb_answer standard(struct usb_bus *bus, const struct vusb_setup *setup, uint8_t *data,
                                 size_t *length)
{
    uint8_t recipient = setup->type & RECIPIENT;
    if (setup->request == GET_DESCRIPTOR && setup->type & TO_HOST && recipient <= INTERFACE)
        return get_descriptor(bus, setup, data, length);
    if (recipient == DEVICE)
        return to_device(bus, setup, data, length);
    if (recipient > ENDPOINT || !bus->configuration)
        return VUSB_STALL;
    return recipient == INTERFACE ? to_interface(bus, setup, data, length)
                                  : to_endpoint(bus, setup, data, length);
}

/* A request that sends data must not come as one that asks for some. */
static bool wrong_way(const struct vusb_setup *setup)
{
    static const struct {
        uint8_t request, to_host;
    } known[] = {
        {GET_STATUS, TO_HOST},
        {CLEAR_FEATURE, 0},
        {SET_FEATURE, 0},
        {SET_ADDRESS, 0},
        {SET_CONFIGURATION, 0},
        {GET_DESCRIPTOR, TO_HOST},
        {GET_CONFIGURATION, TO_HOST},
        {SET_INTERFACE, 0},
        {GET_INTERFACE, TO_HOST},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (setup->request == known[i].request)
            return (setup->type & TO_HOST) != known[i].to_host;
    return false;
}

enum vusb_answer usb_request(struct usb_bus *bus, const struct vusb_setup *setup, uint8_t *data,
                             size_t *length)
{
    uint8_t recipient = setup->type & RECIPIENT;
    if (!usb_is_message(setup))
        return wrong_way(setup) ? VUSB_STALL : standard(bus, setup, data, length);
    if (!bus->configuration && (recipient == INTERFACE || recipient == ENDPOINT))
        return VUSB_STALL;
    return ask_model(bus, setup, data, length);
}
