/* AVR fuses and lock bits: see fuses.h. Bit names are those of the data sheets. */
#include "avr/fuses.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

/* ---- Which bits a part has ---- */

struct field {
    const char *name; /* NULL ends a list */
    uint8_t shift, width;
};

static const struct field LOW[] = {
    {"CKDIV8", 7, 1}, {"CKOUT", 6, 1}, {"SUT", 4, 2}, {"CKSEL", 0, 4}, {0}};
static const struct field LOW_32[] = {
    {"BODLEVEL", 7, 1}, {"BODEN", 6, 1}, {"SUT", 4, 2}, {"CKSEL", 0, 4}, {0}};

static const struct field HIGH_JTAG[] = {
    {"OCDEN", 7, 1},  {"JTAGEN", 6, 1}, {"SPIEN", 5, 1},   {"WDTON", 4, 1},
    {"EESAVE", 3, 1}, {"BOOTSZ", 1, 2}, {"BOOTRST", 0, 1}, {0}};
static const struct field HIGH_32[] = {
    {"OCDEN", 7, 1},  {"JTAGEN", 6, 1}, {"SPIEN", 5, 1},   {"CKOPT", 4, 1},
    {"EESAVE", 3, 1}, {"BOOTSZ", 1, 2}, {"BOOTRST", 0, 1}, {0}};
static const struct field HIGH_328[] = {
    {"RSTDISBL", 7, 1}, {"DWEN", 6, 1},   {"SPIEN", 5, 1},   {"WDTON", 4, 1},
    {"EESAVE", 3, 1},   {"BOOTSZ", 1, 2}, {"BOOTRST", 0, 1}, {0}};
static const struct field HIGH_162[] = {
    {"DWEN", 7, 1},   {"RSTDISBL", 6, 1}, {"SPIEN", 5, 1},   {"WDTON", 4, 1},
    {"EESAVE", 3, 1}, {"BOOTSZ", 1, 2},   {"BOOTRST", 0, 1}, {0}};
static const struct field HIGH_168[] = {{"RSTDISBL", 7, 1},
                                        {"DWEN", 6, 1},
                                        {"SPIEN", 5, 1},
                                        {"WDTON", 4, 1},
                                        {"EESAVE", 3, 1},
                                        {"BODLEVEL", 0, 3},
                                        {0}};

static const struct field EXT_BOD[] = {{"BODLEVEL", 0, 3}, {0}};
static const struct field EXT_HWB[] = {{"HWBE", 3, 1}, {"BODLEVEL", 0, 3}, {0}};
static const struct field EXT_CFD[] = {{"CFD", 3, 1}, {"BODLEVEL", 0, 3}, {0}};
static const struct field EXT_168[] = {{"BOOTSZ", 1, 2}, {"BOOTRST", 0, 1}, {0}};
static const struct field EXT_T85[] = {{"SELFPRGEN", 0, 1}, {0}};
static const struct field NONE[] = {{0}};

static const struct field LOCK_BOOT[] = {{"BLB1", 4, 2}, {"BLB0", 2, 2}, {"LB", 0, 2}, {0}};
static const struct field LOCK_PLAIN[] = {{"LB", 0, 2}, {0}};

/* What the values of CKSEL mean differs between these. */
enum clocks { CLOCKS_MEGA, CLOCKS_T85, CLOCKS_32 };

