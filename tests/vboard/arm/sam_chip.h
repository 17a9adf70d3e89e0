/*
 * A SAM chip with its SAM-BA monitor: SAM7S and SAM7X (ARM7, EFC), SAM3X and SAM4E (monitor in ROM,
 * EEFC), SAM D21 and D51 (monitor in flash, NVMCTRL). From the data sheets Atmel-6175 (SAM7S), 6120
 * (SAM7X), Atmel-11057 (SAM3X), Atmel-11157 (SAM4E), DS40001882 (D21), DS60001507 (D51) and the
 * published sources of the monitors.
 *
 * Two things to know: the monitor and an applet see one and the same bus (sam_load, sam_store), and
 * an access that would fault on silicon kills the monitor: nothing answers until the next reset.
 */
#ifndef VBOARD_SAM_CHIP_H
#define VBOARD_SAM_CHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "board/chip.h"
#include "model.h"

enum {
    SAM_PAGE_MAX = 512,
    SAM_RAM_MAX = 2,    /* stretches of RAM */
    SAM_WINDOW_MAX = 8, /* stretches of everything else that an applet can reach */
    /* vconfig.options of EEFC and EFC parts, where a bit at 0 is a bit that is set, as in the flash
     * that holds them: GPNVM bits 0 to 7 (EFC: the security bit, then GPNVM 0 to 2), then the lock
     * bits, region 0 first. */
    SAM_EEFC_OPTIONS = 17,
    SAM_EEFC_LOCKS = 1,
    SAM_D2X_OPTIONS = 64,  /* the User Row's page */
    SAM_D5X_OPTIONS = 512, /* the User Page */
    SAM_DATA_MAX = 1 << 20,
};

enum sam_controller { SAM_EEFC, SAM_EFC, SAM_D2X, SAM_D5X };

/* What distinguishes one monitor from another. */
struct sam_kind {
    const char *name;
    const char *version; /* V# without its LF CR */
    enum sam_controller controller;
    int cpu; /* Unicorn's name of the core */
    uint32_t cpuid;
    uint32_t id_more;  /* revision and extension bits of CIDR or DID, which identification masks */
    uint32_t id_other; /* what it claims to be under the fault wrong-id */
    uint32_t exid;     /* CHIPID_EXID */
    uint32_t rstc;     /* RSTC_CR; 0: reset through AIRCR only */
    uint32_t rom;      /* where the ROM is; 0: the monitor is a program in flash */
    uint32_t vectors[2];            /* initial SP and reset vector of ROM or loader */
    uint32_t start;                 /* of the application, from the start of flash */
    uint32_t magic, magic_from_top; /* of RAM: this word there keeps the loader in charge */
    struct span monitor_ram[2];     /* the monitor's variables and its stack */
    bool uart;                      /* XMODEM at 115200 */
    bool terminal;                  /* has a T mode, and answers N# */
    bool version_nul;               /* a 00 behind the version */
    bool keeps_packet;              /* what follows the data of S in its packet is a command */
    bool flash_reads_zero;          /* R straight from flash */
    bool small_sectors;             /* SAM4: EWP in the first 16 KiB only, EPA everywhere */
    unsigned gpnvm_bits;            /* security bit included */
    unsigned boot_bit;              /* its number in options; 0: there is none */
};

/* One EEFC and its plane. */
struct eefc {
    uint32_t fmr, errors;
    uint32_t result[40]; /* FRR pops it */
    size_t result_count, result_at;
    uint8_t latch[SAM_PAGE_MAX];
    uint32_t latch_next; /* where the next word belongs */
    bool running;
    uint64_t until;  /* microseconds */
    uint8_t command; /* as an EEFC's */
    uint16_t argument;
    bool unique_id; /* between STUI and SPUI */
};

struct nvmctrl {
    uint32_t ctrl; /* D2x: CTRLB; D5x: CTRLA */
    uint32_t address;
    uint32_t locks; /* a bit at 0 is a locked region */
    uint8_t buffer[SAM_PAGE_MAX];
    uint16_t status, flags; /* STATUS and INTFLAG, without READY */
    uint64_t until;
    bool read_since_clear; /* D5x: flash was read while a page buffer was being filled */
    bool protection_off;   /* D5x: BOOTPROT disabled by SBPDIS */
};

enum sam_state {
    SAM_MONITOR,
    SAM_DEAD,
    SAM_STARTING, /* held in reset */
    SAM_APPLICATION,
    SAM_TOUCHED, /* the application will restart into the monitor */
    SAM_ERASING, /* the ERASE pin is high */
};

