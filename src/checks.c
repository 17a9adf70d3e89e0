/*
 * Safety before the first destructive byte: each check looks at one thing, refuses with a reason,
 * and names the option that overrides it.
 */
#include "checks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"

static const char *const names[CHECK_COUNT] = {
    [CHECK_MACHINE] = "machine",
    [CHECK_START] = "start",
    [CHECK_SIZE] = "size",
    [CHECK_BLANK] = "blank",
    [CHECK_VECTORS] = "vectors",
    [CHECK_LOADER_OVERLAP] = "loader-overlap",
    [CHECK_KLIPPER_MCU] = "klipper-mcu",
    [CHECK_CAN_BITRATE] = "can-bitrate",
    [CHECK_SIGNATURE] = "signature",
    [CHECK_FUSES] = "fuses",
    [CHECK_UNPROVEN_CHIP] = "unproven-chip",
};

const char *check_name(enum check check)
{
    return names[check];
}

bool check_find(const char *name, enum check *check)
{
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *check = (enum check)i;
            return true;
        }
    }
    return false;
}

int check_refused(const struct plan_options *options, enum check check, struct error *err)
{
    if (!(options->forced & 1U << check)) {
        size_t used = strlen(err->hint);
        (void)snprintf(err->hint + used, sizeof err->hint - used,
                       "%s`--force %s` overrides this check", used ? "; " : "", names[check]);
        return error_status(err);
    }
    char text[ERROR_MESSAGE_MAX + 32];
    (void)snprintf(text, sizeof text, "%s (forced: %s)", err->message, names[check]);
    if (options->warn)
        options->warn(options->user, text);
    error_clear(err);
    return OK;
}

static const char *first_source(const struct image *image)
{
    return image->source_count ? image->sources[0].name : "image";
}

/* A raw binary has no header, but an ARM vector table gives itself away, and never opens AVR code.
 */
static enum machine seeming_machine(const struct image *image)
{
    if (image->machine != MACHINE_UNKNOWN)
        return image->machine;
    return image->vectors.plausible ? MACHINE_ARM : MACHINE_UNKNOWN;
}

static int check_machine(const struct check_input *in, struct error *err)
{
    enum machine machine = seeming_machine(in->image);
    if (machine == MACHINE_UNKNOWN || machine == in->board->chip->machine)
        return OK;
    error_refuse(err, names[CHECK_MACHINE], "%s is for %s, but %s is %s (%s)",
                 first_source(in->image), machine_name(machine), in->board->chip->name,
                 machine_name(in->board->chip->machine), in->board->name);
    error_hint(err, "build the image for %s, or give another --board", in->board->chip->name);
    return check_refused(in->options, CHECK_MACHINE, err);
}

static int check_klipper_mcu(const struct check_input *in, struct error *err)
{
    const struct klipper_facts *klipper = &in->image->klipper;
    const char *wanted = in->board->mcu ? in->board->mcu : in->board->chip->name;
    if (!klipper->present || strcasecmp(klipper->mcu, wanted) == 0)
        return OK;
    error_refuse(err, names[CHECK_KLIPPER_MCU], "%s is Klipper for %s, but %s has %s",
                 first_source(in->image), klipper->mcu, in->board->name, wanted);
    error_hint(err, "choose %s in Klipper's menuconfig and build again", wanted);
    return check_refused(in->options, CHECK_KLIPPER_MCU, err);
}

static bool all_blank(const struct image *image, uint8_t erased)
{
    for (size_t i = 0; i < image->count; i++)
        if (!bytes_blank(image->segments[i].data, image->segments[i].length, erased))
            return false;
    return true;
}

static int check_blank(const struct check_input *in, struct error *err)
{
    if (!all_blank(in->image, in->flash->erased))
        return OK;
    error_refuse(err, names[CHECK_BLANK], "%s holds nothing but 0x%02x: writing it is erasing",
                 first_source(in->image), in->flash->erased);
    error_hint(err, "`mflash erase` erases");
    return check_refused(in->options, CHECK_BLANK, err);
}

/* What the image has besides, in memories beside that of the programs, begins nowhere. */
static bool program_extent(const struct check_input *in, uint64_t *start, uint64_t *end)
{
    return regions_program(&in->regions, in->loader, in->image, start, end);
}

static int refuse_start(const struct check_input *in, uint64_t begins, struct error *err)
{
    error_refuse(err, names[CHECK_START],
                 "%s begins at 0x%" PRIx64 ", but over %s applications of %s start at 0x%" PRIx64,
                 first_source(in->image), begins, in->method->name, in->board->name,
                 in->loader->start);
    error_hint(err,
               "build it for that start (Klipper: menuconfig, bootloader offset), or choose the "
               "method it was built for with --method");
    return check_refused(in->options, CHECK_START, err);
}

