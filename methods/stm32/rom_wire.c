/* See rom_wire.h. */
#include "stm32/rom_wire.h"

#include <string.h>

#include "base/bytes.h"

enum {
    SILENCE_US = 50 * MILLISECOND, /* no late byte follows */
    DRAIN_US = SECOND / 2,
    FILLERS_MAX = 8, /* a command takes 2, an address 5, a count 3 */
    TRIES_MAX = 3,
};

uint8_t st_rom_xor(const uint8_t *bytes, size_t length)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum ^= bytes[i];
    return sum;
}

static int failed(struct rom_wire *wire, int rc)
{
    wire->outcome = rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL ? ROM_LOST : ROM_GONE;
    return rc;
}

/* Takes back what a line with one wire for both directions repeats. */
static int take_echo(struct rom_wire *wire, const uint8_t *sent, size_t length, struct error *err)
{
    uint8_t echo[ROM_FRAME_MAX + 2];
    uint64_t deadline =
        clock_in(wire->serial->clock, serial_wire_time(wire->serial, length) + ROM_ANSWER_US);
    int rc = serial_read(wire->serial, echo, length, deadline, err);
    if (rc == OK && memcmp(echo, sent, length) != 0)
        rc = error_set(err, ERR_PROTOCOL, "the line's echo differs from what was sent");
    return rc;
}

static int send(struct rom_wire *wire, const uint8_t *bytes, size_t length, struct error *err)
{
    int rc = serial_write(wire->serial, bytes, length, err);
    if (rc == OK && wire->echo)
        rc = take_echo(wire, bytes, length, err);
    return rc == OK ? OK : failed(wire, rc);
}

static int judge(struct rom_wire *wire, uint8_t answer, struct error *err)
{
    wire->outcome = answer == ROM_ACK ? ROM_DONE : answer == ROM_NACK ? ROM_REFUSED : ROM_LOST;
    wire->command_refused = wire->outcome == ROM_REFUSED && !wire->framed;
    if (answer == ROM_ACK)
        return OK;
    if (answer == ROM_NACK)
        return error_set(err, ERR_PROTOCOL, "device answered NACK (0x1f)");
    heard_add(&wire->heard, &answer, 1);
    return error_set(err, ERR_PROTOCOL,
                     "device answered 0x%02x, which is neither ACK (0x79) nor NACK (0x1f)", answer);
}

int st_rom_ack(struct rom_wire *wire, uint64_t timeout, struct error *err)
{
    uint64_t deadline = clock_in(wire->serial->clock, timeout + serial_wire_time(wire->serial, 1));
    uint8_t answer = ROM_BUSY;
    while (answer == ROM_BUSY) {
        int rc = serial_read(wire->serial, &answer, 1, deadline, err);
        if (rc == ERR_NO_ANSWER || (rc == OK && clock_now(wire->serial->clock) > deadline))
            rc = error_set(err, ERR_NO_ANSWER, "device did not answer within %u ms",
                           (unsigned)(timeout / MILLISECOND));
        if (rc != OK)
            return failed(wire, rc);
    }
    return judge(wire, answer, err);
}

/* Sends and awaits the ACK; what is sent is kept, so that a resync cannot complete it by chance. */
static int exchange(struct rom_wire *wire, const uint8_t *bytes, size_t length, uint64_t timeout,
                    struct error *err)
{
    int rc = send(wire, bytes, length, err);
    if (rc != OK)
        return rc;
    uint64_t on_the_wire = wire->echo ? 0 : serial_wire_time(wire->serial, length);
    return st_rom_ack(wire, timeout + on_the_wire, err);
}

int st_rom_frame(struct rom_wire *wire, const uint8_t *frame, size_t length, uint64_t timeout,
                 struct error *err)
{
    if (length > sizeof wire->frame)
        return error_set(err, ERR_FAILED, "a frame of %zu bytes is too long", length);
    memcpy(wire->frame, frame, length);
    wire->frame_length = length;
    wire->framed = true;
    return exchange(wire, frame, length, timeout, err);
}

int st_rom_command(struct rom_wire *wire, enum rom_command command, struct error *err)
{
    const uint8_t frame[] = {(uint8_t)command, (uint8_t) ~(unsigned)command};
    wire->framed = false;
    return exchange(wire, frame, sizeof frame, ROM_ANSWER_US, err);
}

int st_rom_address(struct rom_wire *wire, uint32_t address, uint64_t timeout, struct error *err)
{
    uint8_t frame[5];
    put_be32(frame, address);
    frame[4] = st_rom_xor(frame, 4);
    return st_rom_frame(wire, frame, sizeof frame, timeout, err);
}

int st_rom_receive(struct rom_wire *wire, uint8_t *bytes, size_t length, struct error *err)
{
    uint64_t deadline =
        clock_in(wire->serial->clock, serial_wire_time(wire->serial, length) + ROM_ANSWER_US);
    int rc = serial_read(wire->serial, bytes, length, deadline, err);
    return rc == OK ? OK : failed(wire, rc);
}

/*
 * A byte that completes no frame. Repeated, it is no command (no byte is its own complement), no
 * address and no count. A frame that lost one byte would accept as its check just that byte: so
 * one is taken that the frame does not have.
 */
static bool pick_filler(const struct rom_wire *wire, uint8_t *filler)
{
    for (unsigned value = 0xff;; value--) {
        *filler = (uint8_t)value;
        if (!wire->framed || !memchr(wire->frame, (int)value, wire->frame_length))
            return true;
        if (value == 0)
            return false;
    }
}

int st_rom_resync(struct rom_wire *wire, struct error *err)
{
    uint8_t filler;
    ssize_t dropped = serial_drain(wire->serial, SILENCE_US, DRAIN_US, err);
    if (dropped < 0)
        return failed(wire, (int)dropped);
    if (!pick_filler(wire, &filler))
        return error_set(err, ERR_NO_ANSWER, "the device is left inside a frame");
    for (unsigned i = 0; i < FILLERS_MAX; i++) {
        int rc = send(wire, &filler, 1, err);
        if (rc == OK)
            rc = st_rom_ack(wire, SILENCE_US + serial_wire_time(wire->serial, 1), err);
        if (wire->outcome == ROM_REFUSED)
            return OK;
        if (wire->outcome == ROM_GONE)
            return rc;
    }
    return error_set(err, ERR_NO_ANSWER, "the device does not come back into step");
}

bool st_rom_again(struct rom_wire *wire, unsigned *tries)
{
    struct error ignored;
    if (wire->outcome == ROM_GONE || ++*tries >= TRIES_MAX)
        return false;
    struct rom_wire state = *wire;
    bool ready = st_rom_resync(wire, &ignored) == OK;
    wire->outcome = state.outcome;
    wire->command_refused = state.command_refused;
    return ready;
}
