/*
 * What a SAM board does between power-on and power-off: monitor or application, the touch at 1200
 * baud that leads from the one to the other, resets, and the time that commands take.
 *
 * One thing to know: a command is executed at one moment of the line, but runs ahead of it by what
 * it would take; until the line has come that far, the monitor listens to nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "models/flash.h"
#include "sam_chip.h"

enum {
    ENUMERATION = 400 * MILLISECOND, /* off the bus between monitor and application */
    TOUCH_WAIT = 250 * MILLISECOND,  /* Arduino's cores */
    DOUBLE_TAP = 500 * MILLISECOND,
    BRIDGE_RESET = 205 * MILLISECOND, /* ArduinoCore-sam, firmware of the ATmega16U2 */
    BRIDGE_ERASE = 490 * MILLISECOND,
};

/* ---- time ---- */

static uint64_t line_now(const struct sam *sam)
{
    return sam->serial.line ? sam->serial.line->now : sam->serial.parked;
}

uint64_t sam_now(const struct sam *sam)
{
    return line_now(sam) + sam->ahead;
}

void sam_spend(struct sam *sam, uint64_t microseconds)
{
    if (sam->serial.line && sam->serial.line->paced)
        sam->ahead += microseconds;
}

void sam_spend_until(struct sam *sam, uint64_t moment)
{
    if (moment > sam_now(sam) && moment != UINT64_MAX)
        sam->ahead += moment - sam_now(sam);
}

uint64_t sam_after(const struct sam *sam, uint64_t microseconds)
{
    bool paced = sam->serial.line && sam->serial.line->paced;
    return sam_now(sam) + (paced ? microseconds : 0);
}

bool sam_fails(struct sam *sam)
{
    bool fails = sam->fail_next;
    sam->fail_next = false;
    return fails;
}

void sam_die(struct sam *sam, const char *why, uint32_t address)
{
    if (sam->state == SAM_DEAD)
        return;
    sam->state = SAM_DEAD;
    sam->death = why;
    sam->death_address = address;
    sam->monitor.reply_length = 0;
    fprintf(stderr, "%s: the monitor is dead until the next reset: %s (0x%08x)\n", sam->kind->name,
            why, (unsigned)address);
}

/* ---- application or monitor ---- */

/* The reset vector, where the Arduino loader looks too; the first instruction on an ARM7. */
static uint32_t application_word(const struct sam *sam)
{
    return sam->kind->controller == SAM_EFC ? 0 : sam->kind->start + 4;
}

static bool has_application(const struct sam *sam)
{
    return !vmemory_blank(&sam->flash, application_word(sam), application_word(sam) + 4);
}

static bool loader_is_gone(const struct sam *sam)
{
    return sam->loader && memcmp(sam->loader, sam->flash.bytes, sam->kind->start) != 0;
}

/* The word at the top of RAM by which an application, or a first tap, asks for the loader. */
static uint8_t *magic_word(struct sam *sam)
{
    return sam->ram[0].bytes + sam->ram[0].size - sam->kind->magic_from_top;
}

static bool asked_to_stay(struct sam *sam, enum vreset cause)
{
    bool tapped =
        cause == VRESET_PIN && sam->last_pin && line_now(sam) - sam->last_pin < DOUBLE_TAP;
    bool magic = cause != VRESET_POWER && get_le32(magic_word(sam)) == sam->kind->magic;
    sam->last_pin = cause == VRESET_PIN && !tapped ? line_now(sam) : 0;
    put_le32(magic_word(sam), 0);
    return tapped || magic;
}

static bool starts_application(struct sam *sam, enum vreset cause)
{
    if (sam->kind->boot_bit)
        return eefc_gpnvm(sam, sam->kind->boot_bit);
    if (sam->kind->controller == SAM_EFC) /* SAM7S: the monitor lies where the application goes */
        return has_application(sam);
    return !asked_to_stay(sam, cause) && has_application(sam);
}

static void reset_controller(struct sam *sam, bool power)
{
    if (nvm_of(sam))
        nvm_of(sam)->reset(sam);
    else
        eefc_reset(sam, power);
}

