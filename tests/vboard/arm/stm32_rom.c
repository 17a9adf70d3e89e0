/*
 * The UART loader in the system memory of STM32 (ST AN3155, AN2606), entered by BOOT0 at reset.
 *
 * Two things to know: the rate is measured from the first byte after reset, which must be 7F (any
 * other byte, or a rate beyond what the part can measure, wedges the loader until the next reset);
 * and the loader never times out: a host that lost count is inside a frame for ever.
 *
 * BOOT0 is held high and DTR is wired to reset. Variants: "manual" has only the reset button,
 * "rts-boot0" has BOOT0 on RTS (asserted = loader), "115200" measures no rate above that.
 */
#include "stm32_rom.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    START_UP = 5 * MILLISECOND,      /* reset until the UART listens */
    SYSTEM_RESET = 50 * MILLISECOND, /* a reset by the loader itself, in all */
    LOWEST_BAUD = 1200,              /* AN3155, choosing the baud rate */
    INIT_BYTE = 0x7f,
    BITS_8E1 = 11,
    RATE_TOLERANCE = 30, /* per mille; data sheets, USART receiver with 9 bits sampled */
    SLOW = 115200,
};

static struct rom *rom_of(struct vserial *dev)
{
    return (struct rom *)dev;
}

static uint64_t now_of(const struct rom *rom)
{
    return rom->serial.line ? rom->serial.line->now : rom->serial.parked;
}

static void change(struct rom *rom, enum rom_state state, uint64_t until)
{
    rom->state = state;
    rom->until = until;
    rom->got = 0;
}

/* ---- what commands ask for ---- */

void rom_send(struct rom *rom, const uint8_t *bytes, size_t length)
{
    struct vline *line = rom->serial.line;
    for (size_t i = 0; i < length; i++)
        line->send(line, bytes[i]);
}

void rom_work(struct rom *rom, uint64_t time, bool reset_after)
{
    rom->stage = ROM_COMMAND;
    rom->reset_after = reset_after;
    change(rom, ROM_BUSY, now_of(rom) + (rom->serial.line->paced ? time : 0));
}

void rom_leave(struct rom *rom, uint64_t time)
{
    uint64_t paced_time = rom->serial.line->paced ? time : 0;
    change(rom, ROM_LEAVING, now_of(rom) + paced_time + SYSTEM_RESET - START_UP);
}

/* ---- reception ---- */

/* The first byte: its start bit and the seven ones behind it are what is measured. */
static void measure(struct rom *rom, uint8_t byte)
{
    if (byte != INIT_BYTE || rom->host_baud < LOWEST_BAUD || rom->host_baud > rom->highest_baud) {
        change(rom, ROM_WEDGED, UINT64_MAX);
        return;
    }
    rom->serial.baud = rom->host_baud;
    rom->stage = ROM_COMMAND;
    change(rom, ROM_LISTENING, UINT64_MAX);
    bool refused = ++rom->answered == rom->faults.nak;
    rom_send(rom, (uint8_t[]){refused ? ROM_NACK : ROM_ACK}, 1);
}

static void take(struct rom *rom, uint8_t byte)
{
    rom->frame[rom->got++] = byte;
    if (rom->got < rom_frame_length(rom))
        return;
    rom_execute(rom);
    rom->got = 0;
}

/* A host without even parity is not understood, whatever its rate. */
static void rom_receive(struct vserial *dev, uint8_t byte)
{
    struct rom *rom = rom_of(dev);
    if (dev->line->parity == VPARITY_NONE || dev->line->parity == VPARITY_ODD)
        return;
    if (rom->state == ROM_UNMEASURED)
        measure(rom, byte);
    else if (rom->state == ROM_LISTENING)
        take(rom, byte);
}

/* Programming, or a byte is still leaving: the loader polls, and one byte waits in its register. */
static bool rom_busy(const struct vserial *dev)
{
    const struct rom *rom = (const struct rom *)dev;
    return rom->state == ROM_BUSY || dev->line->sending(dev->line);
}

static bool rom_rate_ok(const struct vserial *dev, uint32_t baud)
{
    const struct rom *rom = (const struct rom *)dev;
    if (rom->state == ROM_UNMEASURED)
        return true;
    int64_t off = (int64_t)baud * 1000 / dev->baud - 1000;
    return off >= -RATE_TOLERANCE && off <= RATE_TOLERANCE;
}

static void rom_lines(struct vserial *dev, bool dtr, bool rts, uint32_t baud)
{
    (void)dtr;
    struct rom *rom = rom_of(dev);
    rom->rts = rts;
    rom->host_baud = baud;
}

/* ---- life ---- */

static void restart(struct rom *rom)
{
    rom->stage = ROM_COMMAND;
    change(rom, ROM_STARTING, now_of(rom) + START_UP);
}

static void rom_reset(struct vserial *dev, enum vreset cause)
{
    struct rom *rom = rom_of(dev);
    if (cause == VRESET_POWER) {
        rom_wipe_ram(rom);
        rom->answered = 0;
        rom->jumped_to = 0;
    }
    restart(rom);
}

