/*
 * pcapng (IETF draft-ietf-opsawg-pcapng): a section header, one interface description for each
 * port, one enhanced packet for whatever crossed it. All numbers of the blocks are little-endian;
 * what is inside the packets is the business of trace_serial.c, trace_usb.c and trace_can.c.
 *
 * A write that fails is remembered, the rest is dropped, and trace_close() says it once: a full
 * disk must not stop a board from being flashed.
 */
#include "link/trace_packet.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum {
    BLOCK_SECTION = 0x0a0d0d0a,
    BLOCK_INTERFACE = 1,
    BLOCK_PACKET = 6,
    BYTE_ORDER_MAGIC = 0x1a2b3c4d,
    OPTION_IF_NAME = 2,
    OPTION_EPB_FLAGS = 2,
    OPTION_SHB_USERAPPL = 4,
    OPTION_IF_TSRESOL = 9,
    FLAG_INBOUND = 1,
    FLAG_OUTBOUND = 2,
    NAME_MAX_BYTES = 255,
};

struct trace {
    pthread_mutex_t lock;
    FILE *file;
    char *path;
    int ports;
    int failed; /* errno of the first write that failed, 0 = none */
};

/* A block under construction: type, length, body, length again. */
struct block {
    uint8_t bytes[TRACE_PAYLOAD_MAX + 512];
    size_t used;
};

static void block_begin(struct block *block, uint32_t type)
{
    put_le32(block->bytes, type);
    block->used = 8;
}

static void block_le32(struct block *block, uint32_t value)
{
    put_le32(block->bytes + block->used, value);
    block->used += 4;
}

static void block_le16(struct block *block, uint16_t value)
{
    put_le16(block->bytes + block->used, value);
    block->used += 2;
}

static void block_bytes(struct block *block, const void *bytes, size_t length)
{
    if (length > 0)
        memcpy(block->bytes + block->used, bytes, length);
    block->used += length;
    while (block->used % 4 != 0)
        block->bytes[block->used++] = 0;
}

static void block_option(struct block *block, uint16_t code, const void *bytes, size_t length)
{
    block_le16(block, code);
    block_le16(block, (uint16_t)length);
    block_bytes(block, bytes, length);
}

/* Ends the options and the block, and writes it. */
static void block_write(struct block *block, struct trace *trace)
{
    block_le32(block, 0);
    uint32_t total = (uint32_t)block->used + 4;
    block_le32(block, total);
    put_le32(block->bytes + 4, total);
    if (!trace->failed && fwrite(block->bytes, 1, total, trace->file) != total)
        trace->failed = errno ? errno : EIO;
}

static void write_section(struct trace *trace)
{
    static const char program[] = "mflash " MFLASH_VERSION;
    struct block block;
    block_begin(&block, BLOCK_SECTION);
    block_le32(&block, BYTE_ORDER_MAGIC);
    block_le16(&block, 1); /* version 1.0 */
    block_le16(&block, 0);
    block_le32(&block, UINT32_MAX); /* section length: not said */
    block_le32(&block, UINT32_MAX);
    block_option(&block, OPTION_SHB_USERAPPL, program, sizeof program - 1);
    block_write(&block, trace);
}

int trace_open(struct trace **trace, const char *path, struct error *err)
{
    *trace = NULL;
    struct trace *made = calloc(1, sizeof *made);
    if (!made || !(made->path = strdup(path))) {
        free(made);
        return error_memory(err);
    }
    made->file = fopen(path, "wbe");
    if (!made->file) {
        int rc = error_set(err, ERR_FAILED, "opening the trace file %s: %s", path, strerror(errno));
        free(made->path);
        free(made);
        return rc;
    }
    (void)pthread_mutex_init(&made->lock, NULL);
    write_section(made);
    *trace = made;
    return OK;
}

int trace_add(struct trace *trace, uint16_t linktype, const char *name)
{
    static const uint8_t nanoseconds = 9;
    if (!trace)
        return -1;
    struct block block;
    block_begin(&block, BLOCK_INTERFACE);
    block_le16(&block, linktype);
    block_le16(&block, 0);
    block_le32(&block, 0); /* no limit on packet length */
    block_option(&block, OPTION_IF_NAME, name, strnlen(name, NAME_MAX_BYTES));
    block_option(&block, OPTION_IF_TSRESOL, &nanoseconds, 1);
    (void)pthread_mutex_lock(&trace->lock);
    int port = trace->ports++;
    block_write(&block, trace);
    (void)pthread_mutex_unlock(&trace->lock);
    return port;
}

void trace_packet(struct trace *trace, const struct trace_packet *packet)
{
    uint64_t stamp = (uint64_t)packet->time.tv_sec * 1000000000 + (uint64_t)packet->time.tv_nsec;
    uint32_t captured = (uint32_t)(packet->header_length + packet->length);
    uint8_t flags[4];
    put_le32(flags, packet->inbound ? FLAG_INBOUND : FLAG_OUTBOUND);

    struct block block;
    block_begin(&block, BLOCK_PACKET);
    block_le32(&block, (uint32_t)packet->port);
    block_le32(&block, (uint32_t)(stamp >> 32));
    block_le32(&block, (uint32_t)stamp);
    block_le32(&block, captured);
    block_le32(&block, captured + (uint32_t)packet->cut);
    block_bytes(&block, packet->header, packet->header_length);
    block_bytes(&block, packet->bytes, packet->length);
    block_option(&block, OPTION_EPB_FLAGS, flags, sizeof flags);
    (void)pthread_mutex_lock(&trace->lock);
    block_write(&block, trace);
    (void)pthread_mutex_unlock(&trace->lock);
}

int trace_close(struct trace *trace, struct error *err)
{
    if (!trace)
        return OK;
    if (fclose(trace->file) != 0 && !trace->failed)
        trace->failed = errno ? errno : EIO;
    int rc = OK;
    if (trace->failed) {
        rc = error_set(err, ERR_FAILED, "writing the trace file %s: %s", trace->path,
                       strerror(trace->failed));
        error_hint(err, "the trace is incomplete; what was done to the board is not affected");
    }
    (void)pthread_mutex_destroy(&trace->lock);
    free(trace->path);
    free(trace);
    return rc;
}
