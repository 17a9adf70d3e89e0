/*
 * S and R on the UART: XMODEM with CRC-16, blocks of 128 bytes, short last ones filled up.
 *
 * One thing to know: the fill of the last block is stored as well.
 */
#include <string.h>

#include "base/bytes.h"
#include "sam_chip.h"

enum { SOH = 0x01, EOT = 0x04, ACK = 0x06, NAK = 0x15, CAN = 0x18, CALL = 'C', QUIT = 'q' };

enum {
    DATA = 128,
    BLOCK = 133,
    CALL_EVERY = 250 * MILLISECOND, /* a loop of MCK / 60 passes, of some fifteen cycles each */
    CALLS_MAX = 100,
    PATIENCE = 10 * SECOND, /* without a word of the host */
};

static void say(struct sam *sam, uint8_t byte)
{
    monitor_say(sam, &byte, 1);
}

static void wait(struct sam *sam, uint64_t microseconds)
{
    sam->monitor.until = sam->serial.line->now + microseconds;
}

static void finish(struct sam *sam)
{
    sam->monitor.transfer = SAM_COMMANDS;
    sam->monitor.until = UINT64_MAX;
    if (sam->monitor.terminal)
        say(sam, '>');
}

static void begin(struct sam *sam, enum sam_transfer transfer, uint32_t address, uint32_t length)
{
    struct sam_monitor *monitor = &sam->monitor;
    monitor->transfer = transfer;
    monitor->address = address;
    monitor->left = length;
    monitor->block_number = 1;
    monitor->block_length = 0;
    monitor->last_sent = false;
    monitor->calls = 0;
}

/* ---- the host sends ---- */

void xmodem_receive(struct sam *sam, uint32_t address, uint32_t length)
{
    begin(sam, SAM_XMODEM_CALL, address, length);
    say(sam, CALL);
    wait(sam, CALL_EVERY);
}

static bool is_good(const struct sam_monitor *monitor)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < DATA; i++)
        crc = sam_crc(crc, monitor->block[3 + i]);
    return monitor->block[0] == SOH && monitor->block[1] == monitor->block_number &&
           (monitor->block[1] ^ monitor->block[2]) == 0xff &&
           get_be16(monitor->block + 3 + DATA) == crc;
}

static void take_block(struct sam *sam)
{
    struct sam_monitor *monitor = &sam->monitor;
    monitor->block_length = 0;
    if (!is_good(monitor)) {
        say(sam, CAN);
        finish(sam);
        return;
    }
    for (uint32_t i = 0; i < DATA; i++)
        if (!sam_store(sam, monitor->address + i, 1, monitor->block[3 + i]))
            return;
    monitor->address += DATA;
    monitor->block_number++;
    say(sam, ACK);
}

static void hear_block(struct sam *sam, uint8_t byte)
{
    struct sam_monitor *monitor = &sam->monitor;
    monitor->transfer = SAM_XMODEM_BLOCKS;
    wait(sam, PATIENCE);
    if (monitor->block_length == 0 && byte == EOT) {
        say(sam, ACK);
        finish(sam);
        return;
    }
    monitor->block[monitor->block_length++] = byte;
    if (monitor->block_length == BLOCK)
        take_block(sam);
}

/* ---- the monitor sends ---- */

void xmodem_send(struct sam *sam, uint32_t address, uint32_t length)
{
    begin(sam, SAM_XMODEM_WAIT, address, length);
    wait(sam, PATIENCE);
}

static void send_block(struct sam *sam)
{
    struct sam_monitor *monitor = &sam->monitor;
    uint16_t crc = 0;
    memset(monitor->block, 0, sizeof monitor->block);
    monitor->block[0] = SOH;
    monitor->block[1] = monitor->block_number;
    monitor->block[2] = (uint8_t)~monitor->block_number;
    for (uint32_t i = 0; i < DATA; i++) {
        uint32_t value = 0;
        if (i < monitor->left && !sam_load(sam, monitor->address + i, 1, &value))
            return;
        monitor->block[3 + i] = (uint8_t)value;
        crc = sam_crc(crc, (uint8_t)value);
    }
    put_be16(monitor->block + 3 + DATA, crc);
    monitor_say(sam, monitor->block, BLOCK);
}

static void send_next(struct sam *sam)
{
    struct sam_monitor *monitor = &sam->monitor;
    uint32_t done = monitor->left < DATA ? monitor->left : DATA;
    monitor->address += done;
    monitor->left -= done;
    monitor->block_number++;
    monitor->last_sent = monitor->left == 0;
    if (monitor->last_sent)
        say(sam, EOT);
    else
        send_block(sam);
}

static void hear_answer(struct sam *sam, uint8_t byte)
{
    struct sam_monitor *monitor = &sam->monitor;
    wait(sam, PATIENCE);
    if (byte == QUIT || byte == CAN) {
        finish(sam);
    } else if (monitor->transfer == SAM_XMODEM_WAIT) {
        if (byte != CALL && byte != NAK)
            return;
        monitor->transfer = SAM_XMODEM_SEND;
        send_block(sam);
    } else if (byte == ACK && monitor->last_sent) {
        finish(sam);
    } else if (byte == ACK) {
        send_next(sam);
    } else if (byte == NAK && monitor->last_sent) {
        say(sam, EOT);
    } else if (byte == NAK) {
        send_block(sam);
    }
}

void xmodem_hear(struct sam *sam, uint8_t byte)
{
    if (sam->monitor.transfer == SAM_XMODEM_CALL || sam->monitor.transfer == SAM_XMODEM_BLOCKS)
        hear_block(sam, byte);
    else
        hear_answer(sam, byte);
}

void xmodem_tick(struct sam *sam)
{
    struct sam_monitor *monitor = &sam->monitor;
    if (monitor->transfer == SAM_XMODEM_CALL && ++monitor->calls < CALLS_MAX) {
        say(sam, CALL);
        wait(sam, CALL_EVERY);
    } else {
        finish(sam);
    }
}
