/*
 * Option bytes of virtual STM32: read-out protection and write protection, kept as the loader shows
 * them at option_base. The H7 loader shows none; there the words OPTSR and WPSN of both banks are
 * kept instead (RM0433).
 */
#ifndef VBOARD_STM32_OPTIONS_H
#define VBOARD_STM32_OPTIONS_H

#include "stm32_part.h"

enum { VSTM32_OPTIONS = 128 }; /* bytes of the largest layout, the G0's */

struct vstm32_options {
    struct vmemory *bytes; /* VSTM32_OPTIONS of them */
    const struct vstm32_family *family;
    uint32_t pages, pages_per_sector;
};

/* Gives a blank memory what a chip from the factory has. */
void vstm32_options_init(struct vstm32_options *options);

/* Read-out protection: 0, 1, or 2, which cannot be undone. */
unsigned vstm32_level(const struct vstm32_options *options);
void vstm32_set_level(struct vstm32_options *options, unsigned level);

bool vstm32_page_protected(const struct vstm32_options *options, uint32_t page);

/* How many sectors write protection knows; protects exactly those of the list, which are below
 * that (none: all are open). */
uint32_t vstm32_sectors(const struct vstm32_options *options);
void vstm32_protect(struct vstm32_options *options, const uint8_t *sectors, size_t count);

/* Write memory to the option area: what that family's loader makes of `length` bytes at `offset`.
 */
void vstm32_options_write(struct vstm32_options *options, uint32_t offset, const uint8_t *bytes,
                          size_t length);

#endif
