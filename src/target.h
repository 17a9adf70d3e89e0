/* Between target.c and target_can.c; private to the engine room. */
#ifndef MFLASH_TARGET_H
#define MFLASH_TARGET_H

#include "engine.h"

enum device_form {
    FORM_NONE,
    FORM_PATH,
    FORM_TCP,
    FORM_USB_ID,
    FORM_BUS_PATH,
    FORM_USBIP,
    FORM_CAN,
    FORM_OTHER,
};

enum device_form target_device_form(const char *device);

/* "can0:UUID", "unix:PATH:UUID" */
bool target_is_can(const char *device);

/* Interface and node of a CAN board: -d can0:UUID, -i and -u; or, with -i alone, the only node that
 * waits in its bootloader (one query). Passive but for that. */
int target_take_node(struct target *target, const struct target_request *request,
                     struct error *err);

#endif
