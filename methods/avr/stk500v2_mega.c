/*
 * Writing through the Mega 2560's bootloader (Arduino stk500boot.c).
 *
 * It does not erase the page that it writes: each PROGRAM_FLASH erases the page of a counter of its
 * own, which starts at 0, advances by a page each time, is reset by CHIP_ERASE (which erases
 * nothing) and stops below 0x3c000. So a pass runs from 0 upwards, page by page, without holes, and
 * a pass that went wrong is begun again with CHIP_ERASE: after silence nobody knows the counter.
 *
 * The build of 2011-06-29 enters a monitor at three `!` in a row anywhere in a message. There the
 * third of them is first left erased (FF) and added by a second write of the page, which clears
 * bits only: by then the counter erases pages behind the image.
 */
#include "avr/stk500v2_loader.h"

#include <string.h>

enum {
    PASSES = 3,
    NEVER_ERASED = 0x3c000, /* the loader computes its end from twice the boot size */
};

/* One pass over the flash. */
struct pass {
    struct session *session;
    struct stk500v2_loader *loader;
    const struct job *job; /* NULL: blank pages */
    uint64_t start, end;   /* [start, end), in pages */
    size_t page;
    size_t told;  /* progress that was told, also in earlier passes */
    size_t done;  /* progress of this pass */
    bool touched; /* something was written */
    bool masked;  /* a second write is due */
};

/* Fills `data`; returns how many bytes count as progress. */
static size_t page_data(const struct pass *pass, uint64_t address, uint8_t *data)
{
    if (pass->job)
        return image_read(pass->job->image, MEM_FLASH, address, data, pass->page, 0xff);
    memset(data, 0xff, pass->page);
    return pass->page;
}

/* Replaces the third byte of every `!!!` by the erased value; `rest` gets only those bytes, all
 * else erased. True if there were any. */
static bool mask_monitor_calls(uint8_t *data, uint8_t *rest, size_t length)
{
    bool any = false;
    size_t run = 0;
    memset(rest, 0xff, length);
    for (size_t i = 0; i < length; i++) {
        run = data[i] == '!' ? run + 1 : 0;
        if (run < 3)
            continue;
        rest[i] = '!';
        data[i] = 0xff;
        run = 0;
        any = true;
    }
    return any;
}

/* Resets the erase counter, and learns which build this is. */
static int begin_pass(struct pass *pass, struct error *err)
{
    uint8_t status;
    int rc = stk500v2_chip_erase(pass->loader, STK500V2_REPLY_US, &status, err);
    if (rc != OK)
        return rc;
    if (status != STATUS_CMD_OK && status != STATUS_CMD_FAILED)
        return stk500v2_wrong_status(&pass->loader->link, err);
    pass->loader->strict = status == STATUS_CMD_OK;
    pass->done = 0;
    pass->masked = false;
    return stk500v2_load_address(pass->loader, pass->start, err);
}

static void tell(struct pass *pass, size_t bytes)
{
    pass->done += bytes;
    if (pass->done <= pass->told)
        return;
    session_advance(pass->session, pass->done - pass->told);
    pass->told = pass->done;
}

static int write_pages(struct pass *pass, struct error *err)
{
    uint8_t data[STK500V2_BLOCK], rest[STK500V2_BLOCK];
    for (uint64_t at = pass->start; at < pass->end; at += pass->page) {
        if (session_stopped(pass->session))
            return session_interrupted(err);
        size_t payload = page_data(pass, at, data);
        if (pass->loader->strict && mask_monitor_calls(data, rest, pass->page))
            pass->masked = true;
        pass->touched = true;
        int rc = stk500v2_program(pass->loader, data, pass->page, err);
        if (rc != OK)
            return rc == ERR_INTERRUPTED ? rc : stk500v2_failed_at(err, "writing", at);
        tell(pass, payload);
    }
    return OK;
}

static int add_masked_bytes(struct pass *pass, struct error *err)
{
    uint8_t data[STK500V2_BLOCK], rest[STK500V2_BLOCK];
    for (uint64_t at = pass->start; at < pass->end; at += pass->page) {
        (void)page_data(pass, at, data);
        if (!mask_monitor_calls(data, rest, pass->page))
            continue;
        if (session_stopped(pass->session))
            return session_interrupted(err);
        int rc = stk500v2_load_address(pass->loader, at, err);
        if (rc == OK)
            rc = stk500v2_program(pass->loader, rest, pass->page, err);
        if (rc != OK)
            return stk500v2_failed_at(err, "writing", at);
    }
    return OK;
}

/* With an empty first page the loader stays, whatever else is in the flash: a half-written program
 * never runs. Best effort: the error that led here is what counts. */
static void hold_in_loader(struct pass *pass)
{
    uint8_t blank[STK500V2_BLOCK];
    memset(blank, 0xff, sizeof blank);
    if (stk500v2_settle(pass->loader, NULL) == OK && begin_pass(pass, NULL) == OK)
        (void)stk500v2_program(pass->loader, blank, pass->page, NULL);
}

/* One whole pass. */
static int run_pass(struct pass *pass, struct error *err)
{
    int rc = write_pages(pass, err);
    return rc == OK && pass->masked ? add_masked_bytes(pass, err) : rc;
}

/* After silence in the middle: everything again, if the loader still answers. Else the error in
 * hand stands: it says where the silence began. */
static bool may_begin_again(struct pass *pass, const struct error *why)
{
    if (stk500v2_settle(pass->loader, NULL) != OK || begin_pass(pass, NULL) != OK)
        return false;
    session_note(pass->session, "%s; starting again from the first page", why->message);
    return true;
}

static int run_passes(struct pass *pass, struct error *err)
{
    struct error why = {.code = OK};
    int rc = begin_pass(pass, err);
    if (rc != OK)
        return error_context(err, "resetting the bootloader's erase counter");
    rc = run_pass(pass, &why);
    for (unsigned i = 1; rc == ERR_NO_ANSWER && i < PASSES && may_begin_again(pass, &why); i++)
        rc = run_pass(pass, &why);
    if (rc != OK && rc != ERR_GONE && pass->touched)
        hold_in_loader(pass);
    if (rc != OK && err)
        *err = why;
    return rc;
}

/* Tells what is not as one might expect of this loader. */
static void remarks(const struct pass *pass, uint64_t image_start)
{
    if (image_start >= pass->start + pass->page)
        session_note(pass->session,
                     "everything below 0x%05llx is erased too: this bootloader writes from 0 "
                     "upwards",
                     (unsigned long long)image_start);
    if (pass->end > NEVER_ERASED)
        session_note(pass->session,
                     "this bootloader never erases flash from 0x%05x on: what is there already "
                     "only loses more bits",
                     (unsigned)NEVER_ERASED);
}

int mega_write(struct session *session, const struct job *job, uint64_t end, struct error *err)
{
    const struct region *flash = job ? job->region : chip_region(session->chip, MEM_FLASH);
    struct pass pass = {.session = session, .loader = session->state, .job = job};
    uint64_t image_start = 0;
    if (!flash || flash->page > STK500V2_BLOCK)
        return error_set(err, ERR_FAILED, "%s has no flash in pages of up to %d bytes",
                         session->chip->name, STK500V2_BLOCK);
    if (job && !image_extent(job->image, MEM_FLASH, &image_start, &end))
        return OK;
    pass.page = flash->page;
    pass.start = flash->start;
    pass.end = end + (flash->page - (end - flash->start) % flash->page) % flash->page;
    remarks(&pass, image_start);
    return run_passes(&pass, err);
}
