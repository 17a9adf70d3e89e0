/* The memories of one virtual chip, as its model gets them: see keep.h. */
#ifndef VBOARD_MEMORIES_H
#define VBOARD_MEMORIES_H

#include "options.h"

/* Makes config->flash, eeprom, fuses and options, from the files asked for; of a node of a CAN bus
 * behind the first (config->node > 0) from those with ".1", ".2" … behind their names. False with a
 * line on stderr. */
bool memories_map(struct vconfig *config, const struct options *options);

/* The files are written; the memories are gone. */
void memories_unmap(struct vconfig *config);

#endif
