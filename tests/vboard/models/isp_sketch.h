/* The ArduinoISP sketch, and the Arduino it runs on. */
#ifndef VBOARD_ISP_SKETCH_H
#define VBOARD_ISP_SKETCH_H

#include "isp_port.h"
#include "model.h"

/* Atmel AVR061 §4: replies, the end of a command, and the commands that carry something. */
enum {
    STK_OK = 0x10,
    STK_FAILED = 0x11,
    STK_UNKNOWN = 0x12,
    STK_INSYNC = 0x14,
    STK_NOSYNC = 0x15,
    STK_EOP = 0x20,
    COMMAND_GET_SYNC = 0x30,
    COMMAND_GET_SIGN_ON = 0x31,
    COMMAND_GET_PARAMETER = 0x41,
    COMMAND_SET_DEVICE = 0x42,
    COMMAND_SET_DEVICE_EXT = 0x45,
    COMMAND_ENTER_PROGMODE = 0x50,
    COMMAND_LEAVE_PROGMODE = 0x51,
    COMMAND_LOAD_ADDRESS = 0x55,
    COMMAND_UNIVERSAL = 0x56,
    COMMAND_PROG_FLASH = 0x60,
    COMMAND_PROG_DATA = 0x61,
    COMMAND_PROG_PAGE = 0x64,
    COMMAND_READ_PAGE = 0x74,
    COMMAND_READ_SIGN = 0x75,
};

enum { SKETCH_BUFFER = 256, ARGUMENTS_MAX = 20 };

enum arduino_phase { IN_LOADER, IN_SKETCH, HUNG };

struct arduino_isp {
    struct vserial dev; /* first: the two addresses are one */
    struct isp_port port;
    struct vfaults faults;
    unsigned messages; /* to the sketch, since power-on */

    enum arduino_phase phase;
    uint64_t awake_at;     /* the oscillator runs from then on */
    uint64_t loader_until; /* its watchdog */
    bool loader_dead;      /* waits for the watchdog in an endless loop */
    bool sketch_gone;      /* somebody flashed the programmer itself */

    bool in_command;
    uint8_t command;
    uint8_t arguments[ARGUMENTS_MAX];
    size_t wanted, got;
    size_t data_wanted, data_got; /* of PROG_PAGE */
    uint8_t data[SKETCH_BUFFER];

    bool programming;
    uint16_t here; /* LOAD_ADDRESS: words */
    uint16_t page_size, eeprom_size;
    size_t to_read, have_read; /* READ_PAGE that is still going on */
};

/* As after its start: nothing is known of a target. */
void sketch_start(struct arduino_isp *isp);

/* The three bytes of PROG_PAGE's head have come: sets data_wanted. False: the command is over. */
bool sketch_page_head(struct arduino_isp *isp);

/* One more byte of PROG_PAGE's data. */
void sketch_page_byte(struct arduino_isp *isp, uint8_t byte);

/* READ_PAGE goes on while its bytes go out: what is due of it. */
void sketch_read_on(struct arduino_isp *isp);

/* A whole command with its end; and one whose end was something else. */
void sketch_execute(struct arduino_isp *isp);
void sketch_no_sync(struct arduino_isp *isp);

#endif
