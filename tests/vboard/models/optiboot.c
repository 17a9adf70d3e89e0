/*
 * Optiboot (STK500v1, Atmel AVR061) on the parts no packaged firmware exists for, from the loader's
 * own description: versions 4.4, 5.0 and 8.3, which differ in when a page is erased, how lengths
 * are read and whether an extended address is known.
 *
 * Two things to know: anything but 20 at the end of a command is fatal (the loader waits for its
 * watchdog and the application starts), and the memory type is ignored before version 6, so that
 * an EEPROM write lands in flash.
 */
#include <string.h>

#include "board/chip.h"
#include "boot.h"
#include "flash.h"
#include "stk500v1.h"

enum {
    LED_FLASHES = 375 * MILLISECOND, /* three of them; nobody listens meanwhile */
    /* Watchdog of 1 s, 16 ms: as a simulated 16 MHz part runs them. */
    WATCHDOG_IDLE = 1020 * MILLISECOND,
    WATCHDOG_LEAVE = 16 * MILLISECOND,
    UART_115200 = 117647, /* 16 MHz, U2X, UBRR 16 */
};

enum state { STARTING, FLASHING_LEDS, LISTENING, ERASING, WRITING, DEAD, APPLICATION };

struct version {
    const char *name;
    uint8_t major, minor;
};

static const struct version versions[] = {{"4.4", 4, 4}, {"5.0", 5, 0}, {"8.3", 8, 3}};

struct optiboot {
    struct boot boot;
    struct version version;
    enum state state;
    uint64_t until;      /* when STARTING, FLASHING_LEDS, ERASING or WRITING is over */
    uint64_t watchdog;   /* when it bites; UINT64_MAX = off */
    uint64_t period;     /* of the watchdog */
    uint64_t flagged;    /* up to here the watchdog's reset flag meets one of the reset pin */
    uint64_t erase_over; /* of a page erase that runs beside the reception */

    bool in_command;
    uint8_t command, parameter[V1_PARAMETERS_MAX];
    size_t got, data_got;
    uint8_t buffer[V1_BUFFER];
    uint16_t address; /* bytes; the bits above are in rampz */
    uint8_t rampz;
};

static struct optiboot *optiboot_of(struct vserial *dev)
{
    return (struct optiboot *)dev;
}

static bool is_modern(const struct optiboot *o) /* 16-bit lengths, erase after the data */
{
    return o->version.major >= 6;
}

static uint32_t full_address(const struct optiboot *o)
{
    return (uint32_t)o->rampz << 16 | o->address;
}

static bool has_rampz(const struct optiboot *o)
{
    return o->boot.flash.size > 0x10000;
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
    o->period = WATCHDOG_IDLE;
    o->flagged = 0;
    o->rampz = 0;
    start_application(o);
    if (application || o->boot.broken)
        return;
    o->state = STARTING;
    o->until = boot_now(&o->boot) + BOOT_START_UP;
}

static void die(struct optiboot *o, uint64_t watchdog)
{
    o->state = DEAD;
    o->watchdog = boot_now(&o->boot) + watchdog;
}

/* ---- commands ---- */

static size_t page_length(const struct optiboot *o)
{
    size_t low = o->parameter[1] ? o->parameter[1] : 256;
    if (!is_modern(o) || o->boot.page < 256)
        return low;
    size_t length = (size_t)o->parameter[0] << 8 | o->parameter[1];
    return length ? length : 0x10000;
}

static bool wants_eeprom(const struct optiboot *o)
{
    return o->parameter[2] == 'E';
}

/* Before version 6 a page that can be read while it is written is erased while its data arrives. */
static void erase_early(struct optiboot *o)
{
    if (is_modern(o) || full_address(o) >= o->boot.nrww)
        return;
    boot_erase_page(&o->boot, full_address(o));
    o->erase_over = boot_after(&o->boot, BOOT_PAGE_ERASE);
}

static void data_complete(struct optiboot *o)
{
    if (is_modern(o) || full_address(o) < o->boot.nrww)
        return;
    boot_erase_page(&o->boot, full_address(o));
    o->state = ERASING;
    o->until = boot_after(&o->boot, BOOT_PAGE_ERASE);
}

