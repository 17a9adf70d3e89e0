/* See blocks.h. */
#include "katapult/blocks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* The name of an F103 covers parts with pages of 1 and of 2 KiB, and the node does not tell:
     * every KiB may begin a page, and two of them may be one. */
    PAGE_LEAST = 1024,
    PAGE_MOST = 2048,
    FIRST_ROOM = 256,
};

/* The geometry, and what differs between the families: RP2040 and LPC176x collect whole pages of
 * flash before they program (and LPC176x takes them only in a row), an STM32 takes single blocks.
 */
struct layout {
    const struct katapult_node *node;
    const struct job *job; /* NULL: to erase */
    const struct region *flash;
    bool single;
    uint32_t step; /* bytes: what is written is a multiple of it */
};

static struct layout layout_of(const struct katapult_node *node, const struct region *flash,
                               const struct job *job)
{
    bool single = node->session->chip->stm32 != NULL;
    uint32_t step = single || flash->page < node->block ? node->block : flash->page;
    return (struct layout){node, job, flash, single, step};
}

static uint32_t page_step(const struct layout *l, const struct span *sector)
{
    return l->single && sector->size <= PAGE_MOST && sector->size > PAGE_LEAST
               ? PAGE_LEAST
               : (uint32_t)sector->size;
}

static uint32_t unit_of(const struct layout *l, const struct span *sector)
{
    return (uint32_t)(l->single && sector->size < PAGE_MOST ? sector->start / PAGE_MOST * PAGE_MOST
                                                            : sector->start);
}

static int append(struct katapult_blocks *blocks, const struct katapult_block *block,
                  struct error *err)
{
    if (blocks->count == blocks->room) {
        size_t room = blocks->room ? 2 * blocks->room : FIRST_ROOM;
        struct katapult_block *list = realloc(blocks->list, room * sizeof *list);
        if (!list)
            return error_memory(err);
        blocks->list = list;
        blocks->room = room;
    }
    blocks->list[blocks->count++] = *block;
    return OK;
}

void katapult_blocks_free(struct katapult_blocks *blocks)
{
    free(blocks->list);
    *blocks = (struct katapult_blocks){0};
}

static int refuse_loader(const struct katapult_node *node, uint64_t address, struct error *err)
{
    if (address >= node->start)
        return OK;
    error_refuse(err, "loader-overlap",
                 "0x%08" PRIx64 " lies below 0x%08" PRIx32
                 ", where programs begin: the bootloader itself is there",
                 address, node->start);
    return error_hint(err, "Katapult cannot replace itself: use -m swd");
}

/* ---- a job ---- */

/* The part of the image in a sector, as far as it goes; size 0 if there is none. */
static struct span part_in(const struct layout *l, const struct span *sector)
{
    uint64_t low = UINT64_MAX, high = 0, end = sector->start + sector->size;
    for (size_t i = 0; i < l->job->image->count; i++) {
        const struct segment *s = &l->job->image->segments[i];
        if (s->memory != MEM_FLASH || s->address >= end || s->address + s->length <= sector->start)
            continue;
        low = s->address < low ? s->address : low;
        high = s->address + s->length > high ? s->address + s->length : high;
    }
    if (low >= high)
        return (struct span){0};
    low = low > sector->start ? low : sector->start;
    high = high < end ? high : end;
    return (struct span){low, high - low};
}

/* A block of an erased page that holds nothing needs not to be sent. */
static bool needless(const struct layout *l, const struct katapult_block *block,
                     const uint8_t *bytes)
{
    return l->single && !block->may_erase && bytes_blank(bytes, l->node->block, l->flash->erased);
}

static int add_sector(struct katapult_blocks *blocks, const struct layout *l,
                      const struct span *sector, const struct span *part, struct error *err)
{
    uint8_t bytes[KATAPULT_BLOCK_LONGEST];
    uint64_t first = sector->start > l->node->start ? sector->start : l->node->start;
    uint64_t end = first + (part->start + part->size - first + l->step - 1) / l->step * l->step;
    for (uint64_t at = first; at < end; at += l->node->block) {
        struct katapult_block block = {
            .address = (uint32_t)at,
            .unit = unit_of(l, sector),
            .may_erase = (at - sector->start) % page_step(l, sector) == 0,
        };
        block.payload = (uint32_t)image_read(l->job->image, MEM_FLASH, at, bytes, l->node->block,
                                             l->flash->erased);
        if (needless(l, &block, bytes)) {
            blocks->list[blocks->count - 1].payload += block.payload;
            continue;
        }
        if (append(blocks, &block, err))
            return error_status(err);
    }
    return OK;
}

