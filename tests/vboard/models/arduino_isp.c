/*
 * An Arduino with the ArduinoISP sketch and a bare AVR behind it, 19200 baud.
 *
 * Opening its port resets the Arduino, and its own bootloader (optiboot, at the same rate) is the
 * first to answer: for about a second and a half, and a second longer after every byte. Whoever
 * takes it for the programmer reads the signature of the Arduino and flashes the Arduino. A
 * capacitor from RESET to 5 V (variant "capacitor") keeps DTR from resetting it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "isp_sketch.h"

enum {
    OSCILLATOR_START = 66 * MILLISECOND, /* 16K clocks and 65 ms: lfuse FF of the usual boards */
    LED_FLASHES = 375 * MILLISECOND,     /* optiboot 4.4 */
    LOADER_WINDOW = 1020 * MILLISECOND,  /* its watchdog, nominally 1 s */
    WATCHDOG_SHORT = 16 * MILLISECOND,
    SKETCH_SETUP = 540 * MILLISECOND, /* three LEDs, three pulses of 60 ms each */
    LOADER_PAGE_TIME = 9 * MILLISECOND,
    LOADER_DEPTH = 3,  /* the UART itself */
    SKETCH_DEPTH = 63, /* the core's ring of 64 */
};

static struct arduino_isp *arduino_of(struct vserial *dev)
{
    return (struct arduino_isp *)dev;
}

/* ---- the Arduino's own bootloader ---- */

static void loader_reply(struct arduino_isp *isp, const uint8_t *bytes, size_t length)
{
    isp_send(&isp->port, STK_INSYNC);
    isp_send_all(&isp->port, bytes, length);
    isp_send(&isp->port, STK_OK);
}

/* What it reads is the sketch, of which nobody should want a byte. */
static void loader_read(struct arduino_isp *isp)
{
    static const uint8_t sketch[SKETCH_BUFFER];
    size_t length = isp->arguments[1] ? isp->arguments[1] : 256;

    loader_reply(isp, sketch, length);
}

static void loader_execute(struct arduino_isp *isp)
{
    static const uint8_t own_signature[] = {0x1e, 0x95, 0x0f}; /* ATmega328P */
    uint8_t version = isp->arguments[0] == 0x81 || isp->arguments[0] == 0x82 ? 4 : 3;
    uint8_t zero = 0;

    switch (isp->command) {
    case COMMAND_GET_PARAMETER:
        loader_reply(isp, &version, 1);
        return;
    case COMMAND_UNIVERSAL:
        loader_reply(isp, &zero, 1);
        return;
    case COMMAND_READ_PAGE:
        loader_read(isp);
        return;
    case COMMAND_READ_SIGN:
        loader_reply(isp, own_signature, sizeof own_signature);
        return;
    case COMMAND_PROG_PAGE:
        isp->sketch_gone = true;
        isp_wait(&isp->port, LOADER_PAGE_TIME);
        break;
    case COMMAND_LEAVE_PROGMODE:
        isp->loader_until = isp->port.now + WATCHDOG_SHORT;
        break;
    default:
        break;
    }
    loader_reply(isp, NULL, 0);
}

static void loader_die(struct arduino_isp *isp)
{
    isp->loader_dead = true;
    isp->loader_until = isp->port.now + WATCHDOG_SHORT;
}

static void loader_page_head(struct arduino_isp *isp)
{
    isp->data_got = 0;
    isp->data_wanted = isp->arguments[1] ? isp->arguments[1] : 256; /* it counts in 8 bits */
}

/* ---- starts ---- */

static void start_sketch(struct arduino_isp *isp, uint64_t now)
{
    isp->phase = isp->sketch_gone ? HUNG : IN_SKETCH;
    isp->in_command = false;
    isp->port.now = now + SKETCH_SETUP;
    isp->dev.rx_depth = SKETCH_DEPTH;
    sketch_start(isp);
}

static void start_loader(struct arduino_isp *isp, uint64_t now)
{
    isp->phase = IN_LOADER;
    isp->to_read = 0;
    isp->loader_dead = false;
    isp->in_command = false;
    isp->port.now = now + LED_FLASHES;
    isp->loader_until = isp->port.now + LOADER_WINDOW;
    isp->dev.rx_depth = LOADER_DEPTH;
}

/* The bootloader stays only after an external reset. */
static void reset(struct vserial *dev, enum vreset cause)
{
    struct arduino_isp *isp = arduino_of(dev);

    isp->awake_at = dev->line->now + OSCILLATOR_START;
    if (cause == VRESET_POWER) { /* the target hangs on the Arduino's supply */
        avr_target_power_on(&isp->port.target);
        isp->messages = 0;
    }
    isp_restart(&isp->port, dev->line);
    if (cause == VRESET_PIN)
        start_loader(isp, isp->awake_at);
    else
        start_sketch(isp, isp->awake_at);
}

/* ---- commands, byte by byte ---- */