static void change(struct sam *sam, enum sam_state state, uint64_t until)
{
    sam->state = state;
    sam->until = until;
}

static void start(struct sam *sam, bool application)
{
    monitor_start(sam);
    sam->sp = sam->kind->vectors[1];
    change(sam, application ? SAM_APPLICATION : SAM_MONITOR, UINT64_MAX);
    if (!application && loader_is_gone(sam))
        sam_die(sam, "the loader has been erased", sam->flash_base);
}

void sam_restart(struct sam *sam, enum vreset cause)
{
    struct vline *line = sam->serial.line;
    uint64_t now = line_now(sam);
    reset_controller(sam, cause == VRESET_POWER);
    if (cause == VRESET_POWER)
        sam->monitor.commands = 0;
    sam->ahead = 0;
    sam->working = sam->reset_wanted = sam->fail_next = false;
    start(sam, starts_application(sam, cause));
    if (line && line->detach)
        line->detach(line, now + ENUMERATION);
}

/* ---- the line's side ---- */

static struct sam *sam_of(struct vserial *dev)
{
    return (struct sam *)dev;
}

/* The line comes first: until it has caught up, nothing is said and nothing heard. */
static void settle_command(struct sam *sam)
{
    if (!sam->kind->rom && sam->state == SAM_MONITOR) {
        sam_spend_until(sam, sam->nvm.until); /* the loader's own code is in that flash */
        if (sam->loader_touched && loader_is_gone(sam))
            sam_die(sam, "the loader has been erased", sam->flash_base);
        sam->loader_touched = false;
    }
    sam->work_until = sam_now(sam);
    sam->working = sam->ahead > 0;
    sam->ahead = 0;
}

static void end_command(struct sam *sam)
{
    sam->working = false;
    eefc_settle(sam);
    monitor_flush(sam);
    if (sam->reset_wanted)
        sam_restart(sam, VRESET_WATCHDOG);
}

static void sam_receive(struct vserial *dev, uint8_t byte)
{
    struct sam *sam = sam_of(dev);
    sam->untouched = false;
    if (sam->state != SAM_MONITOR)
        return;
    monitor_hear(sam, byte);
    settle_command(sam);
    if (!sam->working)
        end_command(sam);
}

static bool sam_busy(const struct vserial *dev)
{
    return ((const struct sam *)dev)->working;
}

static void sam_reset(struct vserial *dev, enum vreset cause)
{
    struct sam *sam = sam_of(dev);
    bool nothing = sam->untouched && cause == VRESET_POWER;
    sam->untouched = false;
    if (nothing)
        return;
    sam_restart(sam, cause);
    if (sam->bridge && cause == VRESET_PIN)
        change(sam, SAM_STARTING, line_now(sam) + BRIDGE_RESET);
}

/* ---- the touch ---- */

/* ATmega16U2: any change of the lines at 1200 baud pulls ERASE, then RESET. */
static void bridge_lines(struct sam *sam, bool changed, uint32_t baud)
{
    if (changed && baud == 1200)
        change(sam, SAM_ERASING, line_now(sam) + BRIDGE_ERASE);
}

static void sam_lines(struct vserial *dev, bool dtr, bool rts, uint32_t baud)
{
    struct sam *sam = sam_of(dev);
    bool changed = dtr != sam->dtr || rts != sam->rts;
    sam->dtr = dtr;
    sam->rts = rts;
    sam->untouched = false;
    if (sam->bridge)
        bridge_lines(sam, changed, baud);
    else if (sam->state == SAM_APPLICATION && !dtr && baud == 1200 &&
             sam->kind->controller != SAM_EFC)
        change(sam, SAM_TOUCHED, line_now(sam) + (sam->klipper ? 0 : TOUCH_WAIT));
    else if (sam->state == SAM_TOUCHED && (dtr || baud != 1200))
        change(sam, SAM_APPLICATION, UINT64_MAX);
}

/* Arduino's core for the D21 erases the first row of the application, Klipper leaves its magic; on
 * SAM3 and SAM4 both clear GPNVM1. */
