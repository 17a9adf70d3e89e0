/*
 * The Enhanced Embedded Flash Controller of SAM3X and SAM4E (data sheets Atmel-11057 and
 * Atmel-11157, chapter EEFC): one controller and one page latch for each plane. The older EFC of
 * SAM7 works the same way under other numbers: see sam_efc.c.
 *
 * Two things to know: a command takes effect when it ends, so that a reset meanwhile spoils it; and
 * reading FSR clears its error bits.
 */
#include <string.h>

#include "base/bytes.h"
#include "models/flash.h"
#include "sam_chip.h"

enum { FMR = 0x0, FCR = 0x4, FSR = 0x8, FRR = 0xc };
enum { FRDY = 1, FCMDE = 2, FLOCKE = 4, FLERR = 8 };

enum command {
    GETD = 0x00,
    WP = 0x01,
    WPL = 0x02,
    EWP = 0x03,
    EWPL = 0x04,
    EA = 0x05,
    EPA = 0x07,
    SLB = 0x08,
    CLB = 0x09,
    GLB = 0x0a,
    SGPB = 0x0b,
    CGPB = 0x0c,
    GGPB = 0x0d,
    STUI = 0x0e,
    SPUI = 0x0f,
};

enum {
    /* As seen on boards; the data sheets' maxima are three to ten times that. */
    WP_TIME = 2 * MILLISECOND,
    EWP_TIME = 5 * MILLISECOND,
    EPA_TIME = 20 * MILLISECOND,
    EA_TIME_SAM3 = 50 * MILLISECOND,
    EA_TIME_SAM4_MIB = 7300 * MILLISECOND, /* OpenOCD's figure, for each MiB */
    BIT_TIME = 3 * MILLISECOND,            /* GPNVM and lock bits */
    POLL_TIME = 20,                        /* what one look at FSR is worth while an applet waits */
    SMALL_PAGES = 32,                      /* SAM4: the two sectors of 8 KiB at the start */
    SECURITY = 0,
};

static uint32_t plane_size(const struct sam *sam)
{
    return (uint32_t)(sam->flash.size / sam->chip->sam->planes);
}

static uint32_t plane_pages(const struct sam *sam)
{
    return plane_size(sam) / sam->page;
}

static uint32_t plane_locks(const struct sam *sam)
{
    return sam->chip->sam->lock_regions / sam->chip->sam->planes;
}

/* ---- GPNVM and lock bits ---- */

bool eefc_gpnvm(const struct sam *sam, unsigned bit)
{
    return !(sam->options.bytes[0] & 1u << bit);
}

void eefc_set_gpnvm(struct sam *sam, unsigned bit, bool set)
{
    uint8_t mask = (uint8_t)(1u << bit), *bits = sam->options.bytes;
    *bits = (uint8_t)(set ? *bits & ~mask : *bits | mask);
}

bool eefc_locked(const struct sam *sam, size_t plane, uint32_t region)
{
    size_t bit = plane * plane_locks(sam) + region;
    return !(sam->options.bytes[SAM_EEFC_LOCKS + bit / 8] & 1u << bit % 8);
}

static void set_lock(struct sam *sam, size_t plane, uint32_t region, bool lock)
{
    size_t bit = plane * plane_locks(sam) + region;
    uint8_t *bits = &sam->options.bytes[SAM_EEFC_LOCKS + bit / 8], mask = (uint8_t)(1u << bit % 8);
    *bits = (uint8_t)(lock ? *bits & ~mask : *bits | mask);
}

static uint32_t region_of(const struct sam *sam, uint32_t page)
{
    return page / (plane_pages(sam) / plane_locks(sam));
}

static bool any_locked(const struct sam *sam, size_t plane, uint32_t first, uint32_t pages)
{
    if (eefc_gpnvm(sam, SECURITY))
        return true;
    for (uint32_t region = region_of(sam, first); region <= region_of(sam, first + pages - 1);
         region++)
        if (eefc_locked(sam, plane, region))
            return true;
    return false;
}

/* ---- what a command is aimed at ---- */

static uint32_t erased_pages(uint16_t argument)
{
    return 4u << (argument & 3);
}

