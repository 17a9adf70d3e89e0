/*
 * STK500v2 as spoken by two bootloaders: the Mega 2560's (Arduino stk500boot.c), on a serial port
 * behind a DTR reset, and the Arduino M0's (ArduinoCore-samd, mzero), on USB CDC.
 * Document: Atmel AVR068. ISP programmers speak it too: those are the method isp.
 *
 * Two to know: the M0 claims the 2560's signature, only parameter 92 tells it apart; and one
 * message is in flight at a time, because a second one is lost while the loader transmits.
 */
#include <stdlib.h>
#include <string.h>

#include "avr/fuses.h"
#include "avr/knock.h"
#include "avr/stk500v2_loader.h"

enum {
    CLEAR_OF_RESET_US = 70 * MILLISECOND,
    LISTENS_US = SECOND,           /* 0.75..0.79 s after its start; slow reset circuits add */
    REQUEST_US = 30 * MILLISECOND, /* between two SIGN_ON */
    LATE_US = 20 * MILLISECOND,
    M0_ERASE_US = 10 * SECOND, /* 960 rows of up to 6 ms take 5.8 s */
    PARAM_SW_MAJOR = 0x91,
    PARAM_SW_MINOR = 0x92,
    MEGA_MINOR = 0x0a,
    M0_MINOR = 0x05,
    MEGA_NEVER_ERASED = 0x3c000,
};

static const uint8_t mega_signature[3] = {0x1e, 0x98, 0x01};
static const char sign_on_name[] = "AVRISP_2";

/* ---- Connecting ---- */

static bool erases_whole_chip(const struct loader *loader)
{
    const char *erase = loader ? loader_setting(loader, "erase") : NULL;
    return erase && strcmp(erase, "chip") == 0;
}

static enum erase_style stk500v2_style(const struct loader *loader)
{
    return erases_whole_chip(loader) ? ERASE_WHOLE : ERASE_BY_WRITE;
}

/* Asks until somebody answers: whatever byte arrives first holds the loader's window open, so an
 * early question costs nothing. All of them have seq 1. */
static int sign_on(struct knock *knock, struct stk500v2 *link, struct error *err)
{
    static const uint8_t body[] = {CMD_SIGN_ON};
    struct clock *clock = link->serial->clock;
    int rc = ERR_NO_ANSWER;
    clock->sleep_until(clock, knock->reset + CLEAR_OF_RESET_US);
    while (rc == ERR_NO_ANSWER && clock_now(clock) < knock->reset + LISTENS_US) {
        rc = stk500v2_send(link, body, sizeof body, err);
        if (rc == OK)
            rc = stk500v2_receive(link, clock_in(clock, REQUEST_US), err);
        size_t kept = link->heard.total < HEARD_MAX ? link->heard.total : HEARD_MAX;
        heard_add(&knock->heard, link->heard.first, kept);
    }
    if (rc != OK)
        return rc;
    ssize_t late = serial_drain(link->serial, LATE_US, LISTENS_US, err);
    return late < 0 ? (int)late : OK;
}

/* Programmers have other names, mostly, and do not tell a signature before they entered
 * programming mode. */
static int not_a_loader(const struct stk500v2 *link, struct error *err)
{
    error_set(err, ERR_PROTOCOL, "this is an ISP programmer, not a bootloader");
    return error_hint(err, "use it with -p avrisp2:%s", link->serial->name);
}

static bool name_is_loaders(const struct stk500v2 *link)
{
    size_t length = strlen(sign_on_name);
    return link->reply_length >= 3 + length && link->reply[2] == length &&
           memcmp(link->reply + 3, sign_on_name, length) == 0;
}

static int parameter(struct stk500v2 *link, uint8_t number, uint8_t *value, struct error *err)
{
    const uint8_t body[] = {CMD_GET_PARAMETER, number};
    int rc = stk500v2_command(link, body, sizeof body, 3, STK500V2_RETRIES, STK500V2_REPLY_US, err);
    if (rc == OK)
        *value = link->reply[2];
    return rc;
}

static int once(struct knock *knock, struct error *err)
{
    struct stk500v2_loader *loader = knock->session->state;
    *loader = (struct stk500v2_loader){.link = {.serial = knock->session->serial, .seq = 1}};
    int rc = sign_on(knock, &loader->link, err);
    if (rc != OK)
        return rc;
    if (!name_is_loaders(&loader->link))
        return not_a_loader(&loader->link, err);
    rc = parameter(&loader->link, PARAM_SW_MAJOR, &loader->major, err);
    if (rc == OK)
        rc = parameter(&loader->link, PARAM_SW_MINOR, &loader->minor, err);
    return rc == OK ? OK : error_context(err, "asking the bootloader who it is");
}

