/*
 * The virtual STM32 ROM loader, shared by its files: stm32_rom.c lives (reset, autobaud, frames,
 * time), stm32_rom_commands.c and stm32_rom_transfer.c answer frames, stm32_rom_memory.c knows what
 * lies at an address.
 */
#ifndef VBOARD_STM32_ROM_H
#define VBOARD_STM32_ROM_H

#include "stm32_flash.h"

enum {
    ROM_ACK = 0x79,
    ROM_NACK = 0x1f,
    ROM_PAGES_MAX = 512,                       /* in one list of Extended Erase */
    ROM_FRAME_MAX = 2 + 2 * ROM_PAGES_MAX + 1, /* the longest frame */
};

enum rom_state {
    ROM_STARTING,    /* out of reset, the UART is not up yet */
    ROM_UNMEASURED,  /* waits for 7F */
    ROM_WEDGED,      /* measured something else: hears nothing right until reset */
    ROM_LISTENING,   /* inside or between frames; no time-out of any kind */
    ROM_BUSY,        /* the flash works; then ACK */
    ROM_LEAVING,     /* on its way into a reset of its own */
    ROM_APPLICATION, /* silent */
};

enum rom_command {
    CMD_GET = 0x00,
    CMD_GET_VERSION = 0x01,
    CMD_GET_ID = 0x02,
    CMD_READ = 0x11,
    CMD_GO = 0x21,
    CMD_WRITE = 0x31,
    CMD_ERASE = 0x43,
    CMD_EXTENDED_ERASE = 0x44,
    CMD_WRITE_PROTECT = 0x63,
    CMD_WRITE_UNPROTECT = 0x73,
    CMD_READOUT_PROTECT = 0x82,
    CMD_READOUT_UNPROTECT = 0x92,
    CMD_GET_CHECKSUM = 0xa1,
};

enum { ROM_SPECIAL = 0xfff0 }; /* Extended Erase: from here on no page count but a code */

/* What the next frame is. */
enum rom_stage {
    ROM_COMMAND,
    ROM_ADDRESS,
    ROM_READ_LENGTH,
    ROM_WRITE_DATA,
    ROM_PAGE_LIST,
    ROM_LONG_PAGE_LIST,
    ROM_SECTOR_LIST,
    ROM_SUM_LENGTH,
    ROM_SUM_POLYNOMIAL,
    ROM_SUM_START,
};

struct rom {
    struct vserial serial; /* first */
    const struct chip *chip;
    const struct vstm32_part *part;
    const struct vstm32_family *family;
    struct vmemory flash_bytes, option_bytes;
    struct vstm32_options options;
    struct vstm32_flash flash;
    uint8_t own_options[VSTM32_OPTIONS]; /* where the config gives none */
    uint8_t *ram[2];
    struct vfaults faults;
    uint32_t highest_baud;
    bool boot0_on_rts; /* else BOOT0 is held high */
    bool sums;         /* lists Get Checksum, as the newest loaders do */
    bool other_sums;   /* under that number is what stm32flash 0.7 believes it to be */
    uint32_t sum_length, sum_polynomial;
    bool rts;
    uint32_t host_baud;

    enum rom_state state;
    uint64_t until;
    bool reset_after; /* ROM_BUSY ends with a reset */
    enum rom_stage stage;
    uint8_t command;
    uint32_t address;
    uint8_t frame[ROM_FRAME_MAX];
    size_t got;
    unsigned answered;  /* host messages since power-on */
    uint32_t jumped_to; /* by Go; 0 = never since power-on */
};

/* ---- stm32_rom.c ---- */

/* The flash works for `time` microseconds, then ACK and, if asked for, a reset. */
void rom_work(struct rom *rom, uint64_t time, bool reset_after);

/* A system reset in `time` microseconds; until then it hears nothing. */
void rom_leave(struct rom *rom, uint64_t time);

void rom_send(struct rom *rom, const uint8_t *bytes, size_t length);

/* ---- stm32_rom_commands.c ---- */

/* Bytes that the frame being received has, as far as is known from those that came. */
size_t rom_frame_length(const struct rom *rom);

/* Acts on the whole frame in rom->frame. */
void rom_execute(struct rom *rom);

/* A refusal leads back to the command state; an ACK to the next frame. */
void rom_nack(struct rom *rom);
void rom_ack(struct rom *rom, enum rom_stage next);

/* True if the two bytes of the frame are a byte and its complement. */
bool rom_is_complemented(const struct rom *rom);

/* ---- stm32_rom_transfer.c: the frames of Read, Write, Erase, Extended Erase and
 * Get Checksum ---- */

void rom_read_memory(struct rom *rom);
void rom_write_memory(struct rom *rom);
void rom_page_list(struct rom *rom);
void rom_long_page_list(struct rom *rom);
void rom_sum_number(struct rom *rom); /* each of the three after the address */

/* ---- stm32_rom_memory.c ---- */

enum rom_area_kind { ROM_NOTHING, ROM_FLASH, ROM_RAM, ROM_OPTIONS, ROM_SYSTEM, ROM_FACTORY };

struct rom_area {
    enum rom_area_kind kind;
    struct span span;
    uint8_t *ram; /* ROM_RAM: its bytes */
};

struct rom_area rom_area_at(const struct rom *rom, uint32_t address);
uint8_t rom_read_byte(const struct rom *rom, const struct rom_area *area, uint32_t address);

/* True if RAM at `address` holds a vector table behind which code asks AIRCR for a system reset:
 * the host's way to reset a chip whose reset line it does not have. */
bool rom_is_reset_stub(const struct rom *rom, uint32_t address);

void rom_wipe_ram(struct rom *rom);

#endif
