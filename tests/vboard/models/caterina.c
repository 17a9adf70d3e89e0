/*
 * Caterina, the loader of the Leonardo and its kin (Atmel AVR109 over USB CDC).
 *
 * Two things to know: after a command the rest of its USB packet is thrown away; and the board is
 * two USB devices, loader and application, of which one leaves the bus when the other comes.
 */
#include <string.h>

#include "boot.h"
#include "caterina.h"
#include "flash.h"

enum {
    STAY = 8 * SECOND, /* then the application, if there is one */
    EXIT_WAIT = 500 * MILLISECOND,
    TOUCH_WAIT = 120 * MILLISECOND,  /* watchdog that the application arms at 1200 baud */
    ENUMERATION = 500 * MILLISECOND, /* off the bus between loader and application */
    OWN_SECTION = 0x1000,
};

/* ---- life ---- */

static void enter_loader(struct caterina *c, uint64_t at)
{
    c->state = CATERINA_LOADER;
    c->until = UINT64_MAX;
    c->in_command = false;
    c->address = 0;
    c->stay_from = at;
    memset(c->page, 0xff, sizeof c->page);
}

static bool has_application(const struct caterina *c)
{
    return vmemory_byte(&c->boot.flash, 0) != 0xff || vmemory_byte(&c->boot.flash, 1) != 0xff;
}

static void restart(struct caterina *c, bool loader)
{
    struct vline *line = c->boot.serial.line;
    uint64_t back = boot_now(&c->boot) + ENUMERATION;
    if (line && line->detach)
        line->detach(line, back);
    c->until = UINT64_MAX;
    if (!c->boot.broken && (loader || !has_application(c)))
        enter_loader(c, back);
    else
        c->state = CATERINA_APPLICATION;
}

/* Only the reset pin leads into the loader; the application's own way is the watchdog with a key,
 * which restart() takes directly. */
static void caterina_reset(struct vserial *dev, enum vreset cause)
{
    struct caterina *c = (struct caterina *)dev;
    if (!c->fresh || cause != VRESET_POWER)
        restart(c, cause == VRESET_PIN);
    c->fresh = false;
}

static void caterina_lines(struct vserial *dev, bool dtr, bool rts, uint32_t baud)
{
    (void)rts;
    struct caterina *c = (struct caterina *)dev;
    c->fresh = false;
    if (c->state == CATERINA_APPLICATION && c->knows_touch && !dtr && baud == 1200) {
        c->state = CATERINA_TOUCHED;
        c->until = boot_now(&c->boot) + TOUCH_WAIT;
    } else if (c->state == CATERINA_TOUCHED && (dtr || baud != 1200)) {
        c->state = CATERINA_APPLICATION;
        c->until = UINT64_MAX;
    }
}

/* ---- time ---- */

static uint64_t stay_until(const struct caterina *c)
{
    bool counts = c->state == CATERINA_LOADER && has_application(c);
    return counts ? c->stay_from + STAY : UINT64_MAX;
}

static uint64_t caterina_next(const struct vserial *dev)
{
    const struct caterina *c = (const struct caterina *)dev;
    uint64_t stay = stay_until(c);
    return c->until < stay ? c->until : stay;
}

static void caterina_tick(struct vserial *dev)
{
    struct caterina *c = (struct caterina *)dev;
    uint64_t now = boot_now(&c->boot);
    if (stay_until(c) <= now) {
        restart(c, false);
    } else if (c->until <= now) {
        c->until = UINT64_MAX;
        if (c->state == CATERINA_PROGRAMMING)
            caterina_programmed(c);
        else
            restart(c, c->state == CATERINA_TOUCHED);
    }
}

void caterina_leave(struct caterina *c)
{
    c->state = CATERINA_LEAVING;
    c->until = boot_now(&c->boot) + EXIT_WAIT;
}

static void caterina_receive(struct vserial *dev, uint8_t byte)
{
    struct caterina *c = (struct caterina *)dev;
    c->fresh = false;
    if (c->state == CATERINA_LOADER)
        caterina_hear(c, byte);
}

static bool caterina_busy(const struct vserial *dev)
{
    return ((const struct caterina *)dev)->state == CATERINA_PROGRAMMING;
}

static enum vprogram caterina_runs(const struct vserial *dev)
{
    enum caterina_state state = ((const struct caterina *)dev)->state;
    bool application = state == CATERINA_APPLICATION || state == CATERINA_TOUCHED;
    return application ? VPROGRAM_APPLICATION : VPROGRAM_LOADER;
}

static const struct vserial_ops caterina_ops = {
    .reset = caterina_reset,
    .receive = caterina_receive,
    .next = caterina_next,
    .tick = caterina_tick,
    .lines = caterina_lines,
    .busy = caterina_busy,
    .runs = caterina_runs,
    .destroy = boot_destroy,
};

/* Variant "klipper": the application does not know the 1200-baud touch. */
static struct vserial *caterina_create(const struct vconfig *config)
{
    struct caterina *c = (struct caterina *)boot_create(config, "caterina", sizeof *c, OWN_SECTION,
                                                        0, &caterina_ops);
    if (!c)
        return NULL;
    c->knows_touch = !config->variant || strcmp(config->variant, "klipper") != 0;
    enter_loader(c, 0);
    if (config->app && has_application(c))
        c->state = CATERINA_APPLICATION;
    c->fresh = true;
    return &c->boot.serial;
}

static const char *const chips_caterina[] = {"atmega32u4", NULL};

const struct vmodel vmodel_caterina = {
    .name = "caterina",
    .method = "avr109",
    .chips = chips_caterina,
    .baud = 0,
    .proof = "avrdude -c avr109",
    .create = caterina_create,
};