static int check_dialect(struct session *session, struct error *err)
{
    struct stk500v2_loader *loader = session->state;
    loader->m0 = erases_whole_chip(session->loader);
    uint8_t wanted = loader->m0 ? M0_MINOR : MEGA_MINOR;
    if (loader->minor == wanted)
        return OK;
    error_set(err, ERR_PROTOCOL,
              "the bootloader says minor version %02x, but the %s's says %02x (%02x is the %s's)",
              loader->minor, loader->m0 ? "Arduino M0" : "Mega 2560", wanted,
              loader->m0 ? MEGA_MINOR : M0_MINOR, loader->m0 ? "Mega 2560" : "Arduino M0");
    return error_hint(err, "name the right board with --board: the two are written differently");
}

static int read_signature(struct stk500v2_loader *loader, struct error *err)
{
    for (uint8_t i = 0; i < 3; i++) {
        const uint8_t body[] = {CMD_READ_SIGNATURE_ISP, 4, 0x30, 0x00, i, 0x00};
        int rc = stk500v2_exchange(&loader->link, body, sizeof body, STK500V2_RETRIES,
                                   STK500V2_REPLY_US, err);
        if (rc != OK)
            return error_context(err, "reading the signature");
        if (loader->link.reply_length >= 2 && loader->link.reply[1] == STATUS_CMD_FAILED)
            return not_a_loader(&loader->link, err);
        if (loader->link.reply_length < 3 || loader->link.reply[1] != STATUS_CMD_OK)
            return stk500v2_wrong_status(&loader->link, err);
        loader->signature[i] = loader->link.reply[2];
    }
    return OK;
}

/* The M0's chip is no AVR: its loader's claim is the signature to expect. */
static int check_signature(struct session *session, struct error *err)
{
    const struct stk500v2_loader *loader = session->state;
    if (!loader->m0)
        return session_check_signature(session, loader->signature, err);
    if (memcmp(loader->signature, mega_signature, 3) == 0 || session->force_signature)
        return OK;
    char found[96];
    signature_text(loader->signature, found, sizeof found);
    error_refuse(err, "signature", "the device's signature is %s, but an Arduino M0 says 1e 98 01",
                 found);
    return error_hint(err, "name the right board with --board");
}

static void stk500v2_disconnect(struct session *session)
{
    free(session->state);
    session->state = NULL;
}

static int stk500v2_connect(struct session *session, struct error *err)
{
    struct stk500v2_loader *loader = calloc(1, sizeof *loader);
    if (!loader)
        return error_memory(err);
    session->state = loader;
    int rc = knock(session, once, err);
    if (rc == OK)
        rc = check_dialect(session, err);
    if (rc == OK)
        rc = read_signature(loader, err);
    if (rc == OK)
        rc = check_signature(session, err);
    if (rc != OK)
        stk500v2_disconnect(session);
    return rc;
}

static int stk500v2_info(struct session *session, struct device_info *info, struct error *err)
{
    (void)err;
    const struct stk500v2_loader *loader = session->state;
    char signature[96];
    signature_text(loader->signature, signature, sizeof signature);
    device_info_add(info, "bootloader", "%s %u.%u",
                    loader->m0 ? "Arduino M0 (mzero)" : "stk500boot (Mega 2560)", loader->major,
                    loader->minor);
    device_info_add(info, "signature", "%s%s", signature,
                    loader->m0 ? ", which this bootloader claims for a SAMD21" : "");
    return OK;
}

/* ---- Writing and erasing ---- */

static int stk500v2_write(struct session *session, const struct job *job, struct error *err)
{
    const struct stk500v2_loader *loader = session->state;
    if (job->region->memory != MEM_FLASH)
        return error_set(err, ERR_NOT_POSSIBLE, "%s is not possible over stk500v2, because %s",
                         memory_name(job->region->memory), "these bootloaders write flash only");
    return loader->m0 ? m0_write(session, job, err) : mega_write(session, job, 0, err);
}

static int stk500v2_erase(struct session *session, const struct span *ranges, size_t count,
                          struct error *err)
{
    const struct stk500v2_loader *loader = session->state;
    const struct region *flash = chip_region(session->chip, MEM_FLASH);
    if (!loader->m0 && flash && count == 1 && ranges[0].start == flash->start)
        return mega_write(session, NULL, ranges[0].start + ranges[0].size, err);
    error_set(err, ERR_NOT_POSSIBLE,
              "erasing a range is not possible over stk500v2 here, because "
              "%s",
              loader->m0 ? "the M0's bootloader erases all or nothing"
                         : "the Mega's bootloader erases from address 0 upwards only");
    return error_hint(err, "erase the chip (--chip-erase), or use an ISP programmer (-m isp)");
}

static int erase_m0(struct stk500v2_loader *loader, struct error *err)
{
    uint8_t status;
    int rc = stk500v2_chip_erase(loader, M0_ERASE_US, &status, err);
    if (rc == OK && status != STATUS_CMD_OK)
        rc = stk500v2_wrong_status(&loader->link, err);
    if (rc != OK)
        error_context(err, "erasing the chip");
    return rc;
}

