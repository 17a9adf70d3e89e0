/*
 * What Klipper and Katapult agree on over a CAN bus (Klipper docs/CANBUS_protocol.md; Katapult
 * protocol.md): nodes with a UUID, admin frames on 3F0 and 3F1, and a stream of bytes on two ids
 * once a node has been given one.
 *
 * The thing to know: a node id is given by whoever comes, and nobody answers. Two hosts that give
 * one id to two nodes silence the first; a host that clears ids (3F0 12) takes those of all.
 */
#ifndef MFLASH_KLIPPER_CAN_H
#define MFLASH_KLIPPER_CAN_H

#include "image/image.h"
#include "link/can.h"

enum {
    KLIPPER_UUID = 6,
    KLIPPER_UUID_TEXT = 2 * KLIPPER_UUID + 1,

    CAN_ADMIN = 0x3f0,          /* host to all nodes */
    CAN_ADMIN_RESPONSE = 0x3f1, /* node to host */
    CAN_NODES = 0x100,          /* node n hears 100 + 2n and says 101 + 2n */

    CAN_ADMIN_QUERY = 0x00, /* who has no id? Both answer, and only then */
    CAN_ADMIN_SET_KLIPPER = 0x01,
    CAN_ADMIN_REQUEST_BOOTLOADER = 0x02, /* Klipper obeys whatever its state */
    CAN_ADMIN_SET_KATAPULT = 0x11,
    CAN_ADMIN_CLEAR_KATAPULT = 0x12, /* for all nodes at once: see can_admin_clear() */

    CAN_ADMIN_NODE = 0x20, /* answer to a query: uuid, tag */
    CAN_TAG_KLIPPER = 0x01,
    CAN_TAG_KATAPULT = 0x11,

    CAN_ADMIN_US = 5 * MILLISECOND, /* a node's main loop comes to an admin frame in this time */
};

/* Twelve hex digits, either case; false if it is none. `text` ends there. */
bool can_uuid_parse(const char *text, uint8_t uuid[KLIPPER_UUID]);
void can_uuid_text(const uint8_t uuid[KLIPPER_UUID], char text[KLIPPER_UUID_TEXT]);

/* The UUID of a chip whose id is known as the USB serial number that Klipper and Katapult make of
 * it (hex digits, 8 or 12 bytes): a USB-to-CAN bridge and its node. False: no chip id. */
bool can_uuid_of_chip_id(const char *serial_hex, uint8_t uuid[KLIPPER_UUID]);

static inline uint16_t can_id_to(uint8_t node)
{
    return (uint16_t)(CAN_NODES + 2u * node);
}

static inline uint16_t can_id_from(uint8_t node)
{
    return (uint16_t)(CAN_NODES + 1u + 2u * node);
}

/* ---- admin frames; none of them is answered but the query ---- */

int can_admin_query(struct can *can, struct error *err);
int can_admin_request_bootloader(struct can *can, const uint8_t *uuid, struct error *err);

/* Takes the ids of all Katapult nodes, also of those that another host flashes just now: only where
 * the user means all nodes, and nobody is heard. */
int can_admin_clear(struct can *can, struct error *err);

/* `command`: CAN_ADMIN_SET_KLIPPER or CAN_ADMIN_SET_KATAPULT. Returns once the node may be
 * addressed: data for an id that it has not looked at yet is lost. */
int can_admin_set_node(struct can *can, uint8_t command, const uint8_t *uuid, uint8_t node,
                       struct error *err);

/* Whoever of that kind has this id loses it, and answers queries again: the id is given to a UUID
 * that no node has. */
int can_admin_release(struct can *can, uint8_t command, uint8_t node, struct error *err);

/* ---- whose id is whose ---- */

/*
 * A node id that no other conversation of this machine has on this bus, and the node itself: held
 * from can_claim() to can_claim_end(), or to the end of the process. Ids are from 82 hex up: those
 * of Klipper hosts are low, flashtool's is 81; where to begin follows from the UUID, so that hosts
 * on other machines most likely use others. `skip`: so many are passed over.
 * ERR_BUSY: another conversation has this node, or all ids.
 */
struct can_claim {
    int id_lock, uuid_lock; /* -1: none */
    uint8_t node;
};

int can_claim(struct can_claim *claim, const char *bus, const uint8_t *uuid, unsigned skip,
              struct error *err);
void can_claim_end(struct can_claim *claim);

/* ---- a running Klipper ---- */

/*
 * Gives the Klipper node with this UUID an id and reads its dictionary (klipper_identify): for a
 * node that was flashed just now, or that the user wants asked. A node in use by a Klipper host
 * would be taken away from it. It is restarted afterwards: with an id that its host does not know
 * it would be in the way of whoever uses that id next. Errors as klipper_identify and can_claim.
 */
int can_klipper_identify(struct can *can, const uint8_t *uuid, struct klipper_facts *facts,
                         struct error *err);

#endif
