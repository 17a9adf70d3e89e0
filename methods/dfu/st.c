/*
 * DfuSe (ST AN3156): commands and data over DNLOAD, by addresses.
 *
 * Block 0 is a command, block n from 2 on is data for pointer + (n - 2) * wTransferSize. So one Set
 * Address serves a whole run of blocks, blank ones are passed over by their number, and the first
 * block of the program, with its vectors, can go last: a half-written board stays in its loader.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "dfu/dfu.h"

enum {
    COMMAND_BLOCK = 0,
    COMMAND_ADDRESS = 0x21,
    COMMAND_ERASE = 0x41,
    COMMAND_UNPROTECT = 0x92,
    ALIGNMENT = 32, /* the longest unit that any STM32 programs at once */
    RETRIES = 2,
    LEAVE_US = 1 * SECOND,
};

/* Of ST's data sheets, at worst and typically, with what a ROM adds. */
static const struct dfu_duration address_takes = {2 * SECOND, 1 * MILLISECOND};
static const struct dfu_duration write_takes = {10 * SECOND, 8 * MILLISECOND};
static const struct dfu_duration erase_all_takes = {70 * SECOND, 1 * SECOND};
static const struct dfu_duration unprotect_takes = {70 * SECOND, 1 * SECOND};

/* 128 KiB: 1 to 4 s; 1 KiB: 20 to 40 ms. */
static struct dfu_duration erase_takes(uint64_t sector)
{
    return (struct dfu_duration){10 * SECOND,
                                 18 * MILLISECOND + sector * 6 /* us a byte on F4's large ones */};
}

/* ---- commands ---- */

static int send_command_once(struct dfu *dfu, const uint8_t *bytes, size_t length,
                             const struct dfu_duration *duration, struct error *err)
{
    struct dfu_status status;
    int rc = dfu_download(&dfu->wire, COMMAND_BLOCK, bytes, length, err);
    return rc == OK ? dfu_await(&dfu->wire, &status, duration, err) : rc;
}

/* Asked too early, a strict device fails; it is known then, and commands can be given again. */
static int send_command(struct dfu *dfu, const uint8_t *bytes, size_t length,
                        const struct dfu_duration *duration, struct error *err)
{
    bool strict = dfu->wire.manners == DFU_STRICT;
    int rc = send_command_once(dfu, bytes, length, duration, err);
    if (rc == OK || strict || dfu->wire.manners != DFU_STRICT)
        return rc;
    rc = dfu_make_idle(&dfu->wire, err);
    return rc == OK ? send_command_once(dfu, bytes, length, duration, err) : rc;
}

static int command_with_address(struct dfu *dfu, uint8_t command, uint64_t address,
                                const struct dfu_duration *duration, struct error *err)
{
    uint8_t bytes[5] = {command};
    put_le32(bytes + 1, (uint32_t)address);
    return send_command(dfu, bytes, sizeof bytes, duration, err);
}

int dfu_st_set_address(struct dfu *dfu, uint64_t address, struct error *err)
{
    int rc = command_with_address(dfu, COMMAND_ADDRESS, address, &address_takes, err);
    return rc == OK ? OK : error_context(err, "setting address 0x%08" PRIx64, address);
}

/* ---- erasing ---- */

static int erase_sector(struct dfu *dfu, const struct span *sector, struct error *err)
{
    const struct dfu_duration duration = erase_takes(sector->size);
    int rc = command_with_address(dfu, COMMAND_ERASE, sector->start, &duration, err);
    return rc == OK ? OK : error_context(err, "erasing 0x%08" PRIx64, sector->start);
}

/* The device's own sectors count, whatever the chip's row says. */
static int erase_range(struct dfu *dfu, const struct span *range, struct error *err)
{
    struct dfu_alternate *alternate = dfu_alternate_for(dfu, range, DFU_ERASABLE);
    int rc = dfu_select(dfu, alternate, err);
    for (uint64_t at = range->start; rc == OK && at < range->start + range->size;) {
        const struct dfu_run *run = dfu_layout_at(&alternate->layout, at);
        const struct span sector = dfu_run_sector(run, at);
        if (session_stopped(dfu->session))
            return session_interrupted(err);
        rc = erase_sector(dfu, &sector, err);
        at = sector.start + sector.size;
    }
    return rc;
}

/* All or nothing: the first memory stays as it is where the device does not have the second. */
static int check_erasable(struct dfu *dfu, const struct span *ranges, size_t count,
                          struct error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!dfu_alternate_for(dfu, &ranges[i], DFU_ERASABLE))
            return dfu_no_memory(dfu, "erased", &ranges[i], err);
    return OK;
}

