/*
 * The chip behind the monitor: who it is, which of its RAM may be used, and code that runs there.
 * See samba.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/text.h"
#include "samba/samba.h"
#include "samba/xmodem.h"

enum {
    CPUID_MASK = 0xfff0,
    CPUID_M0PLUS = 0xc600,
    CPUID_M3 = 0xc230,
    CPUID_M4 = 0xc240,
    CPUID_M7 = 0xc270,
    STACK_ROOM = 0x400, /* a monitor whose stack is at the top of RAM uses less than this */
    TOP_ROOM = 0x1000,  /* kept free below such a stack */
    CRC_STEP = 16384,   /* bytes of one checksum: the CPU is away for some ten milliseconds */
    Z_STEP = 4096,
    Z_ANSWER = 12, /* 'Z', eight digits, '#', LF, CR */
    APPLET_US = 2 * SECOND,
    POLL_US = 500, /* between two looks; a command takes milliseconds */
    Z_US = 5 * SECOND,
};

#define SCB_CPUID  0xe000ed00u
#define SCB_AIRCR  0xe000ed0cu
#define CIDR_LOW   0x400e0740u /* SAM3S, SAM3U, SAM4; reads 0 where it is the next */
#define CIDR_HIGH  0x400e0940u /* SAM3X, SAMx7x */
#define DSU_DID    0x41002018u
#define CIDR_ARM7  0xfffff240u /* DBGU_CIDR of SAM7 */
#define RSTC_RESET 0xa500000du /* RSTC_CR: key, EXTRST, PERRST, PROCRST */
#define CPU_RESET  0x05fa0004u /* AIRCR: key, SYSRESETREQ */

const struct sam_family *sam_family(const char *name)
{
    static const struct sam_family families[] = {
        {"SAM7S", 0xfffffd00, RSTC_RESET, 0x03, false, true},
        {"SAM7SE", 0xfffffd00, RSTC_RESET, 0x07, false, true},
        {"SAM7X", 0xfffffd00, RSTC_RESET, 0x07, false, true},
        {"SAM7XC", 0xfffffd00, RSTC_RESET, 0x07, false, true},
        {"SAM3A", 0x400e1a00, RSTC_RESET, 0x07, true, false},
        {"SAM3N", 0x400e1400, RSTC_RESET, 0x07, true, false},
        {"SAM3S", 0x400e1400, RSTC_RESET, 0x07, true, false},
        {"SAM3U", 0x400e1200, RSTC_RESET, 0x07, true, false},
        {"SAM3X", 0x400e1a00, RSTC_RESET, 0x07, true, false},
        {"SAM4E", 0x400e1800, RSTC_RESET, 0x03, false, false},
        {"SAM4N", 0x400e1400, RSTC_RESET, 0x07, false, false},
        {"SAM4S", 0x400e1400, RSTC_RESET, 0x07, false, false},
        {"SAME70", SCB_AIRCR, CPU_RESET, 0x183, false, false},
        {"SAMS70", SCB_AIRCR, CPU_RESET, 0x183, false, false},
        {"SAMV70", SCB_AIRCR, CPU_RESET, 0x183, false, false},
        {"SAMV71", SCB_AIRCR, CPU_RESET, 0x183, false, false},
    };
    static const struct sam_family samd = {"SAMD", SCB_AIRCR, CPU_RESET, 0, false, false};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    return strncmp(name, "SAMC", 4) == 0 || strncmp(name, "SAMD", 4) == 0 ||
                   strncmp(name, "SAME5", 5) == 0 || strncmp(name, "SAML", 4) == 0
               ? &samd
               : NULL;
}

/* ---- Who it is ---- */

void samba_id_text(uint32_t register_address, uint32_t id, char *out, size_t size)
{
    const struct chip *chip;
    const char *separator = "";
    (void)snprintf(out, size, "0x%08" PRIx32 " (", id);
    for (size_t n = 0; (chip = chip_at(n)); n++) {
        if (!chip->sam || chip->sam->id_register != register_address ||
            ((id ^ chip->sam->id_value) & chip->sam->id_mask))
            continue;
        text_append(out, size, "%s%s", separator, chip->name);
        separator = " or ";
    }
    text_append(out, size, "%s)", *separator ? "" : "no chip known");
}

