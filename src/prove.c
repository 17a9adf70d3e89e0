/*
 * A board is proven when the firmware that was written answers and says that it is that build.
 *
 * Boards that reset on DTR are asked on the port that is still open: opening it again would start
 * their bootloader, and a question would keep them in it.
 */
#include "prove.h"

#include <stdio.h>

#include "base/text.h"
#include "bridge.h"
#include "enter.h"
#include "klipper/can.h"
#include "klipper/klipper.h"

enum {
    PATIENCE_US = 10 * SECOND,  /* from the start until the application answers */
    AGAIN_US = 50 * MILLISECOND /* between two tries */
};

static uint32_t baud_of(const struct klipper_facts *klipper)
{
    return klipper->serial_baud ? klipper->serial_baud : KLIPPER_BAUD;
}

/* The port at the application's rate: the one that is open, or the one that came back where the
 * board is. */
static int open_application(struct engine *engine, const struct klipper_facts *klipper,
                            struct error *err)
{
    struct serial_settings settings = {
        .baud = baud_of(klipper), .parity = PARITY_NONE, .stop_bits = 1};
    if (engine->session.serial)
        return serial_configure(engine->session.serial, &settings, err);
    if (!enter_refind(engine))
        return error_set(err, ERR_NO_ANSWER, "no serial port came back at %s",
                         engine->target.place);
    return serial_open(&engine->session.serial, engine->target.device, &settings, engine->trace,
                       err);
}

/* A port that resets its board when it is opened, and a bus, are not let go meanwhile. */
static bool stays_on_link(const struct engine *engine)
{
    return text_has_word(engine->target.loader->enter, "dtr") ||
           engine->target.method->link == LINK_CAN;
}

/* On the conversation that flashed it. */
static int ask_node(struct engine *engine, struct klipper_facts *answer, struct error *err)
{
    struct session *session = &engine->session;
    if (!session->can && can_open(&session->can, engine->target.interface, engine->trace, err))
        return error_status(err);
    return can_klipper_identify(session->can, engine->target.uuid, answer, err);
}

static int ask_on_port(struct engine *engine, const struct klipper_facts *wanted,
                       struct klipper_facts *answer, struct error *err)
{
    int status = open_application(engine, wanted, err);
    return status ? status : klipper_identify(engine->session.serial, answer, err);
}

bool prove_over_usb(const struct engine *engine, const struct klipper_facts *wanted)
{
    return wanted->can_bitrate && engine->target.method->link != LINK_CAN;
}

int prove_ask(struct engine *engine, const struct klipper_facts *wanted,
              struct klipper_facts *answer, struct error *err)
{
    return wanted->can_bitrate ? ask_node(engine, answer, err)
                               : ask_on_port(engine, wanted, answer, err);
}

static int ask(struct engine *engine, const struct klipper_facts *wanted,
               struct klipper_facts *answer, struct error *err)
{
    bool stays_open = stays_on_link(engine);
    uint64_t deadline = clock_in(engine->session.clock, PATIENCE_US);
    for (;;) {
        int status = prove_over_usb(engine, wanted)
                         ? bridge_identify(engine, wanted, deadline, answer, err)
                         : prove_ask(engine, wanted, answer, err);
        if (!status)
            return OK;
        if (engine->stop && *engine->stop)
            return session_interrupted(err);
        struct clock *clock = engine->session.clock;
        if (clock_now(clock) >= deadline)
            return status;
        if (!stays_open || status == ERR_GONE)
            engine_close_link(engine);
        clock = engine->session.clock;
        clock->sleep_until(clock, clock_in(clock, AGAIN_US));
    }
}

static int report_silence(struct engine *engine, const struct klipper_facts *wanted,
                          struct error *err)
{
    engine->result.proven = TRI_FALSE;
    if (engine->result.verified == TRI_TRUE && err->code != ERR_INTERRUPTED) {
        char text[ERROR_MESSAGE_MAX + 256];
        (void)snprintf(text, sizeof text, "not proven: Klipper %s does not answer (%s)",
                       wanted->version, err->message);
        if (engine->events.note)
            engine->events.note(engine->events.user, text);
        error_clear(err);
        return OK;
    }
    return error_context(err, "Klipper %s was written but does not answer", wanted->version);
}

int prove_klipper(struct engine *engine, const struct plan *plan, struct error *err)
{
    const struct klipper_facts *wanted = &plan->image->klipper;
    struct klipper_facts answer = {0};
    engine->target.method->disconnect(&engine->session);
    engine->connected = false;
    if (!stays_on_link(engine))
        engine_close_link(engine);
    if (ask(engine, wanted, &answer, err))
        return report_silence(engine, wanted, err);
    if (klipper_same(wanted, &answer)) {
        engine->result.proven = TRI_TRUE;
        return OK;
    }
    engine->result.proven = TRI_FALSE;
    return error_set(err, ERR_VERIFY, "Klipper %s for %s answers, not the %s that was written",
                     answer.version, answer.mcu, wanted->version);
}
