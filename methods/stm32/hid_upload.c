/*
 * Writing over the STM32 HID bootloader: the image from its first byte on, in KiB of sixteen
 * reports, padded to whole pages. See hid_loader.h.
 *
 * "Reset pages" takes an F1 back to the first page, and pages are erased one by one there: so the
 * first page is written empty, and written again at the end. Its bootloader starts nothing that has
 * no stack pointer. An F4 erases whole sectors, and starts whatever there is: its order stays.
 */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "stm32/hid_loader.h"

enum { RESTARTS = 2 };

struct upload {
    struct hid_loader *hid;
    const struct job *job;
    uint64_t start;
    size_t units;
    uint64_t address;          /* of the KiB under way, for messages */
    size_t sent, acknowledged; /* KiB, and an F1's "reset pages" */
    size_t payload, told;      /* bytes of the image: of this attempt; as progress goes */
};

/* ---- one unit ---- */

/* Hears answers until no more than `behind` are missing. */
static int collect(struct upload *u, size_t behind, struct error *err)
{
    struct hid_loader *hid = u->hid;
    uint64_t patience = hid_is_f1(hid) ? HID_ACK_US : HID_F4_US;
    while (u->sent - u->acknowledged > behind) {
        uint8_t code;
        int rc = hid_hear(hid, &code, clock_in(hid->usb->clock, patience), err);
        if (rc != OK)
            return rc;
        if (code != hid->code)
            return error_set(err, ERR_PROTOCOL, "it acknowledges with code %02x", code);
        u->acknowledged++;
    }
    return OK;
}

/*
 * A host that died may have left an F4 with a part of a KiB, to which "reset pages" became one
 * more, or busy, so that nothing of what was sent counted but the last report. Either way the first
 * answer was not about our first KiB, and a report is left over from it: then the second KiB is
 * full one report early.
 */
static int check_step(struct upload *u, struct error *err)
{
    struct hid_loader *hid = u->hid;
    uint8_t code;
    int rc = hid_flush(hid, err);
    if (rc == OK)
        rc = hid_hear(hid, &code, clock_in(hid->usb->clock, hid->interval + HID_F4_KIB_US), err);
    if (rc == ERR_NO_ANSWER)
        return OK;
    return rc == OK ? error_set(err, ERR_PROTOCOL, "it was not at the beginning of a page") : rc;
}

static bool shows_step(const struct upload *u, uint32_t offset)
{
    return !hid_is_f1(u->hid) && u->address == u->start + HID_KIB && offset == HID_KIB - HID_REPORT;
}

static int send_report(struct upload *u, uint32_t offset, bool blank, struct error *err)
{
    uint8_t report[HID_REPORT];
    const uint8_t erased = u->job->region->erased;
    memset(report, erased, sizeof report);
    if (!blank)
        u->payload +=
            image_read(u->job->image, MEM_FLASH, u->address + offset, report, HID_REPORT, erased);
    int rc = shows_step(u, offset) ? check_step(u, err) : OK;
    return rc == OK ? hid_send(u->hid, report, err) : rc;
}

/* The KiB at u->address, from an offset in it on. An F4 must be left alone while it writes. An F1
 * holds the bus back by itself, so its answer is only wanted by the time the next one is due. */
static int send_kib(struct upload *u, uint32_t from, bool blank, struct error *err)
{
    int rc = OK;
    for (uint32_t offset = from; rc == OK && offset < HID_KIB; offset += HID_REPORT)
        rc = send_report(u, offset, blank, err);
    if (rc == OK)
        rc = hid_flush(u->hid, err);
    u->sent++;
    return rc == OK ? collect(u, hid_is_f1(u->hid) ? 1 : 0, err) : rc;
}

static void tell(struct upload *u)
{
    if (u->payload <= u->told)
        return;
    session_advance(u->hid->session, u->payload - u->told);
    u->told = u->payload;
}

/* Only between two units is the device at a place where a command is one. */
static int send_unit(struct upload *u, size_t n, struct error *err)
{
    if (session_stopped(u->hid->session)) {
        int rc = collect(u, 0, err);
        return rc == OK ? session_interrupted(err) : rc;
    }
    int rc = OK;
    for (uint32_t offset = 0; rc == OK && offset < u->hid->unit; offset += HID_KIB) {
        u->address = u->start + (uint64_t)n * u->hid->unit + offset;
        rc = send_kib(u, 0, false, err);
    }
    if (rc == OK)
        tell(u);
    return rc;
}

/* ---- all of them ---- */

static int rewind_pages(struct upload *u, struct error *err)
{
    int rc = hid_say(u->hid, HID_RESET_PAGES, err);
    u->sent += hid_is_f1(u->hid);
    return rc == OK ? collect(u, 0, err) : rc;
}

/* Half of a page of 2 KiB is the place to ask; the question becomes the first report of the other
 * half. */
static int send_first_empty(struct upload *u, struct error *err)
{
    struct hid_loader *hid = u->hid;
    uint32_t from = 0;
    u->address = u->start;
    int rc = send_kib(u, 0, true, err);
    if (rc != OK || hid->unit == HID_KIB)
        return rc;
    if (hid->doubtful) {
        from = HID_REPORT;
        rc = collect(u, 0, err);
        if (rc == OK)
            rc = hid_prove_build(hid, err);
    }
    u->address += HID_KIB;
    return rc == OK ? send_kib(u, from, true, err) : rc;
}

