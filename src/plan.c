/*
 * image × board → an ordered list of steps, every safety check done, nothing touched.
 */
#include "plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "checks.h"

const char *step_name(enum step_kind kind)
{
    static const char *const step_names[] = {
        [STEP_ENTER] = "enter",   [STEP_ERASE] = "erase", [STEP_WRITE] = "write",
        [STEP_VERIFY] = "verify", [STEP_FUSE] = "fuse",   [STEP_RESTART] = "restart",
        [STEP_PROVE] = "prove",   [STEP_RUN] = "run",     [STEP_READ] = "read",
    };
    return step_names[kind];
}

static struct step *add_step(struct plan *plan, enum step_kind kind, enum memory memory)
{
    struct step *grown = realloc(plan->steps, (plan->count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    plan->steps = grown;
    grown[plan->count] = (struct step){.kind = kind, .memory = memory};
    return &grown[plan->count++];
}

void plan_free(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        free(plan->steps[i].ranges);
    free(plan->steps);
    *plan = (struct plan){0};
}

static void warn(const struct plan_options *options, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void warn(const struct plan_options *options, const char *format, ...)
{
    if (!options->warn)
        return;
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    options->warn(options->user, text);
}

/* ---- what the method can take of the image ---- */

static bool writes_memory(const struct method *method, enum memory memory)
{
    if (memory == MEM_FLASH)
        return true;
    return memory == MEM_EEPROM && !method_refusal(method, OP_EEPROM);
}

/* Says what will be left out; ERR_NOT_POSSIBLE if nothing remains. */
static int check_memories(const struct method *method, const struct image *image,
                          const struct plan_options *options, struct error *err)
{
    bool any = false;
    const char *reason = method_refusal(method, OP_EEPROM);
    for (enum memory memory = MEM_FLASH; memory <= MEM_LOCK; memory++) {
        size_t bytes = image_bytes(image, memory);
        any = any || (bytes && writes_memory(method, memory));
        if (!bytes || writes_memory(method, memory))
            continue;
        if (memory == MEM_EEPROM)
            warn(options,
                 "the image's %zu bytes of EEPROM are left out: not possible over %s, because %s",
                 bytes, method->name, reason);
        else
            warn(options, "the image's %s values are left out: set them with `mflash fuses`",
                 memory_name(memory));
    }
    if (any)
        return OK;
    return error_set(err, ERR_NOT_POSSIBLE,
                     "writing this image is not possible over %s, because %s%s", method->name,
                     reason ? "" : "it has neither flash nor EEPROM bytes", reason ? reason : "");
}

int plan_check_image(const struct board *board, const struct loader *loader,
                     const struct method *method, struct image *image,
                     const struct plan_options *options, struct error *err)
{
    struct check_input in = {
        .board = board,
        .loader = loader,
        .method = method,
        .flash = chip_region(board->chip, MEM_FLASH),
        .regions = regions_of(board->chip, loader),
        .image = image,
        .options = options,
    };
    uint64_t start;
    if (!image->placed) {
        if (check_raw_start(&in, &start, err))
            return error_status(err);
        image_place(image, start);
    }
    if (check_memories(method, image, options, err))
        return error_status(err);
    return checks_run(&in, err);
}

/* ---- steps ---- */

static int refuse_operation(const struct method *method, enum operation op, struct error *err)
{
    return error_set(err, ERR_NOT_POSSIBLE, "%s: not possible over %s, because %s",
                     operation_name(op), method->name, method_refusal(method, op));
}

/* The erase of the whole chip does not reach the memories beside it. */
static int add_erase_beside(struct plan *plan, const struct plan_options *options,
                            struct error *err)
{
    size_t beside = 0;
    for (size_t i = plan->chip->region_count; i < plan->regions.count; i++)
        beside += regions_bytes(&plan->regions, &plan->regions.list[i], plan->image);
    if (!beside)
        return OK;
    struct step *step = add_step(plan, STEP_ERASE, MEM_FLASH);
    if (!step || plan_sectors(plan->image, &plan->regions, MEM_FLASH, options->erase == ERASE_IMAGE,
                              &step->ranges, &step->range_count))
        return error_memory(err);
    size_t kept = 0;
    for (size_t i = 0; i < step->range_count; i++) {
        const struct region *region = regions_at(&plan->regions, MEM_FLASH, step->ranges[i].start);
        if (region >= &plan->regions.list[plan->chip->region_count])
            step->ranges[kept++] = step->ranges[i];
    }
    step->range_count = kept;
    return OK;
}

static int add_erase(struct plan *plan, const struct plan_options *options, struct error *err)
{
    enum erase_style style =
        plan->method->style ? plan->method->style(plan->loader) : plan->method->erase_style;
    bool chip = options->erase == ERASE_CHIP || style == ERASE_WHOLE;
    if (options->erase == ERASE_NONE || !image_bytes(plan->image, MEM_FLASH))
        return OK;
    if (options->erase == ERASE_CHIP && method_refusal(plan->method, OP_ERASE_CHIP))
        return refuse_operation(plan->method, OP_ERASE_CHIP, err);
    if (!chip && style == ERASE_BY_WRITE)
        return OK;
    struct step *step = add_step(plan, STEP_ERASE, MEM_FLASH);
    if (!step)
        return error_memory(err);
    step->whole_chip = chip;
    if (chip && plan->method->probe && options->erase != ERASE_CHIP)
        warn(options, "%s can only erase the whole chip: a bootloader on it goes too",
             plan->method->name);
    if (chip)
        return add_erase_beside(plan, options, err);
    return plan_sectors(plan->image, &plan->regions, MEM_FLASH, options->erase == ERASE_IMAGE,
                        &step->ranges, &step->range_count)
               ? error_memory(err)
               : OK;
}

static int add_for_memories(struct plan *plan, enum step_kind kind, struct error *err)
{
    for (enum memory memory = MEM_FLASH; memory <= MEM_EEPROM; memory++)
        if (image_bytes(plan->image, memory) && writes_memory(plan->method, memory) &&
            !add_step(plan, kind, memory))
            return error_memory(err);
    return OK;
}

static void start_plan(struct plan *plan, const struct board *board, const struct loader *loader,
                       const struct method *method, struct image *image,
                       const struct plan_options *options)
{
    *plan = (struct plan){
        .board = board,
        .loader = loader,
        .method = method,
        .chip = board->chip,
        .regions = regions_of(board->chip, loader),
        .image = image,
        .diff = options->diff,
    };
}

/* A UART: the loader has no USB ids, or those that the board always has, because they belong to the
 * converter before the chip. */
static bool is_uart(const struct board *board, const struct loader *loader)
{
    for (size_t i = 0; i < loader->usb_count; i++) {
        bool always = false;
        for (size_t k = 0; k < board->usb_count; k++)
            always |=
                board->usb[k].vid == loader->usb[i].vid && board->usb[k].pid == loader->usb[i].pid;
        if (!always)
            return false;
    }
    return true;
}

bool plan_provable(const struct board *board, const struct loader *loader,
                   const struct method *method, const struct image *image, bool bus)
{
    const struct klipper_facts *klipper = &image->klipper;
    if (!klipper->present || method->probe)
        return false;
    if (method->link == LINK_CAN)
        return klipper->can_bitrate && !klipper->can_bridge;
    if (klipper->can_bitrate)
        return klipper->can_bridge && bus;
    if (method->link == LINK_USB)
        return !klipper->serial_baud;
    return method->link == LINK_SERIAL && (klipper->serial_baud != 0) == is_uart(board, loader);
}

static int add_flash_steps(struct plan *plan, const struct plan_options *options, struct error *err)
{
    if (!add_step(plan, STEP_ENTER, MEM_FLASH))
        return error_memory(err);
    if (add_erase(plan, options, err) || add_for_memories(plan, STEP_WRITE, err))
        return error_status(err);
    plan->unverifiable = !options->no_verify && method_refusal(plan->method, OP_VERIFY);
    if (!options->no_verify && !plan->unverifiable && add_for_memories(plan, STEP_VERIFY, err))
        return error_status(err);
    if (options->no_run || method_refusal(plan->method, OP_RUN))
        return OK;
    bool prove = plan_provable(plan->board, plan->loader, plan->method, plan->image, options->bus);
    if (!add_step(plan, STEP_RUN, MEM_FLASH) || (prove && !add_step(plan, STEP_PROVE, MEM_FLASH)))
        return error_memory(err);
    return OK;
}

int plan_flash(struct plan *plan, const struct board *board, const struct loader *loader,
               const struct method *method, struct image *image, const struct plan_options *options,
               struct error *err)
{
    start_plan(plan, board, loader, method, image, options);
    /* Who says how much is to be erased wants it erased, whatever is there. */
    if (plan->diff == DIFF_AUTO && (options->erase == ERASE_CHIP || options->erase == ERASE_IMAGE))
        plan->diff = DIFF_NO;
    if (method_refusal(method, OP_WRITE))
        return refuse_operation(method, OP_WRITE, err);
    if (plan_check_image(board, loader, method, image, options, err))
        return error_status(err);
    int status = add_flash_steps(plan, options, err);
    if (status)
        plan_free(plan);
    return status;
}

/* ---- recipes ---- */

/* "hfuse=0xd8" → a fuse step. */
static int add_fuse(struct plan *plan, const char *word, size_t length, struct error *err)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%.*s", (int)length, word);
    char *equals = strchr(text, '=');
    uint64_t value;
    struct step *step = add_step(plan, STEP_FUSE, MEM_FUSE);
    if (!step)
        return error_memory(err);
    *equals = '\0';
    if (strlen(text) >= sizeof step->fuse || !text_number(equals + 1, &value) || value > UINT32_MAX)
        return error_set(err, ERR_BOARDS_FILE, "recipe word %.*s: NAME=NUMBER is wanted",
                         (int)length, word);
    memcpy(step->fuse, text, strlen(text) + 1);
    step->value = (uint32_t)value;
    return OK;
}

static bool word_is(const char *word, size_t length, const char *text)
{
    return strlen(text) == length && strncmp(word, text, length) == 0;
}

/* Verbs of a closed list, never commands. */
static int add_recipe_word(struct plan *plan, const char *word, size_t length, struct error *err)
{
    if (memchr(word, '=', length))
        return add_fuse(plan, word, length, err);
    struct step *step;
    if (word_is(word, length, "erase") || word_is(word, length, "mass-erase")) {
        if (!(step = add_step(plan, STEP_ERASE, MEM_FLASH)))
            return error_memory(err);
        step->whole_chip = true;
        return OK;
    }
    /* New fuses count only after leaving and entering again: before the first byte is written. */
    if (word_is(word, length, "write"))
        return plan->method->restart && !add_step(plan, STEP_RESTART, MEM_FLASH)
                   ? error_memory(err)
                   : add_for_memories(plan, STEP_WRITE, err);
    if (word_is(word, length, "verify"))
        return add_for_memories(plan, STEP_VERIFY, err);
    return error_set(err, ERR_BOARDS_FILE,
                     "recipe word %.*s is none of erase, write, verify, "
                     "mass-erase, NAME=VALUE",
                     (int)length, word);
}

int plan_check_fuse(const struct method *method, const struct chip *chip, const char *name,
                    uint32_t value, const struct plan_options *options, struct error *err)
{
    const char *danger = method->fuse_danger ? method->fuse_danger(chip, name, value) : NULL;
    if (!danger)
        return OK;
    error_refuse(err, check_name(CHECK_FUSES), "%s = 0x%02" PRIx32 " on %s: %s", name, value,
                 chip->name, danger);
    return check_refused(options, CHECK_FUSES, err);
}

/* Value that the recipe gives to hfuse or efuse ('h', 'e'), else the factory's. */
static uint8_t recipe_fuse(const struct plan *plan, char letter)
{
    const struct avr_part *avr = plan->chip->avr;
    uint8_t value = letter == 'e' ? avr->efuse_default : avr->hfuse_default;
    for (size_t i = 0; i < plan->count; i++)
        if (plan->steps[i].kind == STEP_FUSE && plan->steps[i].fuse[0] == letter)
            value = (uint8_t)plan->steps[i].value;
    return value;
}

/* A bootloader outside the section that its fuses open would be written and never be started. */
static int check_boot_section(const struct plan *plan, const struct plan_options *options,
                              struct error *err)
{
    const struct avr_part *avr = plan->chip->avr;
    uint64_t start, end;
    if (!avr || !avr->bootsz_mask || !image_extent(plan->image, MEM_FLASH, &start, &end))
        return OK;
    unsigned shift = (unsigned)__builtin_ctz(avr->bootsz_mask);
    unsigned mask = avr->bootsz_mask;
    unsigned bootsz = (recipe_fuse(plan, avr->bootsz_fuse) & mask) >> shift;
    uint64_t section = plan->chip->regions[0].size - avr->boot_bytes[3 - (bootsz & 3)];
    if (start >= section)
        return OK;
    error_refuse(err, check_name(CHECK_START),
                 "%s begins at 0x%" PRIx64 ", below the boot section that the recipe's fuses open "
                 "at 0x%" PRIx64,
                 plan->image->sources[0].name, start, section);
    error_hint(err, "is it a bootloader for %s?", plan->board->name);
    return check_refused(options, CHECK_START, err);
}

static int check_recipe(const struct plan *plan, const struct plan_options *options,
                        struct error *err)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct step *step = &plan->steps[i];
        if (step->kind == STEP_FUSE &&
            plan_check_fuse(plan->method, plan->chip, step->fuse, step->value, options, err))
            return error_status(err);
    }
    return check_boot_section(plan, options, err);
}

int plan_recipe(struct plan *plan, const struct board *board, const struct loader *loader,
                const struct method *method, const char *recipe, struct image *image,
                const struct plan_options *options, struct error *err)
{
    start_plan(plan, board, loader, method, image, options);
    plan->diff = DIFF_NO;
    if (method_refusal(method, OP_BOOTLOADER))
        return refuse_operation(method, OP_BOOTLOADER, err);
    if (plan_check_image(board, loader, method, image, options, err))
        return error_status(err);
    int status = add_step(plan, STEP_ENTER, MEM_FLASH) ? OK : error_memory(err);
    size_t length;
    const char *word;
    while (!status && (word = text_word(&recipe, &length)))
        status = add_recipe_word(plan, word, length, err);
    if (!status)
        status = check_recipe(plan, options, err);
    if (!status && !options->no_run && method->run && !add_step(plan, STEP_RUN, MEM_FLASH))
        status = error_memory(err);
    if (status)
        plan_free(plan);
    return status;
}