static size_t arguments_of(const struct arduino_isp *isp, uint8_t command)
{
    switch (command) {
    case COMMAND_GET_PARAMETER:
        return 1;
    case COMMAND_SET_DEVICE:
        return 20;
    case COMMAND_SET_DEVICE_EXT:
        return 5;
    case COMMAND_LOAD_ADDRESS:
        return 2;
    case COMMAND_UNIVERSAL:
        return 4;
    case COMMAND_PROG_PAGE:
    case COMMAND_READ_PAGE:
        return 3;
    case COMMAND_PROG_FLASH:
        return isp->phase == IN_SKETCH ? 2 : 0;
    case COMMAND_PROG_DATA:
        return isp->phase == IN_SKETCH ? 1 : 0;
    default:
        return 0;
    }
}

static void begin_command(struct arduino_isp *isp, uint8_t byte)
{
    if (isp->phase == IN_SKETCH && byte == STK_EOP) {
        sketch_no_sync(isp);
        return;
    }
    isp->in_command = true;
    isp->command = byte;
    isp->wanted = arguments_of(isp, byte);
    isp->got = isp->data_wanted = isp->data_got = 0;
}

static void take_argument(struct arduino_isp *isp, uint8_t byte)
{
    isp->arguments[isp->got++] = byte;
    if (isp->got < isp->wanted || isp->command != COMMAND_PROG_PAGE)
        return;
    if (isp->phase == IN_LOADER)
        loader_page_head(isp);
    else
        isp->in_command = sketch_page_head(isp);
}

static void take_data(struct arduino_isp *isp, uint8_t byte)
{
    if (isp->phase == IN_LOADER)
        isp->data_got++;
    else
        sketch_page_byte(isp, byte);
}

static void end_command(struct arduino_isp *isp, uint8_t byte)
{
    isp->in_command = false;
    if (isp->phase == IN_LOADER && byte == STK_EOP)
        loader_execute(isp);
    else if (isp->phase == IN_LOADER)
        loader_die(isp);
    else if (byte == STK_EOP)
        sketch_execute(isp);
    else
        sketch_no_sync(isp);
}

static void take(struct arduino_isp *isp, uint8_t byte)
{
    if (!isp->in_command)
        begin_command(isp, byte);
    else if (isp->got < isp->wanted)
        take_argument(isp, byte);
    else if (isp->data_got < isp->data_wanted)
        take_data(isp, byte);
    else
        end_command(isp, byte);
}

/* Says what is due; a READ_PAGE then goes on. */
static void speak(struct arduino_isp *isp)
{
    do {
        sketch_read_on(isp);
        isp_tick(&isp->port, isp->dev.line);
    } while (isp->to_read && isp->port.answer_count == 0);
}

static void receive(struct vserial *dev, uint8_t byte)
{
    struct arduino_isp *isp = arduino_of(dev);

    if (dev->line->now < isp->awake_at || isp->phase == HUNG ||
        (isp->phase == IN_LOADER && isp->loader_dead))
        return;
    isp_begin(&isp->port, dev->line);
    if (isp->phase == IN_LOADER && !dev->line->framing_error)
        isp->loader_until = isp->port.now + LOADER_WINDOW;
    take(isp, byte);
    speak(isp);
}

/* ---- the line ---- */

static uint64_t next(const struct vserial *dev)
{
    const struct arduino_isp *isp = (const struct arduino_isp *)dev;
    uint64_t moment = isp_next(&isp->port, dev->line);

    if (isp->phase == IN_LOADER && isp->loader_until < moment)
        return isp->loader_until;
    return moment;
}

static void tick(struct vserial *dev)
{
    struct arduino_isp *isp = arduino_of(dev);

    speak(isp);
    if (isp->phase == IN_LOADER && dev->line->now >= isp->loader_until)
        start_sketch(isp, dev->line->now);
}

static bool busy(const struct vserial *dev)
{
    const struct arduino_isp *isp = (const struct arduino_isp *)dev;

    return dev->line->now >= isp->awake_at && (isp->to_read || isp_busy(&isp->port, dev->line));
}

static void destroy(struct vserial *dev)
{
    free(arduino_of(dev));
}

static const struct vserial_ops ops = {
    .reset = reset,
    .receive = receive,
    .next = next,
    .tick = tick,
    .busy = busy,
    .destroy = destroy,
};

static bool variant_known(const char *variant)
{
    return !variant || strcmp(variant, "arduino-isp") == 0 || strcmp(variant, "capacitor") == 0;
}

static struct vserial *create(const struct vconfig *config)
{
    struct arduino_isp *isp = calloc(1, sizeof *isp);

    if (!isp || !variant_known(config->variant) || !avr_target_init(&isp->port.target, config)) {
        fprintf(stderr, "vboard: no ArduinoISP '%s' for %s\n",
                config->variant ? config->variant : "arduino-isp", config->chip->name);
        free(isp);
        return NULL;
    }
    isp->dev = (struct vserial){.ops = &ops, .baud = 19200};
    isp->dev.reset_on_dtr = !config->variant || strcmp(config->variant, "capacitor") != 0;
    isp->faults = config->faults;
    start_sketch(isp, 0);
    return &isp->dev;
}

const struct vmodel vmodel_arduino_isp = {
    .name = "arduino-isp",
    .method = "isp",
    .chips = avr_target_chips,
    .baud = 19200,
    .fresh = true,
    .proof = "avrdude -c stk500v1 -b 19200",
    .create = create,
};
