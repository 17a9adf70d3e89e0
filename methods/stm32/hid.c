/*
 * The STM32 HID bootloader of Vassilis Serasidis and its fork by Arksine (1209:beba), on F1 and F4.
 *
 * The one thing to know: it never tells that something went wrong, and nothing can be read back. So
 * all that can be wrong is looked for before.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stm32/hid_loader.h"

/* ---- the method ---- */

static void hid_disconnect(struct session *session)
{
    struct hid_loader *hid = session->state;
    if (hid)
        hid_close(hid);
    free(hid);
    session->state = NULL;
}

static int hid_connect(struct session *session, struct error *err)
{
    if (!session->chip->stm32)
        return error_set(err, ERR_NOT_POSSIBLE, "%s is no STM32: it has no such bootloader",
                         session->chip->name);
    struct hid_loader *hid = calloc(1, sizeof *hid);
    if (!hid)
        return error_memory(err);
    hid->session = session;
    hid->usb = session->usb;
    session->state = hid;
    int rc = hid_open(hid, err);
    if (rc == OK)
        rc = hid_check_build(hid, err);
    if (rc != OK)
        hid_disconnect(session);
    return rc;
}

static int hid_info(struct session *session, struct device_info *info, struct error *err)
{
    (void)err;
    const struct hid_loader *hid = session->state;
    const struct usb_device *device = &hid->usb->device;
    unsigned release = get_le16(hid->usb->device_descriptor + 12);
    device_info_add(info, "bootloader", "%s (%s)", device->product[0] ? device->product : "?",
                    device->manufacturer[0] ? device->manufacturer : "?");
    device_info_add(info, "release", "%x.%02x", release >> 8, release & 0xff);
    device_info_add(info, "build", "%s%s", hid_build_name(hid->build),
                    hid->doubtful ? " (as far as it tells)" : "");
    device_info_add(info, "program start", "0x%08x", hid_is_f1(hid) ? 0x08000800U : 0x08004000U);
    return OK;
}

/* ---- starting the program ---- */

/* The device leaves in the middle of the report or shortly after it: whether the report was taken
 * does not matter then. */
static int reboot(struct hid_loader *hid, struct error *err)
{
    struct clock *clock = hid->usb->clock;
    int rc = hid_say(hid, HID_REBOOT, err);
    if (rc == ERR_GONE || hid_await_leaving(hid, clock_in(clock, HID_LEAVES_US)))
        return OK;
    return rc == OK ? error_set(err, ERR_NO_ANSWER, "it does not leave the bus") : rc;
}

static int reboot_again(struct hid_loader *hid, struct error *err)
{
    struct error ignored;
    int rc = hid_recover(hid, &ignored);
    if (rc == ERR_GONE)
        return OK; /* it has left after all */
    return rc == OK ? reboot(hid, err) : error_status(err);
}

/* An F1 that has no program comes back; an F4 would never do so, and cannot be asked whether it has
 * one. */
static int refuse_unseen(const struct hid_loader *hid, struct error *err)
{
    if (hid_is_f1(hid) || hid->wrote || hid->session->force_blank)
        return OK;
    error_refuse(err, "blank",
                 "whether there is a program cannot be seen: this bootloader would start an empty "
                 "flash too, and the board be dead until its boot pin is set at power-up");
    return error_hint(err, "press RESET if there is one; `--force blank` starts whatever there is");
}

static int hid_run(struct session *session, struct error *err)
{
    struct hid_loader *hid = session->state;
    if (hid->broken)
        return error_set(err, ERR_FAILED, "the program is not complete, and is not started");
    if (refuse_unseen(hid, err))
        return error_status(err);
    int rc = reboot(hid, err);
    if (rc != OK)
        rc = reboot_again(hid, err);
    if (rc == OK)
        return OK;
    error_context(err, "starting the application");
    return error_hint(err, "press RESET");
}

static const struct refusal refusals[] = {
    {OP_READ, "this bootloader cannot be read back"},
    {OP_VERIFY, "this bootloader cannot be read back"},
    {OP_ERASE_RANGE, "it erases only what it is about to write"},
    {OP_ERASE_CHIP, "it erases only what it is about to write"},
    {OP_FUSES, "it does not reach the option bytes: use -m stm32-uart or -m swd"},
    {OP_SET_FUSES, "it does not reach the option bytes: use -m stm32-uart or -m swd"},
    {OP_UNLOCK, "it does not reach the option bytes: use -m stm32-uart or -m swd"},
    {OP_BOOTLOADER, "it cannot write its own pages: use -m stm32-uart or -m swd"},
    {OP_EEPROM, "an STM32 has none that this bootloader writes"},
    {OP_COUNT, NULL},
};

const struct method method_hid = {
    .name = "hid",
    .summary = "the STM32 HID bootloader (Serasidis, Arksine), on USB",
    .document = "Serasidis/STM32_HID_Bootloader",
    .link = LINK_USB,
    .in_order = true,
    .erase_style = ERASE_BY_WRITE,
    .refusals = refusals,
    .connect = hid_connect,
    .info = hid_info,
    .write = hid_write,
    .run = hid_run,
    .disconnect = hid_disconnect,
};
