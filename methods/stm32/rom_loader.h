/*
 * The STM32 ROM loader as a device: what it says it is, and its memory in blocks and pages, with
 * lost bytes made good. Documents: ST AN3155, AN2606.
 */
#ifndef MFLASH_STM32_ROM_LOADER_H
#define MFLASH_STM32_ROM_LOADER_H

#include "method.h"
#include "stm32/entry.h"
#include "stm32/parts.h"
#include "stm32/rom_wire.h"

/* State of a session. */
struct rom_loader {
    struct rom_wire wire;
    struct entry entry;
    uint8_t version;             /* 0x22 = 2.2 */
    uint8_t commands[32];        /* one bit for each that Get lists */
    unsigned pid;                /* product id */
    const struct rom_part *part; /* NULL: not known */
    struct sector_run runs[ROM_RUNS_MAX];
    struct region flash;  /* as this part divides it */
    size_t block;         /* most bytes of one Read or Write */
    uint64_t flash_bytes; /* by the size register; 0 = not known */
    bool protected;       /* readout protection: reading, writing and erasing are refused */
    bool no_checksum;     /* the loader lists Get Checksum, but it was not as AN3155 says */
    bool wrote;
    uint32_t wrote_at; /* lowest address written in this session */
};

bool st_rom_has(const struct rom_loader *rom, enum rom_command command);

/* Get and Get ID: fills version, commands, pid, part, flash, block. */
int st_rom_identify(struct rom_loader *rom, const struct chip *chip, struct error *err);

/* Reads `length` bytes, at most rom->block. A refused command is ERR_PROTECTED. */
int st_rom_read(struct rom_loader *rom, uint32_t address, uint8_t *bytes, size_t length,
                struct error *err);

/* Writes a multiple of 4 bytes, at most rom->block. If the answer is lost, reads what is there: the
 * block is sent again only where it is still blank. */
int st_rom_write(struct rom_loader *rom, uint32_t address, const uint8_t *bytes, size_t length,
                 struct error *err);

/* Writes all option bytes at once, once: the chip resets after its ACK. */
int st_rom_write_options(struct rom_loader *rom, uint32_t address, const uint8_t *bytes,
                         size_t length, struct error *err);

/* Erases `count` pages from number `first` on. */
int st_rom_erase(struct rom_loader *rom, uint32_t first, uint32_t count, uint64_t timeout,
                 struct error *err);
enum { ROM_ERASE_MAX = 128 }; /* pages of one command; 256 would mean all to some hosts and ROMs */

/* ERR_NOT_POSSIBLE if this loader has no mass erase. */
int st_rom_erase_all(struct rom_loader *rom, struct error *err);

/* Erases bank 0 or 1. A refusal is ERR_NOT_POSSIBLE: this loader, or this chip, has no banks. */
int st_rom_erase_bank(struct rom_loader *rom, unsigned bank, struct error *err);

/* The chip's own CRC-32 (polynomial 04C11DB7, most significant bit first, over words) of whole
 * words at a word's address. ERR_NOT_POSSIBLE if the loader has no such command, or another one
 * under its number: then the loader is back in step, and the next call fails at once. */
int st_rom_checksum(struct rom_loader *rom, uint32_t address, size_t length, uint32_t *sum,
                    struct error *err);

/* What st_rom_checksum gives for these bytes. */
uint32_t st_rom_sum_of(const uint8_t *bytes, size_t length);

/* Starts what has its vector table at `address`. */
int st_rom_go(struct rom_loader *rom, uint32_t address, struct error *err);

/* ERR_PROTECTED, with the way out. */
int st_rom_protected(struct error *err);

#endif
