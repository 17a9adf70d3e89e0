/*
 * See rom_connect.h. Only the first 7f after a reset sets the rate; a chip that has it already
 * takes 7f for the first half of a command and answers the second 7f with NACK. Both are alive.
 */
#include "stm32/rom_connect.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/text.h"

enum {
    RESET_US = 20 * MILLISECOND,
    QUIET_US = 10 * MILLISECOND, /* no junk of a reset or of an adapter's buffer follows */
    JUNK_MAX_US = 200 * MILLISECOND,
    LATE_US = 20 * MILLISECOND,
    AWAKE_US = 30 * MILLISECOND,  /* of a loader that runs, behind an adapter that collects 16 ms */
    RETRY_US = 100 * MILLISECOND, /* between two 7f while the chip may still start */
    BAUDS_MAX = 8,
    RATES_TEXT_MAX = 96,
    SIZE_LEAST_KIB = 4,
    SIZE_MOST_KIB = 8192,
};

/* Silence after each 7f. A chip that was not reset just now listens already, and takes the first
 * for half a command if an earlier host has set its rate: the second comes soon. A loader with USB
 * looks at all its ports first and starts later. */
static const uint32_t init_waits[] = {RETRY_US, RETRY_US, 300 * MILLISECOND, 500 * MILLISECOND};

/* ---- the line ---- */

static int refused_parity(const struct serial *serial, struct error *err)
{
    error_context(err, "the boot loader speaks 8 bits with even parity, which %s does not take",
                  serial->name);
    if (strstr(serial->name, "ttyS"))
        return error_hint(err, "the mini-UART of a Raspberry Pi (ttyS0) has no parity: use the "
                               "PL011, ttyAMA0 (dtoverlay=disable-bt or miniuart-bt)");
    return error_hint(err, "use another port or USB-serial adapter");
}

/* A pty and a TCP port have no wire: there is no parity to set, and none to miss. */
static int set_line(struct session *session, uint32_t baud, struct error *err)
{
    struct serial *serial = session->serial;
    const char *parity = loader_setting(session->loader, "parity");
    struct serial_settings settings = {.baud = baud, .parity = PARITY_EVEN, .stop_bits = 1};
    if (!serial->ops->set_lines || (parity && strcmp(parity, "none") == 0))
        settings.parity = PARITY_NONE;
    int rc = serial_configure(serial, &settings, err);
    if (rc == ERR_FAILED && settings.parity == PARITY_EVEN)
        return refused_parity(serial, err);
    return rc;
}

/* ---- the way in ---- */

static bool resets_by_dtr(const struct session *session)
{
    return session->loader && text_has_word(session->loader->enter, "dtr");
}

static bool can_reset(const struct session *session)
{
    const struct rom_loader *rom = session->state;
    return rom->entry.enter.count > 0 || resets_by_dtr(session);
}

static int bring_in(struct session *session, struct error *err)
{
    struct rom_loader *rom = session->state;
    if (rom->entry.enter.count > 0)
        return entry_play(session, &rom->entry, &rom->entry.enter, err);
    return resets_by_dtr(session) ? serial_pulse_reset(session->serial, RESET_US, err) : OK;
}

/* One 7f; `answer` is ACK or NACK. What comes back before it is an echo, or noise. */
static int init_once(struct rom_wire *wire, uint64_t wait, uint8_t *answer, struct error *err)
{
    static const uint8_t init = ROM_INIT;
    struct serial *serial = wire->serial;
    int rc = serial_write(serial, &init, 1, err);
    uint64_t deadline = clock_in(serial->clock, wait + serial_wire_time(serial, 2));
    bool echo = false;
    for (unsigned i = 0; rc == OK && i < HEARD_MAX; i++) {
        rc = serial_read(serial, answer, 1, deadline, err);
        if (rc == OK && (*answer == ROM_ACK || *answer == ROM_NACK)) {
            wire->echo = echo;
            return OK;
        }
        echo |= rc == OK && i == 0 && *answer == ROM_INIT;
        if (rc == OK)
            heard_add(&wire->heard, answer, 1);
    }
    return rc == OK ? error_set(err, ERR_NO_ANSWER, "noise") : rc;
}

/* The chip may be in the middle of a frame that an earlier host began: a few bytes end all but the
 * data of a Write, which nobody should end by chance. */
