/*
 * Optiboot (STK500v1, Atmel AVR061) on the parts no packaged firmware exists for, from the loader's
 * own description: versions 4.4, 5.0 and 8.3, which differ in when a page is erased, how lengths
 * are read and whether an extended address is known.
 *
 * Two things to know: anything but 20 at the end of a command is fatal (the loader waits for its
 * watchdog and the application starts), and the memory type is ignored before version 6, so that
 * an EEPROM write lands in flash.
 */
#include "optiboot.h"

#include <string.h>

#include "board/chip.h"

enum {
    LED_FLASHES = 375 * MILLISECOND,   /* three of them; nobody listens meanwhile */
    WATCHDOG_LEAVE = 16 * MILLISECOND, /* the shortest one */
    UART_115200 = 117647,              /* 16 MHz, U2X, UBRR 16 */
};

static const struct optiboot_version versions[] = {{"4.4", 4, 4}, {"5.0", 5, 0}, {"8.3", 8, 3}};

static struct optiboot *optiboot_of(struct vserial *dev)
{
    return (struct optiboot *)dev;
}

/* ---- life ---- */

static void start_application(struct optiboot *o)
{
    o->state = APPLICATION;
    o->watchdog = UINT64_MAX;
}

static void watchdog_reset(struct optiboot *o)
{
    start_application(o);
    o->flagged = boot_now(&o->boot) + BOOT_START_UP;
}

/* A pulse on the reset pin that falls into the watchdog's own reset leaves both flags set, and the
 * loader takes that for a watchdog reset. */
static bool pulse_is_lost(const struct optiboot *o)
{
    bool ending = o->state == DEAD || o->period == WATCHDOG_LEAVE;
    return (ending && o->watchdog != UINT64_MAX) || boot_now(&o->boot) < o->flagged;
}

static void optiboot_reset(struct vserial *dev, enum vreset cause)
{
    struct optiboot *o = optiboot_of(dev);
    bool application = cause != VRESET_PIN || pulse_is_lost(o);
    o->in_command = false;
    o->period = OPTIBOOT_WATCHDOG;
    o->flagged = 0;
    o->rampz = 0;
    o->address = 0;
    start_application(o);
    if (application || o->boot.broken)
        return;
    o->state = STARTING;
    o->until = boot_now(&o->boot) + BOOT_START_UP;
}

void optiboot_die(struct optiboot *o, uint64_t watchdog)
{
    o->state = DEAD;
    o->watchdog = boot_now(&o->boot) + watchdog;
}

/* ---- reception ---- */

static void begin_command(struct optiboot *o, uint8_t command)
{
    o->in_command = true;
    o->command = command;
    o->got = o->data_got = 0;
    if (command == V1_LEAVE_PROGMODE) {
        o->period = WATCHDOG_LEAVE;
        o->watchdog = boot_now(&o->boot) + o->period;
    }
}

static void take_parameter(struct optiboot *o, uint8_t byte)
{
    o->parameter[o->got++] = byte;
    if (o->command == V1_PROG_PAGE && o->got == v1_parameters(o->command))
        optiboot_page_begins(o);
}

/* Beyond the buffer lies the rest of the RAM: an overlong page ends the program. */
static void take_data(struct optiboot *o, uint8_t byte)
{
    if (o->data_got == V1_BUFFER) {
        optiboot_die(o, OPTIBOOT_WATCHDOG);
        return;
    }
    o->buffer[o->data_got++] = byte;
    if (o->data_got == optiboot_length(o))
        optiboot_page_arrived(o);
}

