/*
 * The CAN link, the part that all backends share: a full queue waited out, error frames taken note
 * of, bus-off, ids, tracing. See can.h. Error frames: include/uapi/linux/can/error.h.
 */
#include "link/can.h"

#include <linux/can/error.h>
#include <stdio.h>
#include <string.h>

#include "link/can_backend.h"

enum {
    SEND_DEADLINE = 2 * SECOND,
    /* Between two tries at a full queue. POLLOUT does not tell of room in it; a frame at 1 Mbit/s
     * takes 111 us, and a queue holds ten or more, so the wire does not run dry meanwhile. */
    PAUSE_FIRST = 200,
    PAUSE_LONGEST = 1 * MILLISECOND,
    /* Frames of others that are read past a deadline before it counts: a flood must not hold us. */
    LATE_MAX = 64,
    ERROR_WARNING = 96, /* error counters from here on: ISO 11898-1, error warning limit */
};

int can_open(struct can **can, const char *name, struct trace *trace, struct error *err)
{
    *can = NULL;
    int rc = can_is_unix(name) ? can_unix_open(can, name, err) : can_socket_open(can, name, err);
    if (rc != OK)
        return rc;
    (*can)->trace = trace;
    (*can)->trace_port = trace_add_can(trace, name);
    return OK;
}

void can_close(struct can *can)
{
    if (can)
        can->ops->close(can);
}

int can_listen(struct can *can, const uint16_t *ids, size_t count, struct error *err)
{
    if (count > CAN_LISTEN_MAX)
        return error_set(err, ERR_FAILED, "%s: listening to %zu ids, %d at most", can->name, count,
                         CAN_LISTEN_MAX);
    int rc = can->ops->listen ? can->ops->listen(can, count ? ids : can->ids, count, err) : OK;
    if (rc != OK)
        return rc;
    can->everything = false;
    if (count > 0)
        memcpy(can->ids, ids, count * sizeof *ids);
    can->id_count = count;
    return OK;
}

int can_listen_all(struct can *can, struct error *err)
{
    int rc = can->ops->listen ? can->ops->listen(can, NULL, 0, err) : OK;
    can->everything = rc == OK;
    return rc;
}

/* Flags count: an extended or remote frame of the same number is another one. */
static bool listens_to(const struct can *can, const struct can_frame *frame)
{
    if (frame->len > CAN_MAX_DLEN)
        return false;
    if (can->everything)
        return frame->can_id <= CAN_SFF_MASK;
    for (size_t i = 0; i < can->id_count; i++)
        if (frame->can_id == can->ids[i])
            return true;
    return false;
}

/* ---- what the bus says of itself ---- */

static void note_error_frame(struct can *can, const struct can_frame *frame)
{
    struct can_trouble *trouble = &can->trouble;
    uint8_t controller = frame->can_id & CAN_ERR_CRTL ? frame->data[1] : 0;
    if (frame->can_id & CAN_ERR_RESTARTED)
        can->off = false;
    if (frame->can_id & CAN_ERR_BUSOFF)
        can->off = trouble->bus_off = true;
    if (frame->can_id & CAN_ERR_ACK)
        trouble->no_acknowledge = true;
    if (controller & (CAN_ERR_CRTL_RX_PASSIVE | CAN_ERR_CRTL_TX_PASSIVE))
        trouble->passive = true;
    if (controller & (CAN_ERR_CRTL_RX_OVERFLOW | CAN_ERR_CRTL_TX_OVERFLOW))
        trouble->overflow = true;
    if (frame->can_id & CAN_ERR_CNT) {
        trouble->tx_errors = frame->data[6];
        trouble->rx_errors = frame->data[7];
    }
}

/* The interface as it is now, made worse by what the conversation has seen. */
static void look_at_bus(const struct can *can, struct can_status *status)
{
    if (can_status(status, can->name, NULL) != OK) {
        *status = (struct can_status){.up = true};
        (void)snprintf(status->name, sizeof status->name, "%s", can->name);
    }
    if (can->trouble.bus_off)
        status->state = CAN_BUS_OFF;
    else if (can->trouble.passive && status->state != CAN_BUS_OFF)
        status->state = CAN_BUS_PASSIVE;
    if (can->trouble.tx_errors > status->tx_errors)
        status->tx_errors = can->trouble.tx_errors;
}

