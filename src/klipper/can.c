/* See can.h. */
#include "klipper/can.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "klipper/klipper.h"

enum {
    CHIP_ID_SHORT = 8, /* RP2040, RP2350: of the flash chip, or of the OTP */
    CHIP_ID_LONG = 12, /* STM32: lot and wafer */
    FIRST_NODE = 0x82,
    NODES = 0x100 - FIRST_NODE,
};

#define KLIPPER_SEED 0xa16231a7u

/* ---- UUIDs ---- */

static size_t parse_hex(const char *text, uint8_t *bytes, size_t max)
{
    size_t n = 0;
    for (; n < max && isxdigit((unsigned char)text[0]) && isxdigit((unsigned char)text[1]);
         text += 2) {
        const char digits[3] = {text[0], text[1], '\0'};
        bytes[n++] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return *text ? 0 : n;
}

bool can_uuid_parse(const char *text, uint8_t uuid[KLIPPER_UUID])
{
    return parse_hex(text, uuid, KLIPPER_UUID) == KLIPPER_UUID;
}

void can_uuid_text(const uint8_t uuid[KLIPPER_UUID], char text[KLIPPER_UUID_TEXT])
{
    for (size_t i = 0; i < KLIPPER_UUID; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", uuid[i]);
}

/* fasthash64 by Zilong Tan: words of eight bytes, the lowest first; the last one filled with 0. */
static uint64_t mix(uint64_t h)
{
    h ^= h >> 23;
    h *= 0x2127599bf4325c37u;
    return h ^ (h >> 47);
}

static uint64_t fasthash64(const uint8_t *bytes, size_t length, uint64_t seed)
{
    const uint64_t m = 0x880355f21e6d1965u;
    uint64_t h = seed ^ (length * m), word = 0;
    for (size_t i = 0; i < length; i++) {
        word |= (uint64_t)bytes[i] << (8 * (i % 8));
        if (i % 8 < 7 && i + 1 < length)
            continue;
        h = (h ^ mix(word)) * m;
        word = 0;
    }
    return mix(h);
}

bool can_uuid_of_chip_id(const char *serial_hex, uint8_t uuid[KLIPPER_UUID])
{
    uint8_t id[CHIP_ID_LONG];
    size_t length = parse_hex(serial_hex, id, sizeof id);
    if (length != CHIP_ID_SHORT && length != CHIP_ID_LONG)
        return false;
    uint64_t hash = fasthash64(id, length, KLIPPER_SEED);
    for (size_t i = 0; i < KLIPPER_UUID; i++)
        uuid[i] = (uint8_t)(hash >> (8 * i));
    return true;
}

/* ---- admin frames ---- */

static int send_admin(struct can *can, uint8_t command, const uint8_t *uuid, int node,
                      struct error *err)
{
    uint8_t bytes[2 + KLIPPER_UUID] = {command};
    size_t length = 1;
    if (uuid) {
        memcpy(bytes + 1, uuid, KLIPPER_UUID);
        length += KLIPPER_UUID;
    }
    if (node >= 0)
        bytes[length++] = (uint8_t)node;
    return can_send(can, CAN_ADMIN, bytes, length, err);
}

int can_admin_query(struct can *can, struct error *err)
{
    return send_admin(can, CAN_ADMIN_QUERY, NULL, -1, err);
}

int can_admin_request_bootloader(struct can *can, const uint8_t *uuid, struct error *err)
{
    return send_admin(can, CAN_ADMIN_REQUEST_BOOTLOADER, uuid, -1, err);
}

int can_admin_clear(struct can *can, struct error *err)
{
    int rc = send_admin(can, CAN_ADMIN_CLEAR_KATAPULT, NULL, -1, err);
    if (rc == OK)
        can->clock->sleep_until(can->clock, clock_in(can->clock, CAN_ADMIN_US));
    return rc;
}

int can_admin_set_node(struct can *can, uint8_t command, const uint8_t *uuid, uint8_t node,
                       struct error *err)
{
    int rc = send_admin(can, command, uuid, node, err);
    if (rc == OK)
        can->clock->sleep_until(can->clock, clock_in(can->clock, CAN_ADMIN_US));
    return rc;
}

int can_admin_release(struct can *can, uint8_t command, uint8_t node, struct error *err)
{
    static const uint8_t nobody[KLIPPER_UUID];
    return send_admin(can, command, nobody, node, err);
}

/* ---- claims: a name in Linux's abstract socket space, which is free again however we end ---- */

/* The descriptor, -1 if another has that name, or another negative number. */
static int lock_name(const char *bus, const char *what)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    uint64_t hash = fasthash64((const uint8_t *)bus, strlen(bus), 0);
    int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1,
                          "mflash/can/%016" PRIx64 "/%s", hash, what);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -2;
    if (bind(fd, (const struct sockaddr *)&name,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0)
        return fd;
    int rc = errno == EADDRINUSE ? -1 : -2;
    close(fd);
    return rc;
}

static int report_lock(const char *bus, struct error *err)
{
    return error_set(err, ERR_FAILED, "%s: no socket to mark a node id with: %s", bus,
                     strerror(errno));
}

static int claim_id(struct can_claim *claim, const char *bus, const uint8_t *uuid, unsigned skip,
                    struct error *err)
{
    unsigned first = (unsigned)(fasthash64(uuid, KLIPPER_UUID, 0) % NODES);
    for (unsigned i = skip; i < NODES && claim->id_lock == -1; i++) {
        char what[8];
        claim->node = (uint8_t)(FIRST_NODE + (first + i) % NODES);
        (void)snprintf(what, sizeof what, "%02x", claim->node);
        claim->id_lock = lock_name(bus, what);
    }
    if (claim->id_lock >= 0)
        return OK;
    if (claim->id_lock < -1)
        return report_lock(bus, err);
    return error_set(err, ERR_BUSY, "all node ids of %s are in use by other conversations", bus);
}

int can_claim(struct can_claim *claim, const char *bus, const uint8_t *uuid, unsigned skip,
              struct error *err)
{
    char text[KLIPPER_UUID_TEXT];
    can_uuid_text(uuid, text);
    *claim = (struct can_claim){.id_lock = -1};
    claim->uuid_lock = lock_name(bus, text);
    int rc = claim->uuid_lock < -1 ? report_lock(bus, err)
             : claim->uuid_lock < 0
                 ? error_set(err, ERR_BUSY, "another mflash talks to node %s on %s", text, bus)
                 : claim_id(claim, bus, uuid, skip, err);
    if (rc != OK)
        can_claim_end(claim);
    return rc;
}

void can_claim_end(struct can_claim *claim)
{
    if (claim->id_lock >= 0)
        close(claim->id_lock);
    if (claim->uuid_lock >= 0)
        close(claim->uuid_lock);
    claim->id_lock = claim->uuid_lock = -1;
}

/* ---- a running Klipper ---- */

static int identify(struct can *can, const uint8_t *uuid, uint8_t node, struct klipper_facts *facts,
                    struct error *err)
{
    const uint16_t from = can_id_from(node);
    struct serial *stream = NULL;
    if (can_listen(can, &from, 1, err) ||
        can_admin_set_node(can, CAN_ADMIN_SET_KLIPPER, uuid, node, err) ||
        can_stream_open(&stream, can, can_id_to(node), from, err))
        return error_status(err);
    int rc = klipper_identify(stream, facts, err);
    if (rc == OK)
        rc = klipper_reset(stream, facts, err);
    serial_close(stream);
    return rc;
}

int can_klipper_identify(struct can *can, const uint8_t *uuid, struct klipper_facts *facts,
                         struct error *err)
{
    struct can_claim claim;
    char text[KLIPPER_UUID_TEXT];
    int rc = can_claim(&claim, can->name, uuid, 0, err);
    if (rc != OK)
        return rc;
    rc = identify(can, uuid, claim.node, facts, err);
    can_claim_end(&claim);
    can_uuid_text(uuid, text);
    return rc == OK ? OK : error_context(err, "asking %s on %s", text, can->name);
}
