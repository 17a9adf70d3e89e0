/*
 * PROGRAM and READ of flash and EEPROM. Atmel AVR068 §5.2.4 … §5.2.7:
 *
 *     13 sizeH sizeL mode delay cmd1 cmd2 cmd3 poll1 poll2 data      14 sizeH sizeL cmd1
 *
 * The loaded address moves on with what was done. The page buffer is the target's: data beyond its
 * end comes in again at its beginning.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "isp_programmer.h"

/* The mode byte (AVR068 table 5-23). The ways to wait are bits 1 … 3 in word mode, 4 … 6 in page
 * mode. */
enum {
    MODE_PAGE = 0x01,
    MODE_WRITE_PAGE = 0x80,
    WAIT_DELAY = 0x02,
    WAIT_VALUE = 0x04,
    WAIT_RDY_BSY = 0x08,
    WAIT_SHIFT = 3,
};

enum { HIGH_BYTE = 0x08 }; /* of a flash word: the bit that tells 40 from 48, 20 from 28 */

enum { POLL_LIMIT = 100 }; /* milliseconds; no write of any AVR takes as long */

enum { HEADER = 10 };

struct block {
    bool flash;
    size_t size;
    const uint8_t *head; /* mode delay cmd1 cmd2 cmd3 poll1 poll2 */
    const uint8_t *bytes;
};

enum { MODE, DELAY, CMD1, CMD2, CMD3, POLL1, POLL2 };

/* Where byte i of a block goes: a word of flash, a byte of EEPROM. */
static uint32_t address_of(const struct isp_programmer *programmer, bool flash, size_t i)
{
    return programmer->address + (uint32_t)(flash ? i / 2 : i);
}

static uint8_t access_byte(struct isp_programmer *programmer, bool flash, uint8_t instruction,
                           size_t i, uint8_t value)
{
    uint32_t address = address_of(programmer, flash, i);

    if (flash && i % 2)
        instruction |= HIGH_BYTE;
    return isp_instruction(&programmer->port, instruction, (uint8_t)(address >> 8),
                           (uint8_t)address, value);
}

/* Load Extended Address, where the part has one and the 64 Kword bank is another. */
static void select_bank(struct isp_programmer *programmer, bool flash, size_t i)
{
    uint32_t bank = address_of(programmer, flash, i) >> 16;

    if (!flash || !programmer->extended || bank == programmer->bank)
        return;
    isp_instruction(&programmer->port, 0x4d, 0, (uint8_t)bank, 0);
    programmer->bank = bank;
}

/* During a write the target reads as poll1 (EEPROM: or poll2): such a value tells nothing. */
static bool can_be_polled(const struct block *block, size_t i)
{
    uint8_t value = block->bytes[i];

    return value != block->head[POLL1] && (block->flash || value != block->head[POLL2]);
}

static uint8_t await_value(struct isp_programmer *programmer, const struct block *block, size_t i)
{
    struct isp_port *port = &programmer->port;
    uint64_t deadline = port->now + POLL_LIMIT * MILLISECOND;

    while (access_byte(programmer, block->flash, block->head[CMD3], i, 0) != block->bytes[i])
        if (isp_expired(port, deadline))
            return STATUS_TIMEOUT;
    return STATUS_OK;
}

/* Waits for the write of byte i, or of the page that holds it, in the way `wait` says. */
static uint8_t await_written(struct isp_programmer *programmer, const struct block *block,
                             unsigned wait, size_t i)
{
    if ((wait & WAIT_VALUE) && can_be_polled(block, i))
        return await_value(programmer, block, i);
    if (wait & (WAIT_DELAY | WAIT_VALUE))
        isp_wait(&programmer->port, (uint64_t)block->head[DELAY] * MILLISECOND);
    if ((wait & WAIT_RDY_BSY) && !isp_await_ready(programmer, POLL_LIMIT))
        return STATUS_RDY_BSY_TIMEOUT;
    return STATUS_OK;
}

/* The byte of a page to poll: any that can be. */
static size_t byte_to_poll(const struct block *block)
{
    size_t i = 0;

    while (i + 1 < block->size && !can_be_polled(block, i))
        i++;
    return i;
}

static uint8_t program_by_page(struct isp_programmer *programmer, const struct block *block)
{
    for (size_t i = 0; i < block->size; i++) {
        select_bank(programmer, block->flash, i);
        access_byte(programmer, block->flash, block->head[CMD1], i, block->bytes[i]);
    }
    if (!(block->head[MODE] & MODE_WRITE_PAGE))
        return STATUS_OK;
    select_bank(programmer, block->flash, 0);
    access_byte(programmer, block->flash, block->head[CMD2], 0, 0);
    return await_written(programmer, block, block->head[MODE] >> WAIT_SHIFT, byte_to_poll(block));
}

static uint8_t program_by_word(struct isp_programmer *programmer, const struct block *block)
{
    uint8_t status = STATUS_OK;

    for (size_t i = 0; i < block->size && status == STATUS_OK; i++) {
        select_bank(programmer, block->flash, i);
        access_byte(programmer, block->flash, block->head[CMD1], i, block->bytes[i]);
        status = await_written(programmer, block, block->head[MODE], i);
    }
    return status;
}

void isp_program_memory(struct isp_programmer *programmer)
{
    const uint8_t *body = programmer->body;
    struct block block = {body[0] == COMMAND_PROGRAM_FLASH, get_be16(body + 1), body + 3,
                          body + HEADER};
    uint8_t status;

    if (block.size == 0 || block.size + HEADER != programmer->size) {
        isp_answer(programmer, STATUS_ILLEGAL_PARAM);
        return;
    }
    if (block.head[MODE] & MODE_PAGE)
        status = program_by_page(programmer, &block);
    else
        status = program_by_word(programmer, &block);
    programmer->address = address_of(programmer, block.flash, block.size);
    isp_answer(programmer, status);
}

void isp_read_memory(struct isp_programmer *programmer)
{
    const uint8_t *body = programmer->body;
    bool flash = body[0] == COMMAND_READ_FLASH;
    size_t size = get_be16(body + 1);

    if (size == 0 || size + 3 > ISP_BODY_MAX) {
        isp_answer(programmer, STATUS_ILLEGAL_PARAM);
        return;
    }
    isp_answer(programmer, STATUS_OK);
    for (size_t i = 0; i < size; i++) {
        select_bank(programmer, flash, i);
        programmer->answer[programmer->answer_length++] =
            access_byte(programmer, flash, body[3], i, 0);
    }
    programmer->answer[programmer->answer_length++] = STATUS_OK;
    programmer->address = address_of(programmer, flash, size);
}
