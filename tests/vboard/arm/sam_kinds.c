/* The SAM boards that there are: one row of facts each. See sam_chip.h. */
#include <unicorn/unicorn.h>

#include "sam_chip.h"

enum { M0_PLUS = 0x410cc601, M3 = 0x412fc230, M4 = 0x410fc241 };

/* ARM7: at address 0 are instructions, a branch first; vectors[1] is the monitor's stack. */
static const struct sam_kind sam7s = {
    .name = "sam7s",
    .version = "v1.4 Nov 10 2004 14:49:33",
    .controller = SAM_EFC,
    .cpu = UC_CPU_ARM_TI925T,
    .id_more = 0x00020000,  /* revisions B and C of SAM7S128 and SAM7S256 */
    .id_other = 0x275b0940, /* SAM7X256 */
    .rstc = 0xfffffd00,
    .rom = 0x00300000,
    .vectors = {0xea000006, 0x00202000},
    .monitor_ram = {{0x00200000, 0x1c00}},
    .terminal = true,
    .gpnvm_bits = 3,
};

static const struct sam_kind sam7x = {
    .name = "sam7x",
    .version = "v1.4 Nov 10 2004 14:49:33",
    .controller = SAM_EFC,
    .cpu = UC_CPU_ARM_TI925T,
    .id_other = 0x271b0940, /* SAM7XC256 */
    .rstc = 0xfffffd00,
    .rom = 0x00300000,
    .vectors = {0xea000006, 0x00202000},
    .monitor_ram = {{0x00200000, 0x1c00}},
    .terminal = true,
    .gpnvm_bits = 4,
    .boot_bit = 3, /* GPNVM2 */
};

/* The Due's native USB port. */
static const struct sam_kind sam3x = {
    .name = "sam3x",
    .version = "v1.1 Dec 15 2010 19:25:04",
    .controller = SAM_EEFC,
    .cpu = UC_CPU_ARM_CORTEX_M3,
    .cpuid = M3,
    .id_other = 0x285b0960, /* SAM3X4E */
    .rstc = 0x400e1a00,
    .rom = 0x00100000,
    .vectors = {0x20001000, 0x00100145},
    .monitor_ram = {{0x20000000, 0x1000}},
    .terminal = true,
    .flash_reads_zero = true,
    .gpnvm_bits = 3,
    .boot_bit = 1,
};

/* Its programming port: the same ROM on the UART. */
static const struct sam_kind sam3x_uart = {
    .name = "sam3x-uart",
    .version = "v1.1 Dec 15 2010 19:25:04",
    .controller = SAM_EEFC,
    .cpu = UC_CPU_ARM_CORTEX_M3,
    .cpuid = M3,
    .id_other = 0x285b0960,
    .rstc = 0x400e1a00,
    .rom = 0x00100000,
    .vectors = {0x20001000, 0x00100145},
    .monitor_ram = {{0x20000000, 0x1000}},
    .uart = true,
    .terminal = true,
    .flash_reads_zero = true,
    .gpnvm_bits = 3,
    .boot_bit = 1,
};

static const struct sam_kind sam4e = {
    .name = "sam4e",
    .version = "v1.1 Dec 10 2012 10:32:12",
    .controller = SAM_EEFC,
    .cpu = UC_CPU_ARM_CORTEX_M4,
    .cpuid = M4,
    .id_more = 0x80000000,  /* CHIPID_EXID holds more */
    .id_other = 0x28ac0ce0, /* SAM4S8C */
    .exid = 0x00120208,
    .rstc = 0x400e1800,
    .rom = 0x00800000,
    .vectors = {0x20001000, 0x00800145},
    .monitor_ram = {{0x20000000, 0x1000}},
    .terminal = true,
    .small_sectors = true,
    .gpnvm_bits = 2,
    .boot_bit = 1,
};

/* Arduino Zero and MKR. The word above its stack is the double tap's. */
static const struct sam_kind samd21 = {
    .name = "samd21",
    .version = "v2.0 [Arduino:XYZ] Mar 10 2017 12:20:17",
    .controller = SAM_D2X,
    .cpu = UC_CPU_ARM_CORTEX_M0,
    .cpuid = M0_PLUS,
    .id_more = 0x300,
    .id_other = 0x10010306, /* SAMD21G17A */
    .vectors = {0x20007ffc, 0x00000a91},
    .start = 0x2000,
    .magic = 0x07738135,
    .magic_from_top = 4,
    .monitor_ram = {{0x20000000, 0x1000}, {0x20007e00, 0x1fc}},
    .terminal = true,
};