static const struct layout {
    const char *chips; /* names, by blanks */
    const struct field *low, *high, *ext, *lock;
    enum clocks clocks;
} layouts[] = {
    {"atmega168 atmega168p", LOW, HIGH_168, EXT_168, LOCK_BOOT, CLOCKS_MEGA},
    {"atmega328 atmega328p", LOW, HIGH_328, EXT_BOD, LOCK_BOOT, CLOCKS_MEGA},
    {"atmega328pb", LOW, HIGH_328, EXT_CFD, LOCK_BOOT, CLOCKS_MEGA},
    {"atmega644 atmega644p atmega1280 atmega1281 atmega1284 atmega1284p atmega2560", LOW, HIGH_JTAG,
     EXT_BOD, LOCK_BOOT, CLOCKS_MEGA},
    {"atmega32u4 at90usb646 at90usb1286", LOW, HIGH_JTAG, EXT_HWB, LOCK_BOOT, CLOCKS_MEGA},
    {"at90usb162", LOW, HIGH_162, EXT_HWB, LOCK_BOOT, CLOCKS_MEGA},
    {"atmega32", LOW_32, HIGH_32, NONE, LOCK_BOOT, CLOCKS_32},
    {"attiny85", LOW, HIGH_168, EXT_T85, LOCK_PLAIN, CLOCKS_T85},
};

static const struct layout *layout_of(const struct chip *chip)
{
    for (size_t n = 0; n < sizeof layouts / sizeof layouts[0]; n++)
        if (text_has_word(layouts[n].chips, chip->name))
            return &layouts[n];
    return NULL;
}

/* ---- Fuse bytes and their instructions ---- */

static const struct avr_fuse fuse_bytes[] = {
    {"efuse", {0x50, 0x08}, {0xac, 0xa4}},
    {"hfuse", {0x58, 0x08}, {0xac, 0xa8}},
    {"lfuse", {0x50, 0x00}, {0xac, 0xa0}},
    {"lock", {0x58, 0x00}, {0xac, 0xe0}},
};

uint8_t avr_fuse_mask(const struct chip *chip, const char *name)
{
    /* A part without a layout has no fuses that can be reached (LGT8F328P). */
    if (!chip->avr || !layout_of(chip))
        return 0;
    switch (name[0] | 0x20) {
    case 'e':
        return chip->avr->efuse_mask;
    case 'h':
        return chip->avr->hfuse_mask;
    default:
        return strcasecmp(name, "lock") == 0 ? chip->avr->lock_mask : chip->avr->lfuse_mask;
    }
}

const struct avr_fuse *avr_fuse_at(const struct chip *chip, size_t n)
{
    for (size_t i = 0; i < sizeof fuse_bytes / sizeof fuse_bytes[0]; i++)
        if (avr_fuse_mask(chip, fuse_bytes[i].name) && n-- == 0)
            return &fuse_bytes[i];
    return NULL;
}

const struct avr_fuse *avr_fuse_find(const struct chip *chip, const char *name)
{
    const struct avr_fuse *fuse;
    for (size_t n = 0; (fuse = avr_fuse_at(chip, n)); n++)
        if (strcasecmp(fuse->name, name) == 0)
            return fuse;
    return NULL;
}

/* The bits of a fuse byte; an empty list if the chip has no such byte. */
static const struct field *fields_of(const struct chip *chip, const char *name)
{
    const struct avr_fuse *fuse = avr_fuse_find(chip, name);
    const struct layout *layout = layout_of(chip);
    if (!fuse || !layout)
        return NONE;
    switch (fuse->name[0]) {
    case 'e':
        return layout->ext;
    case 'h':
        return layout->high;
    default:
        return fuse->name[1] == 'o' ? layout->lock : layout->low;
    }
}

static unsigned field_value(const struct field *field, uint32_t value)
{
    return (unsigned)(value >> field->shift) & ((1u << field->width) - 1);
}

/* ---- Clocks ---- */

/* What one value of CKSEL selects. `danger`: a source that a board seldom has. */
struct clock_source {
    uint8_t first, last; /* CKSEL */
    uint32_t floor;      /* Hz, before CKDIV8; 0 = any */
    const char *meaning;
    const char *danger;
};

static const char EXTERNAL[] =
    "CKSEL=0000 selects an external clock signal: with a crystal or nothing on XTAL1 the chip "
    "stands still and cannot be programmed any more";