int dfu_st_erase(struct dfu *dfu, const struct span *ranges, size_t count, struct error *err)
{
    int rc = check_erasable(dfu, ranges, count, err);
    for (size_t i = 0; i < count && rc == OK; i++)
        rc = erase_range(dfu, &ranges[i], err);
    return rc;
}

int dfu_st_erase_all(struct dfu *dfu, struct error *err)
{
    const uint8_t command = COMMAND_ERASE;
    int rc = send_command(dfu, &command, 1, &erase_all_takes, err);
    return rc == OK ? OK : error_context(err, "erasing the chip");
}

/* ---- writing ---- */

/* Blocks of one run of addresses behind one Set Address. */
struct writing {
    struct dfu *dfu;
    const struct image *image;
    uint64_t base, end; /* base: what the pointer is set to */
    size_t size;        /* of a block */
    bool pointed;       /* the pointer is at base */
    uint8_t bytes[DFU_TRANSFER_MAX];
};

static size_t block_length(const struct writing *w, size_t n)
{
    uint64_t left = w->end - (w->base + n * w->size);
    return left < w->size ? (size_t)left : w->size;
}

static int send_block_once(struct writing *w, size_t n, size_t length, struct error *err)
{
    struct dfu_status status;
    int rc = w->pointed ? OK : dfu_st_set_address(w->dfu, w->base, err);
    if (rc != OK)
        return rc;
    w->pointed = true;
    rc = dfu_download(&w->dfu->wire, (uint16_t)(DFU_ST_FIRST + n), w->bytes, length, err);
    return rc == OK ? dfu_await(&w->dfu->wire, &status, &write_takes, err) : rc;
}

/* A device that was asked too early for its taste fails after the work as well as before it: what
 * is there already must not be programmed twice. */
static bool is_there(struct writing *w, size_t n, size_t length)
{
    uint8_t found[DFU_TRANSFER_MAX];
    struct error ignored;
    const uint64_t address = w->base + n * w->size;
    if (w->dfu->described && !(w->dfu->attributes & DFU_CAN_UPLOAD))
        return false;
    return dfu_st_read_run(w->dfu, address, found, length, false, &ignored) == OK &&
           memcmp(found, w->bytes, length) == 0;
}

/* Some ROMs refuse a block at a boundary of their own (512 KiB on F7) until the address is set
 * again: nothing of it was programmed then. */
static int send_block(struct writing *w, size_t n, size_t length, struct error *err)
{
    int rc = send_block_once(w, n, length, err);
    for (int tries = 0; (rc == ERR_STALL || rc == ERR_PROTOCOL) && tries < RETRIES; tries++) {
        w->pointed = false;
        rc = dfu_make_idle(&w->dfu->wire, err);
        if (rc == OK && is_there(w, n, length))
            return OK;
        if (rc == OK)
            rc = dfu_make_idle(&w->dfu->wire, err);
        if (rc == OK)
            rc = send_block_once(w, n, length, err);
    }
    if (rc != OK)
        return error_context(err, "writing 0x%08" PRIx64, w->base + n * w->size);
    return OK;
}

/* A block that holds nothing but FF is there already: its page was erased. */
static int write_block(struct writing *w, size_t n, struct error *err)
{
    size_t length = block_length(w, n);
    size_t payload = image_read(w->image, MEM_FLASH, w->base + n * w->size, w->bytes, length, 0xff);
    int rc = bytes_blank(w->bytes, length, 0xff) ? OK : send_block(w, n, length, err);
    if (rc == OK)
        session_advance(w->dfu->session, payload);
    return rc;
}

static int write_run(struct writing *w, bool first_last, struct error *err)
{
    size_t count = (size_t)((w->end - w->base + w->size - 1) / w->size);
    int rc = OK;
    for (size_t i = 0; i < count && rc == OK; i++) {
        if (session_stopped(w->dfu->session))
            return session_interrupted(err);
        rc = write_block(w, first_last ? (i + 1) % count : i, err);
    }
    return rc;
}

/* The next run of the image from `from` on: segments that lie within one block of each other, in
 * one memory of the device, cut where block numbers end. False: no more. */
static bool next_run(struct dfu *dfu, const struct image *image, uint64_t from, struct span *run)
{
    uint64_t start = 0, end = 0;
    const struct dfu_run *memory = NULL;
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *s = &image->segments[i];
        uint64_t high = s->address + s->length;
        if (s->memory != MEM_FLASH || high <= from)
            continue;
        uint64_t low = s->address > from ? s->address : from;
        const struct span byte = {low, 1};
        const struct dfu_alternate *alternate = dfu_alternate_for(dfu, &byte, DFU_WRITABLE);
        const struct dfu_run *here = alternate ? &alternate->layout.runs[0] : NULL;
        if (end && (low > end + dfu->transfer || here != memory))
            break;
        start = end ? start : low / ALIGNMENT * ALIGNMENT;
        memory = here;
        end = high;
    }
    if (!end)
        return false;
    end = (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    uint64_t most = (uint64_t)DFU_ST_BLOCKS * dfu->transfer;
    *run = (struct span){start, end - start < most ? end - start : most};
    return true;
}