static void begin_write(struct optiboot *o)
{
    if (is_modern(o)) {
        if (wants_eeprom(o)) {
            die(o, WATCHDOG_IDLE);
            return;
        }
        boot_erase_page(&o->boot, full_address(o));
        o->erase_over = boot_after(&o->boot, BOOT_PAGE_ERASE);
    }
    uint64_t start = boot_now(&o->boot);
    if (o->erase_over > start)
        start = o->erase_over;
    o->state = WRITING;
    o->until = start + (boot_after(&o->boot, BOOT_PAGE_WRITE) - boot_now(&o->boot));
}

static void send_end(struct optiboot *o)
{
    boot_send_byte(&o->boot, boot_nak(&o->boot) ? V1_FAILED : V1_OK);
}

/* The whole page is written from the buffer, whatever of it is fresh; the low address bits turn it
 * round inside the page. */
static void finish_write(struct optiboot *o)
{
    uint8_t page[BOOT_PAGE_MAX];
    for (uint32_t i = 0; i < o->boot.page; i++)
        page[(o->address + i) % o->boot.page] = o->buffer[i];
    boot_write_page(&o->boot, full_address(o), page);
    o->state = LISTENING;
    send_end(o);
}

static void send_page(struct optiboot *o)
{
    for (size_t left = page_length(o); left; left--) {
        boot_send_byte(&o->boot, vmemory_byte(&o->boot.flash, full_address(o)));
        /* LPM counts Z up; on large parts the carry goes into RAMPZ. */
        if (++o->address == 0 && has_rampz(o))
            o->rampz++;
    }
}

static void load_address(struct optiboot *o)
{
    uint8_t top = o->parameter[1] >> 7;
    o->address = (uint16_t)((o->parameter[0] | o->parameter[1] << 8) << 1);
    if (has_rampz(o))
        o->rampz = o->version.major >= 8 ? (uint8_t)((o->rampz & 0xfe) | top) : top;
}

static void universal(struct optiboot *o)
{
    if (o->parameter[0] == 0x4d && o->version.major >= 8 && has_rampz(o))
        o->rampz = (uint8_t)((o->rampz & 1) | o->parameter[2] << 1);
    boot_send_byte(&o->boot, 0);
}

static uint8_t parameter_value(const struct optiboot *o)
{
    switch (o->parameter[0]) {
    case 0x81:
        return o->version.major;
    case 0x82:
        return o->version.minor;
    default:
        return 3;
    }
}

/* The closing 20 was there. */
static void execute(struct optiboot *o)
{
    boot_send_byte(&o->boot, V1_INSYNC);
    switch (o->command) {
    case V1_GET_PARAMETER:
        boot_send_byte(&o->boot, parameter_value(o));
        break;
    case V1_LOAD_ADDRESS:
        load_address(o);
        break;
    case V1_UNIVERSAL:
        universal(o);
        break;
    case V1_PROG_PAGE:
        begin_write(o);
        return; /* 10 comes when the page is written */
    case V1_READ_PAGE:
        if (is_modern(o) && wants_eeprom(o)) {
            die(o, WATCHDOG_IDLE);
            return;
        }
        send_page(o);
        break;
    case V1_READ_SIGN:
        boot_send(&o->boot, o->boot.signature, 3);
        break;
    default:
        break;
    }
    send_end(o);
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
        erase_early(o);
}

/* Beyond the buffer lies the rest of the RAM: an overlong page ends the program. */
static void take_data(struct optiboot *o, uint8_t byte)
{
    if (o->data_got == V1_BUFFER) {
        die(o, WATCHDOG_IDLE);
        return;
    }
    o->buffer[o->data_got++] = byte;
    if (o->data_got == page_length(o))
        data_complete(o);
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
    } else if (o->command == V1_PROG_PAGE && o->data_got < page_length(o)) {
        take_data(o, byte);
    } else {
        o->in_command = false;
        if (byte == V1_EOP)
            execute(o);
        else
            die(o, WATCHDOG_LEAVE);
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
        finish_write(o);
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

static const struct vserial_ops optiboot_ops = {
    .reset = optiboot_reset,
    .receive = optiboot_receive,
    .next = optiboot_next,
    .tick = optiboot_tick,
    .busy = optiboot_busy,
    .destroy = boot_destroy,
};

static struct version pick_version(const struct vconfig *config)
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
