/*
 * The chip behind an ISP programmer (AVR data sheets, chapter "Serial Downloading"): programming
 * mode, clock, busy times, fuses and lock bits.
 *
 * SCK must stay below a quarter of the chip's clock, and a chip from the factory runs at 1 MHz: so
 * SCK starts slow and is raised once the clock fuses are known. New clock fuses are latched when
 * RESET is released and pulled low again, not before.
 */
#include "avr/isp.h"

#include <stdio.h>
#include <string.h>

/* SCK to begin with, then slower: for the 1 MHz of a new chip; for 128 kHz; for 128 kHz with
 * CKDIV8, 16 kHz. */
static const uint32_t slow_clocks[] = {125000, 25000, 3500};

/* The times of the part table are typical ones for fuses; a bound is a multiple. */
enum { FUSE_WAIT_TIMES = 4 };

/* ---- Instructions ---- */

static int instruction(struct isp *isp, uint8_t b1, uint8_t b2, uint8_t b3, uint8_t b4,
                       uint8_t *answer, struct error *err)
{
    const uint8_t request[4] = {b1, b2, b3, b4};
    return isp->programmer->instruction(isp, request, answer, err);
}

static void wait(struct isp *isp, uint64_t microseconds)
{
    struct clock *clock = isp->session->clock;
    clock->sleep_until(clock, clock_in(clock, microseconds));
}

/* Until the chip has done what it was told; `maximum` microseconds by its data sheet. Parts without
 * RDY/BSY polling get the whole time. */
static int wait_ready(struct isp *isp, uint32_t maximum, struct error *err)
{
    enum { BUSY = 0x01 };
    uint64_t deadline = clock_in(isp->session->clock, maximum);
    uint8_t busy = 0;
    if (!isp->part->erase_poll) {
        wait(isp, maximum);
        return OK;
    }
    for (;;) {
        bool last = clock_now(isp->session->clock) >= deadline;
        int rc = instruction(isp, 0xf0, 0x00, 0x00, 0x00, &busy, err); /* Poll RDY/BSY */
        if (rc != OK || !(busy & BUSY))
            return rc;
        if (last)
            return error_set(err, ERR_NO_ANSWER,
                             "the chip is still busy after the %u ms that this takes at most",
                             (unsigned)(maximum / MILLISECOND));
    }
}

/* ---- Entering and leaving ---- */

static int read_signature(struct isp *isp, struct error *err)
{
    for (uint8_t i = 0; i < 3; i++) {
        int rc = instruction(isp, 0x30, 0x00, i, 0x00, &isp->signature[i], err);
        if (rc != OK)
            return rc;
    }
    return OK;
}

/* Every AVR's signature begins with Atmel's manufacturer code. Who forces the signature may have
 * another maker's chip, but dead wires are no chip. */
static bool plausible(const struct isp *isp)
{
    enum { ATMEL = 0x1e };
    const uint8_t *s = isp->signature;
    bool uniform = s[0] == s[1] && s[1] == s[2];
    return s[0] == ATMEL || (isp->session->force_signature && !uniform);
}

int isp_target_leave(struct isp *isp, struct error *err)
{
    isp->entered = false;
    return isp->programmer->leave(isp, err);
}

/* What came of a try to enter, from worst to best. */
enum contact { NO_ECHO, OUT_OF_STEP, BAD_SIGNATURE, IN_STEP };

/* Twice if the signature is another chip's: a damaged byte must not pass for a wrong board. */
static int judge_signature(struct isp *isp, enum contact *contact, struct error *err)
{
    int rc = read_signature(isp, err);
    if (rc == OK && memcmp(isp->signature, isp->part->signature, 3) != 0)
        rc = read_signature(isp, err);
    *contact = rc == ERR_PROTOCOL ? OUT_OF_STEP : plausible(isp) ? IN_STEP : BAD_SIGNATURE;
    return rc == ERR_PROTOCOL ? OK : rc;
}

static int try_enter(struct isp *isp, enum contact *contact, struct error *err)
{
    bool answers = false;
    isp->entered = true;
    int rc = isp->programmer->enter(isp, &answers, err);
    *contact = NO_ECHO;
    return rc == OK && answers ? judge_signature(isp, contact, err) : rc;
}

