/*
 * Method sections made into loaders: numbers, ids and words checked while the file is at hand.
 */
#include "board/board_db.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "board/regions.h"

int section_wrong(const struct section *section, const char *key, struct error *err,
                  const char *what, const char *value)
{
    return error_set(err, ERR_BOARDS_FILE, "%s:%u: [%s] %s = %s: %s", section->file,
                     section_line(section, key), section->name, key, value, what);
}

/* ---- values ---- */

int section_ids(const struct section *section, const char *value, struct usb_id *ids, size_t max,
                size_t *count, struct error *err)
{
    size_t length;
    const char *word;
    const char *cursor = value;
    for (*count = 0; (word = text_word(&cursor, &length)); (*count)++) {
        unsigned vid, pid;
        int used = 0;
        if (*count == max)
            return section_wrong(section, "usb", err, "too many ids", value);
        if (length != 9 || sscanf(word, "%4x:%4x%n", &vid, &pid, &used) != 2 || used != 9)
            return section_wrong(section, "usb", err, "ids are written vvvv:pppp", value);
        ids[*count] = (struct usb_id){(uint16_t)vid, (uint16_t)pid};
    }
    return OK;
}

static int parse_numbers(const struct section *section, const char *key, const char *value,
                         uint64_t *numbers, size_t max, size_t *count, struct error *err)
{
    size_t length;
    const char *word;
    const char *cursor = value;
    for (*count = 0; (word = text_word(&cursor, &length)); (*count)++) {
        char number[32];
        if (*count == max)
            return section_wrong(section, key, err, "too many values", value);
        (void)snprintf(number, sizeof number, "%.*s", (int)length, word);
        if (length >= sizeof number || !text_number(number, &numbers[*count]))
            return section_wrong(section, key, err,
                                 "a number is wanted (decimal, 0x…, with K or M)", value);
    }
    return OK;
}

/* ---- loaders ---- */

static int parse_loader_numbers(struct loader *loader, const struct section *own, struct error *err)
{
    const struct {
        const char *key;
        uint64_t *numbers;
        size_t max, *count;
    } keys[] = {
        {"start", &loader->start, 1, &(size_t){0}},
        {"end", &loader->end, 1, &(size_t){0}},
        {"starts", loader->starts, sizeof loader->starts / sizeof loader->starts[0],
         &loader->start_count},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *value = loader_setting(loader, keys[i].key);
        if (value && parse_numbers(own, keys[i].key, value, keys[i].numbers, keys[i].max,
                                   keys[i].count, err))
            return error_status(err);
        if (value && i == 0)
            loader->has_start = true;
    }
    const char *bauds = loader_setting(loader, "baud");
    uint64_t rates[8] = {0};
    if (bauds && parse_numbers(own, "baud", bauds, rates, 8, &loader->baud_count, err))
        return error_status(err);
    for (size_t i = 0; i < loader->baud_count; i++)
        loader->bauds[i] = (uint32_t)rates[i];
    return OK;
}

/* region.NAME: memories that the loader reaches beside the chip's. */
static int make_regions(struct board_db *db, struct loader *loader, const struct chip *chip,
                        const struct section *like, const struct section *own, struct error *err)
{
    static const char prefix[] = "region.";
    struct regions all = regions_of(chip, NULL);
    const size_t before = all.count;
    struct region region, *kept;
    char why[160];
    for (size_t i = 0; i < loader->setting_count; i++) {
        const struct setting *setting = &loader->settings[i];
        if (strncmp(setting->key, prefix, sizeof prefix - 1) != 0 ||
            loader_setting(loader, setting->key) != setting->value)
            continue; /* the board's own value comes behind that of its `like` */
        const struct section *at = like && !section_get(own, setting->key) ? like : own;
        if (all.count - before == LOADER_REGIONS_MAX)
            return section_wrong(at, setting->key, err, "too many regions", setting->value);
        if (!region_parse(&region, setting->key + sizeof prefix - 1, setting->value, why,
                          sizeof why) ||
            !regions_add(&all, &region, why, sizeof why))
            return section_wrong(at, setting->key, err, why, setting->value);
    }
    loader->region_count = all.count - before;
    if (!loader->region_count)
        return OK;
    if (!(loader->regions = kept = keep(db, loader->region_count * sizeof *kept)))
        return error_memory(err);
    memcpy(kept, all.list + before, loader->region_count * sizeof *kept);
    return OK;
}

/* Settings of the `like` first, the board's own behind them: the last one wins. */
int make_loader(struct board_db *db, struct loader *loader, const struct chip *chip,
                const struct section *like, const struct section *own, struct error *err)
{
    size_t shared = like ? like->count : 0, mine = own ? own->count : 0;
    struct setting *settings = keep(db, (shared + mine) * sizeof *settings);
    if (!settings)
        return error_memory(err);
    if (shared)
        memcpy(settings, like->settings, shared * sizeof *settings);
    if (mine)
        memcpy(settings + shared, own->settings, mine * sizeof *settings);
    loader->settings = settings;
    loader->setting_count = shared + mine;
    loader->enter = loader_setting(loader, "enter");
    loader->ask = loader_setting(loader, "ask");
    const struct section *at = own ? own : like;
    if (!at)
        return OK;
    const char *ids = loader_setting(loader, "usb");
    if (ids && section_ids(at, ids, loader->usb, sizeof loader->usb / sizeof loader->usb[0],
                           &loader->usb_count, err))
        return error_status(err);
    if (parse_loader_numbers(loader, at, err) || make_regions(db, loader, chip, like, own, err))
        return error_status(err);
    /* A board's own `start` stands instead of the `starts` it would have been given, and the other
     * way round: its DFU loader may be one in flash. */
    if (section_get(own, "start"))
        loader->start_count = 0;
    else if (section_get(own, "starts"))
        loader->has_start = false;
    return OK;
}

const char *loader_setting(const struct loader *loader, const char *key)
{
    for (size_t i = loader ? loader->setting_count : 0; i-- > 0;)
        if (strcmp(loader->settings[i].key, key) == 0)
            return loader->settings[i].value;
    return NULL;
}

uint64_t loader_number(const struct loader *loader, const char *key, uint64_t fallback)
{
    const char *value = loader_setting(loader, key);
    uint64_t number;
    return value && text_number(value, &number) ? number : fallback;
}