/* Read-out protection level 2 also closes the way into the loader (RM0091, RM0090). */
static void start(struct rom *rom)
{
    bool loader = (!rom->boot0_on_rts || rom->rts) && vstm32_level(&rom->options) < 2;
    change(rom, loader ? ROM_UNMEASURED : ROM_APPLICATION, UINT64_MAX);
}

static void finish_work(struct rom *rom)
{
    change(rom, ROM_LISTENING, UINT64_MAX);
    rom_send(rom, (uint8_t[]){ROM_ACK}, 1);
    if (rom->reset_after)
        rom_leave(rom, 0);
}

static uint64_t rom_next(const struct vserial *dev)
{
    return ((const struct rom *)dev)->until;
}

static void rom_tick(struct vserial *dev)
{
    struct rom *rom = rom_of(dev);
    if (rom->until > now_of(rom))
        return;
    if (rom->state == ROM_STARTING)
        start(rom);
    else if (rom->state == ROM_BUSY)
        finish_work(rom);
    else
        restart(rom);
}

static void rom_destroy(struct vserial *dev)
{
    struct rom *rom = rom_of(dev);
    free(rom->ram[0]);
    free(rom->ram[1]);
    free(rom);
}

static const struct vserial_ops rom_ops = {
    .reset = rom_reset,
    .receive = rom_receive,
    .next = rom_next,
    .tick = rom_tick,
    .lines = rom_lines,
    .rate_ok = rom_rate_ok,
    .busy = rom_busy,
    .destroy = rom_destroy,
};

/* ---- making one ---- */

static void wire(struct rom *rom, const char *variant)
{
    rom->serial.reset_on_dtr = !variant || strcmp(variant, "manual") != 0;
    rom->boot0_on_rts = variant && strcmp(variant, "rts-boot0") == 0;
    rom->highest_baud = rom->family->highest_baud;
    rom->other_sums = variant && strcmp(variant, "other-checksum") == 0;
    rom->sums = rom->other_sums || (variant && strcmp(variant, "checksum") == 0);
    if (variant && strcmp(variant, "115200") == 0)
        rom->highest_baud = SLOW;
    rom->serial.baud = rom->host_baud = SLOW; /* until a byte is measured */
    rom->serial.bits = BITS_8E1;
    rom->serial.rx_depth = 1;
}

static bool give_memories(struct rom *rom, const struct vconfig *config)
{
    const struct region *region = &config->chip->regions[0];
    rom->flash_bytes = config->flash;
    rom->option_bytes = config->options;
    if (config->options.size < VSTM32_OPTIONS) {
        memset(rom->own_options, 0xff, sizeof rom->own_options);
        rom->option_bytes = (struct vmemory){rom->own_options, VSTM32_OPTIONS, UINT64_MAX};
    }
    rom->options = (struct vstm32_options){&rom->option_bytes, rom->family,
                                           vstm32_page_count(region), rom->part->pages_per_sector};
    rom->flash = (struct vstm32_flash){&rom->flash_bytes, region, rom->family, &rom->options};
    vstm32_options_init(&rom->options);
    if (config->faults.locked && vstm32_level(&rom->options) == 0)
        vstm32_set_level(&rom->options, 1);
    for (size_t i = 0; i < 2; i++)
        if (rom->part->ram[i].size && !(rom->ram[i] = calloc(1, (size_t)rom->part->ram[i].size)))
            return false;
    return config->flash.size == region->size;
}

static struct vserial *rom_create(const struct vconfig *config)
{
    const struct vstm32_part *part = vstm32_part_of(config->chip);
    const struct vstm32_family *family = vstm32_family_of(config->chip);
    struct rom *rom = part && family ? calloc(1, sizeof *rom) : NULL;
    if (!rom) {
        fprintf(stderr, "stm32-rom: no loader is known for %s\n", config->chip->name);
        return NULL;
    }
    rom->serial.ops = &rom_ops;
    rom->chip = config->chip;
    rom->part = part;
    rom->family = family;
    rom->faults = config->faults;
    wire(rom, config->variant);
    if (!give_memories(rom, config)) {
        fprintf(stderr, "stm32-rom: needs all the flash of %s\n", config->chip->name);
        rom_destroy(&rom->serial);
        return NULL;
    }
    change(rom, config->app ? ROM_APPLICATION : ROM_UNMEASURED, UINT64_MAX);
    return &rom->serial;
}

static const char *const chips_stm32_rom[] = {
    "stm32f103xb", "stm32f103xe", "stm32f103x6", "stm32f072xb", "stm32f070xb", "stm32f042x6",
    "stm32f070x6", "stm32f031x6", "stm32f407xx", "stm32f405xx", "stm32f401xc", "stm32f401xe",
    "stm32f411xe", "stm32f446xx", "stm32g070xx", "stm32g071xx", "stm32g0b1xx", "stm32g0b0xx",
    "stm32h743xx", "stm32h745xx", "stm32h750xx", "stm32h723xx", NULL};

const struct vmodel vmodel_stm32_rom = {
    .name = "stm32-rom",
    .method = "stm32-uart",
    .chips = chips_stm32_rom,
    .baud = 0,
    .options = VSTM32_OPTIONS,
    .proof = "stm32flash",
    .create = rom_create,
};