static int write_to_memory(struct dfu *dfu, const struct job *job, const struct span *run,
                           bool first_last, struct error *err)
{
    struct dfu_alternate *alternate = dfu_alternate_for(dfu, run, DFU_WRITABLE);
    if (!alternate)
        return dfu_no_memory(dfu, "written", run, err);
    struct writing *w = malloc(sizeof *w);
    if (!w)
        return error_memory(err);
    *w = (struct writing){.dfu = dfu,
                          .image = job->image,
                          .base = run->start,
                          .end = run->start + run->size,
                          .size = dfu->transfer};
    int rc = dfu_select(dfu, alternate, err);
    if (rc == OK)
        rc = write_run(w, first_last, err);
    free(w);
    return rc;
}

int dfu_st_write(struct dfu *dfu, const struct job *job, struct error *err)
{
    struct span run, first = {0};
    int rc = OK;
    dfu->unfinished = true;
    bool any = next_run(dfu, job->image, 0, &first);
    /* The run with the vectors last, and in it the block with the vectors. */
    for (uint64_t at = first.start + first.size; any && rc == OK; at = run.start + run.size) {
        if (!next_run(dfu, job->image, at, &run))
            break;
        rc = write_to_memory(dfu, job, &run, false, err);
    }
    if (any && rc == OK)
        rc = write_to_memory(dfu, job, &first, true, err);
    dfu->unfinished = rc != OK;
    return rc;
}

int dfu_st_write_area(struct dfu *dfu, uint64_t address, const uint8_t *bytes, size_t length,
                      struct error *err)
{
    struct dfu_status status;
    int rc = dfu_st_set_address(dfu, address, err);
    if (rc == OK)
        rc = dfu_download(&dfu->wire, DFU_ST_FIRST, bytes, length, err);
    return rc == OK ? dfu_await(&dfu->wire, &status, &write_takes, err) : rc;
}

/* ---- leaving ---- */

static bool is_gone(int rc)
{
    return rc == ERR_GONE || rc == ERR_STALL || rc == ERR_NO_ANSWER || rc == ERR_FAILED;
}

/* The device jumps while it answers, or before: once the request was taken, silence is success. */
int dfu_st_leave(struct dfu *dfu, uint64_t address, struct error *err)
{
    struct dfu_status status;
    const struct span vectors = {address, 8};
    struct dfu_alternate *alternate = dfu_alternate_for(dfu, &vectors, DFU_READABLE);
    int rc = alternate ? dfu_select(dfu, alternate, err) : OK;
    if (rc == OK)
        rc = dfu_make_idle(&dfu->wire, err);
    if (rc == OK)
        rc = dfu_st_set_address(dfu, address, err);
    if (rc == OK)
        rc = dfu_download(&dfu->wire, DFU_ST_FIRST, NULL, 0, err);
    if (rc != OK)
        return rc;
    rc = dfu_status(&dfu->wire, &status, LEAVE_US, err);
    dfu->left = true;
    if (rc == OK && status.state == DFU_ERROR)
        return dfu_refused(&status, err);
    return rc == OK || is_gone(rc) ? OK : rc;
}

int dfu_st_unprotect(struct dfu *dfu, struct error *err)
{
    const uint8_t command = COMMAND_UNPROTECT;
    struct dfu_status status;
    int rc = dfu_make_idle(&dfu->wire, err);
    if (rc == OK)
        rc = dfu_download(&dfu->wire, COMMAND_BLOCK, &command, 1, err);
    if (rc != OK)
        return error_context(err, "removing the read protection");
    rc = dfu_status(&dfu->wire, &status, unprotect_takes.most, err);
    dfu->left = true;
    if (rc == OK && status.state == DFU_ERROR)
        return dfu_refused(&status, err);
    if (rc != OK && !is_gone(rc))
        return rc;
    /* It erases the chip and resets itself. */
    if (rc == OK && !dfu_await_leaving(&dfu->wire, unprotect_takes.most))
        return error_set(err, ERR_NO_ANSWER,
                         "removing the read protection: it is still busy after "
                         "%.0f s",
                         (double)unprotect_takes.most / SECOND);
    return OK;
}