static int check_start(const struct check_input *in, struct error *err)
{
    uint64_t start, end;
    if (!program_extent(in, &start, &end))
        return OK;
    if (in->loader->has_start && start != in->loader->start)
        return refuse_start(in, start, err);
    return OK;
}

/* Is every byte of the segment in a region? It may go on from one into the next. */
static bool has_room(const struct regions *regions, const struct segment *segment)
{
    const uint64_t end = segment->address + segment->length;
    for (uint64_t at = segment->address; at < end;) {
        const struct region *region = regions_at(regions, segment->memory, at);
        if (at < region->start || at - region->start >= region->size)
            return false;
        at = region->start + region->size;
    }
    return true;
}

static int refuse_size(const struct check_input *in, const struct segment *segment,
                       struct error *err)
{
    char places[256];
    regions_text(&in->regions, segment->memory, places, sizeof places);
    error_refuse(err, names[CHECK_SIZE],
                 "%s has bytes at 0x%" PRIx64 "..0x%" PRIx64 ", but %s has only %s",
                 in->image->sources[segment->source].name, segment->address,
                 segment->address + segment->length - 1, in->board->chip->name, places);
    if (in->method->regions && segment->memory == MEM_FLASH)
        error_hint(err, "if the loader reaches other flash, say so: region.NAME in a boards file, "
                        "or --region NAME=START,SIZE,SECTOR");
    return check_refused(in->options, CHECK_SIZE, err);
}

static int check_size(const struct check_input *in, struct error *err)
{
    for (size_t i = 0; i < in->image->count; i++) {
        const struct segment *segment = &in->image->segments[i];
        if (regions_first(&in->regions, segment->memory) && !has_room(&in->regions, segment))
            return refuse_size(in, segment, err);
    }
    return OK;
}

static int check_loader_overlap(const struct check_input *in, struct error *err)
{
    uint64_t start, end;
    if (in->method->rom || !in->loader->end || !program_extent(in, &start, &end) ||
        end <= in->loader->end)
        return OK;
    error_refuse(err, names[CHECK_LOADER_OVERLAP],
                 "%s ends at 0x%" PRIx64
                 ", in the bootloader's own pages, which begin at 0x%" PRIx64,
                 first_source(in->image), end - 1, in->loader->end);
    error_hint(err, "the application may be at most %" PRIu64 " bytes here",
               in->loader->end - in->loader->start);
    return check_refused(in->options, CHECK_LOADER_OVERLAP, err);
}

static bool in_ram(const struct chip *chip, uint32_t sp)
{
    for (size_t i = 0; i < chip->ram_count; i++)
        if (sp > chip->ram[i].start && sp <= chip->ram[i].start + chip->ram[i].size)
            return true;
    return false;
}

/* The image knows those at its beginning; data for another memory may lie below its program. */
static struct vector_facts vectors_at(const struct image *image, uint64_t start)
{
    uint8_t table[8];
    uint64_t first, end;
    if (image_extent(image, MEM_FLASH, &first, &end) && first == start)
        return image->vectors;
    (void)image_read(image, MEM_FLASH, start, table, sizeof table, 0xff);
    return (struct vector_facts){.sp = get_le32(table), .reset = get_le32(table + 4)};
}

static int check_vectors(const struct check_input *in, struct error *err)
{
    uint64_t start, end;
    if (!chip_has_vectors(in->board->chip) || !program_extent(in, &start, &end))
        return OK;
    const struct vector_facts facts = vectors_at(in->image, start), *vectors = &facts;
    uint32_t reset = vectors->reset & ~1U;
    bool inside = reset >= start && reset < end;
    if ((vectors->reset & 1) && inside && in_ram(in->board->chip, vectors->sp))
        return OK;
    error_refuse(err, names[CHECK_VECTORS],
                 "%s has no vector table for %s at 0x%" PRIx64 ": stack pointer 0x%08" PRIx32
                 ", reset vector 0x%08" PRIx32,
                 first_source(in->image), in->board->chip->name, start, vectors->sp,
                 vectors->reset);
    error_hint(err, "is it an application for this chip, linked for this address?");
    return check_refused(in->options, CHECK_VECTORS, err);
}

/* Starts that loaders of this board use, best first. */
static size_t own_starts(const struct check_input *in, uint64_t *starts, size_t max)
{
    size_t count = 0;
    if (in->loader->has_start)
        starts[count++] = in->loader->start;
    for (size_t i = 0; i < in->loader->start_count && count < max; i++)
        starts[count++] = in->loader->starts[i];
    if (!count)
        starts[count++] = in->flash->start;
    return count;
}