static void hint_nobody_there(const struct can_status *status, struct error *err)
{
    char rate[48] = "the bus's bit rate";
    if (status->bitrate)
        (void)snprintf(rate, sizeof rate, "%u bit/s", (unsigned)status->bitrate);
    error_hint(err,
               "nobody on %s acknowledges a frame: no node has power and listens at %s, or a "
               "wire is open; CANH to CANL must measure 60 ohm with the power off",
               status->name, rate);
}

static bool is_sick(const struct can_status *status)
{
    return !status->up || status->state == CAN_BUS_OFF || status->state == CAN_BUS_PASSIVE ||
           status->tx_errors >= ERROR_WARNING;
}

void can_explain_silence(const struct can *can, struct error *err)
{
    struct can_status status;
    char advice[ERROR_HINT_MAX];
    look_at_bus(can, &status);
    if (can->trouble.no_acknowledge && can->received == 0 && !can->trouble.bus_off)
        hint_nobody_there(&status, err);
    else if (is_sick(&status) && can_advice(&status, advice, sizeof advice))
        error_hint(err, "%s", advice);
    else if (can->trouble.overflow)
        error_hint(err,
                   "frames from %s were lost on this side (overflow): is the machine busy, or "
                   "the adapter's firmware old?",
                   can->name);
}

static int bus_is_off(const struct can *can, struct error *err)
{
    error_set(err, ERR_FAILED, "%s: the bus is off: too many frames were destroyed on the wire",
              can->name);
    can_explain_silence(can, err);
    return ERR_FAILED;
}

/* ---- frames ---- */

static void trace_frame(const struct can *can, enum trace_event event,
                        const struct can_frame *frame)
{
    trace_can(can->trace, can->trace_port, event, frame->can_id, frame->data, frame->len);
}

/* Whoever cannot send has no use for what he has not read yet: what of it tells why? */
static void look_for_error_frames(struct can *can)
{
    struct can_frame frame;
    for (int i = 0; i < LATE_MAX; i++) {
        if (can->ops->receive(can, &frame, clock_now(can->clock), NULL) != 1)
            return;
        if (frame.can_id & CAN_ERR_FLAG)
            note_error_frame(can, &frame);
    }
}

static int queue_stays_full(struct can *can, uint16_t id, struct error *err)
{
    error_set(err, ERR_NO_ANSWER,
              "%s: sending to %03x: no frame has left the transmit queue for %d s", can->name,
              (unsigned)id, SEND_DEADLINE / SECOND);
    error_hint(err, "is the bus connected, powered and terminated?");
    look_for_error_frames(can);
    can_explain_silence(can, err);
    return ERR_NO_ANSWER;
}

int can_send(struct can *can, uint16_t id, const uint8_t *bytes, size_t length, struct error *err)
{
    struct can_frame frame = {.can_id = id};
    if (length > sizeof frame.data || id > CAN_SFF_MASK)
        return error_set(err, ERR_FAILED, "%s: %zu bytes to %x are no frame", can->name, length,
                         (unsigned)id);
    frame.len = (uint8_t)length;
    if (length > 0)
        memcpy(frame.data, bytes, length);
    if (can->off)
        return bus_is_off(can, err);
    uint64_t deadline = clock_in(can->clock, SEND_DEADLINE), pause = PAUSE_FIRST;
    for (;;) {
        int rc = can->ops->send(can, &frame, err);
        if (rc > 0)
            trace_frame(can, TRACE_SENT, &frame);
        if (rc != 0)
            return rc > 0 ? OK : rc;
        if (clock_now(can->clock) >= deadline)
            return queue_stays_full(can, id, err);
        can->clock->sleep_until(can->clock, clock_in(can->clock, pause));
        pause = 2 * pause < PAUSE_LONGEST ? 2 * pause : PAUSE_LONGEST;
    }
}

int can_receive(struct can *can, struct can_frame *frame, uint64_t deadline, struct error *err)
{
    for (int late = 0; late < LATE_MAX;) {
        /* While the bus is off nothing comes but the news that it is on again. */
        int rc = can->ops->receive(can, frame, can->off ? clock_now(can->clock) : deadline, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            return can->off ? bus_is_off(can, err) : 0;
        if (frame->can_id & CAN_ERR_FLAG) {
            trace_frame(can, TRACE_RECEIVED, frame);
            note_error_frame(can, frame);
            if (frame->can_id & CAN_ERR_BUSOFF)
                return bus_is_off(can, err);
        } else if (listens_to(can, frame)) {
            trace_frame(can, TRACE_RECEIVED, frame);
            can->received++;
            return 1;
        }
        late += clock_now(can->clock) >= deadline;
    }
    return 0;
}