static const char WATCH[] =
    "this CKSEL selects a 32.768 kHz watch crystal: without one the chip stands still and cannot "
    "be programmed any more";
static const char SLOW[] =
    "this CKSEL selects the 128 kHz oscillator: programmers that cannot go below 4 kHz cannot "
    "reach the chip any more";
static const char RESERVED[] = "this CKSEL is reserved: the chip may be left without a clock";
static const char EXTERNAL_RC[] =
    "this CKSEL selects an external RC oscillator: without R and C on XTAL1 the chip stands still "
    "and cannot be programmed any more";

/* The factory-calibrated RC oscillator is good to 10 % (data sheets, "Calibrated Internal RC
 * Oscillator Accuracy"), hence 7.2 MHz. */
static const struct clock_source mega_clocks[] = {
    {0x0, 0x0, 0, "external clock", EXTERNAL},
    {0x1, 0x1, 0, "reserved", RESERVED},
    {0x2, 0x2, 7200000, "internal 8 MHz", NULL},
    {0x3, 0x3, 100000, "internal 128 kHz", SLOW},
    {0x4, 0x5, 32768, "watch crystal", WATCH},
    {0x6, 0x7, 400000, "full swing crystal", NULL},
    {0x8, 0x9, 400000, "resonator, 0.4 to 0.9 MHz", NULL},
    {0xa, 0xb, 900000, "crystal, 0.9 to 3 MHz", NULL},
    {0xc, 0xd, 3000000, "crystal, 3 to 8 MHz", NULL},
    {0xe, 0xf, 8000000, "crystal, 8 MHz or more", NULL},
};

static const struct clock_source t85_clocks[] = {
    {0x0, 0x0, 0, "external clock", EXTERNAL},
    {0x1, 0x1, 14400000, "PLL, 16 MHz", NULL},
    {0x2, 0x2, 7200000, "internal 8 MHz", NULL},
    {0x3, 0x3, 1400000, "internal 6.4 MHz", NULL}, /* divided by 4 at start */
    {0x4, 0x4, 100000, "internal 128 kHz", SLOW},
    {0x5, 0x5, 0, "reserved", RESERVED},
    {0x6, 0x6, 32768, "watch crystal", WATCH},
    {0x7, 0x7, 0, "reserved", RESERVED},
    {0x8, 0x9, 400000, "resonator, 0.4 to 0.9 MHz", NULL},
    {0xa, 0xb, 900000, "crystal, 0.9 to 3 MHz", NULL},
    {0xc, 0xd, 3000000, "crystal, 3 to 8 MHz", NULL},
    {0xe, 0xf, 8000000, "crystal, 8 MHz or more", NULL},
};

/* ATmega32: CKOPT in hfuse widens the crystal's range, so its floor is that of the lowest range
 * that the same CKSEL can mean. */
static const struct clock_source m32_clocks[] = {
    {0x0, 0x0, 0, "external clock", EXTERNAL},
    {0x1, 0x1, 900000, "internal 1 MHz", NULL},
    {0x2, 0x2, 1800000, "internal 2 MHz", NULL},
    {0x3, 0x3, 3600000, "internal 4 MHz", NULL},
    {0x4, 0x4, 7200000, "internal 8 MHz", NULL},
    {0x5, 0x8, 0, "external RC oscillator", EXTERNAL_RC},
    {0x9, 0x9, 32768, "watch crystal", WATCH},
    {0xa, 0xb, 400000, "resonator, 0.4 to 0.9 MHz", NULL},
    {0xc, 0xd, 900000, "crystal, 0.9 to 3 MHz", NULL},
    {0xe, 0xf, 1000000, "crystal, 1 MHz or more", NULL},
};

static const struct clock_source *clock_source(const struct layout *layout, unsigned cksel)
{
    const struct clock_source *source = layout->clocks == CLOCKS_T85  ? t85_clocks
                                        : layout->clocks == CLOCKS_32 ? m32_clocks
                                                                      : mega_clocks;
    while (cksel > source->last)
        source++;
    return source;
}

