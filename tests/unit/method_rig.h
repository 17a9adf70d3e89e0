/*
 * A board with a bootloader on a virtual line, as the tests of the bootloader methods need it: a
 * used chip, a session as the engine makes it, an image, and one call for a whole run.
 */
#ifndef METHOD_RIG_H
#define METHOD_RIG_H

#include "fault_turns.h"
#include "method.h"
#include "virtual_serial.h"

enum {
    RIG_FLASH_MAX = 2 * 1024 * 1024,
    RIG_EEPROM_MAX = 4096,
    RIG_OPTIONS_MAX = 512,
    RIG_NOTES_MAX = 2048
};

struct rig {
    const struct vmodel *model;
    const struct method *method;
    const struct chip *chip;
    uint8_t flash[RIG_FLASH_MAX], eeprom[RIG_EEPROM_MAX], fuses[4], options[RIG_OPTIONS_MAX];
    struct vconfig config;
    struct vserial *device;
    struct setting settings[2];
    struct loader loader;
    struct serial *serial; /* while it is open */
    struct session session;
    struct image image;
    struct error err;
    char notes[RIG_NOTES_MAX];
    size_t advanced;
    size_t stop_at; /* progress at which the user asks to stop; 0 = never */
    volatile sig_atomic_t stop;
    bool connected;
    uint64_t connecting, writing, verifying, whole; /* microseconds of the last run */
    unsigned messages;                              /* of the host, in the last run */
};

/* The chip's flash holds noise below `end`, FF above. `options` may be NULL: variant and faults are
 * taken from it. A model with a rate is reset by DTR; USB boards are in their bootloader. */
struct rig *rig_new(const struct vmodel *model, const struct method *method, const char *chip,
                    uint64_t end, const struct vconfig *options);
void rig_free(struct rig *rig);

/* Makes the board anew, with its memories as they are: after a change of rig->config. */
void rig_remake(struct rig *rig);

/* Adds `length` bytes of noise to the image, or those given. */
void rig_image(struct rig *rig, enum memory memory, uint64_t address, size_t length);
void rig_image_bytes(struct rig *rig, enum memory memory, uint64_t address, const uint8_t *bytes,
                     size_t length);

/* Opens the port and connects; both stay open. */
int rig_connect(struct rig *rig, const struct line_faults *faults);

/* Ends the session, closes the port. */
void rig_close(struct rig *rig);

/* A job for what the image has in one memory. */
struct job rig_job(const struct rig *rig, enum memory memory);

/* The sectors that the image touches, as one range. */
struct span rig_sectors(const struct rig *rig);

/* A whole run as mflash does it: connect, erase where that is a step, write, verify, run, close. */
int rig_run(struct rig *rig, enum memory memory, const struct line_faults *faults);

/* Does the chip hold the image? */
bool rig_holds_image(const struct rig *rig);

/* Fails the test with the error's text if rc is not OK. */
void rig_assert_ok(const struct rig *rig, int rc);

/* A whole run with each kind of fault at each host message: each ends with an exit code that fits
 * and within `limit` microseconds, and the same run again repairs the board. Returns how many runs
 * had a fault. */
size_t rig_every_fault(struct rig *rig, uint64_t limit);

#endif