/* Linked for none of the board's starts: is it one that other loaders use? (Klipper's menuconfig
 * offers these offsets.) Returns false if that cannot be told. */
static bool foreign_start(const struct check_input *in, uint64_t *found)
{
    static const uint32_t offsets[] = {0,      0x800,  0x1000, 0x2000, 0x4000,  0x5000,  0x7000,
                                       0x8000, 0x8800, 0x9000, 0xc000, 0x10000, 0x20000, 0x20200};
    uint64_t bases[sizeof offsets / sizeof offsets[0]];
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        bases[i] = in->flash->start + offsets[i];
    return image_link_address(in->image, bases, sizeof bases / sizeof bases[0], found) == 1;
}

int check_raw_start(const struct check_input *in, uint64_t *start, struct error *err)
{
    uint64_t bases[16], linked;
    size_t count = own_starts(in, bases, sizeof bases / sizeof bases[0]);
    *start = bases[0];
    /* The link address can be read from ARM images only; AVR code is always linked for 0. */
    if (in->board->chip->machine != MACHINE_ARM || !in->image->vectors.plausible)
        return OK;
    size_t fits = image_link_address(in->image, bases, count, start);
    if (fits == 1)
        return OK;
    *start = bases[0];
    if (fits == 0)
        return foreign_start(in, &linked) ? refuse_start(in, linked, err) : OK;
    if (count == 1 || in->loader->has_start)
        return OK;
    error_refuse(err, names[CHECK_START],
                 "%s: which of this board's starts it was linked for cannot be read from it",
                 first_source(in->image));
    error_hint(err, "say where it goes: IMAGE@ADDRESS");
    return check_refused(in->options, CHECK_START, err);
}

/* How the new firmware will be reached; to miss it is no harm to the chip, but to its user. */
static int check_transport(const struct check_input *in, struct error *err)
{
    const struct klipper_facts *klipper = &in->image->klipper;
    const char *what = NULL;
    (void)err;
    if (!klipper->present || !in->options->warn)
        return OK;
    if (in->method->link == LINK_CAN && !klipper->can_bitrate)
        what = "it will not be reached over CAN";
    else if (in->method->link == LINK_CAN && klipper->can_bridge)
        what = "on a board that is a node of the bus";
    else if (in->options->bus && in->method->link != LINK_CAN && !klipper->can_bridge)
        what = "the board makes its CAN bus no more";
    if (!what)
        return OK;
    char text[256];
    (void)snprintf(text, sizeof text, "%s is Klipper for %s: %s", first_source(in->image),
                   klipper_transport(klipper), what);
    in->options->warn(in->options->user, text);
    return OK;
}

/* It makes the rate of its bus, whatever the interface is set to (Klipper docs/CANBUS.md), and is
 * reached over USB: what is lost are the other nodes, if that is not their rate already. */
static void tell_bridge_rate(const struct image *image, const struct can_status *bus,
                             const struct plan_options *options)
{
    char text[384];
    if (!options->warn)
        return;
    (void)snprintf(text, sizeof text,
                   "%s makes its bus one of %" PRIu32 " bit/s, and %s is set to %" PRIu32
                   ": nodes that were built for another rate than the bridge are not heard of",
                   first_source(image), image->klipper.can_bitrate, bus->name, bus->bitrate);
    options->warn(options->user, text);
}

int plan_check_can_bitrate(const struct image *image, const struct can_status *bus,
                           const struct plan_options *options, struct error *err)
{
    const struct klipper_facts *klipper = &image->klipper;
    if (!klipper->present || !klipper->can_bitrate || !bus->bitrate ||
        klipper->can_bitrate == bus->bitrate)
        return OK;
    if (klipper->can_bridge) {
        tell_bridge_rate(image, bus, options);
        return OK;
    }
    error_refuse(err, names[CHECK_CAN_BITRATE],
                 "%s is Klipper for a CAN bus at %" PRIu32 " bit/s, but %s runs at %" PRIu32,
                 first_source(image), klipper->can_bitrate, bus->name, bus->bitrate);
    error_hint(err,
               "the node would not be heard of again: choose CAN bus speed %" PRIu32
               " in Klipper's menuconfig, or change the bus and all its nodes",
               bus->bitrate);
    return check_refused(options, CHECK_CAN_BITRATE, err);
}

int checks_run(const struct check_input *in, struct error *err)
{
    static int (*const checks[])(const struct check_input *, struct error *) = {
        check_machine, check_klipper_mcu,    check_blank,   check_size,
        check_start,   check_loader_overlap, check_vectors, check_transport,
    };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        int status = checks[i](in, err);
        if (status)
            return status;
    }
    return OK;
}
