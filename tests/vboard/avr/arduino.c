/*
 * The bootloaders that Debian's package arduino-core-avr ships, each on the board it is sold with.
 * Fuses from Arduino's boards.txt; borders of the no-read-while-write section from the data sheets.
 */
#include "loader.h"

#define REAL_FIRMWARE "real firmware in simavr"

/* lock 0xcf: neither SPM into the boot section nor LPM from the application there. */
static const struct firmware mega2560 = {
    .file = "stk500v2/stk500boot_v2_mega2560.hex",
    .baud = 115200,
    .nrww_start = 0x3e000,
    .fuses = {0xff, 0xd8, 0xfd, 0xcf},
};
static const struct firmware mega1280 = {
    .file = "atmega/ATmegaBOOT_168_atmega1280.hex",
    .baud = 57600,
    .nrww_start = 0x1e000,
    .fuses = {0xff, 0xda, 0xf5, 0xcf},
};
static const struct firmware duemilanove_328 = {
    .file = "atmega/ATmegaBOOT_168_atmega328.hex",
    .baud = 57600,
    .nrww_start = 0x7000,
    .fuses = {0xff, 0xda, 0xfd, 0xcf},
};
static const struct firmware diecimila = {
    .file = "atmega/ATmegaBOOT_168_diecimila.hex",
    .baud = 19200,
    .nrww_start = 0x3800,
    .fuses = {0xff, 0xdd, 0xf8, 0xcf},
};
/* Debian's builds of optiboot are 20 bytes too long for the chip; see loader.c. */
static const struct firmware uno = {
    .file = "optiboot/optiboot_atmega328.hex",
    .baud = 115200,
    .nrww_start = 0x7000,
    .excess = 0x200,
    .fuses = {0xff, 0xde, 0xfd, 0xcf},
};
static const struct firmware optiboot_168 = {
    .file = "optiboot/optiboot_atmega168.hex",
    .baud = 115200,
    .nrww_start = 0x3800,
    .excess = 0x200,
    .fuses = {0xff, 0xdd, 0xfc, 0xcf},
};

static struct vserial *create_mega2560(const struct vconfig *config)
{
    return simavr_create(config, &mega2560);
}

static struct vserial *create_mega1280(const struct vconfig *config)
{
    return simavr_create(config, &mega1280);
}

static struct vserial *create_duemilanove_328(const struct vconfig *config)
{
    return simavr_create(config, &duemilanove_328);
}

static struct vserial *create_diecimila(const struct vconfig *config)
{
    return simavr_create(config, &diecimila);
}

static struct vserial *create_uno(const struct vconfig *config)
{
    return simavr_create(config, &uno);
}

static struct vserial *create_optiboot_168(const struct vconfig *config)
{
    return simavr_create(config, &optiboot_168);
}

const struct vmodel vmodel_stk500boot_2560 = {
    .name = "stk500boot-2560",
    .method = "stk500v2",
    .chips = (const char *const[]){"atmega2560", NULL},
    .baud = 115200,
    .proof = REAL_FIRMWARE,
    .create = create_mega2560,
};

const struct vmodel vmodel_atmegaboot_1280 = {
    .name = "atmegaboot-1280",
    .method = "stk500v1",
    .chips = (const char *const[]){"atmega1280", NULL},
    .baud = 57600,
    .proof = REAL_FIRMWARE,
    .create = create_mega1280,
};

const struct vmodel vmodel_atmegaboot_328p = {
    .name = "atmegaboot-328p",
    .method = "stk500v1",
    .chips = (const char *const[]){"atmega328p", NULL},
    .baud = 57600,
    .proof = REAL_FIRMWARE,
    .create = create_duemilanove_328,
};

const struct vmodel vmodel_atmegaboot_168 = {
    .name = "atmegaboot-168",
    .method = "stk500v1",
    .chips = (const char *const[]){"atmega168", NULL},
    .baud = 19200,
    .proof = REAL_FIRMWARE,
    .create = create_diecimila,
};

const struct vmodel vmodel_optiboot_328p = {
    .name = "optiboot-328p",
    .method = "stk500v1",
    .chips = (const char *const[]){"atmega328p", NULL},
    .baud = 115200,
    .proof = REAL_FIRMWARE,
    .create = create_uno,
};

const struct vmodel vmodel_optiboot_168 = {
    .name = "optiboot-168",
    .method = "stk500v1",
    .chips = (const char *const[]){"atmega168", NULL},
    .baud = 115200,
    .proof = REAL_FIRMWARE,
    .create = create_optiboot_168,
};
