/*
 * Asks the kernel about a CAN interface over netlink: one RTM_GETLINK tells bit rate, state,
 * restart time and error counters at once. Documents: rtnetlink(7),
 * include/uapi/linux/can/netlink.h.
 *
 * libsocketcan asks for each by itself and writes to stderr what a driver does not tell (few have
 * an error counter, vcan has nothing); here that is no event.
 */
#include <errno.h>
#include <linux/can/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/can_backend.h"

enum { ANSWER_DEADLINE_MS = 500, ANSWER_MAX = 16384 };

/* Calls `see` for each attribute of a run of them; a length that does not fit ends it. */
static void each_attribute(const uint8_t *bytes, size_t length,
                           void (*see)(struct can_status *status, unsigned type,
                                       const uint8_t *value, size_t size),
                           struct can_status *status)
{
    while (length >= sizeof(struct rtattr)) {
        struct rtattr attribute;
        memcpy(&attribute, bytes, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || attribute.rta_len > length)
            return;
        see(status, attribute.rta_type & ~(unsigned)(NLA_F_NESTED | NLA_F_NET_BYTEORDER),
            bytes + sizeof attribute, attribute.rta_len - sizeof attribute);
        size_t step = RTA_ALIGN(attribute.rta_len);
        if (step > length)
            return;
        bytes += step;
        length -= step;
    }
}

static enum can_bus_state state_of(uint32_t number)
{
    static const enum can_bus_state states[] = {
        [CAN_STATE_ERROR_ACTIVE] = CAN_BUS_ACTIVE,   [CAN_STATE_ERROR_WARNING] = CAN_BUS_WARNING,
        [CAN_STATE_ERROR_PASSIVE] = CAN_BUS_PASSIVE, [CAN_STATE_BUS_OFF] = CAN_BUS_OFF,
        [CAN_STATE_STOPPED] = CAN_BUS_STOPPED,       [CAN_STATE_SLEEPING] = CAN_BUS_SLEEPING,
    };
    return number < sizeof states / sizeof states[0] ? states[number] : CAN_BUS_UNKNOWN;
}

/* What the driver says: IFLA_INFO_DATA. */
static void see_can(struct can_status *status, unsigned type, const uint8_t *value, size_t size)
{
    uint32_t number = 0;
    struct can_berr_counter errors;
    if (size >= sizeof number)
        memcpy(&number, value, sizeof number);
    if (type == IFLA_CAN_BITTIMING) { /* its first member is the bit rate */
        status->bitrate = number;
    } else if (type == IFLA_CAN_STATE && size >= sizeof number) {
        status->state = state_of(number);
    } else if (type == IFLA_CAN_RESTART_MS) {
        status->restart_ms = number;
    } else if (type == IFLA_CAN_BERR_COUNTER && size >= sizeof errors) {
        memcpy(&errors, value, sizeof errors);
        status->tx_errors = errors.txerr;
        status->rx_errors = errors.rxerr;
    }
}

static void see_kind(struct can_status *status, unsigned type, const uint8_t *value, size_t size)
{
    if (type == IFLA_INFO_KIND)
        status->physical = size >= 3 && memcmp(value, "can", 3) == 0 && (size == 3 || !value[3]);
    else if (type == IFLA_INFO_DATA && status->physical)
        each_attribute(value, size, see_can, status);
}

static void see_link(struct can_status *status, unsigned type, const uint8_t *value, size_t size)
{
    if (type == IFLA_LINKINFO)
        each_attribute(value, size, see_kind, status);
}

void can_link_decode(struct can_status *status, const void *attributes, size_t length)
{
    each_attribute(attributes, length, see_link, status);
}

static bool ask(int fd, unsigned index)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } request = {
        .header = {.nlmsg_len = sizeof request,
                   .nlmsg_type = RTM_GETLINK,
                   .nlmsg_flags = NLM_F_REQUEST,
                   .nlmsg_seq = 1},
        .link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index},
    };
    return send(fd, &request, sizeof request, 0) == (ssize_t)sizeof request;
}

static bool read_answer(int fd, struct can_status *status)
{
    _Alignas(struct nlmsghdr) uint8_t bytes[ANSWER_MAX];
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    const size_t head = NLMSG_SPACE(sizeof(struct ifinfomsg));
    struct nlmsghdr header;
    int ready;
    do
        ready = poll(&wait, 1, ANSWER_DEADLINE_MS);
    while (ready < 0 && errno == EINTR);
    ssize_t got = ready > 0 ? recv(fd, bytes, sizeof bytes, 0) : -1;
    if (got < (ssize_t)head)
        return false;
    memcpy(&header, bytes, sizeof header);
    if (header.nlmsg_type != RTM_NEWLINK || header.nlmsg_len < head ||
        header.nlmsg_len > (size_t)got)
        return false;
    can_link_decode(status, bytes + head, header.nlmsg_len - head);
    return true;
}

bool can_link_ask(struct can_status *status)
{
    unsigned index = if_nametoindex(status->name);
    int fd = index ? socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE) : -1;
    bool told = fd >= 0 && ask(fd, index) && read_answer(fd, status);
    if (fd >= 0)
        (void)close(fd);
    return told;
}
