/* What the loader does with a good packet (Katapult src/flashcmd.c): see katapult.h. */
#include "katapult.h"

#include <string.h>

#include "base/bytes.h"
#include "board/chip.h"
#include "models/flash.h"

enum {
    LEAVE_WAIT = 100 * MILLISECOND, /* between the reply to COMPLETE and the reset */
    VERSION_MAX = 64,
    WORD = 4,
};

static uint32_t payload_word(const struct katapult *k, size_t n)
{
    return get_le32(k->rx + KATAPULT_HEADER + n * WORD);
}

static void refuse(struct katapult *k)
{
    katapult_reply(k, KATAPULT_COMMAND_ERROR, NULL, 0);
}

/* First the command, then one more word. */
static void acknowledge(struct katapult *k, uint32_t word)
{
    uint8_t payload[2 * WORD];
    put_le32(payload, k->rx[2]);
    put_le32(payload + WORD, word);
    katapult_reply(k, KATAPULT_ACK, payload, sizeof payload);
}

static size_t padded(size_t length)
{
    return (length + WORD - 1) / WORD * WORD;
}

/* The MCU's name is followed by a word of NULs more than its padding; the version, if the protocol
 * has one, by its padding only. */
static void connect(struct katapult *k)
{
    uint8_t payload[4 * WORD + sizeof k->mcu + WORD + VERSION_MAX] = {0};
    const char *version = k->version ? k->version : "";
    put_le32(payload, KATAPULT_CONNECT);
    put_le32(payload + WORD, k->protocol);
    put_le32(payload + 2 * WORD, k->start);
    put_le32(payload + 3 * WORD, KATAPULT_BLOCK);
    memcpy(payload + 4 * WORD, k->mcu, strlen(k->mcu));
    size_t length = 4 * WORD + padded(strlen(k->mcu)) + WORD;
    memcpy(payload + length, version, strlen(version));
    katapult_reply(k, KATAPULT_ACK, payload, length + padded(strlen(version)));
}

/* True if the packet's work is under way: then katapult_worked() answers it. */
static bool send_block(struct katapult *k)
{
    uint32_t address = payload_word(k, 0);
    bool fits = k->rx[3] == 1 + KATAPULT_BLOCK / WORD && address >= k->start;
    if (!fits || !k->flash_kind->block(k, address, k->rx + KATAPULT_HEADER + WORD)) {
        refuse(k);
        return false;
    }
    if (k->state != KATAPULT_FAULTED)
        katapult_work(k);
    return true;
}

static bool send_eof(struct katapult *k)
{
    if (!k->flash_kind->end(k)) {
        refuse(k);
        return false;
    }
    katapult_work(k);
    return true;
}

static bool lies_in(const struct span *span, uint64_t address)
{
    return address >= span->start && address + KATAPULT_BLOCK <= span->start + span->size;
}

static bool is_ram(const struct chip *chip, uint64_t address)
{
    for (size_t i = 0; i < chip->ram_count; i++)
        if (lies_in(&chip->ram[i], address))
            return true;
    return false;
}

/* Whatever can be read is read, the loader itself too. Without a payload the address is what lies
 * behind the header: CRC and trailer. */
static void request_block(struct katapult *k)
{
    uint32_t address = payload_word(k, 0);
    const struct region *flash = &k->chip->regions[0];
    struct span span = {flash->start, flash->size};
    uint8_t payload[2 * WORD + KATAPULT_BLOCK] = {0};
    if (lies_in(&span, address)) {
        memcpy(payload + 2 * WORD, k->flash.bytes + (address - flash->start), KATAPULT_BLOCK);
    } else if (!is_ram(k->chip, address)) {
        k->state = KATAPULT_FAULTED;
        return;
    }
    put_le32(payload, KATAPULT_REQUEST_BLOCK);
    put_le32(payload + WORD, address);
    katapult_reply(k, KATAPULT_ACK, payload, sizeof payload);
}

static void complete(struct katapult *k)
{
    uint8_t payload[WORD];
    put_le32(payload, KATAPULT_COMPLETE);
    katapult_reply(k, KATAPULT_ACK, payload, sizeof payload);
    k->complete_at = k->now + LEAVE_WAIT;
}

static void canbus_id(struct katapult *k)
{
    uint8_t payload[3 * WORD] = {KATAPULT_GET_CANBUS_ID};
    if (!k->uuid) {
        refuse(k);
        return;
    }
    memcpy(payload + WORD, k->uuid, KATAPULT_UUID);
    katapult_reply(k, KATAPULT_ACK, payload, sizeof payload);
}

/* False: it is answered, and done with. */
static bool execute(struct katapult *k)
{
    switch (k->rx[2]) {
    case KATAPULT_CONNECT:
        connect(k);
        return false;
    case KATAPULT_SEND_BLOCK:
        return send_block(k);
    case KATAPULT_SEND_EOF:
        return send_eof(k);
    case KATAPULT_REQUEST_BLOCK:
        request_block(k);
        return false;
    case KATAPULT_COMPLETE:
        complete(k);
        return false;
    case KATAPULT_GET_CANBUS_ID:
        canbus_id(k);
        return false;
    default:
        refuse(k);
        return false;
    }
}

void katapult_execute(struct katapult *k)
{
    bool refused = ++k->executed == k->faults.nak;
    if (refused)
        refuse(k);
    if (refused || !execute(k))
        katapult_pop(k);
}

void katapult_worked(struct katapult *k, bool good)
{
    if (!good)
        refuse(k);
    else if (k->rx[2] == KATAPULT_SEND_EOF)
        acknowledge(k, k->pages);
    else
        acknowledge(k, payload_word(k, 0));
    katapult_pop(k);
}