static int find_chipid(struct samba *s, uint32_t *where, struct error *err)
{
    *where = CIDR_LOW;
    int rc = samba_word(&s->monitor, CIDR_LOW, &s->id, err);
    if (rc != OK || s->id)
        return rc;
    *where = CIDR_HIGH;
    return samba_word(&s->monitor, CIDR_HIGH, &s->id, err);
}

static int find_did(struct samba *s, uint32_t *where, struct error *err)
{
    *where = DSU_DID;
    return samba_word(&s->monitor, DSU_DID, &s->id, err);
}

/* A Cortex-M4 is a SAM4, whose reset vector lies in its ROM, or a SAMD5x/E5x. */
static int find_m4(struct samba *s, uint32_t *where, struct error *err)
{
    uint32_t reset = 0;
    int rc = samba_word(&s->monitor, 4, &reset, err);
    if (rc != OK)
        return rc;
    return (reset & 0xfff00000) == 0x00800000 ? find_chipid(s, where, err)
                                              : find_did(s, where, err);
}

static int find_id(struct samba *s, uint32_t cpu, uint32_t *where, struct error *err)
{
    switch (cpu & CPUID_MASK) {
    case CPUID_M0PLUS:
        return find_did(s, where, err);
    case CPUID_M4:
        return find_m4(s, where, err);
    case CPUID_M3:
    case CPUID_M7:
        return find_chipid(s, where, err);
    default:
        return error_set(err, ERR_PROTOCOL, "CPUID is 0x%08" PRIx32 ", no Cortex-M of a SAM part",
                         cpu);
    }
}

/* An ARM7 has no CPUID, but begins with instructions: a branch, where others have their SP. */
static bool is_arm7(uint32_t first_word)
{
    return first_word >> 24 == 0xea;
}

static int find_arm7(struct samba *s, uint32_t *where, struct error *err)
{
    *where = CIDR_ARM7;
    return samba_word(&s->monitor, CIDR_ARM7, &s->id, err);
}

static int find_cortex(struct samba *s, uint32_t *where, struct error *err)
{
    uint32_t cpu = 0;
    int rc = samba_word(&s->monitor, SCB_CPUID, &cpu, err);
    return rc == OK ? find_id(s, cpu, where, err) : rc;
}

static int check_id(struct samba *s, uint32_t where, struct error *err)
{
    const struct sam_part *part = s->part;
    char found[160];
    if (where == part->id_register && ((s->id ^ part->id_value) & part->id_mask) == 0)
        return OK;
    samba_id_text(where, s->id, found, sizeof found);
    if (s->session->force_signature) {
        session_note(s->session, "the device's id is %s, not that of the board's %s: forced", found,
                     s->session->chip->name);
        return OK;
    }
    error_refuse(err, "signature",
                 "the device's chip id is %s, but the board has an %s (0x%08" PRIx32
                 " under mask 0x%08" PRIx32 ")",
                 found, s->session->chip->name, part->id_value, part->id_mask);
    return error_hint(err, "name the right board with --board, or the right chip with --chip; "
                           "`--force signature` goes on regardless");
}

/* Word 0 of what runs is its initial SP: RAM above it is free. A stack at the top of RAM leaves the
 * chip table's range, with room below the stack. */
static void find_ram(struct samba *s, uint32_t sp)
{
    const struct span *ram = &s->session->chip->ram[0];
    uint64_t top = ram->start + ram->size;
    s->work = s->part->applet_base;
    s->end = s->part->stack;
    if (s->family->gpnvm)
        return;
    if (sp > ram->start && sp + STACK_ROOM < top) {
        s->work = (sp + 0xff) & ~0xffu;
        s->end = (uint32_t)top - STACK_ROOM; /* the double-tap word is the last */
    } else if (s->end > top - TOP_ROOM) {
        s->end = (uint32_t)top - TOP_ROOM;
    }
}