static int knock(struct session *session, struct error *err)
{
    struct rom_wire *wire = &((struct rom_loader *)session->state)->wire;
    for (size_t i = 0; i < sizeof init_waits / sizeof init_waits[0]; i++) {
        uint8_t answer;
        if (session_stopped(session))
            return session_interrupted(err);
        bool awake = i == 0 && !can_reset(session);
        int rc = init_once(wire, awake ? AWAKE_US : init_waits[i], &answer, err);
        /* An ACK to the 7f before, that was late, leaves half a command; a NACK is of a pair. */
        if (rc == OK && i > 0 && answer == ROM_ACK) {
            ssize_t late = serial_drain(wire->serial, LATE_US, JUNK_MAX_US, err);
            return late < 0 ? (int)late : st_rom_resync(wire, err);
        }
        if (rc != ERR_NO_ANSWER)
            return rc;
    }
    bool heard = wire->heard.total > 0;
    return heard ? error_set(err, ERR_NO_ANSWER, "noise") : st_rom_resync(wire, err);
}

static int try_once(struct session *session, uint32_t baud, struct error *err)
{
    struct rom_loader *rom = session->state;
    rom->wire = (struct rom_wire){.serial = session->serial};
    int rc = set_line(session, baud, err);
    if (rc == OK)
        rc = bring_in(session, err);
    if (rc != OK)
        return rc;
    serial_drop_input(session->serial);
    ssize_t junk = serial_drain(session->serial, QUIET_US, JUNK_MAX_US, err);
    if (junk < 0)
        return (int)junk;
    heard_clear(&rom->wire.heard);
    rc = knock(session, err);
    return rc == OK ? st_rom_identify(rom, session->chip, err) : rc;
}

/* ---- who did not answer ---- */

static bool only_echo(const struct heard *heard)
{
    size_t kept = heard->total < HEARD_MAX ? heard->total : HEARD_MAX;
    for (size_t i = 0; i < kept; i++)
        if (heard->first[i] != ROM_INIT)
            return false;
    return kept > 0;
}

static int hint_silence(const struct session *session, struct error *err)
{
    if (can_reset(session))
        return error_hint(err, "check power, TX and RX (crossed), and the board's `sequence` for "
                               "BOOT0 and reset; the loader may listen on another UART");
    const char *ask = session->loader ? session->loader->ask : NULL;
    return error_hint(err, "%s; check that TX and RX are crossed",
                      ask ? ask : "set BOOT0 high (jumper) and press reset");
}

static int nobody_answered(const struct session *session, const struct heard *heard,
                           const char *rates, struct error *err)
{
    char text[HEARD_TEXT_MAX];
    if (only_echo(heard)) {
        error_set(err, ERR_NO_ANSWER,
                  "no boot loader answered at %s baud: only what was sent came back", rates);
        return error_hint(err, "TX and RX are joined, or the adapter echoes: check the wiring");
    }
    error_set(err, ERR_NO_ANSWER, "no boot loader answered at %s baud: %s", rates,
              heard_describe(heard, text));
    if (heard_is_text(heard))
        return error_hint(err, "the application runs: set BOOT0 high, then press reset");
    if (heard->total > 0)
        return error_hint(err, "the rate may have been measured wrongly: press reset and try a "
                               "lower one (--baud 57600); or another program reads this port "
                               "(`mflash doctor`)");
    return hint_silence(session, err);
}

static void rates_text(const uint32_t *bauds, size_t count, char *text, size_t size)
{
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        text_append(text, size, "%s%" PRIu32,
                    i == 0          ? ""
                    : i + 1 < count ? ", "
                                    : " or ",
                    bauds[i]);
}

/* Of what came back in several tries, text tells most, then anything, then nothing. */
static void keep_telling(struct heard *kept, const struct heard *heard)
{
    if (heard->total > 0 && (kept->total == 0 || (heard_is_text(heard) && !heard_is_text(kept))))
        *kept = *heard;
}

/* Without a way to reset, one wrong rate would cost the user another press: then only the first. */
static int try_rates(struct session *session, struct error *err)
{
    struct rom_loader *rom = session->state;
    uint32_t bauds[BAUDS_MAX];
    char rates[RATES_TEXT_MAX];
    size_t count = session_bauds(session, bauds, BAUDS_MAX);
    struct heard kept = {.total = 0};
    struct error wrong = {.code = OK};
    if (!can_reset(session))
        count = 1;
    for (size_t i = 0; i < 2 * count; i++) {
        struct error why = {.code = OK};
        int rc = try_once(session, bauds[i % count], &why);
        if (rc == OK)
            return OK;
        if (rc != ERR_NO_ANSWER)
            wrong = why;
        if (rc != ERR_NO_ANSWER && rc != ERR_PROTOCOL)
            break;
        keep_telling(&kept, &rom->wire.heard);
    }
    if (wrong.code != OK) {
        if (err)
            *err = wrong;
        return wrong.code;
    }
    rates_text(bauds, count, rates, sizeof rates);
    return nobody_answered(session, &kept, rates, err);
}

/* ---- looking around ---- */

/* Some loaders refuse short reads outside the flash, some long ones at an area's end. The block is
 * a power of two, so the register does not cross its end. */