static void leave_application(struct sam *sam)
{
    if (sam->kind->controller == SAM_EEFC)
        eefc_set_gpnvm(sam, sam->kind->boot_bit, false);
    else if (sam->klipper || sam->kind->controller == SAM_D5X)
        put_le32(magic_word(sam), sam->kind->magic);
    else
        vmemory_erase(&sam->flash, sam->kind->start, 256);
    sam_restart(sam, VRESET_WATCHDOG);
}

/* The ERASE pin: flash, lock bits and GPNVM bits. */
static void erase_pin(struct sam *sam)
{
    vmemory_erase(&sam->flash, 0, sam->flash.size);
    memset(sam->options.bytes, 0xff, sam->options.size);
    sam_restart(sam, VRESET_PIN);
}

/* ---- timers ---- */

static uint64_t sam_next(const struct vserial *dev)
{
    const struct sam *sam = (const struct sam *)dev;
    uint64_t next = eefc_next(sam);
    const uint64_t others[] = {sam->until, sam->working ? sam->work_until : UINT64_MAX,
                               sam->state == SAM_MONITOR ? sam->monitor.until : UINT64_MAX};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        next = others[i] < next ? others[i] : next;
    return next;
}

static void state_over(struct sam *sam)
{
    enum sam_state was = sam->state;
    if (was == SAM_TOUCHED)
        leave_application(sam);
    else if (was == SAM_ERASING)
        erase_pin(sam);
    else
        start(sam, starts_application(sam, VRESET_PIN));
}

static void sam_tick(struct vserial *dev)
{
    struct sam *sam = sam_of(dev);
    uint64_t now = line_now(sam);
    eefc_settle(sam);
    if (sam->working && sam->work_until <= now)
        end_command(sam);
    if (sam->state == SAM_MONITOR && sam->monitor.until <= now) {
        xmodem_tick(sam);
        monitor_flush(sam);
    }
    if (sam->until <= now)
        state_over(sam);
}

/* ---- made and unmade ---- */

static void sam_destroy(struct vserial *dev)
{
    struct sam *sam = sam_of(dev);
    applet_close(sam);
    for (size_t i = 0; i < SAM_RAM_MAX; i++)
        free(sam->ram[i].bytes);
    if (sam->own_options)
        free(sam->options.bytes);
    free(sam->monitor.reply);
    free(sam->loader);
    free(sam);
}

static enum vprogram sam_runs(const struct vserial *dev)
{
    enum sam_state state = ((const struct sam *)dev)->state;
    bool application = state == SAM_APPLICATION || state == SAM_TOUCHED;
    return application ? VPROGRAM_APPLICATION : VPROGRAM_LOADER;
}

static const struct vserial_ops sam_ops = {
    .reset = sam_reset,
    .receive = sam_receive,
    .next = sam_next,
    .tick = sam_tick,
    .lines = sam_lines,
    .busy = sam_busy,
    .runs = sam_runs,
    .destroy = sam_destroy,
};

static bool make_ram(struct sam *sam)
{
    for (size_t i = 0; i < sam->chip->ram_count && i < SAM_RAM_MAX; i++) {
        struct sam_ram *ram = &sam->ram[i];
        ram->start = (uint32_t)sam->chip->ram[i].start;
        ram->size = (uint32_t)sam->chip->ram[i].size;
        ram->bytes = malloc(ram->size);
        if (!ram->bytes)
            return false;
        memset(ram->bytes, 0xa5, ram->size);
    }
    return true;
}

static bool make_options(struct sam *sam, const struct vconfig *config)
{
    static const size_t sizes[] = {SAM_EEFC_OPTIONS, SAM_EEFC_OPTIONS, SAM_D2X_OPTIONS,
                                   SAM_D5X_OPTIONS};
    size_t size = sizes[sam->kind->controller];
    sam->options = config->options;
    if (config->options.bytes && config->options.size >= size)
        return true;
    sam->own_options = true;
    sam->options = (struct vmemory){.bytes = malloc(size), .size = size, .stuck = UINT64_MAX};
    if (sam->options.bytes)
        memset(sam->options.bytes, 0xff, size);
    return sam->options.bytes != NULL;
}

