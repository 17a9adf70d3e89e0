/* See options.h. Offsets and bits: RM0008 (F1), RM0091 (F0), RM0090 (F4), RM0385 (F7), RM0444 (G0),
 * RM0440 (G4), RM0351 (L4). */
#include "stm32/options.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

static const struct option_field fields[] = {
    {"F0 F1 F3", "rdp", 0, 1, 1},          {"F0 F1 F3", "user", 2, 1, 1},
    {"F0 F1 F3", "data0", 4, 1, 1},        {"F0 F1 F3", "data1", 6, 1, 1},
    {"F0 F1 F3", "wrp0", 8, 1, 1},         {"F0 F1 F3", "wrp1", 10, 1, 1},
    {"F0 F1 F3", "wrp2", 12, 1, 1},        {"F0 F1 F3", "wrp3", 14, 1, 1},
    {"F2 F4 F7", "user", 0, 1, 0},         {"F2 F4 F7", "rdp", 1, 1, 0},
    {"F2 F4 F7", "nwrp", 8, 2, 0},         {"F7", "boot-add0", 16, 2, 0},
    {"F7", "boot-add1", 24, 2, 0},         {"G0 G4 L4", "rdp", 0, 1, 4},
    {"G0 G4 L4", "user", 1, 3, 4},         {"G0 G4 L4", "pcrop1a-start", 8, 4, 4},
    {"G0 G4 L4", "pcrop1a-end", 16, 4, 4}, {"G0 G4 L4", "wrp1a", 24, 4, 4},
    {"G0 G4 L4", "wrp1b", 32, 4, 4},
};

const struct option_field *option_at(const struct chip *chip, size_t n)
{
    const struct stm32_part *part = chip->stm32;
    for (size_t i = 0; part && i < sizeof fields / sizeof fields[0]; i++) {
        uint32_t end = (uint32_t)fields[i].offset + fields[i].bytes + fields[i].complement;
        if (text_has_word(fields[i].families, part->family) && end <= part->option_bytes &&
            n-- == 0)
            return &fields[i];
    }
    return NULL;
}

const struct option_field *option_find(const struct chip *chip, const char *name)
{
    const struct option_field *field;
    for (size_t n = 0; (field = option_at(chip, n)); n++)
        if (strcasecmp(field->name, name) == 0)
            return field;
    return NULL;
}

uint32_t option_mask(const struct option_field *field)
{
    return field->bytes == 4 ? UINT32_MAX : (UINT32_C(1) << 8 * field->bytes) - 1;
}

uint32_t option_get(const struct option_field *field, const uint8_t *area)
{
    uint32_t value = 0;
    for (unsigned i = field->bytes; i-- > 0;)
        value = value << 8 | area[field->offset + i];
    return value;
}

void option_set(const struct option_field *field, uint8_t *area, uint32_t value)
{
    for (unsigned i = 0; i < field->bytes; i++, value >>= 8) {
        area[field->offset + i] = (uint8_t)value;
        if (field->complement)
            area[field->offset + field->complement + i] = (uint8_t)~value;
    }
}

uint8_t option_rdp_open(const struct chip *chip)
{
    return strcmp(chip->stm32->family, "F1") == 0 ? 0xa5 : 0xaa;
}

/* ---- text ---- */

/* Bits of `user`, from the highest on; a number behind ':' is a width. */
static const struct {
    const char *families;
    struct {
        const char *name;
        uint8_t shift, width;
    } bits[16];
} users[] = {
    {"F1", {{"nRST_STDBY", 2, 1}, {"nRST_STOP", 1, 1}, {"WDG_SW", 0, 1}}},
    {"F0 F3",
     {{"RAM_PARITY", 6, 1},
      {"VDDA_MONITOR", 5, 1},
      {"nBOOT1", 4, 1},
      {"nRST_STDBY", 2, 1},
      {"nRST_STOP", 1, 1},
      {"WDG_SW", 0, 1}}},
    {"F2 F4 F7", {{"nRST_STDBY", 7, 1}, {"nRST_STOP", 6, 1}, {"WDG_SW", 5, 1}, {"BOR_LEV", 2, 2}}},
    {"G0",
     {{"nBOOT0", 18, 1},
      {"nBOOT1", 17, 1},
      {"nBOOT_SEL", 16, 1},
      {"RAM_PARITY", 14, 1},
      {"WWDG_SW", 11, 1},
      {"IWDG_SW", 8, 1},
      {"nRST_STDBY", 6, 1},
      {"nRST_STOP", 5, 1},
      {"BOR_EN", 0, 1}}},
    {"G4 L4",
     {{"nBOOT0", 19, 1},
      {"nSWBOOT0", 18, 1},
      {"nBOOT1", 15, 1},
      {"WWDG_SW", 11, 1},
      {"IWDG_SW", 8, 1},
      {"nRST_STDBY", 5, 1},
      {"nRST_STOP", 4, 1},
      {"BOR_LEV", 0, 3}}},
};

static void decode_user(const char *family, uint32_t value, char *text, size_t size)
{
    for (size_t k = 0; k < sizeof users / sizeof users[0]; k++) {
        if (!text_has_word(users[k].families, family))
            continue;
        for (size_t i = 0; users[k].bits[i].name; i++)
            text_append(
                text, size, "%s%s=%u", text[0] ? " " : "", users[k].bits[i].name,
                (unsigned)(value >> users[k].bits[i].shift & ((1u << users[k].bits[i].width) - 1)));
    }
}

static void decode_rdp(const struct chip *chip, uint32_t value, char *text, size_t size)
{
    bool has_level_2 = strcmp(chip->stm32->family, "F1") != 0;
    text_append(text, size, "%s",
                value == option_rdp_open(chip)        ? "level 0: open"
                : value == RDP_LEVEL_2 && has_level_2 ? "level 2: closed for ever"
                                                      : "level 1: readout protection is on");
}

void option_decode(const struct chip *chip, const char *name, uint32_t value, char *text,
                   size_t size)
{
    const struct option_field *field = option_find(chip, name);
    text[0] = '\0';
    if (strcasecmp(name, "rdp") == 0)
        decode_rdp(chip, value, text, size);
    else if (strcasecmp(name, "user") == 0)
        decode_user(chip->stm32->family, value, text, size);
    else if (field && field->bytes < 4 && strstr(field->name, "wrp"))
        text_append(text, size, "%s",
                    value == option_mask(field) ? "open" : "a 0 bit protects a sector");
}

const char *option_danger(const struct chip *chip, const char *name, uint32_t value)
{
    if (strcasecmp(name, "rdp") == 0 && value == RDP_LEVEL_2 && chip->stm32 &&
        strcmp(chip->stm32->family, "F1") != 0)
        return "rdp=0xcc is level 2: the chip can never again be read, erased or debugged, by "
               "anybody";
    return NULL;
}
