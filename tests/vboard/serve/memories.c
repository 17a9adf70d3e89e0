/* See memories.h. */
#include "memories.h"

#include <limits.h>
#include <stdio.h>

#include "board/chip.h"
#include "keep.h"

enum { QSPI_BYTES = 8 * 1024 * 1024 };

static size_t region_size(const struct chip *chip, enum memory memory, size_t otherwise)
{
    const struct region *region = chip_region(chip, memory);

    return region ? (size_t)region->size : otherwise;
}

/* A chip from the factory: its default fuses, open lock bits. */
static void factory_fuses(struct vmemory *fuses, const struct chip *chip)
{
    if (!chip->avr)
        return;
    fuses->bytes[0] = chip->avr->lfuse_default;
    fuses->bytes[1] = chip->avr->hfuse_default;
    fuses->bytes[2] = chip->avr->efuse_default;
    fuses->bytes[3] = 0xff;
}

/* `node` 0 has the file itself. */
static bool map_one(struct vmemory *memory, size_t size, const char *path, unsigned node,
                    bool *fresh)
{
    char numbered[PATH_MAX];
    int length = snprintf(numbered, sizeof numbered, "%s.%u", path ? path : "", node);

    if (length < 0 || (size_t)length >= sizeof numbered) {
        fprintf(stderr, "vboard: %s: too long a name\n", path);
        return false;
    }
    return keep_map(memory, size, path && node ? numbered : path, fresh);
}

bool memories_map(struct vconfig *config, const struct options *options)
{
    bool fresh_flash, fresh_eeprom, fresh_fuses, fresh_options;
    size_t option_bytes = options->model->options ? options->model->options : 1;

    if (!map_one(&config->flash, region_size(options->chip, MEM_FLASH, 1), options->flash_file,
                 config->node, &fresh_flash) ||
        !map_one(&config->eeprom, region_size(options->chip, MEM_EEPROM, 1), options->eeprom_file,
                 config->node, &fresh_eeprom) ||
        !map_one(&config->fuses, 4, options->fuses_file, config->node, &fresh_fuses) ||
        !map_one(&config->options, option_bytes, options->options_file, config->node,
                 &fresh_options))
        return false;
    if (!map_one(&config->qspi, options->qspi_file ? QSPI_BYTES : 1, options->qspi_file,
                 config->node, &fresh_options))
        return false;
    config->flash.stuck = options->stuck;
    if (fresh_fuses && options->fresh)
        factory_fuses(&config->fuses, options->chip);
    return true;
}

void memories_unmap(struct vconfig *config)
{
    keep_unmap(&config->qspi);
    keep_unmap(&config->flash);
    keep_unmap(&config->eeprom);
    keep_unmap(&config->fuses);
    keep_unmap(&config->options);
}
