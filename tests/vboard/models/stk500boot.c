/*
 * The Mega 2560's bootloader (Atmel AVR068 as Arduino's stk500boot speaks it). Variant "2011" is
 * the production build of that year.
 *
 * Two things to know: PROGRAM_FLASH erases the page its own counter stands at, not the one it
 * writes; and while it sends or programs nobody looks at the receiver, which holds three bytes.
 */
#include "stk500boot.h"

#include <string.h>

#include "flash.h"

enum {
    FIRST_BYTE = 770 * MILLISECOND, /* then the application, if there is one */
    BYTE_WAIT = 9 * SECOND,
    MONITOR_LINE = 20 * MILLISECOND, /* between two lines of its text */
    EARLY_BYTES = 9,                 /* where builds since 2012 look for the monitor's three `!` */
    UART_115200 = 117647,            /* 16 MHz, U2X, UBRR 16 */
};

static struct stk500boot *stk500boot_of(struct vserial *dev)
{
    return (struct stk500boot *)dev;
}

/* ---- life ---- */

void stk500boot_change(struct stk500boot *s, enum stk500boot_state state, uint64_t until)
{
    s->state = state;
    s->until = until;
}

void stk500boot_listen(struct stk500boot *s)
{
    stk500boot_change(s, LISTENING, boot_now(&s->boot) + BYTE_WAIT);
}

void stk500boot_derail(struct stk500boot *s)
{
    stk500boot_change(s, DERAILED, UINT64_MAX);
}

static void start_program(struct stk500boot *s, uint64_t start_up)
{
    s->parser = (struct v2_parser){.limit = STK500BOOT_BODY, .strict = s->old};
    s->address = s->erase_address = 0;
    s->heard = s->marks = 0;
    stk500boot_change(s, STARTING, boot_now(&s->boot) + start_up);
}

/* Blank flash runs up to the loader again. */
static void start_application(struct stk500boot *s)
{
    if (s->boot.broken || !boot_application_blank(&s->boot))
        stk500boot_change(s, APPLICATION, UINT64_MAX);
    else
        start_program(s, 0);
}

static void stk500boot_reset(struct vserial *dev, enum vreset cause)
{
    struct stk500boot *s = stk500boot_of(dev);
    if (cause == VRESET_WATCHDOG || s->boot.broken)
        start_application(s);
    else
        start_program(s, BOOT_START_UP);
}

static void no_first_byte(struct stk500boot *s)
{
    bool blank = vmemory_byte(&s->boot.flash, 0) == 0xff && vmemory_byte(&s->boot.flash, 1) == 0xff;
    if (blank)
        s->until = UINT64_MAX; /* it goes on waiting */
    else
        start_application(s);
}

/* ---- reception ---- */

static void monitor_line(struct stk500boot *s)
{
    static const char text[] = "\r\nMonitor of the bootloader >";
    boot_send(&s->boot, (const uint8_t *)text, sizeof text - 1);
    stk500boot_change(s, MONITOR, boot_now(&s->boot) + MONITOR_LINE);
}

/* True if this byte is the third `!` in a row where the build looks for it. */
static bool opens_monitor(struct stk500boot *s, uint8_t byte)
{
    s->heard++;
    s->marks = byte == '!' ? s->marks + 1 : 0;
    return s->marks == 3 && (s->old || s->heard <= EARLY_BYTES);
}

static void stk500boot_receive(struct vserial *dev, uint8_t byte)
{
    struct stk500boot *s = stk500boot_of(dev);
    if (s->state != FIRST && s->state != LISTENING)
        return;
    stk500boot_listen(s);
    if (opens_monitor(s, byte)) {
        monitor_line(s);
        return;
    }
    enum v2_heard heard = v2_hear(&s->parser, byte);
    if (heard == V2_DERAILED)
        stk500boot_derail(s);
    else if (heard == V2_FRAME)
        stk500boot_execute(s);
}

static bool stk500boot_busy(const struct vserial *dev)
{
    const struct stk500boot *s = (const struct stk500boot *)dev;
    return s->state == PROGRAMMING || s->state == LEAVING || boot_sending(&s->boot);
}

/* ---- time ---- */

static uint64_t stk500boot_next(const struct vserial *dev)
{
    return ((const struct stk500boot *)dev)->until;
}

static void stk500boot_tick(struct vserial *dev)
{
    struct stk500boot *s = stk500boot_of(dev);
    if (s->until > boot_now(&s->boot))
        return;
    switch (s->state) {
    case STARTING:
        stk500boot_change(s, FIRST, s->until + FIRST_BYTE);
        break;
    case FIRST:
        no_first_byte(s);
        break;
    case PROGRAMMING:
        stk500boot_programmed(s);
        break;
    case MONITOR:
        monitor_line(s);
        break;
    case LISTENING:
    case LEAVING:
        start_application(s);
        break;
    default:
        s->until = UINT64_MAX;
        break;
    }
}

static const struct vserial_ops stk500boot_ops = {
    .reset = stk500boot_reset,
    .receive = stk500boot_receive,
    .next = stk500boot_next,
    .tick = stk500boot_tick,
    .busy = stk500boot_busy,
    .destroy = boot_destroy,
};

static struct vserial *stk500boot_create(const struct vconfig *config)
{
    struct stk500boot *s = (struct stk500boot *)boot_create(
        config, "stk500boot", sizeof *s, STK500BOOT_SECTION, UART_115200, &stk500boot_ops);
    if (!s)
        return NULL;
    s->old = config->variant && !strcmp(config->variant, "2011");
    if (config->app)
        start_application(s);
    else
        start_program(s, BOOT_START_UP);
    return &s->boot.serial;
}

static const char *const chips_stk500boot[] = {"atmega2560", NULL};

const struct vmodel vmodel_stk500boot = {
    .name = "stk500boot",
    .method = "stk500v2",
    .chips = chips_stk500boot,
    .baud = 115200,
    .proof = "avrdude -c wiring, and the real firmware in simavr",
    .create = stk500boot_create,
};
