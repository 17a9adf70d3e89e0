/* What both loaders have in common, and the M0's plain way of writing: see stk500v2_loader.h. */
#include "avr/stk500v2_loader.h"

#include <string.h>

#include "base/bytes.h"

enum {
    PROGRAM_HEADER = 10,
    POLLS_MAX = 0x100,
    LATE_SILENCE_US = 50 * MILLISECOND,
    LATE_LIMIT_US = 500 * MILLISECOND,
};

int stk500v2_load_address(struct stk500v2_loader *loader, uint64_t address, struct error *err)
{
    uint8_t body[5] = {CMD_LOAD_ADDRESS};
    put_be32(body + 1, (uint32_t)(address / 2));
    return stk500v2_command(&loader->link, body, sizeof body, 2, STK500V2_RETRIES,
                            STK500V2_REPLY_US, err);
}

static bool has_monitor_call(const uint8_t *bytes, size_t length)
{
    for (size_t i = 2; i < length; i++)
        if (bytes[i] == '!' && bytes[i - 1] == '!' && bytes[i - 2] == '!')
            return true;
    return false;
}

int stk500v2_program(struct stk500v2_loader *loader, const uint8_t *data, size_t length,
                     struct error *err)
{
    /* mode, delay, the SPI instructions and the poll values are for programmers: loaders ignore
     * them. */
    uint8_t body[PROGRAM_HEADER + STK500V2_BLOCK] = {
        CMD_PROGRAM_FLASH_ISP, (uint8_t)(length >> 8), (uint8_t)length, 0xc1, 10, 0x40, 0x4c, 0x20};
    uint8_t frame[STK500V2_FRAME_MAX];
    memcpy(body + PROGRAM_HEADER, data, length);
    /* Data and checksum must not make a `!!!` by accident: an ignored field changes the checksum.
     */
    for (unsigned poll1 = 0; loader->strict && poll1 < POLLS_MAX; poll1++) {
        body[8] = (uint8_t)poll1;
        size_t size = stk500v2_frame(frame, loader->link.seq, body, PROGRAM_HEADER + length);
        if (!has_monitor_call(frame, size))
            break;
    }
    return stk500v2_command(&loader->link, body, PROGRAM_HEADER + length, 2, 0, STK500V2_REPLY_US,
                            err);
}

int stk500v2_chip_erase(struct stk500v2_loader *loader, uint64_t timeout, uint8_t *status,
                        struct error *err)
{
    static const uint8_t body[] = {CMD_CHIP_ERASE_ISP, 9, 0, 0xac, 0x80, 0x00, 0x00};
    int rc = stk500v2_exchange(&loader->link, body, sizeof body, STK500V2_RETRIES, timeout, err);
    if (rc != OK)
        return rc;
    if (loader->link.reply_length < 2)
        return stk500v2_wrong_status(&loader->link, err);
    *status = loader->link.reply[1];
    return OK;
}

int stk500v2_settle(struct stk500v2_loader *loader, struct error *err)
{
    ssize_t late = serial_drain(loader->link.serial, LATE_SILENCE_US, LATE_LIMIT_US, err);
    loader->link.seq = 1;
    return late < 0 ? (int)late : OK;
}

int stk500v2_failed_at(struct error *err, const char *doing, uint64_t address)
{
    error_context(err, "%s flash at 0x%05llx", doing, (unsigned long long)address);
    if (err && err->code == ERR_GONE)
        return error_hint(err, "check the cable, then run the same command again");
    return error_hint(err, "run the same command again; if it fails at the same place, "
                           "`mflash doctor` tells what else uses this port");
}

int stk500v2_read_block(struct stk500v2_loader *loader, bool load, uint64_t address, uint8_t *block,
                        size_t length, struct error *err)
{
    const uint8_t body[] = {CMD_READ_FLASH_ISP, (uint8_t)(length >> 8), (uint8_t)length, 0x20};
    int rc = OK;
    for (unsigned i = 0; i <= STK500V2_RETRIES; i++) {
        /* A reply that was lost has moved the loader's address all the same. */
        if (load || i > 0)
            rc = stk500v2_load_address(loader, address, err);
        if (rc == OK)
            rc = stk500v2_command(&loader->link, body, sizeof body, length + 3, 0,
                                  STK500V2_REPLY_US, err);
        if (rc != ERR_NO_ANSWER || stk500v2_settle(loader, NULL) != OK)
            break;
    }
    if (rc != OK)
        return rc;
    if (loader->link.reply_length != length + 3 || loader->link.reply[length + 2] != STATUS_CMD_OK)
        return error_set(err, ERR_PROTOCOL, "device answered %zu bytes with %zu bytes", length,
                         loader->link.reply_length - 2);
    memcpy(block, loader->link.reply + 2, length);
    return OK;
}

/* A row may be sent again: it is written to an erased row, so that twice the same is the same. */
static int write_row(struct stk500v2_loader *loader, uint64_t address, bool load,
                     const uint8_t *data, struct error *err)
{
    int rc = OK;
    for (unsigned i = 0; i <= STK500V2_RETRIES; i++) {
        if (load || i > 0)
            rc = stk500v2_load_address(loader, address, err);
        if (rc == OK)
            rc = stk500v2_program(loader, data, STK500V2_BLOCK, err);
        if (rc != ERR_NO_ANSWER)
            return rc;
        int settled = stk500v2_settle(loader, NULL);
        if (settled != OK)
            return settled == ERR_GONE ? error_set(err, ERR_GONE, "the device left the bus") : rc;
    }
    return rc;
}

int m0_write(struct session *session, const struct job *job, struct error *err)
{
    struct stk500v2_loader *loader = session->state;
    struct region rows = *job->region;
    const struct job by_rows = {.image = job->image, .region = &rows, .erased = job->erased};
    uint8_t data[STK500V2_BLOCK];
    uint64_t loaded = UINT64_MAX;
    rows.page = STK500V2_BLOCK;
    if (!job->erased)
        session_note(session, "the chip was not erased first: this bootloader only clears bits");
    struct pages pages = pages_of(&by_rows, job->erased ? PAGES_SKIP_BLANK : PAGES_TOUCHED);
    pages.first_last = true;
    while (pages_next(&pages, data)) {
        if (session_stopped(session))
            return session_interrupted(err);
        int rc = write_row(loader, pages.address, pages.address != loaded, data, err);
        if (rc != OK)
            return stk500v2_failed_at(err, "writing", pages.address);
        loaded = pages.address + STK500V2_BLOCK;
        session_advance(session, pages.payload);
    }
    return OK;
}
