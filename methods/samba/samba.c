/*
 * SAM-BA: the monitor of SAM7, SAM3, SAM4 and SAMx7x, and the flash bootloaders of SAMD boards that
 * speak the same (Arduino, UF2).
 *
 * What is here is the order of things; the wire is in monitor.c, the chip in target.c, and what
 * each flash controller wants in eefc.c, efc.c and nvmctrl.c. Two rules hold throughout: sectors
 * that are touched keep the bytes the image does not have, and nothing below the application's
 * start is ever changed.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "samba/samba.h"

enum {
    SLAB = 8192, /* bytes: a progress step, and the chip is away for 32 pages at most */
    GONE_US = SECOND,
    STILL_US = 200 * MILLISECOND,
};

/* ---- Connecting ---- */

static const struct flash_controller *find_controller(const char *name)
{
    static const struct flash_controller *const all[] = {&samba_eefc, &samba_efc,
                                                         &samba_nvmctrl_d2x, &samba_nvmctrl_d5x};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

static void samba_disconnect(struct session *session)
{
    struct samba *s = session->state;
    if (!s)
        return;
    free(s->buffer);
    free(s->first);
    free(s);
    session->state = NULL;
}

/* Whole sectors that divide every plane, and fit into the RAM behind the applets; XMODEM fills its
 * last block up. */
static size_t slab_size(const struct samba *s)
{
    size_t room = s->part->stack - s->part->applet_base - APPLET_COUNT * APPLET_ROOM - 128;
    size_t slab = SLAB;
    while (slab > room && slab / 2 >= s->flash->sector)
        slab /= 2;
    return slab;
}

static int find_facts(struct samba *s, struct error *err)
{
    const struct chip *chip = s->session->chip;
    s->part = chip->sam;
    s->flash = chip_region(chip, MEM_FLASH);
    s->controller = s->part ? find_controller(s->part->controller) : NULL;
    s->family = s->part ? sam_family(s->part->family) : NULL;
    if (!s->controller || !s->family || !s->flash || s->flash->sector > SLAB)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "%s is no chip this method knows the flash controller of", chip->name);
    s->slab = slab_size(s);
    s->buffer = malloc(s->slab);
    s->first = malloc(s->flash->sector);
    return s->buffer && s->first ? OK : error_memory(err);
}

static int say_hello(struct samba *s, struct error *err)
{
    int rc = samba_open(&s->monitor, s->session->serial, err);
    if (rc == OK)
        rc = samba_identify(s, err);
    if (rc == OK)
        rc = samba_find_kind(&s->monitor, s->work, err);
    return rc == OK ? s->controller->security(s, err) : rc;
}

static int samba_connect(struct session *session, struct error *err)
{
    struct samba *s = calloc(1, sizeof *s);
    if (!s)
        return error_memory(err);
    session->state = s;
    s->session = session;
    int rc = find_facts(s, err);
    if (rc == OK)
        rc = say_hello(s, err);
    if (rc != OK)
        samba_disconnect(session);
    return rc;
}

static int samba_info(struct session *session, struct device_info *info, struct error *err)
{
    struct samba *s = session->state;
    char text[160];
    samba_id_text(s->part->id_register, s->id, text, sizeof text);
    device_info_add(info, "bootloader", "SAM-BA %s", s->monitor.version);
    device_info_add(info, "link", "%s", s->monitor.uart ? "UART (XMODEM)" : "USB");
    device_info_add(info, "chip id", "%s", text);
    device_info_add(info, "security bit", "%s", s->security || s->unreadable ? "set" : "not set");
    return s->controller->info(s, info, err);
}

/* ---- What may be changed ---- */

static int check_extent(const struct samba *s, struct span extent, struct error *err)
{
    const struct loader *loader = s->session->loader;
    uint64_t start = loader->has_start ? loader->start : s->flash->start;
    uint64_t end = s->flash->start + s->flash->size;
    if (extent.start >= start && extent.start + extent.size <= end)
        return OK;
    return error_refuse(err, "loader-overlap",
                        "0x%08" PRIx64 "..0x%08" PRIx64 " is not within 0x%08" PRIx64
                        "..0x%08" PRIx64 ", where the application may be",
                        extent.start, extent.start + extent.size - 1, start, end - 1);
}

static int check_allowed(const struct samba *s, struct error *err)
{
    int rc = session_check_proven(s->session, s->part->proven, err);
    return rc == OK ? samba_check_open(s, err) : rc;
}

static int prepare(struct samba *s, struct span extent, struct error *err)
{
    int rc = check_allowed(s, err);
    if (rc == OK)
        rc = check_extent(s, extent, err);
    return rc == OK ? s->controller->prepare(s, extent, err) : rc;
}

/* ---- Writing ---- */

