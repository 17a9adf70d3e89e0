/*
 * See stm32_options.h. Layouts from RM0008 and RM0091 (F1, F0: bytes with their complements),
 * RM0090 (F4), RM0444 (G0: words with their complements) and RM0433 (H7).
 *
 * One thing to know: on F0 and F1 a write erases all option bytes first, so that a write that
 * leaves out the first ones leaves the chip read-out protected.
 */
#include "stm32_options.h"

#include <string.h>

#include "base/bytes.h"

enum {
    PAIRS_USER = 2,
    PAIRS_WRP = 8, /* four bytes, each followed by its complement */
    PAIRS_SIZE = 16,
    F4_RDP = 1,
    F4_WRP = 8,
    G0_WRP_A = 0x18, /* first page in bits 5:0, last in 21:16 */
    G0_WRP_B = 0x20,
    G0_NO_PAGE = 0x3f,
    H7_RDP = 1,
    H7_WRP = 8,
    RDP_LEVEL_1 = 0xbb, /* any value that is none of the others */
    RDP_LEVEL_2 = 0xcc,
};

/* STM32G071 as delivered (RM0444, FLASH_OPTR), with RDP open. */
static const uint32_t g0_optr = 0xfffffeaa;

static uint8_t *at(const struct vstm32_options *options, size_t offset)
{
    return options->bytes->bytes + offset;
}

static void put_pair(struct vstm32_options *options, size_t offset, uint8_t value)
{
    at(options, offset)[0] = value;
    at(options, offset)[1] = (uint8_t)~value;
}

static void put_word_pair(struct vstm32_options *options, size_t offset, uint32_t value)
{
    put_le32(at(options, offset), value);
    put_le32(at(options, offset + 4), ~value);
}

static uint8_t *rdp(const struct vstm32_options *options)
{
    switch (options->family->options) {
    case OPTIONS_F4:
        return at(options, F4_RDP);
    case OPTIONS_H7:
        return at(options, H7_RDP);
    default:
        return at(options, 0);
    }
}

/* ---- as delivered ---- */

static void factory(struct vstm32_options *options)
{
    switch (options->family->options) {
    case OPTIONS_PAIRS:
        for (size_t i = PAIRS_USER; i < PAIRS_SIZE; i += 2)
            put_pair(options, i, 0xff);
        break;
    case OPTIONS_F4:
        put_le16(at(options, 0), 0xffec);
        put_le16(at(options, F4_WRP), 0x0fff);
        break;
    case OPTIONS_G0:
        put_word_pair(options, 0, g0_optr);
        break;
    default:
        break;
    }
    vstm32_protect(options, NULL, 0);
    vstm32_set_level(options, 0);
}

void vstm32_options_init(struct vstm32_options *options)
{
    for (size_t i = 0; i < VSTM32_OPTIONS; i++)
        if (*at(options, i) != 0xff)
            return;
    factory(options);
}

/* ---- read-out protection ---- */

/* RM0008: on the F1 any value but A5 protects, also one that does not match its complement. */
unsigned vstm32_level(const struct vstm32_options *options)
{
    bool pairs = options->family->options == OPTIONS_PAIRS;
    bool is_f1 = options->family->rdp_open == 0xa5;
    uint8_t value = *rdp(options);
    if (pairs && (at(options, 0)[0] ^ at(options, 1)[0]) != 0xff)
        return 1;
    if (value == options->family->rdp_open)
        return 0;
    return value == RDP_LEVEL_2 && !is_f1 ? 2 : 1;
}

void vstm32_set_level(struct vstm32_options *options, unsigned level)
{
    uint8_t value = level == 0 ? options->family->rdp_open : level == 1 ? RDP_LEVEL_1 : RDP_LEVEL_2;
    *rdp(options) = value;
    if (options->family->options == OPTIONS_PAIRS)
        put_pair(options, 0, value);
    else if (options->family->options == OPTIONS_G0)
        put_word_pair(options, 0, get_le32(at(options, 0)));
}