enum sam_transfer {
    SAM_COMMANDS,
    SAM_DATA,          /* USB: bytes of S */
    SAM_XMODEM_CALL,   /* UART, S: says C until a block comes */
    SAM_XMODEM_BLOCKS, /* UART, S */
    SAM_XMODEM_WAIT,   /* UART, R: the host has not said C yet */
    SAM_XMODEM_SEND,   /* UART, R: a block is out, or the EOT */
};

struct sam_monitor {
    uint8_t command;
    uint32_t number, pointer;
    bool terminal;
    uint32_t sharp_packet; /* the packet in which S or G ended; 0: nothing must be alone */
    enum sam_transfer transfer;
    uint32_t address, left;  /* of the transfer */
    uint32_t base;           /* where S began */
    uint32_t data_in_packet; /* bytes that came with the command itself */
    uint8_t block[133];
    size_t block_length;
    uint8_t block_number;
    bool last_sent;
    unsigned calls;
    uint64_t until;    /* of the transfer's next call, or its end */
    uint32_t y_source; /* Y: where in RAM the data is */
    unsigned commands; /* since power-on, for the fault nak */
    uint8_t *reply;    /* collected while a command runs, sent when it is over */
    size_t reply_length, reply_room;
};

struct sam;

struct sam_ram {
    uint32_t start, size;
    uint8_t *bytes;
};

struct sam_window {
    struct sam *sam;
    uint32_t start;
};

struct sam {
    struct vserial serial; /* first */
    const struct sam_kind *kind;
    const struct chip *chip;
    struct vmemory flash, options;
    struct vfaults faults;
    bool own_options;
    bool bridge;     /* an ATmega16U2 sits before the UART: the Due's programming port */
    bool dtr, rts;   /* as the host last set them */
    bool extensions; /* Arduino's X, Y and Z */
    bool klipper;    /* the application is Klipper, not Arduino's core */
    bool untouched;  /* nothing has happened since it was made: power-on changes nothing */
    uint32_t flash_base, page;
    uint8_t *loader;     /* what the flash held below kind->start: erased, the monitor is no more */
    bool loader_touched; /* the flash there was erased or programmed */
    struct sam_ram ram[SAM_RAM_MAX];

    enum sam_state state;
    uint64_t until;    /* of SAM_STARTING, SAM_TOUCHED, SAM_ERASING */
    uint64_t last_pin; /* for the double tap */
    const char *death;
    uint32_t death_address;

    uint64_t ahead; /* how far the command being executed is past the line's time */
    bool working;
    uint64_t work_until;
    bool reset_wanted;
    bool fail_next; /* fault nak: the next flash command fails */

    struct eefc planes[2];
    struct nvmctrl nvm;
    struct sam_monitor monitor;
    uint32_t sp;  /* ARM7: of the monitor, where the next G finds it */
    void *engine; /* uc_engine */
    struct sam_window windows[SAM_WINDOW_MAX];
    uint64_t instructions;
};

/* ---- time: sam_life.c ---- */

uint64_t sam_now(const struct sam *sam);

/* The command that runs takes this much longer; nothing if unpaced. */
void sam_spend(struct sam *sam, uint64_t microseconds);
void sam_spend_until(struct sam *sam, uint64_t moment);

/* The moment after this much flash work; unpaced it takes none. */
uint64_t sam_after(const struct sam *sam, uint64_t microseconds);

/* The CPU has faulted: silence until the next reset. The first cause is kept. */
void sam_die(struct sam *sam, const char *why, uint32_t address);

/* True, once, if the next flash command is to fail. */
bool sam_fails(struct sam *sam);

/* ---- the bus: sam_bus.c. `size` is 1, 2 or 4 bytes; false: it faulted, and the monitor is dead */

bool sam_load(struct sam *sam, uint32_t address, unsigned size, uint32_t *value);
bool sam_store(struct sam *sam, uint32_t address, unsigned size, uint32_t value);

/* The nth stretch outside RAM that something answers in: multiples of 4 KiB. False past the end. */
bool sam_window(const struct sam *sam, size_t n, struct span *window);

bool sam_in_flash(const struct sam *sam, uint32_t address);

/* An EFC or an EEFC, whose planes work alike. */
bool sam_has_planes(const struct sam *sam);

/* ---- sam_eefc.c; `offset` into flash, or into the registers of a plane ---- */

