/* Ways into the bootloader. Private to the engine room. */
#ifndef MFLASH_ENTER_H
#define MFLASH_ENTER_H

#include "engine.h"

/*
 * Does what the loader's `enter` words say, as far as that is done before the conversation: the
 * 1200-baud touch, then waiting for the device to come back at the same place on the bus. Resets by
 * DTR belong to the method, whose time window they open. Updates target->device to what the
 * method's link opens.
 */
int enter_loader(struct engine *engine, struct error *err);

/* `enter = klipper-serial`: asks the Klipper that may run on the open port to start its bootloader.
 * `baud` is that firmware's rate. The port has its own rate again afterwards. */
int enter_by_request(struct engine *engine, uint32_t baud, struct error *err);

/* Waits until a port that has just gone is there again. ERR_NO_DEVICE after some seconds. */
int enter_await_return(struct engine *engine, struct error *err);

/* After a re-enumeration: the port at the place on the bus where the board was, whatever its name
 * is now. False: that place is known, and there is no port. */
bool enter_refind(struct engine *engine);

/* Closes whatever link is open; session.clock is the monotonic clock from here on. */
void engine_close_link(struct engine *engine);

#endif