static void optiboot_receive(struct vserial *dev, uint8_t byte)
{
    struct optiboot *o = optiboot_of(dev);
    if (o->state != LISTENING)
        return;
    if (!dev->line->framing_error) /* a byte with a framing error does not feed the watchdog */
        o->watchdog = boot_now(&o->boot) + o->period;
    if (!o->in_command) {
        begin_command(o, byte);
    } else if (o->got < v1_parameters(o->command)) {
        take_parameter(o, byte);
    } else if (o->command == V1_PROG_PAGE && o->data_got < optiboot_length(o)) {
        take_data(o, byte);
    } else {
        o->in_command = false;
        if (byte == V1_EOP)
            optiboot_execute(o);
        else
            optiboot_die(o, WATCHDOG_LEAVE);
    }
    if (o->boot.broken)
        start_application(o);
}

static bool optiboot_busy(const struct vserial *dev)
{
    const struct optiboot *o = (const struct optiboot *)dev;
    return o->state == FLASHING_LEDS || o->state == ERASING || o->state == WRITING ||
           boot_sending(&o->boot);
}

/* ---- time ---- */

static bool has_timer(const struct optiboot *o)
{
    return o->state == STARTING || o->state == FLASHING_LEDS || o->state == ERASING ||
           o->state == WRITING;
}

static uint64_t optiboot_next(const struct vserial *dev)
{
    const struct optiboot *o = (const struct optiboot *)dev;
    return has_timer(o) && o->until < o->watchdog ? o->until : o->watchdog;
}

static void state_over(struct optiboot *o)
{
    switch (o->state) {
    case STARTING:
        o->state = FLASHING_LEDS;
        o->until += LED_FLASHES;
        break;
    case FLASHING_LEDS:
        o->state = LISTENING;
        o->watchdog = boot_now(&o->boot) + o->period;
        break;
    case ERASING:
        o->state = LISTENING;
        break;
    default:
        optiboot_written(o);
        break;
    }
}

static void optiboot_tick(struct vserial *dev)
{
    struct optiboot *o = optiboot_of(dev);
    uint64_t now = boot_now(&o->boot);
    if (has_timer(o) && o->until <= now)
        state_over(o);
    if (o->watchdog <= now)
        watchdog_reset(o);
}

static enum vprogram optiboot_runs(const struct vserial *dev)
{
    bool application = ((const struct optiboot *)dev)->state == APPLICATION;
    return application ? VPROGRAM_APPLICATION : VPROGRAM_LOADER;
}

static const struct vserial_ops optiboot_ops = {
    .reset = optiboot_reset,
    .receive = optiboot_receive,
    .next = optiboot_next,
    .tick = optiboot_tick,
    .busy = optiboot_busy,
    .runs = optiboot_runs,
    .destroy = boot_destroy,
};

static struct optiboot_version pick_version(const struct vconfig *config)
{
    for (size_t i = 0; config->variant && i < sizeof versions / sizeof versions[0]; i++)
        if (!strcmp(config->variant, versions[i].name))
            return versions[i];
    /* As the cores ship them: 4.4 on Arduino's small parts, 5.0 on Sanguino's, 8.3 (MegaCore) above
     * 128 KiB. */
    return versions[config->flash.size <= 0x8000 ? 0 : config->flash.size <= 0x20000 ? 1 : 2];
}

static struct vserial *optiboot_create(const struct vconfig *config)
{
    uint32_t own = config->flash.size <= 0x8000 ? 512 : 1024;
    struct optiboot *o = (struct optiboot *)boot_create(config, "optiboot", sizeof *o, own,
                                                        UART_115200, &optiboot_ops);
    if (!o)
        return NULL;
    o->version = pick_version(config);
    memset(o->buffer, 0, sizeof o->buffer);
    start_application(o);
    o->boot.serial.ops->reset(&o->boot.serial, config->app ? VRESET_POWER : VRESET_PIN);
    return &o->boot.serial;
}

static const char *const chips_optiboot[] = {"atmega1284p", "atmega1284", "atmega644p",
                                             "atmega644",   "atmega2560", NULL};

const struct vmodel vmodel_optiboot = {
    .name = "optiboot",
    .method = "stk500v1",
    .chips = chips_optiboot,
    .baud = 115200,
    .proof = "avrdude -c arduino -b 115200",
    .create = optiboot_create,
};
