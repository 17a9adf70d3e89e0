/*
 * A USB device whose descriptors and strings are a fuzzer's input: whatever it says, it is taken or
 * refused, never more. The input is portions of two bytes of length, little end first, and so many
 * bytes: the answers to one request after another; an empty one is a stall.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "link/usb_backend.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct liar {
    struct usb usb; /* first */
    struct clock clock;
    uint64_t now;
    const uint8_t *bytes;
    size_t left;
};

enum { REQUESTS_SECONDS_MAX = 600 };

static struct liar *of_clock(struct clock *clock)
{
    return (struct liar *)((char *)clock - offsetof(struct liar, clock));
}

static uint64_t liar_now(struct clock *clock)
{
    return of_clock(clock)->now;
}

static void liar_sleep_until(struct clock *clock, uint64_t moment)
{
    if (of_clock(clock)->now < moment)
        of_clock(clock)->now = moment;
}

static int liar_submit(struct usb *usb, struct usb_transfer *transfer, struct error *err)
{
    (void)err;
    struct liar *liar = (struct liar *)usb;
    size_t portion = liar->left >= 2 ? get_le16(liar->bytes) : 0;
    if (liar->left >= 2)
        liar->bytes += 2, liar->left -= 2;
    portion = portion < liar->left ? portion : liar->left;
    transfer->end = portion > 0 ? USB_DONE : USB_STALL;
    transfer->actual = portion; /* which may be more than was asked for */
    if (transfer->length > 0 && (transfer->setup.type & USB_DIRECTION_IN))
        memcpy(transfer->bytes, liar->bytes,
               portion < transfer->length ? portion : transfer->length);
    liar->bytes += portion;
    liar->left -= portion;
    liar->now += SECOND;
    if (liar->now > (uint64_t)REQUESTS_SECONDS_MAX * SECOND)
        abort(); /* asked without an end */
    return OK;
}

static int liar_await(struct usb *usb, struct usb_transfer *transfer, uint64_t deadline,
                      struct error *err)
{
    (void)transfer, (void)err;
    liar_sleep_until(usb->clock, deadline);
    return OK;
}

static void liar_cancel(struct usb *usb, struct usb_transfer *transfer)
{
    (void)usb;
    transfer->end = USB_CANCELLED;
}

static void liar_close(struct usb *usb)
{
    free(usb);
}

static const struct usb_ops liar_ops = {
    .name = "liar",
    .submit = liar_submit,
    .await = liar_await,
    .cancel = liar_cancel,
    .close = liar_close,
};

static void must_be_inside(const struct usb *usb, const uint8_t *at)
{
    const uint8_t *end = usb->configuration + usb->configuration_length;
    if (at < usb->configuration || at + 2 > end || at[0] < 2 || at + at[0] > end)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct liar *liar = (struct liar *)usb_allocate(sizeof *liar, &liar_ops, "liar");
    char text[USB_TEXT_MAX];
    struct error err;
    const uint8_t *at = NULL;
    if (!liar)
        return 0;
    liar->clock = (struct clock){liar_now, liar_sleep_until};
    liar->usb.clock = &liar->clock;
    liar->bytes = bytes;
    liar->left = length;
    (void)usb_begin(&liar->usb, NULL, &err);
    if (liar->usb.configuration_length > USB_CONFIGURATION_MAX ||
        liar->usb.device.interface_count > USB_INTERFACES_MAX)
        abort();
    while (usb_descriptor_next(liar->usb.configuration, liar->usb.configuration_length, &at))
        must_be_inside(&liar->usb, at);
    for (unsigned endpoint = 0; endpoint < 256; endpoint++)
        if ((at = usb_endpoint(&liar->usb, (uint8_t)endpoint)) != NULL)
            must_be_inside(&liar->usb, at);
    for (uint8_t index = 1; index < 4; index++)
        if (usb_string(&liar->usb, index, text, sizeof text))
            for (const char *c = text; *c; c++)
                if (*c < ' ' || *c > '~')
                    abort();
    usb_close(&liar->usb);
    return 0;
}
