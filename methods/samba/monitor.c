/* See monitor.h. */
#include "samba/monitor.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "avr/heard.h"
#include "base/bytes.h"
#include "samba/xmodem.h"

enum {
    VERSION_US = 300 * MILLISECOND, /* the answer to V# takes a millisecond; a reset board 210 */
    TAIL_US = 10 * MILLISECOND,     /* UF2 sends a zero behind its version */
    KIND_US = 200 * MILLISECOND,
    CALLS = 6,
    FILL_CALL = 3,   /* from this call on: it may hang in an S that never got its bytes */
    READ_MAX = 4095, /* of the ROMs; never a multiple of 64 */
    SMALL_READ = 63, /* of the flash monitors: longer reads of flash return garbage */
    SMALL_READS = 6, /* on their way at a time: two packets of commands */
    WORDS_AT_ONCE = 8,
    LISTEN_US = 20 * MILLISECOND, /* between two questions to a UART */
    QUIET_US = 3 * MILLISECOND,   /* thirty bytes' time */
};

/* ---- Commands ---- */

int samba_flush(struct monitor *m, struct error *err)
{
    size_t length = m->queued_length;
    m->queued_length = 0;
    return length ? serial_write(m->serial, m->queued, length, err) : OK;
}

int samba_queue(struct monitor *m, struct error *err, const char *format, ...)
{
    char text[MONITOR_PACKET];
    va_list args;
    va_start(args, format);
    int printed = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t length = printed > 0 && (size_t)printed < sizeof text ? (size_t)printed : 0;
    int rc = OK;
    if (!m->in_flash || m->queued_length + length > sizeof m->queued)
        rc = samba_flush(m, err);
    if (rc != OK)
        return rc;
    memcpy(m->queued + m->queued_length, text, length);
    m->queued_length += length;
    return m->in_flash ? OK : samba_flush(m, err);
}

int samba_answer(struct monitor *m, uint8_t *bytes, size_t length, uint64_t timeout,
                 struct error *err)
{
    int rc = samba_flush(m, err);
    if (rc != OK)
        return rc;
    timeout += serial_wire_time(m->serial, length);
    return serial_read(m->serial, bytes, length, clock_in(m->serial->clock, timeout), err);
}

int samba_words(struct monitor *m, const uint32_t *addresses, uint32_t *values, size_t count,
                uint64_t timeout, struct error *err)
{
    uint8_t bytes[WORDS_AT_ONCE * 4];
    int rc = OK;
    for (size_t at = 0; rc == OK && at < count;) {
        size_t n = count - at < WORDS_AT_ONCE ? count - at : WORDS_AT_ONCE;
        for (size_t i = 0; rc == OK && i < n; i++)
            rc = samba_queue(m, err, "w%08X,4#", (unsigned)addresses[at + i]);
        if (rc == OK)
            rc = samba_answer(m, bytes, n * 4, timeout, err);
        for (size_t i = 0; rc == OK && i < n; i++)
            values[at + i] = get_le32(bytes + 4 * i);
        at += n;
    }
    return rc;
}

int samba_word(struct monitor *m, uint32_t address, uint32_t *value, struct error *err)
{
    return samba_words(m, &address, value, 1, MONITOR_ANSWER_US, err);
}

int samba_set(struct monitor *m, uint32_t address, uint32_t value, struct error *err)
{
    return samba_queue(m, err, "W%08X,%08X#", (unsigned)address, (unsigned)value);
}

/* ---- Connecting ---- */

/* Letters between "[Arduino:" and "]"; unknown ones are other extensions. */
static void read_extensions(struct monitor *m)
{
    static const char tag[] = "[Arduino:";
    const char *letter = strstr(m->version, tag);
    if (!letter)
        return;
    for (letter += sizeof tag - 1; *letter && *letter != ']'; letter++) {
        m->x |= *letter == 'X';
        m->y |= *letter == 'Y';
        m->z |= *letter == 'Z';
        m->secure |= *letter == 'P';
    }
}

