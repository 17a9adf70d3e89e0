/* See hid_loader.h. */
#include "stm32/hid_loader.h"

#include <string.h>

#include "base/bytes.h"

enum {
    CLASS_HID = 3,
    TRANSFER_INTERRUPT = 3,
    FIRST_RELEASE = 0x0300, /* bcdDevice of the oldest one that speaks this protocol */
    F1_CONTROL_PACKET = 8,  /* of endpoint 0; F4: 64 */
    STALE_MAX = 8,          /* answers that can still be waiting: one, but who knows */
    LOOK_US = 5 * MILLISECOND,
};

/* The product that means pages of 1 KiB by 02, and says 03 for those of 2 KiB. */
#define ARKSINE "HID Bootloader"

static const uint8_t prefix[] = {'B', 'T', 'L', 'D', 'C', 'M', 'D'};

bool hid_is_f1(const struct hid_loader *hid)
{
    return hid->build != HID_F4;
}

/* ---- reports ---- */

/* While reports go out an answer is always asked for: the device keeps one, and the next takes its
 * place. */
static int listen(struct hid_loader *hid, struct error *err)
{
    if (hid->listening)
        return OK;
    hid->answer = (struct usb_transfer){
        .endpoint = hid->endpoint, .bytes = hid->answer_bytes, .length = sizeof hid->answer_bytes};
    int rc = usb_submit(hid->usb, &hid->answer, err);
    hid->listening = rc == OK;
    return rc;
}

static uint64_t report_deadline(const struct hid_loader *hid)
{
    return clock_in(hid->usb->clock, hid_is_f1(hid) ? HID_F1_US : HID_F4_US);
}

/* The oldest report under way, to its end. */
static int await_report(struct hid_loader *hid, struct error *err)
{
    struct usb_transfer *report = &hid->reports[hid->oldest];
    int rc = usb_await(hid->usb, report, report_deadline(hid), err);
    if (rc == ERR_NO_ANSWER)
        return error_set(err, rc, "the device does not take a report");
    if (rc != OK)
        return rc;
    hid->oldest = (hid->oldest + 1) % HID_WINDOW;
    hid->under_way--;
    rc = usb_ended(hid->usb, report, err);
    if (rc == OK && report->actual != HID_REPORT)
        return error_set(err, ERR_PROTOCOL, "it took %zu of the %d bytes of a report",
                         report->actual, HID_REPORT);
    return rc;
}

int hid_send(struct hid_loader *hid, const uint8_t *report, struct error *err)
{
    int rc = listen(hid, err);
    if (rc == OK && hid->under_way == HID_WINDOW)
        rc = await_report(hid, err);
    if (rc != OK)
        return rc;
    size_t slot = (hid->oldest + hid->under_way) % HID_WINDOW;
    memcpy(hid->report_bytes[slot], report, HID_REPORT);
    hid->reports[slot] = (struct usb_transfer){
        /* SET_REPORT, output report 0, of the interface */
        .setup = {.type = 0x21,
                  .request = 0x09,
                  .value = 0x0200,
                  .index = hid->interface,
                  .length = HID_REPORT},
        .bytes = hid->report_bytes[slot],
        .length = HID_REPORT,
    };
    rc = usb_submit(hid->usb, &hid->reports[slot], err);
    if (rc == OK)
        hid->under_way++;
    return rc;
}

int hid_flush(struct hid_loader *hid, struct error *err)
{
    int rc = OK;
    while (rc == OK && hid->under_way > 0)
        rc = await_report(hid, err);
    return rc;
}

int hid_say(struct hid_loader *hid, enum hid_command command, struct error *err)
{
    uint8_t report[HID_REPORT] = {0};
    memcpy(report, prefix, sizeof prefix);
    report[sizeof prefix] = (uint8_t)command;
    int rc = hid_send(hid, report, err);
    return rc == OK ? hid_flush(hid, err) : rc;
}

