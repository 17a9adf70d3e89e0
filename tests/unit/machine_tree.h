/* A machine made of a few files and links below a temporary directory, for what looks at sysfs,
 * /proc, /dev, /etc and /run: laid out as Linux 6 lays them out. */
#ifndef MACHINE_TREE_H
#define MACHINE_TREE_H

#include <stddef.h>

#include "link/host.h"

struct machine_tree {
    char root[64];
    char sys[96], proc[96], dev[96], etc[96], run[96];
    struct host host;
};

/* cmocka's set-up and tear-down: *state becomes a struct machine_tree. */
int tree_make(void **state);
int tree_remove(void **state);

/* Names are below the root: "sys/class/tty/ttyS0/type". Directories are made as needed. */
void tree_put(const struct machine_tree *tree, const char *name, const char *content);
void tree_put_bytes(const struct machine_tree *tree, const char *name, const void *bytes,
                    size_t length);
void tree_get(const struct machine_tree *tree, const char *name, char *text, size_t size);

/* `target`: as it stands in the link, or "%/..." for a place in the tree. */
void tree_link(const struct machine_tree *tree, const char *name, const char *target);

/* An Arduino Mega 2560 behind a hub, /dev/ttyACM0 (166:0): the tty hangs on the interface. */
#define MEGA_USB "sys/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1.4"
void tree_plug_in_mega(const struct machine_tree *tree);

/* An FTDI bridge, 188:0: the tty hangs on a port of the usb-serial bus below the interface. */
#define FTDI_USB "sys/devices/pci0000:00/0000:00:14.0/usb1/1-2"
void tree_plug_in_ftdi(const struct machine_tree *tree, const char *tty, const char *timer);

#endif
