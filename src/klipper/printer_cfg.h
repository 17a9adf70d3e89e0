/*
 * The CAN nodes that a Klipper configuration knows (Klipper docs/Config_Reference.md): each
 * `canbus_uuid` with its section and interface, also of the files that `[include …]` names.
 */
#ifndef MFLASH_PRINTER_CFG_H
#define MFLASH_PRINTER_CFG_H

#include "klipper/can.h"

enum { PRINTER_NODES_MAX = 128 };

struct printer_node {
    char section[64];   /* "mcu EBBCan" */
    char interface[32]; /* canbus_interface, "can0" if it is not given */
    uint8_t uuid[KLIPPER_UUID];
};

struct printer_nodes {
    struct printer_node list[PRINTER_NODES_MAX];
    size_t count;
};

/* ERR_FAILED: the file, or one it includes, cannot be read, or has a canbus_uuid that is none (with
 * file and line). More than PRINTER_NODES_MAX nodes, files that include each other: an error too.
 */
int printer_cfg_nodes(struct printer_nodes *nodes, const char *path, struct error *err);

#endif