/* Sectors from `from` on, slab by slab. */
static int write_slabs(struct samba *s, const struct job *job, uint64_t from, struct error *err)
{
    struct span slab;
    size_t payload;
    int rc = OK;
    while (rc == OK && samba_next_slab(s, job->image, from, &slab)) {
        if (session_stopped(s->session))
            return session_interrupted(err);
        rc = samba_fill(s, job, slab, s->buffer, &payload, err);
        if (rc == OK)
            rc = s->controller->program(s, slab.start, s->buffer, (size_t)slab.size, job->erased,
                                        err);
        if (rc == OK)
            session_advance(s->session, payload);
        from = slab.start + slab.size;
    }
    return rc;
}

/* The application's first sector, with its reset vector, is emptied first and written last. */
static int write_first_last(struct samba *s, const struct job *job, struct span first,
                            struct error *err)
{
    size_t payload;
    first.size = s->flash->sector;
    int rc = samba_fill(s, job, first, s->first, &payload, err);
    if (rc == OK && !job->erased)
        rc = s->controller->erase(s, first, err);
    if (rc == OK)
        rc = write_slabs(s, job, first.start + first.size, err);
    if (rc == OK)
        rc = s->controller->program(s, first.start, s->first, (size_t)first.size, true, err);
    if (rc == OK)
        session_advance(s->session, payload);
    return rc;
}

static int samba_write(struct session *session, const struct job *job, struct error *err)
{
    struct samba *s = session->state;
    struct span first;
    uint64_t low, high;
    if (!image_extent(job->image, MEM_FLASH, &low, &high) ||
        !samba_next_slab(s, job->image, s->flash->start, &first))
        return OK;
    int rc = prepare(s, (struct span){low, high - low}, err);
    if (rc == OK)
        rc = s->controller->first_last ? write_first_last(s, job, first, err)
                                       : write_slabs(s, job, s->flash->start, err);
    if (rc == OK && s->controller->boot_bit)
        rc = s->controller->boot_bit(s, true, err);
    return rc;
}

static int samba_erase(struct session *session, const struct span *ranges, size_t count,
                       struct error *err)
{
    struct samba *s = session->state;
    int rc = OK;
    for (size_t i = 0; rc == OK && i < count; i++) {
        if ((ranges[i].start - s->flash->start) % s->flash->sector ||
            ranges[i].size % s->flash->sector)
            return error_set(
                err, ERR_USAGE,
                "erasing 0x%08" PRIx64 "..0x%08" PRIx64 ": sectors are %" PRIu32 " bytes here",
                ranges[i].start, ranges[i].start + ranges[i].size - 1, s->flash->sector);
        rc = prepare(s, ranges[i], err);
        if (rc == OK)
            rc = s->controller->erase(s, ranges[i], err);
    }
    return rc;
}

static int samba_erase_chip(struct session *session, struct error *err)
{
    struct samba *s = session->state;
    uint64_t start = session->loader->has_start ? session->loader->start : s->flash->start;
    int rc = prepare(s, (struct span){start, s->flash->start + s->flash->size - start}, err);
    return rc == OK ? s->controller->erase_all(s, err) : rc;
}

/* ---- Verifying, reading ---- */

static int differs_at(struct samba *s, const struct segment *segment, struct error *err)
{
    error_set(err, ERR_VERIFY,
              "verifying flash: the checksum of 0x%08" PRIx64 "..0x%08" PRIx64 " is wrong",
              segment->address, segment->address + segment->length - 1);
    return error_hint(err, "the security bit of the %s hides where: run the same command again",
                      s->session->chip->name);
}

/* Where a checksum differs, reading tells the place; it has the last word. */
static int find_difference(struct samba *s, const struct job *job, const struct segment *segment,
                           struct error *err)
{
    struct segment one = *segment;
    const struct image image = {.segments = &one, .count = 1};
    const struct job part = {.image = &image, .region = job->region};
    struct session quiet = *s->session;
    quiet.advance = NULL;
    if (s->unreadable)
        return differs_at(s, segment, err);
    struct session *whole = s->session;
    s->session = &quiet;
    int rc = verify_by_reading(&quiet, &part, err);
    s->session = whole;
    return rc;
}

static int samba_verify(struct session *session, const struct job *job, struct error *err)
{
    struct samba *s = session->state;
    int rc = samba_check_open(s, err);
    for (size_t i = 0; rc == OK && i < job->image->count; i++) {
        const struct segment *segment = &job->image->segments[i];
        bool equal = true;
        if (segment->memory != MEM_FLASH)
            continue;
        rc = samba_compare(s, segment->address, segment->data, segment->length, &equal, err);
        if (rc == OK && !equal)
            rc = find_difference(s, job, segment, err);
    }
    struct error ignored;
    if (rc == ERR_VERIFY && s->controller->boot_bit) /* what is wrong shall not start */
        (void)s->controller->boot_bit(s, false, &ignored);
    return rc;
}

