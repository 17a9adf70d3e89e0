/*
 * Virtual Katapult nodes on a virtual CAN bus, on virtual time: what the tests of the model, the
 * method and the discovery need. Node n has the chip id, and so the UUID, of number n.
 */
#ifndef CAN_RIG_H
#define CAN_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "klipper/can.h"
#include "method.h"
#include "virtual_can.h"

extern const struct vmodel vmodel_katapult_can;
extern const struct method method_katapult_can;

enum { RIG_NODES = 20, RIG_NOTES = 1024 };

/* One board, and one host that is at work on it. */
struct rig_node {
    struct can_rig *rig;
    struct vconfig config;
    struct vcan *device;
    uint8_t *flash; /* full of noise, or erased */
    uint8_t uuid[KLIPPER_UUID];
    struct loader loader;
    struct image image;
    struct can *can; /* while it is open */
    struct session session;
    struct error err;
    char notes[RIG_NOTES];
    size_t advanced, stop_at;
    volatile sig_atomic_t stop;
    bool connected;
    int rc;                                         /* of the last run */
    uint64_t connecting, writing, verifying, whole; /* microseconds, of the last run */
};

struct can_rig {
    const struct chip *chip;
    struct virtual_bus *bus;
    uint32_t bitrate;
    struct rig_node nodes[RIG_NODES];
    size_t count;
    struct can *host; /* of the tests that speak by themselves; opened by rig_host() */
};

/* `variant` and `app` are those of the configuration. Noise: the chip was used before. */
struct can_rig *can_rig_new(const char *chip, size_t count, uint32_t bitrate, const char *variant,
                            bool noise);
void can_rig_free(struct can_rig *rig);

/* STM32F103 nodes at 1 Mbit/s, used before, that their button holds in the loader. */
struct can_rig *can_rig_f103(size_t count);

/* Power off and on; the nodes are in their loader again. */
void can_rig_reset(struct can_rig *rig);

/* Puts the nodes on a bus of their own with these faults; the old one ends. */
void can_rig_bus(struct can_rig *rig, const struct can_bus_faults *faults);

/* Makes a node anew, with its flash as it is: after a change of its configuration. */
void can_rig_remake(struct can_rig *rig, size_t n);

/* Gives a node's flash a Klipper program with that "config" at the application's start, and makes
 * it run, as `variant` says. */
void can_rig_klipper(struct can_rig *rig, size_t n, const char *config, const char *variant);

/* ---- speaking by oneself ---- */

/* Lines like those of a protocol sheet: "> 3F0 12" is said, "< 3F1 20 87 …" must be heard, "- 5"
 * waits for milliseconds, "." is silence for 100 ms. */
void can_rig_play(struct can_rig *rig, const char *const *lines);

/* ---- whole runs ---- */

void rig_node_image(struct rig_node *node, uint64_t address, size_t length);
struct job rig_node_job(const struct rig_node *node);

int rig_node_connect(struct rig_node *node);
void rig_node_close(struct rig_node *node);

/* Connect, write, verify, run, close. */
int rig_node_run(struct rig_node *node);

bool rig_node_holds_image(const struct rig_node *node);
void rig_node_assert_ok(const struct rig_node *node);

/* A whole run that is good, and the image is there. */
void rig_node_assert_run(struct rig_node *node);

/* The whole runs of all nodes, each in a thread of its own. Microseconds until the last has ended.
 */
uint64_t can_rig_run_all(struct can_rig *rig);

#endif
