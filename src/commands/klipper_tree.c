/* Reads a Klipper tree's .config: Kconfig lines NAME=value or NAME="value". */
#include "commands/klipper_tree.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool read_setting(const char *config, const char *name, char *value, size_t size)
{
    FILE *f = fopen(config, "re");
    if (!f)
        return false;
    char line[512];
    bool found = false;
    size_t length = strlen(name);
    while (!found && fgets(line, sizeof line, f)) {
        found = strncmp(line, name, length) == 0 && line[length] == '=';
        if (!found)
            continue;
        const char *text = line + length + 1;
        text += *text == '"';
        (void)snprintf(value, size, "%.*s", (int)strcspn(text, "\"\r\n"), text);
    }
    (void)fclose(f);
    return found;
}

int klipper_tree_read(struct klipper_tree *tree, const char *folder, struct error *err)
{
    char config[PATH_MAX], avr[8];
    int n = snprintf(config, sizeof config, "%s/.config", folder);
    if (n < 0 || (size_t)n >= sizeof config || access(config, R_OK) != 0)
        return error_set(err, ERR_USAGE, "--klipper %s: no .config there (%s)", folder,
                         strerror(errno));
    if (!read_setting(config, "CONFIG_MCU", tree->mcu, sizeof tree->mcu) || !tree->mcu[0])
        return error_set(err, ERR_USAGE, "%s names no CONFIG_MCU: run `make menuconfig` there",
                         config);
    bool is_avr = read_setting(config, "CONFIG_MACH_AVR", avr, sizeof avr);
    n = snprintf(tree->image, sizeof tree->image, "%s/out/%s", folder,
                 is_avr ? "klipper.elf.hex" : "klipper.bin");
    if (n < 0 || (size_t)n >= sizeof tree->image || access(tree->image, R_OK) != 0) {
        error_set(err, ERR_IMAGE, "%s is not there", tree->image);
        return error_hint(err, "run `make` in %s first", folder);
    }
    return OK;
}
