/*
 * DFU 1.1 without addresses: blocks from 0 on go where the loader puts programs, and stm32duino,
 * which is one of these with rules of its own (STM32duino-bootloader dfu.c):
 *
 *  - the GETSTATUS behind a block erases and programs its page, and answers when that is done; one
 *    more than that, and the next block begins at the start of flash again;
 *  - blocks are placed one behind the other whatever their number is, so all but the last have
 *    wTransferSize bytes, which is the size of a page;
 *  - it leaves by a bus reset in any state but dfuIDLE.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dfu/dfu.h"

enum {
    BLOCKS_MAX = 0xffff,
    MANIFEST_ROUNDS = 20,
};

/* A block may program a large sector; manifestation may check or copy the whole image. */
static const struct dfu_duration block_takes = {10 * SECOND, 50 * MILLISECOND};
static const struct dfu_duration manifest_takes = {20 * SECOND, 100 * MILLISECOND};

static bool is_gone(int rc)
{
    return rc == ERR_GONE || rc == ERR_STALL || rc == ERR_NO_ANSWER || rc == ERR_FAILED;
}

static int send_block(struct dfu *dfu, size_t n, const uint8_t *bytes, size_t length,
                      struct error *err)
{
    struct dfu_status status;
    int rc = dfu_download(&dfu->wire, (uint16_t)n, bytes, length, err);
    return rc == OK ? dfu_await(&dfu->wire, &status, &block_takes, err) : rc;
}

static int write_blocks(struct dfu *dfu, const struct job *job, uint64_t start, uint64_t end,
                        struct error *err)
{
    uint8_t bytes[DFU_TRANSFER_MAX];
    size_t n = 0;
    for (uint64_t at = start; at < end; at += dfu->transfer, n++) {
        size_t length = end - at < dfu->transfer ? (size_t)(end - at) : dfu->transfer;
        if (session_stopped(dfu->session))
            return session_interrupted(err);
        if (n > BLOCKS_MAX)
            return error_set(err, ERR_FAILED, "the image has more blocks than DFU can count");
        size_t payload = image_read(job->image, MEM_FLASH, at, bytes, length, job->region->erased);
        if (send_block(dfu, n, bytes, length, err))
            return error_context(err, "writing 0x%08" PRIx64, at);
        session_advance(dfu->session, payload);
    }
    return OK;
}

/* The end of the image: the device takes it into use, and may leave over it. */
static int manifest(struct dfu *dfu, size_t blocks, struct error *err)
{
    struct dfu_status status;
    struct clock *clock = dfu->wire.usb->clock;
    uint64_t deadline = clock_in(clock, manifest_takes.most);
    int rc = dfu_download(&dfu->wire, (uint16_t)blocks, NULL, 0, err);
    if (rc != OK)
        return error_context(err, "ending the image");
    for (int round = 0; round < MANIFEST_ROUNDS && clock_now(clock) < deadline; round++) {
        rc = dfu_status(&dfu->wire, &status, 2 * SECOND, err);
        if (rc != OK || status.state == DFU_MANIFEST_WAIT_RESET)
            dfu->left = true;
        if (rc != OK)
            return is_gone(rc) ? OK : rc;
        if (status.state == DFU_ERROR)
            return dfu_refused(&status, err);
        if (status.state == DFU_IDLE || dfu->left)
            return OK;
        uint64_t poll = (uint64_t)status.poll * MILLISECOND;
        clock->sleep_until(clock, clock_in(clock, poll < 2 * SECOND ? poll : 2 * SECOND));
    }
    return error_set(err, ERR_NO_ANSWER, "the device does not come to an end with the image");
}

int dfu_plain_write(struct dfu *dfu, const struct job *job, struct error *err)
{
    uint64_t start, end;
    if (!image_extent(job->image, MEM_FLASH, &start, &end))
        return OK;
    dfu->unfinished = true;
    int rc = write_blocks(dfu, job, start, end, err);
    if (rc == OK && dfu->kind == DFU_MAPLE)
        rc = dfu_make_idle(&dfu->wire, err); /* all is programmed already, and can be read */
    else if (rc == OK)
        rc = manifest(dfu, (size_t)((end - start + dfu->transfer - 1) / dfu->transfer), err);
    dfu->unfinished = rc != OK;
    return rc;
}

/* ---- reading ---- */

/* The part of a block that was asked for. */
static void keep(struct dfu *dfu, const uint8_t *block, uint64_t at, size_t got, uint64_t address,
                 uint8_t *bytes, size_t length)
{
    uint64_t low = at > address ? at : address;
    uint64_t high = at + got < address + length ? at + got : address + length;
    if (low >= high)
        return;
    memcpy(bytes + (low - address), block + (low - at), (size_t)(high - low));
    session_advance(dfu->session, (size_t)(high - low));
}

/* Blocks come in a row from the first on. */
int dfu_plain_read(struct dfu *dfu, uint64_t address, uint8_t *bytes, size_t length,
                   struct error *err)
{
    uint8_t block[DFU_TRANSFER_MAX];
    uint64_t at = dfu->session->loader->start;
    int rc = dfu_make_idle(&dfu->wire, err);
    if (rc == OK && address < at)
        return error_set(err, ERR_FAILED,
                         "0x%08" PRIx64 " lies below 0x%08" PRIx64
                         ", where this loader's memory begins",
                         address, at);
    for (size_t n = 0; rc == OK && at < address + length; n++) {
        if (session_stopped(dfu->session))
            return session_interrupted(err);
        ssize_t got = dfu_upload(&dfu->wire, (uint16_t)n, block, dfu->transfer, err);
        if (got < 0)
            return error_context(err, "reading 0x%08" PRIx64, at);
        keep(dfu, block, at, (size_t)got, address, bytes, length);
        at += (size_t)got;
        if ((size_t)got < dfu->transfer && at < address + length)
            return error_set(err, ERR_PROTOCOL, "the device's memory ends at 0x%08" PRIx64, at);
    }
    return rc == OK ? dfu_make_idle(&dfu->wire, err) : rc;
}

/* ---- leaving ---- */

/* Out of dfuIDLE, in which stm32duino takes a bus reset for nothing. */
static int leave_idle(struct dfu *dfu, struct error *err)
{
    uint8_t block[DFU_TRANSFER_MAX];
    ssize_t got = dfu_upload(&dfu->wire, 0, block, dfu->transfer, err);
    return got < 0 ? (int)got : OK;
}

int dfu_plain_leave(struct dfu *dfu, struct error *err)
{
    int rc = OK;
    if (dfu->kind == DFU_MAPLE && !dfu->left)
        rc = leave_idle(dfu, err);
    if (rc == OK)
        rc = usb_reset(dfu->wire.usb, err);
    dfu->left = true;
    return is_gone(rc) ? OK : rc;
}