/* One line that begins with 'v': what comes before it are answers to N and prompts. */
static int hear_version(struct monitor *m, struct heard *heard, struct error *err)
{
    uint64_t deadline = clock_in(m->serial->clock, VERSION_US);
    size_t length = 0;
    uint8_t byte;
    for (;;) {
        ssize_t got = serial_read_some(m->serial, &byte, 1, deadline, err);
        if (got <= 0)
            return got < 0 ? (int)got : ERR_NO_ANSWER;
        heard_add(heard, &byte, 1);
        if (length && (byte == '\n' || byte == '\r'))
            break;
        if (isprint(byte) && (length || byte == 'v') && length + 1 < sizeof m->version)
            m->version[length++] = (char)byte;
    }
    m->version[length] = '\0';
    ssize_t tail = serial_drain(m->serial, TAIL_US, VERSION_US, err);
    return tail < 0 ? (int)tail : OK;
}

static int put(struct monitor *m, const char *text, struct error *err)
{
    return serial_write(m->serial, (const uint8_t *)text, strlen(text), err);
}

/* '#' alone does nothing, but ends an S that still waits for its bytes. */
static int fill(struct monitor *m, struct error *err)
{
    uint8_t filler[1024];
    int rc = OK;
    memset(filler, '#', sizeof filler);
    for (size_t sent = 0; rc == OK && sent < MONITOR_SEND_MAX; sent += sizeof filler)
        rc = serial_write(m->serial, filler, sizeof filler, err);
    return rc;
}

/* For a UART: the ROM takes the line that shows activity first, and one that was just reset by its
 * DTR needs a moment; some answer V only after another command. */
static int call_on_uart(struct monitor *m, unsigned call, struct error *err)
{
    int rc = call >= FILL_CALL ? fill(m, err) : OK;
    if (rc == OK)
        rc = put(m, "\x80\x80#", err);
    if (rc == OK)
        rc = put(m, "N#", err);
    if (rc == OK)
        rc = put(m, "w0,#", err);
    ssize_t stray = rc == OK ? serial_drain(m->serial, 50 * MILLISECOND, VERSION_US, err) : rc;
    return stray < 0 ? (int)stray : OK;
}

int samba_open(struct monitor *m, struct serial *serial, struct error *err)
{
    struct heard heard = {.total = 0};
    char text[HEARD_TEXT_MAX];
    *m = (struct monitor){.serial = serial};
    int rc = ERR_NO_ANSWER;
    serial_drop_input(serial);
    for (unsigned call = 0; call < CALLS && rc == ERR_NO_ANSWER; call++) {
        rc = call ? call_on_uart(m, call, err) : put(m, "N#", err);
        if (rc == OK)
            rc = put(m, "V#", err);
        if (rc == OK)
            rc = hear_version(m, &heard, err);
    }
    if (rc == OK)
        read_extensions(m);
    if (rc == OK || rc == ERR_GONE)
        return rc;
    if (rc == ERR_NO_ANSWER)
        error_set(err, heard.total ? ERR_PROTOCOL : ERR_NO_ANSWER,
                  "asking the SAM-BA monitor for its version: %s", heard_describe(&heard, text));
    return error_hint(err, "bring the board into its bootloader (1200-baud touch, double reset, or "
                           "the ERASE button); if it is there, switch it off and on once");
}

/* A USB monitor answers R at once, one on a UART waits to be asked by XMODEM. */
int samba_find_kind(struct monitor *m, uint32_t address, struct error *err)
{
    uint8_t bytes[4];
    int rc = samba_queue(m, err, "R%08X,%08X#", (unsigned)address, (unsigned)sizeof bytes);
    uint64_t received = m->serial->received;
    if (rc == OK)
        rc = samba_answer(m, bytes, sizeof bytes, KIND_US, err);
    if (rc != ERR_NO_ANSWER || m->serial->received != received)
        return rc;
    m->uart = true;
    return samba_xmodem_receive(m->serial, bytes, sizeof bytes, err);
}

/* ---- Payloads ---- */

