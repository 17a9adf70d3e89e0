/*
 * A USB-to-CAN bridge that runs Klipper (Klipper docs/CANBUS.md, src/generic/usb_canbus.c): a node
 * of the bus it makes. Its interface goes away with it when it is flashed, so it is flashed over
 * its USB side: asked for its bootloader by its own bus, found again by its place. Private to the
 * engine room.
 */
#ifndef MFLASH_BRIDGE_H
#define MFLASH_BRIDGE_H

#include "engine.h"
#include "presence.h"

/* The USB device that has this UUID: its serial number is the chip id of which the UUID is made.
 * False: none, so it is a node like any other. */
bool bridge_find(struct presence *found, const uint8_t uuid[CAN_UUID], const char *sysfs);

/* Asks the Klipper on the bridge for its bootloader, on target->interface. */
int bridge_request(struct engine *engine, struct error *err);

/* After the application was started: until `deadline` (monotonic) its interface is waited for and
 * taken up, at the bit rate of the Klipper that was written; then it is asked for its dictionary.
 * Afterwards the interface is up. */
int bridge_identify(struct engine *engine, const struct klipper_facts *wanted, uint64_t deadline,
                    struct klipper_facts *facts, struct error *err);

/* The same of a bridge that runs: nothing is waited for or taken up before. */
int bridge_ask(struct engine *engine, const struct klipper_facts *wanted,
               struct klipper_facts *facts, struct error *err);

#endif
