/*
 * The loaders of chips that are made like ST's. Artery's and Geehy's have ids of their own, else
 * they are as ST's. What GigaDevice's loader of the same protocol says otherwise than ST's
 * (dfu-util's quirks, and GD32VF103's in the field): ids, a serial number of four bytes that is no
 * UTF-16, and in it the size of the flash, while the layout is the same wrong one for all sizes.
 */
#include <stdio.h>

#include "dfu.h"
#include "variant.h"

enum { KIB = 1024, LETTER_AT = 6 };

static const struct {
    char letter;
    uint32_t size;
} sizes[] = {{'B', 128 * KIB}, {'8', 64 * KIB}, {'6', 32 * KIB}, {'4', 16 * KIB}};

static char letter_of(const struct dfu_board *board)
{
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].size == board->room)
            return sizes[i].letter;
    return 0;
}

void dfu_gd32_name(const struct dfu_board *board, char text[DFU_TEXT])
{
    if (letter_of(board))
        (void)snprintf(text, DFU_TEXT, "@Internal Flash  /0x08000000/512*002Kg");
}

void dfu_gd32_face(const struct dfu_board *board, struct dfu_face *face, char serial[DFU_TEXT])
{
    char letter = letter_of(board);
    (void)snprintf(serial, DFU_TEXT,
                   "\x01\x06\x06\x03"
                   "3CGJ"); /* G: a size of which nothing is known */
    if (letter)
        serial[LETTER_AT] = letter;
    face->vid = 0x28e9;
    face->pid = 0x0189;
    face->manufacturer = "GigaDevice";
    face->product = "GD32 DFU Bootloader";
    face->serial = serial;
}

void dfu_clone_face(const char *variant, struct dfu_face *face)
{
    static const struct {
        const char *word;
        uint16_t vid, pid;
    } clones[] = {{"at32", 0x2e3c, 0xdf11}, {"apm32", 0x314b, 0x0106}};
    for (size_t i = 0; i < sizeof clones / sizeof clones[0]; i++) {
        if (!variant_has(variant, clones[i].word))
            continue;
        face->vid = clones[i].vid;
        face->pid = clones[i].pid;
    }
}