static int stk500v2_erase_chip(struct session *session, struct error *err)
{
    const struct region *flash = chip_region(session->chip, MEM_FLASH);
    uint64_t end = session->loader && session->loader->end ? session->loader->end : 0;
    if (((struct stk500v2_loader *)session->state)->m0)
        return erase_m0(session->state, err);
    if (!flash)
        return error_set(err, ERR_FAILED, "%s has no flash", session->chip->name);
    if (end == 0 || end > MEGA_NEVER_ERASED)
        end = MEGA_NEVER_ERASED;
    return mega_write(session, NULL, end, err);
}

/* ---- Reading ---- */

static int stk500v2_read(struct session *session, enum memory memory, uint64_t address,
                         uint8_t *bytes, size_t length, struct error *err)
{
    uint8_t block[STK500V2_BLOCK];
    bool load = true;
    if (memory != MEM_FLASH)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "reading %s is not possible over stk500v2, because these bootloaders do "
                         "not answer with the bytes asked for",
                         memory_name(memory));
    while (length > 0) {
        size_t skip = address % 2; /* addresses are loaded as words */
        size_t n = length < STK500V2_BLOCK - skip ? length : STK500V2_BLOCK - skip;
        if (session_stopped(session))
            return session_interrupted(err);
        /* The Mega's loader reads words and counts down by two: an odd length never ends. */
        size_t words = (skip + n + 1) / 2 * 2;
        int rc = stk500v2_read_block(session->state, load, address - skip, block, words, err);
        if (rc != OK)
            return stk500v2_failed_at(err, "reading", address);
        memcpy(bytes, block + skip, n);
        session_advance(session, n);
        load = false;
        address += n;
        bytes += n;
        length -= n;
    }
    return OK;
}

/* ---- Fuses (to show) and running ---- */

static int read_fuse(struct stk500v2_loader *loader, const struct avr_fuse *f, uint8_t *value,
                     struct error *err)
{
    bool lock = strcmp(f->name, "lock") == 0;
    const uint8_t body[] = {
        lock ? CMD_READ_LOCK_ISP : CMD_READ_FUSE_ISP, 4, f->read[0], f->read[1], 0, 0};
    int rc = stk500v2_command(&loader->link, body, sizeof body, 3, STK500V2_RETRIES,
                              STK500V2_REPLY_US, err);
    if (rc != OK)
        return error_context(err, "reading %s", f->name);
    *value = loader->link.reply[2];
    return OK;
}

static int stk500v2_fuses(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
                          struct error *err)
{
    struct stk500v2_loader *loader = session->state;
    const struct avr_fuse *f;
    *count = 0;
    if (loader->m0)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "fuses are not possible over stk500v2 here, "
                         "because the Arduino M0's SAMD21 has none");
    for (size_t i = 0; i < FUSES_MAX && (f = avr_fuse_at(session->chip, i)); i++) {
        uint8_t value = 0;
        int rc = read_fuse(loader, f, &value, err);
        if (rc != OK)
            return rc;
        struct fuse *out = &fuses[(*count)++];
        *out = (struct fuse){.value = value, .mask = avr_fuse_mask(session->chip, f->name)};
        strncpy(out->name, f->name, sizeof out->name - 1);
        fuse_decode(session->chip, f->name, value, out->text, sizeof out->text);
    }
    return OK;
}

static int stk500v2_run(struct session *session, struct error *err)
{
    static const uint8_t body[] = {CMD_LEAVE_PROGMODE_ISP, 1, 1};
    struct stk500v2_loader *loader = session->state;
    /* Once: a second one would go to the application. */
    int rc = stk500v2_command(&loader->link, body, sizeof body, 2, 0, STK500V2_REPLY_US, err);
    if (rc == OK || (rc == ERR_GONE && loader->m0)) /* off the bus: it has started */
        return OK;
    error_context(err, "starting the application");
    return error_hint(err, "press RESET: without a host the bootloader starts it by itself");
}

static const struct refusal refusals[] = {
    {OP_SET_FUSES, "a program in the chip cannot write fuses, and its lock command would set lock "
                   "bits for good: use an ISP programmer (-m isp)"},
    {OP_UNLOCK, "only a chip erase by an ISP programmer removes lock bits (-m isp)"},
    {OP_BOOTLOADER, "a bootloader cannot replace itself: use an ISP programmer (-m isp)"},
    {OP_EEPROM, "these bootloaders read EEPROM at twice the address they write it, or not at all: "
                "use an ISP programmer (-m isp)"},
    {OP_COUNT, NULL},
};

static const char *const keys[] = {"erase", NULL};

const struct method method_stk500v2 = {
    .name = "stk500v2",
    .summary = "bootloaders of the Arduino Mega 2560 and of the Arduino M0",
    .document = "Atmel AVR068",
    .link = LINK_SERIAL,
    .in_order = true,
    .baud = 115200,
    .erase_style = ERASE_BY_WRITE,
    .refusals = refusals,
    .keys = keys,
    .connect = stk500v2_connect,
    .info = stk500v2_info,
    .style = stk500v2_style,
    .erase = stk500v2_erase,
    .erase_chip = stk500v2_erase_chip,
    .write = stk500v2_write,
    .read = stk500v2_read,
    .fuses = stk500v2_fuses,
    .run = stk500v2_run,
    .disconnect = stk500v2_disconnect,
};