void eefc_reset(struct sam *sam, bool power);
uint32_t eefc_register(struct sam *sam, size_t plane, uint32_t offset);
void eefc_set_register(struct sam *sam, size_t plane, uint32_t offset, uint32_t value);
uint32_t eefc_flash(struct sam *sam, uint32_t offset, unsigned size);
void eefc_latch(struct sam *sam, uint32_t offset, unsigned size, uint32_t value);
void eefc_settle(struct sam *sam);         /* ends what is over by now */
uint64_t eefc_next(const struct sam *sam); /* when the next command ends, or UINT64_MAX */
bool eefc_gpnvm(const struct sam *sam, unsigned bit);
bool eefc_locked(const struct sam *sam, size_t plane, uint32_t region);
void eefc_set_gpnvm(struct sam *sam, unsigned bit, bool set);

/* ---- sam_efc.c: what differs on an EFC ---- */

/* The EEFC's command for the EFC's, or EFC_NONE. */
uint8_t efc_command(const struct eefc *efc, uint8_t command);
enum { EFC_NONE = 0xff, EFC_SECURITY = 0xf0 }; /* SSB: an EEFC has SGPB 0 for that */
uint64_t efc_duration(uint8_t command);

/* FSR for the errors and readiness of an EEFC's. */
uint32_t efc_status(const struct sam *sam, size_t plane, uint32_t status);

/* ---- sam_d2x.c, sam_d5x.c, and what they share: sam_nvm.c ---- */

struct nvm_ops {
    void (*reset)(struct sam *sam);
    uint32_t (*load)(struct sam *sam, uint32_t offset); /* an aligned word of the registers */
    void (*store)(struct sam *sam, uint32_t offset, unsigned size, uint32_t value);
    /* A store into the flash array goes to the page buffer; false: a bus fault. */
    bool (*fill)(struct sam *sam, uint32_t address, unsigned size, uint32_t value);
    /* Erases the row or block around `address`, or programs bytes of RAM, as the monitor does for X
     * and Y: errors only show in the status. */
    void (*erase)(struct sam *sam, uint32_t address);
    void (*program)(struct sam *sam, uint32_t address, const uint8_t *bytes, size_t length);
};

extern const struct nvm_ops nvm_d2x, nvm_d5x;

const struct nvm_ops *nvm_of(const struct sam *sam); /* NULL for EEFC parts */
bool nvm_busy(const struct sam *sam);

/* Why a command of the main array must not change `address`: one of these bits, or 0. What is below
 * `boot` is protected. */
struct nvm_errors {
    uint16_t outside, locked, failed;
};
uint16_t nvm_refusal(struct sam *sam, uint32_t address, uint32_t boot,
                     const struct nvm_errors *errors);

/* Locks or unlocks the region around `address`; false: it is behind the array. */
bool nvm_set_region(struct sam *sam, uint32_t address, bool unlock);

void nvm_clear_buffer(struct sam *sam);
void nvm_put(struct sam *sam, uint32_t at, unsigned size, uint32_t value);
/* Bits from the page buffer into a memory, 1 to 0 only. */
void nvm_program(struct sam *sam, struct vmemory *memory, uint32_t at, size_t length);
void nvm_erase(struct sam *sam, uint32_t at, size_t length); /* of the array */

enum { NVM_USER = 0x00804000 };

/* ---- sam_applet.c ---- */

void applet_close(struct sam *sam);
/* What G does: MSP from the first word at `base`, PC from the second. */
void applet_run(struct sam *sam, uint32_t base);

/* ---- sam_monitor.c, sam_xmodem.c ---- */

void monitor_start(struct sam *sam);
void monitor_hear(struct sam *sam, uint8_t byte);
void monitor_say(struct sam *sam, const void *bytes, size_t length);
void monitor_execute(struct sam *sam, uint8_t command);
/* Sends what a command has said, now or when the time it took is over. */
void monitor_flush(struct sam *sam);

void xmodem_receive(struct sam *sam, uint32_t address, uint32_t length);
void xmodem_send(struct sam *sam, uint32_t address, uint32_t length);
void xmodem_hear(struct sam *sam, uint8_t byte);
void xmodem_tick(struct sam *sam);

uint16_t sam_crc(uint16_t crc, uint8_t byte); /* CRC-16/XMODEM */

/* ---- sam_life.c ---- */

void sam_restart(struct sam *sam, enum vreset cause);
struct vserial *sam_create(const struct vconfig *config, const struct sam_kind *kind);

#endif
