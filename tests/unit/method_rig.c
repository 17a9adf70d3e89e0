/* See method_rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "method_rig.h"

static void keep_note(void *user, const char *text)
{
    struct rig *rig = user;
    size_t used = strlen(rig->notes);
    (void)snprintf(rig->notes + used, sizeof rig->notes - used, "%s\n", text);
}

static void count_bytes(void *user, size_t bytes)
{
    struct rig *rig = user;
    rig->advanced += bytes;
    if (rig->stop_at && rig->advanced >= rig->stop_at)
        rig->stop = 1;
}

/* Noise that is the same each time. */
static uint8_t noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u; /* Numerical Recipes, §7.1 */
    return (uint8_t)(*seed >> 24);
}

void rig_remake(struct rig *rig)
{
    if (rig->device)
        rig->device->ops->destroy(rig->device);
    rig->device = rig->model->create(&rig->config);
    assert_non_null(rig->device);
}

struct rig *rig_new(const struct vmodel *model, const struct method *method, const char *chip,
                    uint64_t end, const struct vconfig *options)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->model = model;
    rig->method = method;
    rig->chip = chip_find(chip);
    assert_non_null(rig->chip);
    const struct region *eeprom = chip_region(rig->chip, MEM_EEPROM);
    uint32_t seed = 1;
    memset(rig->flash, 0xff, sizeof rig->flash);
    memset(rig->eeprom, 0xff, sizeof rig->eeprom);
    memset(rig->fuses, 0xff, sizeof rig->fuses);
    memset(rig->options, 0xff, sizeof rig->options);
    for (uint64_t i = 0; i < end; i++)
        rig->flash[i] = noise(&seed);
    if (options)
        rig->config = *options;
    rig->config.chip = rig->chip;
    rig->config.flash =
        (struct vmemory){rig->flash, (size_t)rig->chip->regions[0].size, UINT64_MAX};
    rig->config.eeprom =
        (struct vmemory){rig->eeprom, eeprom ? (size_t)eeprom->size : 0, UINT64_MAX};
    rig->config.fuses = (struct vmemory){rig->fuses, sizeof rig->fuses, UINT64_MAX};
    rig->config.options = (struct vmemory){rig->options, model->options, UINT64_MAX};
    rig_remake(rig);
    rig->loader = (struct loader){.method = method->name,
                                  .settings = rig->settings,
                                  .end = end,
                                  .bauds = {model->baud},
                                  .baud_count = model->baud ? 1 : 0,
                                  .enter = model->baud ? "dtr" : "ask"};
    return rig;
}

void rig_free(struct rig *rig)
{
    rig_close(rig);
    rig->device->ops->destroy(rig->device);
    image_free(&rig->image);
    free(rig);
}

void rig_image_bytes(struct rig *rig, enum memory memory, uint64_t address, const uint8_t *bytes,
                     size_t length)
{
    rig_assert_ok(rig, image_add(&rig->image, memory, address, bytes, length, &rig->err));
}

void rig_image(struct rig *rig, enum memory memory, uint64_t address, size_t length)
{
    uint8_t *bytes = malloc(length);
    uint32_t seed = 99 + (uint32_t)address;
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = noise(&seed);
    rig_image_bytes(rig, memory, address, bytes, length);
    free(bytes);
}

int rig_connect(struct rig *rig, const struct line_faults *faults)
{
    error_clear(&rig->err);
    rig->notes[0] = '\0';
    rig->advanced = 0;
    rig->stop = 0;
    rig->serial = virtual_serial(rig->device, faults);
    assert_non_null(rig->serial);
    rig->session = (struct session){.method = rig->method,
                                    .chip = rig->chip,
                                    .loader = &rig->loader,
                                    .serial = rig->serial,
                                    .clock = rig->serial->clock,
                                    .force_signature = rig->session.force_signature,
                                    .stop = &rig->stop,
                                    .advance = count_bytes,
                                    .note = keep_note,
                                    .user = rig};
    uint64_t begun = clock_now(rig->session.clock);
    int rc = rig->method->connect(&rig->session, &rig->err);
    rig->connected = rc == OK;
    rig->connecting = clock_now(rig->session.clock) - begun;
    return rc;
}

void rig_close(struct rig *rig)
{
    if (rig->connected)
        rig->method->disconnect(&rig->session);
    if (rig->serial)
        serial_close(rig->serial);
    rig->connected = false;
    rig->serial = NULL;
}

struct job rig_job(const struct rig *rig, enum memory memory)
{
    return (struct job){.image = &rig->image, .region = chip_region(rig->chip, memory)};
}

struct span rig_sectors(const struct rig *rig)
{
    const struct region *flash = chip_region(rig->chip, MEM_FLASH);
    uint64_t start = flash->start, end = start;
    if (!image_extent(&rig->image, MEM_FLASH, &start, &end))
        return (struct span){flash->start, 0};
    const struct span first = region_sector(flash, start), last = region_sector(flash, end - 1);
    return (struct span){first.start, last.start + last.size - first.start};
}

