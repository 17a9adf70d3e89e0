/* From an interface to a memory of the board's chip: run-time applications are sent away, the right
 * alternate is chosen, and other chips are refused. See dfu.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dfu/dfu.h"

enum {
    MAPLE_LOW = 2,  /* alternate for programs at 08002000 */
    MAPLE_HIGH = 1, /* at 08005000 */
    MAPLE_HIGH_START = 0x08005000,
    LEAVING_US = 1 * SECOND, /* beyond the time that it takes for itself */
};

/* An application in run-time mode: DFU 1.1 §5.1. What comes back is the loader, or who knows what:
 * it has gone first, so that the wait for its return does not meet it on its way out. */
static int send_away(struct dfu *dfu, struct error *err)
{
    uint16_t milliseconds = dfu->detach_timeout < 1000 ? dfu->detach_timeout : 1000;
    const uint64_t patience = (uint64_t)milliseconds * MILLISECOND + LEAVING_US;
    int rc = dfu_detach(&dfu->wire, milliseconds, err);
    if (rc == OK && !(dfu->attributes & DFU_WILL_DETACH))
        rc = usb_reset(dfu->wire.usb, err);
    if (rc == ERR_PERMISSION || rc == ERR_STALL)
        return error_context(err, "asking the application for DFU mode");
    if (rc == OK && !dfu_await_leaving(&dfu->wire, patience)) {
        error_set(err, ERR_NO_ANSWER, "the application was asked to leave for DFU mode, and stays");
        return error_hint(err, "reset the board, or bring it into DFU mode by hand");
    }
    dfu->session->comes_back = true;
    return error_set(err, ERR_GONE, "the application was asked to leave for DFU mode");
}

static struct dfu_alternate *alternate_numbered(struct dfu *dfu, uint64_t number)
{
    for (size_t i = 0; i < dfu->count; i++)
        if (dfu->alternates[i].number == number)
            return &dfu->alternates[i];
    return NULL;
}

/* The board's `alt`, else the one that holds its programs. */
static struct dfu_alternate *choose(struct dfu *dfu)
{
    const struct loader *loader = dfu->session->loader;
    const struct region *flash = &dfu->session->chip->regions[0];
    const struct span first = {loader->has_start ? loader->start : flash->start, 1};
    if (loader_setting(loader, "alt"))
        return alternate_numbered(dfu, loader_number(loader, "alt", 0));
    if (dfu->kind == DFU_MAPLE)
        return alternate_numbered(dfu, loader->start == MAPLE_HIGH_START ? MAPLE_HIGH : MAPLE_LOW);
    struct dfu_alternate *mapped = dfu_alternate_for(dfu, &first, DFU_READABLE);
    return mapped || dfu->kind == DFU_ST ? mapped : &dfu->alternates[0];
}

static int report_no_memory(struct dfu *dfu, struct error *err)
{
    error_refuse(err, "signature", "the device has no memory for %s where %s has its programs",
                 dfu->session->method->name, dfu->session->chip->name);
    return dfu_hint_memories(dfu, err);
}

/* The board file knows better than a device that describes itself wrongly. */
static int override_layout(struct dfu *dfu, struct error *err)
{
    const char *layout = loader_setting(dfu->session->loader, "layout");
    if (!layout)
        return OK;
    struct dfu_alternate *alternate =
        alternate_numbered(dfu, loader_number(dfu->session->loader, "alt", 0));
    if (!alternate || !dfu_layout_parse(layout, &alternate->layout))
        return error_set(err, ERR_BOARDS_FILE, "layout = %s: that is no memory layout", layout);
    alternate->mapped = true;
    return OK;
}

/* ---- is it the board's chip? ---- */

/* Address of the first sector that the device divides otherwise than the chip; UINT64_MAX if they
 * agree as far as both go. */
static uint64_t first_odd_sector(const struct dfu_layout *layout, const struct region *flash)
{
    uint64_t end = flash->start + flash->size;
    for (uint64_t at = flash->start; at < end;) {
        const struct dfu_run *run = dfu_layout_at(layout, at);
        if (!run)
            return at == flash->start ? at : UINT64_MAX; /* a smaller part of the family */
        const struct span theirs = dfu_run_sector(run, at), ours = region_sector(flash, at);
        if (theirs.start != ours.start || theirs.size != ours.size)
            return at;
        at += ours.size;
    }
    return UINT64_MAX;
}

static int check_chip(struct dfu *dfu, struct error *err)
{
    const struct session *session = dfu->session;
    const struct region *flash = &session->chip->regions[0];
    const struct dfu_alternate *alternate = dfu->selected;
    if (!alternate->mapped || loader_setting(session->loader, "layout"))
        return OK;
    uint64_t odd = first_odd_sector(&alternate->layout, flash);
    if (odd == UINT64_MAX)
        return OK;
    if (dfu->lies) {
        session_note(dfu->session,
                     "this GD32 (serial number %s) does not tell its size, and tells its sectors "
                     "otherwise than %s has them at 0x%08" PRIx64 ": not checked",
                     dfu->serial, session->chip->name, odd);
        return OK;
    }
    if (session->force_signature) {
        session_note(dfu->session, "the device's flash is not divided as that of %s: forced",
                     session->chip->name);
        return OK;
    }
    error_refuse(err, "signature",
                 "the device is no %s: its flash (%s) is divided otherwise at 0x%08" PRIx64,
                 session->chip->name, alternate->description, odd);
    return error_hint(err, "name the right board with --board, or the right chip with --chip; "
                           "`--force signature` goes on regardless");
}

/* The board's other regions, of which the device may have more or less, must be divided as it says:
 * erasing by larger sectors than the plan knows would take what lies beside. */
static int check_regions(struct dfu *dfu, struct error *err)
{
    const struct loader *loader = dfu->session->loader;
    for (size_t i = 0; i < loader->region_count; i++) {
        const struct region *region = &loader->regions[i];
        const struct span first = {region->start, 1};
        const struct dfu_alternate *alternate = dfu_alternate_for(dfu, &first, DFU_ERASABLE);
        uint64_t odd = alternate ? first_odd_sector(&alternate->layout, region) : UINT64_MAX;
        if (odd == UINT64_MAX)
            continue;
        error_refuse(err, "size",
                     "the device divides the region %s otherwise at 0x%08" PRIx64 ": %s",
                     region->name, odd, alternate->description);
        return error_hint(err, "correct the sector of region.%s in the boards file, or of --region",
                          region->name);
    }
    return OK;
}

int dfu_open(struct dfu *dfu, struct error *err)
{
    bool runtime;
    int rc = dfu_describe(dfu, &runtime, err);
    if (rc == OK)
        rc = usb_claim(dfu->wire.usb, dfu->wire.interface, err);
    if (rc == OK && runtime)
        return send_away(dfu, err);
    if (rc == OK)
        dfu_gd32_mend(dfu);
    if (rc == OK)
        rc = override_layout(dfu, err);
    if (rc != OK)
        return rc;
    struct dfu_alternate *alternate = choose(dfu);
    if (!alternate)
        return report_no_memory(dfu, err);
    rc = dfu_select(dfu, alternate, err);
    /* An earlier host had ended its image and left it at that: who comes back is to be seen. */
    dfu->session->comes_back = rc == ERR_GONE && dfu->wire.reset;
    if (rc == OK)
        rc = check_chip(dfu, err);
    return rc == OK ? check_regions(dfu, err) : rc;
}
