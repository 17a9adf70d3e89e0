/*
 * What the bytes tell about themselves: the vector table of a Cortex-M (ARMv7-M Architecture
 * Reference Manual, B1.5.3), Katapult, and the address a raw binary was linked for.
 *
 * A reset vector alone says little: a 41 KB program fits most of the usual start addresses. So the
 * link address is first read from what the program states exactly.
 */
#include "image/format.h"

#include <string.h>

#include "base/bytes.h"

enum {
    VECTORS = 16, /* words of the table that every Cortex-M has */
    RESERVED_FIRST = 7,
    RESERVED_LAST = 10, /* chip makers keep checksums and sizes there (NXP LPC: word 7) */
    RESERVED_DEBUG = 13,
    RP2040_SECOND_STAGE = 0x100, /* RP2040 data sheet 2.8.1: loader before the vector table */
    KATAPULT_MARK_AT = 9,        /* the mark lies that many bytes before the reset vector */
    KATAPULT_ALIGN = 0x1000,
    KATAPULT_TABLE_MAX = 0x400,
    DEPLOYER_RESET = 9, /* the deployer has two vectors, and its code begins behind them */
    DEPLOYER_ALIGN = 0x100,
};

#define RP_FLASH 0x10000000u

static const char katapult_mark[] = "CanBoot!";

static const struct segment *lowest_flash(const struct image *image)
{
    return image->count && image->segments[0].memory == MEM_FLASH ? &image->segments[0] : NULL;
}

/* ---- vector table ---- */

static bool stack_plausible(uint32_t sp)
{
    bool usual = sp >= 0x1ffe0000u && sp <= 0x3fffffffu; /* SRAM and what lies just below it */
    bool low = sp > 0x10000000u && sp <= 0x10020000u;    /* LPC17xx main RAM, STM32 CCM */
    return sp % 4 == 0 && (usual || low);
}

static bool reserved(size_t vector)
{
    return (vector >= RESERVED_FIRST && vector <= RESERVED_LAST) || vector == RESERVED_DEBUG;
}

static bool table_at(const struct segment *segment, size_t offset, struct vector_facts *facts)
{
    if (segment->length < offset + 8)
        return false;
    const uint8_t *table = segment->data + offset;
    uint32_t sp = get_le32(table), reset = get_le32(table + 4);
    if (!stack_plausible(sp) || !(reset & 1) || reset >= 0xa0000000u)
        return false;
    *facts = (struct vector_facts){.plausible = true, .sp = sp, .reset = reset};
    facts->low = facts->high = reset & ~1u;
    size_t words = (segment->length - offset) / 4;
    for (size_t i = 2; i < VECTORS && i < words; i++) {
        uint32_t vector = get_le32(table + 4 * i) & ~1u;
        if (vector == 0 || reserved(i))
            continue;
        facts->low = vector < facts->low ? vector : facts->low;
        facts->high = vector > facts->high ? vector : facts->high;
    }
    return true;
}

static bool behind_second_stage(const struct segment *segment, struct vector_facts *facts)
{
    struct vector_facts found;
    if (!table_at(segment, RP2040_SECOND_STAGE, &found) || found.reset >> 24 != RP_FLASH >> 24)
        return false;
    *facts = found;
    return true;
}

static bool has_second_stage(const struct image *image)
{
    struct vector_facts facts;
    const struct segment *segment = lowest_flash(image);
    return segment && !table_at(segment, 0, &facts) && behind_second_stage(segment, &facts);
}

static void find_vectors(struct image *image)
{
    const struct segment *segment = lowest_flash(image);
    image->vectors = (struct vector_facts){0};
    if (!segment || image->machine == MACHINE_AVR || image->machine == MACHINE_OTHER)
        return;
    if (!table_at(segment, 0, &image->vectors))
        (void)behind_second_stage(segment, &image->vectors);
}

/* ---- Katapult ---- */

static bool mark_at(const struct segment *segment, uint64_t offset)
{
    size_t length = sizeof katapult_mark - 1;
    return offset <= segment->length && length <= segment->length - offset &&
           memcmp(segment->data + offset, katapult_mark, length) == 0;
}

/* Programs linked for Katapult hold the mark too, to look for it: only its place counts. On
 * success *base is where the program must lie. */