/* The step before writing, where the method has one. */
static int erase(struct rig *rig, bool *erased)
{
    enum erase_style style =
        rig->method->style ? rig->method->style(&rig->loader) : rig->method->erase_style;
    const struct span sectors = rig_sectors(rig);
    *erased = style != ERASE_BY_WRITE;
    return style == ERASE_WHOLE    ? rig->method->erase_chip(&rig->session, &rig->err)
           : style == ERASE_RANGES ? rig->method->erase(&rig->session, &sectors, 1, &rig->err)
                                   : OK;
}

static int verify(struct rig *rig, const struct job *job)
{
    return rig->method->verify ? rig->method->verify(&rig->session, job, &rig->err)
                               : verify_by_reading(&rig->session, job, &rig->err);
}

static int run_connected(struct rig *rig, enum memory memory)
{
    struct job job = rig_job(rig, memory);
    int rc = memory == MEM_FLASH ? erase(rig, &job.erased) : OK;
    uint64_t begun = clock_now(rig->session.clock);
    if (rc == OK)
        rc = rig->method->write(&rig->session, &job, &rig->err);
    uint64_t written = clock_now(rig->session.clock);
    if (rc == OK)
        rc = verify(rig, &job);
    rig->writing = written - begun;
    rig->verifying = clock_now(rig->session.clock) - written;
    return rc == OK ? rig->method->run(&rig->session, &rig->err) : rc;
}

int rig_run(struct rig *rig, enum memory memory, const struct line_faults *faults)
{
    int rc = rig_connect(rig, faults);
    uint64_t begun = clock_now(rig->session.clock) - rig->connecting;
    if (rc == OK)
        rc = run_connected(rig, memory);
    rig->whole = clock_now(rig->session.clock) - begun;
    rig->messages = virtual_line(rig->serial)->messages;
    rig_close(rig);
    return rc;
}

bool rig_holds_image(const struct rig *rig)
{
    for (size_t i = 0; i < rig->image.count; i++) {
        const struct segment *s = &rig->image.segments[i];
        const uint8_t *memory = s->memory == MEM_EEPROM ? rig->eeprom : rig->flash;
        uint64_t base = s->memory == MEM_EEPROM ? 0 : rig->chip->regions[0].start;
        if (memcmp(memory + (s->address - base), s->data, s->length) != 0)
            return false;
    }
    return true;
}

void rig_assert_ok(const struct rig *rig, int rc)
{
    if (rc != OK)
        fail_msg("%s: %s", error_code_name((enum error_code)rc), rig->err.message);
}

/* ---- every fault at every message ---- */

struct fault {
    const char *kind;
    unsigned n;
    struct line_faults line;
};

static void assert_fits(const struct rig *rig, const struct fault *fault, int rc)
{
    bool gone = fault->line.cut || fault->line.power;
    bool fits = rc == OK || (gone ? rc == ERR_GONE : rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL);
    /* A loader on USB that hears nothing leaves the bus for its application. */
    fits |= fault->line.stall && rig->model->baud == 0 && rc == ERR_GONE;
    /* Without checksums a changed byte of what is read looks like a wrong byte in the chip. */
    fits |= fault->line.corrupt && (rc == ERR_VERIFY || rc == ERR_REFUSED);
    if (!fits)
        fail_msg("%s:%u: %s: %s", fault->kind, fault->n, error_code_name((enum error_code)rc),
                 rig->err.message);
    if (rc != OK && rig->err.message[0] == '\0')
        fail_msg("%s:%u: an error without a text", fault->kind, fault->n);
    if (rc == OK && !rig_holds_image(rig))
        fail_msg("%s:%u: success, but the chip does not hold the image", fault->kind, fault->n);
}

static void run_with_fault(struct rig *rig, const struct fault *fault, uint64_t limit)
{
    int rc = rig_run(rig, MEM_FLASH, &fault->line);
    assert_fits(rig, fault, rc);
    if (rig->whole > limit)
        fail_msg("%s:%u: took %u ms: %s", fault->kind, fault->n,
                 (unsigned)(rig->whole / MILLISECOND), rig->err.message);
    virtual_reset(rig->device, VRESET_PIN);
    rc = rig_run(rig, MEM_FLASH, NULL);
    if (rc != OK || !rig_holds_image(rig))
        fail_msg("%s:%u: the next run does not repair it: %s", fault->kind, fault->n,
                 rig->err.message);
    virtual_reset(rig->device, VRESET_PIN); /* from the application back into the loader */
}

size_t rig_every_fault(struct rig *rig, uint64_t limit)
{
    size_t runs = 0;
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    unsigned messages = rig->messages;
    virtual_reset(rig->device, VRESET_PIN);
    for (unsigned n = 1; n <= messages; n++) {
        const struct fault faults[] = {{"drop", n, {.drop = n}},
                                       {"corrupt", n, {.corrupt = n}},
                                       {"stall", n, {.stall = n}},
                                       {"cut", n, {.cut = n}},
                                       {"power", n, {.power = n}}};
        for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++, runs++)
            if ((n + i) % FAULT_TURNS == 0)
                run_with_fault(rig, &faults[i], limit);
    }
    return runs;
}