/* ---- answers ---- */

int hid_hear(struct hid_loader *hid, uint8_t *code, uint64_t deadline, struct error *err)
{
    int rc = listen(hid, err);
    if (rc == OK)
        rc = usb_await(hid->usb, &hid->answer, deadline, err);
    if (rc == ERR_NO_ANSWER)
        return error_set(err, rc, "the device does not answer");
    if (rc != OK)
        return rc;
    hid->listening = false;
    rc = usb_ended(hid->usb, &hid->answer, err);
    if (rc != OK)
        return rc;
    if (hid->answer.actual != HID_ANSWER || memcmp(hid->answer_bytes, prefix, sizeof prefix) != 0)
        return error_set(err, ERR_PROTOCOL, "its answer of %zu bytes is not one of this bootloader",
                         hid->answer.actual);
    *code = hid->answer_bytes[sizeof prefix];
    return OK;
}

static void abandon(struct hid_loader *hid)
{
    if (hid->listening)
        usb_cancel(hid->usb, &hid->answer);
    hid->listening = false;
    for (; hid->under_way > 0; hid->under_way--) {
        usb_cancel(hid->usb, &hid->reports[hid->oldest]);
        hid->oldest = (hid->oldest + 1) % HID_WINDOW;
    }
}

bool hid_await_leaving(struct hid_loader *hid, uint64_t deadline)
{
    struct clock *clock = hid->usb->clock;
    struct error ignored;
    uint8_t code;
    for (;;) {
        int rc = hid_hear(hid, &code, deadline, &ignored);
        if (rc == ERR_GONE)
            return true;
        if (clock_now(clock) >= deadline)
            return false;
        if (rc != OK) /* the bus sees errors before it sees that nobody is there */
            clock->sleep_until(clock, clock_in(clock, LOOK_US));
    }
}

/* ---- who is there ---- */

static int find_endpoint(struct hid_loader *hid, struct error *err)
{
    const struct usb *usb = hid->usb;
    const uint8_t *d = NULL;
    bool inside = false;
    while (usb_descriptor_next(usb->configuration, usb->configuration_length, &d)) {
        if (d[1] == USB_DT_INTERFACE && d[0] >= 9) {
            inside = d[5] == CLASS_HID;
            hid->interface = d[2];
        } else if (inside && d[1] == USB_DT_ENDPOINT && d[0] >= 7 && (d[2] & 0x80) &&
                   (d[3] & 3) == TRANSFER_INTERRUPT) {
            hid->endpoint = d[2];
            hid->interval = (uint64_t)d[6] * MILLISECOND;
            return OK;
        }
    }
    return error_set(err, ERR_PROTOCOL, "the device has no HID interface that answers");
}

static int check_release(const struct hid_loader *hid, struct error *err)
{
    unsigned release = get_le16(hid->usb->device_descriptor + 12);
    if (release >= FIRST_RELEASE)
        return OK;
    error_set(err, ERR_PROTOCOL,
              "its HID bootloader is release %x.%02x, which speaks another "
              "protocol",
              release >> 8, release & 0xff);
    return error_hint(err, "install release 2 of the bootloader (it calls itself 3.00) by "
                           "-m stm32-uart or -m swd");
}

/* What an earlier host did not fetch is not the answer to our question. */
static int empty_answers(struct hid_loader *hid, struct error *err)
{
    const uint64_t late = 8 * MILLISECOND; /* after the next look at the endpoint */
    uint8_t code;
    for (int i = 0; i < STALE_MAX; i++) {
        int rc = hid_hear(hid, &code, clock_in(hid->usb->clock, hid->interval + late), err);
        if (rc == ERR_NO_ANSWER)
            return OK;
        if (rc != OK && rc != ERR_PROTOCOL)
            return rc;
    }
    return error_set(err, ERR_PROTOCOL, "the device talks without being asked");
}

