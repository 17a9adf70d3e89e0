/* STK500 version 1 as a device hears it (Atmel AVR061): the letters, and how many parameter bytes
 * a loader takes before it looks for the closing 20. */
#ifndef VBOARD_STK500V1_H
#define VBOARD_STK500V1_H

#include <stddef.h>
#include <stdint.h>

enum {
    V1_EOP = 0x20,
    V1_OK = 0x10,
    V1_FAILED = 0x11,
    V1_INSYNC = 0x14,
    V1_GET_SYNC = 0x30,
    V1_GET_SIGN_ON = 0x31,
    V1_SET_PARAMETER = 0x40,
    V1_GET_PARAMETER = 0x41,
    V1_SET_DEVICE = 0x42,
    V1_SET_DEVICE_EXT = 0x45,
    V1_ENTER_PROGMODE = 0x50,
    V1_LEAVE_PROGMODE = 0x51,
    V1_CHIP_ERASE = 0x52,
    V1_LOAD_ADDRESS = 0x55,
    V1_UNIVERSAL = 0x56,
    V1_PROG_PAGE = 0x64,
    V1_READ_PAGE = 0x74,
    V1_READ_SIGN = 0x75,
    V1_READ_OSCCAL = 0x76,
    V1_PARAMETERS_MAX = 20,
    V1_BUFFER = 256,
};

/* Parameter bytes of a command, without page data; 0 for the commands that loaders do not know. */
static inline size_t v1_parameters(uint8_t command)
{
    switch (command) {
    case V1_GET_PARAMETER:
        return 1;
    case V1_LOAD_ADDRESS:
        return 2;
    case V1_PROG_PAGE:
    case V1_READ_PAGE:
        return 3;
    case V1_UNIVERSAL:
        return 4;
    case V1_SET_DEVICE_EXT:
        return 5;
    case V1_SET_DEVICE:
        return 20;
    default:
        return 0;
    }
}

#endif