static int read_register(struct rom_loader *rom, uint32_t address, uint8_t *bytes, size_t length,
                         struct error *err)
{
    uint8_t block[ROM_BLOCK];
    size_t offset = address % rom->block;
    int rc = st_rom_read(rom, address - (uint32_t)offset, block, rom->block, err);
    if (rc == OK && offset + length <= rom->block)
        memcpy(bytes, block + offset, length);
    return rc == ERR_PROTOCOL ? st_rom_read(rom, address, bytes, length, err) : rc;
}

/* The size register may lie where this loader shows nothing: then the size is not known. */
static int read_size(struct rom_loader *rom, uint32_t address, struct error *err)
{
    uint8_t bytes[4] = {0};
    int rc = read_register(rom, address, bytes, sizeof bytes, err);
    unsigned kib = get_le16(bytes);
    if (rc == OK && kib >= SIZE_LEAST_KIB && kib <= SIZE_MOST_KIB)
        rom->flash_bytes = (uint64_t)kib * 1024;
    return rc == ERR_PROTOCOL ? OK : rc;
}

int st_rom_look_around(struct session *session, struct error *err)
{
    struct rom_loader *rom = session->state;
    const struct stm32_part *part = session->chip->stm32;
    uint8_t word[4];
    rom->protected = false;
    rom->flash_bytes = 0;
    int rc = st_rom_read(rom, (uint32_t)rom->flash.start, word, sizeof word, err);
    if (rc == OK && part->flash_size_reg)
        rc = read_size(rom, part->flash_size_reg, err);
    rom->protected = rc == ERR_PROTECTED;
    if (rc == ERR_PROTECTED)
        error_clear(err);
    return rc == ERR_PROTECTED ? OK : rc;
}

/* Get Version: version and two bytes, which on old F1 count changes of the protection. Loaders with
 * the quirk send an ACK more before them. */
static int get_version(struct rom_loader *rom, uint8_t answer[3], struct error *err)
{
    bool extra = rom->part && rom->part->quirks & QUIRK_EXTRA_ACK;
    int rc = st_rom_command(&rom->wire, ROM_GET_VERSION, err);
    if (rc == OK)
        rc = st_rom_receive(&rom->wire, answer, 3, err);
    if (rc == OK && extra && answer[0] == ROM_ACK) {
        answer[0] = answer[1];
        answer[1] = answer[2];
        rc = st_rom_receive(&rom->wire, answer + 2, 1, err);
    }
    return rc == OK ? st_rom_ack(&rom->wire, ROM_ANSWER_US, err) : rc;
}

int st_rom_more_info(struct session *session, struct device_info *info, struct error *err)
{
    struct rom_loader *rom = session->state;
    uint32_t unique_id = session->chip->stm32->unique_id;
    uint8_t version[3] = {0}, unique[12] = {0};
    unsigned tries = 0;
    int rc = st_rom_has(rom, ROM_GET_VERSION) ? get_version(rom, version, err) : ERR_PROTOCOL;
    if (rc == OK)
        device_info_add(info, "option bytes", "%02x %02x", version[1], version[2]);
    else if (rom->wire.outcome == ROM_GONE || !st_rom_again(&rom->wire, &tries))
        return rc;
    if (!unique_id || rom->protected)
        return OK;
    rc = read_register(rom, unique_id, unique, sizeof unique, err);
    if (rc == OK)
        device_info_add(info, "unique id", "%08x %08x %08x", (unsigned)get_le32(unique),
                        (unsigned)get_le32(unique + 4), (unsigned)get_le32(unique + 8));
    return rc == ERR_PROTOCOL ? OK : rc;
}

int st_rom_connect(struct session *session, struct error *err)
{
    if (!session->serial->ops->set_lines)
        session_note(session, "%s has no parity: 8N1 instead of 8E1", session->serial->name);
    return try_rates(session, err);
}

int st_rom_reconnect(struct session *session, uint64_t patience, struct error *err)
{
    struct rom_loader *rom = session->state;
    struct clock *clock = session->clock;
    uint64_t deadline = clock_in(clock, patience);
    bool echo = rom->wire.echo;
    rom->wire = (struct rom_wire){.serial = session->serial, .echo = echo};
    uint8_t answer;
    int rc = ERR_NO_ANSWER;
    while (rc == ERR_NO_ANSWER && clock_now(clock) < deadline)
        rc = init_once(&rom->wire, RETRY_US, &answer, err);
    if (rc == OK)
        rc = st_rom_resync(&rom->wire, err);
    if (rc == OK)
        rc = st_rom_identify(rom, session->chip, err);
    if (rc == OK)
        return st_rom_look_around(session, err);
    error_context(err, "meeting the chip again after its reset");
    return error_hint(err, "BOOT0 must stay high: the change was made, so reset the chip into its "
                           "loader and run `mflash info`");
}
