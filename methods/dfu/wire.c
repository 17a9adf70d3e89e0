/* See wire.h. */
#include "dfu/wire.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum {
    TO_INTERFACE = 0x21,
    FROM_INTERFACE = 0xa1,

    REQUEST_DETACH = 0,
    REQUEST_DNLOAD = 1,
    REQUEST_UPLOAD = 2,
    REQUEST_GETSTATUS = 3,
    REQUEST_CLRSTATUS = 4,
    REQUEST_ABORT = 6,

    STATUS_BYTES = 6,
    ANSWER_US = 1 * SECOND,
    TRANSFER_US = 5 * SECOND, /* 4096 bytes, and the work that a device does before it answers */
    GARBAGE_US = 5 * MILLISECOND, /* what dfu-util waits where the poll timeout is wrong */
    STALL_US = 3 * MILLISECOND,   /* between two questions to a device that stalls */
    IDLE_ROUNDS = 6,
    IDLE_US = 6 * SECOND, /* an erase that an earlier host began */
    LOOK_US = 20 * MILLISECOND,
    BUSY_ROUNDS = 100000,
};

static struct usb_setup setup(const struct dfu_wire *wire, uint8_t type, uint8_t request,
                              uint16_t value, size_t length)
{
    return (struct usb_setup){type, request, value, wire->interface, (uint16_t)length};
}

static int command(struct dfu_wire *wire, uint8_t request, uint16_t value, struct error *err)
{
    const struct usb_setup s = setup(wire, TO_INTERFACE, request, value, 0);
    ssize_t rc = usb_control(wire->usb, &s, NULL, clock_in(wire->usb->clock, ANSWER_US), err);
    return rc < 0 ? (int)rc : OK;
}

int dfu_abort(struct dfu_wire *wire, struct error *err)
{
    return command(wire, REQUEST_ABORT, 0, err);
}

int dfu_clear(struct dfu_wire *wire, struct error *err)
{
    return command(wire, REQUEST_CLRSTATUS, 0, err);
}

int dfu_detach(struct dfu_wire *wire, uint16_t milliseconds, struct error *err)
{
    return command(wire, REQUEST_DETACH, milliseconds, err);
}

int dfu_status(struct dfu_wire *wire, struct dfu_status *status, uint64_t patience,
               struct error *err)
{
    uint8_t bytes[STATUS_BYTES];
    const struct usb_setup s = setup(wire, FROM_INTERFACE, REQUEST_GETSTATUS, 0, sizeof bytes);
    ssize_t rc = usb_control(wire->usb, &s, bytes, clock_in(wire->usb->clock, patience), err);
    if (rc < 0)
        return (int)rc;
    if (rc != sizeof bytes)
        return error_set(err, ERR_PROTOCOL, "its status has %zd bytes instead of %d", rc,
                         STATUS_BYTES);
    *status = (struct dfu_status){
        .code = bytes[0],
        .poll = bytes[1] | (uint32_t)bytes[2] << 8 | (uint32_t)bytes[3] << 16,
        .state = bytes[4],
    };
    return OK;
}

int dfu_download(struct dfu_wire *wire, uint16_t block, const uint8_t *bytes, size_t length,
                 struct error *err)
{
    const struct usb_setup s = setup(wire, TO_INTERFACE, REQUEST_DNLOAD, block, length);
    uint8_t data[DFU_TRANSFER_MAX]; /* the link's data stage goes both ways */
    if (length > sizeof data)
        return error_set(err, ERR_FAILED, "%zu bytes are no block", length);
    if (length)
        memcpy(data, bytes, length);
    ssize_t rc = usb_control(wire->usb, &s, data, clock_in(wire->usb->clock, TRANSFER_US), err);
    return rc < 0 ? (int)rc : OK;
}

ssize_t dfu_upload(struct dfu_wire *wire, uint16_t block, uint8_t *bytes, size_t max,
                   struct error *err)
{
    const struct usb_setup s = setup(wire, FROM_INTERFACE, REQUEST_UPLOAD, block, max);
    return usb_control(wire->usb, &s, bytes, clock_in(wire->usb->clock, TRANSFER_US), err);
}

/* ---- names ---- */

const char *dfu_state_name(uint8_t state)
{
    static const char *const names[] = {
        "appIDLE",          "appDETACH",   "dfuIDLE",
        "dfuDNLOAD-SYNC",   "dfuDNBUSY",   "dfuDNLOAD-IDLE",
        "dfuMANIFEST-SYNC", "dfuMANIFEST", "dfuMANIFEST-WAIT-RESET",
        "dfuUPLOAD-IDLE",   "dfuERROR",
    };
    return state < sizeof names / sizeof names[0] ? names[state] : "an unknown state";
}

const char *dfu_code_name(uint8_t code)
{
    static const char *const names[] = {
        "OK",      "errTARGET", "errFILE",    "errWRITE",      "errERASE",    "errCHECK_ERASED",
        "errPROG", "errVERIFY", "errADDRESS", "errNOTDONE",    "errFIRMWARE", "errVENDOR",
        "errUSBR", "errPOR",    "errUNKNOWN", "errSTALLEDPKT",
    };
    return code < sizeof names / sizeof names[0] ? names[code] : "an unknown error";
}

int dfu_refused(const struct dfu_status *status, struct error *err)
{
    if (status->code == DFU_ERR_VENDOR) {
        error_set(err, ERR_PROTECTED, "device answered errVENDOR (0x0b): it is protected");
        return error_hint(err, "`mflash unlock` removes read protection (this erases the chip); a "
                               "write-protected sector is opened by `mflash fuses`");
    }
    return error_set(err, ERR_PROTOCOL, "device answered %s (0x%02x) in %s",
                     dfu_code_name(status->code), status->code, dfu_state_name(status->state));
}

