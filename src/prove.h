/* Proof after the last byte: the started application is asked what it is. Private to the engine. */
#ifndef MFLASH_PROVE_H
#define MFLASH_PROVE_H

#include "engine.h"

/*
 * Waits for the application on the same physical path and compares its own dictionary with the
 * image's. Sets engine->result.proven. Silence is a note if the flash was verified, else
 * ERR_NO_ANSWER; another firmware answering is ERR_VERIFY. Ends the conversation with the loader.
 */
int prove_klipper(struct engine *engine, const struct plan *plan, struct error *err);

/* True for a node of a CAN bus that is flashed over USB: a bridge, which bridge.h asks. */
bool prove_over_usb(const struct engine *engine, const struct klipper_facts *wanted);

/* Asks any other application once what it is, over the link of `wanted`. Errors as
 * klipper_identify. */
int prove_ask(struct engine *engine, const struct klipper_facts *wanted,
              struct klipper_facts *answer, struct error *err);

#endif