static int no_target(const struct isp *isp, enum contact contact, struct error *err)
{
    const uint8_t *s = isp->signature;
    error_set(err, ERR_NO_ANSWER, "entering programming mode: the %s answers, but no %s behind it",
              isp->programmer->name, isp->session->chip->name);
    if (contact == BAD_SIGNATURE)
        error_set(err, ERR_NO_ANSWER,
                  "entering programming mode: the %s answers, but no %s behind it: the signature "
                  "reads %02x %02x %02x",
                  isp->programmer->name, isp->session->chip->name, s[0], s[1], s[2]);
    return error_hint(
        err, "check the six wires (MISO, MOSI, SCK, RESET, VCC, GND; pin 1 at the mark), that the "
             "board has power, that its crystal is there, and that nothing else drives SCK, MOSI "
             "or MISO");
}

/* Releases RESET before the next try. */
static int step_back(struct isp *isp, struct error *err)
{
    int rc = isp_target_leave(isp, err);
    if (rc == OK)
        wait(isp, (uint64_t)ISP_RESET_RELEASED_MS * MILLISECOND);
    return rc;
}

/* ERR_NOT_POSSIBLE for the slowest clocks is no failure of the first. */
static int slow_clock(struct isp *isp, size_t n, struct error *err)
{
    if (!isp->programmer->set_clock)
        return OK;
    int rc = isp->programmer->set_clock(isp, slow_clocks[n], err);
    return rc == ERR_NOT_POSSIBLE && n == 0 ? OK : rc;
}

int isp_target_enter(struct isp *isp, struct error *err)
{
    enum contact contact = NO_ECHO, best = NO_ECHO;
    for (size_t n = 0; n < sizeof slow_clocks / sizeof slow_clocks[0]; n++) {
        int rc = slow_clock(isp, n, err);
        if (rc == ERR_NOT_POSSIBLE)
            break;
        if (rc == OK)
            rc = try_enter(isp, &contact, err);
        if (rc != OK || contact == IN_STEP)
            return rc;
        rc = step_back(isp, err);
        if (rc != OK)
            return rc;
        best = contact > best ? contact : best;
    }
    return no_target(isp, best, err);
}

/* ---- The clock in force ---- */

/* SCK that the clock fuses in force guarantee: high and low for more than 2 CPU clocks each, more
 * than 3 from 12 MHz on. */
static uint32_t guaranteed_sck(const struct isp *isp)
{
    uint32_t floor = fuse_clock_floor(isp->session->chip, isp->lfuse);
    return floor ? (floor - 1) / (floor >= 12000000 ? 6 : 4) : 0;
}

/* The signature, several times: a chip that is too slow loses a bit sooner or later. */
static bool follows(struct isp *isp)
{
    enum { TIMES = 4 };
    uint8_t known[3];
    memcpy(known, isp->signature, sizeof known);
    bool same = true;
    for (unsigned i = 0; i < TIMES && same; i++)
        same = read_signature(isp, NULL) == OK && memcmp(isp->signature, known, sizeof known) == 0;
    memcpy(isp->signature, known, sizeof known);
    return same;
}

/* Only RESET cures a chip that has lost a bit. */
static int back_to_slow(struct isp *isp, struct error *err)
{
    session_note(isp->session, "the chip does not follow a fast SCK: going on slowly");
    isp->stay_slow = true;
    int rc = step_back(isp, err);
    return rc == OK ? isp_target_enter(isp, err) : rc;
}

static int raise_clock(struct isp *isp, struct error *err)
{
    uint32_t sck = guaranteed_sck(isp);
    if (!isp->programmer->set_clock || isp->stay_slow || isp->sck == 0 || sck <= isp->sck)
        return OK;
    int rc = isp->programmer->set_clock(isp, sck, err);
    if (rc == ERR_NOT_POSSIBLE)
        return OK;
    if (rc != OK)
        return rc;
    return follows(isp) ? OK : back_to_slow(isp, err);
}

