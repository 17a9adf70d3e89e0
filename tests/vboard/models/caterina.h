/* The two halves of the Caterina model: the USB device's life (caterina.c) and the AVR109 commands
 * (caterina_commands.c). */
#ifndef VBOARD_CATERINA_H
#define VBOARD_CATERINA_H

#include "boot.h"

enum caterina_state {
    CATERINA_LOADER,
    CATERINA_PROGRAMMING, /* the CPU waits for SPM; USB packets are held back */
    CATERINA_LEAVING,
    CATERINA_APPLICATION,
    CATERINA_TOUCHED, /* the application's watchdog runs */
};

struct caterina {
    struct boot boot;
    enum caterina_state state;
    uint64_t until;     /* end of PROGRAMMING, LEAVING, TOUCHED */
    uint64_t stay_from; /* the loader's 8 s count from here */
    bool knows_touch;
    bool fresh; /* nothing has happened since it was made: power-on changes nothing */

    bool in_command;
    uint8_t command, parameter[3];
    size_t got;
    uint32_t address; /* bytes of flash; EEPROM is at half of it */
    size_t block_left;
    uint32_t block_start; /* page that `B` erased and will write */
    uint8_t low_byte;     /* of the word being filled */
    uint8_t page[BOOT_PAGE_MAX];
    bool filled[BOOT_PAGE_MAX];
    bool
        writes_block; /* what PROGRAMMING ends in: the page of `B`, or only its erase or `e`, `m` */
    bool answers;     /* a CR follows PROGRAMMING */
};

/* One byte from the host, in the loader. */
void caterina_hear(struct caterina *c, uint8_t byte);

/* The SPM under way is done. */
void caterina_programmed(struct caterina *c);

/* `E`: the application comes 500 ms later. */
void caterina_leave(struct caterina *c);

#endif
