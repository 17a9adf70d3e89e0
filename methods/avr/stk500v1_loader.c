/* See stk500v1_loader.h. */
#include "avr/stk500v1_loader.h"

#include <assert.h>
#include <string.h>

enum {
    EEPROM_BYTE_US = 20 * MILLISECOND, /* twice the longest data sheet value */
    SLICE = 256,                       /* progress within a long read */
    BANK = 0x10000,                    /* RAMPZ counts 64 KiB */
    EXTENDED_BANK = 0x20000,           /* what a 16-bit word address reaches */
};

/* Beyond 128 KiB the upper address byte goes by its own command, LOAD EXTENDED ADDRESS of the SPI
 * instruction set through UNIVERSAL. */
static int set_extended(struct session *session, uint64_t address, struct error *err)
{
    struct stk500v1_loader *s = session->state;
    const struct region *flash = chip_region(session->chip, MEM_FLASH);
    int extended = (int)(address / EXTENDED_BANK);
    if (!flash || flash->size <= EXTENDED_BANK || s->extended == extended)
        return OK;
    const uint8_t request[] = {STK_UNIVERSAL, 0x4d, 0x00, (uint8_t)extended, 0x00};
    uint8_t ignored;
    int rc =
        stk500v1_command(&s->wire, request, sizeof request, &ignored, 1, STK500V1_REPLY_US, err);
    if (rc == OK)
        s->extended = extended;
    return rc;
}

/* Puts LOAD_ADDRESS with its EOP at `out`: 4 bytes. EEPROM addresses are halved too: the loader
 * doubles them. */
static size_t put_load_address(uint8_t *out, uint64_t address)
{
    uint32_t word = (uint32_t)(address / 2);
    const uint8_t request[] = {STK_LOAD_ADDRESS, (uint8_t)word, (uint8_t)(word >> 8), CRC_EOP};
    memcpy(out, request, sizeof request);
    return sizeof request;
}

/* Where the loader stands after `length` bytes from `address`. */
static void moved(struct stk500v1_loader *s, uint64_t address, size_t length)
{
    s->address = address + length;
    /* ATmegaBOOT shifts its address in place, and at a bank's end RAMPZ may or may not carry. */
    s->addressed = s->kind == OPTIBOOT && s->address % BANK != 0;
    if (s->address % EXTENDED_BANK == 0)
        s->extended = -1;
}

static uint8_t memory_type(enum memory memory)
{
    return memory == MEM_EEPROM ? 'E' : 'F';
}

/* LOAD_ADDRESS and PROG_PAGE in one go: one turn of the line for a page. */
int stk500v1_program(struct session *session, enum memory memory, uint64_t address,
                     const uint8_t *data, size_t length, struct error *err)
{
    struct stk500v1_loader *s = session->state;
    uint8_t bytes[4 + 4 + STK500V1_PAGE_MAX + 1];
    assert(length > 0 && length <= STK500V1_PAGE_MAX);
    int rc = memory == MEM_FLASH ? set_extended(session, address, err) : OK;
    if (rc != OK)
        return rc;
    size_t n = put_load_address(bytes, address);
    bytes[n++] = STK_PROG_PAGE;
    bytes[n++] = (uint8_t)(length >> 8);
    bytes[n++] = (uint8_t)length;
    bytes[n++] = memory_type(memory);
    memcpy(bytes + n, data, length);
    n += length;
    bytes[n++] = CRC_EOP;
    uint64_t work = memory == MEM_EEPROM ? (uint64_t)length * EEPROM_BYTE_US : 0;
    s->addressed = false;
    heard_clear(&s->wire.heard);
    rc = stk500v1_send(&s->wire, bytes, n, err);
    uint64_t deadline = clock_in(session->clock, STK500V1_REPLY_US + work +
                                                     serial_wire_time(s->wire.serial, n + 4));
    if (rc == OK)
        rc = stk500v1_reply(&s->wire, NULL, 0, deadline, err);
    if (rc == OK)
        rc = stk500v1_reply(&s->wire, NULL, 0, deadline, err);
    if (rc == OK && (address + length) % EXTENDED_BANK == 0)
        s->extended = -1;
    return rc;
}

/* The data of one reply, `skip` bytes of it not wanted. */
static int read_data(struct session *session, size_t skip, uint8_t *bytes, size_t length,
                     struct error *err)
{
    struct stk500v1_loader *s = session->state;
    uint8_t unwanted;
    uint64_t slice_us = STK500V1_REPLY_US + serial_wire_time(s->wire.serial, SLICE);
    int rc = stk500v1_reply_begin(&s->wire, clock_in(session->clock, slice_us), err);
    if (rc == OK && skip)
        rc = serial_read(s->wire.serial, &unwanted, 1, clock_in(session->clock, slice_us), err);
    while (rc == OK && length > 0) {
        size_t slice = length < SLICE ? length : SLICE;
        if (session_stopped(session))
            return session_interrupted(err);
        rc = serial_read(s->wire.serial, bytes, slice, clock_in(session->clock, slice_us), err);
        if (rc == OK)
            session_advance(session, slice);
        bytes += slice;
        length -= slice;
    }
    return rc == OK ? stk500v1_reply_end(&s->wire, clock_in(session->clock, slice_us), err) : rc;
}

int stk500v1_read_block(struct session *session, enum memory memory, uint64_t address, size_t skip,
                        uint8_t *bytes, size_t length, struct error *err)
{
    struct stk500v1_loader *s = session->state;
    uint8_t request[4 + 5];
    size_t n = 0, all = skip + length;
    int rc = memory == MEM_FLASH ? set_extended(session, address, err) : OK;
    if (rc != OK)
        return rc;
    bool load = !s->addressed || s->address != address;
    if (load)
        n = put_load_address(request, address);
    request[n++] = STK_READ_PAGE;
    request[n++] = (uint8_t)(all >> 8);
    request[n++] = (uint8_t)all;
    request[n++] = memory_type(memory);
    request[n++] = CRC_EOP;
    s->addressed = false;
    heard_clear(&s->wire.heard);
    rc = stk500v1_send(&s->wire, request, n, err);
    uint64_t deadline =
        clock_in(session->clock, STK500V1_REPLY_US + serial_wire_time(s->wire.serial, n + 2));
    if (rc == OK && load)
        rc = stk500v1_reply(&s->wire, NULL, 0, deadline, err);
    if (rc == OK)
        rc = read_data(session, skip, bytes, length, err);
    if (rc == OK)
        moved(s, address, all);
    return rc;
}