int samba_send(struct monitor *m, uint32_t address, const uint8_t *bytes, size_t length,
               struct error *err)
{
    int rc = samba_flush(m, err);
    if (rc == OK)
        rc = samba_queue(m, err, "S%08X,%08X#", (unsigned)address, (unsigned)length);
    if (rc == OK)
        rc = samba_flush(m, err);
    if (rc != OK)
        return rc;
    return m->uart ? samba_xmodem_send(m->serial, bytes, length, err)
                   : serial_write(m->serial, bytes, length, err);
}

static int receive_small(struct monitor *m, uint32_t address, uint8_t *bytes, size_t length,
                         struct error *err)
{
    int rc = OK;
    while (rc == OK && length > 0) {
        size_t asked = 0;
        for (unsigned i = 0; rc == OK && i < SMALL_READS && asked < length; i++) {
            size_t n = length - asked < SMALL_READ ? length - asked : SMALL_READ;
            rc = samba_queue(m, err, "R%08X,%08X#", (unsigned)(address + asked), (unsigned)n);
            asked += n;
        }
        if (rc == OK)
            rc = samba_answer(m, bytes, asked, MONITOR_ANSWER_US, err);
        address += (uint32_t)asked;
        bytes += asked;
        length -= asked;
    }
    return rc;
}

/* How much of `length` to ask a ROM for: never a multiple of 64, where it hangs. */
static size_t rom_read(size_t length)
{
    size_t n = length < READ_MAX ? length : READ_MAX;
    return n % MONITOR_PACKET == 0 ? n - 1 : n;
}

int samba_receive(struct monitor *m, uint32_t address, uint8_t *bytes, size_t length,
                  struct error *err)
{
    if (m->in_flash && !m->uart)
        return receive_small(m, address, bytes, length, err);
    int rc = OK;
    while (rc == OK && length > 0) {
        size_t n = rom_read(length);
        rc = samba_queue(m, err, "R%08X,%08X#", (unsigned)address, (unsigned)n);
        if (rc == OK)
            rc = samba_flush(m, err);
        if (rc == OK)
            rc = m->uart ? samba_xmodem_receive(m->serial, bytes, n, err)
                         : samba_answer(m, bytes, n, MONITOR_ANSWER_US, err);
        address += (uint32_t)n;
        bytes += n;
        length -= n;
    }
    return rc;
}

/* Nobody listens on a UART while other code runs: what is sent then is lost but for two bytes. N#
 * has two, and does no harm in whatever pieces it is heard. Some ROMs say ACK after G, some do not.
 */
static int await_uart(struct monitor *m, uint64_t timeout, struct error *err)
{
    uint64_t deadline = clock_in(m->serial->clock, timeout);
    uint8_t bytes[16];
    while (clock_now(m->serial->clock) < deadline) {
        int rc = put(m, "N#", err);
        if (rc != OK)
            return rc;
        ssize_t got = serial_read_some(m->serial, bytes, sizeof bytes,
                                       clock_in(m->serial->clock, LISTEN_US), err);
        if (got > 0 && memchr(bytes, '\n', (size_t)got))
            got = serial_drain(m->serial, QUIET_US, LISTEN_US, err);
        else if (got >= 0)
            continue;
        return got < 0 ? (int)got : OK;
    }
    return error_set(err, ERR_NO_ANSWER, "it has not returned after %u ms",
                     (unsigned)(timeout / MILLISECOND));
}

/* G itself has no answer on USB: the word that is asked for behind it comes when the code has
 * returned. */
int samba_go(struct monitor *m, uint32_t target, uint32_t block, uint32_t stack, uint64_t timeout,
             struct error *err)
{
    uint32_t word = 0;
    int rc = samba_flush(m, err);
    if (rc == OK)
        rc = samba_queue(m, err, "G%08X#", (unsigned)target);
    if (rc == OK)
        rc = samba_flush(m, err);
    if (rc == OK && m->uart)
        rc = await_uart(m, timeout, err);
    if (rc == OK)
        rc = samba_words(m, &block, &word, 1, timeout, err);
    if (rc == OK && word != stack)
        rc = error_set(err, ERR_PROTOCOL,
                       "the device answered 0x%08x behind it, not the stack pointer it was given",
                       (unsigned)word);
    return rc == OK ? OK : error_context(err, "running code in RAM at 0x%08x", (unsigned)block);
}
