/* See boot.h. */
#include "boot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/chip.h"
#include "flash.h"

enum {
    /* Lock bits (ATmega data sheets, table Boot Lock Bit modes), active when 0. */
    BLB01 = 0x04, /* no SPM into the application section */
    BLB11 = 0x10, /* no SPM into the boot section */
    FUSE_BYTES = 4,
};

static const uint8_t other_chip[2][3] = {{0x1e, 0x97, 0x03}, {0x1e, 0x95, 0x0f}};

static void set_signature(struct boot *boot, const struct vconfig *config)
{
    memcpy(boot->signature, config->chip->avr->signature, 3);
    if (config->faults.wrong_id) {
        bool same = !memcmp(boot->signature, other_chip[0], 3);
        memcpy(boot->signature, other_chip[same], 3);
    }
}

struct boot *boot_create(const struct vconfig *config, const char *name, size_t size, uint32_t own,
                         uint32_t baud, const struct vserial_ops *ops)
{
    const struct chip *chip = config->chip;
    bool fits = chip && chip->avr && config->flash.size > own &&
                chip->regions[0].page <= BOOT_PAGE_MAX && chip->regions[0].page > 0;
    struct boot *boot = fits ? calloc(1, size) : NULL;
    if (!boot) {
        fprintf(stderr, "%s: not for %s\n", name, chip ? chip->name : "no chip");
        return NULL;
    }
    boot->serial = (struct vserial){
        .ops = ops,
        .reset_on_dtr = baud != 0,
        .baud = baud,
        .rx_depth = baud ? BOOT_RX_DEPTH : 0,
    };
    boot->flash = config->flash;
    boot->eeprom = config->eeprom;
    boot->fuses = config->fuses;
    boot->faults = config->faults;
    boot->page = chip->regions[0].page;
    boot->start = (uint32_t)config->flash.size - own;
    /* The no-read-while-write section is as large as the largest boot section. */
    boot->nrww = (uint32_t)config->flash.size - chip->avr->boot_bytes[3];
    set_signature(boot, config);
    return boot;
}

void boot_destroy(struct vserial *dev)
{
    free(dev);
}

uint64_t boot_now(const struct boot *boot)
{
    return boot->serial.line ? boot->serial.line->now : boot->serial.parked;
}

uint64_t boot_after(const struct boot *boot, uint64_t microseconds)
{
    bool paced = boot->serial.line && boot->serial.line->paced;
    return boot_now(boot) + (paced ? microseconds : 0);
}

void boot_send_byte(struct boot *boot, uint8_t byte)
{
    boot->serial.line->send(boot->serial.line, byte);
}

void boot_send(struct boot *boot, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        boot_send_byte(boot, bytes[i]);
}

bool boot_sending(const struct boot *boot)
{
    return boot->serial.line && boot->serial.line->sending(boot->serial.line);
}

bool boot_nak(struct boot *boot)
{
    return ++boot->answered == boot->faults.nak;
}

uint8_t boot_fuse(const struct boot *boot, enum boot_fuse which)
{
    uint8_t value = boot->fuses.size >= FUSE_BYTES ? boot->fuses.bytes[which] : 0xff;
    if (which == BOOT_LOCK && boot->faults.locked)
        value &= (uint8_t)~BLB01;
    return value;
}

void boot_program_lock(struct boot *boot, uint8_t value)
{
    if (boot->fuses.size >= FUSE_BYTES)
        boot->fuses.bytes[BOOT_LOCK] &= value;
}

/* Whether SPM may touch that page; remembers when the loader cuts off its own branch. */
static bool may_program(struct boot *boot, uint32_t address)
{
    bool own = address % boot->flash.size >= boot->start;
    bool allowed = boot_fuse(boot, BOOT_LOCK) & (own ? BLB11 : BLB01);
    boot->broken |= own && allowed;
    return allowed;
}

void boot_erase_page(struct boot *boot, uint32_t address)
{
    if (may_program(boot, address))
        vmemory_erase(&boot->flash, address - address % boot->page, boot->page);
}

void boot_write_page(struct boot *boot, uint32_t address, const uint8_t *page)
{
    if (may_program(boot, address))
        vmemory_program(&boot->flash, address - address % boot->page, page, boot->page);
}

bool boot_application_blank(const struct boot *boot)
{
    return vmemory_blank(&boot->flash, 0, boot->start);
}
