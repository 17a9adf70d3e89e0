/*
 * The engine: finds the device, brings it into its bootloader, and executes a plan on it.
 *
 * One engine is one conversation with one device; many boards at once are many engines, each in its
 * own thread, with nothing mutable shared.
 */
#ifndef MFLASH_ENGINE_H
#define MFLASH_ENGINE_H

#include <signal.h>
#include <stdbool.h>

#include "base/error.h"
#include "board/board.h"
#include "link/trace.h"
#include "link/usb.h"
#include "method.h"
#include "plan.h"

/* What is true of the board now; said after every failure. */
enum board_state {
    STATE_UNTOUCHED,  /* nothing was erased or written */
    STATE_BOOTLOADER, /* the bootloader is alive, the application missing or incomplete */
    STATE_UNKNOWN,    /* the device stopped answering in the middle */
    STATE_RUNNING,    /* the application was started */
};

const char *board_state_name(enum board_state state); /* "untouched", "bootloader" … as in JSON */

enum tristate { TRI_NULL = -1, TRI_FALSE = 0, TRI_TRUE = 1 };

struct engine_result {
    size_t bytes;   /* the device accepted */
    size_t skipped; /* were there already */
    enum tristate verified, proven;
    double seconds; /* wall time of everything, on the link's clock */
};

/* What the engine tells while it works. All may be NULL. `total` is in bytes, 0 if unknown. */
struct engine_events {
    void (*phase)(void *user, enum step_kind kind, enum memory memory, size_t total);
    void (*progress)(void *user, size_t done, size_t total);
    /* The phase is over: how many bytes in how many seconds, and a remark ("1 page differed"). */
    void (*phase_done)(void *user, enum step_kind kind, size_t bytes, double seconds,
                       const char *remark);
    void (*note)(void *user, const char *text);
    void *user;
};

/* How the user said which device, by which method. */
struct target_request {
    const struct board *board;
    const char *method;    /* -m, or NULL */
    const char *device;    /* -d or $FLASH_DEVICE, or NULL */
    const char *probe;     /* -p, or NULL */
    const char *interface; /* -i, or NULL */
    const char *uuid;      /* -u, or NULL */
    const char *sysfs;     /* "/sys" */
    bool offline; /* only choose the loader; that no device is there is no error (check, dry-run) */
    /* Loaders that this says yes to are preferred: the image was linked for them. May be NULL. */
    bool (*suits)(const void *context, const struct loader *loader);
    const void *context;
};

struct target {
    const struct board *board;
    const struct loader *loader;
    const struct method *method;
    /* What the method's link opens: a port, "1-1.4", "usbip:…", "can0:UUID"; while only the
     * application of a USB board is there, the port on which it is asked to leave. "" when offline.
     */
    char device[256];
    bool known;               /* the buses know it: the next fields are valid */
    bool in_loader;           /* its id is one of the loader's */
    bool dfu_runtime;         /* its application can be sent into DFU mode */
    char place[USB_NAME_MAX]; /* see presence.h */
    const char *sysfs;
    char probe[256];                  /* -p as given, or "" */
    char interface[CAN_NAME_LONGEST]; /* CAN; else "" */
    uint8_t uuid[CAN_UUID];
    bool bridge; /* a node that is reached over its USB side: see bridge.h */
};

/* Which method, which device: fills `target`, or ERR_NOT_POSSIBLE, ERR_NO_DEVICE (what to do to
 * make it appear, for each method of the board), ERR_AMBIGUOUS (the list). Opens nothing. */
int target_select(struct target *target, const struct target_request *request, struct error *err);

/* True if the target is a node of a CAN bus that is there now: a bridge that waits in its
 * bootloader makes none. */
bool target_has_bus(const struct target *target);

struct engine {
    struct target target;
    struct trace *trace;               /* may be NULL */
    const volatile sig_atomic_t *stop; /* may be NULL */
    struct engine_events events;
    uint32_t baud;         /* --baud, or 0 */
    uint32_t klipper_baud; /* rate of the Klipper that may run there now, or 0 */
    bool force_signature, force_unproven, force_size, force_start, force_vectors, force_blank;
    /* the engine's own from here */
    struct session session;
    enum board_state state;
    bool connected;
    bool arrived; /* the device has come to the bus a moment ago */
    bool started; /* `begun` is valid */
    uint64_t begun;
    struct engine_result result;
    size_t done, total; /* of the phase */
};

/* Brings the board into its bootloader (touch, ask), opens the link, connects and identifies. */
int engine_connect(struct engine *engine, struct error *err);

/*
 * Asks a running Klipper what it is, and leaves it running: no touch, no request for a bootloader,
 * no more than opening its port does. `wanted`: the Klipper of the image, plan_provable(). Not for
 * ports that reset their board when they are opened. Where no USB id tells which program runs, the
 * bootloader is tried first: the question would wedge some. ERR_NO_ANSWER, ERR_PROTOCOL: there is
 * no Klipper; the board may be read through its bootloader instead, and engine->connected says
 * whether that has answered already. CAN: as can_klipper_identify, only where the user wants it.
 */
int engine_ask(struct engine *engine, const struct klipper_facts *wanted,
               struct klipper_facts *answer, struct error *err);

/* Executes the steps of a plan (STEP_ENTER connects if that was not done yet). On failure
 * engine->state says what the board is in, and the link is still open. */
int engine_execute(struct engine *engine, const struct plan *plan, struct error *err);

/* Reads [start, start+length) of a memory into `bytes`, as a phase with progress. */
int engine_read(struct engine *engine, const struct region *region, uint64_t start, uint8_t *bytes,
                size_t length, struct error *err);

/* After a set_fuse over which the device reset (session->comes_back): waits for it and connects. */
int engine_reconnect(struct engine *engine, struct error *err);

/* Closes everything; safe at any point, also twice. Fills engine->result.seconds. */
void engine_close(struct engine *engine);

#endif
