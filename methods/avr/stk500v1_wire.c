/* See stk500v1_wire.h. */
#include "avr/stk500v1_wire.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum { REQUEST_MAX = 32 };

int stk500v1_send(struct stk500v1 *wire, const uint8_t *bytes, size_t length, struct error *err)
{
    return serial_write(wire->serial, bytes, length, err);
}

static const char *reply_name(uint8_t byte)
{
    switch (byte) {
    case STK_OK:
        return "OK";
    case STK_FAILED:
        return "FAILED";
    case STK_UNKNOWN:
        return "UNKNOWN";
    case STK_NODEVICE:
        return "NODEVICE";
    case STK_INSYNC:
        return "INSYNC";
    case STK_NOSYNC:
        return "NOSYNC";
    default:
        return "no reply of STK500v1";
    }
}

/* One byte that must be `expected`. */
static int expect(struct stk500v1 *wire, uint8_t expected, uint64_t deadline, struct error *err)
{
    uint8_t byte;
    int rc = serial_read(wire->serial, &byte, 1, deadline, err);
    if (rc == ERR_NO_ANSWER)
        return error_set(err, ERR_NO_ANSWER, "no answer: %s (%02x) is missing",
                         reply_name(expected), expected);
    if (rc != OK || byte == expected)
        return rc;
    heard_add(&wire->heard, &byte, 1);
    return error_set(err, ERR_PROTOCOL, "device answered %02x (%s) instead of %02x (%s)", byte,
                     reply_name(byte), expected, reply_name(expected));
}

int stk500v1_reply(struct stk500v1 *wire, uint8_t *data, size_t length, uint64_t deadline,
                   struct error *err)
{
    int rc = stk500v1_reply_begin(wire, deadline, err);
    if (rc == OK && length > 0) {
        rc = serial_read(wire->serial, data, length, deadline, err);
        if (rc == ERR_NO_ANSWER)
            error_context(err, "the answer stopped in its data");
    }
    return rc == OK ? stk500v1_reply_end(wire, deadline, err) : rc;
}

int stk500v1_reply_begin(struct stk500v1 *wire, uint64_t deadline, struct error *err)
{
    return expect(wire, STK_INSYNC, deadline, err);
}

int stk500v1_reply_end(struct stk500v1 *wire, uint64_t deadline, struct error *err)
{
    return expect(wire, STK_OK, deadline, err);
}

int stk500v1_command(struct stk500v1 *wire, const uint8_t *request, size_t request_length,
                     uint8_t *data, size_t length, uint64_t timeout, struct error *err)
{
    uint8_t bytes[REQUEST_MAX];
    assert(request_length < REQUEST_MAX);
    memcpy(bytes, request, request_length);
    bytes[request_length] = CRC_EOP;
    heard_clear(&wire->heard);
    int rc = stk500v1_send(wire, bytes, request_length + 1, err);
    uint64_t wire_time = serial_wire_time(wire->serial, request_length + 1 + length + 2);
    uint64_t deadline = clock_in(wire->serial->clock, timeout + wire_time);
    return rc == OK ? stk500v1_reply(wire, data, length, deadline, err) : rc;
}

int stk500v1_sync(struct stk500v1 *wire, uint64_t deadline, struct error *err)
{
    static const uint8_t get_sync[] = {STK_GET_SYNC, CRC_EOP};
    int rc = stk500v1_send(wire, get_sync, sizeof get_sync, err);
    if (rc != OK)
        return rc;
    bool in_sync = false;
    /* A board that never stops talking does not outlast the deadline either. */
    while (clock_now(wire->serial->clock) <= deadline) {
        uint8_t byte;
        ssize_t got = serial_read_some(wire->serial, &byte, 1, deadline, err);
        if (got < 0)
            return (int)got;
        if (got == 0)
            break;
        if (in_sync && byte == STK_OK)
            return OK;
        if (in_sync || byte != STK_INSYNC)
            heard_add(&wire->heard, &byte, 1);
        in_sync = byte == STK_INSYNC;
    }
    char text[HEARD_TEXT_MAX];
    return error_set(err, ERR_NO_ANSWER, "no bootloader answered: %s",
                     heard_describe(&wire->heard, text));
}

int stk500v1_parameter(struct stk500v1 *wire, uint8_t parameter, uint8_t *value, uint64_t timeout,
                       struct error *err)
{
    const uint8_t request[] = {STK_GET_PARAMETER, parameter};
    return stk500v1_command(wire, request, sizeof request, value, 1, timeout, err);
}