int samba_identify(struct samba *s, struct error *err)
{
    uint32_t word = 0, where = 0;
    int rc = samba_word(&s->monitor, 0, &word, err);
    if (rc == OK)
        rc = is_arm7(word) ? find_arm7(s, &where, err) : find_cortex(s, &where, err);
    if (rc != OK)
        return error_context(err, "asking which chip it is");
    s->monitor.in_flash = !s->family->gpnvm;
    find_ram(s, word);
    return check_id(s, where, err);
}

int samba_check_open(const struct samba *s, struct error *err)
{
    if (!s->security)
        return OK;
    error_set(err, ERR_PROTECTED,
              "the security bit of the %s is set: its flash can be neither "
              "read nor written",
              s->session->chip->name);
    return error_hint(err, "only the ERASE pin or jumper clears it, held for a second with power "
                           "on; that empties the flash");
}

/* ---- Waiting ---- */

int samba_wait(struct samba *s, uint32_t register_address, uint32_t mask, uint32_t *value,
               uint64_t timeout, struct error *err)
{
    struct clock *clock = s->monitor.serial->clock;
    uint64_t deadline = clock_in(clock, timeout);
    uint32_t now = 0;
    *value = 0;
    do {
        int rc = samba_words(&s->monitor, &register_address, &now, 1, timeout, err);
        if (rc != OK)
            return rc;
        *value |= now;
        if (now & mask)
            return OK;
        clock->sleep_until(clock, clock_in(clock, POLL_US));
    } while (clock_now(clock) < deadline);
    return error_set(err, ERR_NO_ANSWER,
                     "the flash controller is still busy (0x%08" PRIx32 ") after %u ms", now,
                     (unsigned)(timeout / MILLISECOND));
}

/* ---- Applets ---- */

static uint32_t block_of(const struct samba *s, enum applet_number number)
{
    return s->work + (uint32_t)number * APPLET_ROOM;
}

uint32_t samba_buffer(const struct samba *s)
{
    return block_of(s, APPLET_COUNT);
}

uint32_t samba_applet_word(const struct samba *s, enum applet_number number, unsigned n)
{
    return block_of(s, number) + 4 * n;
}

int samba_run_applet(struct samba *s, enum applet_number number,
                     const uint32_t parameters[APPLET_WORDS - 2], uint64_t timeout,
                     struct error *err)
{
    uint8_t block[APPLET_ROOM];
    uint32_t base = block_of(s, number), entry = (base + APPLET_HEADER) | 1; /* Thumb */
    size_t length = APPLET_HEADER;
    put_le32(block, s->end);
    put_le32(block + 4, s->family->arm7 ? 0 : entry);
    for (unsigned i = 0; i + 2 < APPLET_WORDS; i++)
        put_le32(block + 8 + 4 * i, parameters[i]);
    /* XMODEM's last block would overwrite the code behind the header. */
    if (!s->resident[number] || s->monitor.uart) {
        memcpy(block + APPLET_HEADER, applets[number].code, applets[number].length);
        length += applets[number].length;
    }
    int rc = samba_send(&s->monitor, base, block, length, err);
    if (rc == OK)
        rc = samba_go(&s->monitor, s->family->arm7 ? entry : base, base, s->end, timeout, err);
    s->resident[number] = rc == OK;
    return rc;
}

/* ---- Reading ---- */

static int read_copied(struct samba *s, uint32_t address, uint8_t *bytes, size_t length,
                       struct error *err)
{
    uint32_t low = address & ~3u, words = (uint32_t)(address + length + 3 - low) / 4;
    const uint32_t parameters[APPLET_WORDS - 2] = {low, samba_buffer(s), words};
    int rc = samba_run_applet(s, APPLET_COPY, parameters, APPLET_US, err);
    return rc == OK
               ? samba_receive(&s->monitor, samba_buffer(s) + (address - low), bytes, length, err)
               : rc;
}

