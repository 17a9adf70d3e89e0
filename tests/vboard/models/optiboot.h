/* The two halves of the optiboot model: the program's life and reception (optiboot.c) and the
 * commands (optiboot_commands.c). */
#ifndef VBOARD_OPTIBOOT_H
#define VBOARD_OPTIBOOT_H

#include "boot.h"
#include "stk500v1.h"

enum { OPTIBOOT_WATCHDOG = 1020 * MILLISECOND }; /* 1 s, as a simulated 16 MHz part runs it */

enum optiboot_state { STARTING, FLASHING_LEDS, LISTENING, ERASING, WRITING, DEAD, APPLICATION };

struct optiboot_version {
    const char *name;
    uint8_t major, minor;
};

struct optiboot {
    struct boot boot;
    struct optiboot_version version;
    enum optiboot_state state;
    uint64_t until;      /* when STARTING, FLASHING_LEDS, ERASING or WRITING is over */
    uint64_t watchdog;   /* when it bites; UINT64_MAX = off */
    uint64_t period;     /* of the watchdog */
    uint64_t flagged;    /* up to here the watchdog's reset flag meets one of the reset pin */
    uint64_t erase_over; /* of a page erase that runs beside the reception */

    bool in_command;
    uint8_t command, parameter[V1_PARAMETERS_MAX];
    size_t got, data_got;
    uint8_t buffer[V1_BUFFER];
    uint16_t address; /* bytes; the bits above are in rampz */
    uint8_t rampz;
};

/* How many data bytes the PROG_PAGE or READ_PAGE under way means. */
size_t optiboot_length(const struct optiboot *o);

/* PROG_PAGE: its parameters are there; its data is there. */
void optiboot_page_begins(struct optiboot *o);
void optiboot_page_arrived(struct optiboot *o);

/* The command and its closing 20 are there. */
void optiboot_execute(struct optiboot *o);

/* WRITING is over. */
void optiboot_written(struct optiboot *o);

/* Only the watchdog ends this, `watchdog` microseconds from now: in the application. */
void optiboot_die(struct optiboot *o, uint64_t watchdog);

#endif