static int samba_read(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
                      size_t length, struct error *err)
{
    struct samba *s = session->state;
    if (memory != MEM_FLASH)
        return error_set(err, ERR_NOT_POSSIBLE, "the chip has no %s", memory_name(memory));
    int rc = samba_check_open(s, err);
    return rc == OK ? samba_read_flash(s, address, bytes, length, true, err) : rc;
}

/* ---- Fuses ---- */

static int samba_fuses(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
                       struct error *err)
{
    struct samba *s = session->state;
    return s->controller->fuses(s, fuses, count, err);
}

static int samba_set_fuse(struct session *session, const char *name, uint32_t value,
                          struct error *err)
{
    struct samba *s = session->state;
    int rc = check_allowed(s, err);
    return rc == OK ? s->controller->set_fuse(s, name, value, err) : rc;
}

static const char *samba_fuse_danger(const struct chip *chip, const char *name, uint32_t value)
{
    const struct flash_controller *controller =
        chip->sam ? find_controller(chip->sam->controller) : NULL;
    return controller ? controller->fuse_danger(name, value) : NULL;
}

static int samba_unlock(struct session *session, struct error *err)
{
    struct samba *s = session->state;
    int rc = check_allowed(s, err);
    return rc == OK ? s->controller->unlock(s, err) : rc;
}

/* ---- Starting the application ---- */

static bool is_blank(struct samba *s, int *rc, struct error *err)
{
    uint64_t start = s->flash->start;
    uint32_t reset = 0;
    if (s->session->loader->has_start)
        start = s->session->loader->start;
    *rc = samba_word(&s->monitor, (uint32_t)start + 4, &reset, err);
    return *rc == OK && reset == UINT32_MAX;
}

/* The monitor on USB is gone when the reset was taken. One that still answers was not reset. */
static int await_reset(struct samba *s, struct error *err)
{
    struct serial *serial = s->monitor.serial;
    uint8_t byte;
    ssize_t got = serial_read_some(serial, &byte, 1, clock_in(serial->clock, GONE_US), err);
    if (got == 0)
        got = serial_write(serial, (const uint8_t *)"V#", 2, err);
    if (got == 0)
        got = serial_read_some(serial, &byte, 1, clock_in(serial->clock, STILL_US), err);
    if (got == 0 || got == ERR_GONE) /* silence: what runs now is no monitor */
        return OK;
    if (got < 0)
        return (int)got;
    error_set(err, ERR_PROTOCOL, "starting the application: the bootloader still answers");
    return error_hint(err, "press RESET, or switch the board off and on");
}

static int reset_chip(struct samba *s, struct error *err)
{
    const struct sam_family *family = s->family;
    int rc = samba_set(&s->monitor, family->reset_register, family->reset_value, err);
    if (rc == OK)
        rc = samba_flush(&s->monitor, err);
    if (rc == ERR_GONE)
        return OK;
    return rc == OK && !s->monitor.uart ? await_reset(s, err) : rc;
}

static int samba_run(struct session *session, struct error *err)
{
    struct samba *s = session->state;
    int rc = OK;
    if (!s->security && !s->unreadable && is_blank(s, &rc, err)) {
        session_note(session, "the flash is empty: there is nothing to start");
        return OK;
    }
    if (rc == OK && s->controller->boot_bit)
        rc = s->controller->boot_bit(s, true, err);
    if (rc == OK)
        rc = reset_chip(s, err);
    return rc == OK ? OK : error_context(err, "starting the application");
}

static const struct refusal refusals[] = {
    {OP_EEPROM, "these chips have none"},
    {OP_COUNT, NULL},
};

const struct method method_samba = {
    .name = "samba",
    .summary = "SAM-BA: ROM of SAM7, SAM3, SAM4, SAMx7x; flash bootloaders of SAMD boards",
    .document = "Atmel-11057, SAM-BA Boot Program",
    .link = LINK_SERIAL,
    .rom = true,
    .baud = 115200,
    .erase_style = ERASE_BY_WRITE,
    .refusals = refusals,
    .connect = samba_connect,
    .info = samba_info,
    .erase = samba_erase,
    .erase_chip = samba_erase_chip,
    .write = samba_write,
    .equal = samba_equal,
    .verify = samba_verify,
    .read = samba_read,
    .fuses = samba_fuses,
    .set_fuse = samba_set_fuse,
    .fuse_danger = samba_fuse_danger,
    .unlock = samba_unlock,
    .run = samba_run,
    .disconnect = samba_disconnect,
};