static int learn_build(struct hid_loader *hid, uint8_t code, struct error *err)
{
    if (code != 2 && code != 3)
        return error_set(err, ERR_PROTOCOL, "it answers \"reset pages\" with code %02x", code);
    hid->code = code;
    hid->build = code == 2 ? HID_F1_1K : HID_F1_2K;
    hid->unit = code == 2 ? HID_KIB : 2 * HID_KIB;
    hid->doubtful = code == 2 && strcmp(hid->usb->device.product, ARKSINE) != 0;
    return OK;
}

/* An F1 whose page was half full took the command for a part of it, and is as silent as an F4. */
static bool is_f1_by_descriptor(const struct hid_loader *hid)
{
    return hid->usb->device_descriptor[7] == F1_CONTROL_PACKET;
}

/* *taken: the device has the question, whether it answers or not. */
static int ask(struct hid_loader *hid, uint8_t *code, bool *taken, struct error *err)
{
    int rc = empty_answers(hid, err);
    if (rc == OK)
        rc = hid_say(hid, HID_RESET_PAGES, err);
    *taken = rc == OK;
    return rc == OK ? hid_hear(hid, code, clock_in(hid->usb->clock, HID_GREET_US), err) : rc;
}

static int ask_build(struct hid_loader *hid, struct error *err)
{
    uint8_t code = 0;
    bool taken;
    int rc = ask(hid, &code, &taken, err);
    if (rc == OK)
        return learn_build(hid, code, err);
    if (rc != ERR_NO_ANSWER || !taken || is_f1_by_descriptor(hid))
        return rc;
    hid->build = HID_F4;
    hid->code = 2;
    hid->unit = HID_KIB;
    return OK;
}

static int greet(struct hid_loader *hid, struct error *err)
{
    hid->build = is_f1_by_descriptor(hid) ? HID_F1_2K : HID_F4; /* until it has answered */
    int rc = ask_build(hid, err);
    if (rc != ERR_NO_ANSWER && rc != ERR_STALL && rc != ERR_PROTOCOL)
        return rc;
    abandon(hid);
    rc = usb_reset(hid->usb, err);
    return rc == OK ? ask_build(hid, err) : rc;
}

int hid_open(struct hid_loader *hid, struct error *err)
{
    struct usb *usb = hid->usb;
    int rc = find_endpoint(hid, err);
    if (rc == OK)
        rc = check_release(hid, err);
    if (rc == OK)
        rc = usb_claim(usb, hid->interface, err);
    if (rc != OK)
        return rc;
    hid->claimed = true;
    return greet(hid, err);
}

void hid_close(struct hid_loader *hid)
{
    abandon(hid);
    if (hid->claimed)
        usb_release(hid->usb, hid->interface);
    hid->claimed = false;
}

/* ---- out of step ---- */

/* Whatever a page of an F4 holds, sixteen more reports fill it, and commands at its beginning do
 * nothing. The answer may be long in coming: a sector can be erased before. */
static int fill_page(struct hid_loader *hid, struct error *err)
{
    uint8_t code;
    int rc = OK;
    for (size_t i = 0; rc == OK && i < HID_KIB / HID_REPORT; i++)
        rc = hid_say(hid, HID_RESET_PAGES, err);
    if (rc != OK)
        return rc;
    rc = hid_hear(hid, &code, clock_in(hid->usb->clock, HID_F4_US), err);
    return rc == ERR_NO_ANSWER ? OK : rc;
}

int hid_recover(struct hid_loader *hid, struct error *err)
{
    const uint8_t known = hid->code;
    uint8_t code;
    bool taken;
    abandon(hid);
    if (!hid_is_f1(hid))
        return fill_page(hid, err);
    int rc = usb_reset(hid->usb, err);
    if (rc == OK)
        rc = ask(hid, &code, &taken, err);
    if (rc == OK && code != known)
        return error_set(err, ERR_PROTOCOL, "it answers as another build than before");
    return rc;
}