static bool is_busy(const struct dfu_status *status)
{
    return status->state == DFU_DNBUSY || status->state == DFU_DNLOAD_SYNC;
}

static void sleep_for(struct dfu_wire *wire, uint64_t microseconds)
{
    struct clock *clock = wire->usb->clock;
    if (microseconds)
        clock->sleep_until(clock, clock_in(clock, microseconds));
}

bool dfu_await_leaving(struct dfu_wire *wire, uint64_t patience)
{
    struct clock *clock = wire->usb->clock;
    uint64_t deadline = clock_in(clock, patience);
    struct dfu_status status;
    struct error err;
    int rc = OK;
    while (rc != ERR_GONE && rc != ERR_FAILED && clock_now(clock) < deadline) {
        sleep_for(wire, LOOK_US);
        rc = dfu_status(wire, &status, LOOK_US, &err);
    }
    return rc == ERR_GONE || rc == ERR_FAILED;
}

/* ---- to dfuIDLE ---- */

/* What leads from a state towards dfuIDLE. CLRSTATUS is sent where it is due and nowhere else: ST's
 * own stack takes it amiss. */
static int towards_idle(struct dfu_wire *wire, const struct dfu_status *status, struct error *err)
{
    uint64_t poll = (uint64_t)status->poll * MILLISECOND;
    int rc;
    switch (status->state) {
    case DFU_ERROR:
        return dfu_clear(wire, err);
    case DFU_MANIFEST_WAIT_RESET: /* §A.2.10: nothing else leads out of it */
        rc = usb_reset(wire->usb, err);
        wire->reset = rc == ERR_GONE;
        return rc;
    case DFU_IDLE:
        return dfu_clear(wire, err); /* a status that is not OK */
    case DFU_DNBUSY:
    case DFU_MANIFEST:
        sleep_for(wire, poll < LOOK_US ? LOOK_US : poll < SECOND ? poll : SECOND);
        return OK;
    default:
        return dfu_abort(wire, err);
    }
}

int dfu_make_idle(struct dfu_wire *wire, struct error *err)
{
    struct clock *clock = wire->usb->clock;
    uint64_t deadline = clock_in(clock, IDLE_US);
    struct dfu_status status = {0};
    int rc = OK;
    for (int round = 0; round < IDLE_ROUNDS && clock_now(clock) < deadline;) {
        rc = dfu_status(wire, &status, ANSWER_US, err);
        if (rc == OK && status.state == DFU_IDLE && status.code == DFU_OK)
            return OK;
        round += rc == OK && !is_busy(&status);
        if (rc == ERR_STALL)
            sleep_for(wire, LOOK_US);
        if (rc == OK)
            rc = towards_idle(wire, &status, err);
        if (rc != OK && rc != ERR_STALL && rc != ERR_NO_ANSWER)
            return rc;
    }
    if (rc == OK)
        error_set(err, ERR_PROTOCOL, "it stays in %s (%s)", dfu_state_name(status.state),
                  dfu_code_name(status.code));
    return error_hint(err, "unplug the board, bring it into its DFU mode again, and repeat");
}

/* ---- waiting for work ---- */

/* The time after which it may be asked again. */
static uint64_t pause_of(const struct dfu_wire *wire, const struct dfu_status *status,
                         const struct dfu_duration *duration)
{
    uint64_t poll = (uint64_t)status->poll * MILLISECOND;
    if (wire->manners == DFU_WITHHOLDS || wire->manners == DFU_UNTRIED)
        return 0;
    if (wire->manners == DFU_TELLS)
        return poll < duration->typical ? poll : duration->typical;
    if (wire->garbage)
        return GARBAGE_US;
    return poll < duration->most ? poll : duration->most; /* hours are no answer */
}

/* Its first early question tells what a device does with one. */
static void learn(struct dfu_wire *wire, int rc, const struct dfu_status *status)
{
    if (rc == OK && status->state == DFU_ERROR && status->code == DFU_ERR_STALLED)
        wire->manners = DFU_STRICT; /* however patient it was before */
    if (wire->manners != DFU_UNTRIED)
        return;
    if (rc == ERR_STALL || (rc == OK && is_busy(status)))
        wire->manners = DFU_TELLS;
    else if (rc == OK && status->state != DFU_ERROR)
        wire->manners = DFU_WITHHOLDS;
}

int dfu_await(struct dfu_wire *wire, struct dfu_status *status, const struct dfu_duration *duration,
              struct error *err)
{
    struct clock *clock = wire->usb->clock;
    uint64_t deadline = clock_in(clock, duration->most);
    int rc = dfu_status(wire, status, duration->most, err);
    bool asked = false;
    for (unsigned round = 0; round < BUSY_ROUNDS; round++) {
        if (rc == OK && !is_busy(status))
            break;
        if (rc != OK && !(rc == ERR_STALL && asked))
            return rc;
        if (clock_now(clock) >= deadline)
            return error_set(err, ERR_NO_ANSWER, "it is still busy after %.1f s",
                             (double)duration->most / SECOND);
        sleep_for(wire, rc == ERR_STALL ? STALL_US : pause_of(wire, status, duration));
        asked = true;
        uint64_t now = clock_now(clock);
        rc = dfu_status(wire, status, deadline > now ? deadline - now : ANSWER_US, err);
        learn(wire, rc, status);
    }
    return rc == OK && status->state == DFU_ERROR ? dfu_refused(status, err) : rc;
}
