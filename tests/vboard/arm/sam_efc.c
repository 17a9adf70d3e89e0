/*
 * The Embedded Flash Controller of SAM7S and SAM7X (data sheets Atmel-6175 and 6120, chapter MC):
 * its planes work as an EEFC's, but commands and status bits have other numbers, and whether a page
 * is erased before it is programmed is a bit of FMR.
 */
#include "sam_chip.h"

enum { FRDY = 1, FCMDE = 2, LOCKE = 4, PROGE = 8, SECURE = 0x10, GPNVM = 8, LOCKS = 16 };
enum { NEBP = 0x80 };

enum eefc_command { /* what it is called there */
                    WP = 0x01,
                    WPL = 0x02,
                    EWP = 0x03,
                    EWPL = 0x04,
                    EA = 0x05,
                    SLB = 0x08,
                    CLB = 0x09,
                    SGPB = 0x0b,
                    CGPB = 0x0c,
};

enum {
    PROGRAM_TIME = 3 * MILLISECOND, /* Atmel-6120, "Embedded Flash Characteristics" */
    ERASE_PROGRAM_TIME = 6 * MILLISECOND,
    ERASE_ALL_TIME = 15 * MILLISECOND,
    BIT_TIME = 3 * MILLISECOND,
};

uint8_t efc_command(const struct eefc *efc, uint8_t command)
{
    bool erases = !(efc->fmr & NEBP);
    switch (command) {
    case 0x1:
        return erases ? EWP : WP;
    case 0x2:
        return SLB;
    case 0x3:
        return erases ? EWPL : WPL;
    case 0x4:
        return CLB;
    case 0x8:
        return EA;
    case 0xb:
        return SGPB;
    case 0xd:
        return CGPB;
    case 0xf:
        return EFC_SECURITY;
    default:
        return EFC_NONE;
    }
}

uint64_t efc_duration(uint8_t command)
{
    switch (command) {
    case WP:
    case WPL:
        return PROGRAM_TIME;
    case EWP:
    case EWPL:
        return ERASE_PROGRAM_TIME;
    case EA:
        return ERASE_ALL_TIME;
    default:
        return BIT_TIME;
    }
}

uint32_t efc_status(const struct sam *sam, size_t plane, uint32_t status)
{
    uint32_t value = status & (FRDY | LOCKE);
    uint32_t regions = sam->chip->sam->lock_regions / sam->chip->sam->planes;
    if (status & FCMDE)
        value |= PROGE;
    if (eefc_gpnvm(sam, 0))
        value |= SECURE;
    for (unsigned bit = 1; plane == 0 && bit < sam->kind->gpnvm_bits; bit++)
        value |= (uint32_t)eefc_gpnvm(sam, bit) << (GPNVM + bit - 1);
    for (uint32_t region = 0; region < regions; region++)
        value |= (uint32_t)eefc_locked(sam, plane, region) << (LOCKS + region);
    return value;
}