/* After an odd number of KiB only a build for pages of 1 KiB answers. */
static int rewind_units(struct upload *u, struct error *err)
{
    bool odd = u->units % 2;
    return odd && u->hid->doubtful ? hid_prove_build(u->hid, err) : rewind_pages(u, err);
}

static int send_first_last(struct upload *u, struct error *err)
{
    bool empty = u->units > 1 || u->hid->doubtful;
    int rc = empty ? send_first_empty(u, err) : OK;
    for (size_t n = 1; rc == OK && n < u->units; n++)
        rc = send_unit(u, n, err);
    if (rc == OK)
        rc = collect(u, 0, err);
    if (rc == OK && empty)
        rc = rewind_units(u, err);
    if (rc == OK)
        rc = send_unit(u, 0, err);
    if (rc == OK)
        rc = collect(u, 0, err);
    return rc == OK && u->hid->doubtful ? hid_prove_build(u->hid, err) : rc;
}

static int send_rising(struct upload *u, struct error *err)
{
    /* The second KiB is always sent: it shows whether the device is in step. */
    size_t units = u->units > 1 ? u->units : 2;
    int rc = OK;
    for (size_t n = 0; rc == OK && n < units; n++)
        rc = send_unit(u, n, err);
    return rc;
}

static int attempt(struct upload *u, struct error *err)
{
    u->sent = u->acknowledged = u->payload = 0;
    u->address = u->start;
    int rc = rewind_pages(u, err);
    if (rc != OK)
        return rc;
    return hid_is_f1(u->hid) ? send_first_last(u, err) : send_rising(u, err);
}

static bool may_restart(int rc)
{
    return rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL || rc == ERR_STALL || rc == ERR_FAILED;
}

static int send_all(struct upload *u, struct error *err)
{
    for (unsigned restarts = 0;; restarts++) {
        int rc = attempt(u, err);
        if (!may_restart(rc) || restarts == RESTARTS)
            return rc;
        session_note(u->hid->session, "%s: writing again from the first page", err->message);
        struct error again;
        rc = hid_recover(u->hid, &again);
        if (rc != OK) {
            *err = again;
            return rc;
        }
    }
}

/* ---- before and after ---- */

/* Does the F1 bootloader start what begins with these words? (check_user_code in its main.c) */
static bool f1_starts(uint32_t sp)
{
    return (sp & 0x2ffe0000) == 0x20000000;
}

static int check_stack_pointer(const struct upload *u, struct error *err)
{
    struct session *session = u->hid->session;
    uint8_t word[4];
    (void)image_read(u->job->image, MEM_FLASH, u->start, word, sizeof word, u->job->region->erased);
    uint32_t sp = get_le32(word);
    if (!hid_is_f1(u->hid) || f1_starts(sp))
        return OK;
    if (session->force_vectors) {
        session_note(session,
                     "the stack pointer at 0x%08" PRIx64 " is 0x%08" PRIx32
                     ": this bootloader will not start the program: forced",
                     u->start, sp);
        return OK;
    }
    error_refuse(err, "vectors",
                 "the stack pointer at 0x%08" PRIx64 " is 0x%08" PRIx32
                 ": this bootloader starts only programs whose stack lies in the first 128 KiB of "
                 "RAM",
                 u->start, sp);
    return error_hint(err,
                      "is it an application for this chip, linked for 0x%08" PRIx64
                      "? `--force vectors` writes it all the same",
                      u->start);
}

/* The device begins at its application start, whatever the image does. */
static int place(struct upload *u, struct error *err)
{
    const struct loader *loader = u->hid->session->loader;
    const struct region *flash = u->job->region;
    uint64_t start, end;
    uint32_t own = hid_is_f1(u->hid) ? 0x800 : 0x4000;
    if (flash->memory != MEM_FLASH || !image_extent(u->job->image, MEM_FLASH, &start, &end))
        return error_set(err, ERR_NOT_POSSIBLE, "the image has nothing for the flash");
    u->start = loader && loader->has_start ? loader->start : flash->start + own;
    if (start < u->start || end > flash->start + flash->size)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "0x%08" PRIx64 "..0x%08" PRIx64
                         " cannot be written: this bootloader fills the flash from 0x%08" PRIx64
                         " to 0x%08" PRIx64,
                         start, end - 1, u->start, flash->start + flash->size - 1);
    u->units = (size_t)((end - u->start + u->hid->unit - 1) / u->hid->unit);
    return check_stack_pointer(u, err);
}

static int failed(const struct upload *u, int rc, struct error *err)
{
    if (rc == ERR_REFUSED)
        return rc; /* its hint says more */
    if (rc != ERR_INTERRUPTED)
        error_context(err, "writing 0x%08" PRIx64, u->address);
    if (hid_is_f1(u->hid) && u->units > 1)
        return error_hint(err, "run the same command again: until all is written the board stays "
                               "in its bootloader, also after a reset");
    return error_hint(err, "run the same command again before the board is reset: this bootloader "
                           "starts an incomplete program too, and then only its boot pin brings "
                           "it back");
}

int hid_write(struct session *session, const struct job *job, struct error *err)
{
    struct hid_loader *hid = session->state;
    struct upload u = {.hid = hid, .job = job};
    int rc = place(&u, err);
    if (rc != OK)
        return rc;
    hid->broken = true;
    rc = send_all(&u, err);
    hid->broken = rc != OK;
    hid->wrote = rc == OK;
    return rc == OK ? OK : failed(&u, rc, err);
}