static int add_rising(struct katapult_blocks *blocks, const struct layout *l, struct error *err)
{
    int rc = OK;
    uint64_t end = l->flash->start + l->flash->size;
    for (uint64_t at = l->flash->start; rc == OK && at < end;) {
        const struct span sector = region_sector(l->flash, at);
        const struct span part = part_in(l, &sector);
        at = sector.start + sector.size;
        if (part.size == 0)
            continue;
        rc = refuse_loader(l->node, part.start, err);
        if (rc == OK)
            rc = add_sector(blocks, l, &sector, &part, err);
    }
    return rc;
}

/* How many of the first blocks share their erase with the vectors; 0 if the order is to stay. */
static size_t first_unit(const struct katapult_blocks *blocks, const struct katapult_node *node)
{
    size_t n = 0;
    if (blocks->count == 0 || blocks->list[0].address != node->start)
        return 0;
    while (n < blocks->count && blocks->list[n].unit == blocks->list[0].unit)
        n++;
    return n < blocks->count ? n : 0;
}

/* Moves the first unit behind the others, and puts its emptied head before them. */
static int hold_back(struct katapult_blocks *blocks, const struct layout *l, struct error *err)
{
    size_t unit = first_unit(blocks, l->node), head = l->step / l->node->block;
    struct katapult_blocks ordered = {0};
    int rc = OK;
    if (unit == 0)
        return OK;
    for (size_t i = 0; rc == OK && i < head; i++) {
        struct katapult_block block = blocks->list[0];
        block.address += (uint32_t)i * l->node->block;
        block.may_erase = i == 0;
        block.payload = 0;
        block.blank = true;
        rc = append(&ordered, &block, err);
    }
    for (size_t i = 0; rc == OK && i < blocks->count; i++)
        rc = append(&ordered, &blocks->list[(i + unit) % blocks->count], err);
    katapult_blocks_free(blocks);
    *blocks = ordered;
    return rc;
}

int katapult_blocks_of_job(struct katapult_blocks *blocks, const struct katapult_node *node,
                           const struct job *job, struct error *err)
{
    const struct layout l = layout_of(node, job->region, job);
    int rc = add_rising(blocks, &l, err);
    return rc == OK ? hold_back(blocks, &l, err) : rc;
}

/* ---- erasing ---- */

static int erase_page(struct katapult_blocks *blocks, const struct layout *l, uint64_t at,
                      const struct span *sector, struct error *err)
{
    int rc = refuse_loader(l->node, at, err);
    for (uint32_t offset = 0; rc == OK && offset < l->step; offset += l->node->block) {
        const struct katapult_block block = {
            .address = (uint32_t)at + offset,
            .payload = offset ? 0 : page_step(l, sector),
            .unit = unit_of(l, sector),
            .may_erase = offset == 0,
            .blank = true,
        };
        rc = append(blocks, &block, err);
    }
    return rc;
}

int katapult_blocks_to_erase(struct katapult_blocks *blocks, const struct katapult_node *node,
                             const struct span *ranges, size_t count, struct error *err)
{
    const struct region *flash = chip_region(node->session->chip, MEM_FLASH);
    const struct layout l = layout_of(node, flash, NULL);
    int rc = OK;
    for (size_t i = 0; i < count; i++)
        for (uint64_t at = ranges[i].start; rc == OK && at < ranges[i].start + ranges[i].size;) {
            const struct span sector = region_sector(flash, at);
            rc = erase_page(blocks, &l, at, &sector, err);
            at += page_step(&l, &sector);
        }
    return rc;
}

size_t katapult_blocks_rewind(const struct katapult_blocks *blocks, size_t n)
{
    const struct katapult_block *list = blocks->list;
    while (n > 0 && list[n - 1].unit == list[n].unit && list[n - 1].blank == list[n].blank)
        n--;
    return n;
}
