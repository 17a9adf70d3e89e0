/*
 * The flash controllers of virtual STM32: pages, erase, and what programming makes of cells that
 * are not erased, of units that are not whole, and of protected pages. Nothing here reports
 * failure, as the ROM loaders do not look at the controller's errors.
 */
#ifndef VBOARD_STM32_FLASH_H
#define VBOARD_STM32_FLASH_H

#include "stm32_options.h"

struct vstm32_flash {
    struct vmemory *memory;
    const struct region *region;
    const struct vstm32_family *family;
    const struct vstm32_options *options;
};

uint32_t vstm32_page_count(const struct region *region);

/* The nth erase unit as offsets in the flash; n is below the count. */
struct span vstm32_page(const struct region *region, uint32_t n);

/* Each returns how long it takes, in microseconds. Protected pages stay as they are. */
uint64_t vstm32_erase_page(struct vstm32_flash *flash, uint32_t page);
uint64_t vstm32_erase_pages(struct vstm32_flash *flash, uint32_t first, uint32_t count);
uint64_t vstm32_program(struct vstm32_flash *flash, uint32_t offset, const uint8_t *bytes,
                        size_t length);

#endif
