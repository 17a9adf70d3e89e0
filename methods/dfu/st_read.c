/* DfuSe: reading by UPLOAD. See st.c. */
#include <inttypes.h>

#include "dfu/dfu.h"

/* From the pointer on, in blocks of the device's own size; a short one ends the memory. */
int dfu_st_read_run(struct dfu *dfu, uint64_t address, uint8_t *bytes, size_t length, bool advance,
                    struct error *err)
{
    int rc = dfu_st_set_address(dfu, address, err);
    if (rc == OK)
        rc = dfu_abort(&dfu->wire, err);
    for (size_t at = 0; at < length && rc == OK;) {
        size_t part = length - at < dfu->transfer ? length - at : dfu->transfer;
        if (session_stopped(dfu->session))
            return session_interrupted(err);
        ssize_t got = dfu_upload(&dfu->wire, (uint16_t)(DFU_ST_FIRST + at / dfu->transfer),
                                 bytes + at, part, err);
        if (got < 0)
            return error_context(err, "reading 0x%08" PRIx64, address + at);
        if ((size_t)got != part)
            return error_set(err, ERR_PROTOCOL,
                             "reading 0x%08" PRIx64 ": %zd bytes came instead of %zu", address + at,
                             got, part);
        if (advance)
            session_advance(dfu->session, part);
        at += part;
    }
    /* Back to dfuIDLE, whatever the last block made of it. */
    return rc == OK ? dfu_make_idle(&dfu->wire, err) : rc;
}

int dfu_st_read(struct dfu *dfu, uint64_t address, uint8_t *bytes, size_t length, struct error *err)
{
    const struct span span = {address, length};
    struct dfu_alternate *alternate = dfu_alternate_for(dfu, &span, DFU_READABLE);
    size_t most = (size_t)DFU_ST_BLOCKS * dfu->transfer;
    if (!alternate)
        return dfu_no_memory(dfu, "read", &span, err);
    int rc = dfu_select(dfu, alternate, err);
    if (rc == OK)
        rc = dfu_make_idle(&dfu->wire, err);
    for (size_t at = 0; at < length && rc == OK; at += most)
        rc = dfu_st_read_run(dfu, address + at, bytes + at, length - at < most ? length - at : most,
                             true, err);
    return rc;
}