/* ---- write protection ---- */

uint32_t vstm32_sectors(const struct vstm32_options *options)
{
    uint32_t sectors = options->pages / options->pages_per_sector;
    return options->family->options == OPTIONS_PAIRS && sectors > 32 ? 32 : sectors;
}

/* The byte that holds a sector's bit, 0 = protected. */
static uint8_t *sector_byte(const struct vstm32_options *options, uint32_t sector)
{
    switch (options->family->options) {
    case OPTIONS_PAIRS:
        return at(options, PAIRS_WRP + (size_t)sector / 8 * 2);
    case OPTIONS_F4:
        return at(options, F4_WRP + (size_t)sector / 8);
    default:
        return at(options, H7_WRP + (size_t)sector / 8);
    }
}

static bool in_g0_area(const struct vstm32_options *options, size_t area, uint32_t page)
{
    uint32_t word = get_le32(at(options, area));
    return page >= (word & G0_NO_PAGE) && page <= (word >> 16 & G0_NO_PAGE);
}

/* Where pages outnumber the bits, the last bit stands for all the rest (RM0008, high density). */
bool vstm32_page_protected(const struct vstm32_options *options, uint32_t page)
{
    if (options->family->options == OPTIONS_G0)
        return in_g0_area(options, G0_WRP_A, page) || in_g0_area(options, G0_WRP_B, page);
    uint32_t sector = page / options->pages_per_sector, sectors = vstm32_sectors(options);
    if (sector >= sectors)
        sector = sectors - 1;
    return !(*sector_byte(options, sector) >> sector % 8 & 1);
}

/* The G0 has two areas, not bits: one of them is made to hold all of the list. */
static void protect_g0(struct vstm32_options *options, const uint8_t *sectors, size_t count)
{
    uint32_t first = G0_NO_PAGE, last = 0;
    for (size_t i = 0; i < count; i++) {
        first = sectors[i] < first ? sectors[i] : first;
        last = sectors[i] > last ? sectors[i] : last;
    }
    put_word_pair(options, G0_WRP_A, last << 16 | first);
    put_word_pair(options, G0_WRP_B, G0_NO_PAGE);
}

static void write_sector_bit(struct vstm32_options *options, uint32_t sector, bool open)
{
    uint8_t *byte = sector_byte(options, sector);
    uint8_t mask = (uint8_t)(1u << sector % 8);
    *byte = (uint8_t)(open ? *byte | mask : *byte & ~mask);
    if (options->family->options == OPTIONS_PAIRS)
        byte[1] = (uint8_t) ~*byte;
}

void vstm32_protect(struct vstm32_options *options, const uint8_t *sectors, size_t count)
{
    if (options->family->options == OPTIONS_G0) {
        protect_g0(options, sectors, count);
        return;
    }
    for (uint32_t sector = 0; sector < vstm32_sectors(options); sector++)
        write_sector_bit(options, sector, true);
    for (size_t i = 0; i < count; i++)
        write_sector_bit(options, sectors[i], false);
}

/* ---- written as memory ---- */

/* The controller makes the complements itself. */
void vstm32_options_write(struct vstm32_options *options, uint32_t offset, const uint8_t *bytes,
                          size_t length)
{
    enum vstm32_option_layout layout = options->family->options;
    size_t pair = layout == OPTIONS_G0 ? 4 : 1;
    if (layout == OPTIONS_PAIRS)
        memset(at(options, 0), 0xff, PAIRS_SIZE);
    for (size_t i = 0; i < length && offset + i < VSTM32_OPTIONS; i++) {
        bool complement = layout != OPTIONS_F4 && (offset + i) / pair % 2;
        *at(options, offset + i) =
            complement ? (uint8_t) ~*at(options, offset + i - pair) : bytes[i];
    }
}
