/* See samba_rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "samba_rig.h"

const struct sam_board sam7s = {&vmodel_sam7s, "at91sam7s512", NULL, 0x100000, 0x100000, 0, 1100};
const struct sam_board sam7x = {&vmodel_sam7x, "at91sam7x256", NULL, 0x100000,
                                0x100000,      0x08,           1100};
const struct sam_board due = {&vmodel_sam3x, "sam3x8e", NULL, 0x80000, 0x80000, 0x02, 1100};
const struct sam_board due_uart = {
    &vmodel_sam3x_uart, "sam3x8e", NULL, 0x80000, 0x80000, 0x02, 1100};
const struct sam_board duet = {&vmodel_sam4e, "sam4e8e", NULL, 0x400000, 0x400000, 0x02, 1100};
const struct sam_board zero = {&vmodel_samd21, "samd21g18a", NULL, 0, 0x2000, 0, 1100};
const struct sam_board zero_plain = {&vmodel_samd21, "samd21g18a", "plain", 0, 0x2000, 0, 100};
const struct sam_board metro = {&vmodel_samd51, "samd51j19a", NULL, 0, 0x4000, 0, 8192};
const struct sam_board metro_plain = {&vmodel_samd51, "samd51j19a", "plain", 0, 0x4000, 0, 100};
const struct sam_board *const sam_boards[SAM_BOARDS] = {
    &sam7s, &sam7x, &due, &due_uart, &duet, &zero, &zero_plain, &metro, &metro_plain};

struct rig *samba_rig(const struct sam_board *board, const struct vfaults *faults)
{
    struct vconfig options = {.variant = board->variant};
    if (faults)
        options.faults = *faults;
    const struct chip *chip = chip_find(board->chip);
    assert_non_null(chip);
    struct rig *rig =
        rig_new(board->model, &method_samba, board->chip, chip->regions[0].size, &options);
    rig->loader.end = 0;
    rig->loader.has_start = board->start != board->base;
    rig->loader.start = board->start;
    memset(rig->flash, 0xff, (size_t)(board->start - board->base)); /* the model's own loader */
    rig_remake(rig);
    return rig;
}

bool boots_flash(const struct rig *rig, const struct sam_board *board)
{
    return !(rig->options[0] & board->boot_bit);
}

uint8_t *keep_flash(const struct rig *rig)
{
    size_t size = (size_t)rig->chip->regions[0].size;
    uint8_t *kept = malloc(size);
    assert_non_null(kept);
    memcpy(kept, rig->flash, size);
    return kept;
}

/* ---- faults ---- */

struct fault {
    const char *kind;
    unsigned n;
    struct line_faults line;
};

static void assert_fits(const struct rig *rig, const struct sam_board *board,
                        const struct fault *fault, int rc)
{
    bool gone = fault->line.cut || fault->line.power;
    bool fits = rc == OK || (gone ? rc == ERR_GONE : rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL);
    fits |= fault->line.corrupt && (rc == ERR_VERIFY || rc == ERR_REFUSED);
    if (!fits)
        fail_msg("%s %s:%u: %s: %s", rig->model->name, fault->kind, fault->n,
                 error_code_name((enum error_code)rc), rig->err.message);
    if (rc != OK && rig->err.message[0] == '\0')
        fail_msg("%s %s:%u: an error without a text", rig->model->name, fault->kind, fault->n);
    if (rc == OK && !rig_holds_image(rig))
        fail_msg("%s %s:%u: success, but the chip does not hold the image", rig->model->name,
                 fault->kind, fault->n);
    if (board->boot_bit && boots_flash(rig, board) && !rig_holds_image(rig))
        fail_msg("%s %s:%u: a half-written board would start", rig->model->name, fault->kind,
                 fault->n);
}

static void run_with_fault(struct rig *rig, const struct sam_board *board,
                           const struct fault *fault, const uint8_t *used)
{
    memcpy(rig->flash, used, (size_t)rig->chip->regions[0].size);
    rig_remake(rig);
    int rc = rig_run(rig, MEM_FLASH, &fault->line);
    assert_fits(rig, board, fault, rc);
    if (rig->whole > 20 * SECOND)
        fail_msg("%s %s:%u: took %u ms: %s", rig->model->name, fault->kind, fault->n,
                 (unsigned)(rig->whole / MILLISECOND), rig->err.message);
    rig_remake(rig);
    rc = rig_run(rig, MEM_FLASH, NULL);
    if (rc != OK || !rig_holds_image(rig))
        fail_msg("%s %s:%u: the next run does not repair it: %s", rig->model->name, fault->kind,
                 fault->n, rig->err.message);
}

void every_fault_ends_in_time_and_is_repaired_on(const struct sam_board *board)
{
    struct rig *rig = samba_rig(board, NULL);
    uint8_t *used = keep_flash(rig);
    rig_image(rig, MEM_FLASH, board->start, board->faulty);
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    unsigned messages = rig->messages;
    print_message("%s %s: %u messages\n", rig->model->name, board->variant ? "plain" : "",
                  messages);
    assert_true(messages > 8);
    for (unsigned n = 1; n <= messages; n++) {
        const struct fault faults[] = {{"drop", n, {.drop = n}},
                                       {"corrupt", n, {.corrupt = n}},
                                       {"stall", n, {.stall = n}},
                                       {"cut", n, {.cut = n}},
                                       {"power", n, {.power = n}}};
        for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
            if ((n + i) % FAULT_TURNS == 0)
                run_with_fault(rig, board, &faults[i], used);
    }
    free(used);
    rig_free(rig);
}