/* The pages that a command changes; `pages` is 0 for those that change none. */
static void extent(const struct sam *sam, const struct eefc *eefc, uint32_t *first, uint32_t *pages)
{
    *first = eefc->argument;
    *pages = 0;
    switch (eefc->command) {
    case WP:
    case WPL:
    case EWP:
    case EWPL:
        *pages = 1;
        break;
    case EA:
        *first = 0;
        *pages = plane_pages(sam);
        break;
    case EPA:
        *first = eefc->argument & ~3u;
        *pages = erased_pages(eefc->argument);
        break;
    default:
        break;
    }
}

/* Data sheet of the SAM4E: 4 pages at once only in the small sectors, 32 only outside them. */
static bool epa_possible(const struct sam *sam, uint16_t argument)
{
    uint32_t first = argument & ~3u, pages = erased_pages(argument);
    if (!sam->kind->small_sectors || first % pages)
        return false;
    return first < SMALL_PAGES ? pages < 32 : pages > 4;
}

static bool is_valid(const struct sam *sam, size_t plane, const struct eefc *eefc)
{
    uint16_t argument = eefc->argument;
    switch (eefc->command) {
    case EWP:
    case EWPL:
        return argument < (sam->kind->small_sectors ? SMALL_PAGES : plane_pages(sam));
    case WP:
    case WPL:
    case SLB:
    case CLB:
        return argument < plane_pages(sam);
    case EPA:
        return epa_possible(sam, argument) && (argument & ~3u) < plane_pages(sam);
    case SGPB:
        return plane == 0 && argument < sam->kind->gpnvm_bits;
    case EFC_SECURITY:
        return plane == 0;
    case CGPB: /* only the ERASE pin takes the security bit away */
        return plane == 0 && argument < sam->kind->gpnvm_bits && argument != SECURITY;
    case GGPB:
        return plane == 0;
    case GETD:
    case EA:
    case GLB:
    case STUI:
        return true;
    case SPUI:
        return eefc->unique_id;
    default:
        return false;
    }
}

static uint64_t duration(const struct sam *sam, uint8_t command)
{
    if (sam->kind->controller == SAM_EFC)
        return efc_duration(command);
    switch (command) {
    case WP:
    case WPL:
        return WP_TIME;
    case EWP:
    case EWPL:
        return EWP_TIME;
    case EPA:
        return EPA_TIME;
    case EA:
        return sam->kind->small_sectors
                   ? (uint64_t)EA_TIME_SAM4_MIB * plane_size(sam) / (1024 * 1024)
                   : EA_TIME_SAM3;
    case SLB:
    case CLB:
    case SGPB:
    case CGPB:
        return BIT_TIME;
    default:
        return 0;
    }
}

/* ---- results in FRR ---- */

static void push(struct eefc *eefc, uint32_t word)
{
    if (eefc->result_count < sizeof eefc->result / sizeof eefc->result[0])
        eefc->result[eefc->result_count++] = word;
}

/* Flash descriptor: id, size, page size, planes, size of each, lock bits, size of each region. */
static void describe(const struct sam *sam, struct eefc *eefc)
{
    push(eefc, 0x000f0000 | sam->chip->sam->planes);
    push(eefc, plane_size(sam));
    push(eefc, sam->page);
    push(eefc, 1);
    push(eefc, plane_size(sam));
    push(eefc, plane_locks(sam));
    for (uint32_t i = 0; i < plane_locks(sam); i++)
        push(eefc, plane_size(sam) / plane_locks(sam));
}

static void list_locks(const struct sam *sam, size_t plane, struct eefc *eefc)
{
    for (uint32_t first = 0; first < plane_locks(sam); first += 32) {
        uint32_t word = 0;
        for (uint32_t i = 0; i < 32 && first + i < plane_locks(sam); i++)
            word |= (uint32_t)eefc_locked(sam, plane, first + i) << i;
        push(eefc, word);
    }
}

static void list_gpnvm(const struct sam *sam, struct eefc *eefc)
{
    uint32_t word = 0;
    for (unsigned bit = 0; bit < sam->kind->gpnvm_bits; bit++)
        word |= (uint32_t)eefc_gpnvm(sam, bit) << bit;
    push(eefc, word);
}

/* ---- effects ---- */