uint32_t fuse_clock_floor(const struct chip *chip, uint8_t lfuse)
{
    enum { CKDIV8 = 0x80, CKSEL = 0x0f };
    const struct layout *layout = layout_of(chip);
    if (!layout)
        return 0;
    uint32_t floor = clock_source(layout, lfuse & CKSEL)->floor;
    bool divided = layout->clocks != CLOCKS_32 && !(lfuse & CKDIV8);
    return divided ? floor / 8 : floor;
}

/* ---- Text ---- */

static const char *lock_meaning(unsigned lb)
{
    return lb == LOCK_OPEN       ? "open"
           : lb == LOCK_NO_WRITE ? "writing is off"
           : lb == LOCK_NO_READ  ? "reading and writing are off"
                                 : "not a valid mode";
}

static void append_boot_section(const struct chip *chip, unsigned bootsz, char *text, size_t size)
{
    uint32_t bytes = chip->avr->boot_bytes[3 - bootsz]; /* listed from BOOTSZ=11 down to 00 */
    if (bytes)
        text_append(text, size, " (%u bytes at 0x%x)", (unsigned)bytes,
                    (unsigned)(chip->regions[0].start + chip->regions[0].size - bytes));
}

/* What a value means, where its bits alone do not tell. */
static void append_meaning(const struct chip *chip, const struct field *field, unsigned bits,
                           char *text, size_t size)
{
    if (strcmp(field->name, "CKSEL") == 0)
        text_append(text, size, " (%s)", clock_source(layout_of(chip), bits)->meaning);
    else if (strcmp(field->name, "BOOTSZ") == 0)
        append_boot_section(chip, bits, text, size);
    else if (strcmp(field->name, "BOOTRST") == 0)
        text_append(text, size, " (starts in the %s)", bits ? "application" : "bootloader");
    else if (strcmp(field->name, "LB") == 0)
        text_append(text, size, " (%s)", lock_meaning(bits));
}

void fuse_decode(const struct chip *chip, const char *name, uint8_t value, char *text, size_t size)
{
    text[0] = '\0';
    for (const struct field *field = fields_of(chip, name); field->name; field++) {
        unsigned bits = field_value(field, value);
        text_append(text, size, "%s%s=", text[0] ? " " : "", field->name);
        for (unsigned bit = field->width; bit-- > 0;)
            text_append(text, size, "%u", bits >> bit & 1);
        append_meaning(chip, field, bits, text, size);
    }
}

/* ---- Danger ---- */

static const struct danger {
    const char *field;
    unsigned value; /* the value not to write */
    const char *reason;
} dangers[] = {
    {"RSTDISBL", 0,
     "RSTDISBL=0 turns the RESET pin into a port pin: the chip cannot be programmed by ISP any "
     "more, and boards cannot reset it"},
    {"DWEN", 0,
     "DWEN=0 gives the RESET pin to debugWIRE: the chip cannot be programmed by ISP any more"},
    {"SPIEN", 1,
     "SPIEN=1 turns serial programming off: the chip cannot be programmed by ISP any more"},
    {"WDTON", 0,
     "WDTON=0 keeps the watchdog running for ever: a bootloader that does not serve it is reset "
     "again and again"},
};

const char *fuse_danger(const struct chip *chip, const char *name, uint32_t value)
{
    for (const struct field *field = fields_of(chip, name); field->name; field++) {
        unsigned bits = field_value(field, value);
        for (size_t n = 0; n < sizeof dangers / sizeof dangers[0]; n++)
            if (strcmp(field->name, dangers[n].field) == 0 && bits == dangers[n].value)
                return dangers[n].reason;
        if (strcmp(field->name, "CKSEL") == 0 && clock_source(layout_of(chip), bits)->danger)
            return clock_source(layout_of(chip), bits)->danger;
    }
    return NULL;
}