int samba_read_flash(struct samba *s, uint64_t address, uint8_t *bytes, size_t length,
                     bool progress, struct error *err)
{
    int rc = OK;
    if (s->unreadable)
        return error_set(err, ERR_PROTECTED,
                         "the security bit is set: the bootloader hides the "
                         "flash of the %s",
                         s->session->chip->name);
    while (rc == OK && length > 0) {
        size_t n = s->slab - (size_t)(address % s->slab);
        n = n < length ? n : length;
        if (session_stopped(s->session))
            return session_interrupted(err);
        rc = s->family->rom_reads_zero
                 ? read_copied(s, (uint32_t)address, bytes, n, err)
                 : samba_receive(&s->monitor, (uint32_t)address, bytes, n, err);
        if (rc != OK)
            return error_context(err, "reading at 0x%08" PRIx64, address);
        if (progress)
            session_advance(s->session, n);
        address += n;
        bytes += n;
        length -= n;
    }
    return rc;
}

/* ---- Checksums ---- */

/* The monitor's Z: CRC-16 of XMODEM, "Z0000278E#". */
static int compare_z(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                     bool *equal, struct error *err)
{
    char answer[Z_ANSWER + 1] = "", expected[Z_ANSWER + 1];
    int rc = samba_queue(&s->monitor, err, "Z%08X,%08X#", (unsigned)address, (unsigned)length);
    if (rc == OK)
        rc = samba_answer(&s->monitor, (uint8_t *)answer, Z_ANSWER, Z_US, err);
    if (rc != OK)
        return rc;
    if (answer[0] != 'Z' || strcmp(answer + 9, "#\n\r") != 0)
        return error_set(err, ERR_PROTOCOL, "the device's checksum is none: %02x %02x %02x …",
                         (uint8_t)answer[0], (uint8_t)answer[1], (uint8_t)answer[2]);
    (void)snprintf(expected, sizeof expected, "Z%08X#\n\r", samba_xmodem_crc(0, bytes, length));
    *equal = memcmp(answer, expected, Z_ANSWER) == 0;
    return OK;
}

int samba_checksums(struct samba *s, uint64_t address, size_t block, size_t count, uint32_t *sums,
                    struct error *err)
{
    uint32_t results = samba_buffer(s);
    const uint32_t parameters[APPLET_WORDS - 2] = {(uint32_t)address, (uint32_t)block,
                                                   (uint32_t)count, results};
    uint8_t bytes[SAMBA_SUMS_MAX * 4];
    int rc = samba_run_applet(s, APPLET_CRC, parameters, APPLET_US, err);
    if (rc == OK && count == 1)
        return samba_word(&s->monitor, results, sums, err);
    if (rc == OK)
        rc = samba_receive(&s->monitor, results, bytes, count * 4, err);
    for (size_t i = 0; rc == OK && i < count; i++)
        sums[i] = get_le32(bytes + 4 * i);
    return rc;
}

static int compare_crc(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                       bool *equal, struct error *err)
{
    uint32_t sum = 0;
    int rc = samba_checksums(s, address, length, 1, &sum, err);
    *equal = sum == (uint32_t)crc32(0, bytes, (uInt)length);
    return rc;
}

int samba_compare(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                  bool *equal, struct error *err)
{
    size_t step = s->monitor.z ? Z_STEP : CRC_STEP;
    int rc = OK;
    *equal = true;
    while (rc == OK && *equal && length > 0) {
        size_t n = length < step ? length : step;
        if (session_stopped(s->session))
            return session_interrupted(err);
        rc = s->monitor.z ? compare_z(s, address, bytes, n, equal, err)
                          : compare_crc(s, address, bytes, n, equal, err);
        if (rc != OK)
            return error_context(err, "checking at 0x%08" PRIx64, address);
        if (*equal)
            session_advance(s->session, n);
        address += n;
        bytes += n;
        length -= n;
    }
    return rc;
}