/* A blank User Row or User Page is given what the factory writes there. */
static void factory_row(struct sam *sam)
{
    static const uint8_t d2x[] = {0xfa, 0xc7, 0xe0, 0xd8, 0x5d, 0xfc, 0xff, 0xff};
    static const uint8_t d5x[] = {0x39, 0x92, 0x9a, 0xfe, 0x80, 0xff, 0xec, 0xae};
    if (vmemory_blank(&sam->options, 0, sizeof d2x))
        memcpy(sam->options.bytes, sam->kind->controller == SAM_D2X ? d2x : d5x, sizeof d2x);
}

/* A stand-in for the loader's program, if the flash has none. */
static bool make_loader(struct sam *sam)
{
    size_t size = sam->kind->start;
    if (sam->kind->rom)
        return true;
    sam->loader = malloc(size);
    if (!sam->loader)
        return false;
    if (vmemory_blank(&sam->flash, 0, size)) {
        for (size_t i = 8; i < size; i++)
            sam->flash.bytes[i] = (uint8_t)(i * 37 + (i >> 8) * 11);
        put_le32(sam->flash.bytes, sam->kind->vectors[0]);
        put_le32(sam->flash.bytes + 4, sam->kind->vectors[1]);
    }
    memcpy(sam->loader, sam->flash.bytes, size);
    return true;
}

static void set_options(struct sam *sam, const struct vconfig *config)
{
    if (!sam_has_planes(sam)) {
        factory_row(sam);
        return;
    }
    if (sam->kind->boot_bit)
        eefc_set_gpnvm(sam, sam->kind->boot_bit, config->app);
    if (config->faults.locked)
        eefc_set_gpnvm(sam, 0, true);
}

static struct sam *complain(struct sam *sam, const char *name, const char *why)
{
    fprintf(stderr, "%s: %s\n", name, why);
    if (sam)
        sam_destroy(&sam->serial);
    return NULL;
}

static struct sam *make(const struct vconfig *config, const struct sam_kind *kind)
{
    const struct chip *chip = config->chip;
    if (!chip || !chip->sam || config->flash.size != chip->regions[0].size)
        return complain(NULL, kind->name, "needs a SAM chip and all of its flash");
    struct sam *sam = calloc(1, sizeof *sam);
    if (!sam)
        return complain(NULL, kind->name, "out of memory");
    sam->kind = kind;
    sam->chip = chip;
    sam->flash = config->flash;
    sam->flash_base = (uint32_t)chip->regions[0].start;
    sam->page = chip->regions[0].page;
    sam->faults = config->faults;
    if (!make_ram(sam) || !make_options(sam, config) || !make_loader(sam))
        return complain(sam, kind->name, "out of memory");
    return sam;
}

/* Variants: "plain" has no X, Y and Z; "klipper" runs Klipper as its application; "pins" is a UART
 * with no ATmega16U2 before it. */
struct vserial *sam_create(const struct vconfig *config, const struct sam_kind *kind)
{
    struct sam *sam = make(config, kind);
    if (!sam)
        return NULL;
    bool plain = config->variant && strcmp(config->variant, "plain") == 0;
    sam->klipper = config->variant && strcmp(config->variant, "klipper") == 0;
    sam->extensions = !kind->rom && !plain;
    if (sam->flash.stuck != UINT64_MAX && sam->flash.stuck >= sam->flash_base)
        sam->flash.stuck -= sam->flash_base;
    sam->bridge = kind->uart && !(config->variant && strcmp(config->variant, "pins") == 0);
    sam->untouched = true;
    sam->serial.ops = &sam_ops;
    sam->serial.baud = kind->uart ? 115200 : 0;
    sam->serial.rx_depth = kind->uart ? 2 : 0;
    sam->serial.reset_on_dtr = sam->bridge;
    set_options(sam, config);
    reset_controller(sam, true);
    start(sam, config->app && (kind->rom || has_application(sam)));
    return &sam->serial;
}
