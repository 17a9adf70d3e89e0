/*
 * Which build of the STM32 HID bootloader it is, and whether that is the board's. See hid_loader.h.
 *
 * A page of 2 KiB that is written as two of 1 KiB loses the first with the second; pages of 1 KiB
 * that are taken for one of 2 KiB are erased only by halves. Both look like success.
 */
#include <string.h>

#include "stm32/hid_loader.h"

const char *hid_build_name(enum hid_build build)
{
    static const char *const names[] = {
        [HID_F1_1K] = "F1, pages of 1 KiB",
        [HID_F1_2K] = "F1, pages of 2 KiB",
        [HID_F4] = "F4",
    };
    return names[build];
}

static const char *consequence(enum hid_build build, bool same_family)
{
    if (!same_family || build == HID_F4)
        return "";
    return build == HID_F1_1K
               ? ", whose pages are 2 KiB: every second erase would wipe what was just written, "
                 "and the program would not start"
               : ", whose pages are 1 KiB: every second page would not be erased, and the program "
                 "would not start";
}

static bool is_family(const struct hid_loader *hid)
{
    return strcmp(hid->session->chip->stm32->family, hid_is_f1(hid) ? "F1" : "F4") == 0;
}

static int refuse(struct hid_loader *hid, struct error *err)
{
    struct session *session = hid->session;
    const char *chip = session->chip->name, *name = hid_build_name(hid->build);
    if (session->force_signature) {
        session_note(session, "the bootloader is the build for %s, and the board has an %s: forced",
                     name, chip);
        return OK;
    }
    error_refuse(err, "signature", "the bootloader is the build for %s, but the board has an %s%s",
                 name, chip, consequence(hid->build, is_family(hid)));
    return error_hint(err, "name the right board with --board, or the right device with --device; "
                           "`--force signature` goes on regardless");
}

static void take_for(struct hid_loader *hid, enum hid_build build)
{
    hid->build = build;
    hid->unit = build == HID_F1_2K ? 2 * HID_KIB : HID_KIB;
}

int hid_check_build(struct hid_loader *hid, struct error *err)
{
    uint32_t page = hid->session->chip->regions[0].sector;
    if (!is_family(hid))
        return refuse(hid, err);
    if (!hid_is_f1(hid))
        return OK;
    if (hid->doubtful)
        take_for(hid, page > HID_KIB ? HID_F1_2K : HID_F1_1K);
    hid->doubtful = hid->doubtful && !hid->session->force_signature;
    return page == hid->unit ? OK : refuse(hid, err);
}

int hid_prove_build(struct hid_loader *hid, struct error *err)
{
    uint8_t code;
    int rc = hid_say(hid, HID_RESET_PAGES, err);
    if (rc == OK)
        rc = hid_hear(hid, &code, clock_in(hid->usb->clock, HID_GREET_US), err);
    if (rc != OK && rc != ERR_NO_ANSWER)
        return rc;
    enum hid_build build = rc == OK ? HID_F1_1K : HID_F1_2K;
    hid->doubtful = false;
    if (build == hid->build)
        return OK;
    take_for(hid, build);
    return refuse(hid, err);
}
