/* Ways into the bootloader. Private to the engine room. */
#ifndef MFLASH_ENTER_H
#define MFLASH_ENTER_H

#include "engine.h"

/*
 * Does what the loader's `enter` words say, as far as that is done before the conversation: the
 * 1200-baud touch, then waiting for the port to come back on the same place on the bus. Resets by
 * DTR belong to the method, whose time window they open. Updates target->device if the port has
 * another name afterwards.
 */
int enter_loader(struct engine *engine, struct error *err);

#endif
