/* Virtual SAM boards for the tests of SAM-BA: how their chips are laid out, and the rig on them. */
#ifndef SAMBA_RIG_H
#define SAMBA_RIG_H

#include "method_rig.h"

enum { KIB = 1024 };

extern const struct method method_samba;
extern const struct vmodel vmodel_sam7s, vmodel_sam7x, vmodel_sam3x, vmodel_sam3x_uart,
    vmodel_sam4e, vmodel_samd21, vmodel_samd51;

struct sam_board {
    const struct vmodel *model;
    const char *chip, *variant;
    uint64_t base, start; /* of the flash, and of the application */
    uint8_t boot_bit;     /* in the model's options, inverted; 0 = none */
    size_t faulty;        /* bytes of the image whose writing is disturbed */
};

extern const struct sam_board sam7s, sam7x, due, due_uart, duet, zero, zero_plain, metro,
    metro_plain;
extern const struct sam_board *const sam_boards[]; /* all of them */
enum { SAM_BOARDS = 9 };

struct rig *samba_rig(const struct sam_board *board, const struct vfaults *faults);

/* Does it boot from its flash? Boards with a boot bit only. */
bool boots_flash(const struct rig *rig, const struct sam_board *board);

/* A copy of the whole flash; the caller frees it. */
uint8_t *keep_flash(const struct rig *rig);

/* Each kind of fault at each message of a whole run: it ends in time with a fitting error, no
 * half-written board starts, and the same run again repairs it. */
void every_fault_ends_in_time_and_is_repaired_on(const struct sam_board *board);

#endif