/* Adafruit's UF2-SAMDx1. */
static const struct sam_kind samd51 = {
    .name = "samd51",
    .version = "v1.1 [Arduino:XYZ] Mar 13 2018 19:12:33",
    .controller = SAM_D5X,
    .cpu = UC_CPU_ARM_CORTEX_M4,
    .cpuid = M4,
    .id_more = 0x300,
    .id_other = 0x60060306, /* SAMD51J18A */
    .vectors = {0x2000d6a0, 0x000005c9},
    .start = 0x4000,
    .magic = 0xf01669ef,
    .magic_from_top = 4,
    .monitor_ram = {{0x20000000, 0x2000}, {0x2000d4a0, 0x200}},
    .version_nul = true,
    .keeps_packet = true,
};

static struct vserial *sam7s_create(const struct vconfig *config)
{
    return sam_create(config, &sam7s);
}

static struct vserial *sam7x_create(const struct vconfig *config)
{
    return sam_create(config, &sam7x);
}

static struct vserial *sam3x_create(const struct vconfig *config)
{
    return sam_create(config, &sam3x);
}

static struct vserial *sam3x_uart_create(const struct vconfig *config)
{
    return sam_create(config, &sam3x_uart);
}

static struct vserial *sam4e_create(const struct vconfig *config)
{
    return sam_create(config, &sam4e);
}

static struct vserial *samd21_create(const struct vconfig *config)
{
    return sam_create(config, &samd21);
}

static struct vserial *samd51_create(const struct vconfig *config)
{
    return sam_create(config, &samd51);
}

static const char *const chips_sam7s[] = {"at91sam7s256", "at91sam7s512", "at91sam7s128",
                                          "at91sam7s64", NULL};
static const char *const chips_sam7x[] = {"at91sam7x256", "at91sam7x512", "at91sam7x128", NULL};
static const char *const chips_sam3x[] = {"sam3x8e", "sam3x8c", NULL};
static const char *const chips_sam4e[] = {"sam4e8e", NULL};
static const char *const chips_samd21[] = {"samd21g18a", NULL};
static const char *const chips_samd51[] = {"samd51j19a", "samd51j20a", "samd51p20a", NULL};

const struct vmodel vmodel_sam7s = {
    .name = "sam7s",
    .method = "samba",
    .chips = chips_sam7s,
    .baud = 0,
    .options = SAM_EEFC_OPTIONS,
    .proof = "bossac",
    .create = sam7s_create,
};

const struct vmodel vmodel_sam7x = {
    .name = "sam7x",
    .method = "samba",
    .chips = chips_sam7x,
    .baud = 0,
    .options = SAM_EEFC_OPTIONS,
    .proof = "bossac",
    .create = sam7x_create,
};

const struct vmodel vmodel_sam3x = {
    .name = "sam3x",
    .method = "samba",
    .chips = chips_sam3x,
    .baud = 0,
    .options = SAM_EEFC_OPTIONS,
    .proof = "bossac",
    .create = sam3x_create,
};

const struct vmodel vmodel_sam3x_uart = {
    .name = "sam3x-uart",
    .method = "samba",
    .chips = chips_sam3x,
    .baud = 115200,
    .options = SAM_EEFC_OPTIONS,
    .proof = "bossac -U0",
    .create = sam3x_uart_create,
};

const struct vmodel vmodel_sam4e = {
    .name = "sam4e",
    .method = "samba",
    .chips = chips_sam4e,
    .baud = 0,
    .options = SAM_EEFC_OPTIONS,
    .proof = "bossac",
    .create = sam4e_create,
};

const struct vmodel vmodel_samd21 = {
    .name = "samd21",
    .method = "samba",
    .chips = chips_samd21,
    .baud = 0,
    .options = SAM_D2X_OPTIONS,
    .proof = "bossac",
    .create = samd21_create,
};

const struct vmodel vmodel_samd51 = {
    .name = "samd51",
    .method = "samba",
    .chips = chips_samd51,
    .baud = 0,
    .options = SAM_D5X_OPTIONS,
    .proof = "bossac",
    .create = samd51_create,
};