static void erase(struct sam *sam, size_t plane, uint32_t first, uint32_t pages)
{
    vmemory_erase(&sam->flash, plane * plane_size(sam) + (uint64_t)first * sam->page,
                  (size_t)pages * sam->page);
}

static void program(struct sam *sam, size_t plane, uint32_t page)
{
    struct eefc *eefc = &sam->planes[plane];
    vmemory_program(&sam->flash, plane * plane_size(sam) + (uint64_t)page * sam->page, eefc->latch,
                    sam->page);
}

static void empty_latch(struct eefc *eefc)
{
    memset(eefc->latch, 0xff, sizeof eefc->latch);
    eefc->latch_next = 0;
}

static void take_effect(struct sam *sam, size_t plane)
{
    struct eefc *eefc = &sam->planes[plane];
    uint32_t first, pages;
    extent(sam, eefc, &first, &pages);
    uint8_t command = eefc->command;
    if (command == EWP || command == EWPL || command == EA || command == EPA)
        erase(sam, plane, first, pages);
    if (command == WP || command == WPL || command == EWP || command == EWPL) {
        program(sam, plane, first);
        empty_latch(eefc);
    }
    if (command == SLB || command == WPL || command == EWPL)
        set_lock(sam, plane, region_of(sam, eefc->argument), true);
    if (command == CLB)
        set_lock(sam, plane, region_of(sam, eefc->argument), false);
    if (command == SGPB || command == CGPB)
        eefc_set_gpnvm(sam, eefc->argument, command == SGPB);
    if (command == EFC_SECURITY)
        eefc_set_gpnvm(sam, SECURITY, true);
}

void eefc_settle(struct sam *sam)
{
    for (size_t plane = 0; plane < 2; plane++) {
        struct eefc *eefc = &sam->planes[plane];
        if (!eefc->running || sam_now(sam) < eefc->until)
            continue;
        eefc->running = false;
        take_effect(sam, plane);
    }
}

uint64_t eefc_next(const struct sam *sam)
{
    uint64_t next = UINT64_MAX;
    for (size_t plane = 0; plane < 2; plane++)
        if (sam->planes[plane].running && sam->planes[plane].until < next)
            next = sam->planes[plane].until;
    return next;
}

/* ---- commands ---- */

static void answer_at_once(struct sam *sam, size_t plane)
{
    struct eefc *eefc = &sam->planes[plane];
    switch (eefc->command) {
    case GETD:
        describe(sam, eefc);
        break;
    case GLB:
        list_locks(sam, plane, eefc);
        break;
    case GGPB:
        list_gpnvm(sam, eefc);
        break;
    case STUI:
    case SPUI:
        eefc->unique_id = eefc->command == STUI;
        break;
    default:
        break;
    }
}

static void begin(struct sam *sam, size_t plane)
{
    struct eefc *eefc = &sam->planes[plane];
    uint64_t takes = duration(sam, eefc->command);
    uint32_t first, pages;
    extent(sam, eefc, &first, &pages);
    if (!is_valid(sam, plane, eefc)) {
        eefc->errors |= FCMDE;
    } else if (takes && sam_fails(sam)) {
        eefc->errors |= sam->kind->small_sectors ? FLERR : FCMDE;
    } else if (pages && any_locked(sam, plane, first, pages)) {
        eefc->errors |= FLOCKE;
    } else if (takes) {
        eefc->running = true;
        eefc->until = sam_after(sam, takes);
        eefc_settle(sam);
    } else {
        answer_at_once(sam, plane);
    }
}

static void command(struct sam *sam, size_t plane, uint32_t value)
{
    struct eefc *eefc = &sam->planes[plane];
    bool only_stop = eefc->unique_id && (value & 0xff) != SPUI;
    eefc->result_count = eefc->result_at = 0;
    if (eefc->running || only_stop || value >> 24 != 0x5a) {
        eefc->errors |= FCMDE;
        return;
    }
    eefc->command = (uint8_t)value;
    eefc->argument = (uint16_t)(value >> 8);
    if (sam->kind->controller == SAM_EFC) {
        eefc->command = efc_command(eefc, (uint8_t)(value & 0xf));
        eefc->argument &= 0x3ff;
        if (eefc->command == SGPB || eefc->command == CGPB)
            eefc->argument++; /* bit 0 is the security bit here */
    }
    begin(sam, plane);
}