int isp_target_settle(struct isp *isp, struct error *err)
{
    const struct avr_fuse *lfuse = avr_fuse_find(isp->session->chip, "lfuse");
    const struct avr_fuse *lock = avr_fuse_find(isp->session->chip, "lock");
    int rc = isp_read_fuse(isp, lfuse, &isp->lfuse, err);
    if (rc == OK)
        rc = isp_read_fuse(isp, lock, &isp->lock, err);
    return rc == OK ? raise_clock(isp, err) : rc;
}

/* ---- Chip Erase ---- */

int isp_target_erase(struct isp *isp, struct error *err)
{
    uint8_t unused;
    int rc = isp->programmer->erase ? isp->programmer->erase(isp, err)
                                    : instruction(isp, 0xac, 0x80, 0x00, 0x00, &unused, err);
    if (rc == OK && !isp->programmer->erase)
        rc = wait_ready(isp, isp->part->chip_erase_max_us, err);
    if (rc == OK)
        rc = isp_read_fuse(isp, avr_fuse_find(isp->session->chip, "lock"), &isp->lock, err);
    return rc == OK ? OK : error_context(err, "erasing the chip");
}

/* ---- Fuses and lock bits ---- */

/* Read until two answers agree: not every programmer's line has a checksum, and nothing is to be
 * written, or left out, for a byte that was damaged on its way. */
int isp_read_fuse(struct isp *isp, const struct avr_fuse *fuse, uint8_t *value, struct error *err)
{
    enum { TIMES = 6 };
    uint8_t before = 0;
    for (unsigned i = 0; i < TIMES; i++) {
        int rc = instruction(isp, fuse->read[0], fuse->read[1], 0x00, 0x00, value, err);
        if (rc != OK)
            return error_context(err, "reading %s", fuse->name);
        if (i > 0 && *value == before)
            return OK;
        before = *value;
    }
    return error_set(err, ERR_PROTOCOL, "reading %s: the chip answers differently each time",
                     fuse->name);
}

int isp_check_lock(const struct isp *isp, bool reading, struct error *err)
{
    unsigned mode = isp->lock & LOCK_LB;
    if (mode == LOCK_OPEN || (reading && mode == LOCK_NO_WRITE))
        return OK;
    error_set(err, ERR_PROTECTED, "the chip's lock bits (%02x) forbid %s it", isp->lock,
              reading ? "reading" : "writing");
    return error_hint(err, "`mflash unlock` opens it; this erases the whole chip");
}

static int check_may_change(const struct isp *isp, const struct avr_fuse *fuse, uint8_t value,
                            uint8_t mask, struct error *err)
{
    if (strcmp(fuse->name, "lock") != 0)
        return isp_check_lock(isp, false, err);
    if (!(value & mask & ~isp->lock))
        return OK;
    error_set(err, ERR_PROTECTED, "lock bits only go from 1 to 0: the chip has %02x, asked is %02x",
              isp->lock, value);
    return error_hint(err, "`mflash unlock` sets them all to 1; this erases the whole chip");
}

static int read_back(struct isp *isp, const struct avr_fuse *fuse, uint8_t value, uint8_t mask,
                     struct error *err)
{
    uint8_t found = 0;
    int rc = isp_read_fuse(isp, fuse, &found, err);
    if (rc != OK || !((found ^ value) & mask))
        return rc;
    return error_set(err, ERR_VERIFY, "wrote %02x, the chip has %02x", value, found);
}

int isp_write_fuse(struct isp *isp, const struct avr_fuse *fuse, uint8_t value, struct error *err)
{
    uint8_t mask = avr_fuse_mask(isp->session->chip, fuse->name), found = 0, unused;
    int rc = isp_read_fuse(isp, fuse, &found, err);
    if (rc != OK || !((found ^ value) & mask))
        return rc;
    rc = check_may_change(isp, fuse, value, mask, err);
    value |= (uint8_t)~mask; /* unused bits are 1 */
    if (rc == OK)
        rc = instruction(isp, fuse->write[0], fuse->write[1], 0x00, value, &unused, err);
    if (rc == OK)
        rc = wait_ready(isp, FUSE_WAIT_TIMES * isp->part->fuse_write_us, err);
    if (rc == OK)
        rc = read_back(isp, fuse, value, mask, err);
    if (rc == OK && strcmp(fuse->name, "lock") == 0)
        isp->lock = value;
    return rc == OK ? OK : error_context(err, "writing %s", fuse->name);
}
