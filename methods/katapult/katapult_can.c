/*
 * Katapult on a CAN bus (Arksine/katapult, protocol.md and src/generic/canserial.c). See
 * can_node.h.
 *
 * A node that is there already is never asked anything else; only where no Katapult answers, a
 * running Klipper is asked for it. Nothing tells when it is there: it is given its id and asked
 * again until it answers.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/text.h"
#include "katapult/can_node.h"

enum {
    RETURN_US = 3 * SECOND, /* from the request until Katapult listens: 10 to 600 ms */
    ABSENT_US = SECOND / 2, /* the same where nobody was asked */
    FULL_US = 600 * SECOND, /* as long as a full bus is waited out */
};

static struct can_node *node_of(const struct session *session)
{
    return session->state;
}

static void can_disconnect(struct session *session)
{
    struct can_node *c = node_of(session);
    if (c)
        can_node_close(c);
    free(c);
    session->state = NULL;
}

static bool nobody(int rc)
{
    return rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL;
}

/* Gives the node its id and asks, again and again: whoever comes back has neither heard. */
static int greet_until(struct can_node *c, uint64_t patience, struct error *err)
{
    struct clock *clock = c->can->clock;
    uint64_t deadline = clock_in(clock, patience), end = clock_in(clock, FULL_US);
    int rc;
    do {
        if (session_stopped(c->node.session))
            return session_interrupted(err);
        rc = can_node_greet(c, err);
    } while (nobody(rc) &&
             (clock_now(clock) < deadline || (clock_now(clock) < end && can_node_bus_is_full(c))));
    return rc;
}

static bool may_ask(const struct can_node *c)
{
    const struct loader *loader = c->node.session->loader;
    return loader && text_has_word(loader->enter, "klipper-can");
}

static int find(struct can_node *c, struct error *err)
{
    int rc = can_node_greet(c, err);
    if (!nobody(rc))
        return rc;
    if (may_ask(c) && can_admin_request_bootloader(c->can, c->uuid, err))
        return error_status(err);
    return greet_until(c, may_ask(c) ? RETURN_US : ABSENT_US, err);
}

/* ---- nobody answered ---- */

static int report_nobody(struct can_node *c, struct error *err)
{
    switch (can_node_who(c)) {
    case CAN_TAG_KATAPULT:
        error_set(err, ERR_NO_ANSWER,
                  "Katapult is there and tells its UUID, but answers no packet: it is stuck");
        return error_hint(err, "after a lost frame, or bytes of another program, only a reset "
                               "helps: switch the board off and on");
    case CAN_TAG_KLIPPER:
        error_set(err, ERR_NO_ANSWER,
                  "Klipper runs there, and came back when it was asked for its "
                  "bootloader: there is no Katapult on this board");
        return error_hint(err, "press RESET twice within half a second; if that changes nothing, "
                               "install Katapult first (`mflash bootloader`)");
    default:
        error_set(err, ERR_NO_ANSWER, "no Katapult answered, and nobody with that UUID");
        error_hint(err, "compare the UUID with the board's, and its power and wiring; press RESET "
                        "twice within half a second; Katapult must be built for CAN, at this bus's "
                        "bit rate");
        can_explain_silence(c->can, err);
        return error_status(err);
    }
}

/* ---- connecting ---- */

/* A Klipper host gives ids and sends what wedges Katapult. */
static int refuse_company(const struct session *session, struct error *err)
{
    char holder[128];
    if (!can_holder(session->can->name, holder, sizeof holder))
        return OK;
    error_set(err, ERR_BUSY, "%s is in use by %s", session->can->name, holder);
    return error_hint(err, "stop it first (`sudo systemctl stop klipper`): what it sends can take "
                           "the node's id away, or silence its bootloader for good");
}

static int check_identity(struct session *session, struct error *err)
{
    struct can_node *c = node_of(session);
    bool known;
    int rc = can_node_cross_check(c, &known, err);
    if (rc == OK && !known)
        session_note(session, "this Katapult is too old to tell its UUID: that it is the right "
                              "node cannot be checked");
    return rc == OK ? katapult_node_check(&c->node, err) : rc;
}

static int can_connect(struct session *session, struct error *err)
{
    if (!session->uuid)
        return error_set(err, ERR_NO_DEVICE, "which node of %s? Its UUID is needed",
                         session->can->name);
    if (refuse_company(session, err))
        return error_status(err);
    struct can_node *c = calloc(1, sizeof *c);
    if (!c)
        return error_memory(err);
    int rc = can_node_open(c, session->can, session->uuid, err);
    if (rc != OK) {
        free(c);
        return rc;
    }
    session->state = c;
    c->node.session = session;
    /* Only STM32 stop listening while they erase; can2040 works on. */
    c->transport.deaf_in_erase = session->chip->stm32 != NULL;
    rc = find(c, err);
    if (nobody(rc))
        rc = report_nobody(c, err);
    c->patient = true;
    if (rc == OK)
        rc = check_identity(session, err);
    if (rc != OK)
        can_disconnect(session);
    return rc;
}

static int can_info(struct session *session, struct device_info *info, struct error *err)
{
    char text[KLIPPER_UUID_TEXT];
    can_uuid_text(node_of(session)->uuid, text);
    device_info_add(info, "uuid", "%s", text);
    return katapult_node_info(session, info, err);
}

static int can_run(struct session *session, struct error *err)
{
    int rc = katapult_node_run(session, err);
    node_of(session)->left = rc == OK;
    return rc;
}

const struct method method_katapult_can = {
    .name = "katapult-can",
    .summary = "Katapult bootloader on a CAN bus",
    .document = "Katapult protocol.md 1.1",
    .link = LINK_CAN,
    .erase_style = ERASE_BY_WRITE,
    .refusals = katapult_node_refusals,
    .connect = can_connect,
    .info = can_info,
    .erase = katapult_node_erase,
    .write = katapult_node_write,
    .read = katapult_node_read,
    .run = can_run,
    .disconnect = can_disconnect,
};