/* ---- registers ---- */

static uint32_t status(struct sam *sam, size_t plane)
{
    struct eefc *eefc = &sam->planes[plane];
    eefc_settle(sam);
    uint32_t value = eefc->errors | (eefc->running || eefc->unique_id ? 0 : FRDY);
    eefc->errors = 0;
    if (eefc->running)
        sam_spend(sam, POLL_TIME);
    if (sam->kind->controller == SAM_EFC)
        return efc_status(sam, plane, value);
    return value;
}

uint32_t eefc_register(struct sam *sam, size_t plane, uint32_t offset)
{
    struct eefc *eefc = &sam->planes[plane];
    switch (offset) {
    case FMR:
        return eefc->fmr;
    case FSR:
        return status(sam, plane);
    case FRR: /* of the EFC nobody gets so far */
        return eefc->result_at < eefc->result_count ? eefc->result[eefc->result_at++] : 0;
    default:
        return 0;
    }
}

void eefc_set_register(struct sam *sam, size_t plane, uint32_t offset, uint32_t value)
{
    eefc_settle(sam);
    if (offset == FMR)
        sam->planes[plane].fmr = value;
    else if (offset == FCR)
        command(sam, plane, value);
}

/* ---- the array ---- */

uint32_t eefc_flash(struct sam *sam, uint32_t offset, unsigned size)
{
    struct eefc *eefc = &sam->planes[offset / plane_size(sam)];
    uint32_t value = 0;
    if (eefc->running) /* the bus waits for the plane */
        sam_spend_until(sam, eefc->until);
    eefc_settle(sam);
    if (eefc_gpnvm(sam, SECURITY))
        return 0;
    for (unsigned i = 0; i < size; i++) {
        uint32_t at = offset + i, in_plane = at % plane_size(sam);
        uint8_t byte = eefc->unique_id && in_plane < 16 ? (uint8_t)('A' + in_plane)
                                                        : vmemory_byte(&sam->flash, at);
        value |= (uint32_t)byte << 8 * i;
    }
    return value;
}

/* The latch takes words, in order, with six wait states (errata of SAM3 and SAM4): a narrow store
 * fills its word with copies, and everything else leaves wrong bits. */
void eefc_latch(struct sam *sam, uint32_t offset, unsigned size, uint32_t value)
{
    struct eefc *eefc = &sam->planes[offset / plane_size(sam)];
    uint32_t at = offset % sam->page & ~3u;
    if (eefc->running)
        sam_spend_until(sam, eefc->until);
    eefc_settle(sam);
    if (size == 1)
        value = (value & 0xff) * 0x01010101u;
    else if (size == 2)
        value = (value & 0xffff) * 0x00010001u;
    bool in_order = at == eefc->latch_next || (size < 4 && at + 4 == eefc->latch_next);
    bool too_fast = sam->kind->controller == SAM_EEFC && (eefc->fmr >> 8 & 0xf) != 6;
    if (!in_order || too_fast)
        value ^= 0x00100401;
    put_le32(eefc->latch + at, value);
    eefc->latch_next = (at + 4) % sam->page;
}

/* ---- reset ---- */

/* What was running is lost: half the pages are done, a bit is not. */
static void abort_command(struct sam *sam, size_t plane)
{
    struct eefc *eefc = &sam->planes[plane];
    uint32_t first, pages;
    extent(sam, eefc, &first, &pages);
    if (eefc->command == EA || eefc->command == EPA)
        erase(sam, plane, first, pages / 2);
    else if (pages)
        memset(sam->flash.bytes + plane * plane_size(sam) + (size_t)first * sam->page, 0,
               sam->page / 2);
}

void eefc_reset(struct sam *sam, bool power)
{
    eefc_settle(sam);
    for (size_t plane = 0; plane < 2; plane++) {
        struct eefc *eefc = &sam->planes[plane];
        if (eefc->running)
            abort_command(sam, plane);
        struct eefc after = {.fmr = sam->kind->controller == SAM_EFC ? 0x00480100 : 0};
        if (power)
            memset(after.latch, 0x5a, sizeof after.latch);
        else
            memcpy(after.latch, eefc->latch, sizeof after.latch);
        *eefc = after;
    }
}