static bool katapult_itself(const struct image *image, uint64_t *base)
{
    const struct segment *segment = lowest_flash(image);
    if (!segment || !image->vectors.plausible || image->vectors.reset < KATAPULT_MARK_AT)
        return false;
    uint32_t mark = image->vectors.reset - KATAPULT_MARK_AT;
    *base = image->placed ? segment->address : mark - mark % KATAPULT_ALIGN;
    return mark >= *base && mark - *base < KATAPULT_TABLE_MAX && mark_at(segment, mark - *base);
}

/* Klipper built for a bootloader holds the mark as well; what tells it apart is its dictionary. */
static bool katapult_deployer(const struct image *image, uint64_t *base)
{
    const struct segment *segment = lowest_flash(image);
    uint32_t reset = image->vectors.reset;
    if (!segment || !image->vectors.plausible || image->klipper.present ||
        reset % DEPLOYER_ALIGN != DEPLOYER_RESET)
        return false;
    *base = reset - DEPLOYER_RESET;
    return (!image->placed || *base == segment->address) &&
           memmem(segment->data, segment->length, katapult_mark, sizeof katapult_mark - 1);
}

void image_identify(struct image *image)
{
    uint64_t base;
    find_vectors(image);
    klipper_find(image, &image->klipper);
    image->katapult = katapult_itself(image, &base);
    if (!image->katapult && katapult_deployer(image, &base)) {
        image->katapult = true; /* behind its two vectors is code */
        image->vectors.low = image->vectors.high = image->vectors.reset & ~1u;
    }
}

/* ---- link address ---- */

/* Everything known about the image that a candidate is held against. */
struct link {
    const struct image *image;
    uint64_t start, size; /* of the flash part */
    bool exact;
    uint64_t base; /* if exact */
    bool rp2;      /* copies itself to RAM: stores no address of its dictionary in flash */
};

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static struct link link_of(const struct image *image, uint64_t start, uint64_t end)
{
    struct link link = {.image = image, .start = start, .size = end - start};
    const char *mcu = image->klipper.mcu;
    link.exact = katapult_itself(image, &link.base) || katapult_deployer(image, &link.base);
    if (begins(mcu, "atmega") || begins(mcu, "at90")) { /* AVR programs begin at 0 */
        link.exact = true;
        link.base = 0;
    }
    link.rp2 = begins(mcu, "rp2");
    return link;
}

static bool stores_word(const struct image *image, uint32_t word)
{
    uint8_t bytes[4];
    put_le32(bytes, word);
    for (size_t i = 0; i < image->count; i++) {
        const struct segment *s = &image->segments[i];
        if (s->memory != MEM_FLASH)
            break;
        for (size_t at = -s->address % 4; s->length >= 4 && at <= s->length - 4; at += 4)
            if (memcmp(s->data + at, bytes, 4) == 0)
                return true;
    }
    return false;
}

static bool vectors_fit(const struct link *link, uint64_t base)
{
    const struct vector_facts *vectors = &link->image->vectors;
    return vectors->plausible && vectors->low >= base && vectors->high - base < link->size;
}

static bool rp2_fits(const struct link *link, uint64_t base)
{
    bool at_start = base == RP_FLASH || base == RP_FLASH + RP2040_SECOND_STAGE;
    if (has_second_stage(link->image) ||
        (at_start && strcmp(link->image->klipper.mcu, "rp2040") == 0))
        return at_start && has_second_stage(link->image);
    return vectors_fit(link, base);
}

static bool fits(const struct link *link, uint64_t base)
{
    const struct klipper_facts *klipper = &link->image->klipper;
    if (link->exact)
        return base == link->base;
    if (link->rp2)
        return rp2_fits(link, base);
    if (!klipper->present)
        return vectors_fit(link, base);
    uint64_t dictionary = base + (klipper->address - link->start);
    return dictionary <= UINT32_MAX && stores_word(link->image, (uint32_t)dictionary) &&
           (!link->image->vectors.plausible || vectors_fit(link, base));
}

size_t image_link_address(const struct image *image, const uint64_t *bases, size_t count,
                          uint64_t *found)
{
    uint64_t start, end;
    if (!image_extent(image, MEM_FLASH, &start, &end))
        return 0;
    struct link link = link_of(image, start, end);
    size_t fitting = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < count; i++) {
        if (!fits(&link, bases[i]) || (fitting && bases[i] == last))
            continue;
        last = bases[i];
        fitting++;
    }
    if (fitting == 1)
        *found = last;
    return fitting;
}
